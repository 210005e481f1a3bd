"""Accuracy of a CODI model, counted again one problem at a time; Wilson's interval; controls that are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sae.common.errors import UserError
from sae.language_models.codi.evaluation import answers_of, evaluate, trials, why_not_control, wilson
from sae.language_models.codi.model import Answer, Codi
from sae.problems import generate
from sae.problems.examples import Example
from tests.language_models.codi import tiny


@pytest.fixture(scope="module")
def codi() -> Codi:
    return tiny.codi()


@pytest.fixture(scope="module")
def examples(codi: Codi) -> list[Example]:
    """Of which the model answers some rightly: their final answers are taken from it, under changes of its thinking."""
    found = list(generate(24, 3).examples)
    for at, how in enumerate(({}, {"n_thoughts": 2}, {"zeroed": [4]}, {})):
        some = slice(at * 6, at * 6 + (3 if at == 3 else 6))
        given = answers_of(codi, [example.question for example in found[some]], **how)  # type: ignore[arg-type]
        numbers = [float("nan") if answer.number is None else answer.number for answer in given]
        found[some] = [replace(e, final_answer=number) for e, number in zip(found[some], numbers, strict=True)]
    return found


def test_trials_are_what_thinking_anew_for_each_gives(codi: Codi, examples: list[Example]) -> None:
    found = trials(codi, examples, batch_size=5)
    with torch.inference_mode():
        for row in range(0, len(examples), 3):  # of each of the four kinds; one by one takes long
            example = examples[row]
            ids = codi.encode([example.question])
            for n in range(7):
                given = codi.answer(codi.think(ids, n_thoughts=n))[0].number
                assert found.thoughts[n][row] == (given == example.final_answer)
            for n in range(1, 7):
                given = codi.answer(codi.think(ids, zeroed=[n]))[0].number
                assert found.zeroed[n][row] == (given == example.final_answer)
            assert found.teacher[row] == (codi.reason(ids)[0].number == example.final_answer)
    marks = {tuple(column) for column in [*found.thoughts.values(), *found.zeroed.values()]}
    assert len(marks) > 3  # the changes can be told apart


def test_the_document(codi: Codi, examples: list[Example]) -> None:
    strange = replace(examples[0], question="Zyx quaffs 3 gargleblasters. How many?")
    ticks: list[int] = []
    found = evaluate(codi, [*examples, strange], control=tiny.codi(kind="no-thoughts"), tick=ticks.append)
    assert (found["model"], found["kind"], found["n"], found["skipped"]) == ("tiny", "pure", len(examples), 1)
    assert {"Zyx", "quaffs", "gargleblasters"} == set(found["unknown_words"])
    assert list(found["accuracy"]) == [str(n) for n in range(7)]
    own = [a.number == e.final_answer for a, e in zip(_answers(codi, examples), examples, strict=True)]
    assert found["accuracy"]["6"] == pytest.approx(sum(own) / len(own))
    assert found["intervals"]["accuracy"]["6"] == wilson(sum(own), len(own))
    for steps, part in found["by_steps"].items():
        here = [mark for mark, e in zip(own, examples, strict=True) if len(e.steps) == int(steps)]
        assert part == {"share": sum(here) / len(here), "n": len(here)}
    assert sum(part["n"] for part in found["by_steps"].values()) == len(examples)
    assert 0 <= found["no_latent"] <= 1
    assert ticks[-1] == len(examples)
    assert evaluate(codi, examples)["no_latent"] is None


def test_a_control_has_one_number(examples: list[Example]) -> None:
    found = evaluate(tiny.codi(kind="no-thoughts"), examples[:4])
    assert list(found["accuracy"]) == ["0"] and found["zeroed"] == {}


def test_no_problem_of_its_words(codi: Codi, examples: list[Example]) -> None:
    with pytest.raises(UserError, match="none of the 1 problems is in this model's vocabulary.*Zyx"):
        evaluate(codi, [replace(examples[0], question="Zyx?")])


def test_wilson_against_its_equation() -> None:
    """Its bounds are where a share lies z standard errors of the bound from what was found."""
    for right, n in ((0, 20), (3, 20), (511, 700), (20, 20)):
        for bound in wilson(right, n):
            if 0 < bound < 1:
                z = abs(right / n - bound) / (bound * (1 - bound) / n) ** 0.5
                assert z == pytest.approx(1.959964, rel=1e-5)
    assert wilson(0, 20)[0] == 0 and wilson(20, 20)[1] == 1


def test_a_control_must_be_one(codi: Codi) -> None:
    control = tiny.codi(kind="no-thoughts")
    assert why_not_control(codi, control) is None
    assert "thinks 6 thoughts" in str(why_not_control(codi, tiny.codi()))
    assert "n_layers is 3" in str(why_not_control(codi, tiny.codi(3, kind="no-thoughts")))
    control.source["trained"] = {"samples": 5}
    assert "samples is 5, not None" in str(why_not_control(codi, control))


def _answers(codi: Codi, examples: list[Example]) -> list[Answer]:
    with torch.inference_mode():
        return [codi.answer(codi.think(codi.encode([e.question])))[0] for e in examples]
