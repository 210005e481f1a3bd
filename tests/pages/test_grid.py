"""Grid: heat maps over finished, missing and failed cells; seeds; differences; the frontier; recommendations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sae.ui import grid_data
from sae.ui.baselines import baseline_table
from sae.ui.frontier import judged
from sae.workspace import Workspace
from tests.pages.test_home import words
from tests.workspace.results import fail


def spec(at, key_start: str) -> dict:
    """The Plotly specification of the chart whose key starts so."""
    (chart,) = [c for c in at.get("plotly_chart") if f"-{key_start}" in c.proto.id]
    return json.loads(chart.proto.spec)


def run_of(workspace: Workspace, **factors) -> str:
    runs = workspace.experiment("both").content["runs"]
    (found,) = [run["id"] for run in runs if factors.items() <= run["factors"].items()]
    return found


def test_without_an_experiment_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("grid", workspace)
    assert not at.exception
    assert "No experiments yet" in words(at)


def test_six_heat_maps_with_the_mean_over_seeds(open_page, results):
    at = open_page("grid", results, experiment="both", preset="published")
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) == 6
    drawn = spec(at, "heat_ev_total")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    assert (heat["x"], heat["y"]) == (["16", "32"], ["2", "4"])
    cells = next(trace for trace in drawn["data"] if trace["type"] == "scatter")
    runs = [run.split(",") for *_, run, _ in cells["customdata"]]
    assert [len(run) for run in runs] == [2, 2, 2, 2]
    for (d_sae, k), ids in zip([(16, 2), (32, 2), (16, 4), (32, 4)], runs, strict=True):
        assert sorted(ids) == sorted(run_of(results, preset="published", k=k, d_sae=d_sae, seed=s) for s in (0, 1))
    expected = np.mean([results.run(run).metrics["validation"]["ev_total"] for run in runs[3]])
    written = [a["text"] for a in drawn["layout"]["annotations"]]
    assert any(text.startswith(f"{expected:.3f}") and "±" in text for text in written)


def test_a_cell_with_two_seeds_asks_which(open_page, results):
    ids = [run_of(results, preset="published", k=4, d_sae=32, seed=s) for s in (0, 1)]
    at = open_page("grid", results, experiment="both", preset="published", cell=",".join(ids))
    assert "choose a seed" in words(at)
    links = [link.value for link in at.page_link]
    assert any(label.startswith("seed 0") for label in links) and any(label.startswith("seed 1") for label in links)


def test_one_seed_alone(open_page, results):
    at = open_page("grid", results, experiment="both", preset="corrected", seed="1", metric="dead", split="all")
    cells = next(trace for trace in spec(at, "heat_dead")["data"] if trace["type"] == "scatter")
    assert [data[0] for data in cells["customdata"]][0] == run_of(results, preset="corrected", k=2, d_sae=16, seed=1)
    assert all("," not in data[3] for data in cells["customdata"])


def test_a_failed_run_and_one_that_is_gone_are_not_drawn_as_nought(open_page, own_results):
    for seed in (0, 1):
        fail(own_results, run_of(own_results, preset="published", k=2, d_sae=16, seed=seed))
    gone = run_of(own_results, preset="published", k=4, d_sae=16, seed=0)
    own_results.delete_run(gone)
    own_results.delete_run(run_of(own_results, preset="published", k=4, d_sae=16, seed=1))
    at = open_page("grid", own_results, experiment="both", preset="published")
    assert not at.exception
    drawn = spec(at, "heat_ev_total")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    values = heat["z"] if isinstance(heat["z"], list) else None
    if values is not None:
        assert values[0][0] is None and values[1][0] is None
    said = [a["text"] for a in drawn["layout"]["annotations"]]
    assert "failed" in said and "cancelled" in said
    assert "12 done, 2 failed, 2 cancelled" in words(at)


def test_difference_of_two_recipes(open_page, results):
    at = open_page("grid", results, experiment="both", preset="corrected", view="difference", with_preset="published")
    assert not at.exception and not at.error
    table = at.dataframe[0].value.set_index(["k", "d_sae"])
    means = {
        preset: np.mean([
            results.run(run_of(results, preset=preset, k=4, d_sae=32, seed=s)).metrics["validation"]["ev_total"]
            for s in (0, 1)
        ])
        for preset in ("corrected", "published")
    }  # fmt: skip
    assert table.loc[(4, 32), "difference"] == pytest.approx(means["published"] - means["corrected"])


def test_the_frontier_by_both_tests(open_page, results):
    at = open_page("grid", results, experiment="both", preset="corrected", view="frontier")
    assert not at.exception and not at.error
    assert "on the frontier by standard dominance; 4 by the report's test" in words(at).replace("**", "")
    at = open_page("grid", results, experiment="both", preset="corrected", view="frontier", test="strict")
    assert "4 of 4" in words(at)


def test_recommendations_stand_beside_the_reports(open_page, results):
    at = open_page("grid", results, experiment="both", preset="published", view="configurations")
    assert not at.exception and not at.error
    said = words(at).replace("\\", "")
    for use in ("Extreme interpretability", "Balanced sparse features", "Memory-constrained deployment"):
        assert use.split()[0] in said
    assert said.count("The report: K") == 4 and said.count("Not in this grid") == 4


def test_all_runs_in_a_table(open_page, results):
    at = open_page("grid", results, experiment="both", view="runs", split="train")
    table = at.dataframe[0].value
    assert len(table) == 16 and set(table["state"]) == {"done"}
    line = table.iloc[3]
    assert line["ev_total"] == results.run(line["run"]).metrics["train"]["ev_total"]


def test_an_unknown_view_falls_back_and_says_so(open_page, results):
    at = open_page("grid", results, experiment="both", view="nonsense")
    assert not at.exception
    assert "nonsense" in at.warning[0].value


def test_baselines_beside_the_grid(results):
    experiment = results.experiment("both")
    table = grid_data.matching(grid_data.runs_with_metrics(experiment, "validation"), {"preset": "published"})
    lines = baseline_table(experiment, table, "validation").set_index(["k", "d_sae"])
    runs = [results.run(run_of(results, preset="published", k=2, d_sae=16, seed=s)).results for s in (0, 1)]
    assert lines.loc[(2, 16), "pca"] == pytest.approx(runs[0]["baselines"]["pca"]["validation"]["ev_total"])
    mean = np.mean([run["metrics"]["validation"]["ev_total"] for run in runs])
    assert lines.loc[(2, 16), "lead"] == pytest.approx(mean - lines.loc[(2, 16), "pca"])


LINES = pd.DataFrame({"k": [5, 20, 20, 100], "d_sae": [512, 512, 1024, 512], "ev_total": [0.5, 0.7, 0.6, 0.8]})


def test_who_beats_whom_in_words():
    judgement = judged(LINES, ["ev_total", "k"], strict=False, factors=["d_sae", "k"])
    assert judgement["on_frontier"].tolist() == [True, True, True, False]
    assert judgement["ev_total"].tolist() == [0.8, 0.7, 0.5, 0.6]
    said = judgement["beaten_by"].iloc[3]
    assert said == "K 20, 512 features: explained variance 0.700 against 0.600; equal on 1"
    assert judged(LINES, ["ev_total", "k"], strict=True, factors=["d_sae", "k"])["on_frontier"].all()


def test_names_of_configurations():
    line = {"preset": "corrected", "d_sae": 1024, "k": 20, "seed": 3, "layer": 9}
    name = grid_data.name_of(line, ["preset", "layer", "d_sae", "k", "seed"])
    assert name == "K 20, 1,024 features, layer 9, corrected"


def test_the_law_over_sizes_says_what_is_missing(open_page, results):
    at = open_page("grid", results, experiment="both", view="scaling")
    assert not at.exception and not at.error
    assert "No law yet" in words(at) and "at least three" in words(at)
    assert len(at.get("plotly_chart")) == 1  # what was memorised is shown all the same
