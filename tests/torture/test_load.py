"""The short form of the load: a few visitors who click while a grid trains, and no error at any of them."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks import load
from tests.workspace.made import copy_of
from tests.workspace.results import make


@pytest.mark.parametrize(
    "processes",
    [
        1,
        pytest.param(
            2, marks=pytest.mark.skipif(shutil.which("caddy") is None, reason="the program caddy is not here")
        ),
    ],
)
def test_visitors_meet_no_error_while_a_grid_trains(tmp_path: Path, monkeypatch, processes) -> None:
    monkeypatch.setattr(load, "PAUSE", (0.1, 0.5))
    workspace = copy_of(make, tmp_path / "workspace")
    places = load.views(workspace)
    job = load.begin_training(workspace)
    places += [("train", {"show": "watch", "experiment": job.name}), ("grid", {"experiment": job.name})] * 3
    # In a thread: where Playwright is at work in this process, a loop runs already.
    with load.serving(workspace, processes) as (pids, port), ThreadPoolExecutor(1) as thread:
        seen = thread.submit(lambda: asyncio.run(load._load(pids, port, places, clients=4, seconds=8))).result()
    assert seen.errors == [] and sum(map(len, seen.seconds.values())) >= 4
    assert len(pids) == processes and seen.computed > 0
