"""Stories of pets, farms and wildlife."""

from ..template import Template, step
from ..words import ANIMALS, BIRDS, PETS

TEMPLATES = (
    Template(
        "feed-days",
        numbers={"first": (2, 7), "much": (2, 6), "second": (2, 7), "little": (2, 6), "days": (2, 5)},
        words={"animal": ANIMALS, "bird": BIRDS},
        steps=(
            step("one = first * much", "The {animal} eat @ scoops a day."),
            step("two = second * little", "The {bird} eat @ scoops a day."),
            step("daily = one + two", "Together they eat @ scoops a day."),
            step("total = daily * days", "In all they eat @ scoops."),
        ),
        clauses=(
            (
                "Every day, each of {name}'s {first} {animal} eats {much} scoops of food.",
                "{name} has {first} {animal}, and each of them eats {much} scoops of food a day.",
                "Each day, {name} gives {much} scoops of food to each of {first} {animal}.",
            ),
            (
                "{name} also has {second} {bird} that eat {little} scoops a day each.",
                "There are also {second} {bird}, and each of them eats {little} scoops a day.",
                "Every day, {second} {bird} also get {little} scoops each.",
            ),
            (
                "How many scoops of food does {name} need for {days} days?",
                "How many scoops of food are eaten in {days} days?",
                "In {days} days, how many scoops of food is that?",
            ),
        ),
    ),
    Template(
        "pond-crumbs",
        numbers={"start": (5, 40), "leave": (2, 30), "land": (2, 20), "crumbs": (2, 9)},
        words={"bird": BIRDS},
        steps=(
            step("stay = start - leave", "@ {bird} stay."),
            step("now = stay + land", "Then there are @ {bird}."),
            step("total = now * crumbs", "They get @ crumbs."),
        ),
        clauses=(
            (
                "{name} sees {start} {bird} in the park.",
                "There are {start} {bird} in the park when {name} arrives.",
                "In the park, {name} counts {start} {bird}.",
            ),
            (
                "Then {leave} of them leave and {land} other {bird} come.",
                "{leave} of the {bird} go away, but {land} new ones arrive.",
            ),
            (
                "Now {name} gives {crumbs} crumbs of bread to each of the {bird} there.",
                "Each of the {bird} that are there now gets {crumbs} crumbs of bread from {name}.",
            ),
            (
                "How many crumbs does {name} hand out?",
                "How many crumbs of bread is that in all?",
                "How many crumbs do the {bird} get altogether?",
            ),
        ),
    ),
    Template(
        "fish-tanks",
        numbers={"small": (2, 9), "per": (3, 12), "big": (2, 9), "new": (2, 20)},
        steps=(
            step("fish = small * per", "There are @ fish."),
            step("each = fish / big", "Each big tank gets @ fish."),
            step("now = each + new", "That tank then holds @ fish."),
        ),
        clauses=(
            (
                "{name} has {small} small tanks with {per} fish in each",
                "{name} keeps {per} fish in each of {small} small tanks",
                "In {small} small tanks, {name} keeps {per} fish each",
            ),
            (
                "and moves all of the fish into {big} big tanks, the same number into each.",
                "and spreads all of the fish equally over {big} big tanks.",
            ),
            (
                "Then {name} adds {new} new fish to one big tank.",
                "Later, {new} more fish are put into the first big tank.",
            ),
            (
                "How many fish are in that tank?",
                "How many fish does that tank hold then?",
                "How many fish live in that tank now?",
            ),
        ),
    ),
    Template(
        "half-as-many",
        numbers={"dogs": (4, 60), "homes": (2, 40)},
        steps=(
            step("cats = dogs / 2", "There are @ cats."),
            step("pets = dogs + cats", "Together there are @ cats and dogs."),
            step("left = pets - homes", "Then @ of them are left."),
        ),
        clauses=(
            (
                "{name}'s shelter has {dogs} dogs and half as many cats.",
                "There are {dogs} dogs in the shelter where {name} works, and half as many cats as dogs.",
                "{name} looks after {dogs} dogs. The number of cats that {name} looks after is half of that.",
                "{name} cares for {dogs} dogs and for cats, which are half as many as the dogs.",
            ),
            (
                "This week, {homes} of these cats and dogs find a new home.",
                "Families take {homes} of the cats and dogs home.",
                "Then {homes} cats and dogs are given to families.",
            ),
            (
                "How many cats and dogs are left?",
                "How many cats and dogs are still there?",
                "How many cats and dogs remain in all?",
            ),
        ),
    ),
    Template(
        "honey-jars",
        numbers={"old": (2, 9), "new": (2, 9), "jars": (2, 9), "sold": (2, 70)},
        steps=(
            step("hives = old + new", "{name} has @ hives."),
            step("total = hives * jars", "They give @ jars."),
            step("left = total - sold", "@ jars are left."),
        ),
        clauses=(
            (
                "{name} has {old} beehives and sets up {new} more.",
                "{name} keeps bees in {old} old hives and {new} new hives.",
                "To {old} old beehives, {name} adds {new} new ones.",
            ),
            (
                "Each of these hives gives {jars} jars of honey.",
                "From every hive, {name} gets {jars} jars of honey.",
                "All of the hives give {jars} jars of honey each.",
            ),
            (
                "{name} sells {sold} jars.",
                "Then {sold} of the jars are sold.",
                "{friend} buys {sold} of the jars.",
            ),
            (
                "How many jars of honey are left?",
                "How many jars does {name} still have?",
            ),
        ),
    ),
    Template(
        "puppy-weight",
        numbers={"gain": (2, 9), "months": (2, 10), "start": (2, 20)},
        words={"animal": PETS},
        steps=(
            step("gained = gain * months", "It gains @ pounds."),
            step("weight = start + gained", "Then it weighs @ pounds."),
        ),
        clauses=(
            (
                "One of {name}'s {animal} weighs {start} pounds",
                "A {animal_one} on {name}'s farm weighs {start} pounds",
                "{name} buys a {animal_one} that weighs {start} pounds",
            ),
            (
                "and gains {gain} pounds every month.",
                "and grows by {gain} pounds a month.",
                "and puts on {gain} pounds each month.",
            ),
            (
                "How many pounds does it weigh after {months} months?",
                "What is its weight in pounds {months} months later?",
                "In {months} months, how many pounds will it weigh?",
            ),
        ),
    ),
    Template(
        "dog-walks",
        numbers={"big": (3, 45), "small": (3, 45), "per": (2, 9), "done": (2, 20)},
        steps=(
            step("dogs = big + small", "There are @ dogs."),
            step("walks = dogs / per", "That makes @ walks."),
            step("left = walks - done", "@ walks are left."),
        ),
        clauses=(
            (
                "{name} takes {big} big dogs and {small} small dogs for walks.",
                "At a dog hotel, {name} has to walk {small} small dogs and {big} big dogs.",
                "There are {big} big dogs and {small} small dogs that {name} has to walk.",
            ),
            (
                "On each walk, {name} takes {per} dogs along, and every dog is walked once.",
                "{name} walks {per} dogs at a time, each dog once.",
            ),
            (
                "{done} of the walks are already done.",
                "So far, {name} is done with {done} walks.",
            ),
            (
                "How many walks are left?",
                "How many walks does {name} still have to do?",
                "How many more walks are there?",
            ),
        ),
    ),
    Template(
        "bird-seed",
        numbers={"seed": (16, 99), "feeders": (2, 6), "spilled": (2, 15), "daily": (2, 6)},
        words={"bird": BIRDS},
        steps=(
            step("each = seed / feeders", "Each feeder holds @ cups."),
            step("rest = each - spilled", "In that feeder, @ cups are left."),
            step("days = rest / daily", "They last for @ days."),
        ),
        clauses=(
            (
                "{name} puts {seed} cups of seed into {feeders} feeders, the same amount into each.",
                "{name} spreads {seed} cups of seed equally over {feeders} feeders.",
                "All of {name}'s {seed} cups of seed go into {feeders} feeders in equal parts.",
            ),
            (
                "The wind blows {spilled} cups out of one feeder.",
                "One of the feeders loses {spilled} cups in the rain.",
            ),
            (
                "From then on, {bird} eat {daily} cups a day out of it.",
                "After that, the {bird} eat {daily} cups a day from this feeder.",
            ),
            (
                "For how many days does the seed in that feeder last?",
                "After how many days is this feeder empty?",
            ),
        ),
    ),
)
