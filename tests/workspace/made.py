"""Workspaces that take seconds to make are made once a test run, whichever worker asks first, and copied from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from sae.workspace import Workspace

#: Names the folder that the workers of one test run share; `tests/conftest.py` makes and removes it.
SHARED = "SAE_TESTS_SHARED"


def copy_of(make: Callable[[Path], Workspace], root: Path) -> Workspace:
    """What `make(root)` makes, with what it leaves beside `root`; `make` is a function of a module."""
    kept = Path(os.environ[SHARED]) / make.__module__
    whole = Path(f"{kept}.whole")  # says so; it is not made elsewhere and moved, since what is made names its own place
    with FileLock(f"{kept}.lock"):
        if not whole.exists():
            shutil.rmtree(kept, ignore_errors=True)  # of a worker that was ended
            make(kept / "workspace").database.close()
            whole.touch()
    for part in kept.iterdir():
        shutil.copytree(part, root if part.name == "workspace" else root.parent / part.name, dirs_exist_ok=True)
    return Workspace(root)
