"""Activations with a known hierarchy: some concepts have children, and a child is never there without its parent.

What feature absorption is measured on where no language model spells (Chanin et al. 2024, "A is for Absorption": a
latent of the parent that is silent where a child is there).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sae.common.errors import UserError

from .planted import write_planted
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Hierarchy:
    """What is planted.

    Attributes:
        rows: how many, in groups of `terms` rows with the same concepts, which stay on one side of a split.
        d_in: dimensions.
        concepts: M, of which concept j is drawn with weight (j + 1)^-exponent; a row has `k` different ones.
        parents: how many of them have children: every (M / parents)-th, so that parents are frequent and rare alike.
        children: of each parent; child c is drawn with weight (c + 1)^-exponent.
        child_rate: share of a parent's rows that have one of its children too.
        superposition: directions are random; without it they are at right angles, which needs
            d_in >= concepts + parents * children.
        noise: size of the noise, as a share of a row's norm.
        seed: everything follows from it.
    """

    rows: int = 10_000
    d_in: int = 64
    concepts: int = 32
    parents: int = 8
    children: int = 4
    k: int = 4
    child_rate: float = 0.5
    exponent: float = 0.5
    superposition: bool = False
    terms: int = 2
    noise: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class PlantedHierarchy:
    """What came of it.

    Attributes:
        x: float32 [rows, d_in], the sum of the directions of a row's concepts and children, with strengths from 0.5
            to 1.5, and noise.
        members: int32 [rows, k], the concepts of each row, ascending.
        child: int32 [rows, k], which child (from 0) stands beside each of them; -1 for none.
        parents: int32 [parents], the concepts that have children.
        directions: float32 [concepts, d_in], of length 1.
        child_directions: float32 [parents, children, d_in], of length 1.
    """

    x: np.ndarray
    members: np.ndarray
    child: np.ndarray
    parents: np.ndarray
    directions: np.ndarray
    child_directions: np.ndarray

    def named_directions(self) -> dict[str, np.ndarray]:
        """Directions by the words that `examples.parquet` has for them: `c3`, and `c3.1` for its second child."""
        named = {f"c{concept}": line for concept, line in enumerate(self.directions)}
        for number, parent in enumerate(self.parents.tolist()):
            named |= {f"c{parent}.{one}": line for one, line in enumerate(self.child_directions[number])}
        return named


def plant_hierarchy(hierarchy: Hierarchy) -> PlantedHierarchy:
    """Make the rows.

    Raises:
        UserError: for numbers that make no sense together.
    """
    _check(hierarchy)
    h, generator = hierarchy, np.random.default_rng(hierarchy.seed)
    parents = (np.arange(h.parents) * h.concepts // h.parents).astype(np.int32)
    every = _directions(generator, h.concepts + h.parents * h.children, h)
    own, below = every[: h.concepts], every[h.concepts :].reshape(h.parents, h.children, h.d_in)
    groups = -(-h.rows // h.terms)
    # The K largest of log-weights with Gumbel noise are a draw without replacement.
    keys = -h.exponent * np.log(np.arange(h.concepts) + 1.0) + generator.gumbel(size=(groups, h.concepts))
    members = np.sort(np.argpartition(-keys, h.k - 1, axis=1)[:, : h.k], axis=1)
    place = np.full(h.concepts, -1)
    place[parents] = np.arange(h.parents)
    chance = (np.arange(h.children) + 1.0) ** -h.exponent
    which = generator.choice(h.children, size=members.shape, p=chance / chance.sum())
    there = (place[members] >= 0) & (generator.random(members.shape) < h.child_rate)
    members = np.repeat(members, h.terms, axis=0)[: h.rows].astype(np.int32)
    child = np.repeat(np.where(there, which, -1), h.terms, axis=0)[: h.rows].astype(np.int32)
    sums = np.einsum("nk,nkd->nd", 0.5 + generator.random(members.shape), own[members])
    for column in range(h.k):
        rows = np.flatnonzero(child[:, column] >= 0)
        lines = below[place[members[rows, column]], child[rows, column]]
        sums[rows] += (0.5 + generator.random(len(rows)))[:, None] * lines
    size = h.noise * np.linalg.norm(sums, axis=1, keepdims=True) / np.sqrt(h.d_in)
    x = (sums + size * generator.standard_normal(sums.shape)).astype(np.float32)
    return PlantedHierarchy(x, members, child, parents, own.astype(np.float32), below.astype(np.float32))


def plant_hierarchy_activations(hierarchy: Hierarchy, folder: Path, *, name: str) -> Activations:
    """Write them as activations of one slice. `examples.parquet` has `question`, `group`, and as JSON lists `concepts`
    and `children`; the directions follow from the manifest: `plant_hierarchy(Hierarchy(**planted_hierarchy))`.

    Raises:
        UserError: as `plant_hierarchy`, and if other activations have the name; nothing is written.
    """
    import pandas as pd

    _check(hierarchy)

    def made() -> tuple[np.ndarray, pd.DataFrame]:
        found = plant_hierarchy(hierarchy)
        concepts = [[f"c{member}" for member in line] for line in found.members.tolist()]
        children = [
            [f"c{member}.{one}" for member, one in zip(line, ones, strict=True) if one >= 0]
            for line, ones in zip(found.members.tolist(), found.child.tolist(), strict=True)
        ]
        examples = pd.DataFrame(
            {
                "question": [" ".join([*line, *more]) for line, more in zip(concepts, children, strict=True)],
                "group": [f"g{row // hierarchy.terms}" for row in range(hierarchy.rows)],
                "concepts": [json.dumps(line) for line in concepts],
                "children": [json.dumps(line) for line in children],
            }
        )
        return found.x, examples

    return write_planted({"planted_hierarchy": asdict(hierarchy)}, made, folder, name=name)


def _directions(generator: np.random.Generator, n: int, hierarchy: Hierarchy) -> np.ndarray:
    """[n, d_in], of length 1."""
    found = generator.standard_normal((n, hierarchy.d_in))
    if not hierarchy.superposition:
        return np.linalg.qr(found.T)[0].T
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _check(hierarchy: Hierarchy) -> None:
    h = hierarchy
    for name in ("rows", "d_in", "concepts", "parents", "children", "k", "terms"):
        if getattr(h, name) < 1:
            raise UserError(f"planted hierarchy: {name.replace('_', '-')} {getattr(h, name)} must be at least 1")
    if h.k > h.concepts or h.parents > h.concepts:
        what = f"k {h.k}" if h.k > h.concepts else f"parents {h.parents}"
        raise UserError(f"planted hierarchy: {what} must not be more than the {h.concepts} concepts")
    if h.rows <= h.terms:
        raise UserError(f"planted hierarchy: {h.rows} rows are one group of {h.terms}, which can't be split")
    if not 0 < h.child_rate < 1:
        raise UserError(f"planted hierarchy: child-rate {h.child_rate} must lie between 0 and 1")
    for name in ("noise", "exponent"):
        if not 0 <= getattr(h, name) < float("inf"):
            raise UserError(f"planted hierarchy: {name} {getattr(h, name)} must be a number from 0 on")
    directions = h.concepts + h.parents * h.children
    if not h.superposition and directions > h.d_in:
        raise UserError(
            f"planted hierarchy: {directions} directions can't be at right angles in {h.d_in} dimensions: take "
            "--superposition, a larger --d-in, or fewer concepts or children"
        )
