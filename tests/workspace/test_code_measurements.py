"""`concepts` and `equal-bits` of trained runs, from the experiment to its tables."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.claims import load_all
from sae.analysis.seed_match import match
from sae.common.files import write_parquet
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.equal_bits import equal_bits_curves
from sae.workspace.evidence import gather
from sae.workspace.measurements import measure_runs
from sae.workspace.work import run_experiment
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Binary codes of two seeds and TopK values of one, a grid, and both measurements of them."""
    root = tmp_path_factory.mktemp("measured")
    workspace = Workspace(root / "w")
    x = put_activations(workspace, n=400)
    # A label that the rows know of, and groups of two.
    labels = {"half": np.where(x[:, 0] > np.median(x[:, 0]), "high", "low"), "group": np.arange(400) // 2}
    write_parquet(workspace.activations_folder("rows") / "examples.parquet", pd.DataFrame(labels))
    factors = {"d_sae": [32], "k": [4], "rounding": ["pass_through", "topk_values"], "seed": [0, 1]}
    place = {"activations": "rows", "layer": None, "position": None, "settings": {"epochs": 3, "batch_size": 64}}
    spec = {"kind": "cosine-ablation-topk", "name": "codes", "factors": factors, **place}
    run_experiment(workspace, spec, "cpu", JobProgress(root))
    train_grid(workspace, root / "grid", k=(4,), d_sae=(32,))
    settings: dict[str, dict] = {
        "concepts": {"permutations": 2, "others": 1},
        "equal-bits": {"queries": 40, "neighbours": 5},
    }
    for kind, source in (("concepts", "codes"), ("equal-bits", "codes"), ("equal-bits", "grid")):
        name = f"{kind}-{source}"
        measurement = {"kind": kind, "name": name, "source": source, "runs": [], "settings": settings[kind]}
        measure_runs(workspace, measurement, "cpu", JobProgress(root))
    return workspace


def test_concepts_are_what_their_tables_say(measured):
    experiment = measured.experiment("concepts-codes")
    results = experiment.results()
    assert len(results) == 4 and set(results["split"]) == {"all"}
    for line in results.itertuples():
        features, labels = experiment.part(line.id, "features"), experiment.part(line.id, "labels")
        living = features[features["n_examples"] > 0]
        assert line.features_living == len(living)
        assert line.confirmed == pytest.approx(living["confirmed"].mean())
        assert line.coherence == pytest.approx(features["coherence"].mean())
        assert line.label_f1 == pytest.approx(labels.loc[labels["used"], "heldout_f1"].mean())
        null = experiment.part(line.id, "null")
        assert len(null) == 2 and line.label_f1_null == pytest.approx(null["label_f1"].mean())
        (found,) = experiment.part_results(line.id)
        low, high = found["interval"]["label_f1_null"]
        assert low <= line.label_f1_null <= high


def test_seeds_are_matched_within_their_cell(measured):
    experiment = measured.experiment("concepts-codes")
    results = experiment.results().set_index("id")
    for run, line in results.iterrows():
        (other,) = [name for name, more in results.iterrows() if more["rounding"] == line["rounding"] and name != run]
        table = experiment.part(run, "matches")
        assert set(table["run"]) == {other} and line["other_seeds"] == 1
        expected = match(measured.run(run).codes(), measured.run(other).codes())
        assert line["match_phi"] == pytest.approx(expected.matched)
        assert line["nearest_phi"] == pytest.approx(expected.nearest)
        assert line["nearest_phi_null"] < line["nearest_phi"]


def test_a_run_without_another_seed_has_no_match(measured, tmp_path):
    spec = {"kind": "concepts", "name": "alone", "source": "grid", "runs": [], "settings": {"permutations": 0}}
    measure_runs(measured, spec, "cpu", JobProgress(tmp_path))
    (line,) = measured.experiment("alone").results().to_dict("records")
    assert line["other_seeds"] == 0 and pd.isna(line["match_phi"]) and "label_f1_null" not in line


def test_equal_bits_agree_with_what_the_runs_say_of_themselves(measured):
    experiment = measured.experiment("equal-bits-codes")
    for line in experiment.results().to_dict("records"):
        metrics = measured.run(line["id"]).metrics["validation"]
        assert (line["split"], line["n"], line["dense_bits"]) == ("validation", 80, 32 * 24)
        assert line["reconstruction_loss"] == pytest.approx(metrics["reconstruction_loss"], abs=1e-5)
        assert line["ev_total"] == pytest.approx(metrics["ev_total"], abs=1e-4)
        table = experiment.part(line["id"], "methods")
        if line["rounding"] == "pass_through":
            assert line["bits"] == pytest.approx(min(metrics["index_bits"], 32))
            assert table["method"].tolist() == ["bits", "pq"] and 0 <= line["recall_hamming"] <= 1
        else:
            assert (line["bits"], line["bits_int8"]) == (4 * (5 + 32), 4 * (5 + 8))
            assert table["method"].tolist() == ["float32", "pq", "int8", "pq"]
            assert line["reconstruction_loss_int8"] == pytest.approx(line["reconstruction_loss"], abs=0.01)
        assert line["bits_pq"] == 8 * min(max(round(line["bits"] / 8), 1), 24)


def test_curves_join_all_that_was_measured_on_the_same_rows(measured):
    table, notes = equal_bits_curves(measured, measured.experiment("codes"))
    assert notes["measurements"] == ["equal-bits-codes", "equal-bits-grid"] and notes["n"] == 80
    methods = set(table["method"])
    assert {"Binary code, pass through", "TopK strengths, 8 bits", "TopK SAE, float32 values"} <= methods
    assert table[table["method"] == "Binary code, pass through"]["seeds"].tolist() == [2]
    _, notes = equal_bits_curves(measured, measured.experiment("grid"))
    assert notes["measurements"] == ["equal-bits-grid", "equal-bits-codes"]  # its own first


def test_what_was_not_measured_has_no_curves(measured, tmp_path):
    train_grid(measured, tmp_path, "new", k=(2,), d_sae=(16,))
    table, notes = equal_bits_curves(measured, measured.experiment("new"))
    assert table.empty and notes == {}


def test_measurements_are_evidence_for_claims(measured):
    document = next(one for one in load_all() if one.id == "cosine-plan-topk-alpha")
    ablation = gather(measured.experiment("codes"), document).ablations["cosine-ablation-topk"]
    assert (ablation.split, ablation.baseline) == ("validation", {"rounding": "topk"}) and len(ablation.runs) == 4
    for line in ablation.runs.to_dict("records"):
        run = measured.run(line["id"])
        assert line["reconstruction_loss"] == run.metrics["validation"]["reconstruction_loss"]
        assert line["dead_all"] == run.metrics["all"]["dead"]
        assert line["gradient_norm_cv"] == run.results["training"]["gradient_norm_cv"] and line["diverged"] in (0, 1)
        (concepts,) = measured.experiment("concepts-codes").part_results(run.id)
        (bits,) = measured.experiment("equal-bits-codes").part_results(run.id)
        assert line["concepts_label_f1"] == concepts["metrics"]["label_f1"]
        assert line["equal_bits_recall_pq"] == bits["metrics"]["recall_pq"]
