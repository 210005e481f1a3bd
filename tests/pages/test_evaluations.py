"""The Run page's evaluations: their states, starting one, and what one found."""

from __future__ import annotations

from pathlib import Path

from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.evaluations import evaluate, evaluations, kinds, settings_of, under_way
from tests.pages.test_home import words


def test_what_is_not_done_can_be_started(open_page, copied: Workspace) -> None:
    run = copied.experiment("grid").run_ids()[0]
    at = open_page("run", copied, run=run, view="evaluations")
    assert not at.exception and not at.error
    said = words(at).replace("\\", "")
    assert all(kind.title in said for kind in kinds().values()) and "not done" in said
    at.button(key="evaluate_core").click().run()
    assert not at.exception and not at.error
    job = under_way(copied, copied.run(run))["core"]
    assert job.spec == {"runs": [run], "evaluations": settings_of(["core"], {})} and "queued" in words(at)


def test_what_was_found_stands_beside_saebenchs(open_page, copied: Workspace, tmp_path: Path) -> None:
    run = copied.run(copied.experiment("grid").run_ids()[0])
    evaluate(copied, {"runs": [run.id], "evaluations": settings_of(["core"], {"resamples": 50})}, "cpu",
             JobProgress(tmp_path))  # fmt: skip
    at = open_page("run", copied, run=run.id, view="evaluations", evaluation="core")
    assert not at.exception and not at.error
    (found,) = evaluations(run, "core")
    tables = [table.value for table in at.dataframe if "metric" in table.value]
    ours, theirs = tables[0].set_index("metric"), tables[1].set_index("metric")
    assert ours.loc["Explained variance", "value"] == found.results[0]["metrics"]["ev_total"]
    assert ours.loc["Explained variance", "low"] == found.results[0]["interval"]["ev_total"][0]
    assert theirs.loc["explained_variance", "value"] == found.notes["saebench"]["explained_variance"]
    said = words(at).replace("\\", "")
    assert "without a language model" in said and "40 validation states" in said
    (features,) = (table.value for table in at.dataframe if "feature_density" in table.value)
    assert len(features) == len(found.table("features"))
