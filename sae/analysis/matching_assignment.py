"""The one-to-one assignment of the largest total similarity, exact without a dense table of costs, and with a proof.

The Hungarian method on a dense n x m table takes n^3 steps. Almost all of the table never matters: here the assignment
is solved on each row's largest similarities, and what was left out is then priced. With prices v >= 0 of columns and
u_i = max(0, max_j (s_ij - v_j)) over all columns, no assignment has a total above sum(u) + sum(v) (weak duality of the
assignment problem; Kuhn 1955). Rows where something that was left out might be worth more get it, and it is solved
again, until bound and total meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sae.common.progress import Silent

if TYPE_CHECKING:
    from sae.analysis.matching_blocks import Similarities
    from sae.common.progress import Progress

CANDIDATES = 32
ROUNDS = 30
TOLERANCE = 1e-7  # of the gap, per row: float32 similarities have no more
_BLOCK_ENTRIES = 16_000_000  # similarities held at once: 64 MB
_RELAXATIONS = 20_000


@dataclass(frozen=True)
class Assignment:
    """`partner` int64 [n]: the column of each row, -1 where it stays alone. `total`: the sum of their similarities.

    `gap`: how far below the best possible total it can be at most, proven; 0 up to rounding where it is the optimum.
    `best`, `best_value` [n]: each row's most similar column; `column_best`, `column_best_value` [m] likewise.
    """

    partner: np.ndarray
    total: float
    gap: float
    best: np.ndarray
    best_value: np.ndarray
    column_best: np.ndarray
    column_best_value: np.ndarray


@dataclass(frozen=True)
class _Scan:
    line: np.ndarray
    column: np.ndarray
    value: np.ndarray
    left_out: np.ndarray  # [n]: no similarity of the row that is not among the edges is above this
    best: np.ndarray
    best_value: np.ndarray
    column_best: np.ndarray
    column_best_value: np.ndarray


def assign(similar: Similarities, candidates: int = CANDIDATES, progress: Progress | None = None) -> Assignment:
    """Match rows [n] to columns [m] one to one so that the sum of similarities is largest; none at 0 or below.

    Args:
        candidates: how many of each row's largest similarities are offered at first.
    """
    progress = progress or Silent()
    found = _scan(similar, candidates, progress)
    n, m = similar.shape
    line, column, value, left_out = found.line, found.column, found.value, found.left_out
    partner, total, gap = np.full(n, -1, np.int64), 0.0, 0.0
    for _ in range(ROUNDS if n and m else 0):
        progress.update(n, n, "Assigning one to one")
        partner = _solve(line, column, value, n, m)
        own = _own_values(line, column, value, partner, n, m)
        total = float(own.sum())
        v = _prices(line, column, value, partner, own, m)
        u = np.zeros(n)
        np.maximum.at(u, line, value - v[column])
        suspects = np.flatnonzero(left_out > u + v.min() + 1e-12)
        more = _priced(similar, suspects, u, v, candidates)
        gap = max(float(more.raised.sum() + u.sum() + v.sum() - total), 0.0)
        if gap <= TOLERANCE * n or not len(more.line):
            break
        key = np.concatenate([line, more.line]) * m + np.concatenate([column, more.column])
        key, first = np.unique(key, return_index=True)
        line, column, value = key // m, key % m, np.concatenate([value, more.value])[first]
    return Assignment(
        partner, total, gap, found.best, found.best_value, found.column_best, found.column_best_value
    )  # fmt: skip


def _scan(similar: Similarities, candidates: int, progress: Progress) -> _Scan:
    """Each row's largest similarities and each column's largest one, in one pass over blocks of rows."""
    n, m = similar.shape
    best, column_best = np.full(n, -1, np.int64), np.full(m, -1, np.int64)
    best_value, column_best_value = np.full(n, -np.inf), np.full(m, -np.inf)
    left_out = np.full(n, -np.inf)
    edges: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = max(1, _BLOCK_ENTRIES // max(m, 1))
    for start in range(0, n if m else 0, step):
        which = np.arange(start, min(start + step, n))
        block = similar.rows(which)
        best[which] = block.argmax(axis=1)
        best_value[which] = block[np.arange(len(which)), best[which]]
        top = block.argmax(axis=0)
        largest = block[top, np.arange(m)]
        better = largest > column_best_value
        column_best[better], column_best_value[better] = which[top[better]], largest[better]
        if m > candidates:
            least = np.partition(block, m - candidates, axis=1)[:, m - candidates]
            left_out[which] = least
        else:
            least = np.full(len(which), -np.inf, np.float32)
        here, there = np.nonzero((block >= least[:, None]) & (block > 0))
        edges.append((which[here], there.astype(np.int64), block[here, there]))
        progress.update(min(start + step, n), n, "Comparing features")
    strong = np.flatnonzero(column_best_value > 0)
    edges.append((column_best[strong], strong, column_best_value[strong].astype(np.float32)))
    line, column, value = (np.concatenate([part[at] for part in edges]) for at in range(3))
    key, first = np.unique(line * max(m, 1) + column, return_index=True)
    return _Scan(
        key // max(m, 1), key % max(m, 1), value[first].astype(np.float64), left_out,
        best, best_value, column_best, column_best_value,
    )  # fmt: skip


def _solve(line: np.ndarray, column: np.ndarray, value: np.ndarray, n: int, m: int) -> np.ndarray:
    """int64 [n]: the best assignment on these edges, -1 for a row that is better alone."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    # A column of its own for each row, at the cost of similarity 0: then there always is a full matching.
    alone = np.arange(n)
    costs = np.concatenate([2.0 - value, np.full(n, 2.0)])
    places = (np.concatenate([line, alone]), np.concatenate([column, m + alone]))
    chosen = min_weight_full_bipartite_matching(csr_matrix((costs, places), shape=(n, m + n)))[1]
    return np.where(chosen < m, chosen, -1).astype(np.int64)


def _own_values(
    line: np.ndarray, column: np.ndarray, value: np.ndarray, partner: np.ndarray, n: int, m: int
) -> np.ndarray:
    own = np.zeros(n)
    taken = partner[line] == column
    own[line[taken]] = value[taken]
    return own


def _prices(
    line: np.ndarray, column: np.ndarray, value: np.ndarray, partner: np.ndarray, own: np.ndarray, m: int
) -> np.ndarray:
    """float64 [m]: the least prices at which every row is content with its partner, as longest paths by relaxation.

    Any prices that come out give a valid bound; those of an optimal assignment give one that is met.
    """
    order = np.argsort(column, kind="stable")
    line, column, gain = line[order], column[order], (value - own[line])[order]
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    columns = column[starts]
    v = np.zeros(m)
    together = partner >= 0
    for _ in range(_RELAXATIONS if len(starts) else 0):
        paid = np.where(together, v[partner], 0.0)
        asked = np.maximum.reduceat(paid[line] + gain, starts)
        raised = asked > v[columns] + 1e-13
        if not raised.any():
            break
        v[columns[raised]] = asked[raised]
    return v


@dataclass(frozen=True)
class _Priced:
    line: np.ndarray
    column: np.ndarray
    value: np.ndarray
    raised: np.ndarray  # by how much the u of each suspect has to rise


def _priced(similar: Similarities, suspects: np.ndarray, u: np.ndarray, v: np.ndarray, most: int) -> _Priced:
    """What was left out and is worth more than its row has: at most `most` a row, the best first."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    raised = np.zeros(len(suspects))
    step = max(1, _BLOCK_ENTRIES // max(len(v), 1))
    for start in range(0, len(suspects), step):
        which = suspects[start : start + step]
        block = similar.rows(which)
        profit = block - v
        raised[start : start + step] = np.maximum(profit.max(axis=1) - u[which], 0.0)
        least = u[which] + 1e-12
        if profit.shape[1] > most:
            at = profit.shape[1] - most
            least = np.maximum(least, np.nextafter(np.partition(profit, at, axis=1)[:, at], -np.inf))
        here, there = np.nonzero(profit > least[:, None])
        found.append((which[here], there.astype(np.int64), block[here, there].astype(np.float64)))
    if not found:
        nothing = np.empty(0, np.int64)
        return _Priced(nothing, nothing, np.empty(0), raised)
    line, column, value = (np.concatenate([part[at] for part in found]) for at in range(3))
    return _Priced(line, column, value, raised)
