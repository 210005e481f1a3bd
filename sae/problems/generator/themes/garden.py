"""Stories of gardens, fields and farms."""

from ..template import Template, step
from ..words import FLOWERS, FRUIT, VEGETABLES

TEMPLATES = (
    Template(
        "flower-rows",
        numbers={"rows": (2, 9), "per": (3, 12), "extra": (2, 40)},
        words={"flower": FLOWERS},
        steps=(
            step("planted = rows * per", "The rows have @ {flower}."),
            step("total = planted + extra", "In all there are @ {flower}."),
        ),
        clauses=(
            (
                "{name} plants {rows} rows of {flower} with {per} {flower} in each row.",
                "In {name}'s garden there are {rows} rows with {per} {flower} each.",
                "{name} puts {per} {flower} into each of {rows} rows.",
                "Each of the {rows} rows in {name}'s garden has {per} {flower}.",
            ),
            (
                "Along the fence, {name} plants {extra} more {flower}.",
                "Another {extra} {flower} grow by the gate.",
                "Then {name} adds {extra} {flower} around a tree.",
            ),
            (
                "How many {flower} does {name} have in all?",
                "How many {flower} are in the garden?",
                "What is the total number of {flower}?",
            ),
        ),
    ),
    Template(
        "seedling-sale",
        numbers={"trays": (2, 8), "per": (3, 9), "dead": (2, 30), "price": (2, 6)},
        steps=(
            step("seedlings = trays * per", "There are @ seedlings."),
            step("alive = seedlings - dead", "@ seedlings live."),
            step("money = alive * price", "They bring in $@."),
        ),
        clauses=(
            (
                "{name} grows {trays} trays of seedlings with {per} seedlings in each tray.",
                "{name} has {trays} trays, and in each tray grow {per} seedlings.",
                "There are {per} seedlings in every one of {name}'s {trays} trays.",
            ),
            (
                "Frost kills {dead} of them.",
                "On a cold night, {dead} seedlings die.",
                "Snails eat {dead} of the seedlings.",
            ),
            (
                "{name} sells all of the others for ${price} each.",
                "All of the remaining seedlings are sold for ${price} each.",
            ),
            (
                "How many dollars does {name} get?",
                "How much money does {name} make?",
                "How many dollars do the seedlings bring in?",
            ),
        ),
    ),
    Template(
        "egg-cartons",
        numbers={"first": (6, 50), "second": (6, 50), "broken": (2, 12), "per": (4, 12)},
        steps=(
            step("eggs = first + second", "{name} collects @ eggs."),
            step("whole = eggs - broken", "@ eggs are whole."),
            step("cartons = whole / per", "They fill @ cartons."),
        ),
        clauses=(
            (
                "{name} collects {first} eggs on Saturday and {second} eggs on Sunday.",
                "On Saturday, {name}'s hens lay {first} eggs, and on Sunday they lay {second}.",
                "{name} finds {first} eggs in one barn and {second} eggs in the other.",
            ),
            (
                "{broken} of the eggs break.",
                "On the way home, {name} breaks {broken} eggs.",
            ),
            (
                "The rest exactly fill cartons of {per} eggs.",
                "{name} packs all of the whole eggs into cartons of {per}.",
            ),
            (
                "How many cartons does {name} fill?",
                "How many cartons of eggs are there?",
                "How many cartons does {name} need?",
            ),
        ),
    ),
    Template(
        "water-barrels",
        numbers={"full": (8, 50), "used": (2, 40), "barrels": (2, 9)},
        steps=(
            step("rest = full - used", "Each barrel still holds @ liters."),
            step("total = rest * barrels", "All barrels together hold @ liters."),
        ),
        clauses=(
            (
                "In {name}'s garden stand {barrels} barrels with {full} liters of water each.",
                "{name} has {barrels} barrels, and each one holds {full} liters of water.",
                "{name} fills {barrels} barrels with {full} liters of water each.",
            ),
            (
                "From each barrel, {name} takes {used} liters.",
                "Then {used} liters leak out of every barrel.",
                "On a hot day, {name} uses {used} liters out of every barrel.",
            ),
            (
                "How many liters of water are left in all?",
                "How many liters do the barrels hold together after that?",
                "How many liters of water does {name} still have?",
            ),
        ),
    ),
    Template(
        "hay-barns",
        numbers={"bales": (12, 98), "barns": (2, 9), "eaten": (2, 25)},
        steps=(
            step("each = bales / barns", "Each barn holds @ bales."),
            step("left = each - eaten", "In that barn, @ bales are left."),
        ),
        clauses=(
            (
                "{name} stacks {bales} bales of hay in {barns} barns, the same number in each.",
                "{name} spreads {bales} bales of hay equally over {barns} barns.",
                "{bales} bales of hay lie in {name}'s {barns} barns, with the same number in every barn.",
            ),
            (
                "The cows in the first barn eat {eaten} bales.",
                "From one of the barns, {name} takes {eaten} bales to feed the cows.",
                "A flood ruins {eaten} bales in one barn.",
            ),
            (
                "How many good bales are left in that barn?",
                "How many bales of good hay does that barn still have?",
                "How many good bales remain there?",
            ),
        ),
    ),
    Template(
        "fruit-trees",
        numbers={"trees": (2, 9), "per": (4, 14), "rotten": (2, 30), "gift": (2, 40)},
        words={"fruit": FRUIT},
        steps=(
            step("picked = trees * per", "{name} picks @ {fruit}."),
            step("good = picked - rotten", "@ of them are good."),
            step("total = good + gift", "With the gift, {name} has @ {fruit}."),
        ),
        clauses=(
            (
                "{name} picks {per} {fruit} from each of {trees} trees.",
                "{name} has {trees} trees and picks {per} {fruit} from every tree.",
                "Each of {name}'s {trees} trees gives {per} {fruit}.",
            ),
            (
                "{rotten} of the {fruit} are rotten, so {name} throws them away.",
                "{name} throws out {rotten} rotten {fruit}.",
            ),
            (
                "Then {friend} gives {name} {gift} more {fruit}.",
                "After that, {name} gets {gift} {fruit} from {friend}.",
                "{friend} brings {gift} {fruit} as a gift for {name}.",
            ),
            (
                "How many {fruit} does {name} have in the end?",
                "How many {fruit} does {name} have now?",
                "How many {fruit} are there after that?",
            ),
        ),
    ),
    Template(
        "market-crates",
        numbers={"harvest": (12, 98), "per": (3, 14), "price": (2, 12), "honey": (2, 40)},
        words={"veg": VEGETABLES},
        steps=(
            step("crates = harvest / per", "The {veg} fill @ crates."),
            step("sales = crates * price", "They bring in $@."),
            step("total = sales + honey", "Together with the honey, that makes $@."),
        ),
        clauses=(
            (
                "{name} packs {harvest} {veg} into crates of {per}",
                "{name} harvests {harvest} {veg}, puts {per} of them into each crate",
                "For the market, {name} fills crates with {per} {veg} each, using up {harvest} {veg},",
            ),
            (
                "and sells every crate for ${price}.",
                "and gets ${price} for each crate.",
            ),
            (
                "{name} also earns ${honey} with honey.",
                "Honey brings in another ${honey}.",
            ),
            (
                "How many dollars does {name} earn in all?",
                "How much money does {name} make altogether?",
                "What are {name}'s total earnings in dollars?",
            ),
        ),
    ),
    Template(
        "flower-vases",
        numbers={"own": (4, 33), "per": (3, 12)},
        words={"flower": FLOWERS},
        steps=(
            step("theirs = own * 2", "{friend} brings @ {flower}."),
            step("total = own + theirs", "Together they have @ {flower}."),
            step("vases = total / per", "They fill @ vases."),
        ),
        clauses=(
            (
                "{name} cuts {own} {flower} and {friend} cuts twice as many.",
                "{name} brings {own} {flower}. {friend} brings twice as many {flower} as {name}.",
                "{friend} has twice as many {flower} as {name}, who has {own}.",
                "{name} picks {own} {flower}, and {friend} picks twice that number.",
            ),
            (
                "They put all of their {flower} into vases of {per}.",
                "Each vase gets {per} {flower}, and they use all of them.",
                "With all of these {flower} they fill vases, {per} in each.",
            ),
            (
                "How many vases do they fill?",
                "How many vases do {name} and {friend} need?",
                "How many vases of {flower} are there?",
            ),
        ),
    ),
)
