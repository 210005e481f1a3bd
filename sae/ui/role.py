"""Who may change things. `SAE_READ_ONLY=1` serves a workspace to readers: pages then show no action that writes."""

from __future__ import annotations

import os

import streamlit as st

from sae.common.errors import UserError


def may_change() -> bool:
    """Whether this visitor may start, rename, delete or import anything."""
    return os.environ.get("SAE_READ_ONLY", "").lower() not in ("1", "true", "yes", "on")


def require_change() -> None:
    """Call first in whatever writes: a hidden button is no protection. Raises UserError for a reader."""
    if not may_change():
        raise UserError("this server is read-only (SAE_READ_ONLY): open the workspace with your own copy of the app")


def local() -> bool:
    """Whether visitors sit at this machine, so that a path of its disk may be asked for."""
    return str(st.get_option("server.address") or "") in ("127.0.0.1", "localhost", "::1") and may_change()
