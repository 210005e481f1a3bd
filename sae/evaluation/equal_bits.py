"""What a vector's bits buy: reconstruction and nearest neighbours, of codes and of product quantisation.

On held-out rows x with reconstructions x̂, for each way of keeping a vector:

- `bits` of a vector: for a binary code the smaller of N and mean n_i ceil(log2 N), n_i its bits that are on; for values
  mean n_i (ceil(log2 N) + value bits); for product quantisation 8 m. Decoders, scales and centroids are kept once.
- `reconstruction_loss` = mean 1 - cos(x, x̂); `ev_total` = 1 - Σ‖x-x̂‖² / Σ‖x-μ‖², μ the mean of the training rows.
- `recall`: share of a row's nearest rows by cosine that are among the nearest by the code's own distance: Jaccard for
  bits (`recall_hamming` beside it), cosine of the codes for values, asymmetric cosine for product quantisation.
- `recall_decoded`: the same with the query as it is and the others decoded, which is asymmetric for all alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.evaluation import neighbours
from sae.evaluation.bootstrap import drawn_weights, interval
from sae.evaluation.product_quantisation import BITS as PQ_BITS
from sae.evaluation.product_quantisation import ProductQuantiser
from sae.evaluation.value_quantisation import BITS as VALUE_BITS
from sae.evaluation.value_quantisation import ValueQuantiser

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FLOAT_BITS = 32
RESAMPLES = 1000
MEASURES = ("reconstruction_loss", "ev_total", "recall", "recall_hamming", "recall_decoded")


@dataclass(frozen=True)
class HeldOut:
    """The rows that everything is measured on.

    Attributes:
        x: float32 [n, d_in]. train_mean: [d_in].
        queries: int [q], rows of x whose neighbours are looked for.
        nearest: int64 [q, count], by exact cosine, never the row itself.
        group: int [n], from 0: rows that intervals draw together.
    """

    x: np.ndarray
    train_mean: np.ndarray
    queries: np.ndarray
    nearest: np.ndarray
    group: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, train_mean: np.ndarray, group: np.ndarray, queries: int, count: int) -> HeldOut:
        """The first `queries` rows are looked for among all of x."""
        own = np.arange(min(queries, len(x)))
        nearest = neighbours.exact_neighbours(neighbours.cosine(x[own], x), own, count)
        return cls(x, train_mean, own, nearest, np.unique(group, return_inverse=True)[1])


@dataclass(frozen=True)
class Decoder:
    """`codes @ W_dec + b_dec`."""

    W_dec: np.ndarray
    b_dec: np.ndarray

    def __call__(self, codes: csr_matrix) -> np.ndarray:
        return np.asarray(codes @ self.W_dec + self.b_dec, np.float32)


def of_code(held: HeldOut, codes: csr_matrix, train: csr_matrix, decode: Decoder) -> list[dict[str, Any]]:
    """A line for each way of keeping the codes [n, N] of held-out rows: `bits`, or `float32` and `int8` values.

    Args:
        train: codes of training rows, from which the scales of 8-bit values are taken.
    """
    n_bits = codes.shape[1]
    index_bits = int(np.ceil(np.log2(n_bits))) if n_bits > 1 else 1
    mean_count = codes.nnz / codes.shape[0]
    # Rows with no bit on are of either kind; all values being 1 is what bits are.
    if (codes.data == 1).all() and (train.data == 1).all():
        similarity = neighbours.jaccard(codes[held.queries], codes)
        other = neighbours.hamming(codes[held.queries], codes)
        bits = min(float(n_bits), mean_count * index_bits)
        return [_line("bits", bits, held, decode(codes), similarity, other)]
    lines = []
    for method, kept, value_bits in (
        ("float32", codes, FLOAT_BITS),
        ("int8", _in_8_bits(codes, train), VALUE_BITS),
    ):
        similarity = neighbours.sparse_cosine(kept[held.queries], kept)
        lines.append(_line(method, mean_count * (index_bits + value_bits), held, decode(kept), similarity))
    return lines


def of_product_quantisation(held: HeldOut, train: np.ndarray, m: int, seed: int) -> dict[str, Any]:
    """The line of `m` sub-quantisers fitted on rows `train`."""
    fitted = ProductQuantiser.fit(train, m, seed)
    codes = fitted.encode(held.x)
    similarity = fitted.similarity(held.x[held.queries], codes)
    return _line("pq", float(fitted.bits), held, fitted.decode(codes), similarity)


def sub_quantisers(bits: float, d_in: int) -> int:
    """m such that 8 m bits come nearest to `bits`, from 1 to d_in."""
    return int(np.clip(round(bits / PQ_BITS), 1, d_in))


def _in_8_bits(codes: csr_matrix, train: csr_matrix) -> csr_matrix:
    from scipy.sparse import csr_matrix

    quantiser = ValueQuantiser.fit(train.indices, train.data, codes.shape[1])
    values = quantiser.decode(codes.indices, quantiser.encode(codes.indices, codes.data))
    return csr_matrix((values, codes.indices, codes.indptr), shape=codes.shape)


def _line(
    method: str, bits: float, held: HeldOut, guess: np.ndarray, similarity: np.ndarray, other: np.ndarray | None = None
) -> dict[str, Any]:
    """One way's numbers with their bootstrap intervals over groups, `NAME_low` and `NAME_high`."""
    x, target = held.x.astype(np.float64), guess.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(target, axis=1)
    loss = 1 - (x * target).sum(1) / np.maximum(norms, 1e-12)
    error, spread = np.square(x - target).sum(1), np.square(x - held.train_mean).sum(1)
    decoded = neighbours.cosine(held.x[held.queries], guess)
    recalls = {"recall": similarity, "recall_hamming": other, "recall_decoded": decoded}
    every = np.arange(len(x))
    ratios: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {  # numerator, denominator, rows
        "reconstruction_loss": (loss, np.ones(len(x)), every),
        "ev_total": (spread - error, spread, every),
    }
    for name, one in recalls.items():
        if one is not None:
            values = neighbours.recall(one, held.queries, held.nearest)
            ratios[name] = (values, np.ones(len(values)), held.queries)
    line: dict[str, Any] = {"method": method, "bits": bits, "n": len(x), "n_queries": len(held.queries)}
    for name in MEASURES:
        value, low, high = _ratio(held, *ratios[name]) if name in ratios else (np.nan, np.nan, np.nan)
        line |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return line


def _ratio(held: HeldOut, top: np.ndarray, bottom: np.ndarray, rows: np.ndarray) -> tuple[float, float, float]:
    """Sum over sum, and its percentile interval from drawing groups."""
    n = int(held.group.max()) + 1
    tops, bottoms = (np.bincount(held.group[rows], part, n) for part in (top, bottom))
    whole = float(tops.sum() / bottoms.sum()) if bottoms.sum() > 0 else float("nan")
    if n < 2:
        return whole, float("nan"), float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = [(weights @ tops) / (weights @ bottoms) for weights in drawn_weights(n, RESAMPLES, 0)]
    return whole, *interval(np.concatenate(draws))
