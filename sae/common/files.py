"""Files that are never half written: written beside their place, flushed, and moved into it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def check_name(name: str, what: str = "name") -> str:
    """Return `name` if it can name a folder of the workspace.

    Raises:
        UserError: for anything with a path in it, an empty name, or one of more than 80 characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise UserError(
            f"{what} {name!r} can't be used: take 1 to 80 letters, digits, '.', '_' or '-', "
            "starting with a letter or digit"
        )
    return name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and moved onto `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """JSON has no NaN: a figure that does not exist becomes null. Numpy scalars become Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    elif hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def to_json(value: Any) -> str:
    """`value` as JSON text; NaN and infinities become null, numpy scalars and arrays become plain numbers and lists."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, beside its place first and then into it."""
    with replacing(path) as temporary:
        temporary.write_text(to_json(value) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises UserError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None


def read_json_once(path: Path | str) -> Any:
    """As `read_json`, kept in memory until the file is another: whoever gets it shares it, and must not write to it.

    A page over a thousand runs asks for two small files of each, for every visitor and after every click.
    """
    try:
        found = os.stat(path)
    except OSError:
        return read_json(Path(path))
    return _read_json(str(path), found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8192)  # some 10 kB each
def _read_json(path: str, inode: int, modified: int, size: int) -> Any:
    return read_json(Path(path))


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as Parquet without its index, beside its place first and then into it."""
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """A table as it stands in the file at this moment. pandas opens a file by its path twice, and reads nonsense where
    the file is replaced in between."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(Path(path).read_bytes()))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors (any device, any strides) as safetensors."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
