"""Patched answers counted, with bootstrap intervals over problems.

- `accuracy`, `accuracy_change`: share of right answers, and its change against the clean model.
- `flipped`: the answer is another number than the clean model's; `right_to_wrong`, `wrong_to_right`: shares of all
  problems, so that their difference is the change of accuracy.
- `kl`: see `sae.evaluation.patching`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .bootstrap import drawn_weights, interval
from .patching import Effect

if TYPE_CHECKING:
    import pandas as pd

FEATURE_MEASURES = ("accuracy_change", "flipped", "right_to_wrong", "wrong_to_right", "kl")


def counts(wanted: np.ndarray, clean: np.ndarray, effect: Effect) -> dict[str, np.ndarray]:
    """What each problem counts for, float64 [n] each; their means are the measures of the module's head.

    Args:
        wanted: the right answers [n].
        clean: the model's own answers [n], NaN where there is none.
    """
    before, after = right(clean, wanted), right(effect.numbers, wanted)
    same = (clean == effect.numbers) | (np.isnan(clean) & np.isnan(effect.numbers))
    found = {
        "accuracy": after,
        "accuracy_change": after.astype(float) - before,
        "flipped": ~same,
        "right_to_wrong": before & ~after,
        "wrong_to_right": ~before & after,
        "kl": effect.kl,
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def right(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """bool [n]: which numbers are the ones wanted; NaN never is."""
    return np.isclose(numbers, wanted, rtol=1e-6, atol=1e-6)


def condition_table(
    effects: Mapping[str, Effect], wanted: np.ndarray, clean: np.ndarray, *, resamples: int, seed: int
) -> tuple[pd.DataFrame, dict[str, tuple[float, float, float]]]:
    """One line a condition: `condition`, `n`, and each measure with `_low` and `_high`; and what compares them.

    The conditions are resampled together. What compares them is (value, low, high) by name: `accuracy_clean`, and
    `kl_recovered` = 1 - KL of `sae` / KL of `mean`, the share of a mean ablation's harm that the SAE undoes.
    """
    import pandas as pd

    counted = {name: counts(wanted, clean, effect) for name, effect in effects.items()}
    names = [(condition, measure) for condition, measures in counted.items() for measure in measures]
    columns = np.column_stack([right(clean, wanted), *(counted[condition][measure] for condition, measure in names)])
    means, drawn = columns.mean(axis=0), resampled_means(columns, resamples=resamples, seed=seed)
    at = {name: place for place, name in enumerate(names, start=1)}
    lines = []
    for condition, measures in counted.items():
        line: dict[str, Any] = {"condition": condition, "n": len(wanted)}
        for measure in measures:
            place = at[condition, measure]
            line |= _bounded(measure, means[place], drawn[:, place])
        lines.append(line)
    sae, mean = at["sae", "kl"], at["mean", "kl"]
    with np.errstate(divide="ignore", invalid="ignore"):
        recovered, again = 1 - means[sae] / means[mean], 1 - drawn[:, sae] / drawn[:, mean]
    compared = {
        "accuracy_clean": (float(means[0]), *interval(drawn[:, 0])),
        "kl_recovered": (float(recovered), *interval(again)),
    }
    return pd.DataFrame(lines), compared


def feature_table(
    off: Mapping[int, Sequence[tuple[np.ndarray, Effect]]],
    wanted: np.ndarray,
    clean: np.ndarray,
    *,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """One line a feature that was switched off: `feature`, `n` problems, and `FEATURE_MEASURES` with their bounds.

    Args:
        off: for each feature (places of the problems in which it was active, what came of it), in parts.
    """
    import pandas as pd

    lines = []
    for feature, parts in off.items():
        if not parts:
            continue
        places = np.concatenate([part for part, _ in parts])
        effect = Effect(*(np.concatenate([found[at] for _, found in parts]) for at in range(2)))
        found = counts(wanted[places], clean[places], effect)
        columns = np.column_stack([found[measure] for measure in FEATURE_MEASURES])
        drawn = resampled_means(columns, resamples=resamples, seed=seed)
        line: dict[str, Any] = {"feature": feature, "n": len(places)}
        for at, measure in enumerate(FEATURE_MEASURES):
            line |= _bounded(measure, columns[:, at].mean(), drawn[:, at])
        lines.append(line)
    bounds = [f"{measure}{end}" for measure in FEATURE_MEASURES for end in ("", "_low", "_high")]
    table = pd.DataFrame(lines, columns=["feature", "n", *bounds])
    return table.astype({"feature": "int64", "n": "int64"} | dict.fromkeys(bounds, "float64"))


def resampled_means(columns: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Means [resamples, m] of columns [n, m] over problems drawn with replacement, the same ones for all columns."""
    n = len(columns)
    return np.concatenate([weights @ columns / n for weights in drawn_weights(n, resamples, seed)])


def _bounded(name: str, value: float, drawn: np.ndarray) -> dict[str, float]:
    low, high = interval(drawn)
    return {name: float(value), f"{name}_low": low, f"{name}_high": high}
