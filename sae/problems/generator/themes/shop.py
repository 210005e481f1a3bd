"""Stories of prices, savings and wages."""

from ..template import Template, step
from ..words import FRUIT, STATIONERY, TOYS

TEMPLATES = (
    Template(
        "change-back",
        numbers={"count": (2, 12), "price": (2, 12), "paid": (10, 99)},
        words={"thing": STATIONERY},
        steps=(
            step("cost = count * price", "The {thing} cost $@."),
            step("change = paid - cost", "{name} gets back $@."),
        ),
        clauses=(
            (
                "{name} buys {count} {thing} for ${price} each",
                "{name} takes {count} {thing} at ${price} each",
                "At a shop where {thing} cost ${price} each, {name} buys {count} of them",
            ),
            (
                "and gives the clerk ${paid}.",
                "and pays with ${paid}.",
                "and hands over ${paid} to pay for them.",
            ),
            (
                "How much change does {name} get?",
                "How many dollars does {name} get back?",
                "How many dollars of change should {name} receive?",
            ),
        ),
    ),
    Template(
        "same-price",
        numbers={"some": (2, 12), "cost": (6, 96), "wanted": (2, 16)},
        words={"thing": STATIONERY},
        steps=(
            step("price = cost / some", "One of the {thing} costs $@."),
            step("total = price * wanted", "{wanted} {thing} cost $@."),
        ),
        clauses=(
            (
                "{name} pays ${cost} for {some} {thing} that all cost the same.",
                "{some} {thing} of the same price cost {name} ${cost}.",
                "A shop sells {name} {some} {thing} for ${cost}, and each has the same price.",
            ),
            (
                "At this price, {friend} buys {wanted} {thing}. How many dollars does {friend} pay?",
                "{friend} wants {wanted} of these {thing}. How much does {friend} have to pay?",
                "How many dollars do {wanted} of these {thing} cost {friend}?",
                "How much money does {friend} need for {wanted} {thing} at that price?",
            ),
        ),
    ),
    Template(
        "saving-weeks",
        numbers={"price": (15, 99), "has": (2, 50), "weekly": (2, 12)},
        steps=(
            step("missing = price - has", "{name} still needs $@."),
            step("weeks = missing / weekly", "That takes @ weeks."),
        ),
        clauses=(
            (
                "{name} wants to buy a bike that costs ${price} and already has ${has}.",
                "A bike costs ${price}. {name} has ${has} so far.",
                "{name} has ${has} and would like to buy a bike for ${price}.",
            ),
            (
                "{name} saves ${weekly} every week.",
                "Each week, {name} can save another ${weekly}.",
                "Every week, {name} puts aside ${weekly} more.",
            ),
            (
                "How many weeks does it take to save enough for the bike?",
                "After how many weeks can {name} buy the bike?",
                "How many weeks must {name} save?",
            ),
        ),
    ),
    Template(
        "two-kinds",
        numbers={"first": (2, 9), "price": (2, 9), "second": (2, 9), "cost": (2, 9)},
        words={"thing": STATIONERY, "toy": TOYS},
        steps=(
            step("one = first * price", "The {thing} cost $@."),
            step("two = second * cost", "The {toy} cost $@."),
            step("total = one + two", "Together they cost $@."),
        ),
        clauses=(
            (
                "{name} buys {first} {thing} for ${price} each",
                "In a shop, {name} gets {first} {thing} for ${price} each",
                "{name} picks out {first} {thing} at ${price} each",
            ),
            (
                "and {second} {toy} for ${cost} each.",
                "and {second} {toy} that cost ${cost} each.",
                "and also {second} {toy} at ${cost} each.",
            ),
            (
                "How many dollars does {name} spend?",
                "How much does {name} pay in all?",
                "What is the total cost in dollars?",
            ),
        ),
    ),
    Template(
        "grocery-change",
        numbers={"first": (2, 9), "price": (2, 6), "second": (2, 9), "cost": (2, 9), "paid": (20, 99)},
        words={"fruit": FRUIT},
        steps=(
            step("one = first * price", "The bags of {fruit} cost $@."),
            step("two = second * cost", "The cakes cost $@."),
            step("total = one + two", "Together they cost $@."),
            step("change = paid - total", "{name} has $@ left."),
        ),
        clauses=(
            (
                "{name} goes to the market with ${paid}.",
                "{name} has ${paid} to spend at the market.",
                "With ${paid} in hand, {name} goes shopping.",
            ),
            (
                "{name} buys {first} bags of {fruit} for ${price} each",
                "There, {name} gets {first} bags of {fruit} at ${price} each",
            ),
            (
                "and {second} cakes for ${cost} each.",
                "and {second} cakes at ${cost} each.",
                "and also {second} cakes that cost ${cost} each.",
            ),
            (
                "How many dollars does {name} have left after paying?",
                "After paying for everything, how much money is left?",
                "How many dollars are left after that?",
            ),
        ),
    ),
    Template(
        "ticket-discount",
        numbers={"price": (5, 40), "off": (2, 30), "tickets": (2, 12)},
        steps=(
            step("reduced = price - off", "One ticket now costs $@."),
            step("total = reduced * tickets", "The tickets cost $@."),
        ),
        clauses=(
            (
                "A concert ticket costs ${price}, but {name} has a card that takes ${off} off each ticket.",
                "With {name}'s card, each concert ticket is ${off} cheaper than the usual price of ${price}.",
                "{name} gets ${off} off every concert ticket, which usually costs ${price}.",
            ),
            (
                "{name} buys {tickets} tickets.",
                "For friends, {name} orders {tickets} tickets.",
                "{name} takes {tickets} of them.",
            ),
            (
                "How many dollars does {name} pay?",
                "How much do the tickets cost {name}?",
                "What does {name} pay in all?",
            ),
        ),
    ),
    Template(
        "three-days-pay",
        numbers={"first": (5, 45), "second": (5, 45), "third": (5, 45)},
        steps=(
            step("two = first + second", "In the first two days, {name} earns $@."),
            step("total = two + third", "In three days, {name} earns $@."),
        ),
        clauses=(
            (
                "{name} works in a shop and earns ${first} on Friday,",
                "On Friday, {name} earns ${first} at a shop,",
                "{name} earns money by washing cars: ${first} on Friday,",
            ),
            (
                "${second} on Saturday and ${third} on Sunday.",
                "${second} on Saturday, and then ${third} on Sunday.",
                "and another ${second} on Saturday and ${third} on Sunday.",
            ),
            (
                "How many dollars does {name} earn in these three days?",
                "How much money is that in all?",
                "What does {name} earn altogether?",
            ),
        ),
    ),
    Template(
        "shared-bill",
        numbers={"food": (10, 70), "drinks": (4, 40), "coupon": (2, 20), "friends": (2, 9)},
        steps=(
            step("bill = food + drinks", "The bill is $@."),
            step("reduced = bill - coupon", "With the coupon, it is $@."),
            step("each = reduced / friends", "Each of them pays $@."),
        ),
        clauses=(
            (
                "A dinner costs ${food} for the food and ${drinks} for the drinks.",
                "At a restaurant, the food costs ${food} and the drinks cost ${drinks}.",
                "The bill for a dinner lists ${food} for food and ${drinks} for drinks.",
            ),
            (
                "{name} has a coupon that takes ${coupon} off the bill.",
                "With {name}'s coupon, the whole bill is ${coupon} lower.",
            ),
            (
                "The {friends} people at the table share the rest equally.",
                "{friends} people, {name} among them, split what is left equally.",
            ),
            (
                "How many dollars does each person pay?",
                "How much does {name} pay?",
                "How many dollars is each share?",
            ),
        ),
    ),
    Template(
        "weekly-wage",
        numbers={"hours": (2, 9), "pay": (2, 9), "bonus": (2, 12), "weeks": (2, 6)},
        steps=(
            step("wage = hours * pay", "For the hours, {name} gets $@."),
            step("weekly = wage + bonus", "With the bonus, {name} gets $@ a week."),
            step("total = weekly * weeks", "In all, {name} gets $@."),
        ),
        clauses=(
            (
                "{name} works {hours} hours a week for ${pay} an hour",
                "Each week, {name} works {hours} hours at ${pay} an hour",
                "At ${pay} an hour, {name} works {hours} hours every week",
            ),
            (
                "and also gets a bonus of ${bonus} every week.",
                "and is paid a weekly bonus of ${bonus} as well.",
            ),
            (
                "How many dollars does {name} get in {weeks} weeks?",
                "How much money does {name} make in {weeks} weeks?",
                "What does {name} earn over {weeks} weeks?",
                "After {weeks} weeks, how many dollars has {name} earned?",
            ),
        ),
    ),
    Template(
        "stall-profit",
        numbers={"sell": (4, 30), "buy": (2, 25), "count": (2, 12), "fee": (2, 30)},
        steps=(
            step("gain = sell - buy", "{name} gains $@ with each lamp."),
            step("total = gain * count", "With all lamps, {name} gains $@."),
            step("profit = total - fee", "After the fee, the profit is $@."),
        ),
        clauses=(
            (
                "{name} buys old lamps for ${buy} each and sells them for ${sell} each.",
                "{name} pays ${buy} for each old lamp and sells it for ${sell}.",
                "{name} sells old lamps at ${sell} each, after paying ${buy} for each of them.",
            ),
            (
                "One day, {name} buys and sells {count} lamps",
                "At a market, {name} buys and sells {count} of these lamps",
            ),
            (
                "and pays a fee of ${fee} for the stall.",
                "and has to pay ${fee} for a stall.",
            ),
            (
                "What is {name}'s profit in dollars?",
                "How many dollars of profit does {name} make?",
                "How much money does {name} gain in the end?",
            ),
        ),
    ),
    Template(
        "gift-money",
        numbers={"givers": (3, 12), "gives": (2, 9), "gift": (5, 60), "sharers": (2, 9), "has": (2, 40)},
        steps=(
            step("collected = givers * gives", "The children collect $@."),
            step("rest = collected - gift", "After buying the gift, $@ is left."),
            step("share = rest / sharers", "Each helper gets $@."),
            step("total = share + has", "{name} now has $@."),
        ),
        clauses=(
            (
                "{givers} children each give ${gives} for a gift that costs ${gift}.",
                "To buy a gift for ${gift}, {givers} children pay ${gives} each.",
                "A gift costs ${gift}, and {givers} children put in ${gives} each.",
            ),
            (
                "The money left over is shared equally by {sharers} helpers, and {name} is one of them.",
                "{name} is one of {sharers} helpers who share the rest of the money equally.",
            ),
            (
                "{name} already has ${has}.",
                "Before that, {name} has ${has}.",
            ),
            (
                "How many dollars does {name} have in the end?",
                "How much money does {name} have after getting a share?",
            ),
        ),
    ),
)
