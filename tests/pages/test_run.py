"""Run: finished, failed and unfinished runs in every view."""

from __future__ import annotations

import shutil

import pytest

from sae.workspace.start import start_experiment, start_measurement
from tests.pages.test_home import words
from tests.workspace.results import fail

VIEWS = ("overview", "activity", "geometry", "autopsy", "configuration")


@pytest.fixture
def run(results) -> str:
    return results.experiment("both").run_ids()[0]


def test_without_a_run_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("run", workspace)
    assert not at.exception
    assert "No finished run yet" in words(at)


def test_headline_numbers_are_the_runs(open_page, results, run):
    at = open_page("run", results, run=run)
    assert not at.exception and not at.error
    metrics = results.run(run).metrics["validation"]
    shown = {metric.label: metric for metric in at.metric}
    assert shown["Explained variance"].value == f"{metrics['ev_total']:.3f}"
    low, high = results.run(run).results["intervals"]["validation"]["ev_total"]
    assert shown["Explained variance"].delta == f"95 % interval {low:.3f} to {high:.3f}"
    assert shown["Dead features"].value == f"{100 * metrics['dead']:.1f} %"
    k = results.run(run).config["model"]["k"]
    pca = results.run(run).results["baselines"]["pca"]["validation"]["ev_total"]
    assert shown[f"PCA of {k} components"].value == f"{pca:.3f}"
    assert {"run_curve", "run_loss"} <= {chart.key for chart in at.get("plotly_chart")}


@pytest.mark.parametrize("split", ["train", "all"])
def test_other_splits(open_page, results, run, split):
    at = open_page("run", results, run=run, split=split)
    shown = {metric.label: metric.value for metric in at.metric}
    assert shown["Explained variance"] == f"{results.run(run).metrics[split]['ev_total']:.3f}"


def test_the_most_active_features_with_their_example(open_page, results, run):
    at = open_page("run", results, run=run)
    table = at.dataframe(key="run_most_active").value
    features = results.run(run).features().sort_values(["n_active", "feature"], ascending=[False, True])
    assert table["feature"].iloc[0] == features["feature"].iloc[0]
    assert table["text"].str.startswith("Ben b").all()


@pytest.mark.parametrize(("view", "charts"), [("activity", 4), ("geometry", 2), ("configuration", 0)])
def test_every_view_is_drawn(open_page, results, view, charts):
    runs = [r["id"] for r in results.experiment("both").content["runs"] if r["factors"]["preset"] == "published"]
    at = open_page("run", results, run=runs[0], view=view)
    assert not at.exception and not at.error
    assert len(at.get("plotly_chart")) >= charts
    if view == "configuration":
        assert f'sae.open("{runs[0]}")' in at.code[0].value
        names = [set(table.value.get("file", [])) for table in at.dataframe]
        assert any({"weights.safetensors", "codes.safetensors"} <= found for found in names)


def test_the_dead_are_counted_and_each_is_listed(open_page, results):
    for run in results.experiment("both").runs():
        at = open_page("run", results, run=run.id, view="autopsy")
        assert not at.exception and not at.error
        features = run.features()
        silent, nearly = features["dead"].sum(), features["n_active"].between(1, 3).sum()
        shown = {metric.label: int(metric.value.replace(",", "")) for metric in at.metric if metric.value.isdecimal()}
        assert shown["Born dead"] + shown["Died in training"] == silent and shown["Nearly dead"] == nearly
        born = (features["dead"] & (features["last_fired_row"] == 0)).sum()
        assert shown["Born dead"] == born
        tables = [table.value for table in at.dataframe if "fate" in table.value]
        assert sum(map(len, tables)) == silent + nearly


def test_the_cure_is_offered_where_something_is_missing_and_trains_it(open_page, own_results):
    ids = {run.factors["preset"]: run.id for run in own_results.experiment("both").runs()}
    at = open_page("run", own_results, run=ids["corrected"], view="autopsy")
    assert "has the whole cure" in words(at) and not at.button
    at = open_page("run", own_results, run=ids["published"], view="autopsy")
    settings = next(table.value for table in at.dataframe if "setting" in table.value)
    assert {"input_scaling", "encoder_init", "auxk_coefficient"} <= set(settings["setting"])
    next(button for button in at.button if button.label == "Try the cure").click().run()
    assert not at.exception and not at.error
    assert own_results.experiment(f"cure-of-{ids['published']}").spec["settings"]["encoder_init"] == "tied"
    assert "under way" in words(at)


def test_a_failed_run_says_why(open_page, own_results, run):
    fail(own_results, run)
    at = open_page("run", own_results, run=run)
    assert not at.exception
    assert "training diverged" in at.error[0].value
    assert len(at.error) == 1


def test_a_run_that_waits(open_page, own_results, run):
    fail(own_results, run)
    (own_results.run_folder(run) / "error.json").unlink()
    at = open_page("run", own_results, run=run)
    assert not at.exception and not at.error
    assert "cancelled" in at.info[0].value


def test_broken_files_are_one_line(open_page, own_results, run):
    (own_results.run_folder(run) / "codes.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}......")
    at = open_page("run", own_results, run=run, view="activity")
    assert not at.exception
    assert len(at.error) == 1 and "codes.safetensors" in at.error[0].value.replace("\\", "")


def test_an_unknown_run_falls_back_and_says_so(open_page, results):
    at = open_page("run", results, experiment="both", run="nothing-here")
    assert not at.exception
    assert "nothing-here" in at.warning[0].value.replace("\\", "")


def test_self_checks_hold_and_a_changed_file_is_seen(open_page, own_results):
    run = own_results.experiment("both").run_ids()[0]
    at = open_page("run", own_results, run=run, view="configuration")
    assert not at.exception and not at.error
    assert "all hold" in words(at)
    popovers = open_page("run", own_results, run=run).get("popover")
    assert ":green[:material/check_circle:] All self-checks hold" in [p.proto.popover.label for p in popovers]
    path = own_results.run(run).folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    from sae.workspace.checks import run_checks

    broken = {check.name: check for check in run_checks(own_results, own_results.run(run))}
    assert broken["Files unchanged since the run was finished"].found == "weights.safetensors"


def test_a_broken_file_is_one_line(open_page, own_results):
    run = own_results.run(own_results.experiment("both").run_ids()[0])
    for name in ("weights.safetensors", "features.parquet"):
        (run.folder / name).write_bytes(b"broken")
    for view in VIEWS:
        at = open_page("run", own_results, run=run.id, view=view)
        assert not at.exception
        assert all("Traceback" not in error.value for error in at.error)
    assert any("can't be read" in error.value for error in at.error)


def test_without_the_activations_the_features_stand_without_examples(open_page, own_results):
    run = own_results.experiment("both").content["runs"][0]["id"]
    shutil.rmtree(own_results.activations_folder("rows"))
    at = open_page("run", own_results, run=run)
    assert not at.exception and "No examples beside the features" in words(at)


def test_what_only_waits_is_not_what_the_page_opens_with(open_page, own_results):
    waiting = {"kind": "topk-grid", "name": "waiting", "activations": "rows", "layer": None, "position": None,
               "factors": {"k": [3], "d_sae": [16]}, "settings": {"epochs": 1}}  # fmt: skip
    start_experiment(own_results, waiting)
    measured = {"kind": "core", "name": "measured", "source": "both", "runs": [], "settings": {"model": "none"}}
    start_measurement(own_results, measured)
    at = open_page("run", own_results)
    assert not at.exception and at.metric
    assert list(at.selectbox(key="experiment").options)[-1] == "waiting"
    assert "measured" not in at.selectbox(key="experiment").options
