"""The real app, run in this process by AppTest, over small workspaces."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from sae.common.files import write_parquet
from sae.ui import reproduce
from sae.workspace import Workspace
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations
from tests.workspace.made import copy_of

N = 200

#: What app.py tells Streamlit of its pages: AppTest knows it after a run, and Home need not run before every page.
_PAGES: dict[str, Any] = {}


def describe_examples(folder: Path, n: int = N) -> None:
    """Questions, steps and the model's answers for the rows of `put_activations`; every third answer is wrong."""
    lines = []
    for i in range(n):
        steps = [{"text": "", "expression": f"{i}+{j}", "operands": [i, j], "operations": "+", "value": i + j}
                 for j in range(1, 2 + i % 3)]  # fmt: skip
        lines.append(
            {
                "question": f"Ann has {i} apples and gets more. How many has she?",
                "answer": f"She has {i}+1 = <<{i}+1={i + 1}>>{i + 1}.\n#### {i + 1}",
                "final_answer": float(i + 1),
                "n_steps": len(steps),
                "steps": json.dumps(steps),
                "model_answer": str(i + 1 if i % 3 else i),
                "correct": bool(i % 3),
            }
        )
    write_parquet(folder / "examples.parquet", pd.DataFrame(lines))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with activations `rows` and a grid `grid` of four runs. Not to be written to."""
    root = tmp_path_factory.mktemp("trained") / "workspace"
    workspace = Workspace(root)
    put_activations(workspace, n=N)
    describe_examples(workspace.activations_folder("rows"))
    train_grid(workspace, root.parent / "scratch")
    for job in workspace.jobs.active():  # the maps that training asks for
        workspace.jobs.cancel(job.id)
    workspace.database.close()
    return root


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Workspace:
    """A copy of `trained` for a test that changes something."""
    shutil.copytree(trained, tmp_path / "copied")
    return Workspace(tmp_path / "copied")


@pytest.fixture(scope="session", autouse=True)
def components_found_once() -> Iterator[None]:
    """Every AppTest looks for components in all installed packages, which takes longer than most pages."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True)
def enters_through_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server that has been visited before.

    AppTest makes every run the first one of a server, in which a page runs without app.py and starts over
    (`sae.ui.entry`); a click would be lost on the way. The first visit is a browser test's.
    """
    monkeypatch.setattr(PagesManager, "uses_pages_directory", False)
    monkeypatch.setattr("streamlit.testing.v1.app_test.PagesManager", type("Visited", (PagesManager,), {}))


@pytest.fixture(autouse=True)
def no_supervisor(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs stay in the queue: nothing is started; what would have been is listed by device."""
    asked: list[str] = []

    def instead(workspace: Workspace, device: str = "auto") -> None:
        asked.append(device)

    # Pages import it when they run, `jobs_view` did when it was imported.
    monkeypatch.setattr("sae.workspace.supervisor.ensure_running", instead)
    monkeypatch.setattr("sae.ui.jobs_view.ensure_running", instead)
    return asked


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Callable[..., AppTest]:
    """`open_page("grid", workspace, experiment="e")`: the app on that page with that address."""

    def open_it(stem: str, workspace: Path | Workspace, **address: str | list[str]) -> AppTest:
        root = workspace.root if isinstance(workspace, Workspace) else workspace
        monkeypatch.setenv("SAE_WORKSPACE", str(root))
        at = AppTest.from_file(str(repository / "app.py"), default_timeout=60)
        if stem != "home":
            if not _PAGES:
                _PAGES.update(AppTest.from_file(str(repository / "app.py"), default_timeout=60).run()._registered_pages)
            at._registered_pages = dict(_PAGES)
            at.switch_page(f"pages/{stem}.py")
        for name, value in address.items():
            at.query_params[name] = value
        return at.run()

    return open_it


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace of `tests.workspace.results`. Not to be written to."""
    from tests.workspace.results import make

    return copy_of(make, tmp_path_factory.mktemp("results") / "workspace")


@pytest.fixture
def own_results(results: Workspace, tmp_path: Path) -> Workspace:
    """A copy of `results` for a test that changes something."""
    shutil.copytree(results.root, tmp_path / "results")
    return Workspace(tmp_path / "results")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[reproduce.Reproduce]]:
    """Every recipe that a page makes while it runs."""
    made: list[reproduce.Reproduce] = []
    original = reproduce.Reproduce.__init__

    def noting(self: reproduce.Reproduce, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        made.append(self)

    monkeypatch.setattr(reproduce.Reproduce, "__init__", noting)
    yield made
