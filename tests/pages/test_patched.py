"""The Run page's panel on patching."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sae.common.files import write_json
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.measurements import measure_runs
from tests.pages.test_home import words
from tests.workspace import thoughts


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The runs of grid `one`, of which the first is patched; the second could not be."""
    root = tmp_path_factory.mktemp("patched")
    workspace = thoughts.make(root / "workspace")
    spec = {"kind": "patching", "name": "patched", "source": "one", "runs": [],
            "settings": {"min_active": 2, "features": 4, "resamples": 50}}  # fmt: skip
    manifest = workspace.activations_folder("thoughts") / "manifest.json"
    content = workspace.open_activations("thoughts").manifest
    write_json(manifest, {**content, "model": {**content["model"], "name": str(root / "tiny-codi")}})
    measure_runs(workspace, spec, "cpu", JobProgress(root / "scratch"))
    part = workspace.experiment("patched").part_folder(runs(workspace)[1])
    (part / "results.json").unlink()
    write_json(part / "error.json", {"error": "the model is gone", "time": "2026-11-25"})
    workspace.database.close()
    return workspace


def runs(workspace: Workspace) -> list[str]:
    return workspace.experiment("one").run_ids()


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
    at = open_page("run", patched, run=patched.experiment("sweep").run_ids()[3])
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
