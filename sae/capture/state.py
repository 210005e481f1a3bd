"""How far a capture got, and whether what is there is what is asked for."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import read_json, to_json, write_json

from .folder import Workplace
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd

STATE = "state.json"
# What says where a model's files stand or what it is called, and not what is in them.
_NAMES = ("from", "name", "licence", "title")


class State:
    """What state.json says: the spec, how it is computed, how far it got."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path, self._content = path, content
        self._since = time.monotonic()

    @classmethod
    def at(cls, place: Workplace, spec: dict[str, Any], how: dict[str, Any]) -> State:
        """Of what a kill or a cancel left, if it is of the same spec; else of a new start.

        Args:
            how: what decides the last bits beside the spec; must have `device` and `kernel`.

        Raises:
            UserError: if what was left is of another spec.
        """
        path = place.partial / STATE
        fresh = {"spec": spec, "how": how, "batches": 0, "seconds": 0.0}
        if path.exists():
            left = read_json(path)
            if left["spec"] != spec:
                raise UserError(
                    f"an unfinished capture {place.folder.name!r} has other {_differences(left['spec'], spec)}: "
                    f"take another name, or delete {place.partial}"
                )
            # Another device or kernel rounds otherwise; half of each would be neither.
            if (left["how"]["device"], left["how"]["kernel"]) == (how["device"], how["kernel"]):
                return cls(path, left)
        place.start_over()
        state = cls(path, fresh)
        state.save()
        return state

    @property
    def how(self) -> dict[str, Any]:
        """Of the first start: whoever goes on keeps to it."""
        return self._content["how"]

    @property
    def batches(self) -> int:
        """How many are on the disk."""
        return self._content["batches"]

    @property
    def seconds(self) -> float:
        """Spent so far, over all starts."""
        return self._content["seconds"]

    def save(self, batches: int | None = None) -> None:
        now = time.monotonic()
        self._content["seconds"] += now - self._since
        self._since = now
        if batches is not None:
            self._content["batches"] = batches
        write_json(self._path, self._content)


def make_spec(source: dict[str, Any], examples: pd.DataFrame, **choices: Any) -> dict[str, Any]:
    """What makes two captures the same: the model, the examples, the choices. Where files stand is no part of it.

    Args:
        source: of the model.
    """
    model = {key: value for key, value in source.items() if key not in _NAMES}
    if source.get("kind") == "hub":
        model["name"] = source.get("name")
    content = hashlib.sha256(examples.to_json(orient="records", lines=True, double_precision=15).encode()).hexdigest()
    # As it will come back from disk.
    return json.loads(to_json({"model": model, "examples": content, **choices}))


def what_is_there(folder: Path, spec: dict[str, Any]) -> Activations:
    """The activations in `folder`.

    Raises:
        UserError: if they are of another spec.
    """
    there = Activations.open(folder)
    if there.manifest.get("spec") == spec:
        return there
    other = _differences(there.manifest.get("spec") or {}, spec)
    raise UserError(
        f"activations {folder.name!r} are there already, with other {other}: take another name or delete them"
    )


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    return ", ".join(key for key in ours if theirs.get(key) != ours[key]) or "origin"
