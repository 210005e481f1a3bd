"""Documents and their claims, read from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sae.common.errors import UserError
from sae.common.files import read_json

FOLDER = Path(__file__).resolve().parents[3] / "data" / "claims"
EVIDENCE = {
    "document": "its own numbers",
    "measured": "measured here",
    "record": "its code",
    "text": "its text",
}
_FIELD = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_NEEDED = ("id", "section", "words", "says", "formula", "ours", "check", "evidence", "rule")


@dataclass(frozen=True)
class Claim:
    """One thing that a document says."""

    id: str
    document: str
    section: str
    words: str
    """The document's own words."""
    says: str
    """Its number or statement, as it prints it."""
    formula: str
    """How the document computed it."""
    ours: str
    """What we compute, and from what."""
    evidence: str
    """`document`, `measured`, `record` or `text`: see EVIDENCE."""
    check: str
    rule: str
    """What gives which verdict."""
    arguments: dict[str, Any] = field(default_factory=dict)
    number: float | None = None
    """`says` as a number, where a chart or a tolerance needs it."""
    page: str | None = None
    """Page that shows the evidence, and its choices; `{experiment}`, `{preset}` and `{run}` are filled in."""
    query: dict[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Document:
    """A document: what it is about, its own tables and constants, its claims in its own order."""

    id: str
    title: str
    date: str
    about: str
    setting: dict[str, float]
    """What activations it measured: d_in, layer, position, n_rows. Levels are compared on the same alone."""
    presets: tuple[str, ...]
    """Our presets that follow its recipe, the most faithful one first."""
    experiment_kinds: tuple[str, ...]
    """Kinds of experiments that its claims are held against."""
    constants: dict[str, float]
    tables: dict[str, pd.DataFrame]
    keys: dict[str, tuple[str, ...]]
    """The columns of each table that say which line it is."""
    claims: tuple[Claim, ...]

    @cached_property
    def names(self) -> dict[str, float | Callable[..., float]]:
        """What an expression may use: the constants, and each column as a function of its table's keys."""
        found: dict[str, float | Callable[..., float]] = dict(self.constants)
        for name, table in self.tables.items():
            keys = list(self.keys[name])
            for column in table.columns.difference(keys):
                found[column] = _lookup(table.set_index(keys)[column].dropna(), column)
        return found


def _lookup(series: pd.Series, name: str) -> Callable[..., float]:
    lines = {key if isinstance(key, tuple) else (key,): float(value) for key, value in series.items()}

    def look(*keys: float) -> float:
        if keys not in lines:
            raise ValueError(f"{name} has no line {keys}")
        return lines[keys]

    return look


def load_all(folder: Path = FOLDER) -> list[Document]:
    """Every document of a folder, by file name. Raises UserError if one can't be read or two share an id."""
    documents = [load(path) for path in sorted(folder.glob("*.json"))]
    ids = [document.id for document in documents]
    if len(set(ids)) != len(ids):
        raise UserError(f"two documents in {folder} have the same id: {sorted(ids)}")
    return documents


def load(path: Path) -> Document:
    """A document with its claims. Raises UserError naming the claim and what is missing or unknown."""
    content = read_json(path)
    try:
        tables = {name: pd.DataFrame(entry["rows"]) for name, entry in content["tables"].items()}
        bare = Document(
            content["id"],
            content["title"],
            content["date"],
            content["about"],
            content["setting"],
            tuple(content["presets"]),
            tuple(content["experiment_kinds"]),
            content["constants"],
            tables,
            {name: tuple(entry["keys"]) for name, entry in content["tables"].items()},
            (),
        )
        claims = tuple(claim for entry in content["claims"] for claim in _claims(entry, bare))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path.name} is not a document of claims: {type(error).__name__} {error}") from None
    ids = [claim.id for claim in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise UserError(f"{path.name} has the claim {twice[0]!r} twice")
    return replace(bare, claims=claims)


def _claims(entry: dict[str, Any], document: Document) -> Iterator[Claim]:
    """The claims of one entry: one for each line of the table that `each` names, and one for each kind of
    evidence.
    """
    from sae.analysis.claims.checks import CHECKS
    from sae.analysis.claims.expressions import value

    missing = [name for name in _NEEDED if name not in entry]
    if missing:
        raise UserError(f"claim {entry.get('id', '?')!r} has no {missing[0]!r}")
    kinds = entry["evidence"] if isinstance(entry["evidence"], list) else [entry["evidence"]]
    if set(kinds) - set(EVIDENCE):
        raise UserError(f"claim {entry['id']!r} names evidence {kinds}: take {', '.join(EVIDENCE)}")
    if entry["check"] not in CHECKS:
        raise UserError(f"claim {entry['id']!r} names the check {entry['check']!r}, which is not known")
    lines = document.tables[entry["each"]].to_dict("records") if "each" in entry else [{}]
    for line in lines:
        filled = _fill({name: item for name, item in entry.items() if name != "each"}, line)
        number = filled.get("number")
        for kind in kinds:
            more = filled.get(kind, {}) if len(kinds) > 1 else {}  # what differs by kind of evidence
            yield Claim(
                id=filled["id"] + ("-here" if kind == "measured" and len(kinds) > 1 else ""),
                document=document.id,
                evidence=kind,
                number=None if number is None else value(number, document.names),
                **{name: more.get(name, filled[name]) for name in _NEEDED if name not in ("id", "evidence")},
                arguments=more.get("arguments", filled.get("arguments", {})),
                page=more.get("page", filled.get("page")),
                query=more.get("query", filled.get("query", {})),
            )


def _fill(item: Any, line: dict[str, Any]) -> Any:
    """`{k}` and `{dead:.1%}` in every text of an entry, from one line of a table; other fields stay as they
    are.
    """
    if isinstance(item, dict):
        return {name: _fill(inner, line) for name, inner in item.items()}
    if isinstance(item, list):
        return [_fill(inner, line) for inner in item]
    if not isinstance(item, str):
        return item
    if item[1:-1] in line and item == "{" + item[1:-1] + "}":
        return line[item[1:-1]]  # a number stays one

    def put(match: re.Match[str]) -> str:
        name, how = match.groups()
        return format(line[name], how or "") if name in line else match[0]  # `{run}` is filled in later

    return _FIELD.sub(put, item)
