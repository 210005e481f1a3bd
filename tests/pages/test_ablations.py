"""Ablations: the verdict, the count-matched comparison, tables, curves, codes, and what stands there before that."""

from __future__ import annotations

import base64
import json
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from plotly.basedatatypes import BaseFigure

from sae.cli.experiments import spec_of
from sae.cli.main import main, parser
from sae.ui import ablation_words
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from tests.pages import test_grid
from tests.pages.states import reopened
from tests.pages.test_home import words
from tests.workspace import ablations
from tests.workspace.helpers import put_activations
from tests.workspace.made import copy_of

LOSS = "reconstruction_loss"


@pytest.fixture(scope="module")
def ablated(tmp_path_factory) -> Workspace:
    """Not to be written to."""
    return copy_of(ablations.make, tmp_path_factory.mktemp("ablated") / "workspace")


@pytest.fixture
def own(ablated, tmp_path) -> Workspace:
    """A copy of the files of `ablated`; a data base that is open is not to be copied."""
    root = tmp_path / "own"
    return Workspace(shutil.copytree(ablated.root, root, ignore=shutil.ignore_patterns("workspace.db*")))


def spec(at, key_start: str) -> dict:
    """As the Grid's, with arrays that Plotly packs as lists."""

    def unpacked(value):
        if isinstance(value, dict):
            if "bdata" in value:
                return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).tolist()
            return {name: unpacked(item) for name, item in value.items()}
        return [unpacked(item) for item in value] if isinstance(value, list) else value

    return unpacked(test_grid.spec(at, key_start))


def said(at) -> str:
    return words(at).replace("\\", "").replace("**", "")


def runs(workspace: Workspace, name: str, **factors):
    return [run for run in workspace.experiment(name).runs() if factors.items() <= run.factors.items()]


def losses(workspace: Workspace, name: str, metric: str = LOSS, split: str = "validation", **factors) -> np.ndarray:
    """By seed."""
    return np.array([run.metrics[split][metric] for run in runs(workspace, name, **factors)])


def test_without_an_ablation_the_command_and_the_form_that_start_one(open_page, workspace):
    at = open_page("ablations", workspace)
    assert not at.exception
    assert "No ablation yet" in words(at) and "--activations NAME" in at.code[0].value
    put_activations(Workspace(workspace), n=60)
    at = open_page("ablations", workspace)
    command = shlex.split(at.code[0].value)
    assert spec_of(parser().parse_args(command[3:]), "alpha")["kind"] == "cosine-ablation-topk"
    assert any(link.value == "Train one" for link in at.page_link)


def test_the_verdict_is_paired_by_seed(open_page, ablated):
    at = open_page("ablations", ablated, experiment="alpha")
    assert not at.exception and not at.error
    differences = losses(ablated, "alpha", alpha=0.1) - losses(ablated, "alpha", alpha=1.0)
    reach = 12.7062047 * differences.std(ddof=1) / 2**0.5
    forest = spec(at, "ablation_forest")
    points = next(trace for trace in forest["data"] if trace["name"] == "levels")
    assert points["y"] == ["alpha 0.1", "alpha 5"]
    assert points["x"][0] == pytest.approx(differences.mean())
    assert points["error_x"]["array"][0] == pytest.approx(reach, rel=1e-6)
    text = said(at)
    size = f"{abs(differences.mean()):.3f} {'higher' if differences.mean() > 0 else 'lower'}"
    assert f"alpha 0.1: reconstruction loss {size}" in text and "2 seeds)" in text
    mean = np.mean([run.metrics["validation"]["mean_predictor_loss"] for run in runs(ablated, "alpha")])
    assert f"Predicting the mean has a loss of {mean:.3f}" in text
    assert "What does the weight of the sparsity alignment buy" in text
    assert "full text is not public" in text and "our reading" in text


def test_one_seed_decides_nothing_and_counts_are_matched(open_page, ablated):
    at = open_page("ablations", ablated, experiment="clipped")
    assert not at.exception and not at.error
    text = said(at)
    assert "One seed decides nothing" in text and "(one seed, no interval)" in text
    assert "At equal average activation count, beside hard TopK" in text
    counts = losses(ablated, "clipped", "average_activation_count", rounding="pass_through")
    for k in (2, 8):
        part = text.split(f"at {k:.1f} ")[1][:60]
        assert ("not compared, outside of its" in part) == (not counts.min() <= k <= counts.max())


def test_one_k_alone(open_page, ablated):
    at = open_page("ablations", ablated, experiment="clipped", k="8", split="train")
    assert not at.exception and not at.error
    difference = (
        losses(ablated, "clipped", split="train", k=8, rounding="pass_through")
        - losses(ablated, "clipped", split="train", k=8, rounding="topk")
    )[0]
    points = next(t for t in spec(at, "ablation_forest")["data"] if t["name"] == "levels")
    assert points["x"] == pytest.approx([difference])
    assert "one configuration is no curve" in said(at)


def test_two_factors_are_ablated_together(open_page, ablated):
    at = open_page("ablations", ablated, experiment="objectives")
    assert not at.exception and not at.error
    points = next(t for t in spec(at, "ablation_forest")["data"] if t["name"] == "levels")
    assert points["y"] == [
        "reconstruction cosine, sparsity L1", "reconstruction MSE, sparsity cosine", "reconstruction MSE, sparsity L1"
    ]  # fmt: skip
    cells = [losses(ablated, "objectives", reconstruction_objective=r, sparsity_objective=s)[0]
             for r, s in (("cosine", "cosine"), ("cosine", "l1"), ("mse", "cosine"), ("mse", "l1"))]  # fmt: skip
    assert points["x"] == pytest.approx(np.array(cells[1:]) - cells[0])


def test_an_experiment_without_a_baseline_is_a_heat_map(open_page, ablated):
    at = open_page("ablations", ablated, experiment="sizes")
    assert not at.exception and not at.error
    found = losses(ablated, "sizes")
    assert f"From {found.min():.3f} (N " in said(at) and "no baseline cell" in said(at)
    heat = next(t for t in spec(at, f"heat_{LOSS}")["data"] if t["type"] == "heatmap")
    assert (heat["x"], heat["y"]) == (["16", "32"], ["2", "4"])


def test_a_baseline_that_was_not_trained_is_said(open_page, own):
    path = own.experiment("alpha").folder / "experiment.json"
    content = json.loads(path.read_text())
    content["runs"] = [run for run in content["runs"] if run["factors"]["alpha"] != 1.0]
    content["factors"]["alpha"] = [0.1, 5.0]
    path.write_text(json.dumps(content))
    at = open_page("ablations", own, experiment="alpha")
    assert not at.exception
    assert "The baseline, alpha 1, is not among what this experiment varies" in at.info[0].value.replace("\\", "")


def test_the_trade_off_has_a_line_a_level(open_page, ablated):
    at = open_page("ablations", ablated, experiment="clipped", view="trade-off")
    assert not at.exception and not at.error
    drawn = {trace["name"]: trace for trace in spec(at, "ablation_trade")["data"]}
    assert set(drawn) == {"pass through", "hard TopK", "mean predictor"}
    assert drawn["hard TopK"]["x"] == pytest.approx([2, 8])
    assert drawn["hard TopK"]["y"] == pytest.approx(losses(ablated, "clipped", rounding="topk"))
    at = open_page("ablations", ablated, experiment="alpha", view="trade-off", cost="index_bits")
    (line,) = [t for t in spec(at, "ablation_trade")["data"] if t["name"] == "runs"]
    assert sorted(line["text"]) == ["alpha 0.1", "alpha 1", "alpha 5"]
    bits = losses(ablated, "alpha", "index_bits", alpha=0.1).mean()
    assert line["x"][line["text"].index("alpha 0.1")] == pytest.approx(bits)


def test_the_table_has_the_mean_predictor_and_opens_runs(open_page, ablated):
    at = open_page("ablations", ablated, experiment="alpha", view="table")
    assert not at.exception and not at.error
    table = at.dataframe[0].value
    assert table["alpha"].tolist() == ["0.1", "1", "5"] and "Mean predictor's loss" in table
    found = losses(ablated, "alpha", alpha=5.0)
    half = 12.7062047 * found.std(ddof=1) / 2**0.5
    assert table["Reconstruction loss"].iloc[2] == f"{found.mean():.3f} ± {half:.3f}"
    ids = [run.id for run in runs(ablated, "alpha", alpha=5.0)]
    at = open_page("ablations", ablated, experiment="alpha", view="table", cell=",".join(ids))
    assert sum(link.value.startswith("seed ") for link in at.page_link) == 2


def test_curves_have_the_band_of_their_seeds(open_page, ablated):
    at = open_page("ablations", ablated, experiment="alpha", view="training", curve="bit_flips")
    assert not at.exception and not at.error
    drawn = {trace["name"]: trace for trace in spec(at, "ablation_curves")["data"]}
    both = [run.history().set_index("step")["bit_flips"] for run in runs(ablated, "alpha", alpha=1.0)]
    assert drawn["alpha 1"]["y"] == pytest.approx(pd.concat(both, axis=1).mean(axis=1).tolist())
    assert drawn["alpha 1, most"]["y"] == pytest.approx(pd.concat(both, axis=1).max(axis=1).tolist())
    steady = next(one.value for one in at.dataframe if "gradient_norm_cv" in one.value)
    cv = [run.results["training"]["gradient_norm_cv"] for run in runs(ablated, "alpha", alpha=1.0)]
    assert steady.set_index("level")["gradient_norm_cv"]["alpha 1"] == pytest.approx(np.mean(cv))


def test_codes_are_counted_on_the_rows_of_the_split(open_page, ablated):
    at = open_page("ablations", ablated, experiment="clipped", view="codes", k="8")
    assert not at.exception and not at.error
    drawn = {trace["name"]: trace for trace in spec(at, "ablation_counts")["data"]}
    hard = dict(zip(drawn["hard TopK"]["x"], drawn["hard TopK"]["y"], strict=True))
    assert sum(hard.values()) == pytest.approx(1) and max(hard.values()) == 1
    use = {trace["name"]: trace for trace in spec(at, "ablation_use")["data"]}
    shares = [y for y in use["hard TopK"]["y"] if np.isfinite(y)]
    assert sum(shares) == pytest.approx(8)  # each row has 8 bits
    assert shares == sorted(shares, reverse=True)
    at = open_page("ablations", ablated, experiment="clipped", view="codes")
    assert "Drawn at K 2: choose another above." in said(at)


def test_an_experiment_that_has_not_begun(open_page, own):
    for run in runs(own, "alpha"):
        shutil.rmtree(run.folder)
    for view in ("verdict", "trade-off", "table", "training", "codes"):
        at = open_page("ablations", own, experiment="alpha", view=view)
        assert not at.exception and not at.error, view
        assert "6 runs: 6 cancelled" in words(at) and len(at.info) == 1


def test_it_fills_while_it_trains(open_page, own):
    """Seed 1 of the baseline is missing, and one run failed: one seed is compared, nothing is nought."""
    shutil.rmtree(runs(own, "alpha", alpha=1.0, seed=1)[0].folder)
    failed = runs(own, "alpha", alpha=5.0, seed=0)[0]
    (failed.folder / "metrics.json").unlink()
    (failed.folder / "error.json").write_text('{"error": "training diverged"}')
    at = open_page("ablations", own, experiment="alpha")
    assert not at.exception
    assert "training diverged" in at.error[0].value
    assert "alpha 0.1: reconstruction loss" in said(at) and "alpha 5: nothing to compare yet." in said(at)
    assert "Others are not finished yet." in said(at)


@pytest.mark.parametrize("experiment", ["alpha", "clipped", "objectives", "sizes"])
@pytest.mark.parametrize("view", ["verdict", "trade-off", "table", "training", "codes"])
def test_recipes_run(open_page, ablated, offered, monkeypatch, capsys, experiment, view):
    at = open_page("ablations", ablated, experiment=experiment, view=view)
    assert not at.exception and not at.error
    monkeypatch.setattr(BaseFigure, "show", lambda self, *a, **k: None)
    assert offered
    for recipe in list(offered):
        exec(compile(recipe.python, "<ablations>", "exec"), {})  # our own text, which is what is tested
        train, show = recipe.command.splitlines()
        found = spec_of(parser().parse_args(shlex.split(train)[3:]), experiment)
        listed = {name: list(values) for name, values in ablated.experiment(experiment).spec["factors"].items()}
        assert found["factors"] == listed
    assert main([*shlex.split(show)[3:], "--workspace", str(ablated.root)]) == 0
    json.loads(capsys.readouterr().out)


LINE = {"n": 5, "difference": 0.051, "low": 0.047, "high": 0.055, "q": 0.01}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "0.051 higher (0.047 to 0.055, 5 seeds)"),
        ({"difference": -0.051, "low": -0.055, "high": -0.047}, "0.051 lower (0.047 to 0.055, 5 seeds)"),
        ({"difference": 0.01, "low": -0.002, "high": 0.022}, "0.010 higher (0.002 lower to 0.022 higher, 5 seeds)"),
        ({"n": 1}, "0.051 higher (one seed, no interval)"),
        ({"low": 0.051, "high": 0.051}, "0.051 higher (the same in all 5 seeds)"),
    ],
)
def test_differences_in_words(changes, expected):
    assert ablation_words.difference({**LINE, **changes}, LOSS) == expected


def test_differences_of_shares_are_in_percentage_points():
    assert ablation_words.difference(LINE, "dead") == "5.1 pp higher (4.7 pp to 5.5 pp, 5 seeds)"


def test_what_was_measured_at_equal_bits_stands_under_the_trade_off(open_page, own, tmp_path):
    before = open_page("ablations", own, experiment="clipped", view="trade-off")
    assert "At equal bits" not in said(before)
    settings = {"queries": 20, "neighbours": 5}
    spec = {"kind": "equal-bits", "name": "measured", "source": "clipped", "runs": [], "settings": settings}
    measure_runs(own, spec, "cpu", JobProgress(tmp_path))
    at = open_page("ablations", own, experiment="clipped", view="trade-off")
    assert not at.exception and not at.error
    assert "At equal bits" in said(at) and "Nearest 5 rows found" in said(at)


def test_what_was_measured_of_concepts_stands_in_the_table_and_the_verdict(open_page, own, tmp_path):
    folder = own.activations_folder("rows")
    examples = pd.read_parquet(folder / "examples.parquet")
    half = np.where(np.arange(len(examples)) % 3, "often", "seldom")
    examples.assign(half=half).to_parquet(folder / "examples.parquet")
    title = "Concepts: F1 of the best feature"
    assert title not in open_page("ablations", own, experiment="alpha", view="table").dataframe[0].value
    asked = {"labels": "half", "permutations": 2, "others": 1}
    spec = {"kind": "concepts", "name": "found", "source": "alpha", "runs": [], "settings": asked}
    measure_runs(own, spec, "cpu", JobProgress(tmp_path))
    at = open_page("ablations", own, experiment="alpha", view="table")
    assert not at.exception and not at.error
    shown = at.dataframe[0].value
    found = own.experiment("found")
    for alpha, cell in zip((0.1, 1.0, 5.0), shown[title], strict=True):
        seeds = [found.part_results(run.id)[0]["metrics"]["label_f1"] for run in runs(own, "alpha", alpha=alpha)]
        assert cell.split(" ")[0] == f"{np.mean(seeds):.3f}"
    assert f"{title}, labels shuffled" in shown
    at = open_page("ablations", own, experiment="alpha", view="verdict", metric="label_f1")
    assert not at.exception and not at.error
    # What chance gives is shown and not compared.
    (compared,) = [one.value["Metric"] for one in at.dataframe if "Metric" in one.value and "At" not in one.value]
    assert title in set(compared) and not compared.str.contains("shuffled").any()


def test_a_level_of_one_count_does_not_flatten_the_others(open_page, ablated):
    at = open_page("ablations", ablated, experiment="clipped", view="codes", split="all")
    counts = {run.factors["rounding"]: np.diff(run.codes().row_indptr) for run in runs(ablated, "clipped", k=2)}
    assert set(counts["topk"]) == {2} and len(set(counts["pass_through"])) > 1
    low, high = spec(at, "ablation_counts")["layout"]["yaxis"]["range"]
    share = np.bincount(counts["pass_through"]).max() / len(counts["pass_through"])
    assert low == 0 and share <= high < 1
    assert "goes past the top: hard TopK (2)" in said(at)


def test_random_states_reopen_from_their_address(open_page, ablated):
    assert reopened(open_page, "ablations", ablated, 12) > 3
