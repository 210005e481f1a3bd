"""Ontologies in the OBO format: concepts with their names, synonyms and parents."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sae.common.errors import UserError

_TAG = re.compile(r"([\w-]+): ?(.*)")
_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" (EXACT|RELATED|BROAD|NARROW)(?: ([^\s\[]+))? *\[')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Synonym:
    """Another term of a concept.

    Attributes:
        scope: `exact`, `related`, `broad` or `narrow`.
        kind: what the ontology says of it (`layperson`, `abbreviation`, ...); empty if nothing.
    """

    text: str
    scope: str
    kind: str


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept of an ontology; `parents` are ids, by `is_a`."""

    id: str
    name: str
    synonyms: tuple[Synonym, ...]
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Ontology:
    """The concepts of an OBO file that are not obsolete, in its order.

    Attributes:
        title, version, licence: as its header says; empty if it doesn't.
    """

    concepts: dict[str, Concept]
    title: str
    version: str
    licence: str

    def ancestors(self, concept: str) -> set[str]:
        """The ids of all concepts above one, over every chain of parents."""
        found: set[str] = set()
        waiting = list(self.concepts[concept].parents)
        while waiting:
            above = waiting.pop()
            if above not in found and above in self.concepts:
                found.add(above)
                waiting += self.concepts[above].parents
        return found - {concept}

    def children(self, concept: str) -> list[str]:
        """The ids of the concepts that name this one as a parent, in the file's order."""
        return [below.id for below in self.concepts.values() if concept in below.parents]


def read_obo(path: Path) -> Ontology:
    """Read the terms of an OBO file (format 1.2 or 1.4); synonyms that are marked as obsolete are left out.

    Raises:
        UserError: if it can't be read, holds no term, or has a term without an id or a name; the message says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not an OBO file: it is not UTF-8 text (byte {error.start:,})") from None
    header: list[tuple[str, str]] = []
    stanzas: list[tuple[int, list[tuple[str, str]]]] = []
    here = header
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            here = []
            if line.strip() == "[Term]":
                stanzas.append((number, here))
        elif match := _TAG.match(line):
            here.append((match[1], match[2].strip()))
    concepts: dict[str, Concept] = {}
    for number, tags in stanzas:
        if ("is_obsolete", "true") in tags:
            continue
        concept = _concept(path, number, tags)
        concepts[concept.id] = concept
    if not concepts:
        raise UserError(f"{path} is not an OBO file with concepts: it has no [Term] that is not obsolete")
    return Ontology(
        concepts,
        _property(header, "title"),
        next((value for tag, value in header if tag == "data-version"), ""),
        _property(header, "license"),
    )


def _concept(path: Path, line: int, tags: list[tuple[str, str]]) -> Concept:
    said = dict(reversed(tags))
    for needed in ("id", "name"):
        if not said.get(needed):
            raise UserError(f"{path} has a [Term] without {needed} at line {line:,}")
    synonyms = []
    for tag, value in tags:
        if tag == "synonym" and (match := _SYNONYM.match(value)) and match[3] != "obsolete_synonym":
            kind = (match[3] or "").replace("_", " ")
            synonyms.append(Synonym(_ESCAPED.sub(r"\1", match[1]).strip(), match[2].lower(), kind))
    # `HP:0001507 ! Growth abnormality`, or with qualifiers in braces.
    parents = tuple(value.split()[0] for tag, value in tags if tag == "is_a" and value)
    return Concept(said["id"], said["name"], tuple(synonyms), parents)


def _property(header: list[tuple[str, str]], name: str) -> str:
    """A `property_value` of the header, such as `terms:license https://...` or `dc:title "..." xsd:string`."""
    for tag, value in header:
        key, _, rest = value.partition(" ")
        if tag == "property_value" and re.split(r"[:/#]", key)[-1] == name:
            return rest.split('"')[1] if rest.startswith('"') and rest.count('"') > 1 else rest.strip()
    return ""
