"""Which models are CODI models, told from names and headers: nothing is loaded, and torch stays out."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import read_json

from .tensor_files import FILES, weight_files

#: A folder with this file is one of our own; it is written last.
MARK = "codi.json"
#: Published on the hub.
PUBLISHED = (
    "zen-E/CODI-gpt2",
    "zen-E/CODI-llama3.2-1b-Instruct",
    "bcywinski/codi_llama1b-answer_only",
)
_CALLED_CODI = re.compile(r"(?:^|[-_.])codi(?:[-_.]|$)", re.IGNORECASE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_MOST_HEADER = 100 << 20
_PROJECTION = "prj.1.weight"


def is_hub_id(name: str) -> bool:
    """Whether `name` can be a repository of the hub: `owner/name`."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name


def called_codi(name: str) -> bool:
    """Whether a hub id is a published one, or has the word CODI in its own name, as all of them do."""
    return is_hub_id(name) and (name in PUBLISHED or bool(_CALLED_CODI.search(name.split("/")[1])))


def holds_codi(folder: Path) -> bool:
    """Whether a folder is one of our own, or its weights hold a CODI projection. Reads headers alone; never raises."""
    if (folder / MARK).is_file():
        return True
    try:
        for name in FILES:
            if name.endswith(".index.json") and (folder / name).is_file():
                content = read_json(folder / name)
                if isinstance(content, dict) and _PROJECTION in (content.get("weight_map") or {}):
                    return True
        return any(_has_projection(path) for path in weight_files(folder))
    except (OSError, UserError, ValueError, TypeError):
        return False


def _has_projection(path: Path) -> bool:
    if path.suffix == ".safetensors":
        return _PROJECTION in _safetensors_header(path)
    # A file of torch.save is a zip archive with one pickle of names; it is searched, never opened.
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith("/data.pkl") and member.file_size <= _MOST_HEADER:
                return _PROJECTION.encode() in archive.read(member)
    return False


def _safetensors_header(path: Path) -> dict[str, Any]:
    """The JSON at the head of a safetensors file: its length in eight bytes, then the text."""
    with open(path, "rb") as file:
        length = file.read(8)
        if len(length) < 8 or (n := struct.unpack("<Q", length)[0]) > _MOST_HEADER:
            return {}
        header = json.loads(file.read(n))
    return header if isinstance(header, dict) else {}
