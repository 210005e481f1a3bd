"""Tables of JSON, a record a line, as users write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae.common.errors import UserError

LONGEST_LINE = 10_000_000  # bytes


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line that is not empty: what to call it in an error, and what it holds.

    Raises:
        UserError: for a line that is too long or no JSON, naming it; lines count from 0.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            if not line.strip():
                continue
            where = f"line {number} of {path.name!r} (counted from 0)"
            if len(line) > LONGEST_LINE:
                raise UserError(f"{where} is longer than {LONGEST_LINE:,} bytes")
            try:
                record = json.loads(line)
                # Half a surrogate pair ("\ud800") passes as JSON but can be stored nowhere.
                json.dumps(record, ensure_ascii=False).encode("utf-8")
            except UnicodeError:
                raise UserError(f"{where} is not UTF-8 text") from None
            except (ValueError, RecursionError) as error:
                raise UserError(f"{where} is not JSON ({error})") from None
            yield where, record
