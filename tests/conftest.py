"""What every test stands on: none touches the user's workspace, starts the demo, or takes every core."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests.order import long_ones_first

# Before numpy and torch are imported: they read it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A job takes every core otherwise, and one that a test runs here leaves that number to all tests that come after it:
# two workers with two threads each on two cores take five times as long over small operations.
os.environ.setdefault("SAE_THREADS", "1")
# A job steps back for whoever clicks; here nobody waits but the test that started it.
os.environ.setdefault("SAE_NICE", "0")

_SCRATCH = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Point everything that asks the environment at a folder of this test run (one for each xdist worker)."""
    config.stash[_SCRATCH] = scratch = tempfile.mkdtemp(prefix="sae-tests-")
    os.environ["SAE_WORKSPACE"] = os.path.join(scratch, "workspace")
    os.environ["SAE_DEMO"] = "off"
    if not hasattr(config, "workerinput"):  # its workers get it from the process that starts them
        os.environ["SAE_TESTS_SHARED"] = os.path.join(scratch, "shared")
        os.mkdir(os.environ["SAE_TESTS_SHARED"])
    # xdist hands out the files with most tests first, so last of all the few tests that take minutes.
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        long_ones_first(items, config.rootpath)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_SCRATCH], ignore_errors=True)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder that holds app.py, pages and sae."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace of this test alone, which `SAE_WORKSPACE` names too."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    monkeypatch.setenv("SAE_WORKSPACE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the `__main__` that Streamlit puts a page in: a process made by `spawn` would run that page."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
