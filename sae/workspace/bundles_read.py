"""Opens a bundle that somebody sent: every claim that it makes is checked before anything of it is believed.

A bundle is unpacked beside the workspace, file by file, to names that were checked, counting bytes and hashing; links,
names that lead elsewhere, more bytes than announced, other bytes than announced and files that nobody announced are
refused. Nothing is put into the workspace here.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.workspace.bundles import FORMAT, VERSION, check_view

LARGEST_MANIFEST = 32 * 2**20
MOST_FILES = 100_000
#: A bundle holds numbers, which hardly shrink: one that unpacks to so many times its size is no bundle.
MOST_TIMES, SMALL = 40, 64 * 2**20
_KINDS = ("runs", "experiments", "activations", "findings")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20
_ENDINGS = (".json", ".parquet", ".safetensors", ".npy", ".yaml")


@dataclass(frozen=True)
class Unpacked:
    """A bundle whose files are what its manifest says, unpacked to `folder`, which goes when it was put away."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.manifest["title"])

    def names(self, kind: str) -> list[str]:
        """Of `runs`, `experiments`, `activations`: what it holds."""
        there = self.folder / kind
        return sorted(entry.name for entry in there.iterdir()) if there.is_dir() else []


@contextmanager
def unpacked(path: Path, beside: Path) -> Iterator[Unpacked]:
    """Check the bundle at `path` and unpack it into a new folder in `beside`, which is removed at the end.

    Raises:
        UserError: in one line, for whatever is wrong with it; nothing is left then.
    """
    path = Path(path)
    beside.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=".opening-", dir=beside))
    try:
        yield Unpacked(folder, _unpack(path, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """What a bundle says of itself, checked but for the files' contents. Raises UserError as `unpacked`."""
    with _archive(path) as archive:
        return _manifest(path, archive)


def _unpack(path: Path, folder: Path) -> dict[str, Any]:
    with _archive(path) as archive:
        manifest = _manifest(path, archive)
        total = sum(entry["bytes"] for entry in manifest["files"].values())
        free = shutil.disk_usage(folder).free
        if total > free:
            raise UserError(f"{path.name} unpacks to {total:,} bytes; the disk has {free:,} left")
        for name, entry in manifest["files"].items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, archive, name, target, entry)
    return manifest


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise UserError(f"{path} is not a file: give the bundle, a .zip")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, struct.error) as error:
        raise UserError(f"{path.name} is not a zip file that can be read ({str(error)[:120]})") from None
    # What zipfile raises for other compressions, passwords, and headers that point nowhere.
    except (NotImplementedError, RuntimeError, ValueError, OverflowError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path.name} can't be read as a bundle ({str(error)[:120]})") from None


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise UserError(f"{path.name} holds {len(infos):,} files: more than the {MOST_FILES:,} that are read")
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise UserError(f"{path.name} holds two files of one name")
    if "manifest.json" not in names:
        raise UserError(f"{path.name} has no manifest.json: it is not a bundle of SAE Workbench")
    if archive.getinfo("manifest.json").file_size > LARGEST_MANIFEST:
        raise UserError(f"{path.name} has a manifest of more than {LARGEST_MANIFEST:,} bytes")
    try:
        with archive.open("manifest.json") as file:
            manifest = json.loads(file.read(LARGEST_MANIFEST + 1))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise UserError(f"manifest.json in {path.name} is not valid JSON") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path.name} is not a bundle of SAE Workbench")
    if manifest.get("version") != VERSION:
        said = str(manifest.get("version"))[:20]
        raise UserError(f"{path.name} is a bundle of version {said}; this app reads {VERSION}: take a newer app")
    _check_content(path, manifest)
    announced = manifest["files"]
    if extra := sorted(set(names) - {"manifest.json"} - set(announced)):
        raise UserError(f"{path.name} holds {extra[0][:80]!r}, which its manifest does not name")
    if missing := sorted(set(announced) - set(names)):
        raise UserError(f"{path.name} lacks {missing[0][:80]!r}, which its manifest names")
    for info in infos:
        if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir():
            raise UserError(f"{path.name} holds {info.filename[:80]!r}, which is no plain file")
        if info.filename in announced and info.file_size != announced[info.filename]["bytes"]:
            raise UserError(f"{info.filename[:80]!r} in {path.name} is not of the size that the manifest says")
    total = sum(info.file_size for info in infos)
    if total > max(SMALL, MOST_TIMES * path.stat().st_size):
        raise UserError(f"{path.name} unpacks to {total:,} bytes, far more than it has: that is no bundle")
    return manifest


def _check_content(path: Path, manifest: dict[str, Any]) -> None:
    """The types and names of what the manifest says."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise UserError(f"manifest.json in {path.name} names no files")
    for name, entry in files.items():
        _check_path(path, name)
        size = entry.get("bytes") if isinstance(entry, dict) else None
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise UserError(f"manifest.json in {path.name} gives {name[:80]!r} no size")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise UserError(f"manifest.json in {path.name} gives {name[:80]!r} no SHA-256")
    if manifest.get("view") is not None:
        check_view(str(manifest["view"]))
    manifest["title"] = str(manifest.get("title", path.stem))[:200]
    needs = manifest.get("needs")
    manifest["needs"] = [need for need in needs if isinstance(need, dict)] if isinstance(needs, list) else []


def _check_path(path: Path, name: str) -> None:
    """A file of the kinds that a bundle has, each part of whose name can name a file of the workspace."""
    parts = name.split("/")
    try:
        if parts[0] not in _KINDS or not 2 <= len(parts) <= 6 or (len(parts) == 2) != (parts[0] == "findings"):
            raise UserError("elsewhere")
        if not name.endswith(_ENDINGS):
            raise UserError("elsewhere")
        for part in parts[1:]:
            check_name(part)
    except UserError:
        raise UserError(f"{path.name} holds {name[:80]!r}, which has no place in a workspace") from None


def _copy(path: Path, archive: zipfile.ZipFile, name: str, target: Path, entry: dict[str, Any]) -> None:
    """Unpack one file; at most as many bytes as were announced are ever written."""
    digest, left = hashlib.sha256(), int(entry["bytes"])
    with archive.open(name) as source, open(target, "xb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise UserError(f"{name[:80]!r} in {path.name} is larger than the manifest says")
            digest.update(block)
            file.write(block)
    if left or digest.hexdigest() != entry["sha256"]:
        raise UserError(
            f"{name[:80]!r} in {path.name} is not what its manifest says (SHA-256): it was changed or damaged"
        )
