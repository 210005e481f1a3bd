"""The most alike pairs from float32 products in tiles, and what is near them again in float64: exact, and fast.

A product of n numbers in float32 is wrong by at most γ Σ|v_i v_j|, γ = (n + 8) 2^-24, in whatever order it is summed.
With it every similarity has a lower and an upper bound. The `keep`-th largest lower bound so far is a lower bound of
the `keep`-th largest similarity: pairs whose upper bound reaches it are candidates, the others are done with.
Candidates' similarities are summed in float64, and the largest of those are the answer. (Similarities below 1e-30 may
be taken for 0.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from sae.common.threads import even, over_ranges
from sae.objectives.packed_codes import HEIGHT, WIDTH, PackedCodes, aligned, tile_products

_MATH = {"reassoc", "contract", "nsz", "arcp"}
ROWS = 32  # of a block whose features stand one after another in the cache
#: Products of features i in first..last with features j from `begin` on, float32 [last - first, n], and `begin`.
Tile = tuple[int, int, Callable[[np.ndarray], tuple[np.ndarray, int]]]


class Alike(NamedTuple):
    """The largest similarities, in their order, of equal ones the first; and moments over all pairs."""

    value: np.ndarray  # float64 [n]
    pair: np.ndarray  # int64 [n], i · d + j
    total: float
    squares: float


class Bounds(NamedTuple):
    """What similarities of products are: product - offset_i offset_j, and how wrong it may be.

    By feature, float32 [d]: `error · size_i size_j` at most, or where nothing is negative `error · (product + offset_i
    offset_j)`.
    """

    offset: np.ndarray
    size: np.ndarray
    error: float
    positive: bool


def panel_tiles(codes: PackedCodes, d: int) -> list[Tile]:
    """Of products with a panel; every pair of features i < j is in one."""

    def tile(panel: int, first: int, last: int) -> Tile:
        def products(space: np.ndarray) -> tuple[np.ndarray, int]:
            tile_products(first, last, panel, codes, space)
            return space[: last - first, : min(WIDTH, d - panel * WIDTH)], panel * WIDTH

        return first, last, products

    places = [(panel, min(d, (panel + 1) * WIDTH)) for panel in range(len(codes.panels))]
    return [tile(panel, a, min(end, a + HEIGHT)) for panel, end in places for a in range(0, end, HEIGHT)]


def dense_tiles(vectors: torch.Tensor, rows: int) -> list[Tile]:
    """Of dense products of vectors [d, n] in blocks of rows."""
    d = len(vectors)

    def tile(first: int, last: int) -> Tile:
        return first, last, lambda space: ((vectors[first:last] @ vectors[first:].T).numpy(), first)

    return [tile(a, min(d, a + rows)) for a in range(0, d, rows)]


def search(
    tiles: list[Tile],
    bounds: Bounds,
    exact: Callable[[np.ndarray], np.ndarray],
    keep: int,
    magnitude: bool,
    lowest: float,
) -> Alike:
    """The `keep` largest similarities above `lowest` of the pairs in tiles.

    Args:
        exact: similarities, float64 [n], of pairs int64 [n].
        magnitude: whether their absolute values are compared, and returned.
    """
    moments = np.zeros((len(tiles), 2))

    def part(_: int, a: int, b: int) -> _Candidates:
        found = _Candidates(keep, lowest, magnitude, exact)
        space = aligned(HEIGHT, WIDTH)
        for number in range(a, b):
            first, last, products = tiles[number]
            values, begin = products(space)
            moments[number] = found.add(first, last, begin, values, bounds)
        return found

    parts = over_ranges(part, even(len(tiles)))
    every = parts[0]
    for other in parts[1:]:
        every.join(other)
    value, pair = every.largest()
    order = np.lexsort((pair, -value))
    return Alike(value[order], pair[order], float(moments[:, 0].sum()), float(moments[:, 1].sum()))


class _Candidates:
    """Pairs that may be among the `keep` largest, with bounds of their similarities."""

    def __init__(self, keep: int, lowest: float, magnitude: bool, exact: Callable[[np.ndarray], np.ndarray]) -> None:
        self.keep, self.lowest, self.magnitude, self.exact = keep, lowest, magnitude, exact
        self.beyond = lowest  # upper bounds are above it
        self.low, self.high, self.pair = np.empty(4 * keep), np.empty(4 * keep), np.empty(4 * keep, np.int64)
        self.n = 0

    def add(self, first: int, last: int, begin: int, products: np.ndarray, bounds: Bounds) -> tuple[float, float]:
        """Pairs of the features first..last with later ones from `begin` on; the sum of their similarities, and of
        their squares.
        """
        self._make_room(products.size)
        held = (self.beyond, self.low, self.high, self.pair, self.n)
        self.n, total, squares = _collect(first, last, begin, products, *bounds, self.magnitude, *held)
        self._reduce()
        return total, squares

    def join(self, other: _Candidates) -> None:
        self._make_room(other.n)
        for mine, theirs in ((self.low, other.low), (self.high, other.high), (self.pair, other.pair)):
            mine[self.n : self.n + other.n] = theirs[: other.n]
        self.n += other.n
        self.beyond = max(self.beyond, other.beyond)
        self._reduce()

    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Similarities float64 and pairs, of equal ones the first."""
        if self.n > self.keep:
            self._raise()
        pair = self.pair[: self.n]
        value = self.exact(pair)
        value = np.abs(value) if self.magnitude else value
        above = value > self.lowest
        value, pair = value[above], pair[above]
        if len(value) > self.keep:
            order = np.lexsort((pair, -value))[: self.keep]
            value, pair = value[order], pair[order]
        return value, pair

    def _make_room(self, more: int) -> None:
        if self.n + more > len(self.low):
            size = max(2 * len(self.low), self.n + more)
            self.low, self.high, self.pair = (self._longer(a, size) for a in (self.low, self.high, self.pair))

    def _longer(self, values: np.ndarray, size: int) -> np.ndarray:
        longer = np.empty(size, values.dtype)
        longer[: self.n] = values[: self.n]
        return longer

    def _reduce(self) -> None:
        if self.n > 2 * self.keep:
            self._raise()
            if self.n > 4 * self.keep + 1000:  # too many that are as good as equal
                value, pair = self.largest()
                self.n = len(value)
                self.low[: self.n], self.high[: self.n], self.pair[: self.n] = value, value, pair
                if self.n == self.keep:
                    self.beyond = max(self.beyond, np.nextafter(value.min(), -np.inf))

    def _raise(self) -> None:
        """Leave out what is certainly below the `keep` largest."""
        low = self.low[: self.n]
        smallest = np.partition(low, self.n - self.keep)[self.n - self.keep]
        self.beyond = max(self.beyond, float(np.nextafter(smallest, -np.inf)))
        self.n = _leave_out(self.low, self.high, self.pair, self.n, self.beyond)


@njit(cache=True, nogil=True)
def _leave_out(low, high, pair, n, beyond):
    kept = 0
    for m in range(n):
        low[kept], high[kept], pair[kept] = low[m], high[m], pair[m]
        kept += np.int64(high[m] > beyond)  # type: ignore[assignment]
    return kept


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _collect(first, last, begin, products, offset, size, error, positive, magnitude, beyond, low, high, pair, n):
    d = len(offset)
    wide = products.shape[1]
    upper, value = np.empty(wide, np.float32), np.empty(wide, np.float32)
    limit = np.float32(beyond)
    if limit > beyond:
        limit = np.nextafter(limit, np.float32(-np.inf))
    share = np.float32(error)
    every, every_square = 0.0, 0.0
    for i in range(first, last):
        after = max(0, i + 1 - begin)
        count = wide - after
        if count <= 0:
            continue
        given, other, length = products[i - first, after:], offset[begin + after :], size[begin + after :]
        total, squares, hits = np.float32(0), np.float32(0), 0
        own, own_size = offset[i], share * size[i]
        for t in range(count):
            moved = own * other[t]
            c = given[t] - moved
            wrong = share * (given[t] + moved) if positive else own_size * length[t]
            total += c
            squares += c * c
            c = abs(c) if magnitude else c
            value[t] = c
            upper[t] = c + wrong
            hits += np.int32(c + wrong > limit)  # type: ignore[assignment]
        every += total  # type: ignore[assignment]
        every_square += squares  # type: ignore[assignment]
        if hits == 0:
            continue
        for t in range(count):
            if upper[t] > limit:
                low[n] = 2.0 * value[t] - upper[t]
                high[n] = upper[t]
                pair[n] = i * d + begin + after + t
                n += 1
    return n, every, every_square


def exact_products(rows: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Sums over n of products of two columns of rows [n, d], float64, of pairs i · d + j."""
    d = rows.shape[1]
    order = np.argsort(pair)
    first, second = np.divmod(pair[order], d)
    bounds = even(len(pair))
    found = np.empty(len(pair))
    parts = over_ranges(lambda _, a, b: _exact(rows, *_numbered(first[a:b], second[a:b])), bounds)
    found[order] = np.concatenate(parts)
    return found


def _numbered(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The features of pairs, each once, and where those of each pair are among them."""
    features, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    places = places.astype(np.uint64)
    return features.astype(np.uint64), places[: len(first)], places[len(first) :]


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _exact(rows, features, first, second):
    n = len(rows)
    total = np.zeros(len(first))
    block = np.zeros((len(features), ROWS))
    for begin in range(0, n, ROWS):
        count = min(ROWS, n - begin)
        if count < ROWS:
            block[:] = 0
        for a in range(len(features)):
            column, kept = rows[begin : begin + count, features[a]], block[a]
            for r in range(count):
                kept[r] = column[r]
        for p in range(len(first)):
            x, y = block[first[p]], block[second[p]]
            s = 0.0
            for r in range(ROWS):
                s += x[r] * y[r]
            total[p] += s
    return total
