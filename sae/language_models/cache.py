"""Where downloaded models stand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sae.common.errors import UserError


def cache_folder() -> Path:
    """`$SAE_CACHE`, else `sae-workbench` in the user's cache folder of this platform; made if it isn't there.

    Raises:
        UserError: if it can't be made.
    """
    chosen = os.environ.get("SAE_CACHE")
    folder = Path(chosen).expanduser() if chosen else _user_cache() / "sae-workbench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache folder {folder} can't be made ({error.strerror}): set SAE_CACHE to another"
        ) from None
    return folder


def _user_cache() -> Path:
    """Where this platform keeps what can be fetched again."""
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
