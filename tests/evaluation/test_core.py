"""The core evaluation against a forward pass with a hook of the test's own, and formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae.common.errors import UserError
from sae.evaluation.behaviour import Effects, Text, of_texts
from sae.evaluation.core import Collected, stored_groups
from sae.evaluation.directions import nearest_cosines
from sae.evaluation.saebench_core import kl_of_probabilities
from sae.language_models import LanguageModel, load
from sae.models.topk import TopK
from tests.language_models.tiny import D_MODEL, TEXTS, make

LAYER = 1


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = make(
        tmp_path_factory.mktemp("models") / request.param, request.param, first_token=request.param == "llama"
    )
    return load(str(folder))


def sae(k: int = 4, d_sae: int = 48, selection: str = "magnitude", d_in: int = D_MODEL) -> TopK:
    torch.manual_seed(1)
    made = TopK(d_in, d_sae, k, selection)
    with torch.no_grad():
        made.W_enc.copy_(torch.randn(d_in, d_sae) / d_in**0.5)
        made.W_dec.copy_(torch.nn.functional.normalize(torch.randn(d_sae, d_in), dim=1))
        made.b_dec.normal_(std=0.3)
        made.b_enc.normal_(std=0.1)
    return made.eval().requires_grad_(False)


def texts_of(model: LanguageModel) -> list[Text]:
    return [Text(tokens.ids, tokens.kept) for tokens in model.tokenize(TEXTS)]


def by_hand(model: LanguageModel, text: Text, change) -> tuple[torch.Tensor, torch.Tensor]:
    """States after the block and log-probabilities of one text alone; `change(h)` [T, d] takes the states' place."""
    seen: list[torch.Tensor] = []

    def hook(module, arguments, output):
        h = output[0] if isinstance(output, tuple) else output
        seen.append(h[0].clone())
        new = change(h[0].clone())[None]
        return (new, *output[1:]) if isinstance(output, tuple) else new

    layers = model.model.model.layers if hasattr(model.model, "model") else model.model.transformer.h
    handle = layers[LAYER].register_forward_hook(hook)
    try:
        with torch.no_grad():
            logits = model.model(torch.tensor([text.ids])).logits[0]
    finally:
        handle.remove()
    return seen[0], logits.double().log_softmax(-1)


def replaced(text: Text, state):
    def change(h):
        h[text.measured] = state(h[text.measured])
        return h

    return change


def test_kl_and_cross_entropy_are_those_of_a_hook_by_hand(model: LanguageModel) -> None:
    texts, made = texts_of(model), sae()
    mean = np.linspace(-1, 1, D_MODEL)
    groups = list(of_texts(model, LAYER, made, mean, [[0, 2, 4], [1, 3, 5, 6]], texts))
    assert [sorted(set(group.text.tolist())) for group in groups] == [[0, 2, 4], [1, 3, 5, 6]]
    effects = Effects.joined([group.effects for group in groups])
    conditions = {
        "sae": made,
        "mean": lambda h: torch.tensor(mean, dtype=torch.float32).expand_as(h),
        "zero": torch.zeros_like,
    }
    for place, text in enumerate(texts):
        states, clean = by_hand(model, text, lambda h: h)
        (group,) = (group for group in groups if place in group.text)
        torch.testing.assert_close(group.x[group.text == place], states[text.measured], rtol=1e-4, atol=1e-4)
        followed = [index for index in text.measured if index + 1 < len(text.ids)]
        behind = [text.ids[index + 1] for index in followed]
        ce = effects.ce["clean"][effects.ce_text == place]
        np.testing.assert_allclose(ce, -clean[followed, behind], rtol=1e-3, atol=1e-4)
        for name, state in conditions.items():
            _, found = by_hand(model, text, replaced(text, state))
            kl = (clean.exp() * (clean - found)).sum(-1)[text.measured]
            np.testing.assert_allclose(effects.kl[name][effects.kl_text == place], kl, rtol=1e-3, atol=1e-4)
            ce = effects.ce[name][effects.ce_text == place]
            np.testing.assert_allclose(ce, -found[followed, behind], rtol=1e-3, atol=1e-4)
        _, ablated = by_hand(model, text, torch.zeros_like)
        kl = (clean.exp() * (clean - ablated)).sum(-1)[text.measured]
        np.testing.assert_allclose(effects.theirs["zero_all"][effects.kl_text == place], kl, rtol=1e-3, atol=1e-4)
    assert effects.kl["sae"].mean() > 0.01


def test_batches_that_memory_cuts_give_the_same(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, made, mean = texts_of(model), sae(), np.zeros(D_MODEL)
    (whole,) = of_texts(model, LAYER, made, mean, [list(range(7))], texts)
    monkeypatch.setattr("sae.evaluation.behaviour._LARGEST", 300 * 12)
    (cut,) = of_texts(model, LAYER, made, mean, [list(range(7))], texts)
    np.testing.assert_array_equal(whole.text, cut.text)
    for name in whole.effects.kl:
        np.testing.assert_allclose(whole.effects.kl[name], cut.effects.kl[name], rtol=1e-3, atol=1e-5)


def test_one_position_is_replaced_alone(model: LanguageModel) -> None:
    texts = [Text(text.ids, text.measured[-1:]) for text in texts_of(model)]
    (group,) = of_texts(model, LAYER, sae(), np.zeros(D_MODEL), [[0, 1]], texts)
    assert group.text.tolist() == [0, 1] and len(group.effects.ce_text) == 0
    _, clean = by_hand(model, texts[1], lambda h: h)
    _, found = by_hand(model, texts[1], replaced(texts[1], torch.zeros_like))
    kl = (clean.exp() * (clean - found)).sum(-1)[-1]
    assert group.effects.kl["zero"][1] == pytest.approx(float(kl), rel=1e-3)


def test_an_sae_of_another_model_is_refused(model: LanguageModel) -> None:
    with pytest.raises(UserError, match="reads rows of 8 dimensions, the states of .* have 32"):
        list(of_texts(model, LAYER, sae(d_in=8), np.zeros(8), [[0]], texts_of(model)))


def test_metrics_and_scores_are_their_formulas(model: LanguageModel) -> None:
    texts, made = texts_of(model), sae()
    mean = np.random.default_rng(0).normal(size=D_MODEL)
    groups = list(of_texts(model, LAYER, made, mean, [[0, 1, 2], [3, 4, 5, 6]], texts))
    collected = Collected(made, mean, "cpu")
    for group in groups:
        collected.add(group)
    core = collected.core(200, 0)
    x = torch.cat([group.x for group in groups]).double()
    features = made.encode(x.float()).double()
    guess = (features @ made.W_dec.double()) + made.b_dec.double()
    error = ((x - guess) ** 2).sum()
    expected = {
        "ev_total": 1 - error / ((x - torch.tensor(mean)) ** 2).sum(),
        "mse": error / x.numel(),
        "mse_token": error / len(x),
        "l0": (features != 0).sum(1).double().mean(),
        "l1": features.abs().sum(1).mean(),
        "cosine_similarity": torch.nn.functional.cosine_similarity(x, guess).mean(),
        "l2_ratio": (guess.norm(dim=1) / x.norm(dim=1)).mean(),
        "relative_reconstruction_bias": (guess**2).sum() / (x * guess).sum(),
    }
    effects = Effects.joined([group.effects for group in groups])
    kl = {name: values.mean() for name, values in effects.kl.items()}
    ce = {name: values.mean() for name, values in effects.ce.items()}
    expected |= {f"kl_{name}": value for name, value in kl.items()}
    expected |= {f"ce_{name}": value for name, value in ce.items() if name != "zero_all"}
    for control in ("mean", "zero"):
        expected[f"kl_score_{control}"] = 1 - kl["sae"] / kl[control]
        expected[f"ce_score_{control}"] = (ce[control] - ce["sae"]) / (ce[control] - ce["clean"])
    for name, value in expected.items():
        assert core.metrics[name] == pytest.approx(float(value), rel=1e-5), name
        low, high = core.intervals[name]
        assert low <= core.metrics[name] <= high, name
    assert core.n_texts == 7 and core.n_tokens == len(x)
    assert core.saebench["kl_div_score"] == pytest.approx(
        1 - effects.theirs["sae"].mean() / effects.theirs["zero_all"].mean()
    )
    assert core.saebench["total_tokens_eval_reconstruction"] == len(x)


def test_an_exact_sae_changes_nothing(model: LanguageModel) -> None:
    made = TopK(D_MODEL, D_MODEL, D_MODEL, "magnitude")
    with torch.no_grad():
        made.W_enc.copy_(torch.eye(D_MODEL))
        made.W_dec.copy_(torch.eye(D_MODEL))
    collected = Collected(made.eval().requires_grad_(False), np.zeros(D_MODEL), "cpu")
    for group in of_texts(model, LAYER, made, np.zeros(D_MODEL), [[0, 1, 2]], texts_of(model)):
        collected.add(group)
    found = collected.core(50, 0).metrics
    assert found["kl_sae"] == pytest.approx(0, abs=1e-6)
    for name in ("kl_score_mean", "kl_score_zero", "ce_score_mean", "ce_score_zero", "ev_total"):
        assert found[name] == pytest.approx(1, abs=1e-4)


def test_stored_rows_have_no_behaviour() -> None:
    x = np.random.default_rng(0).normal(size=(60, D_MODEL)).astype(np.float32)
    rows, made = np.arange(10, 50), sae()
    collected = Collected(made, np.zeros(D_MODEL), "cpu")
    for group in stored_groups(x, rows, rows // 4, "cpu"):
        collected.add(group)
    core = collected.core(50, 0)
    assert not any(name.startswith(("kl_", "ce_")) for name in [*core.metrics, *core.saebench])
    error = ((x[10:50] - made(torch.from_numpy(x[10:50])).numpy()) ** 2).sum()
    assert core.metrics["ev_total"] == pytest.approx(1 - error / (x[10:50] ** 2).sum(), rel=1e-5)


def test_the_nearest_directions() -> None:
    directions = torch.randn(700, 5, generator=torch.Generator().manual_seed(0))
    unit = directions / directions.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T - 3 * torch.eye(700)
    torch.testing.assert_close(nearest_cosines(directions), cosines.max(1).values)


def test_their_kl_is_none_where_a_probability_underflows() -> None:
    log_p = torch.tensor([[0.0, -200.0], [-0.7, -0.7]]).log_softmax(-1)
    found = kl_of_probabilities(log_p, log_p)
    assert torch.isnan(found[0]) and found[1] == 0
