"""Stories of making things by hand."""

from ..template import Template, step
from ..words import KNITWEAR

TEMPLATES = (
    Template(
        "bead-strings",
        numbers={"red": (5, 50), "blue": (5, 50), "per": (3, 12), "price": (2, 9), "cost": (2, 40)},
        steps=(
            step("beads = red + blue", "There are @ beads."),
            step("strings = beads / per", "They make @ necklaces."),
            step("sales = strings * price", "They sell for $@."),
            step("profit = sales - cost", "After the costs, {name} has $@."),
        ),
        clauses=(
            (
                "{name} has {red} red beads and {blue} blue beads",
                "{name} buys {blue} blue beads and {red} red beads",
                "{name} takes {red} red and {blue} blue beads",
            ),
            (
                "and uses all of them for necklaces with {per} beads each.",
                "and puts {per} beads on every necklace until all beads are used up.",
            ),
            (
                "The beads cost ${cost}, and {name} sells each necklace for ${price}.",
                "Each necklace sells for ${price}, and {name} pays ${cost} for the beads.",
            ),
            (
                "How many dollars does {name} gain?",
                "How much profit in dollars does {name} make by selling all of the necklaces?",
            ),
        ),
    ),
    Template(
        "rope-pieces",
        numbers={"rope": (20, 99), "cut": (2, 30), "piece": (2, 12), "given": (2, 20)},
        steps=(
            step("rest = rope - cut", "@ feet of rope are left."),
            step("pieces = rest / piece", "That makes @ pieces."),
            step("kept = pieces - given", "{name} keeps @ pieces."),
        ),
        clauses=(
            (
                "{name} has {rope} feet of rope and uses {cut} feet to hang up a swing.",
                "From a rope of {rope} feet, {name} uses up {cut} feet for a swing.",
                "A swing takes {cut} feet of {name}'s rope, which is {rope} feet long.",
            ),
            (
                "{name} cuts the rest into pieces of {piece} feet",
                "From all of the rest, {name} makes pieces of {piece} feet each",
            ),
            (
                "and gives {given} of these pieces to {friend}.",
                "and hands {given} of the pieces to {friend}.",
            ),
            (
                "How many pieces does {name} keep?",
                "How many pieces are left for {name}?",
                "How many of these pieces does {name} still have?",
            ),
        ),
    ),
    Template(
        "quilt-days",
        numbers={"rows": (3, 9), "per": (3, 11), "done": (2, 60), "daily": (2, 9)},
        steps=(
            step("squares = rows * per", "The quilt has @ squares."),
            step("left = squares - done", "@ squares are left to sew."),
            step("days = left / daily", "That takes @ days."),
        ),
        clauses=(
            (
                "{name} sews a quilt with {rows} rows of {per} squares.",
                "A quilt with {rows} rows and {per} squares in each row is {name}'s new project.",
                "{name} plans a quilt of {rows} rows, each with {per} squares.",
            ),
            (
                "So far, {done} squares are done.",
                "{done} of the squares are already sewn.",
            ),
            (
                "{name} sews {daily} squares a day.",
                "From now on, {name} finishes {daily} squares every day.",
            ),
            (
                "How many days does it take to finish the quilt?",
                "After how many more days is the quilt done?",
                "How many days does {name} still need?",
            ),
        ),
    ),
    Template(
        "candle-boxes",
        numbers={"batches": (2, 9), "per": (3, 12), "box": (2, 9), "sold": (2, 20)},
        steps=(
            step("candles = batches * per", "{name} makes @ candles."),
            step("boxes = candles / box", "They fill @ boxes."),
            step("left = boxes - sold", "Then @ boxes are left."),
        ),
        clauses=(
            (
                "{name} makes {batches} batches of {per} candles each",
                "In {batches} batches, {name} makes {per} candles each time",
                "{name} pours {per} candles in each of {batches} batches",
            ),
            (
                "and packs all of them into boxes of {box}.",
                "and puts all of the candles into boxes that hold {box} candles each.",
            ),
            (
                "{name} sells {sold} boxes.",
                "At a fair, {sold} of the boxes are sold.",
                "{friend} buys {sold} of the boxes.",
            ),
            (
                "How many boxes are left?",
                "How many boxes of candles does {name} still have?",
                "How many boxes remain?",
            ),
        ),
    ),
    Template(
        "yarn-cost",
        numbers={"balls": (4, 60), "made": (2, 12), "wanted": (2, 9), "price": (2, 9)},
        words={"thing": KNITWEAR},
        steps=(
            step("per = balls / made", "One of them takes @ balls of yarn."),
            step("needed = per * wanted", "{wanted} {thing} take @ balls."),
            step("cost = needed * price", "The yarn costs $@."),
        ),
        clauses=(
            (
                "{name} knits {made} {thing} out of {balls} balls of yarn, using the same amount for each.",
                "For {made} equal {thing}, {name} needs {balls} balls of yarn.",
                "{balls} balls of yarn are enough for {name} to knit {made} equal {thing}.",
            ),
            (
                "A ball of yarn costs ${price}.",
                "The shop sells yarn for ${price} a ball.",
            ),
            (
                "How many dollars does {name} pay for the yarn for {wanted} such {thing}?",
                "{friend} wants {wanted} of these {thing}. How many dollars does the yarn for them cost?",
                "How much does the yarn for {wanted} more of these {thing} cost?",
            ),
        ),
    ),
    Template(
        "paint-houses",
        numbers={"doors": (2, 9), "windows": (3, 20), "houses": (2, 9)},
        steps=(
            step("per = doors + windows", "One house has @ doors and windows."),
            step("total = per * houses", "All houses together have @ doors and windows."),
        ),
        clauses=(
            (
                "{name} paints {houses} houses.",
                "On one street, {name} paints {houses} houses that look the same.",
                "{name} has the job of painting {houses} equal houses.",
            ),
            (
                "Each house has {doors} doors and {windows} windows.",
                "Every house has {windows} windows and {doors} doors.",
                "There are {doors} doors and {windows} windows on each of them.",
            ),
            (
                "How many doors and windows does {name} paint in all?",
                "How many doors and windows are there altogether?",
                "What is the number of all doors and windows together?",
            ),
        ),
    ),
    Template(
        "shelf-boards",
        numbers={"shelves": (2, 9), "per": (3, 9), "door": (2, 20), "spare": (2, 20)},
        steps=(
            step("boards = shelves * per", "The shelves take @ boards."),
            step("used = boards + door", "With the door, {name} uses @ boards."),
            step("start = used + spare", "At the start, {name} has @ boards."),
        ),
        clauses=(
            (
                "{name} builds {shelves} shelves with {per} boards each",
                "For a hut, {name} builds {shelves} shelves of {per} boards each",
                "{name} puts up {shelves} shelves that take {per} boards each",
            ),
            (
                "and a door with {door} boards.",
                "and also builds a door out of {door} boards.",
            ),
            (
                "After that, {spare} boards are left over.",
                "In the end, {name} still has {spare} boards.",
            ),
            (
                "How many boards are there at the start?",
                "How many boards does {name} have at first?",
                "With how many boards does {name} begin?",
            ),
        ),
    ),
    Template(
        "button-packs",
        numbers={"shirts": (2, 9), "per": (3, 9), "coat": (2, 20), "has": (2, 30), "pack": (2, 10)},
        steps=(
            step("shirt_buttons = shirts * per", "The shirts take @ buttons."),
            step("needed = shirt_buttons + coat", "With the coat, {name} needs @ buttons."),
            step("missing = needed - has", "@ buttons are missing."),
            step("packs = missing / pack", "That makes @ packs."),
        ),
        clauses=(
            (
                "{name} sews {shirts} shirts with {per} buttons each and a coat with {coat} buttons.",
                "{name} needs {per} buttons for each of {shirts} shirts and {coat} buttons for a coat.",
                "A coat needs {coat} buttons, and {name} also sews {shirts} shirts with {per} buttons each.",
            ),
            (
                "{name} already has {has} buttons.",
                "There are {has} buttons in {name}'s drawer.",
            ),
            (
                "The rest come in packs of {pack}.",
                "{name} buys the missing buttons in packs of {pack}.",
            ),
            (
                "How many packs does {name} need to buy?",
                "How many packs of buttons are needed?",
            ),
        ),
    ),
)
