"""The short form of `make torture`: kills at random moments, and mishaps one by one, on sweeps of seconds."""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

import pytest

from sae.cli.main import main as sae
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.start import start_experiment
from sae.workspace.work import run_experiment
from torture import faults, mishaps, shared


def test_kills_at_random_moments_lose_nothing_and_change_no_weight(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shared, "ROWS", 2_000)
    monkeypatch.setattr(faults, "EPOCHS", 15)
    monkeypatch.setattr(faults, "LONGEST", 2.5)
    found = faults.trial(tmp_path, kills=4, seed=1, app=False)
    assert found["same_weights"] and found["runs"] >= 6
    assert sum(found["kills"].values()) == 4 and found["errors_shown"] == []


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mishaps that need no process of their own: what the command line and the supervisor do is done here."""

    def command(workspace: Workspace, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = sae([*words, "--workspace", str(workspace.root)])
        assert code == 0 or not check, errors.getvalue()
        return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())

    def sweep(workspace: Workspace) -> str:
        job = start_experiment(workspace, shared.spec("sweep", 0, 2), device="cpu")
        workspace.jobs.cancel(job.id)
        (workspace.root / "progress").mkdir(exist_ok=True)
        run_experiment(workspace, job.spec, "cpu", JobProgress(workspace.root / "progress"))
        return job.id

    monkeypatch.setattr(shared, "ROWS", 500)
    monkeypatch.setattr(shared, "command", command)
    monkeypatch.setattr(mishaps, "command", command)
    monkeypatch.setattr(mishaps, "_sweep", sweep)
    monkeypatch.setattr(mishaps, "_worked_off", lambda workspace: None)


@pytest.mark.parametrize("mishap", [mishaps.removed_run, mishaps.corrupt_index])
def test_a_mishap_is_named_and_mended(mishap, tmp_path: Path, in_process: None) -> None:
    undisturbed = shared.with_rows(tmp_path / "calm")
    mishaps._sweep(undisturbed)
    calm = shared.finished(undisturbed)
    assert len(calm) == 6
    mishap(tmp_path / "mishap", calm)
