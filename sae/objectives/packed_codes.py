"""Products of features with features where codes are not negative and many of them are 0, in tiles of a Gram matrix.

Of the two features of a pair one is taken compressed, as the rows on which it is active, the other dense: a tile's row
is a sum of pieces of rows of the codes, as many as its feature has active entries. That is a multiplication for each of
them in place of one for each row of the batch, and still whole vectors at a time, which a product that skips the zeros
of both features can't have.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.core.base import BaseContext
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

LANES = 16  # of the vectors that the loop is written in; a machine with shorter ones takes several for each
# Features side by side in a tile: sums that fit into the registers of a machine with 32 or with 16 of them.
WIDTH = 256 if get_host_cpu_features().get("avx512f", False) else 64
HEIGHT = 512  # compressed features of a tile at most: its sums stay in the second cache
NEAR = 2**13  # float32 numbers of the dense side that stay in the first cache


class PackedCodes(NamedTuple):
    """Scaled codes [B, d]: dense in panels of WIDTH, and compressed by blocks of rows."""

    panels: np.ndarray  # float32 [panels, B, WIDTH], 0 beyond the last feature
    block: int  # rows of a block
    start: np.ndarray  # int64 [blocks, d + 1], where a feature's entries of a block begin
    rows: np.ndarray  # int32 [active entries], from the beginning of the block, ascending
    values: np.ndarray  # float32 [active entries]


def packed(codes: np.ndarray, scale: np.ndarray, active: np.ndarray) -> PackedCodes:
    """Of codes [B, d], float32, contiguous; scale float64 [d]; active int64 [d], how many entries are not 0."""
    n, d = codes.shape
    panels = aligned(-(-d // WIDTH), n, WIDTH)
    _pack(codes, scale.astype(np.float32), panels)
    # Enough rows that a feature's sums are worth loading and storing for what it has in them.
    density = active.sum() / max(1, n * d)
    block = max(1, min(n, int(NEAR * 0.75 / WIDTH * max(1.0, 0.25 / max(density, 1e-6)))))
    start = np.empty((-(-n // block), d + 1), np.int64)
    total = int(active.sum())
    rows, values = np.empty(total + 1, np.int32), np.empty(total + 1, np.float32)
    _compress(panels, block, start, rows, values)
    return PackedCodes(panels, block, start, rows, values)


def aligned(*shape: int) -> np.ndarray:
    """Uninitialised float32 numbers at the beginning of a line of the cache: vectors across two take twice as long."""
    return torch.empty(shape).numpy()


@njit(cache=True, nogil=True)
def column_sums(codes):
    """Sum and sum of squares of each feature, float64 [d], its number of active entries, int64 [d]; whether a code is
    negative or no number."""
    n, d = codes.shape
    total, squares, active = np.zeros(d), np.zeros(d), np.zeros(d, np.int64)
    wrong = 0
    for b in range(n):
        for j in range(d):
            v = codes[b, j]
            total[j] += v
            squares[j] += np.float64(v) * np.float64(v)
            active[j] += np.int64(v != 0)
            wrong += np.int64(not v >= 0)  # type: ignore[assignment]
    return total, squares, active, wrong > 0


@njit(cache=True, nogil=True)
def _pack(codes, scale, panels):
    n, d = codes.shape
    width = panels.shape[2]
    for b in range(n):
        for panel in range(panels.shape[0]):
            first = panel * width
            count = min(width, d - first)
            out, given, by = panels[panel, b], codes[b, first : first + count], scale[first : first + count]
            for t in range(count):
                out[t] = given[t] * by[t]
            for t in range(count, width):
                out[t] = 0


@njit(cache=True, nogil=True)
def _compress(panels, block, start, rows, values):
    _, n, width = panels.shape
    d = start.shape[1] - 1
    at = np.uint64(0)
    for g in range(start.shape[0]):
        first = g * block
        last = min(n, first + block)
        for i in range(d):
            start[g, i] = at
            column = panels[i // width, first:last, i % width]
            for b in range(last - first):
                # Written in any case and kept if it counts: a branch would be guessed wrong half of the time.
                v = column[b]
                values[at] = v
                rows[at] = b
                at += np.uint64(v != 0)
        start[g, d] = at


@intrinsic
def add_rows(typing_context, sums, at, values, rows, first, last, panel, begin):
    """sums[at : at + WIDTH] += Σ values[e] · panel[begin + WIDTH · rows[e] :][:WIDTH] over e in first..last, with the
    sums in registers all the while. Compilers of loops don't keep them there; hence the vectors written out.
    """
    signature = types.void(sums, types.int64, values, rows, types.int64, types.int64, panel, types.int64)

    def generate(context: BaseContext, builder: Any, signature: Any, arguments: Any) -> Any:
        def data(number: int) -> Any:
            return make_array(signature.args[number])(context, builder, arguments[number]).data

        sums, values, rows, panel = data(0), data(2), data(3), data(6)
        at, first, last, begin = arguments[1], arguments[4], arguments[5], arguments[7]
        vector, number = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)

        def place(array: Any, base: Any, offset: int) -> Any:
            pointer = builder.gep(array, [builder.add(base, ir.Constant(number, offset))])
            return builder.bitcast(pointer, vector.as_pointer())

        offsets = range(0, WIDTH, LANES)
        begun = [builder.load(place(sums, at, offset), align=4) for offset in offsets]
        entry = builder.block
        loop, after = builder.append_basic_block("rows"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
        builder.position_at_end(loop)
        e = builder.phi(number)
        kept = [builder.phi(vector) for _ in offsets]
        row = builder.sext(builder.load(builder.gep(rows, [e])), number)
        base = builder.add(begin, builder.mul(row, ir.Constant(number, WIDTH)))
        value = builder.load(builder.gep(values, [e]))
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        value = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)
        added = []
        for offset, sum_ in zip(offsets, kept, strict=True):
            taken = builder.load(place(panel, base, offset), align=4)
            added.append(builder.fadd(sum_, builder.fmul(value, taken, flags=("contract",)), flags=("contract",)))
        following = builder.add(e, ir.Constant(number, 1))
        e.add_incoming(first, entry)
        e.add_incoming(following, loop)
        for sum_, initial, new in zip(kept, begun, added, strict=True):
            sum_.add_incoming(initial, entry)
            sum_.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
        builder.position_at_end(after)
        for offset, initial, new in zip(offsets, begun, added, strict=True):
            result = builder.phi(vector)
            result.add_incoming(initial, entry)
            result.add_incoming(new, loop)
            added[offset // LANES] = result
        for offset, result in zip(offsets, added, strict=True):
            builder.store(result, place(sums, at, offset), align=4)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True, nogil=True)
def tile_products(first, last, panel, packed, sums):
    """Products of the features at the places first..last with those of a panel into sums float32 [>= last - first,
    WIDTH].
    """
    panels, block, start, rows, values = packed
    n = last - first
    width = panels.shape[2]
    flat = sums.reshape(-1)
    flat[: n * width] = 0
    dense = panels[panel].reshape(-1)
    for g in range(start.shape[0]):
        begin = g * block * width
        for i in range(n):
            a, b = start[g, first + i], start[g, first + i + 1]
            if b > a:
                add_rows(flat, i * width, values, rows, a, b, dense, begin)  # type: ignore[call-arg]
