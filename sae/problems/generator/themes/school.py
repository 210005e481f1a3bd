"""Stories of classrooms, books and tests."""

from ..template import Template, step
from ..words import READING

TEMPLATES = (
    Template(
        "library-shelf",
        numbers={"start": (20, 90), "lent": (5, 60), "back": (3, 50)},
        words={"thing": READING},
        steps=(
            step("rest = start - lent", "@ {thing} stay on the shelf."),
            step("now = rest + back", "In the evening there are @ {thing}."),
        ),
        clauses=(
            (
                "{name} looks after a library shelf with {start} {thing}.",
                "There are {start} {thing} on {name}'s shelf in the library.",
                "In the morning, {name}'s library shelf holds {start} {thing}.",
            ),
            (
                "During the day, {lent} {thing} are lent out and {back} other {thing} are brought back.",
                "Readers borrow {lent} of them, and then {back} other {thing} are put on the shelf.",
                "People take {lent} {thing} home, and {name} adds {back} new {thing}.",
            ),
            (
                "How many {thing} are on the shelf in the evening?",
                "How many {thing} are there at the end of the day?",
                "How many {thing} does the shelf hold after that?",
            ),
        ),
    ),
    Template(
        "reading-pages",
        numbers={"pages": (30, 98), "first": (5, 45), "second": (5, 45)},
        steps=(
            step("after = pages - first", "After the first day, @ pages are left."),
            step("left = after - second", "After the second day, @ pages are left."),
        ),
        clauses=(
            (
                "{name} reads a book of {pages} pages.",
                "{name}'s new book has {pages} pages.",
                "There are {pages} pages in the book that {name} starts to read.",
            ),
            (
                "{name} reads {first} pages on Monday and {second} pages on Tuesday.",
                "On Monday {name} reads {first} pages, and on Tuesday {second} more.",
                "The first day, {name} reads {first} pages. The next day, {name} reads {second} pages.",
            ),
            (
                "How many pages are left to read?",
                "How many pages does {name} still have to read?",
                "How many pages remain?",
            ),
        ),
    ),
    Template(
        "class-stars",
        numbers={"tables": (2, 9), "students": (2, 9), "stars": (2, 9)},
        steps=(
            step("children = tables * students", "There are @ students."),
            step("total = children * stars", "They make @ paper stars."),
        ),
        clauses=(
            (
                "In {name}'s class there are {tables} tables with {students} students at each table.",
                "{name}'s class has {tables} tables, and {students} students sit at each of them.",
                "{students} students sit at every one of the {tables} tables in {name}'s class.",
            ),
            (
                "Every student makes {stars} paper stars.",
                "Each student cuts out {stars} paper stars.",
                "{name} asks each student for {stars} paper stars, and all students make them.",
            ),
            (
                "How many paper stars does the class make?",
                "How many paper stars are there in all?",
                "What is the total number of paper stars?",
            ),
        ),
    ),
    Template(
        "school-trip",
        numbers={"students": (10, 60), "adults": (2, 12), "seats": (3, 12), "cost": (2, 20)},
        steps=(
            step("people = students + adults", "@ people go on the trip."),
            step("vans = people / seats", "They fill @ vans."),
            step("total = vans * cost", "Parking costs $@."),
        ),
        clauses=(
            (
                "{students} students and {adults} adults go on a trip with {name}'s school.",
                "{name}'s school takes {students} students and {adults} adults to the zoo.",
                "For a school trip, {name} counts {students} students and {adults} adults.",
            ),
            (
                "They ride in vans, and every van is full with {seats} of these people.",
                "All of them ride in vans, with exactly {seats} people in each van.",
            ),
            (
                "Parking costs ${cost} for each van.",
                "For every van, the school pays ${cost} for parking.",
            ),
            (
                "How many dollars does parking cost in all?",
                "How much does the school pay for parking?",
                "What is the total cost of parking in dollars?",
            ),
        ),
    ),
    Template(
        "quiz-points",
        numbers={"right": (4, 15), "plus": (3, 8), "wrong": (2, 12), "minus": (2, 4)},
        steps=(
            step("won = right * plus", "The right answers give @ points."),
            step("lost = wrong * minus", "The wrong answers take away @ points."),
            step("score = won - lost", "The score is @ points."),
        ),
        clauses=(
            (
                "In a quiz, a right answer gives {plus} points and a wrong answer takes away {minus} points.",
                "A quiz gives {plus} points for each right answer and takes away {minus} for each wrong one.",
                "Each right answer in a quiz wins {plus} points, and each wrong answer loses {minus} points.",
            ),
            (
                "{name} has {right} right answers and {wrong} wrong answers.",
                "{name} gets {right} answers right and {wrong} answers wrong.",
                "{name} answers {right} questions right and {wrong} questions wrong.",
            ),
            (
                "How many points does {name} have?",
                "What is {name}'s score?",
                "How many points does {name} score in all?",
            ),
        ),
    ),
    Template(
        "paper-groups",
        numbers={"sheets": (8, 99), "classes": (2, 9), "groups": (2, 9)},
        steps=(
            step("share = sheets / classes", "Each class gets @ sheets."),
            step("each = share / groups", "Each group gets @ sheets."),
        ),
        clauses=(
            (
                "{name} splits {sheets} sheets of paper equally among {classes} classes.",
                "{name} has {sheets} sheets of paper and gives the same number to each of {classes} classes.",
                "{classes} classes share {name}'s {sheets} sheets of paper equally.",
            ),
            (
                "Each class splits its sheets equally among {groups} groups.",
                "In every class, {groups} groups share the sheets equally.",
                "Every class has {groups} groups, and they share its sheets equally.",
            ),
            (
                "How many sheets does each group get?",
                "How many sheets of paper are there for each group?",
                "How many sheets does one group have?",
            ),
        ),
    ),
    Template(
        "homework-pages",
        numbers={"days": (2, 9), "daily": (3, 12), "extra": (2, 30), "per": (2, 12)},
        steps=(
            step("regular = days * daily", "On those days, {name} solves @ problems."),
            step("total = regular + extra", "In all, that makes @ problems."),
            step("pages = total / per", "They fill @ pages."),
        ),
        clauses=(
            (
                "{name} solves {daily} math problems a day for {days} days",
                "For {days} days, {name} solves {daily} math problems each day",
                "On each of {days} days, {name} solves {daily} math problems",
            ),
            (
                "and {extra} more on the weekend.",
                "and then solves {extra} extra problems.",
            ),
            (
                "{per} problems fit on a page, and {name} fills every page.",
                "{name} writes exactly {per} problems on every page.",
            ),
            (
                "How many pages does {name} fill?",
                "How many pages does {name} use?",
                "How many pages of problems are there?",
            ),
        ),
    ),
    Template(
        "choir-rows",
        numbers={"singers": (15, 80), "leave": (2, 20), "join": (2, 30), "rows": (2, 9)},
        steps=(
            step("stay = singers - leave", "@ singers stay."),
            step("now = stay + join", "With the new ones, there are @ singers."),
            step("each = now / rows", "Each row has @ singers."),
        ),
        clauses=(
            (
                "{name}'s choir has {singers} singers.",
                "There are {singers} singers in {name}'s choir.",
                "{name} leads a choir of {singers} singers.",
            ),
            (
                "Then {leave} singers leave and {join} new singers join.",
                "This year, {leave} of them leave, and {join} others join the choir.",
                "{leave} of the singers stop, but {join} new ones start.",
            ),
            (
                "Now the whole choir stands in {rows} equal rows.",
                "On stage, all singers now stand in {rows} rows of the same length.",
            ),
            (
                "How many singers are in each row?",
                "How many singers stand in one row?",
                "How many singers does every row have?",
            ),
        ),
    ),
    Template(
        "crayon-tables",
        numbers={"small": (2, 8), "few": (2, 8), "big": (2, 8), "many": (4, 12), "tables": (2, 12)},
        steps=(
            step("some = small * few", "The small boxes hold @ crayons."),
            step("others = big * many", "The big boxes hold @ crayons."),
            step("total = some + others", "Together that makes @ crayons."),
            step("each = total / tables", "Each table gets @ crayons."),
        ),
        clauses=(
            (
                "{name} has {small} small boxes with {few} crayons each",
                "{name} finds {small} small boxes of {few} crayons each",
                "On {name}'s desk are {small} small boxes with {few} crayons in each",
            ),
            (
                "and {big} big boxes with {many} crayons each.",
                "and {big} big boxes that hold {many} crayons each.",
            ),
            (
                "All of the crayons are shared equally by {tables} tables.",
                "{name} gives all of the crayons to {tables} tables, the same number to each.",
            ),
            (
                "How many crayons does each table get?",
                "How many crayons are there for each table?",
                "How many crayons does one table have?",
            ),
        ),
    ),
)
