"""Training a tiny CODI model: what is learnt from, what the objective is, and going on after a kill."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sae.common.errors import Cancelled, UserError
from sae.language_models.codi import trainer
from sae.language_models.codi.batches import Batch, Lesson, collate, endless, lessons_of
from sae.language_models.codi.config import CodiConfig
from sae.language_models.codi.model import Codi
from sae.language_models.codi.objective import losses
from sae.language_models.codi.start import untrained
from sae.language_models.codi.trainer import Training
from sae.problems import generate
from tests.language_models.codi import tiny

SMALL = CodiConfig(
    "supervised", 32, 2, 4, 48, 24, teacher_samples=24, samples=40, batch_size=8, lr=3e-3, warmup=2, bf16=False
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are at few problems and often; one thread, so that sums come in one order."""
    monkeypatch.setattr(trainer, "EVERY", 16)
    monkeypatch.setattr(trainer, "LOOKED_AT", 4)
    monkeypatch.setattr("sae.language_models.codi.batches.POOL", 64)
    torch.set_num_threads(1)


def training(folder: Path, config: CodiConfig = SMALL, after: Path | None = None) -> Training:
    return Training(config, folder, after=after, words=list(tiny.words()))


class Stop:
    """Cancels after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
        if done >= self.step:
            raise Cancelled


def without_seconds(lines: list[dict]) -> list[dict]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_going_on_equals_never_having_stopped(tmp_path: Path, stop: int) -> None:
    whole = training(tmp_path / "whole")
    whole.run()
    with pytest.raises(Cancelled):
        training(tmp_path / "parts").run(Stop(stop))
    again = training(tmp_path / "parts")
    assert again.step == stop
    again.run()
    for one, other in zip(whole.weights, again.weights, strict=True):
        assert torch.equal(one, other)
        moments = (run.optimizer.state[weight]["exp_avg_sq"] for run, weight in ((whole, one), (again, other)))
        assert torch.equal(*moments)
    assert without_seconds(whole.history) == without_seconds(again.history)


def test_the_first_phase_can_be_taken_over(tmp_path: Path) -> None:
    training(tmp_path / "first").run()
    pure = replace(SMALL, kind="pure")
    taken = training(tmp_path / "second", pure, after=tmp_path / "first")
    assert taken.step == SMALL.teacher_steps
    taken.run()
    alone = training(tmp_path / "alone", pure)
    alone.run()
    for one, other in zip(taken.weights, alone.weights, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(UserError, match="no first phase with this configuration"):
        training(tmp_path / "third", replace(pure, lr=1e-3), after=tmp_path / "first")


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        training(tmp_path).run(Stop(1))
    with pytest.raises(UserError, match="other lr, seed"):
        training(tmp_path, replace(SMALL, lr=1e-3, seed=4))


def naive(codi: Codi, lesson: Lesson, n_thoughts: int) -> dict[str, Tensor | list[Tensor]]:
    """One problem, everything run anew without a cache: logits and states as the objective needs them."""
    inner, embed = codi.language_model.base_model, codi.embeddings

    def states(entering: Tensor) -> tuple[Tensor, ...]:
        return inner(inputs_embeds=entering, output_hidden_states=True).hidden_states

    tail = [*lesson.reasoning, *lesson.answer]
    hidden = states(embed(torch.tensor([[*lesson.question, *tail]])))
    start = len(lesson.question)
    before = hidden[-1][0, start - 1 : start + len(tail) - 1]
    number = start + len(tail) - 3  # `:` in `The answer is : N <eos>`
    found: dict[str, Tensor | list[Tensor]] = {
        "teacher": F.cross_entropy(codi.head(before), torch.tensor(tail), reduction="sum"),
        "target": [h[0, number].detach() for h in hidden],
    }
    entering = embed(torch.tensor([[*lesson.question, codi.bot_id]]))
    thoughts = [states(entering)[-1][0, -1]]
    for _ in range(n_thoughts):
        entering = torch.cat([entering, codi.projection(thoughts[-1])[None, None]], dim=1)
        thoughts.append(states(entering)[-1][0, -1])
    rows = embed(torch.tensor([[codi.eot_id, *lesson.answer[:-1]]]))
    hidden = states(torch.cat([entering, rows], dim=1))
    logits = codi.head(hidden[-1][0, -len(lesson.answer) :])
    each = F.cross_entropy(logits, torch.tensor(lesson.answer), reduction="none")
    weight = torch.full_like(each, 0.1)
    weight[-2] = 1.0
    found["student"] = (each * weight).sum() / weight.sum()
    found["own"] = [h[0, -2] for h in hidden]
    read = [
        F.cross_entropy(codi.head(thoughts[2 * k])[None], torch.tensor([value]), reduction="sum")
        for k, value in enumerate(lesson.intermediates)
        if 2 * k < len(thoughts)
    ]
    found["read"] = read
    return found


def naive_losses(codi: Codi, lessons: list[Lesson], n_thoughts: int) -> dict[str, Tensor]:
    parts = [naive(codi, lesson, n_thoughts) for lesson in lessons]
    n_tokens = sum(len(lesson.reasoning) + len(lesson.answer) for lesson in lessons)
    by_layer = []
    for layer in range(len(parts[0]["own"])):
        own = torch.stack([part["own"][layer] for part in parts])
        target = torch.stack([part["target"][layer] for part in parts])
        by_layer.append((own - target).abs().mean() / target.std())
    read = [one for part in parts for one in part["read"]]
    return {
        "teacher": sum(part["teacher"] for part in parts) / n_tokens,  # type: ignore[misc, dict-item]
        "student": sum(part["student"] for part in parts) / len(parts),  # type: ignore[misc, dict-item]
        "distillation": torch.stack(by_layer).mean(),
        "supervision": torch.stack(read).mean() if read else torch.zeros(()),
    }


@pytest.mark.parametrize("n_thoughts", [6, 0])
def test_the_objective_and_its_gradients_without_a_shared_cache(n_thoughts: int) -> None:
    codi = untrained(SMALL, tiny.words())
    lessons = lessons_of(generate(6, 11).examples, codi.tokenizer)
    assert len({len(lesson.question) for lesson in lessons}) > 1
    found = losses(codi, collate(lessons, codi.pad_id), n_thoughts=n_thoughts, supervise=True)
    wanted = naive_losses(codi, lessons, n_thoughts)
    weights = list(codi.parameters())
    for name, value in found._asdict().items():
        torch.testing.assert_close(value, wanted[name], rtol=2e-4, atol=1e-5)
        ours = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
        theirs = torch.autograd.grad(wanted[name], weights, retain_graph=True, allow_unused=True)
        size = max(float(g.abs().max()) for g in theirs if g is not None)
        for one, other, weight in zip(ours, theirs, weights, strict=True):
            one = torch.zeros_like(weight) if one is None else one
            other = torch.zeros_like(weight) if other is None else other
            torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-4 * size)


def test_kinds_differ_as_they_say(tmp_path: Path) -> None:
    """Only `supervised` teaches thoughts; `no-thoughts` has none, and its projection learns nothing."""
    parts = {}
    for kind in ("supervised", "pure", "no-thoughts"):
        made = training(tmp_path / kind, replace(SMALL, kind=kind, teacher_samples=0))
        assert made.codi.n_thoughts == (0 if kind == "no-thoughts" else 6)
        before = [weight.clone() for weight in made.codi.projection.parameters() if weight.ndim > 1]
        parts[kind] = made._learn(next(endless(made.codi.tokenizer, made.codi.pad_id, 8, 0)))
        after = [weight for weight in made.codi.projection.parameters() if weight.ndim > 1]
        # What AdamW takes off a weight that has a gradient is more than decay; without one it is left alone.
        moved = any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert moved == (kind != "no-thoughts")
    assert parts["supervised"]["supervision"] > 0
    assert parts["pure"]["supervision"] == parts["no-thoughts"]["supervision"] == 0
    assert parts["supervised"]["student"] == pytest.approx(parts["pure"]["student"])
    assert parts["no-thoughts"]["student"] != pytest.approx(parts["pure"]["student"])
    assert parts["no-thoughts"]["teacher"] == pytest.approx(parts["pure"]["teacher"])


def test_the_first_phase_teaches_the_teacher_alone(tmp_path: Path) -> None:
    made = training(tmp_path)
    parts = made._learn(next(endless(made.codi.tokenizer, made.codi.pad_id, 8, 0)))
    assert parts["teacher"] > 0
    assert parts["student"] == parts["distillation"] == parts["supervision"] == 0


def test_it_learns_a_handful_of_problems() -> None:
    codi = untrained(SMALL, tiny.words())
    batch = collate(lessons_of(generate(4, 1).examples, codi.tokenizer), codi.pad_id)
    optimizer = torch.optim.AdamW(codi.parameters(), lr=5e-3)
    history = []
    for _ in range(60):
        found = losses(codi, batch, n_thoughts=None, supervise=True)
        sum(found).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        history.append([float(value.detach()) for value in found])
    teacher, student, _, supervision = (history[0][at] / max(history[-1][at], 1e-9) for at in range(4))
    assert teacher > 3 and student > 3 and supervision > 3


def test_what_is_held_out_is_never_drawn() -> None:
    """The batches of two pools are problems of which nothing is held out, each question of them told in full."""
    codi = untrained(SMALL, tiny.words())
    seed = 5
    known = {}
    for pool in range(2):
        for example in generate(64, seed=seed * 1_000_003 + pool).examples:
            labels = example.labels
            assert not (labels["unseen_numbers"] or labels["unseen_phrasing"] or labels["unseen_template"])
            (lesson,) = lessons_of([example], codi.tokenizer)
            known[tuple(lesson.question)] = lesson
    seen = 0
    for batch in itertools.islice(endless(codi.tokenizer, codi.pad_id, 8, seed), 16):
        for question, mask, tail, tail_mask in zip(
            batch.question, batch.question_mask, batch.tail, batch.tail_mask, strict=True
        ):
            lesson = known[tuple(question[mask.bool()].tolist())]
            assert tail[tail_mask.bool()].tolist() == [*lesson.reasoning, *lesson.answer]
            seen += 1
    assert seen == 128


def test_batches_after_a_skip_are_those_that_would_have_come() -> None:
    codi = untrained(SMALL, tiny.words())
    drawn: list[Batch] = list(itertools.islice(endless(codi.tokenizer, codi.pad_id, 8, 2), 12))
    for skip in (3, 8, 10):
        torch.testing.assert_close(
            next(endless(codi.tokenizer, codi.pad_id, 8, 2, skip)).question, drawn[skip].question
        )


def test_the_rate_rises_stays_and_falls(tmp_path: Path) -> None:
    made = training(tmp_path, replace(SMALL, teacher_samples=80, samples=800, warmup=4))
    rates = [made.rate(step) / SMALL.lr for step in range(110)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:10] == pytest.approx([1.0] * 6)
    assert all(one > other for one, other in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.05, abs=2e-3)
    assert rates[60] == pytest.approx(0.525)
