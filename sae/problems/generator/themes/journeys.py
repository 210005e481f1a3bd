"""Stories of buses, roads and trips."""

from ..template import Template, step
from ..words import VEHICLES

TEMPLATES = (
    Template(
        "bus-stop",
        numbers={"on": (5, 60), "board": (2, 30), "off": (2, 50)},
        steps=(
            step("full = on + board", "After boarding, there are @ people."),
            step("left = full - off", "Then @ people are left."),
        ),
        clauses=(
            (
                "{name} drives a bus with {on} people on it.",
                "There are {on} people on the bus that {name} drives.",
                "{on} people ride on {name}'s bus.",
            ),
            (
                "At a stop, {board} people get on and {off} people get off.",
                "{board} people get on at the park, and {off} people get off at the museum.",
                "At the station, {board} more people get on. Later, {off} people get off.",
            ),
            (
                "How many people are on the bus now?",
                "How many people are still on the bus?",
                "How many people ride on after that?",
            ),
        ),
    ),
    Template(
        "ferry-stops",
        numbers={"start": (20, 90), "off": (3, 50), "on": (3, 50), "leave": (3, 50)},
        steps=(
            step("stay = start - off", "After the first island, @ people are on board."),
            step("more = stay + on", "After boarding, there are @ people."),
            step("left = more - leave", "After the second island, @ people are on board."),
        ),
        clauses=(
            (
                "A ferry leaves the city with {name} as its captain and {start} guests.",
                "{name} is the captain of a ferry that carries {start} guests.",
                "{start} guests are on the ferry when {name} steers it out of the city.",
            ),
            (
                "At the first island, {off} guests get off and {on} others get on.",
                "{off} of the guests leave at the first island, where {on} new ones come on board.",
            ),
            (
                "At the second island, {leave} guests get off.",
                "Then {leave} guests leave at the second island.",
            ),
            (
                "How many guests are on the ferry after that?",
                "How many guests are still on board?",
                "How many guests sail on from there?",
            ),
        ),
    ),
    Template(
        "road-left",
        numbers={"total": (30, 99), "before": (5, 45), "after": (5, 45)},
        steps=(
            step("driven = before + after", "{name} drives @ miles."),
            step("left = total - driven", "That leaves @ miles."),
        ),
        clauses=(
            (
                "{name} is on a trip of {total} miles.",
                "The road to {name}'s home town is {total} miles long.",
                "{name} has {total} miles to drive.",
            ),
            (
                "{name} drives {before} miles before lunch and {after} miles after lunch.",
                "Before a break, {name} drives {before} miles. After it, {name} drives {after} more.",
                "In the first hour, {name} drives {before} miles, and in the second hour {after} miles.",
            ),
            (
                "How many miles are left?",
                "How many miles does {name} still have to drive?",
                "How many miles remain?",
            ),
        ),
    ),
    Template(
        "fuel-range",
        numbers={"miles": (8, 99), "liters": (2, 12), "tank": (2, 16), "driven": (2, 60)},
        words={"car": VEHICLES},
        steps=(
            step("per = miles / liters", "One liter lasts for @ miles."),
            step("range = per * tank", "The tank lasts for @ miles."),
            step("left = range - driven", "After the drive, @ miles are left."),
        ),
        clauses=(
            (
                "{name}'s {car_one} drives {miles} miles on {liters} liters of fuel.",
                "With {liters} liters of fuel, {name}'s {car_one} can go {miles} miles.",
                "The {car_one} that {name} drives needs {liters} liters of fuel for {miles} miles.",
            ),
            (
                "There are {tank} liters in the tank, and {name} drives {driven} miles.",
                "{name} puts {tank} liters into the empty tank and then drives {driven} miles.",
                "{name} starts with {tank} liters of fuel and goes {driven} miles.",
            ),
            (
                "How many more miles can the {car_one} go?",
                "For how many miles does the rest of the fuel last?",
                "How many miles are left before the tank is empty?",
            ),
        ),
    ),
    Template(
        "triathlon-training",
        numbers={"swim": (2, 9), "bike": (3, 20), "run": (2, 12), "days": (2, 7)},
        steps=(
            step("two = swim + bike", "Swimming and biking make @ miles."),
            step("daily = two + run", "One day has @ miles."),
            step("total = daily * days", "All days have @ miles."),
        ),
        clauses=(
            (
                "{name} swims {swim} miles, bikes {bike} miles and runs {run} miles a day.",
                "Every day, {name} swims {swim} miles, rides {bike} miles on a bike and runs {run} miles.",
                "Each day of training, {name} swims {swim}, bikes {bike} and runs {run} miles.",
            ),
            (
                "How many miles is that in {days} days?",
                "How many miles does {name} cover in {days} days?",
                "What is the total number of miles in {days} days?",
                "{name} does this for {days} days. How many miles does {name} cover?",
            ),
        ),
    ),
    Template(
        "delivery-vans",
        numbers={"boxes": (12, 98), "per": (3, 16), "empty": (2, 12), "fuel": (2, 12)},
        words={"car": VEHICLES},
        steps=(
            step("loaded = boxes / per", "The boxes fill @ {car}."),
            step("total = loaded + empty", "Together there are @ {car}."),
            step("cost = total * fuel", "The fuel costs $@."),
        ),
        clauses=(
            (
                "{name} has to send {boxes} boxes in {car} that take {per} boxes each.",
                "{boxes} boxes fill {name}'s {car} with {per} boxes in each.",
                "{name} loads {boxes} boxes into {car}, {per} into each.",
            ),
            (
                "Another {empty} {car} drive along without boxes.",
                "{empty} empty {car} go with them.",
            ),
            (
                "Every one of these {car} needs fuel for ${fuel}.",
                "Fuel costs ${fuel} for each of all these {car}, loaded or empty.",
            ),
            (
                "How many dollars does the fuel cost in all?",
                "How much does {name} pay for fuel?",
                "What is the total cost of the fuel in dollars?",
            ),
        ),
    ),
    Template(
        "hotel-beds",
        numbers={"floors": (2, 6), "rooms": (2, 9), "beds": (2, 5), "taken": (2, 60)},
        steps=(
            step("all_rooms = floors * rooms", "The hotel has @ rooms."),
            step("all_beds = all_rooms * beds", "They have @ beds."),
            step("free = all_beds - taken", "That leaves @ free beds."),
        ),
        clauses=(
            (
                "{name}'s hotel has {floors} floors with {rooms} rooms on each floor",
                "{name} runs a hotel of {floors} floors with {rooms} rooms on every floor",
                "There are {floors} floors in {name}'s hotel, {rooms} rooms on each floor",
            ),
            (
                "and {beds} beds in each room.",
                "and {beds} beds in every room.",
            ),
            (
                "Tonight, guests sleep in {taken} of the beds.",
                "For tonight, {taken} beds are taken.",
            ),
            (
                "How many beds are free?",
                "How many beds are still empty?",
                "How many free beds does the hotel have?",
            ),
        ),
    ),
    Template(
        "tour-maps",
        numbers={"seats": (15, 90), "empty": (2, 30), "group": (2, 12), "maps": (2, 9)},
        steps=(
            step("people = seats - empty", "There are @ people."),
            step("groups = people / group", "They form @ groups."),
            step("total = groups * maps", "They need @ maps."),
        ),
        clauses=(
            (
                "{name} leads a tour on a boat with {seats} seats, of which {empty} are empty.",
                "On {name}'s tour boat, only {empty} of the {seats} seats are empty.",
                "A tour boat has {seats} seats, and when {name} starts the tour, {empty} seats are empty.",
            ),
            (
                "The people in the other seats form groups of {group},",
                "One person sits in each of the other seats. They are split into groups of {group},",
            ),
            (
                "and every group gets {maps} maps.",
                "and {name} hands {maps} maps to each group.",
            ),
            (
                "How many maps does {name} need?",
                "How many maps are handed out?",
                "How many maps is that in all?",
            ),
        ),
    ),
    Template(
        "taxi-share",
        numbers={"miles": (2, 12), "rate": (2, 6), "base": (2, 12), "rides": (2, 4), "friends": (2, 6)},
        steps=(
            step("distance = miles * rate", "The miles cost $@."),
            step("fare = distance + base", "One ride costs $@."),
            step("total = fare * rides", "The rides cost $@."),
            step("each = total / friends", "Each friend pays $@."),
        ),
        clauses=(
            (
                "A taxi costs ${rate} a mile plus ${base} for each ride.",
                "For each ride, a taxi takes ${base}, and ${rate} more for every mile.",
            ),
            (
                "{name} takes {rides} rides of {miles} miles each",
                "On a weekend, {name} takes {rides} rides, each of them {miles} miles long,",
            ),
            (
                "and shares the total cost equally in a group of {friends} friends.",
                "and the total cost is split equally among {friends} friends.",
            ),
            (
                "How many dollars does each friend pay?",
                "How much is it for each friend?",
                "How many dollars is each friend's share?",
            ),
        ),
    ),
)
