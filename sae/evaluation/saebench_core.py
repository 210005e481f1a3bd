"""The core metrics as SAEBench 0.6.0 computes them, its known faults included, for comparison with published numbers.

Definitions: SAEBench, `sae_bench/evals/core/main.py`. What is known to be wrong there, and is kept here:

- `explained_variance`: the variance that it divides by is S - (S/d)², S the mean of ‖x‖² and d the number of
  dimensions, where the squared norm of the mean belongs: nearly 1 - Σ‖e‖²/Σ‖x‖², which a constant can score high on
  (mended in SAELens, PR 665). `explained_variance_legacy` is the mean over tokens of ‖e‖² beside the token's own
  distance from its batch's mean.
- `mse`: ‖e‖² is divided by the number of tokens of the batch before its mean over tokens is taken (SAELens, PR 711).
- `relative_reconstruction_bias` is a mean over batches of ratios; `l1` sums activations with their signs;
  `feature_density` counts activations above 0 while `l0` counts all that are not 0.
- Decoder rows are expected to have unit norm. Where they have not, activations are counted in units of unit directions
  here, as `sae.formats.saebench_adapter` gives them to SAEBench.
- KL is taken of probabilities in float32: where one of the model's underflows to 0 it is not a number, written as -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.evaluation.directions import nearest_cosines
from sae.models.units import decoder_norms

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sae.models.base import SAE, SparseRows

_PER_TOKEN = ("l2_norm_in", "l2_norm_out", "l2_ratio", "l0", "l1", "explained_variance_legacy", "mse", "cossim")


class SaebenchCore:
    """Collects batches of tokens; `metrics` and `features` give what SAEBench would for these batches."""

    def __init__(self, model: SAE) -> None:
        d_sae = model.d_sae
        self._norm = decoder_norms(model)
        self._tokens = self._batches = 0
        self._sums = dict.fromkeys(_PER_TOKEN, 0.0)
        self._batch_means: list[tuple[float, float, float]] = []  # bias, mean ‖x‖², mean ‖e‖²
        self._width = 0
        self._fired = np.zeros(d_sae, np.int64)
        self._prompts = np.zeros(d_sae, np.int64)

    def add(self, x: Tensor, codes: SparseRows, guess: Tensor, prompt: np.ndarray) -> None:
        """A batch.

        Args:
            x, guess: float [n, d_in], states and reconstructions of the tokens that count.
            codes: feature activations of these tokens.
            prompt: int [n], which prompt of the batch each token belongs to.
        """
        import torch

        n, self._width = x.shape
        if not n:
            return
        norm, guess_norm = x.norm(dim=-1), guess.norm(dim=-1)
        squared_error = (x - guess).pow(2).sum(-1)
        spread = (x - x.mean(0)).pow(2).sum(-1)
        counts = codes.indptr.diff()
        rows = torch.repeat_interleave(torch.arange(n, device=x.device), counts)
        l1 = torch.zeros(n, device=x.device).index_add(0, rows, codes.values * self._norm[codes.features])
        found = {
            "l2_norm_in": norm,
            "l2_norm_out": guess_norm,
            "l2_ratio": guess_norm / torch.where(norm < 0.0001, torch.ones_like(norm), norm),
            "l0": counts,
            "l1": l1,
            "explained_variance_legacy": 1 - squared_error / spread,
            "mse": squared_error / n,
            "cossim": ((x / norm[:, None]) * (guess / guess_norm[:, None])).sum(-1),
        }
        for name, values in found.items():
            self._sums[name] += float(values.cpu().double().sum())
        bias = guess.pow(2).sum(-1).mean() / (x * guess).sum(-1).mean()
        self._batch_means.append((float(bias), float(x.pow(2).sum(-1).mean()), float(squared_error.mean())))
        self._tokens += n
        self._batches += 1
        self._count(codes, rows, prompt)

    def _count(self, codes: SparseRows, rows: Tensor, prompt: np.ndarray) -> None:
        positive = (codes.values > 0).cpu().numpy()
        features = codes.features.cpu().numpy()[positive]
        prompts = prompt[rows.cpu().numpy()[positive]].astype(np.int64)
        d_sae = len(self._fired)
        self._fired += np.bincount(features, minlength=d_sae)
        pairs = np.unique(prompts * d_sae + features)
        self._prompts += np.bincount(pairs % d_sae, minlength=d_sae)

    def metrics(self) -> dict[str, float]:
        """`explained_variance`, `mse`, `l0`, ... over all batches; NaN where there is no token."""
        n = self._tokens or float("nan")
        bias, square, error = np.mean(self._batch_means, axis=0) if self._batch_means else (float("nan"),) * 3
        variance = square - (square / self._width) ** 2 if self._width else float("nan")
        return {
            **{name: total / n for name, total in self._sums.items()},
            "explained_variance": float(1 - error / variance),
            "relative_reconstruction_bias": float(bias),
        }

    def features(self, model: SAE) -> dict[str, np.ndarray]:
        """What SAEBench says of each feature, float64 [d_sae] each, by its names; NaN for what never fired."""
        with np.errstate(invalid="ignore", divide="ignore"):
            fired = {
                "feature_density": self._fired / self._tokens,
                "consistent_activation_heuristic": self._fired / self._prompts,
            }
        return fired | of_weights(model)


def of_weights(model: SAE) -> dict[str, np.ndarray]:
    """`encoder_bias`, `encoder_norm` and cosines of each feature, float64 [d_sae]."""
    import torch

    with torch.no_grad():
        norm = decoder_norms(model)
        encoder, decoder = model.W_enc.T * norm[:, None], model.W_dec
        found = {
            "encoder_bias": model.b_enc * norm,
            "encoder_norm": encoder.norm(dim=1),
            "encoder_decoder_cosine_sim": torch.nn.functional.cosine_similarity(
                encoder / encoder.norm(dim=1, keepdim=True), decoder / decoder.norm(dim=1, keepdim=True)
            ),
            "max_encoder_cosine_sim": nearest_cosines(encoder),
            "max_decoder_cosine_sim": nearest_cosines(decoder),
        }
        return {name: values.double().cpu().numpy() for name, values in found.items()}


def misc_metrics(features: dict[str, np.ndarray]) -> dict[str, float]:
    """Shares of features by how often they fire, and mean largest cosines, from what `features` gives."""
    density = features["feature_density"]
    total = density.sum()

    def carried(least: float) -> float:
        return float(density[density > least].sum() / total) if total > 0 else 0.0

    return {
        "freq_over_1_percent": float((density > 0.01).mean()),
        "freq_over_10_percent": float((density > 0.1).mean()),
        "normalized_freq_over_1_percent": carried(0.01),
        "normalized_freq_over_10_percent": carried(0.1),
        "average_max_encoder_cosine_sim": float(features["max_encoder_cosine_sim"].mean()),
        "average_max_decoder_cosine_sim": float(features["max_decoder_cosine_sim"].mean()),
        "frac_alive": float((density > 0).mean()),
    }


def kl_of_probabilities(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Σ p (log p - log q) as SAEBench takes it, over the last dimension: NaN where a p underflows to 0."""
    p = log_p.exp()
    return (p * (p.log() - log_q.exp().log())).sum(-1)


def scores(kl: dict[str, float], ce: dict[str, float]) -> dict[str, float]:
    """KL and CE scores and what they are made of.

    Args:
        kl: mean KL with the `sae`'s reconstruction and with zeros (`ablation`).
        ce: mean cross-entropy so, and as the model is (`clean`).
    """
    found = {
        "kl_div_with_ablation": kl["ablation"],
        "kl_div_with_sae": kl["sae"],
        "kl_div_score": _ratio(kl["ablation"] - kl["sae"], kl["ablation"]),
    }
    return found | {
        "ce_loss_with_ablation": ce["ablation"],
        "ce_loss_with_sae": ce["sae"],
        "ce_loss_without_sae": ce["clean"],
        "ce_loss_score": _ratio(ce["ablation"] - ce["sae"], ce["ablation"] - ce["clean"]),
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")
