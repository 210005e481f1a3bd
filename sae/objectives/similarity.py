"""How alike two features are: for all pairs at once without a matrix of them, with gradients for chosen pairs alone.

With F [B, d_sae] the codes of a batch, f_i a column of it, and w_i a decoder row:

- `act_cos`:     f_i · f_j / (‖f_i‖ ‖f_j‖)
- `act_pearson`: the same of f_i less its mean over the batch
- `act_dot`:     f_i · f_j, a sum over the batch
- `dec_cos`:     w_i · w_j / (‖w_i‖ ‖w_j‖)

A feature that is 0 (or, for Pearson's r, constant) on the whole batch is alike to none. Pairs are unordered, i < j.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.common.threads import over_ranges

if TYPE_CHECKING:
    from sae.objectives.pair_search import Tile
    from sae.objectives.sparse_gram import Entries

SIMILARITIES = ("act_cos", "act_pearson", "act_dot", "dec_cos")
BLOCK_ENTRIES, BLOCK_FEATURES = 2**20, 128  # similarities at once on the dense way (4 MB), or of so many features
# A product on the sparse way, with its share of the gradient, takes as long as this many of all there are on the ways
# for denser codes, which skip zeros, too (measured on one core with vectors of 512 bits: about 140 of 2,304 features
# active a row; see benchmarks/orthogonality.py).
SPARSE_PRICE = 256
FEW = 0.05  # share of all pairs: so few of them are searched for in tiles, where codes are not negative
DENSE = 0.65  # share of active entries above which a dense product is faster than one that skips half of the zeros


class Measure(NamedTuple):
    """C_ij = (f_i · f_j) scale_i scale_j - offset_i offset_j, by feature [d_sae], float64; `mean` of each feature."""

    scale: Tensor
    offset: Tensor
    mean: Tensor


class Found(NamedTuple):
    """The most alike pairs, the most alike first, of equal ones the first; and moments over all pairs."""

    first: Tensor  # int64 [n], always the smaller number
    second: Tensor  # int64 [n]
    similarity: Tensor  # float32 [n]
    total: float  # Σ C_ij over all pairs i < j
    squares: float  # Σ C_ij²
    d_sae: int
    measure: Measure
    entries: Entries | None = None  # of the codes, where they were found on the sparse way
    active: bool = False  # whether entries that are 0 get no gradient

    @property
    def pairs(self) -> int:
        return self.d_sae * (self.d_sae - 1) // 2

    @property
    def mean(self) -> float:
        return self.total / max(1, self.pairs)

    @property
    def std(self) -> float:
        """Population standard deviation over all pairs."""
        return max(0.0, self.squares / max(1, self.pairs) - self.mean**2) ** 0.5

    def head(self, n: int) -> Found:
        return self._replace(first=self.first[:n], second=self.second[:n], similarity=self.similarity[:n])


def vectors_of(kind: str, code: Tensor, W_dec: Tensor) -> Tensor:
    """What is compared, a row a feature: columns of the codes [d_sae, B], or decoder rows [d_sae, d_in]."""
    return W_dec if kind == "dec_cos" else code.T


def measure_of(kind: str, vectors: Tensor) -> Measure:
    """Of vectors [d_sae, n]."""
    v = vectors.detach()
    if kind == "act_dot":
        none = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        return Measure(none + 1, none, none)
    total = v.sum(1, dtype=torch.float64) if kind == "act_pearson" else v.new_zeros(len(v), dtype=torch.float64)
    return measure_from_sums(kind, total, torch.linalg.vector_norm(v, dim=1, dtype=torch.float64).square(), v.shape[1])


def measure_from_sums(kind: str, total: Tensor, squares: Tensor, n: int) -> Measure:
    """From each feature's sum and sum of squares over n, [d_sae], float64."""
    none = torch.zeros_like(squares)
    if kind == "act_dot":
        return Measure(none + 1, none, none)
    if kind != "act_pearson":
        return Measure(_inverse_root(squares), none, none)
    spread = squares - total * total / n
    scale = _inverse_root(torch.where(spread > 1e-9 * squares, spread, 0.0))  # constant but for rounding: no spread
    return Measure(scale, total / n**0.5 * scale, total / n)


def _inverse_root(values: Tensor) -> Tensor:
    """1 / sqrt, and 0 of 0."""
    return torch.where(values > 0, values, 1.0).rsqrt() * (values > 0)


def most_alike(kind: str, vectors: Tensor, keep: int, magnitude: bool = False, lowest: float = 0.0) -> Found:
    """The `keep` pairs with the largest similarity above `lowest`, exactly, without gradients.

    On the CPU sparse codes go through `sae.objectives.sparse_gram`. There few pairs of denser codes that are never
    negative, or of decoder rows, go through `sae.objectives.pair_search`; everything else through blocks of a dense
    product.

    Args:
        vectors: of `vectors_of`, [d_sae, n].
        magnitude: whether absolute values are compared, and returned.
    """
    from sae.objectives.sparse_gram import entries_of

    vectors = vectors.detach()
    keep = max(1, keep)
    if vectors.device.type == "cpu":
        d, n = vectors.shape
        limit = n * d * d / SPARSE_PRICE
        entries = entries_of(vectors.T.contiguous().numpy(), limit) if kind != "dec_cos" else None
        if entries is not None:
            return sparse_search(kind, entries, d, keep, magnitude, lowest)
        if keep <= FEW * d * (d - 1) / 2:
            found = tiled_search(kind, vectors, keep, magnitude, lowest)
            if found is not None:
                return found
    return dense_search(vectors, measure_of(kind, vectors), keep, magnitude, lowest)


def tiled_search(kind: str, vectors: Tensor, keep: int, magnitude: bool = False, lowest: float = 0.0) -> Found | None:
    """`most_alike` on the CPU by `sae.objectives.pair_search`; None for codes of which some are negative."""
    from sae.objectives.packed_codes import column_sums, packed
    from sae.objectives.pair_search import Bounds, dense_tiles, exact_products, panel_tiles, search

    d, n = vectors.shape
    by_row = vectors.T.numpy()
    if kind == "dec_cos":
        measure, dense = measure_of(kind, vectors), True
    else:
        by_row = np.ascontiguousarray(by_row)
        total, squared, active, negative = column_sums(by_row)
        if negative:
            return None
        measure = measure_from_sums(kind, torch.from_numpy(total), torch.from_numpy(squared), n)
        dense = active.sum() > DENSE * n * d
    scale, offset = measure.scale.numpy(), measure.offset.numpy()
    if dense:
        scaled = vectors * measure.scale[:, None].float()
        size = scaled.norm(dim=1).numpy()
        tiles: list[Tile] = dense_tiles(scaled, max(BLOCK_FEATURES, BLOCK_ENTRIES // d))
    else:
        tiles, size = panel_tiles(packed(by_row, scale, active), d), np.zeros(d, np.float32)
    error = (n + 8) * 2.0**-24 * 1.01
    bounds = Bounds(offset.astype(np.float32), size, error, kind != "dec_cos")

    def exact(pair: np.ndarray) -> np.ndarray:
        i, j = np.divmod(pair, d)
        found: np.ndarray = exact_products(by_row, pair) * (scale[i] * scale[j]) - offset[i] * offset[j]
        return found

    alike = search(tiles, bounds, exact, keep, magnitude, lowest)
    value, pair = torch.from_numpy(alike.value), torch.from_numpy(alike.pair)
    moments = (alike.total, alike.squares, d, measure)
    return Found(pair // d, pair % d, value.float(), *moments, active=kind != "dec_cos")


def sparse_search(
    kind: str, entries: Entries, d: int, keep: int, magnitude: bool = False, lowest: float = 0.0
) -> Found:
    """`most_alike` among d features from the active entries of codes."""
    from sae.objectives.sparse_gram import scan, sums

    total, squared = (torch.from_numpy(part) for part in sums(entries))
    measure = measure_from_sums(kind, total, squared, max(1, len(entries.row_start) - 1))
    scale, offset = measure.scale.numpy(), measure.offset.numpy()
    # Work of a feature: the entries that come after its own in their rows, and a look at every later feature.
    after = entries.row_start[entries.rows + 1] - entries.place
    done = np.concatenate([[0], np.cumsum(after)])[entries.feature_start] + np.cumsum(np.arange(d, -1, -1))
    bounds = np.searchsorted(done, np.linspace(done[0], done[-1], torch.get_num_threads() + 1)).astype(np.int64)
    bounds[0], bounds[-1] = 0, d
    parts = over_ranges(
        lambda _, first, last: scan(first, last, entries, scale, offset, magnitude, lowest, keep), bounds
    )
    values, pairs, totals, squares = zip(*parts, strict=True)
    value, pair = torch.from_numpy(np.concatenate(values)), torch.from_numpy(np.concatenate(pairs))
    return _ordered(value, pair, keep, sum(totals), sum(squares), measure)._replace(entries=entries, active=True)


def dense_search(vectors: Tensor, measure: Measure, keep: int, magnitude: bool, lowest: float) -> Found:
    """`most_alike` by blocks of dense products, on any device."""
    d = len(vectors)
    if bool(measure.mean.any()):
        vectors = vectors - measure.mean[:, None].float()
    vectors = vectors * measure.scale[:, None].float()
    rows = max(BLOCK_FEATURES, BLOCK_ENTRIES // d)
    value = vectors.new_empty(0, dtype=torch.float64)
    pair = torch.empty(0, dtype=torch.int64, device=vectors.device)
    # 2 Σ_{i<j} C_ij = ‖Σ_i v_i‖² - Σ_i ‖v_i‖²
    total = (vectors.sum(0).double().square().sum() - vectors.norm(dim=1).double().square().sum()) / 2
    squares = torch.zeros_like(total)
    for first in range(0, d, rows):
        block = (vectors[first : first + rows] @ vectors[first:].T).triu_(1)
        squares = squares + block.norm().double().square()
        compared = block.abs_() if magnitude else block
        i, j = (compared > lowest).nonzero(as_tuple=True)
        value = torch.cat([value, compared[i, j].double()])
        pair = torch.cat([pair, (i + first) * d + (j + first)])
        if len(value) > keep:
            value, pair = _largest(value, pair, keep)
            lowest = float(value.min())
    return _ordered(value, pair, keep, float(total), float(squares), measure)


def _largest(value: Tensor, pair: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The `keep` largest in their order, of equal ones the first."""
    smallest = value.kthvalue(len(value) - keep + 1).values if value.device.type == "cpu" else value.topk(keep)[0][-1]
    above = value > smallest
    equal = (value == smallest).nonzero()[:, 0][: keep - int(above.sum())]
    above[equal] = True
    return value[above], pair[above]


def _ordered(value: Tensor, pair: Tensor, keep: int, total: float, squares: float, measure: Measure) -> Found:
    d = len(measure.scale)
    if len(value) > keep:
        value, pair = _largest(value, pair, keep)
    value, order = value.sort(descending=True, stable=True)
    pair = pair[order]
    return Found(pair // d, pair % d, value.float(), total, squares, d, measure)


def with_gradient(kind: str, vectors: Tensor, found: Found) -> Tensor:
    """`found.similarity`, with gradients for the features of these pairs and no others; not for absolute values.

    Where `found.active`, an entry that is 0 gets none: no non-linearity passes one on there.
    """
    return _Similarity.apply(vectors, found, kind)


class _Similarity(torch.autograd.Function):
    """d C_ij / d f_i = scale_i scale_j (f_j - m_j) - C_ij scale_i² (f_i - m_i), without the second term for a dot
    product: for all pairs at once, a sparse symmetric matrix times the vectors.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, found: Found, kind: str) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.found, ctx.kind = found, kind
        return found.similarity.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (vectors,) = ctx.saved_tensors
        found: Found = ctx.found
        first, second, scale = found.first, found.second, found.measure.scale
        slope = gradients[0].double()
        across = slope * scale[first] * scale[second]
        own = torch.zeros_like(scale)
        if ctx.kind != "act_dot":
            turned = slope * found.similarity.double()
            own.index_add_(0, first, -turned).index_add_(0, second, -turned).mul_(scale * scale)
        way = _dense_product if not found.active else _active_product if found.entries is None else _sparse_product
        return way(vectors.detach(), found, across, own), None, None


def _sparse_product(vectors: Tensor, found: Found, across: Tensor, own: Tensor) -> Tensor:
    from sae.objectives.sparse_gram import times_matrix

    assert found.entries is not None
    rows, columns = torch.cat([found.first, found.second]), torch.cat([found.second, found.first])
    rows, order = rows.sort(stable=True)
    start = torch.searchsorted(rows, torch.arange(len(own) + 1))
    matrix = (start.numpy(), columns[order].numpy(), torch.cat([across, across])[order].numpy())
    codes = vectors.T.contiguous().numpy()
    result = times_matrix(codes, found.entries, *matrix, own.numpy(), found.measure.mean.numpy())
    return torch.from_numpy(result).T


def _active_product(vectors: Tensor, found: Found, across: Tensor, own: Tensor) -> Tensor:
    from sae.objectives.pair_gradient import spread

    pairs = (found.first.numpy(), found.second.numpy(), across.numpy())
    result = spread(vectors.T.contiguous().numpy(), *pairs, own.numpy(), found.measure.mean.numpy())
    return torch.from_numpy(result).T


def _dense_product(vectors: Tensor, found: Found, across: Tensor, own: Tensor) -> Tensor:
    # Features that no pair touches have no gradient: the product is taken over the others alone.
    touched, numbers = torch.cat([found.first, found.second]).unique(return_inverse=True)
    a, b = numbers.chunk(2)
    diagonal = torch.arange(len(touched), device=vectors.device)
    places = torch.stack([torch.cat([a, b, diagonal]), torch.cat([b, a, diagonal])])
    weights = torch.cat([across, across, own[touched]])
    size = (len(touched), len(touched))
    matrix = torch.sparse_coo_tensor(places, weights, size, check_invariants=False).coalesce()
    given = vectors[touched].contiguous() - found.measure.mean[touched, None].float()
    result = torch.zeros_like(vectors, memory_format=torch.contiguous_format)
    result[touched] = torch.sparse.mm(matrix.float(), given)
    return result
