"""Claims: one owner among many processes, taken over from the dead and the silent, noticed by the slow."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sae.workspace.executors import claims as module
from sae.workspace.executors.claims import STALE, Claims, wait_turn
from tests.workspace.helpers import until


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_claim_has_one_owner_and_is_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Claims(folder, lost=lambda: None) as mine, Claims(folder, lost=lambda: None) as other:
        assert mine.take(["a", "b"]) == ["a", "b"] == mine.take(["a", "b"])
        assert other.take(["a", "b", "c"]) == ["c"]
        mine.release(["a"])
        assert other.take(["a", "b"]) == ["a"]
    assert not folder.exists()


def _race(folder: Path, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue) -> None:
    with Claims(folder, lost=lambda: None) as claims:
        barrier.wait()
        got = claims.take(["one"])
        barrier.wait()  # nobody gives back before all have tried
        results.put(len(got))


def test_of_many_processes_one_gets_it_also_where_a_dead_one_had_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    folder = tmp_path / "claims"
    dead = (
        f"from sae.workspace.executors.claims import Claims; from pathlib import Path; import os\n"
        f"c = Claims(Path({str(folder)!r}), print); print(c.take(['one']), flush=True); os._exit(9)"
    )
    said = subprocess.run([sys.executable, "-c", dead], capture_output=True, text=True)
    assert said.stdout.strip() == "['one']" and held(folder) == ["one.1.json"]
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_race, args=(folder, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=120) for _ in processes) == [0, 0, 0, 1]
    for process in processes:
        process.join()
    assert held(folder) == []


def elsewhere(folder: Path, name: str, silent: float) -> Path:
    """A claim of another machine, which was touched so many seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.1.json"
    path.write_text(json.dumps({"place": "another machine", "pid": os.getpid(), "started": 0.0}))
    os.utime(path, (time.time() - silent,) * 2)
    return path


def test_another_machine_keeps_its_claim_while_it_touches_it(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    fresh = elsewhere(folder, "fresh", silent=STALE / 3)
    elsewhere(folder, "silent", silent=STALE + 5)
    with Claims(folder, lost=lambda: None) as claims:
        assert claims.take(["fresh", "silent"]) == ["silent"]
        assert "silent.2.json" in held(folder)
        fresh.unlink()
        assert claims.take(["fresh"]) == ["fresh"]


def test_an_owner_that_was_only_slow_is_told(tmp_path: Path) -> None:
    told = threading.Event()
    with Claims(tmp_path / "claims", lost=told.set, beat=0.05) as claims:
        claims.take(["a"])
        time.sleep(0.3)
        assert not told.is_set()
        elsewhere(tmp_path / "claims", "a", 0).rename(tmp_path / "claims" / "a.2.json")
        until(told.is_set, 10)


def test_an_owner_whose_claim_is_gone_is_told(tmp_path: Path) -> None:
    told = threading.Event()
    with Claims(tmp_path / "claims", lost=told.set, beat=0.05) as claims:
        claims.take(["a"])
        (tmp_path / "claims" / "a.1.json").unlink()
        until(told.is_set, 10)


def test_an_owner_keeps_touching(tmp_path: Path) -> None:
    with Claims(tmp_path / "claims", lost=lambda: None, beat=0.05) as claims:
        claims.take(["a"])
        path = tmp_path / "claims" / "a.1.json"
        os.utime(path, (0, 0))
        until(lambda: path.stat().st_mtime > time.time() - 60, 10)


def test_waiting_takes_what_becomes_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "claims"
    ticks = []
    with Claims(folder, lost=lambda: None) as other, Claims(folder, lost=lambda: None) as mine:
        other.take(["a", "b"])

        def tick() -> None:
            ticks.append(1)
            if len(ticks) == 3:
                other.release(["b"])

        assert wait_turn(mine, ["a", "b"], tick, every=0.01) == ["b"]
    assert len(ticks) == 3 and module.BEAT < STALE / 3
