"""Stories of games, collections and sports."""

from ..template import Template, step
from ..words import TOYS

TEMPLATES = (
    Template(
        "fewer-than",
        numbers={"own": (8, 60), "fewer": (3, 40)},
        words={"toy": TOYS},
        steps=(
            step("theirs = own - fewer", "{friend} has @ {toy}."),
            step("total = own + theirs", "Together they have @ {toy}."),
        ),
        clauses=(
            (
                "{name} has {own} {toy}.",
                "In a box, {name} keeps {own} {toy}.",
                "{name} owns {own} {toy}.",
                "There are {own} {toy} on {name}'s table.",
            ),
            (
                "{friend} has {fewer} fewer {toy} than {name}.",
                "That is {fewer} more than {friend} has.",
                "{name} has {fewer} more {toy} than {friend}.",
            ),
            (
                "How many {toy} do {name} and {friend} have together?",
                "How many {toy} do they have in all?",
                "Together, how many {toy} do {friend} and {name} have?",
            ),
        ),
    ),
    Template(
        "three-times",
        numbers={"own": (2, 24), "lost": (2, 40)},
        words={"toy": TOYS},
        steps=(
            step("theirs = own * 3", "{friend} has @ {toy}."),
            step("rest = theirs - lost", "Then {friend} has @ {toy}."),
            step("total = rest + own", "Together they have @ {toy}."),
        ),
        clauses=(
            (
                "{name} has {own} {toy}, and {friend} has three times as many.",
                "{friend} has three times as many {toy} as {name}, who has {own}.",
                "{name} finds {own} {toy}. {friend} finds three times that number.",
            ),
            (
                "Then {friend} loses {lost} {toy}.",
                "Later, {friend} gives {lost} {toy} to {other}.",
                "{other} takes {lost} of {friend}'s {toy} away.",
            ),
            (
                "How many {toy} do {name} and {friend} have together after that?",
                "How many {toy} do {friend} and {name} now have in all?",
                "Together, how many {toy} are left for {name} and {friend}?",
            ),
        ),
    ),
    Template(
        "card-packs",
        numbers={"packs": (2, 7), "per": (3, 9), "boxes": (2, 6), "each": (3, 9), "old": (2, 30)},
        steps=(
            step("one = packs * per", "The packs hold @ cards."),
            step("two = boxes * each", "The boxes hold @ cards."),
            step("new = one + two", "{name} buys @ cards."),
            step("total = new + old", "With the old ones, {name} has @ cards."),
        ),
        clauses=(
            (
                "{name} buys {packs} packs with {per} cards each",
                "{name} gets {packs} packs of {per} cards",
                "For a game, {name} buys {packs} packs of {per} cards each",
            ),
            (
                "and {boxes} boxes with {each} cards each.",
                "and {boxes} boxes that hold {each} cards each.",
            ),
            (
                "{name} already has {old} cards.",
                "At home, {name} has another {old} cards.",
            ),
            (
                "How many cards does {name} have in all?",
                "How many cards is that altogether?",
                "What is the total number of {name}'s cards?",
            ),
        ),
    ),
    Template(
        "game-score",
        numbers={"start": (5, 50), "win": (3, 40), "lose": (3, 50), "last": (3, 40)},
        steps=(
            step("up = start + win", "After the first round, {name} has @ points."),
            step("down = up - lose", "After the second round, {name} has @ points."),
            step("score = down + last", "After the third round, {name} has @ points."),
        ),
        clauses=(
            (
                "{name} starts a game with {start} points.",
                "In a game, {name} begins with {start} points.",
                "{start} points are on {name}'s side when a game starts.",
            ),
            (
                "{name} wins {win} points, loses {lose} points and then wins {last} more.",
                "In the first round {name} wins {win} points, in the second {name} loses {lose}, "
                "and in the third {name} wins {last}.",
                "First {name} gets {win} more points, then {name} loses {lose} and gets another {last}.",
            ),
            (
                "How many points does {name} have in the end?",
                "What is {name}'s score after that?",
                "With how many points does {name} finish?",
            ),
        ),
    ),
    Template(
        "team-balls",
        numbers={"girls": (4, 40), "boys": (4, 40), "size": (3, 12), "balls": (2, 6), "spare": (2, 20)},
        steps=(
            step("players = girls + boys", "There are @ players."),
            step("teams = players / size", "They form @ teams."),
            step("given = teams * balls", "The teams get @ balls."),
            step("total = given + spare", "With the spare ones, there are @ balls."),
        ),
        clauses=(
            (
                "{name} trains {girls} girls and {boys} boys,",
                "At {name}'s sports club there are {boys} boys and {girls} girls,",
                "{girls} girls and {boys} boys come to {name}'s sports day,",
            ),
            (
                "and all of these children are put into teams of {size}.",
                "and all of them play in teams of {size}.",
            ),
            (
                "Every team gets {balls} balls, and {name} keeps {spare} spare balls.",
                "{name} gives {balls} balls to each team and still has {spare} balls.",
            ),
            (
                "How many balls are there in all?",
                "What is the total number of balls?",
            ),
        ),
    ),
    Template(
        "treasure-share",
        numbers={"coins": (12, 98), "players": (2, 9), "spent": (2, 20), "found": (2, 30)},
        steps=(
            step("share = coins / players", "Each player gets @ coins."),
            step("rest = share - spent", "{name} keeps @ coins."),
            step("double = rest * 2", "Doubled, that makes @ coins."),
            step("total = double + found", "In the end, {name} has @ coins."),
        ),
        clauses=(
            (
                "In a game, {players} players share {coins} coins equally, and {name} is one of them.",
                "{name} and the others in a game, {players} players in all, share {coins} coins equally.",
                "{coins} coins are split equally among {players} players of a game. {name} is one of them.",
            ),
            (
                "{name} spends {spent} coins and then doubles the rest.",
                "{name} pays {spent} coins for a boat and then doubles the coins that are left.",
            ),
            (
                "At last, {name} finds {found} more coins.",
                "After that, {name} finds another {found} coins.",
            ),
            (
                "How many coins does {name} have in the end?",
                "How many coins does {name} have now?",
                "With how many coins does {name} finish?",
            ),
        ),
    ),
    Template(
        "block-towers",
        numbers={"layers": (4, 20), "fallen": (2, 15), "per": (2, 9), "floor": (2, 30)},
        steps=(
            step("standing = layers - fallen", "@ layers are left."),
            step("blocks = standing * per", "They have @ blocks."),
            step("total = blocks + floor", "Together with the floor, that makes @ blocks."),
        ),
        clauses=(
            (
                "{name} builds a tower of {layers} layers with {per} blocks in each layer.",
                "With {per} blocks in every layer, {name} builds a tower of {layers} layers.",
                "{name}'s tower has {layers} layers of {per} blocks each.",
            ),
            (
                "{name} takes off {fallen} layers and puts them away.",
                "Then {friend} takes away the top {fallen} layers.",
            ),
            (
                "Around the tower, {name} lays {floor} blocks as a floor.",
                "After that, {name} adds {floor} blocks to the tower.",
            ),
            (
                "How many blocks does {name}'s building have then?",
                "How many blocks are there in the building then?",
            ),
        ),
    ),
    Template(
        "puzzle-friends",
        numbers={"pieces": (30, 99), "first": (3, 40), "second": (3, 40), "friends": (2, 9)},
        steps=(
            step("after = pieces - first", "After the first day, @ pieces are left."),
            step("rest = after - second", "After the second day, @ pieces are left."),
            step("each = rest / friends", "Each friend places @ pieces."),
        ),
        clauses=(
            (
                "{name} starts a puzzle of {pieces} pieces.",
                "A puzzle of {pieces} pieces lies on {name}'s table.",
                "{name} has a puzzle with {pieces} pieces.",
            ),
            (
                "{name} places {first} pieces on Saturday and {second} pieces on Sunday.",
                "On the first day {name} places {first} pieces, and on the second day {second} more.",
            ),
            (
                "Then {friends} friends place the rest, the same number each.",
                "The rest of the pieces are shared equally by {friends} friends, who finish the puzzle.",
            ),
            (
                "How many pieces does each friend place?",
                "How many pieces are there for each friend?",
                "How many pieces does one of the friends place?",
            ),
        ),
    ),
    Template(
        "movie-night",
        numbers={"adults": (2, 9), "children": (2, 12), "price": (2, 9), "snacks": (2, 40)},
        steps=(
            step("people = adults + children", "@ people go to the movies."),
            step("tickets = people * price", "The tickets cost $@."),
            step("total = tickets + snacks", "With the snacks, {name} pays $@."),
        ),
        clauses=(
            (
                "{name} takes a group of {adults} adults and {children} children to the movies.",
                "{name} pays for {children} children and {adults} adults at the movies.",
                "At the movies, {name} buys tickets for {adults} adults and {children} children.",
            ),
            (
                "Every ticket costs ${price}, and the snacks cost ${snacks} in all.",
                "A ticket is ${price} for anyone, and {name} spends ${snacks} on snacks.",
                "{name} pays ${price} for each of these people and ${snacks} for snacks.",
            ),
            (
                "How many dollars does {name} spend?",
                "How much does {name} pay altogether?",
                "What is the total cost in dollars?",
            ),
        ),
    ),
    Template(
        "shell-days",
        numbers={"first": (3, 40), "second": (3, 40), "third": (3, 40), "gone": (2, 60)},
        words={"toy": TOYS},
        steps=(
            step("two = first + second", "In two days, {name} finds @ {toy}."),
            step("three = two + third", "In three days, {name} finds @ {toy}."),
            step("left = three - gone", "Then {name} keeps @ {toy}."),
        ),
        clauses=(
            (
                "{name} finds {first} {toy} on Monday, {second} on Tuesday and {third} on Wednesday.",
                "On three days, {name} collects {first}, {second} and {third} {toy}.",
                "{name} collects {toy}: {first} on one day, {second} the next day and {third} the day after.",
            ),
            (
                "{name} gives {gone} of the {toy} to {friend}.",
                "Then {friend} gets {gone} of them from {name}.",
                "After that, {name} loses {gone} of the {toy}.",
            ),
            (
                "How many {toy} does {name} have left?",
                "How many {toy} does {name} still have?",
                "How many {toy} are left for {name}?",
            ),
        ),
    ),
    Template(
        "book-fair",
        numbers={"boxes": (4, 15), "sold": (2, 12), "per": (3, 12), "loose": (2, 30), "shelves": (2, 9)},
        steps=(
            step("rest = boxes - sold", "@ boxes are left."),
            step("packed = rest * per", "They hold @ comics."),
            step("total = packed + loose", "Together that makes @ comics."),
            step("each = total / shelves", "Each shelf gets @ comics."),
        ),
        clauses=(
            (
                "{name} collects comics and has {boxes} boxes with {per} comics in each.",
                "There are {boxes} boxes of {per} comics each in {name}'s room.",
                "{name} keeps {per} comics in each of {boxes} boxes.",
            ),
            (
                "{name} sells {sold} full boxes, but gets {loose} other comics.",
                "{friend} buys {sold} of the full boxes, and {name} gets {loose} other comics.",
            ),
            (
                "Now {name} puts all comics on {shelves} shelves, the same number on each.",
                "All of the comics are now spread equally over {shelves} shelves.",
            ),
            (
                "How many comics are on each shelf?",
                "How many comics does each shelf hold?",
                "How many comics stand on one shelf?",
            ),
        ),
    ),
    Template(
        "prize-tickets",
        numbers={"tickets": (15, 90), "used": (2, 40), "prize": (2, 12), "worth": (2, 9), "cash": (2, 30)},
        steps=(
            step("rest = tickets - used", "{name} has @ tickets left."),
            step("prizes = rest / prize", "They are enough for @ prizes."),
            step("value = prizes * worth", "The prizes are worth $@."),
            step("total = value + cash", "Together with the cash, that makes $@."),
        ),
        clauses=(
            (
                "{name} wins {tickets} tickets at a fair and uses {used} of them for rides.",
                "Of the {tickets} tickets that {name} wins at a fair, {used} go for rides.",
                "At a fair, {name} wins {tickets} tickets and spends {used} tickets on rides.",
            ),
            (
                "All of the other tickets are traded for prizes at {prize} tickets each.",
                "{name} trades all of the rest for prizes, and each prize takes {prize} tickets.",
            ),
            (
                "Each prize is worth ${worth}, and {name} also wins ${cash} in cash.",
                "{name} sells every prize for ${worth} and also wins ${cash}.",
            ),
            (
                "How many dollars is that in all?",
                "What is the total in dollars?",
            ),
        ),
    ),
)
