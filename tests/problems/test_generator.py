"""The generator's promises, checked from the text alone wherever that can be done."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from sae.common.errors import UserError
from sae.problems import generate
from sae.problems.answers import read_answer
from sae.problems.generator import HELD_OUT_TEMPLATES, TEMPLATES, splits
from sae.problems.generator.engine import draw
from sae.problems.generator.template import Template, step
from sae.problems.generator.words import NAMES, PEOPLE

BY_NAME = {t.name: t for t in TEMPLATES}
EVERYTHING: dict[str, Any] = {"phrasings": "all", "templates": "all", "numbers": "all"}
ANNOTATION = re.compile(r"<<(\d+)([-+*/])(\d+)=(\d+)>>(\d+)")


@pytest.fixture(scope="module")
def problems():
    return generate(3_000, seed=11, **EVERYTHING)


@pytest.fixture(scope="module")
def told():
    """Every phrasing of every template, told once: its id and the question."""
    found: dict[str, str] = {}
    for template in TEMPLATES:
        for seed in range(20):
            for e in draw([template], 3 * template.n_phrasings, seed):
                found.setdefault(e.labels["phrasing"], e.question)
            if len([p for p in found if p.startswith(f"{template.name}/")]) == template.n_phrasings:
                break
    return found


def test_size_and_variety():
    assert len(TEMPLATES) == len(BY_NAME) >= 48
    assert all(t.n_phrasings >= 6 for t in TEMPLATES)
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert {len(t.steps) for t in TEMPLATES} == {2, 3, 4}
    for place in range(3):
        counts = Counter(t.operations[place] for t in TEMPLATES if len(t.operations) > place)
        assert set(counts) == set("+-*/")
        assert min(counts.values()) / counts.total() > 0.1


def test_every_step_is_right_and_small(problems):
    """Evaluated again from the answer's text, in fractions and without the package's own evaluator."""
    compute = {"+": Fraction.__add__, "-": Fraction.__sub__, "*": Fraction.__mul__, "/": Fraction.__truediv__}
    for e in problems.examples:
        lines = e.answer.split("\n")
        values = []
        given = [int(n) for n in re.findall(r"\d+", e.question)]
        for line in lines[:-1]:
            (annotation,) = ANNOTATION.findall(line)
            a, operation, b, value, shown = annotation
            assert compute[operation](Fraction(a), Fraction(b)) == int(value) == int(shown)
            assert f"{a} {operation} {b} = " in line
            for term in (int(a), int(b)):
                # Twice, half and three times are words, everything else was given or computed before.
                assert term in given or term in values or term in (2, 3), e
            values.append(int(value))
        assert all(1 <= n <= 99 for n in [*values, *given, *e.labels["operands"]])
        assert e.labels["values"] == values
        assert e.final_answer == values[-1]
        assert lines[-1] == f"#### {values[-1]}"
        assert 2 <= len(values) <= 4


def test_the_question_gives_the_operands_and_nothing_else(problems):
    for e in problems.examples:
        assert sorted(map(int, re.findall(r"\d+", e.question))) == sorted(e.labels["operands"])


def test_steps_are_what_the_parser_reads(problems):
    for e in problems.examples:
        parsed = read_answer(e.answer)
        assert (parsed.steps, parsed.final, parsed.oddities) == (e.steps, e.final_answer, ())
        assert e.operations == BY_NAME[e.labels["template"]].operations


def test_labels(problems):
    for e in problems.examples:
        labels = e.labels
        template = BY_NAME[labels["template"]]
        assert labels["phrasing"] in template.phrasings
        assert labels["group"] == f"{template.name}:{','.join(map(str, labels['operands']))}"
        assert labels["unseen_template"] == (template.name in HELD_OUT_TEMPLATES)
        assert len(set(labels["names"])) == len(labels["names"])
        assert set(labels["names"]) == set(re.findall(r"[A-Z][a-z]+", e.question)) & set(NAMES)
        singular = {noun.many: noun.one for choices in template.words.values() for noun in choices}
        assert all(singular[thing] in e.question or thing in e.question for thing in labels["things"])


def test_the_answer_names_only_people_of_the_question():
    for t in TEMPLATES:
        needed = {field for field in PEOPLE for s in t.steps if f"{{{field}}}" in s.sentence}
        for phrasing, text in t.phrasings.items():
            assert all(f"{{{field}}}" in text for field in needed), phrasing


def test_no_question_twice(problems):
    assert len({e.question for e in problems.examples}) == len(problems)


def test_every_template_and_phrasing_is_reachable(problems, told):
    assert {e.labels["template"] for e in problems.examples} == set(BY_NAME)
    assert set(told) == {p for t in TEMPLATES for p in t.phrasings}


def test_the_text_is_clean(told):
    for phrasing, question in told.items():
        assert not re.search(r"[{}@<>#]|  |\s[,.?]|[,.?]{2}|\$(?!\d)", question), (phrasing, question)
        assert question.endswith("?"), question
        assert not re.search(r"\b(\w+) \1\b", question), question
        assert not re.search(r"\ba [aeiou]", question), question
        assert not re.search(r"\ban [^aeiouh]", question), question
        assert not re.search(r"\b[01]\b", question), question
        for sentence in re.split(r"(?<=[.?]) ", question):
            assert sentence[0].isupper() or sentence[0].isdigit() or sentence[0] == "$", question


def test_the_answer_is_clean(problems):
    for e in problems.examples:
        for line in e.answer.split("\n")[:-1]:
            assert not re.search(r"[{}@]|  |\s[,.]|\$(?![<\d])", line), line
            assert line.endswith(".") and (line[0].isupper() or line[0].isdigit()), line
            assert not re.search(r"\b[01]\b", line), line


def test_same_arguments_same_problems_in_any_process():
    code = (
        "from sae.problems import generate; import hashlib;"
        "print(hashlib.sha256(repr(generate(300, 5, phrasings='all').examples).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(generate(300, 5, phrasings="all").examples).encode()).hexdigest()
    for hash_seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


def test_seeds_differ():
    drawn = [generate(20, seed).examples for seed in (0, 1, -1)]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


@pytest.mark.parametrize(
    ("argument", "label", "key"),
    [("phrasings", "unseen_phrasing", "phrasing"), ("templates", "unseen_template", "template"),
     ("numbers", "unseen_numbers", "group")],
)  # fmt: skip
def test_splits_do_not_meet(argument, label, key):
    sides = {}
    for part in ("seen", "unseen"):
        examples = generate(600, **{**EVERYTHING, argument: part}).examples
        assert {e.labels[label] for e in examples} == {part == "unseen"}
        sides[part] = {e.labels[key] for e in examples}
    assert not sides["seen"] & sides["unseen"]
    both = generate(600, **{**EVERYTHING, argument: "all"}).examples
    assert {e.labels[label] for e in both} == {True, False}


def test_nothing_held_out_by_default():
    for e in generate(500).examples:
        assert not (e.labels["unseen_phrasing"] or e.labels["unseen_template"] or e.labels["unseen_numbers"])


def test_shares_held_out(problems):
    share = sum(e.labels["unseen_numbers"] for e in problems.examples) / len(problems)
    assert 0.08 < share < 0.12
    assert set(BY_NAME) >= HELD_OUT_TEMPLATES
    assert 0.10 <= len(HELD_OUT_TEMPLATES) / len(TEMPLATES) <= 0.15
    assert {len(BY_NAME[name].steps) for name in HELD_OUT_TEMPLATES} == {2, 3, 4}
    for t in TEMPLATES:
        held_out = [p for p in t.phrasings if splits.phrasing_held_out(p)]
        assert 0.1 < len(held_out) / t.n_phrasings < 0.3, t.name


def test_every_wording_occurs_in_a_seen_phrasing():
    for t in TEMPLATES:
        seen = [p.partition("/")[2].split(".") for p in t.phrasings if not splits.phrasing_held_out(p)]
        for slot, wordings in enumerate(t.clauses):
            assert {int(places[slot]) for places in seen} == set(range(len(wordings))), t.name


def test_what_is_held_out_never_changes():
    """Frozen: a model trained on the seen part of one version must not meet it as unseen in the next."""
    assert [i for i in range(2, 40) if splits.numbers_held_out(f"bakery-trays:3,12,{i}")] == HELD_OUT_NUMBERS
    assert [p for p in list(BY_NAME["bakery-trays"].phrasings)[:12] if splits.phrasing_held_out(p)] == (
        HELD_OUT_PHRASINGS
    )


HELD_OUT_NUMBERS = [5, 6, 18, 24, 26, 38]
HELD_OUT_PHRASINGS = ["bakery-trays/0.0.0", "bakery-trays/0.1.1", "bakery-trays/0.2.2"]


def test_steps_can_be_chosen():
    for n_steps in (2, 3, 4):
        assert {len(e.steps) for e in generate(100, n_steps=n_steps).examples} == {n_steps}


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "5", 10**9])
def test_bad_counts(n):
    with pytest.raises(UserError, match="number of problems"):
        generate(n)


@pytest.mark.parametrize("arguments", [{"phrasings": "some"}, {"templates": None}, {"numbers": ""}, {"n_steps": 7}])
def test_bad_arguments(arguments):
    with pytest.raises(UserError):
        generate(5, **arguments)


TINY: dict[str, Any] = {
    "numbers": {"a": (2, 3), "b": (2, 3)},
    "steps": (step("c = a + b", "It is @."), step("d = c - a", "Then @.")),
    "clauses": (
        ("Put {a} and {b} there.", "Take {a}, then {b}."),
        ("How many?", "What is left?", "And now?"),
    ),
}


def test_more_problems_than_there_are():
    template = Template("tiny", **TINY)
    assert len(draw([template], 24, 0)) == 24
    with pytest.raises(UserError, match="only 24"):
        draw([template], 25, 0)


def test_impossible_numbers():
    template = Template("tiny", **{**TINY, "steps": (step("c = a - b", "@"), step("d = c + a", "@"))})
    with pytest.raises(UserError, match="no numbers"):
        draw([template], 1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": TINY["steps"][:1]}, "two to four steps"),
        ({"clauses": (("Put {a} and {b}.",), ("How many?",))}, "six phrasings"),
        ({"numbers": {"a": (0, 3), "b": (2, 3)}}, "range"),
        ({"numbers": {"a": (2, 3), "b": (2, 3), "c2": (2, 3)}}, "not used"),
        ({"numbers": {"a": (2, 3), "b": (2, 3), "name": (2, 3)}}, "two things"),
        ({"steps": (step("c = a + b", "@"), step("d = c - x", "@"))}, "neither known"),
        ({"steps": (step("c = a + b", "@"), step("d = a - b", "@"))}, "not used"),
        ({"steps": (step("c = a + b", "@ {toys}"), step("d = c - b", "@"))}, "unknown field"),
        ({"clauses": (("Put {a}.", "Put {b}."), ("How many?", "What?", "And?"))}, "different numbers"),
        ({"clauses": (("Put {a}.", "Take {a}."), ("How many?", "What?", "And?"))}, "exactly one slot"),
        ({"clauses": (("Put {a} {b}.", "Put {a} {b}."), ("How many?", "What?", "And?"))}, "twice"),
    ],
)
def test_a_wrong_template_is_refused_when_it_is_built(change, message):
    with pytest.raises(ValueError, match=message):
        Template("tiny", **{**TINY, **change})


@pytest.mark.parametrize("arguments", [("c = a", "@"), ("c = a ** b", "@"), ("c = a + b", "no sign")])
def test_a_wrong_step_is_refused(arguments):
    with pytest.raises(ValueError):
        step(*arguments)
