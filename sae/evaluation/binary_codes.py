"""What a sparse binary code is worth, by split, from one pass over the rows.

With n_i the bits that are on in row i (s_ij > 0.5), b_i that code, m_i the code of exactly the K strongest, dec(·) the
decoder, s_i the strengths:

- `reconstruction_loss` = mean 1 - cos(x_i, dec(b_i)), with real rounding always; `reconstruction_loss_soft` decodes
  s_i; `rounding_gap` is what rounding costs, their difference.
- `fixed_topk_reconstruction_loss` = mean 1 - cos(x_i, dec(m_i)).
- `average_activation_count` = mean n_i; `activation_count_standard_deviation` = their standard deviation (population);
  `activation_count_q25`, `_median`, `_q75`.
- `sparsity_deviation` = |mean n_i - K| / K; `sparsity_deviation_signed` without the bars; `sparsity_deviation_by_row` =
  mean |n_i - K| / K.
- `sparsity_alignment` = mean cos(s_i, m_i); `sparsity_alignment_hard` = mean |b & m| / sqrt(n_i K); `jaccard` of b and
  m.
- `mean_predictor_loss` = mean 1 - cos(x_i, μ), what predicting the training mean gives; far from 1 where rows have one.
- `bitmap_bits` = N, `index_bits` = mean n_i ceil(log2 N), `entropy_bits` = mean log2 C(N, n_i): a code's storage;
  `dense_bits` = 32 d_in; `compression` = dense_bits / the smaller of the first two.
- `code_entropy` = Σ_j H(share of rows in which bit j is on), bits.

Where an SAE's codes are values (`code="topk_values"`), the bits are those of its mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.evaluation.reconstruction import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from sae.models.binary import Binary


def row_figures(model: Binary, x: np.ndarray | Tensor, train_mean: np.ndarray, device: str = "cpu") -> dict:
    """Figures of each row [n], float64, by name: what `binary_metrics` averages; x [n, d_in] may be a memory map."""
    import torch
    from torch.nn.functional import cosine_similarity

    def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
        return 1 - cosine_similarity(a, b, dim=-1)

    model = model.to(device)
    mean = torch.as_tensor(train_mean, dtype=torch.float32, device=device)
    parts: list[dict[str, np.ndarray]] = []
    with torch.no_grad():
        for start in range(0, len(x), BATCH):
            block = x[start : start + BATCH]
            rows = torch.as_tensor(np.array(block, np.float32) if isinstance(block, np.ndarray) else block).to(device)
            pre = model.pre_activations(rows)
            strengths = torch.sigmoid(pre / model.temperature)
            bits, wanted, code = (strengths > 0.5).float(), model.topk_code(pre), model.encode(rows)
            if model.code != "threshold":
                bits = wanted
            count = bits.sum(1)
            both = (bits * wanted).sum(1)
            figures = {
                "reconstruction_loss": cosine_distance(rows, model.decode(code)),
                "reconstruction_loss_soft": cosine_distance(rows, model.decode(strengths)),
                "fixed_topk_reconstruction_loss": cosine_distance(rows, model.decode(wanted)),
                "count": count,
                "sparsity_alignment": 1 - cosine_distance(strengths, wanted),
                "sparsity_alignment_hard": both / (count * model.k).sqrt().clamp_min(1e-8),
                "jaccard": both / (count + model.k - both),
                "mean_predictor_loss": cosine_distance(rows, mean.expand_as(rows)),
            }
            parts.append({name: value.double().cpu().numpy() for name, value in figures.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def binary_metrics(figures: Mapping[str, np.ndarray], rows: np.ndarray, use: np.ndarray, model: Binary) -> dict:
    """The metrics of the module's head over `rows` (row numbers).

    Args:
        figures: of `row_figures`.
        use: rows of the split in which each feature is on, [d_sae].
    """
    from scipy.special import gammaln

    n, d_sae, k = len(rows), model.d_sae, model.k
    found = {name: float(values[rows].mean()) for name, values in figures.items() if name != "count"}
    count = figures["count"][rows]
    mean = float(count.mean())
    share = use / n
    each = np.zeros(d_sae)
    for p in (share, 1 - share):
        each -= p * np.log2(np.where(p > 0, p, 1))
    combinations = gammaln(d_sae + 1) - gammaln(count + 1) - gammaln(d_sae - count + 1)
    index_bits = mean * int(np.ceil(np.log2(d_sae))) if d_sae > 1 else mean
    quartiles = np.percentile(count, (25, 50, 75))
    return {
        **found,
        "rounding_gap": found["reconstruction_loss"] - found["reconstruction_loss_soft"],
        "average_activation_count": mean,
        "activation_count_standard_deviation": float(count.std()),
        **{f"activation_count_{name}": float(q) for name, q in zip(("q25", "median", "q75"), quartiles, strict=True)},
        "sparsity_deviation": abs(mean - k) / k,
        "sparsity_deviation_signed": (mean - k) / k,
        "sparsity_deviation_by_row": float(np.abs(count - k).mean()) / k,
        "bitmap_bits": float(d_sae),
        "index_bits": index_bits,
        "entropy_bits": float(combinations.mean() / np.log(2)),
        "dense_bits": 32.0 * model.d_in,
        "compression": 32.0 * model.d_in / max(min(index_bits, d_sae), 1e-9),
        "code_entropy": float(each.sum()),
    }
