"""Who may do what in this process, asked by every function that queues, deletes, imports or writes.

The command line acts for whoever runs it and may do all. A server that shows the workspace to others says with
`decide_by` how the visitor is found for whom a function runs; then a viewer's request fails here, whatever was drawn.
`SAE_READ_ONLY=1` makes a process that changes nothing at all: the index is opened for reading, no supervisor starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from sae.common.errors import UserError

Role = Literal["nobody", "viewer", "trainer"]

_ask: Callable[[], Role] | None = None
_refusal: Callable[[], str] | None = None


def decide_by(ask: Callable[[], Role] | None, refusal: Callable[[], str] | None = None) -> None:
    """Have every function here ask `ask` for the role of whoever it works for; None: whoever it is may do all.

    Args:
        refusal: why this visitor may not, and what to do, after "... is for trainers: ".
    """
    global _ask, _refusal
    _ask, _refusal = ask, refusal


def read_only() -> bool:
    """Whether this process may change nothing (`SAE_READ_ONLY`), whoever asks."""
    return os.environ.get("SAE_READ_ONLY", "").lower() in ("1", "true", "yes", "on")


def may_change() -> bool:
    """Whether the one for whom this runs may train, import, delete and write notes."""
    return not read_only() and (_ask is None or _ask() == "trainer")


def require_change(doing: str) -> None:
    """Call first in whatever writes for somebody.

    Args:
        doing: what it does, for `DOING is for trainers`: "deleting a run".

    Raises:
        UserError: for a viewer, and for everybody where the process is read-only.
    """
    if read_only():
        raise UserError("this server is read-only (SAE_READ_ONLY): open the workspace with your own copy of the app")
    if not may_change():
        raise UserError(f"{doing} is for trainers: {_refusal() if _refusal else 'ask who runs this server'}")
