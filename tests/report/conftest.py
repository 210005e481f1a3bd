"""A small workspace to report on: a run over the words of sentences, with hostile text in it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sae.workspace import Workspace
from sae.workspace.notes import Notes
from tests.workspace.grids import train_grid
from tests.workspace.results import put_tokens

HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script></script>\"'&amp; \u202eevil\u202c ![x](http://e.vil/a.png)"
)


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Experiment `tokens` with two runs of 16 features; one problem, label, note and list are hostile."""
    root = tmp_path_factory.mktemp("reported") / "workspace"
    workspace = Workspace(root)
    put_tokens(workspace)
    folder = workspace.activations_folder("tokens")
    examples = pd.read_parquet(folder / "examples.parquet")
    examples["answer"] = [HOSTILE] * len(examples)
    examples.to_parquet(folder / "examples.parquet", index=False)
    train_grid(workspace, root.parent / "scratch", "tokens", k=(2, 4), d_sae=(16,), activations="tokens")
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    run = workspace.experiment("tokens").runs()[0]
    notes = Notes(run.folder, 16)
    notes.write(3, label=HOSTILE, note=HOSTILE)
    notes.add(HOSTILE[:60], [3, 5])
    workspace.database.close()
    return workspace


@pytest.fixture(scope="session")
def run_id(reported: Workspace) -> str:
    return reported.experiment("tokens").run_ids()[0]


@pytest.fixture(scope="session")
def written(reported: Workspace, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's report as a file."""
    from sae.report.make import make_report
    from sae.report.render import write_html

    return write_html(make_report(reported, run_id), tmp_path_factory.mktemp("html") / "report.html")
