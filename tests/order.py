"""Which files the workers of a test run begin with: one that takes a minute and comes last costs its whole length."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Files of half a minute and more. Those that wait for processes of their own take turns with those that compute, so
#: that the cores are neither idle nor fought for.
LONG = (
    "workspace/executors/test_ray.py",
    "training/test_planted.py",
    "browser/test_home_data_train.py",
    "pages/test_architectures.py",
    "workspace/test_supervisor.py",
    "pages/test_thoughts.py",
    "torture/test_faults.py",
    "pages/test_ablations.py",
    "workspace/executors/test_slurm.py",
    "pages/test_train.py",
    "workspace/test_processes.py",
    "pages/test_compare.py",
    "browser/test_thoughts.py",
    "pages/test_data.py",
    "browser/test_results.py",
    "pages/test_wrong.py",
    "pages/test_links.py",
    "torture/test_load.py",
    "training/test_architectures.py",
)


def long_ones_first(items: list[pytest.Item], root: Path) -> None:
    """Bring the tests of long files to the front; within a file and among the others the order stays."""
    places = {root / "tests" / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
