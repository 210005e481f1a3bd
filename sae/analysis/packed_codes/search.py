"""Exact nearest codes by Hamming or Jaccard distance: over inverted lists where codes are sparse, else over bitmaps."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sae.common.errors import UserError

from .codes import BinaryCodes

DISTANCES = ("hamming", "jaccard")
FORMS = ("lists", "bitmap")
# Nanoseconds, measured by benchmarks/search.py: counting one entry of a list, looking at one row's counter, comparing
# one word. They only choose between two exact ways.
_ENTRY, _ROW, _WORD = 1.2, 1.0, 0.5
_ENTRIES_AT_ONCE = 1 << 24


class CodeIndex:
    """Finds the codes nearest to a query among n, exactly.

    `lists`: for every bit the codes that have it, 2 bytes for each set bit of each code. What each code shares with the
    query is counted along the lists of the query's bits; with the two sizes that gives both distances. `bitmap`:
    8 ceil(N / 64) bytes a code, all of them compared with the query.

    Attributes:
        n, n_bits: how many codes, of how many bits.
        form: `lists` or `bitmap`.
        nbytes: memory of the index.
    """

    def __init__(self, codes: BinaryCodes, form: str | None = None) -> None:
        """
        Args:
            form: None for the one that is faster for queries like the codes themselves.

        Raises:
            UserError: if there are no codes, or for an unknown form.
        """
        if form not in (None, *FORMS):
            raise UserError(f"an index of codes is of {' or '.join(FORMS)}, not of {form!r}")
        if not len(codes):
            raise UserError("there are no codes to search among")
        self.n, self.n_bits = len(codes), codes.n_bits
        self.form = form or _faster(codes)
        self._sizes = codes.counts.astype(np.int32)
        self._arrays: tuple[np.ndarray, ...]
        if self.form == "lists":
            from .kernels import invert

            self._arrays = invert(codes.indptr, codes.indices, codes.n_bits)
        else:
            self._arrays = (_words(codes),)
        self.nbytes = self._sizes.nbytes + sum(array.nbytes for array in self._arrays)

    def search(
        self, queries: BinaryCodes, k: int = 10, distance: str = "hamming", threads: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest codes of each query; of equally near ones those that stand first.

        Args:
            distance: `hamming` (bits that differ) or `jaccard` (1 - shared bits over bits of either; 0 between two
                codes without a set bit).
            threads: None for one a core.

        Returns:
            rows int64 [n_queries, k'] and distances float64 [n_queries, k'], nearest first; k' is k or n if that is
            less.

        Raises:
            UserError: for an unknown distance, k below 1, or queries of another number of bits.
        """
        if distance not in DISTANCES:
            raise UserError(f"distance {distance!r} is not known: take {' or '.join(DISTANCES)}")
        if k < 1:
            raise UserError(f"the number of nearest codes must be at least 1, not {k}")
        if queries.n_bits != self.n_bits:
            raise UserError(f"the queries have {queries.n_bits:,} bits, the codes {self.n_bits:,}")
        k, jaccard = min(k, self.n), distance == "jaccard"
        threads = threads or os.cpu_count() or 1
        parts = _parts(len(queries), self._arrays[0].shape[0], threads)

        def work(part: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
            first, last, low, high = part
            chosen = queries if (first, last) == (0, len(queries)) else queries.take(np.arange(first, last))
            return self._nearest(chosen, low, high, k, jaccard)

        if len(parts) == 1:
            found = [work(parts[0])]
        else:
            with ThreadPoolExecutor(threads, "codes") as pool:
                found = list(pool.map(work, parts))
        rows = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k))
        for first, last in dict.fromkeys(part[:2] for part in parts):
            pieces = [piece for piece, part in zip(found, parts, strict=True) if part[:2] == (first, last)]
            rows[first:last], distances[first:last] = merged(pieces, k)
        return rows, distances

    def _nearest(
        self, queries: BinaryCodes, low: int, high: int, k: int, jaccard: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest among blocks `low` to `high` of the lists, or rows of the bitmap; row -1 where they are fewer."""
        from . import kernels

        shape = (len(queries), k)
        nums, dens, rows = np.zeros(shape, np.int64), np.ones(shape, np.int64), np.empty(shape, np.int64)
        asked: tuple[Any, ...]
        if self.form == "lists":
            most = int(queries.counts.max(initial=0))
            counters = np.empty(
                kernels.BLOCK, np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32
            )
            asked = (queries.indptr, queries.indices, low, high, jaccard, counters)
            search: Any = kernels.by_lists
        else:
            asked = (_words(queries), queries.counts, low, high, jaccard)
            search = kernels.by_words
        search(*self._arrays, self._sizes, *asked, nums, dens, rows)
        return rows, np.where(rows < 0, np.inf, nums / dens)


def merged(pieces: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of several lists of rows and distances [n_queries, any], ties to the lower row."""
    rows, distances = (np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True))
    order = np.lexsort((rows, distances), axis=-1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(distances, order, 1)


def _parts(n_queries: int, n_blocks: int, threads: int) -> list[tuple[int, int, int, int]]:
    """First and last query, first and last block (or row) of each thread's work."""
    by_query = n_queries >= threads
    total = n_queries if by_query else n_blocks
    count = max(1, min(threads, total))
    edges = [total * part // count for part in range(count + 1)]
    spans = list(zip(edges[:-1], edges[1:], strict=True))
    return [(low, high, 0, n_blocks) if by_query else (0, n_queries, low, high) for low, high in spans]


def _words(codes: BinaryCodes) -> np.ndarray:
    """uint64 [n, ceil(n_bits / 64)]; the order of the bits within a word means nothing here."""
    packed = codes.bits()
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


def _faster(codes: BinaryCodes) -> str:
    """By what a query drawn from the codes costs: it meets each bit as often as the codes have it."""
    frequency = np.zeros(codes.n_bits)
    for first in range(0, len(codes.indices), _ENTRIES_AT_ONCE):  # bincount makes 8 bytes of each
        frequency += np.bincount(codes.indices[first : first + _ENTRIES_AT_ONCE], minlength=codes.n_bits)
    entries = float((frequency**2).sum()) / len(codes)
    words = len(codes) * -(-codes.n_bits // 64)
    return "lists" if _ENTRY * entries + _ROW * len(codes) < _WORD * words else "bitmap"
