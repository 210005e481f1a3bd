"""SAEBench: our own numbers beside what the real package gave for the same SAEs, model and tokens; its result files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sae.common.errors import UserError
from sae.evaluation.behaviour import Text, of_texts
from sae.evaluation.core import Collected
from sae.evaluation.first_letter.absorption import absorbed
from sae.formats import saebench
from sae.formats.saebench_adapter import adapt
from sae.language_models import LanguageModel
from sae.models import build
from sae.models.base import SAE

FIXTURES = Path(__file__).parent / "fixtures" / "saebench"
CASES = ("topk", "abstopk", "standard")
LAYER, D_MODEL = 0, 16


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(str(FIXTURES / "model"))
    return LanguageModel(loaded, SimpleNamespace(is_fast=True), {"name": "tiny"})


def sae(name: str) -> tuple[SAE, dict[str, Any]]:
    written = json.loads((FIXTURES / f"{name}.json").read_text())
    weights = load_file(FIXTURES / f"{name}.safetensors")
    made = build(**written["case"], d_in=D_MODEL, d_sae=weights["W_dec"].shape[0])
    made.load_state_dict(weights)
    return made.eval().requires_grad_(False), written


@pytest.mark.parametrize("name", CASES)
def test_core_is_what_saebench_gives(name: str, model: LanguageModel) -> None:
    made, written = sae(name)
    tokens = load_file(FIXTURES / "tokens.safetensors")["tokens"]
    rows = tokens.flatten(0, 1).tolist()
    texts = [Text(row, [place for place, token in enumerate(row) if token > 1]) for row in rows]
    groups = np.arange(len(rows)).reshape(tokens.shape[:2]).tolist()
    collected = Collected(made, np.zeros(D_MODEL), "cpu")
    for group in of_texts(model, LAYER, made, np.zeros(D_MODEL), groups, texts):
        collected.add(group)
    core = collected.core(10, 0)
    theirs = {
        metric: value
        for category, values in written["eval_result_metrics"].items()
        for metric, value in values.items()
        if category != "token_stats"
    }
    assert len(theirs) == 24
    for metric, value in theirs.items():
        assert core.saebench[metric] == pytest.approx(value, rel=2e-4, abs=1e-6), metric
    for column in written["eval_result_details"][0]:
        if column != "index":
            wanted = [line[column] for line in written["eval_result_details"]]
            found = np.nan_to_num(core.features[column], nan=-1)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=column)
    # what is wrong in theirs shows beside ours
    assert core.metrics["mse_token"] / core.saebench["mse"] == pytest.approx(32, rel=0.01)


@pytest.mark.parametrize("name", CASES)
def test_an_adapted_sae_is_the_same_one(name: str) -> None:
    made, _ = sae(name)
    adapted = adapt(made, model_name="tiny", layer=3)
    x = torch.randn(5, 7, D_MODEL, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(adapted(x), made(x.flatten(0, 1)).view_as(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(adapted(x[0]), adapted.decode(adapted.encode(x[0])))
    torch.testing.assert_close(adapted.W_dec.norm(dim=1), torch.ones(made.d_sae))
    assert adapted.encode(x).shape == (5, 7, adapted.cfg.d_sae)
    assert adapted.cfg.hook_name == "blocks.3.hook_resid_post" and adapted.cfg.to_dict()["d_in"] == D_MODEL
    split = adapt(made, model_name="tiny", layer=3, split_signs=True)
    assert split.cfg.d_sae == split.W_dec.shape[0] == 2 * made.d_sae and bool((split.encode(x) >= 0).all())
    torch.testing.assert_close(split(x), adapted(x), rtol=1e-4, atol=1e-5)
    moved = adapted.to(dtype=torch.float64)
    assert moved.dtype == torch.float64 and moved.cfg.dtype == "float64"


@pytest.mark.parametrize("number", [0, 1])
def test_absorption_is_what_saebench_gives(number: int) -> None:
    written = json.loads((FIXTURES / "absorption.json").read_text())
    arrays = {name: np.array(written[name]) for name in ("x", "acts", "probe", "decoder")}
    case = written["cases"][number]
    found = absorbed(arrays["x"], arrays["acts"], arrays["probe"], arrays["decoder"], case["main"])
    np.testing.assert_allclose(found.fraction, case["fraction"], atol=1e-5)
    np.testing.assert_array_equal(found.full, case["full"])
    fractions = np.array(case["fraction"])
    assert any(case["full"]) and (fractions == 0).any() and (fractions == 1).any()


METRICS: dict[str, dict[str, float | None]] = {
    "core": {"kl_div_score": 0.9, "l0": 20.0, "mse": float("nan"), "unknown": 1.0},
    "sparse-probing": {"llm_test_accuracy": 0.9, "sae_top_5_test_accuracy": 0.8},
    "scr": {"scr_metric_threshold_10": 0.2, "scr_dir1_threshold_2": None},
    "tpp": {"tpp_threshold_20_total_metric": 0.1},
    "first-letter": {"mean_full_absorption_score": 0.03},
    "absorption": {"mean_full_absorption_score": 0.03},
}


@pytest.mark.parametrize("evaluation", METRICS)
def test_result_files_have_the_fields_of_saebench(evaluation: str) -> None:
    schema = json.loads((FIXTURES / "schema.json").read_text())[saebench.TYPES[evaluation]]
    found = saebench.document(evaluation, METRICS[evaluation], [], {}, release="run", cfg={"d_in": 4})
    json.dumps(found, allow_nan=False)
    names = {name.rstrip("*") for name in schema["fields"]}
    assert set(found) == names | {"eval_type_id"}
    assert set(found["eval_result_metrics"]) == set(schema["categories"])
    for category, fields in schema["categories"].items():
        written = found["eval_result_metrics"][category]
        assert set(written) <= {name.rstrip("*") for name in fields}
        assert {name.rstrip("*") for name in fields if name.endswith("*")} <= set(written)
    flat = {name: value for part in found["eval_result_metrics"].values() for name, value in part.items()}
    for name, value in METRICS[evaluation].items():
        if name != "unknown" and value is not None:
            assert flat[name] == (-1 if np.isnan(value) else value)
    assert "unknown" not in flat and "scr_dir1_threshold_2" not in flat


def test_what_saebench_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="has no evaluation 'patching'"):
        saebench.document("patching", {}, [], {}, release="run", cfg={})
