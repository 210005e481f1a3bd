"""Runs `python -m sae ...` for a page: work that needs torch, or much memory, and ends within a minute or so.

What takes longer is a job.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from streamlit.typing import UploadedFile

    from sae.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def run_command(workspace: Workspace, words: Sequence[str | Path]) -> Any:
    """The JSON document that the command prints.

    Raises:
        UserError: with the command's one line, if it ends with an error; for a viewer.
    """
    require_change("importing")
    command = [sys.executable, "-m", "sae", *map(str, words), "--workspace", str(workspace.root), "--json"]
    # Paths that a visitor types are read as the server's working folder has them; the package is found beside it.
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
    if done.returncode == 0:
        return json.loads(done.stdout)
    last = (done.stderr.strip().splitlines() or ["the command ended without a word"])[-1]
    if last.startswith("error: "):
        raise UserError(last.removeprefix("error: "))
    raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")


def keep_uploads(files: Sequence[UploadedFile], folder: Path) -> Path:
    """Write uploaded files into `folder`, under their own last names; returns the file, or the folder of several.

    Raises:
        UserError: for two files of one name, or a name that is no file name; for a viewer.
    """
    require_change("uploading")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        name = Path(file.name.replace("\\", "/")).name
        if name in ("", ".", "..") or (folder / name).exists():
            raise UserError(f"the upload {file.name!r} can't be used: each file needs a name of its own")
        (folder / name).write_bytes(file.getbuffer())
    return folder / Path(files[0].name).name if len(files) == 1 else folder
