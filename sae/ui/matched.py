"""Matchings and seed stability of runs, worked out once with a bar and shared by all visitors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import role
from sae.ui.page import workspace
from sae.ui.work_bar import WorkBar
from sae.workspace.comparing import match_runs, siblings
from sae.workspace.stability import Stability, kept_stability, stability_of, work

if TYPE_CHECKING:
    from sae.analysis.matching import By, Matching
    from sae.workspace.runs import RunFolder

_KEPT = 24
AT_ONCE = 2e11  # operations: a few seconds on one core


def matching(one: RunFolder, other: RunFolder, by: By) -> Matching:
    """Raises UserError if the two can't be matched so."""
    key = ("matching", by, *_stamp(one), *_stamp(other))
    return _once(key, lambda bar: match_runs(workspace(), one, other, by, bar))


def stability(run: RunFolder, anyway: bool = False) -> Stability | None:
    """Seed stability of a run; None where its experiment has no other finished seed of it.

    Args:
        anyway: work it out even where that takes long; else what takes long is None until somebody asked for it.

    Raises:
        UserError: if files of it or of another seed are gone.
    """
    others = siblings(workspace(), run)
    if not others:
        return None
    if not anyway and work(run, len(others)) > AT_ONCE and kept_stability(workspace(), run) is None:
        return None
    key = ("stability", *_stamp(run), *(part for other in others for part in _stamp(other)))
    return _once(key, lambda bar: stability_of(workspace(), run, role.may_change(), bar))


def _stamp(run: RunFolder) -> tuple[str, int]:
    try:
        return str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns
    except FileNotFoundError:
        raise UserError(f"run {run.id} has no metrics yet: it is not finished") from None


def _once(key: tuple[Any, ...], make: Callable[[WorkBar], Any]) -> Any:
    """Not a cached function: those can't draw a bar that is gone when they are done."""
    shelf = _shelf()
    if key not in shelf:
        bar = WorkBar()
        try:
            shelf[key] = make(bar)
        finally:
            bar.close()
        while len(shelf) > _KEPT:
            shelf.popitem(last=False)
    return shelf[key]


@st.cache_resource(max_entries=1, show_spinner=False)
def _shelf() -> OrderedDict[tuple[Any, ...], Any]:
    return OrderedDict()
