"""Patching a tiny CODI model, against thinking written out step by step without a cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.evaluation.patching import CleanBatch, Effect, Site, clean_batches, random_error
from sae.evaluation.patching_tables import condition_table, counts, feature_table
from sae.language_models.codi.model import Codi
from sae.problems import generate
from tests.language_models.codi import tiny

SITES = [Site(0, 0), Site(0, 3), Site(1, 2), Site(2, 4), Site(0, 6)]


@pytest.fixture(scope="module")
def codi() -> Codi:
    return tiny.codi(seed=3)


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return [example.question for example in generate(7, 5).examples]


def by_hand(codi: Codi, ids: list[int], site: Site | None, state: Tensor | None) -> tuple[Tensor, list[int]]:
    """One problem, everything run anew from the start at each step: logits after EOT and each token, and the answer."""
    model, embed = codi.language_model, codi.embeddings
    at = len(ids) + (site.step if site else 0)
    inner = model.base_model

    def hook(module: object, arguments: object, output: Tensor) -> Tensor:
        if state is None or output.shape[1] <= at:
            return output
        changed = output.clone()
        changed[:, at] = state
        return changed

    module = None
    if site is not None:
        module = inner.norm if site.layer == codi.n_layers else inner.layers[site.layer]
    handle = module.register_forward_hook(hook) if module is not None else None
    try:
        entering = embed(torch.tensor([[*ids, codi.bot_id]]))
        for _ in range(6):
            last = inner(inputs_embeds=entering).last_hidden_state[:, -1]
            entering = torch.cat([entering, codi.projection(last).unsqueeze(1)], dim=1)
        entering = torch.cat([entering, embed(torch.tensor([[codi.eot_id]]))], dim=1)
        written: list[int] = []
        logits = []
        while len(written) < 32 and codi.tokenizer.eos_token_id not in written:
            final = inner(inputs_embeds=entering).last_hidden_state[0, -1]
            logits.append((final @ embed.weight.T)[: codi.eot_id])
            written.append(int(logits[-1].argmax()))
            entering = torch.cat([entering, embed(torch.tensor([[written[-1]]]))], dim=1)
        return torch.stack(logits), written
    finally:
        if handle is not None:
            handle.remove()


def forced(codi: Codi, ids: list[int], site: Site, state: Tensor, answer: list[int]) -> Tensor:
    """Log-probabilities of the tokens after EOT when `answer` is what is written."""
    model, embed = codi.language_model, codi.embeddings
    at = len(ids) + site.step
    inner = model.base_model

    def hook(module: object, arguments: object, output: Tensor) -> Tensor:
        changed = output.clone()
        if output.shape[1] > at:
            changed[:, at] = state
        return changed

    module = inner.norm if site.layer == codi.n_layers else inner.layers[site.layer]
    handle = module.register_forward_hook(hook)
    try:
        entering = embed(torch.tensor([[*ids, codi.bot_id]]))
        for _ in range(6):
            last = inner(inputs_embeds=entering).last_hidden_state[:, -1]
            entering = torch.cat([entering, codi.projection(last).unsqueeze(1)], dim=1)
        tail = embed(torch.tensor([[codi.eot_id, *answer[:-1]]]))
        final = inner(inputs_embeds=torch.cat([entering, tail], dim=1)).last_hidden_state[0, -len(answer) :]
        return (final @ embed.weight.T)[:, : codi.eot_id].log_softmax(-1)
    finally:
        handle.remove()


@pytest.mark.parametrize("site", SITES)
def test_patched_is_what_thinking_by_hand_gives(codi: Codi, questions: list[str], site: Site) -> None:
    ids = codi.encode(questions)
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        batch = CleanBatch(codi, ids, site)
        state = batch.state + 2 * batch.state.norm(dim=1, keepdim=True) / 6 * torch.randn(
            batch.state.shape, generator=generator
        )
        found = batch.patched(state)
        for row, question in enumerate(ids):
            logits, answer = by_hand(codi, question, None, None)
            clean = logits.log_softmax(-1)
            after = forced(codi, question, site, state[row], answer)
            kl = float((clean.exp() * (clean - after)).sum(-1).mean())
            # Six thoughts one after another make much of the last digits of float32.
            assert found.kl[row] == pytest.approx(kl, rel=1e-2, abs=1e-6)
            _, written = by_hand(codi, question, site, state[row])
            text = codi.tokenizer.decode([token for token in written if token != codi.tokenizer.eos_token_id])
            numbers = [word for word in text.split() if word.isdigit()]
            assert found.numbers[row] == float(numbers[-1]) if numbers else np.isnan(found.numbers[row])
    assert found.kl.max() > 1e-4  # else nothing was patched


@pytest.mark.parametrize("site", [*SITES, Site(1, 6)])
def test_the_states_own_value_changes_nothing(codi: Codi, questions: list[str], site: Site) -> None:
    with torch.inference_mode():
        batch = CleanBatch(codi, codi.encode(questions), site)
        found = batch.patched(batch.state.clone())
    assert np.abs(found.kl).max() < 1e-6
    np.testing.assert_array_equal(found.numbers, batch.numbers)


def test_the_state_is_the_one_that_is_captured(codi: Codi, questions: list[str]) -> None:
    ids = codi.encode(questions)
    with torch.inference_mode():
        thinking = codi.think(ids, layers=[0, 1])
        for layer, step in ((0, 2), (1, 5)):
            torch.testing.assert_close(CleanBatch(codi, ids, Site(layer, step)).state, thinking.states[layer][step])
        torch.testing.assert_close(CleanBatch(codi, ids, Site(2, 5)).state, thinking.final[5])


def test_nothing_reads_the_last_blocks_last_thought(codi: Codi, questions: list[str]) -> None:
    with torch.inference_mode():
        for site in (Site(1, 6), Site(2, 6)):
            assert not site.is_read(codi)
            batch = CleanBatch(codi, codi.encode(questions), site)
            assert np.abs(batch.patched(torch.zeros_like(batch.state)).kl).max() < 1e-6
    assert Site(1, 5).is_read(codi) and Site(0, 6).is_read(codi)


def test_rows_in_any_order_and_twice(codi: Codi, questions: list[str]) -> None:
    with torch.inference_mode():
        batch = CleanBatch(codi, codi.encode(questions), Site(0, 1))
        state = batch.state.flip(0)
        whole = batch.patched(state)
        rows = torch.tensor([5, 0, 5, 2])
        some = batch.patched(state[rows], rows)
    np.testing.assert_allclose(some.kl, whole.kl[rows], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(some.numbers, whole.numbers[rows])


def test_batches_are_the_problems_in_their_places(
    codi: Codi, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sae.evaluation.patching.BATCH", 3)
    ids = codi.encode(questions)
    with torch.inference_mode():
        numbers = np.full(len(ids), -1.0)
        for places, batch in clean_batches(codi, ids, Site(0, 1)):
            numbers[places] = batch.numbers
        alone = [codi.answer(codi.think([row]))[0].number for row in ids]
    np.testing.assert_array_equal(numbers, [np.nan if number is None else number for number in alone])


@pytest.mark.parametrize("site", [Site(3, 0), Site(0, 7), Site(-1, 0)])
def test_a_site_that_is_not_there(codi: Codi, site: Site) -> None:
    with pytest.raises(UserError, match="this model has layers 0 to 1 and steps 0 to 6"):
        next(clean_batches(codi, [[1]], site))


def test_a_random_error_is_as_long_as_the_reconstructions() -> None:
    state, other = torch.randn(40, 12), torch.randn(40, 12)
    found = random_error(state, other, 3)
    torch.testing.assert_close((found - state).norm(dim=1), (other - state).norm(dim=1))
    cosines = torch.nn.functional.cosine_similarity(found - state, other - state)
    assert float(cosines.abs().mean()) < 0.5
    torch.testing.assert_close(found, random_error(state, other, 3))


def test_counts_by_hand() -> None:
    wanted = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    clean = np.array([1.0, 2.0, 9.0, 9.0, np.nan])
    effect = Effect(np.array([1.0, 7.0, 3.0, 8.0, np.nan]), np.arange(5.0))
    found = counts(wanted, clean, effect)
    assert found["accuracy"].tolist() == [1, 0, 1, 0, 0]
    assert found["accuracy_change"].tolist() == [0, -1, 1, 0, 0]
    assert found["flipped"].tolist() == [0, 1, 1, 1, 0]
    assert found["right_to_wrong"].tolist() == [0, 1, 0, 0, 0]
    assert found["wrong_to_right"].tolist() == [0, 0, 1, 0, 0]


def test_tables_have_means_and_intervals_that_cover_them() -> None:
    generator = np.random.default_rng(0)
    n = 400
    wanted = np.ones(n)
    clean = np.where(generator.random(n) < 0.8, 1.0, 2.0)
    effects = {
        "sae": Effect(np.where(generator.random(n) < 0.1, 5.0, clean), generator.random(n)),
        "mean": Effect(np.full(n, 3.0), 4 * generator.random(n)),
    }
    table, compared = condition_table(effects, wanted, clean, resamples=500, seed=0)
    sae = table.set_index("condition").loc["sae"]
    assert sae["flipped"] == pytest.approx((effects["sae"].numbers != clean).mean())
    assert sae["accuracy_change"] == pytest.approx(sae["wrong_to_right"] - sae["right_to_wrong"])
    half = (sae["flipped_high"] - sae["flipped_low"]) / 2
    assert half == pytest.approx(1.96 * np.sqrt(sae["flipped"] * (1 - sae["flipped"]) / n), rel=0.2)
    value, low, high = compared["kl_recovered"]
    assert value == pytest.approx(1 - effects["sae"].kl.mean() / effects["mean"].kl.mean())
    assert low < value < high
    assert compared["accuracy_clean"][0] == pytest.approx((clean == 1).mean())

    places = np.array([3, 1, 8])
    parts = {4: [(places[:2], Effect(clean[places[:2]], np.ones(2))), (places[2:], Effect(np.zeros(1), np.zeros(1)))]}
    line = feature_table({**parts, 9: []}, wanted, clean, resamples=100, seed=0)
    assert line["feature"].tolist() == [4] and line["n"].tolist() == [3]
    assert line["flipped"].iloc[0] == pytest.approx(1 / 3) and line["kl"].iloc[0] == pytest.approx(2 / 3)
