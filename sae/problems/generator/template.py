"""What a template is: number ranges, steps as expressions, and clauses that combine into phrasings.

To add a template, append a `Template` to one of the modules in `themes`; its docstring below says how to
write one. Everything that can be wrong with it is found when it is built.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter

from .words import PEOPLE, Noun

#: Every number in a problem lies in this range. 1 is left out, so that a plural after a number is always
#: right.
LOW, HIGH = 2, 99

_STEP = re.compile(r"(\w+) = (\w+) ([-+*/]) (\w+)")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """`result = left operation right`; left and right are a number, an earlier result or a constant."""

    result: str
    left: str
    operation: str
    right: str
    sentence: str


def step(equation: str, sentence: str) -> StepSpec:
    """One step, e.g. `step("left = baked - sold", "@ {thing} are left.")`.

    `@` becomes `20 - 5 = 15`, `$@` becomes `20 - 5 = $15`.
    """
    match = _STEP.fullmatch(equation)
    if match is None:
        raise ValueError(f"not of the form 'result = left + right': {equation!r}")
    if sentence.count("@") != 1:
        raise ValueError(f"a step's sentence needs exactly one '@': {sentence!r}")
    result, left, operation, right = match.groups()
    sentence = sentence.replace("$@", "{work} = ${result}").replace("@", "{work} = {result}")
    return StepSpec(result, left, operation, right, sentence)


@dataclass(frozen=True)
class Template:
    """A story with a fixed chain of calculations, told in many ways.

    Attributes:
        name: kebab case, never changed and never used again: splits and labels hang on it.
        numbers: the given numbers with their smallest and largest value; each is shown in the question.
        steps: two to four calculations; the last result is the answer.
        clauses: the question as a sequence of slots, each with several wordings that say exactly the same.
            Any choice of one wording a slot makes a phrasing. Present tense throughout, so that any two fit
            together. Append wordings at the end: their places are part of the phrasings' ids.
        words: the story's things, each a field with a tuple of nouns to choose from. `{thing}` is the plural,
            `{thing_one}` the singular. Two fields that share a noun never get the same one.

    `{name}`, `{friend}` and `{other}` are three different people.
    """

    name: str
    numbers: dict[str, tuple[int, int]]
    steps: tuple[StepSpec, ...]
    clauses: tuple[tuple[str, ...], ...]
    words: dict[str, tuple[Noun, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.steps) <= 4:
            self._fail("needs two to four steps")
        if self.n_phrasings < 6:
            self._fail("needs six phrasings or more")
        for number, (low, high) in self.numbers.items():
            if not LOW <= low <= high <= HIGH:
                self._fail(f"the range of {number!r} must lie within {LOW}..{HIGH}")
        fields = [*self.numbers, *self.words, *(s.result for s in self.steps), *PEOPLE, "work", "result"]
        if len(set(fields)) != len(fields):
            self._fail(f"a field stands for two things: {fields}")
        self._check_steps()
        self._check_clauses()

    @property
    def n_phrasings(self) -> int:
        """How many phrasings the clauses combine into."""
        product = 1
        for wordings in self.clauses:
            product *= len(wordings)
        return product

    @property
    def operations(self) -> str:
        """The operators of the steps in order, e.g. `*-`."""
        return "".join(s.operation for s in self.steps)

    @cached_property
    def phrasings(self) -> dict[str, str]:
        """Every phrasing's id (`NAME/0.2.1`: the wording chosen for each slot) and its text with fields."""
        return {
            f"{self.name}/{'.'.join(str(i) for i, _ in chosen)}": " ".join(text for _, text in chosen)
            for chosen in itertools.product(*(tuple(enumerate(wordings)) for wordings in self.clauses))
        }

    def _check_steps(self) -> None:
        known = set(self.numbers)
        used: set[str] = set()
        for s in self.steps:
            for term in (s.left, s.right):
                if not (term in known or (term.isdecimal() and LOW <= int(term) <= HIGH)):
                    self._fail(f"{term!r} in a step is neither known by then nor a constant of {LOW}..{HIGH}")
                used.add(term)
            known.add(s.result)
        for number in self.numbers.keys() - used:
            self._fail(f"{number!r} is not used in any step")
        for s in self.steps[:-1]:
            if s.result not in used:
                self._fail(f"{s.result!r} is computed but not used")
        for s in self.steps:
            self._check_fields(s.sentence, extra={"work", "result", *self.numbers})

    def _check_clauses(self) -> None:
        shown: list[str] = []
        for wordings in self.clauses:
            given = [_fields(w) & self.numbers.keys() for w in wordings]
            if any(g != given[0] for g in given):
                self._fail(f"the wordings of a slot give different numbers: {given}")
            shown += given[0]
            for w in wordings:
                self._check_fields(w, extra=set(self.numbers))
            if len(set(wordings)) != len(wordings):
                self._fail("a wording stands twice")
        if sorted(shown) != sorted(self.numbers):
            self._fail("each number must be given in exactly one slot")

    def _check_fields(self, text: str, extra: set[str]) -> None:
        nouns = {f"{w}{suffix}" for w in self.words for suffix in ("", "_one")}
        for name in _fields(text) - nouns - set(PEOPLE) - extra:
            self._fail(f"unknown field {name!r} in {text!r}")

    def _fail(self, reason: str) -> None:
        raise ValueError(f"template {self.name!r}: {reason}")


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
