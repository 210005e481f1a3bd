"""The table of all runs is kept while nothing has changed, and read again as soon as something has."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae.common.files import write_json
from sae.workspace import Workspace
from sae.workspace.rebuild import rebuild_index


@pytest.fixture
def here(workspace: Path) -> Workspace:
    return Workspace(workspace)


def put_run(workspace: Workspace, run: str, ev: float) -> None:
    folder = workspace.root / "runs" / run
    config = {
        "kind": "topk-grid", "experiment": "e", "created": "2026-01-01", "factors": {"k": 2},
        "data": {"activations": "a", "layer": 0, "position": None}, "model": {"architecture": "topk", "d_sae": 8},
    }  # fmt: skip
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", {"seconds": 1.0, "metrics": {"all": {"ev_total": ev}}})


def ev(workspace: Workspace) -> dict[str, float]:
    table = workspace.runs_table()
    return {} if table.empty else dict(zip(table["id"], table["all.ev_total"], strict=True))


def test_a_run_that_comes_changes_or_goes_is_seen(here: Workspace) -> None:
    assert ev(here) == {}
    put_run(here, "one", 0.5)
    put_run(here, "two", 0.6)
    assert ev(here) == {"one": 0.5, "two": 0.6} == ev(Workspace(here.root))
    put_run(here, "one", 0.7)
    assert ev(here) == {"one": 0.7, "two": 0.6}
    here.delete_run("two")
    assert ev(here) == {"one": 0.7}


def test_whoever_gets_it_may_write_to_it(here: Workspace) -> None:
    put_run(here, "one", 0.5)
    table = here.runs_table()
    table.loc[0, "all.ev_total"] = 9.0
    assert ev(here) == {"one": 0.5}


def test_an_index_made_again_holds_what_was_kept(here: Workspace) -> None:
    put_run(here, "one", 0.5)
    here.runs_table()
    assert rebuild_index(here)["runs"] == 1
    assert [row["id"] for row in here.database.read("SELECT id FROM runs")] == ["one"]
