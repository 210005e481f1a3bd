"""Feature absorption on labels with a known hierarchy: is the parent's latent silent where a child is there?

The absorption rate of a parent is P(latent off | parent and child are there). Its latent is the one of the largest F1
with the parent on one half of the groups; everything else is measured on the other half. The rate is read beside
P(off | parent there without a child): a latent that is a poor detector is off everywhere, which is not absorption.

The mean absorption fraction and the full absorption rate follow the first-letter task (Chanin et al. 2024; SAEBench
0.6.0), with the parent's direction in place of its probe: what part of a unit's projection on that direction comes
from latents that are not the parent's own (`scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sae.evaluation.probing.absorption_scores import scores
from sae.evaluation.probing.logistic import chosen_fit

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csc_matrix, csr_matrix

F1_GAIN = 0.03
MOST_SPLITS = 10


@dataclass(frozen=True, eq=False)
class Units:
    """What absorption is measured on.

    Attributes:
        codes: CSR [n, d_sae], a latent is on where it is not 0.
        x: [n, d_in]. W_dec: [d_sae, d_in]. b_dec: [d_in].
        having: bool CSC [n, n_labels]. names: of the labels.
        group: int [n]. first, second: bool [n], the half that is chosen on and the half that is measured on.
    """

    codes: csr_matrix
    x: np.ndarray
    W_dec: np.ndarray
    b_dec: np.ndarray
    having: csc_matrix
    names: Sequence[str]
    group: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def has(self, label: int) -> np.ndarray:
        """bool [n]."""
        found = np.zeros(self.having.shape[0], bool)
        found[self.having.indices[self.having.indptr[label] : self.having.indptr[label + 1]]] = True
        return found


@dataclass(frozen=True)
class Absorption:
    """What was found.

    Attributes:
        parents: a line a parent (`absorption`). pairs: a line a parent and child.
        sums: counts by group [n_groups, n_parents] for the bootstrap, by name.
    """

    parents: pd.DataFrame
    pairs: pd.DataFrame
    sums: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Direction:
    """A parent in the activations.

    Attributes:
        u: [d_in], of any length.
        score: [n], positive where the parent is seen in x.
        known: whether it is the planted one, or the weights of a probe.
    """

    u: np.ndarray
    score: np.ndarray
    known: bool


def absorption(
    units: Units,
    children: dict[int, list[int]],
    directions: dict[int, Direction],
    *,
    random_features: int = 20,
    seed: int = 0,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Absorption:
    """Every parent's latent, absorption, and latents that share it.

    Args:
        children: labels below each parent.
        directions: of every parent (`direction_of`), the same for all SAEs.
        random_features: how many living latents, drawn with the seed, take the parent latent's place for the null.

    Returns:
        `parents` has: parent, n_children, n (units of the second half with the parent and a child), n_alone (with the
        parent alone), latent (-1 where none ever fires with the parent), discovery_f1, f1, precision, recall,
        absorption_rate, off_rate_alone, absorption_rate_random, num_split_features, split_features,
        num_latents_with_children (as many, had latents of children been counted), union_f1, direction (`known` or
        `probe`), probe_f1, num_probe_true_positives, mean_absorption_fraction, full_absorption_rate, both again with
        `_saebench` (projections of x rather than x - b_dec, contributions act * cosine) and with `_random`.
        `pairs` has: parent, child, n, latent, absorption_rate, child_latent, child_f1, child_cosine (of its decoder
        row to the parent's direction).
    """
    import pandas as pd

    on = units.codes.copy()
    on.data = np.ones(len(on.data), np.int32)
    turned = on.T.tocsr()
    living = np.flatnonzero(np.diff(turned.indptr) > 0)
    generator = np.random.default_rng(seed)
    lines, pairs = [], []
    n_groups = int(units.group.max()) + 1
    names = ("n", "off", "n_alone", "off_alone", "true", "fraction", "full")
    sums = {name: np.zeros((n_groups, len(children))) for name in names}
    n_on = turned @ units.first.astype(np.int64)
    for number, (parent, below) in enumerate(children.items()):
        watch(number, len(children))
        there = units.has(parent)
        kinds = np.array([units.has(child) for child in below])
        with_child = there & kinds.any(axis=0)
        f1 = _f1(turned, n_on, there & units.first)
        by_child = np.array([_f1(turned, n_on, kind & units.first) for kind in kinds])
        latent = int(f1.argmax()) if f1.max(initial=0.0) > 0 else -1
        fires = _fires(turned, latent)
        rows = {"n": with_child & units.second, "n_alone": there & ~with_child & units.second}
        off = {name: mask & ~fires for name, mask in rows.items()}
        childs = _of_a_child(turned, there & units.first, kinds & units.first)
        splits = _splits(turned, there & units.first, units.first, latent, ~childs)
        every = _splits(turned, there & units.first, units.first, latent, np.ones(len(f1), bool))
        any_on = np.zeros(len(there), bool)
        for one in splits:
            any_on |= _fires(turned, one)
        direction, probe = directions[parent].u, directions[parent].score
        null = generator.choice(living, min(random_features, len(living)), replace=False)
        at = np.flatnonzero(rows["n"] & (probe > 0))
        parts = scores(units, at, direction, splits, [np.array([one]) for one in null])
        for name, mask in (*rows.items(), ("off", off["n"]), ("off_alone", off["n_alone"])):
            sums[name][:, number] = np.bincount(units.group[mask], minlength=n_groups)
        for name, values in (("true", np.ones(len(at))), ("fraction", parts["fraction"]), ("full", parts["full"])):
            sums[name][:, number] = np.bincount(units.group[at], values, minlength=n_groups)
        held = there & units.second
        random_off = [
            float((~_fires(turned, int(one)))[rows["n"]].mean()) if rows["n"].any() else np.nan for one in null
        ]
        lines.append(
            {
                "parent": units.names[parent],
                "n_children": len(below),
                "n": int(rows["n"].sum()),
                "n_alone": int(rows["n_alone"].sum()),
                "latent": latent,
                "discovery_f1": float(f1[latent]) if latent >= 0 else np.nan,
                **_agreement(fires & units.second, held),
                "absorption_rate": _mean(off["n"], rows["n"]) if latent >= 0 else np.nan,
                "off_rate_alone": _mean(off["n_alone"], rows["n_alone"]) if latent >= 0 else np.nan,
                "absorption_rate_random": float(np.mean(random_off)) if random_off else np.nan,
                "num_split_features": len(splits),
                "split_features": " ".join(map(str, splits)),
                "num_latents_with_children": len(every),
                "union_f1": _agreement(any_on & units.second, held)["f1"],
                "direction": "known" if directions[parent].known else "probe",
                "probe_f1": _agreement((probe > 0) & units.second, held)["f1"],
                "num_probe_true_positives": len(at),
                **{
                    f"{name}{behind}": float(np.mean(parts[f"{key}{behind}"])) if len(at) else np.nan
                    for name, key in (("mean_absorption_fraction", "fraction"), ("full_absorption_rate", "full"))
                    for behind in ("", "_saebench", "_random")
                },
            }
        )
        child_latent = by_child.argmax(axis=1)
        length = np.linalg.norm(direction)
        for place, child in enumerate(below):
            mask = there & kinds[place] & units.second
            one = int(child_latent[place])
            row = units.W_dec[one]
            pairs.append(
                {
                    "parent": units.names[parent],
                    "child": units.names[child],
                    "n": int(mask.sum()),
                    "latent": latent,
                    "absorption_rate": _mean(mask & ~fires, mask) if latent >= 0 else np.nan,
                    "child_latent": one,
                    "child_f1": float(by_child[place, one]),
                    "child_cosine": float(row @ direction / max(float(np.linalg.norm(row) * length), 1e-12)),
                }
            )
    watch(len(children), len(children))
    return Absorption(pd.DataFrame(lines), pd.DataFrame(pairs), sums)


def _f1(turned: csr_matrix, n_on: np.ndarray, label: np.ndarray) -> np.ndarray:
    """[d_sae]: F1 of every latent with a label, on the rows that `n_on` was counted on."""
    return 2 * (turned @ label.astype(np.int64)) / np.maximum(n_on + label.sum(), 1)


def _fires(turned: csr_matrix, latent: int) -> np.ndarray:
    """bool [n]; a latent of -1 never fires."""
    found = np.zeros(turned.shape[1], bool)
    if latent >= 0:
        found[turned.indices[turned.indptr[latent] : turned.indptr[latent + 1]]] = True
    return found


def _of_a_child(turned: csr_matrix, there: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """bool [d_sae]: whether a latent stands for a child rather than for a part of the parent.

    It does if, of the parent's units that it fires on, the share with the child is at least half way from the child's
    share of all the parent's units to 1.
    """
    with_parent = turned @ there.astype(np.int64)
    found = np.zeros(len(with_parent), bool)
    for kind in kinds:
        base = kind.sum() / max(there.sum(), 1)
        share = (turned @ kind.astype(np.int64)) / np.maximum(with_parent, 1)
        found |= share >= (1 + base) / 2
    return found


def _splits(turned: csr_matrix, label: np.ndarray, among: np.ndarray, first: int, allowed: np.ndarray) -> list[int]:
    """Latents that together detect the label (any of them on), `first` to begin with.

    One more is added as long as the best adds 0.03 to F1, ten at most. F1 of each union is exact: what a latent adds is
    counted on the rows that no chosen one covers.
    """
    if first < 0:
        return []
    chosen = [first]
    covered = _fires(turned, first)
    best = _agreement(covered & among, label)["f1"]
    while len(chosen) < MOST_SPLITS:
        open_rows = among & ~covered
        more_true = turned @ (open_rows & label).astype(np.int64)
        more = turned @ open_rows.astype(np.int64)
        true, n_on = int((covered & label).sum()), int((covered & among).sum())
        f1 = np.where(allowed, 2 * (true + more_true) / np.maximum(n_on + more + label.sum(), 1), -1.0)
        one = int(f1.argmax())
        if f1[one] - best < F1_GAIN:
            break
        chosen.append(one)
        covered |= _fires(turned, one)
        best = float(f1[one])
    return chosen


def direction_of(
    x: np.ndarray, there: np.ndarray, first: np.ndarray, group: np.ndarray, known: np.ndarray | None
) -> Direction:
    """Where the parent is in x: along a known direction with the threshold of the largest F1 on the first half, else by
    a logistic regression on that half.

    Args:
        x: [n, d_in]. there, first: bool [n]. group: int [n]. known: [d_in].
    """
    if known is None:
        inside = np.flatnonzero(first)
        w, _ = chosen_fit(np.asarray(x[inside], np.float64), there[inside], [inside_fold(group[inside], 0)])
        return Direction(w[:-1], x @ w[:-1] + w[-1], False)
    along = np.asarray(x @ known, np.float64)
    inside, truth = along[first], there[first]
    order = np.argsort(-inside, kind="stable")
    true = np.cumsum(truth[order])
    f1 = 2 * true / (np.arange(1, len(order) + 1) + truth.sum())
    last = int(f1.argmax())
    low = inside[order[last + 1]] if last + 1 < len(order) else inside[order[last]] - 1
    return Direction(np.asarray(known, np.float64), along - (inside[order[last]] + low) / 2, True)


def inside_fold(group: np.ndarray, number: int, folds: int = 3) -> np.ndarray:
    """bool [n]: whether a unit's group is in fold `number` of as many; the same for the same group."""
    rank = np.unique(group, return_inverse=True)[1]
    shuffled = np.random.default_rng(0).permutation(int(rank.max(initial=-1)) + 1)
    return shuffled[rank] % folds == number


def _agreement(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    true, n_found, n_true = int((found & truth).sum()), int(found.sum()), int(truth.sum())
    return {
        "f1": 2 * true / max(n_found + n_true, 1),
        "precision": true / n_found if n_found else np.nan,
        "recall": true / n_true if n_true else np.nan,
    }


def _mean(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")
