"""A full disk, a removed run folder, a corrupt index, a clock that jumps, two apps on one workspace: one by one.

    python -m torture.mishaps --out mishaps.json

Each has to end with the weights of a sweep that nothing happened to, and what is shown meanwhile has to be one line.
The full disk is a file system of its own in memory, for which the machine must allow mounting (root on Linux); where it
doesn't, that one says so and is left out.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae.workspace import Workspace
from sae.workspace.start import start_experiment
from torture.shared import answers, command, finished, report, spec, start_app, start_supervisor, until, with_rows

EPOCHS = 25
PORTS = (8993, 8994)
LEFT_MB = 3  # of the full disk, beside activations and database: less than the sweep's six runs take


def _sweep(workspace: Workspace) -> str:
    return start_experiment(workspace, spec("sweep", 0, EPOCHS), device="cpu").id


def _worked_off(workspace: Workspace) -> None:
    command(workspace, "supervisor", "--device", "cpu", "--idle-exit", "0")


@contextmanager
def _small_disk(folder: Path, megabytes: int) -> Any:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield lambda more: subprocess.run(
            ["mount", "-o", f"remount,size={more}m", str(folder)], check=True, capture_output=True
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk(folder: Path, calm: dict[str, str]) -> dict[str, Any]:
    """The disk fills in the middle of a sweep; the job ends with one line, and goes on once there is room."""
    try:
        with _small_disk(folder / "disk", 200) as grow:
            workspace = with_rows(folder / "disk" / "workspace")
            used = shutil.disk_usage(folder / "disk").used
            grow(used // 2**20 + LEFT_MB)
            job = _sweep(workspace)
            _worked_off(workspace)
            ended = workspace.jobs.get(job)
            assert ended.status == "failed" and "no space left" in str(ended.error), f"{ended.status}: {ended.error}"
            before = finished(workspace)
            grow(200)
            _sweep(workspace)
            _worked_off(workspace)
            after = finished(workspace)
            assert after == calm and all(after[run] == digest for run, digest in before.items())
            return {"said": ended.error, "finished_before": len(before), "finished_after": len(after)}
    except subprocess.CalledProcessError as error:
        return {"left_out": f"no file system could be mounted: {error}"}


def removed_run(folder: Path, calm: dict[str, str]) -> dict[str, Any]:
    """A finished run's folder is removed by hand: the experiment shows the others, and trains it again when asked."""
    workspace = with_rows(folder)
    _sweep(workspace)
    _worked_off(workspace)
    gone = workspace.experiment("sweep").runs()[2]
    shutil.rmtree(gone.folder)
    table = Workspace(folder).experiment("sweep").runs_table().set_index("id")
    shown = str(table["status"].get(gone.id, "not listed"))
    assert shown != "done" and len(finished(workspace)) == 5
    _sweep(workspace)
    _worked_off(workspace)
    assert finished(workspace) == calm
    return {"shown_meanwhile": shown}


def corrupt_index(folder: Path, calm: dict[str, str]) -> dict[str, Any]:
    """Noise over the index: one line that says what to do, which then brings back everything."""
    workspace = with_rows(folder)
    _sweep(workspace)
    _worked_off(workspace)
    workspace.database.close()
    for suffix in ("-wal", "-shm"):
        (folder / f"workspace.db{suffix}").unlink(missing_ok=True)
    (folder / "workspace.db").write_bytes(b"noise" * 4096)
    said = command(workspace, "experiment", "list", check=False)
    last = said.stderr.strip().splitlines()[-1]
    assert said.returncode == 2 and last.startswith("error: ") and "Traceback" not in said.stderr, said.stderr
    command(workspace, "workspace", "rebuild")
    again = Workspace(folder)
    assert finished(again) == calm and len(again.jobs.all()) >= 1
    return {"said": last}


def clock(folder: Path, calm: dict[str, str]) -> dict[str, Any]:
    """The clock jumps a year, to either side, under a running sweep: times in the index are moved as it would."""
    workspace = with_rows(folder)
    job = _sweep(workspace)
    supervisor = start_supervisor(workspace)
    year = 365 * 86_400.0
    try:
        for jump in (year, -2 * year, year):
            until(lambda: workspace.jobs.get(job).status in ("running", "done"), "the job runs")
            time.sleep(1)
            with sqlite3.connect(folder / "workspace.db", timeout=30) as index:
                index.execute("UPDATE leases SET heartbeat = heartbeat + ?", (jump,))
                index.execute("UPDATE jobs SET created = created + ?, started = started + ?", (jump, jump))
        until(lambda: not workspace.jobs.get(job).active, "the sweep ends")
    finally:
        supervisor.terminate()
        supervisor.wait()
    assert workspace.jobs.get(job).status == "done" and finished(workspace) == calm
    return {"jumps": 3}


def two_apps(folder: Path, calm: dict[str, str]) -> dict[str, Any]:
    """Two apps and two supervisors on one workspace: one supervisor works, nothing is trained twice."""
    workspace = with_rows(folder)
    started = [start_app(workspace, port) for port in PORTS] + [start_supervisor(workspace) for _ in PORTS]
    try:
        job = _sweep(workspace)
        for port in PORTS:
            until(lambda port=port: answers(port), "both apps answer")  # type: ignore[misc]
        until(lambda: not workspace.jobs.get(job).active, "the sweep ends")
        working = sum(one.poll() is None for one in started[2:])
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait()
    log = workspace.jobs.get(job).log()
    begun = [line.split(" run ")[1].split(" begins")[0] for line in log.splitlines() if " begins" in line]
    assert working == 1 and finished(workspace) == calm and len(begun) == len(set(begun)) == len(calm), log
    return {"supervisors_at_work": working, "runs_begun": len(begun)}


MISHAPS: dict[str, Callable[[Path, dict[str, str]], dict[str, Any]]] = {
    "full_disk": full_disk, "removed_run": removed_run, "corrupt_index": corrupt_index, "clock": clock,
    "two_apps": two_apps,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=sorted(MISHAPS), help="just this one")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = with_rows(Path(folder) / "calm")
        _sweep(undisturbed)
        _worked_off(undisturbed)
        calm = finished(undisturbed)
        assert len(calm) == 6
        for name, mishap in MISHAPS.items():
            if arguments.only in (None, name):
                began = time.monotonic()
                result[name] = {**mishap(Path(folder) / name, calm), "seconds": round(time.monotonic() - began)}
    report("mishaps", result, arguments.out)


if __name__ == "__main__":
    main()
