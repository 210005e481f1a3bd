"""The inner loops of the search over codes. They let go of the GIL: callers run several at once.

Both keep for each query its k nearest so far, ascending by distance and then by row. A distance is num / den with
d the Hamming distance and u the size of the union: d / 1 for Hamming, d / u for Jaccard (0 / 1 where u is 0), and two
of them are compared as num * den, in whole numbers. That is exact, ties included.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Rows of a block: a place within one fits 16 bits, and its counters stay in the cache.
BLOCK = 1 << 16


@njit(cache=True, nogil=True)
def invert(indptr: np.ndarray, indices: np.ndarray, n_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """By block of rows and bit, which rows of the block have the bit.

    Returns:
        starts int64 [blocks, n_bits + 1] and places uint16 [all set bits]: block b has, of bit j, the rows
        b * BLOCK + places[starts[b, j]:starts[b, j + 1]], ascending.
    """
    n = len(indptr) - 1
    blocks = (n + BLOCK - 1) // BLOCK
    starts = np.zeros((blocks, n_bits + 1), np.int64)
    for row in range(n):
        for at in range(indptr[row], indptr[row + 1]):
            starts[row // BLOCK, np.int64(indices[at]) + 1] += 1
    before = np.int64(0)
    for block in range(blocks):
        starts[block, 0] = before
        for bit in range(n_bits):
            starts[block, bit + 1] += starts[block, bit]
        before = starts[block, n_bits]
    filled = starts.copy()
    places = np.empty(len(indices), np.uint16)
    for row in range(n):
        block = row // BLOCK
        for at in range(indptr[row], indptr[row + 1]):
            own = np.int64(indices[at])
            places[filled[block, own]] = row - block * BLOCK
            filled[block, own] += 1
    return starts, places


@njit(cache=True, nogil=True)
def _offer(nums: np.ndarray, dens: np.ndarray, rows: np.ndarray, found: int, num: np.int64, den: int, row: int) -> int:
    """Put a row into the nearest so far; it comes after all that are as near. Returns how many there are."""
    k = len(nums)
    place = min(found, k - 1)
    while place > 0 and num * dens[place - 1] < nums[place - 1] * den:
        nums[place], dens[place], rows[place] = nums[place - 1], dens[place - 1], rows[place - 1]
        place -= 1
    nums[place], dens[place], rows[place] = num, den, row
    return min(found + 1, k)


@njit(cache=True, nogil=True)
def by_lists(
    starts: np.ndarray,
    places: np.ndarray,
    sizes: np.ndarray,
    query_indptr: np.ndarray,
    query_bits: np.ndarray,
    first_block: int,
    last_block: int,
    jaccard: bool,
    counters: np.ndarray,
    nums: np.ndarray,
    dens: np.ndarray,
    rows: np.ndarray,
) -> None:
    """The nearest of some blocks, from the rows that share a bit with the query: |a & b| is counted, the rest follows.

    Args:
        starts, places: as `invert` gives them.
        sizes: int32 [n], set bits of each code.
        counters: [BLOCK], of a type that holds the largest count of a query's bits.
        nums, dens, rows: int64 [n_queries, k], filled; `rows` is -1 where there are fewer than k.
    """
    n, k = len(sizes), nums.shape[1]
    rows[:] = -1
    found = np.zeros(len(query_indptr) - 1, np.int64)
    for block in range(first_block, last_block):
        low = block * BLOCK
        length = min(BLOCK, n - low)
        for query in range(len(query_indptr) - 1):
            counters[:length] = 0
            own = query_indptr[query + 1] - query_indptr[query]
            for at in range(query_indptr[query], query_indptr[query + 1]):
                bit = np.int64(query_bits[at])
                for place in range(starts[block, bit], starts[block, bit + 1]):
                    counters[places[place]] += 1
            have = found[query]
            worst_num, worst_den = nums[query, k - 1], dens[query, k - 1]
            for at in range(length):
                common = np.int64(counters[at])
                both = own + sizes[low + at]
                num, den = both - 2 * common, max(both - common, 1) if jaccard else 1
                if have < k or num * worst_den < worst_num * den:
                    have = _offer(nums[query], dens[query], rows[query], have, num, den, low + at)
                    worst_num, worst_den = nums[query, k - 1], dens[query, k - 1]
            found[query] = have


@njit(cache=True, nogil=True)
def by_words(
    words: np.ndarray,
    sizes: np.ndarray,
    query_words: np.ndarray,
    query_sizes: np.ndarray,
    first_row: int,
    last_row: int,
    jaccard: bool,
    nums: np.ndarray,
    dens: np.ndarray,
    rows: np.ndarray,
) -> None:
    """The nearest of some rows, from the bits in which they differ from the query.

    Args:
        words: uint64 [n, w], the codes; `query_words` [n_queries, w] likewise.
        sizes: int32 [n]; `query_sizes` int64 [n_queries].
        nums, dens, rows: as in `by_lists`.
    """
    k = nums.shape[1]
    rows[:] = -1
    found = np.zeros(len(query_words), np.int64)
    for row in range(first_row, last_row):
        for query in range(len(query_words)):
            num = np.int64(0)
            for at in range(words.shape[1]):
                num += _popcount(words[row, at] ^ query_words[query, at])
            both = query_sizes[query] + sizes[row]
            den = max((both + num) // 2, 1) if jaccard else 1
            if found[query] < k or num * dens[query, k - 1] < nums[query, k - 1] * den:
                found[query] = _offer(nums[query], dens[query], rows[query], found[query], num, den, row)


@njit(cache=True, nogil=True, inline="always")
def _popcount(word: np.uint64) -> np.int64:
    # LLVM knows this form, and makes the CPU's own instruction of it.
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
