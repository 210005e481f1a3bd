"""Activations with known concepts: sums of a few directions out of many, with parents, to check a method against."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name

from .folder import Workplace, write_examples, write_rows
from .splits import split_examples
from .state import what_is_there
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Planting:
    """What is planted.

    Attributes:
        rows: how many, in groups of `terms` rows with the same concepts: like the synonyms of one term, they differ in
            strengths and noise, and stay on one side of a split.
        d_in: dimensions.
        concepts: M, the concepts that rows are made of; concept j is drawn with weight (j + 10)^-0.5.
        k: K, different concepts of a row.
        branches: parents of the concepts; concept j has branch j modulo `branches`.
        noise: size of the noise, as a share of a row's norm.
        seed: everything follows from it.
    """

    rows: int = 10_000
    d_in: int = 64
    concepts: int = 128
    k: int = 4
    branches: int = 8
    terms: int = 2
    noise: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Planted:
    """What came of it.

    Attributes:
        x: float32 [rows, d_in].
        members: int32 [rows, k], the concepts of each row, ascending.
        directions: float32 [concepts, d_in], of length 1: a concept's own direction and half of its branch's.
        branch_of: int32 [concepts].
    """

    x: np.ndarray
    members: np.ndarray
    directions: np.ndarray
    branch_of: np.ndarray


def plant(planting: Planting) -> Planted:
    """Make the rows: each is the sum of its concepts' directions, with strengths from 0.5 to 1.5, and noise.

    Raises:
        UserError: for numbers that make no sense together.
    """
    _check(planting)
    p, generator = planting, np.random.default_rng(planting.seed)
    branch_of = (np.arange(p.concepts) % p.branches).astype(np.int32)
    own, above = _directions(generator, p.concepts, p.d_in), _directions(generator, p.branches, p.d_in)
    directions = own + 0.5 * above[branch_of]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = np.log(np.arange(p.concepts) + 10.0) * -0.5
    groups = []
    for first in range(0, -(-p.rows // p.terms), _ROWS_AT_ONCE):
        # The K largest of log-weights with Gumbel noise are a draw without replacement.
        keys = weights + generator.gumbel(size=(min(_ROWS_AT_ONCE, -(-p.rows // p.terms) - first), p.concepts))
        groups.append(np.sort(np.argpartition(-keys, p.k - 1, axis=1)[:, : p.k], axis=1))
    members = np.repeat(np.concatenate(groups), p.terms, axis=0)[: p.rows].astype(np.int32)
    x = np.empty((p.rows, p.d_in), np.float32)
    for first in range(0, p.rows, _ROWS_AT_ONCE):
        chosen = members[first : first + _ROWS_AT_ONCE]
        sums = np.einsum("nk,nkd->nd", 0.5 + generator.random(chosen.shape), directions[chosen])
        size = p.noise * np.linalg.norm(sums, axis=1, keepdims=True) / np.sqrt(p.d_in)
        x[first : first + len(chosen)] = sums + size * generator.standard_normal(sums.shape)
    return Planted(x, members, directions.astype(np.float32), branch_of)


def plant_activations(planting: Planting, folder: Path, *, name: str) -> Activations:
    """Write them as activations of one slice; the truth stands in the examples, and follows from the manifest's
    `planted` by `plant(Planting(**planted))`.

    `examples.parquet` has `question` (the concepts in words), `group`, and as JSON lists `concepts` and `categories`
    (their branches). The same name with the same planting returns what is there.

    Raises:
        UserError: as `plant`, and if other activations have the name; nothing is written.
    """
    import pandas as pd

    _check(planting)
    n = planting.rows

    def made() -> tuple[np.ndarray, pd.DataFrame]:
        found = plant(planting)
        concepts = [[f"c{member}" for member in line] for line in found.members.tolist()]
        branches = [sorted(set(line)) for line in found.branch_of[found.members].tolist()]
        examples = pd.DataFrame(
            {
                "question": [" ".join(line) for line in concepts],
                "group": [f"g{row // planting.terms}" for row in range(n)],
                "concepts": [json.dumps(line) for line in concepts],
                "categories": [json.dumps([f"b{branch}" for branch in line]) for line in branches],
            }
        )
        return found.x, examples

    return write_planted({"planted": asdict(planting)}, made, folder, name=name)


def write_planted(
    spec: dict[str, Any], make: Callable[[], tuple[np.ndarray, pd.DataFrame]], folder: Path, *, name: str
) -> Activations:
    """Write planted rows as activations of one slice; the same name with the same spec returns what is there.

    Args:
        spec: what they follow from; it stands in the manifest.
        make: gives the rows [n, d_in] and a line of examples for each.

    Raises:
        UserError: if other activations have the name; nothing is written.
    """
    check_name(name, "activations name")
    if folder.exists():
        return what_is_there(folder, spec)
    x, examples = make()
    n, d_in = x.shape
    split, split_how = split_examples(examples)
    with Workplace(folder) as place:
        place.start_over()
        try:
            np.save(place.partial / "activations.npy", x)
            write_rows(place.partial / "rows.parquet", {"example": np.arange(n)}, split, [None])
            write_examples(place.partial / "examples.parquet", examples, split)
            manifest = {
                "kind": "planted",
                "model": None,
                "problems": {"kind": "planted", "n": n},
                "text": None,
                "positions": None,
                "layers": None,
                "dtype": "float32",
                "d_in": d_in,
                "n_rows": n,
                "n_examples": n,
                "slices": [{"layer": None, "position": None, "start": 0, "stop": n}],
                "split": split_how,
                "seconds": None,
                "spec": spec,
                **spec,
            }
            return place.finish(manifest)
        except BaseException:
            place.discard()
            raise


def _directions(generator: np.random.Generator, n: int, d_in: int) -> np.ndarray:
    """[n, d_in], random, of length 1."""
    found = generator.standard_normal((n, d_in))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _check(planting: Planting) -> None:
    p = planting
    for name in ("rows", "d_in", "concepts", "k", "branches", "terms"):
        if getattr(p, name) < 1:
            raise UserError(f"planted activations: {name.replace('_', '-')} {getattr(p, name)} must be at least 1")
    if p.k > p.concepts:
        raise UserError(f"planted activations: {p.k} different concepts can't be drawn from {p.concepts}")
    if p.rows <= p.terms:
        raise UserError(f"planted activations: {p.rows} rows are one group of {p.terms}, which can't be split")
    if not 0 <= p.noise < float("inf"):
        raise UserError(f"planted activations: noise {p.noise} must be a number from 0 on")
