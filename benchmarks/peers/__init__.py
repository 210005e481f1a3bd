"""Other libraries' trainers, each behind the interface of `benchmarks.task.Implementation`."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from benchmarks.task import Implementation

PEERS = ("sparsify", "saelens", "dictionary_learning", "overcomplete")


def find_peers() -> tuple[dict[str, type[Implementation]], dict[str, str]]:
    """The peers that this environment holds, and for each of the others why it is left out."""
    found: dict[str, type[Implementation]] = {}
    left_out: dict[str, str] = {}
    for name in PEERS:
        try:
            found[name] = importlib.import_module(f"benchmarks.peers.{name}").Peer
        except Exception as error:  # a peer beside the wrong version of something fails in its own way
            left_out[name] = f"{type(error).__name__}: {error}"
    return found, left_out


def without_its_init(package: str) -> None:
    """Make `package` importable without running its `__init__`, which loads far more than the trainer (language models,
    plots) and packages that need other versions than the rest.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    sys.modules[package] = importlib.util.module_from_spec(spec)
