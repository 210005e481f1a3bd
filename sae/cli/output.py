"""What commands print: one JSON document with --json, else a plain table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from sae.common.files import to_json
from sae.workspace.folder import Workspace


def workspace_of(options: argparse.Namespace) -> Workspace:
    return Workspace.at(options.workspace)


def emit(options: argparse.Namespace, document: Any, text: str) -> None:
    """Print `document` as JSON if that was asked for, else `text`."""
    print(to_json(document) if options.json else text)


def table(lines: list[dict[str, Any]], empty: str = "none") -> str:
    """Columns for people: numbers to the right, at most four significant decimals."""
    if not lines:
        return empty
    columns = list(dict.fromkeys(key for line in lines for key in line))
    cells = [[_cell(line.get(column)) for column in columns] for line in lines]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    numeric = [all(isinstance(line.get(c), int | float | None) for line in lines) for c in columns]

    def line_of(row: list[str]) -> str:
        return "  ".join(v.rjust(w) if n else v.ljust(w) for v, w, n in zip(row, widths, numeric, strict=True)).rstrip()

    return "\n".join([line_of(columns), *(line_of(row) for row in cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
    return str(value)


def unread_text(lines: Sequence[str] | None) -> str:
    """What is said of lines of a problems file that could not be read; empty if there are none."""
    return f"{len(lines):,} of the file's lines can't be read; the first: {lines[0]}" if lines else ""
