"""The names and things that stories are told with.

Kept small on purpose: the fewer words, the smaller the vocabulary of a model that learns from these problems.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The fields of a template that stand for people.
PEOPLE = ("name", "friend", "other")

#: None ends in s (so 's is always right) and none is a common English word at the start of a sentence.
NAMES = (
    "Aisha", "Amara", "Anna", "Ben", "Carla", "Chen", "Dana", "David", "Diego", "Elena", "Emil", "Fatima",
    "Gita", "Hana", "Hugo", "Igor", "Ivan", "Jamal", "Kenji", "Kira", "Leo", "Lina", "Marco", "Maya",
    "Nadia", "Noah", "Olga", "Omar", "Pablo", "Priya", "Quinn", "Ravi", "Rosa", "Sam", "Sofia", "Tara",
    "Tomoko", "Umar", "Vera", "Viktor", "Wei", "Wendy", "Xavi", "Yara", "Yuki", "Zane", "Zara", "Zoe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be counted."""

    one: str
    many: str


def nouns(*words: str) -> tuple[Noun, ...]:
    """Nouns from their singulars; an irregular plural stands after a slash: `peach/peaches`."""
    pairs = (word.partition("/") for word in words)
    return tuple(Noun(one, many or f"{one}s") for one, _, many in pairs)


BAKED = nouns("muffin", "cookie", "bagel", "cupcake", "pretzel")
FRUIT = nouns("apple", "pear", "plum", "orange", "lemon")
VEGETABLES = nouns("carrot", "onion", "pepper", "potato/potatoes", "tomato/tomatoes")
FLOWERS = nouns("rose", "tulip", "daisy/daisies", "lily/lilies")
TOYS = nouns("marble", "sticker", "bead", "button", "shell")
READING = nouns("book", "comic", "magazine")
STATIONERY = nouns("pencil", "pen", "notebook", "eraser")
ANIMALS = nouns("goat", "cow", "horse", "rabbit")
BIRDS = nouns("duck", "hen", "pigeon", "goose/geese")
PETS = nouns("puppy/puppies", "kitten", "lamb")
KNITWEAR = nouns("hat", "blanket", "sweater", "scarf/scarves")
VEHICLES = nouns("car", "van", "truck")
