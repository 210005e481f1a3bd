"""The Run page's panel on patching."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from plotly.basedatatypes import BaseFigure

from sae.common.files import write_json
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from tests.pages.test_grid import spec
from tests.pages.test_home import words
from tests.workspace import thoughts
from tests.workspace.made import copy_of


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The runs of grid `one`, of which the first is patched; the second could not be. Two slices of `sweep` are."""
    root = tmp_path_factory.mktemp("patched")
    workspace = copy_of(thoughts.make, root / "workspace")
    spec = {"kind": "patching", "name": "patched", "source": "one", "runs": [],
            "settings": {"min_active": 2, "features": 4, "resamples": 50}}  # fmt: skip
    manifest = workspace.activations_folder("thoughts") / "manifest.json"
    content = workspace.open_activations("thoughts").manifest
    write_json(manifest, {**content, "model": {**content["model"], "name": str(root / "tiny-codi")}})
    measure_runs(workspace, spec, "cpu", JobProgress(root / "scratch"))
    swept = {"kind": "patching", "name": "by-thought", "source": "sweep", "runs": slices(workspace, (0, 1), (1, 2)),
             "settings": {"features": 0, "resamples": 50}}  # fmt: skip
    measure_runs(workspace, swept, "cpu", JobProgress(root / "scratch"))
    part = workspace.experiment("patched").part_folder(runs(workspace)[1])
    (part / "results.json").unlink()
    write_json(part / "error.json", {"error": "the model is gone", "time": "2026-11-25"})
    workspace.database.close()
    return workspace


def runs(workspace: Workspace) -> list[str]:
    return workspace.experiment("one").run_ids()


def slices(workspace: Workspace, *places: tuple[int, int]) -> list[str]:
    listed = workspace.experiment("sweep").content["runs"]
    return [run["id"] for run in listed if (run["factors"]["layer"], run["factors"]["position"]) in places]


def test_what_was_measured_stands_on_the_run(open_page, patched: Workspace) -> None:
    run = runs(patched)[0]
    at = open_page("run", patched, run=run)
    assert not at.exception and not at.error
    (found,) = patched.experiment("patched").part_results(run) or []
    shown = {metric.label: metric for metric in at.metric}
    assert shown["Right when patched"].value == f"{100 * found['metrics']['accuracy_patched']:.1f} %"
    assert shown["Answers flipped"].value == f"{100 * found['metrics']['flipped']:.1f} %"
    low, high = found["interval"]["flipped"]
    assert shown["Answers flipped"].delta == f"95 % interval {100 * low:.1f} % to {100 * high:.1f} %"
    assert "18 validation problems" in words(at)
    for measure in ("accuracy", "kl"):
        at.session_state[f"patched_{measure}_table"] = True
    at.run()
    tables = [table.value for table in at.dataframe if "condition" in table.value]
    assert len(tables) == 2 and len(tables[0]) == 5
    (features,) = (table.value for table in at.dataframe if "kl_low" in table.value and "feature" in table.value)
    wanted = patched.experiment("patched").part(run, "features").sort_values("kl", ascending=False)
    pd.testing.assert_series_equal(
        features["feature"].reset_index(drop=True), wanted["feature"].reset_index(drop=True), check_dtype=False
    )


def test_a_run_that_could_not_be_patched_says_why(open_page, patched: Workspace) -> None:
    at = open_page("run", patched, run=runs(patched)[1])
    assert not at.exception and not at.error
    assert "could not patch this run: the model is gone" in words(at).replace("\\", "")


def test_a_run_that_nobody_patched_has_no_panel(open_page, patched: Workspace) -> None:
    at = open_page("run", patched, run=patched.experiment("sweep").run_ids()[-1])
    assert not at.exception
    assert "Patched" not in words(at)


def test_a_broken_table_is_one_line(open_page, patched: Workspace, tmp_path: Path) -> None:
    import shutil

    copied = Workspace(shutil.copytree(patched.root, tmp_path / "copied"))
    run = runs(copied)[0]
    (copied.experiment("patched").part_folder(run) / "conditions.parquet").unlink()
    at = open_page("run", copied, run=run)
    assert not at.exception
    assert any("no conditions of run" in error.value.replace("\\", "") for error in at.error)


@pytest.mark.parametrize(
    ("k", "metric"), [("4", "accuracy_patched"), ("mean", "accuracy_patched"), ("2", "accuracy_mean")]
)
def test_a_map_of_patched_answers(open_page, patched: Workspace, k: str, metric: str) -> None:
    at = open_page("thoughts", patched, experiment="sweep", metric=metric, k=k)
    assert not at.exception and not at.error
    experiment = patched.experiment("by-thought")
    expected, known = {}, []
    for place in ((0, 1), (1, 2)):
        found = [(experiment.part_results(run) or [])[0]["metrics"] for run in slices(patched, *[place])]
        chosen = found if k == "mean" else [found[(2, 4).index(int(k))]]
        expected[place] = sum(one[metric] for one in chosen) / len(chosen)
        known += [one[name] for one in chosen for name in ("accuracy_clean", "accuracy_patched", "accuracy_mean")]
    drawn = spec(at, f"thought_map_{metric}")
    heat = next(trace for trace in drawn["data"] if trace["type"] == "heatmap")
    assert (heat["zmin"], heat["zmax"]) == (min(known), max(known))
    written = [a["text"] for a in drawn["layout"]["annotations"]]
    assert all(f"{100 * value:.1f} %" in written for value in expected.values())
    custom = {(c[2], c[1]): c for c in drawn["data"][-1]["customdata"]}
    assert "not patched" in custom[0, 1][4] and set(custom[0, 1][3].split(",")) & set(slices(patched, (0, 1)))
    hatched = sum(shape["name"] == "missing" for shape in drawn["layout"]["shapes"])
    assert hatched == thoughts.LAYERS * thoughts.STEPS - len(expected)
    said = words(at).replace("\\", "")
    assert "18 validation problems a slice" in said and "**Not patched:" in said
    small = [chart.proto.id for chart in at.get("plotly_chart")]
    other = ({"accuracy_patched", "accuracy_mean"} - {metric}).pop()
    assert any(chart.endswith(f"-thought_map_{other}") for chart in small)


def test_recipes_of_the_maps_run(open_page, patched: Workspace, offered, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_page("thoughts", patched, experiment="sweep", metric="accuracy_patched")
    assert not at.exception and len(offered) >= 9
    shown: list[BaseFigure] = []
    monkeypatch.setattr(BaseFigure, "show", lambda self, *a, **k: shown.append(self))
    for recipe in list(offered):
        exec(compile(recipe.python, "<thoughts>", "exec"), {})  # our own text, which is what is tested
    assert len(shown) == len(offered)
    written = [a["text"] for a in spec(at, "thought_map_accuracy_patched")["layout"]["annotations"]]
    assert [a.text for a in shown[0].layout.annotations] == written and len(written) >= 2
    assert "experiment run patching --from sweep --name by-thought --runs" in offered[0].command
