"""The core evaluation: how well an SAE reconstructs held-out states, how sparsely, and what that does to the model.

Beyond the metrics of `sae.evaluation.reconstruction`, whose names it keeps:

- `kl_sae`, `kl_mean`, `kl_zero`: mean KL(clean || replaced) in nats a token, with the SAE's reconstruction, the mean of
  the train rows and zeros in the state's place; `ce_clean`, `ce_sae`, `ce_mean`, `ce_zero`: mean cross-entropy of the
  next token.
- `kl_score_mean` = 1 - KL_sae / KL_mean; `ce_score_mean` = (CE_mean - CE_sae) / (CE_mean - CE_clean): 1 is a
  reconstruction that changes nothing, 0 one that is no better than the mean. `kl_score_zero` and `ce_score_zero` have
  zeros in the mean's place, as published numbers do: zeros are far from any state, so these read higher.
- `mse_token` = mean ‖x-x̂‖²; `l1` = mean Σ|f|; `relative_reconstruction_bias` = Σ‖x̂‖² / Σ x·x̂ (Rajamanoharan et al.
  2024, eq. 10): 1 is unbiased, below 1 shrinkage.
- `encoder_max_cosine`, `decoder_max_cosine`: mean over features of the cosine with the nearest other feature;
  `decoder_max_cosine_living` among those that fired.

Intervals are percentile bootstraps over texts, or problems: the tokens of one stay together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sae.common.row_reader import RowBlocks
from sae.evaluation import saebench_core
from sae.evaluation.behaviour import CONDITIONS, Effects, Group
from sae.evaluation.bootstrap import drawn_weights, interval
from sae.evaluation.directions import nearest_cosines
from sae.evaluation.reconstruction import Codes, RowErrors, encode_rows, metrics

if TYPE_CHECKING:
    import torch

    from sae.models.base import SAE

#: What the model does with a reconstruction; absent where no model was in the loop.
BEHAVIOUR = tuple(f"kl_{name}" for name in CONDITIONS) + tuple(f"ce_{name}" for name in ("clean", *CONDITIONS))


class Core(NamedTuple):
    """What the evaluation found.

    Attributes:
        metrics, intervals: ours, by name.
        saebench: SAEBench's metrics by its names, on the same tokens and batches.
        features: SAEBench's columns by feature, float64 [d_sae] each, and `n_active`, `n_texts`.
        n_tokens, n_predictions, n_texts: tokens that were replaced, tokens behind them, and texts.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    saebench: dict[str, float]
    features: dict[str, np.ndarray]
    n_tokens: int
    n_predictions: int
    n_texts: int


@dataclass
class Collected:
    """Takes groups of states as they come; `core` says what they amount to.

    Args:
        model: the SAE.
        mean: float [d_in], of the train rows.
        device: where the SAE is.
    """

    model: SAE
    mean: np.ndarray
    device: str
    _codes: list[Codes] = field(default_factory=list)
    _errors: list[RowErrors] = field(default_factory=list)
    _text: list[np.ndarray] = field(default_factory=list)
    _effects: list[Effects] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._theirs = saebench_core.SaebenchCore(self.model)

    def add(self, group: Group) -> None:
        """A group of texts: one of SAEBench's batches."""
        import torch

        if not len(group.x):
            return
        codes, errors = encode_rows(self.model, group.x, self.mean, self.device)
        with torch.no_grad():
            sparse = self.model.sparse_encode(group.x)
            self._theirs.add(group.x, sparse, self.model.sparse_decode(sparse), group.text)
        self._codes.append(codes)
        self._errors.append(errors)
        self._text.append(group.text)
        self._effects.append(group.effects)

    def core(self, resamples: int, seed: int) -> Core:
        """Metrics of everything that was added; of nothing, none."""
        codes, errors = _joined(self._codes), RowErrors(*map(np.concatenate, zip(*self._errors, strict=True)))
        text = np.concatenate(self._text)
        effects = Effects.joined(self._effects)
        n = len(text)
        found = metrics(codes, errors, np.arange(n), self.model.d_in, self.model.d_sae)
        uses = np.bincount(codes.features, minlength=self.model.d_sae)
        ratios = _of_rows(codes, errors, text, self.model.d_in) | _of_effects(effects)
        found |= {name: ratio.value() for name, ratio in ratios.items()}
        found |= _nearest(self.model, uses > 0)
        features = self._theirs.features(self.model) | {"n_active": uses}
        saebench = self._theirs.metrics() | saebench_core.misc_metrics(features)
        if effects.kl:
            saebench |= saebench_core.scores(
                {"sae": _mean(effects.theirs["sae"]), "ablation": _mean(effects.theirs["zero_all"])},
                {"clean": _mean(effects.ce["clean"]), "sae": _mean(effects.ce["sae"]),
                 "ablation": _mean(effects.ce["zero_all"])},
            )  # fmt: skip
        saebench["total_tokens_eval_reconstruction"] = len(effects.kl_text)
        saebench["total_tokens_eval_sparsity_variance"] = n
        n_texts = len(np.unique(text))
        intervals = _intervals(ratios, resamples, seed) if n_texts > 1 else {}
        return Core(found, intervals, saebench, features, n, len(effects.ce_text), n_texts)


def stored_groups(x: np.ndarray, rows: np.ndarray, example: np.ndarray, device: str) -> Iterable[Group]:
    """States as they are stored, where no language model is in the loop: rows of `x` [n, d_in] by ascending number.

    Args:
        example: int [len(rows)], the text of each row.
    """
    done = 0
    for block in RowBlocks(x, rows, device):
        found: torch.Tensor = block.to(device).float()
        yield Group(found, example[done : done + len(found)], Effects())
        done += len(found)


class _Ratio(NamedTuple):
    """A metric as offset + scale · Σ top / Σ bottom, with the sums of each text: [texts] each, in the same order."""

    top: np.ndarray
    bottom: np.ndarray
    offset: float = 0.0
    scale: float = 1.0

    def value(self) -> float:
        bottom = self.bottom.sum()
        return float(self.offset + self.scale * self.top.sum() / bottom) if bottom else float("nan")


def _of_rows(codes: Codes, errors: RowErrors, text: np.ndarray, d_in: int) -> dict[str, _Ratio]:
    _, place = np.unique(text, return_inverse=True)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(place, values)

    counts = np.diff(codes.indptr)
    owner = np.repeat(np.arange(len(counts)), counts)
    l1 = np.bincount(owner, np.abs(codes.values.astype(np.float64)), minlength=len(counts))
    guess = errors.l2_ratio**2 * errors.squared_norm
    product = errors.cosine * errors.l2_ratio * errors.squared_norm
    n = sums(np.ones(len(place)))
    return {
        "ev_total": _Ratio(sums(errors.squared_error), sums(errors.squared_spread), 1.0, -1.0),
        "mse": _Ratio(sums(errors.squared_error), n * d_in),
        "mse_token": _Ratio(sums(errors.squared_error), n),
        "l0": _Ratio(sums(counts.astype(np.float64)), n),
        "l1": _Ratio(sums(l1), n),
        "cosine_similarity": _Ratio(sums(errors.cosine), n),
        "l2_ratio": _Ratio(sums(errors.l2_ratio), n),
        "relative_reconstruction_bias": _Ratio(sums(guess), sums(product)),
    }


def _of_effects(effects: Effects) -> dict[str, _Ratio]:
    if not effects.kl:
        return {}
    found: dict[str, _Ratio] = {}
    _, place = np.unique(effects.kl_text, return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    kl = {name: np.bincount(place, effects.kl[name]) for name in CONDITIONS}
    found |= {f"kl_{name}": _Ratio(total, n) for name, total in kl.items()}
    for control in ("mean", "zero"):
        found[f"kl_score_{control}"] = _Ratio(kl["sae"], kl[control], 1.0, -1.0)
    if not len(effects.ce_text):  # nothing stands behind the last token of a text
        return found
    _, place = np.unique(effects.ce_text, return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    ce = {name: np.bincount(place, effects.ce[name]) for name in ("clean", *CONDITIONS)}
    found |= {f"ce_{name}": _Ratio(total, n) for name, total in ce.items()}
    for control in ("mean", "zero"):
        found[f"ce_score_{control}"] = _Ratio(ce[control] - ce["sae"], ce[control] - ce["clean"])
    return found


def _intervals(ratios: dict[str, _Ratio], resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """The same draws of texts for all metrics over the same number of texts."""
    found: dict[str, tuple[float, float]] = {}
    for n in {len(ratio.top) for ratio in ratios.values()}:
        here = {name: ratio for name, ratio in ratios.items() if len(ratio.top) == n}
        draws: dict[str, list[np.ndarray]] = {name: [] for name in here}
        for weights in drawn_weights(n, resamples, seed):
            for name, ratio in here.items():
                with np.errstate(invalid="ignore", divide="ignore"):
                    draws[name].append(ratio.offset + ratio.scale * (weights @ ratio.top) / (weights @ ratio.bottom))
        found |= {name: interval(np.concatenate(parts)) for name, parts in draws.items()}
    return {name: found[name] for name in ratios}


def _nearest(model: SAE, living: np.ndarray) -> dict[str, float]:
    import torch

    def mean(directions: torch.Tensor) -> float:
        return float(nearest_cosines(directions).mean()) if len(directions) > 1 else float("nan")

    with torch.no_grad():
        decoder = model.W_dec
        return {
            "encoder_max_cosine": mean(model.W_enc.T),
            "decoder_max_cosine": mean(decoder),
            "decoder_max_cosine_living": mean(decoder[torch.from_numpy(living).to(decoder.device)]),
        }


def _joined(parts: list[Codes]) -> Codes:
    ends = np.cumsum([0, *(part.indptr[-1] for part in parts)])
    pointers = [np.zeros(1, np.int64), *(part.indptr[1:] + end for part, end in zip(parts, ends, strict=False))]
    return Codes(
        np.concatenate(pointers),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
