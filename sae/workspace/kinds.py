"""The experiments that can be trained in a workspace: the built-in ones, and those defined in its folder `kinds`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sae.common.errors import UserError
from sae.common.files import replacing
from sae.workspace.access import require_change

if TYPE_CHECKING:
    from sae.experiments.plan import Kind
    from sae.workspace.folder import Workspace

_FOLDER = "kinds"


class Defined(NamedTuple):
    """A kind, and its definition where it is not built in."""

    kind: Kind
    definition: dict[str, Any] | None = None


def kinds_here(workspace: Workspace) -> dict[str, Defined]:
    """By name, the built-in ones first. A file that can't be read any more is left out (`unreadable` says why)."""
    from sae.experiments import KINDS
    from sae.experiments.definition import kind_from

    found = {name: Defined(kind) for name, kind in KINDS.items()}
    for definition in _read(workspace)[0]:
        found[definition["name"]] = Defined(kind_from(definition), definition)
    return found


def unreadable(workspace: Workspace) -> list[str]:
    """A line for each file of the folder that defines no experiment."""
    return _read(workspace)[1]


def keep_definition(workspace: Workspace, text: str, name: str) -> str:
    """Check a definition and write it into the workspace; returns the kind's name.

    Args:
        text: YAML. name: of the file that it came from, for errors.

    Raises:
        UserError: if it is none, another one of that name is there, or for a viewer.
    """
    require_change("defining an experiment")
    from sae.experiments.definition import SUFFIXES, parse_definition, read_definition

    definition = parse_definition(text, name)
    kind = str(definition["name"])
    path = workspace.root / _FOLDER / f"{kind}{SUFFIXES[0]}"
    if path.exists():
        if read_definition(path) != definition:
            raise UserError(f"another experiment is defined as {kind!r} here ({path}): give yours another name")
        return kind
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return kind


def _read(workspace: Workspace) -> tuple[list[dict[str, Any]], list[str]]:
    from sae.experiments.definition import SUFFIXES, read_definition

    found: list[dict[str, Any]] = []
    problems: list[str] = []
    folder = workspace.root / _FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix not in SUFFIXES:
            continue
        try:
            definition = read_definition(path)
            if definition["name"] in {one["name"] for one in found}:
                raise UserError(f"{path.name}: another file defines {definition['name']!r}, too")
            found.append(definition)
        except UserError as error:
            problems.append(str(error))
    return found, problems
