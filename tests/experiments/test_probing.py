"""Sparse probing, TPP and SCR as measurements, with an SAE whose features are the planted labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sae.analysis.codes import FeatureActivations
from sae.capture.planted import write_planted
from sae.common.errors import UserError
from sae.common.progress import Silent
from sae.experiments import MEASUREMENTS
from sae.experiments.measurement import Case
from sae.models import build

NO_MODEL: Any = None

N, D = 1200, 12
COLOURS, SIZES = ["red", "green", "blue"], ["big", "small"]


def case_of(folder: Path) -> Case:
    """Rows are a colour's direction, twice a size's, and noise; the SAE has a latent for each of them and others."""
    generator = np.random.default_rng(0)
    colour = np.repeat(generator.integers(3, size=N // 2), 2)
    size = np.repeat(generator.integers(2, size=N // 2), 2)
    directions = np.linalg.qr(generator.standard_normal((D, D)))[0]
    act = np.zeros((N, D))
    act[np.arange(N), colour] = 1 + 0.1 * generator.random(N)
    act[np.arange(N), 3 + size] = 2 + 0.1 * generator.random(N)
    act[:, 5:] = generator.random((N, D - 5)) * (generator.random((N, D - 5)) < 0.3)
    examples = pd.DataFrame(
        {
            "question": [f"row {row}" for row in range(N)],
            "group": [f"g{row // 2}" for row in range(N)],
            "colour": [COLOURS[one] for one in colour],
            "size": [SIZES[one] for one in size],
        }
    )
    x = (act @ directions + 0.01 * generator.standard_normal((N, D))).astype(np.float32)
    activations = write_planted({"planted": {"by": "hand"}}, lambda: (x, examples), folder, name=folder.name)
    model = build("topk", d_in=directions.shape[1], d_sae=len(directions), k=1)
    with torch.no_grad():
        model.W_dec.copy_(torch.tensor(directions))
    codes = FeatureActivations.from_dense(act.astype(np.float32))
    return Case("run", {}, model, codes, activations.slice(), activations, NO_MODEL, "cpu")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("probing") / "made")


def measured(case: Case, name: str, **settings: Any) -> Any:
    kind = MEASUREMENTS[name]
    return kind.of(case, kind.settings_of({"draws": 100, **settings}), Silent())


def test_sparse_probing(case: Case) -> None:
    found = measured(case, "sparse-probing", k="1,2")
    (result,) = found.results
    metrics = result["metrics"]
    assert result["split"] == "validation" and metrics["labels"] == 4 and metrics["families"] == 2
    for name in ("sae_top_1_test_accuracy", "sae_top_1_test_accuracy_saebench", "sae_test_accuracy"):
        assert metrics[name] == 1
    assert metrics["llm_test_accuracy"] > 0.99 and metrics["llm_top_1_test_accuracy"] < 0.98
    assert abs(metrics["sae_top_1_test_accuracy_shuffled"] - 0.5) < 0.1
    assert result["interval"]["sae_top_1_test_accuracy"] == (1, 1)
    table = found.tables["labels"]
    one = table.query("source == 'sae' and k == 1").set_index("label")
    assert {label: int(line) for label, line in one["features"].items()} == {
        "colour red": 0,
        "colour green": 1,
        "colour blue": 2,
        "size big": 3,
    } or int(one.loc["size big", "features"]) in (3, 4)
    assert [line["dataset_name"] for line in found.notes["saebench_details"]] == ["colour", "size"]
    assert set(metrics) >= {"llm_top_2_test_accuracy_shuffled", "llm_top_2_test_accuracy_saebench"}
    # A number's mean is that of its kind of labels, then over kinds.
    raw = table.query("source == 'llm' and k == 2").groupby("family")["accuracy"].mean()
    assert metrics["llm_top_2_test_accuracy"] == pytest.approx(raw.mean())


def test_tpp_switches_off_one_class_alone(case: Case) -> None:
    found = measured(case, "tpp", n="1,12", random_draws=2)
    metrics = found.results[0]["metrics"]
    assert metrics["tpp_threshold_1_intended_diff_only"] == pytest.approx(0.5, abs=0.03)
    assert metrics["tpp_threshold_1_unintended_diff_only"] == pytest.approx(0, abs=0.03)
    assert metrics["tpp_threshold_1_total_metric"] == pytest.approx(
        metrics["tpp_threshold_1_intended_diff_only"] - metrics["tpp_threshold_1_unintended_diff_only"]
    )
    assert metrics["tpp_threshold_1_total_metric_random"] < 0.2
    assert metrics["tpp_threshold_1_total_metric_saebench"] > 0.1
    assert found.notes["saebench"]["tpp_threshold_1_total_metric"] == metrics["tpp_threshold_1_total_metric_saebench"]
    low, high = found.results[0]["interval"]["tpp_threshold_1_total_metric"]
    assert low <= metrics["tpp_threshold_1_total_metric"] <= high
    # Colours alone: the two sizes are one question.
    assert set(found.tables["classes"]["family"]) == {"colour"} and metrics["labels"] == 3


def test_scr_takes_the_spurious_label_away(case: Case) -> None:
    found = measured(case, "scr", n="2", random_draws=2)
    metrics, table = found.results[0]["metrics"], found.tables["pairs"]
    assert metrics["pairs"] == metrics["pairs_scored"] == 1
    line = table.query("scored and probe == 'ours'").iloc[0]
    assert line["asked"].startswith("colour") and line["switched_off"].startswith("size")
    # Size is twice as large: the biased probe follows it wherever the two disagree, which is half of the test.
    assert line["base_accuracy"] == pytest.approx(0.5, abs=0.1) and line["clean_accuracy"] > 0.99
    assert metrics["scr_metric_threshold_2"] > 0.9
    by_hand = (line["ablated_accuracy"] - line["base_accuracy"]) / (line["clean_accuracy"] - line["base_accuracy"])
    assert metrics["scr_metric_threshold_2"] == pytest.approx(by_hand) == pytest.approx(line["scr"])
    assert metrics["scr_metric_threshold_2_random"] < 0.5
    theirs = table.query("scored and probe == 'saebench'").iloc[0]
    assert metrics["scr_metric_threshold_2_saebench"] == pytest.approx(theirs["scr"])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("sparse-probing", {"labels": "weight"}, "no column 'weight'"),
        ("sparse-probing", {"labels": "group"}, "no label has 40 training examples"),
        ("sparse-probing", {"k": "1,x"}, "k '1,x': write whole numbers"),
        ("sparse-probing", {"pooling": "max"}, "pooling 'max' is not known"),
        ("tpp", {"labels": "size"}, "no kind of label has two labels"),
        ("scr", {"labels": "size"}, "no two labels of different kinds"),
        ("scr", {"least_gap": 0.9}, "no probe of two labels at once"),
        ("tpp", {"random_draws": -1}, "random_draws -1 must be at least 0"),
    ],
)
def test_what_can_not_be_measured(case: Case, name: str, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measured(case, name, **settings)


def test_a_group_on_both_sides_leaves_training(tmp_path: Path) -> None:
    from sae.experiments.labelled import units_of

    case = case_of(tmp_path / "made")
    case.slice.rows.loc[:1, "split"] = ["train", "validation"]
    units = units_of(case.slice, (), "mean", None)
    assert not set(units.group[units.train]) & set(units.group[units.test]) and units.dropped >= 1
