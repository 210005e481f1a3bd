"""Stories of baking, cooking and eating."""

from ..template import Template, step
from ..words import BAKED, FRUIT, VEGETABLES

TEMPLATES = (
    Template(
        "bakery-trays",
        numbers={"trays": (2, 9), "per": (4, 12), "sold": (3, 60)},
        words={"thing": BAKED},
        steps=(
            step("baked = trays * per", "{name} bakes @ {thing}."),
            step("left = baked - sold", "Then @ {thing} are left."),
        ),
        clauses=(
            (
                "{name} bakes {trays} trays of {thing} with {per} {thing} on each tray.",
                "{name} takes {trays} trays out of the oven, and every tray has {per} {thing} on it.",
                "There are {per} {thing} on each of the {trays} trays that {name} bakes.",
                "On {trays} trays, {name} bakes {per} {thing} each.",
            ),
            (
                "By noon, {sold} of the {thing} are sold.",
                "Then {name} sells {sold} of the {thing}.",
                "Customers buy {sold} of these {thing}.",
            ),
            (
                "How many {thing} are left?",
                "How many {thing} does {name} still have?",
                "How many of the {thing} remain?",
            ),
        ),
    ),
    Template(
        "orchard-boxes",
        numbers={"first": (5, 45), "second": (5, 45), "per": (2, 12)},
        words={"fruit": FRUIT},
        steps=(
            step("picked = first + second", "{name} picks @ {fruit}."),
            step("boxes = picked / per", "They fill @ boxes."),
        ),
        clauses=(
            (
                "{name} picks {first} {fruit} in the morning and {second} {fruit} in the afternoon.",
                "In the morning, {name} picks {first} {fruit}. In the afternoon, {name} picks {second} more.",
                "{name} picks {first} {fruit} before lunch and {second} {fruit} after lunch.",
            ),
            (
                "All of the {fruit} go into boxes of {per}.",
                "{name} packs all of them into boxes that hold {per} {fruit} each.",
                "Every box holds {per} {fruit}, and {name} packs all of the {fruit}.",
            ),
            (
                "How many boxes does {name} fill?",
                "How many boxes are needed?",
                "How many full boxes are there?",
            ),
        ),
    ),
    Template(
        "pizza-night",
        numbers={"pizzas": (2, 12), "cut": (4, 12), "people": (2, 16)},
        steps=(
            step("slices = pizzas * cut", "There are @ slices."),
            step("each = slices / people", "Each person gets @ slices."),
        ),
        clauses=(
            (
                "{name} orders {pizzas} pizzas and cuts every pizza into {cut} slices.",
                "For dinner, {name} makes {pizzas} pizzas with {cut} slices each.",
                "{name} buys {pizzas} pizzas. Each pizza has {cut} slices.",
                "There are {pizzas} pizzas at {name}'s party, and each one is cut into {cut} slices.",
            ),
            (
                "The slices are shared equally among {people} people.",
                "{people} people share all of the slices equally.",
                "All slices are eaten by {people} people, who eat the same number of slices.",
            ),
            (
                "How many slices does each person get?",
                "How many slices are there for each person?",
                "How many slices does one person eat?",
            ),
        ),
    ),
    Template(
        "lemonade-stand",
        numbers={"cups": (4, 20), "price": (2, 6), "tips": (2, 20), "cost": (3, 40)},
        steps=(
            step("sales = cups * price", "The cups bring in $@."),
            step("money = sales + tips", "With the tips, that makes $@."),
            step("left = money - cost", "After the costs, {name} has $@."),
        ),
        clauses=(
            (
                "{name} sells {cups} cups of lemonade for ${price} each,",
                "At a lemonade stand, {name} sells {cups} cups for ${price} a cup,",
                "For ${price} a cup, {name} sells {cups} cups of lemonade,",
            ),
            (
                "and also gets ${tips} in tips.",
                "and the tips add up to ${tips}.",
                "and the tip jar holds another ${tips}.",
            ),
            (
                "The lemons and the sugar cost {name} ${cost}.",
                "{name} pays ${cost} for lemons and sugar.",
            ),
            (
                "How much money does {name} have after paying for them?",
                "How many dollars are left after these costs?",
                "How many dollars does {name} keep in the end?",
            ),
        ),
    ),
    Template(
        "soup-pots",
        numbers={"bought": (12, 90), "bad": (2, 15), "pots": (2, 9)},
        words={"veg": VEGETABLES},
        steps=(
            step("good = bought - bad", "@ {veg} are good."),
            step("each = good / pots", "Each pot gets @ {veg}."),
        ),
        clauses=(
            (
                "{name} buys {bought} {veg} to make soup",
                "To make soup, {name} brings home {bought} {veg}",
                "{name} has {bought} {veg} for a soup",
            ),
            (
                "but throws away {bad} bad ones.",
                "but {bad} of them are bad and cannot be used.",
                "and finds that {bad} of the {veg} are bad and must go.",
            ),
            (
                "The good {veg} go into {pots} pots in equal numbers.",
                "{name} puts the good {veg} into {pots} pots, the same number into each.",
                "{pots} pots each get the same number of good {veg}.",
            ),
            (
                "How many {veg} are in each pot?",
                "How many {veg} does each pot get?",
                "How many {veg} go into one pot?",
            ),
        ),
    ),
    Template(
        "jam-jars",
        numbers={"cups": (12, 96), "per": (3, 12), "old": (2, 40)},
        steps=(
            step("jars = cups / per", "The berries fill @ jars."),
            step("total = jars + old", "Together there are @ jars."),
        ),
        clauses=(
            (
                "{name} has {cups} cups of berries and needs {per} cups of berries for each jar of jam.",
                "One jar of jam takes {per} cups of berries, and {name} uses up {cups} cups of berries.",
                "{name} turns {cups} cups of berries into jam, with {per} cups of berries in every jar.",
            ),
            (
                "There are already {old} jars of jam on the shelf.",
                "{name} also has {old} old jars of jam.",
                "{old} jars of jam from last year are still there.",
            ),
            (
                "How many jars of jam does {name} have in all?",
                "How many jars of jam are there now?",
                "What is the total number of jars of jam?",
            ),
        ),
    ),
    Template(
        "party-sandwiches",
        numbers={"cheese": (2, 16), "egg": (2, 16), "cut": (2, 8), "guests": (2, 16)},
        steps=(
            step("sandwiches = cheese + egg", "There are @ sandwiches."),
            step("pieces = sandwiches * cut", "They give @ pieces."),
            step("each = pieces / guests", "Each guest gets @ pieces."),
        ),
        clauses=(
            (
                "For a party, {name} makes {cheese} cheese sandwiches and {egg} egg sandwiches",
                "{name} makes {egg} egg sandwiches and {cheese} cheese sandwiches",
                "{name} makes sandwiches, {cheese} with cheese and {egg} with egg,",
            ),
            (
                "and cuts every sandwich into {cut} pieces.",
                "and then cuts each of them into {cut} pieces.",
            ),
            (
                "{guests} guests share the pieces equally.",
                "The pieces are shared equally by {guests} guests.",
                "Then {name} gives all of the pieces to {guests} guests, the same number to each.",
            ),
            (
                "How many pieces does each guest get?",
                "How many pieces are there for each guest?",
                "How many pieces can one guest eat?",
            ),
        ),
    ),
    Template(
        "juice-crates",
        numbers={"crates": (2, 9), "per": (4, 12), "broken": (2, 12), "tables": (2, 9), "drunk": (2, 12)},
        steps=(
            step("bottles = crates * per", "There are @ bottles."),
            step("whole = bottles - broken", "@ bottles are whole."),
            step("each = whole / tables", "Each table gets @ bottles."),
            step("left = each - drunk", "On that table, @ bottles are left."),
        ),
        clauses=(
            (
                "{name} buys {crates} crates of juice with {per} bottles in each crate,",
                "{name} carries {crates} crates of {per} juice bottles each to a party,",
                "For a party, {name} gets {crates} crates with {per} bottles of juice in each,",
            ),
            ("but {broken} bottles break.", "but drops {broken} bottles, which break."),
            (
                "The other bottles are spread equally over {tables} tables.",
                "The rest go onto {tables} tables, the same number on each.",
            ),
            (
                "The guests at one table drink {drunk} bottles.",
                "At the first table, people drink {drunk} bottles.",
            ),
            (
                "How many bottles are left on that table?",
                "How many bottles does that table still have?",
            ),
        ),
    ),
)
