"""Draws problems from templates: numbers, words and a phrasing, then the text, the steps and the labels."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from sae.common.errors import UserError

from ..examples import Example, ProblemSet, Step
from . import splits
from .splits import Part
from .template import HIGH, LOW, Template
from .themes import BY_THEME, TEMPLATES
from .words import NAMES, PEOPLE

#: More would not fit comfortably into memory in one call; call again with another seed.
MAX_PROBLEMS = 1_000_000
#: How often numbers are drawn before a template is taken to have none of that kind.
_NUMBER_TRIES = 100_000
#: How many problems in a row may be known already before no new ones are expected.
_REPEATS = 2_000

_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}


def generate(
    n: int,
    seed: int = 0,
    *,
    phrasings: Part = "seen",
    templates: Part = "seen",
    numbers: Part = "seen",
    n_steps: int | None = None,
) -> ProblemSet:
    """`n` different problems, the same for the same arguments on every machine.

    Held out are one in ten combinations of numbers, one in five phrasings of each template, and one in eight
    templates (see `splits`). For each, `seen` draws from what is not held out, `unseen` from what is, `all`
    from both.

    Args:
        n: how many, 1 to `MAX_PROBLEMS`.
        seed: of the random draws.
        phrasings, templates, numbers: which part of each to draw from.
        n_steps: only templates of so many steps (2, 3 or 4); all if None.

    Returns:
        A `ProblemSet` whose examples have the labels `template`, `phrasing` (id), `group` (template and
        operands: keep it on one side of a split), `theme`, `operands` and `values` (lists of int: the given
        numbers in the template's order, and every step's result), `names` and `things` (lists of the people
        and nouns), and `unseen_phrasing`, `unseen_template`, `unseen_numbers` (bool: is it held out?).

    Raises:
        UserError: an argument is not one of those above, or there are no `n` different problems of that kind.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_PROBLEMS:
        raise UserError(f"the number of problems must be from 1 to {MAX_PROBLEMS:,}, not {n!r}")
    for argument, part in (("phrasings", phrasings), ("templates", templates), ("numbers", numbers)):
        if part not in splits.PARTS:
            raise UserError(f"{argument} must be one of {', '.join(splits.PARTS)}, not {part!r}")
    chosen = [
        t
        for t in TEMPLATES
        if _belongs(splits.template_held_out(t.name), templates) and n_steps in (None, len(t.steps))
    ]
    if not chosen:
        raise UserError(f"no template of that kind has {n_steps!r} steps: take 2, 3 or 4")
    source = {
        "kind": "generated",
        "n": n,
        "seed": seed,
        "phrasings": phrasings,
        "templates": templates,
        "numbers": numbers,
        "n_steps": n_steps,
    }
    return ProblemSet(draw(chosen, n, seed, phrasings=phrasings, numbers=numbers), source=source)


def draw(
    templates: Sequence[Template], n: int, seed: int, *, phrasings: Part = "all", numbers: Part = "all"
) -> tuple[Example, ...]:
    """`n` examples with different questions from these templates, each template being equally likely.

    Raises:
        UserError: there are no `n` different ones.
    """
    # Seeded by text: an integer seed would take its absolute value, and -1 would be 1.
    rng = Random(f"problems {seed}")
    tellers = [_Teller(t, phrasings, numbers) for t in templates]
    tellers = [t for t in tellers if t.texts]
    examples: list[Example] = []
    questions: set[str] = set()
    repeats = 0
    while len(examples) < n:
        if repeats == _REPEATS or not tellers:
            raise UserError(
                f"only {len(examples):,} different problems of this kind were found: ask for fewer than {n:,}"
            )
        example = tellers[int(rng.random() * len(tellers))].tell(rng)
        if example.question in questions:
            repeats += 1
            continue
        repeats = 0
        questions.add(example.question)
        examples.append(example)
    return tuple(examples)


class _Teller:
    """Tells one template's problems; holds what can be worked out once."""

    def __init__(self, template: Template, phrasings: Part, numbers: Part) -> None:
        self.template = template
        self.numbers: Part = numbers
        self.texts = [
            (phrasing, text, held_out, tuple(p for p in PEOPLE if f"{{{p}}}" in text))
            for phrasing, text in template.phrasings.items()
            if _belongs(held_out := splits.phrasing_held_out(phrasing), phrasings)
        ]
        self.fields = tuple(template.numbers)
        self.ranges = [(low, high - low + 1) for low, high in template.numbers.values()]
        # Terms are places in one growing list: constants, then the given numbers, then the results.
        constants = {t for s in template.steps for t in (s.left, s.right) if t.isdecimal()}
        order = [*sorted(constants), *self.fields, *(s.result for s in template.steps)]
        self.constants = [int(c) for c in sorted(constants)]
        self.program = [
            (s.operation, _OPERATIONS[s.operation], order.index(s.left), order.index(s.right)) for s in template.steps
        ]
        self.labels = {
            "template": template.name,
            "theme": _THEMES.get(template.name),
            "unseen_template": splits.template_held_out(template.name),
        }

    def tell(self, rng: Random) -> Example:
        operands, terms, group, numbers_held_out = self._numbers(rng)
        template = self.template
        phrasing, text, phrasing_held_out, people = self.texts[int(rng.random() * len(self.texts))]
        fields: dict[str, Any] = dict(zip(self.fields, operands, strict=True))
        names = _distinct(rng, NAMES, len(people))
        fields.update(zip(people, names, strict=True))
        things: list[str] = []
        for field, choices in template.words.items():
            noun = choices[int(rng.random() * len(choices))]
            while noun.many in things:
                noun = choices[int(rng.random() * len(choices))]
            things.append(noun.many)
            fields[field] = noun.many
            fields[f"{field}_one"] = noun.one
        steps, answer = self._steps(terms, fields)
        values = [int(s.value) for s in steps]
        labels = {
            "template": self.labels["template"],
            "phrasing": phrasing,
            "group": group,
            "theme": self.labels["theme"],
            "operands": list(operands),
            "values": values,
            "names": names,
            "things": things,
            "unseen_phrasing": phrasing_held_out,
            "unseen_template": self.labels["unseen_template"],
            "unseen_numbers": numbers_held_out,
        }
        return Example(text.format_map(fields), answer, float(values[-1]), steps, None, labels)

    def _numbers(self, rng: Random) -> tuple[tuple[int, ...], list[int], str, bool]:
        """Operands with whole results in range, all terms of the steps, the group, and if it is held out."""
        random = rng.random
        for _ in range(_NUMBER_TRIES):
            operands = tuple([low + int(random() * span) for low, span in self.ranges])
            terms = [*self.constants, *operands]
            for symbol, apply, left, right in self.program:
                a, b = terms[left], terms[right]
                if symbol == "/" and a % b:
                    break
                value = apply(a, b)
                if not LOW <= value <= HIGH:
                    break
                terms.append(value)
            else:
                group = splits.group(self.template, operands)
                held_out = splits.numbers_held_out(group)
                if _belongs(held_out, self.numbers):
                    return operands, terms, group, held_out
        raise UserError(f"template {self.template.name!r} has no numbers of the kind {self.numbers!r}")

    def _steps(self, terms: list[int], fields: dict[str, Any]) -> tuple[tuple[Step, ...], str]:
        """The steps and the answer that states them."""
        steps: list[Step] = []
        lines: list[str] = []
        results = terms[-len(self.program) :]
        for spec, (symbol, _, left, right), value in zip(self.template.steps, self.program, results, strict=True):
            a, b = terms[left], terms[right]
            expression = f"{a}{symbol}{b}"
            fields["work"] = f"{a} {symbol} {b}"
            annotation = f"<<{expression}={value}>>"
            fields["result"] = f"{annotation}{value}"
            line = spec.sentence.format_map(fields)
            lines.append(line)
            shown = line.replace(annotation, "", 1)
            steps.append(Step(shown, expression, (float(a), float(b)), symbol, float(value)))
        return tuple(steps), "\n".join([*lines, f"#### {results[-1]}"])


_THEMES = {template.name: theme for theme, templates in BY_THEME.items() for template in templates}


def _belongs(held_out: bool, part: Part) -> bool:
    return part == "all" or held_out == (part == "unseen")


def _distinct(rng: Random, choices: Sequence[str], count: int) -> list[str]:
    """`count` different ones. Faster than `Random.sample` for two or three."""
    picked: list[str] = []
    while len(picked) < count:
        choice = choices[int(rng.random() * len(choices))]
        if choice not in picked:
            picked.append(choice)
    return picked
