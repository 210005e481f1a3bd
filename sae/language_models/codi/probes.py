"""What a linear probe reads from thoughts: each value on the way, by layer and step, beside a shuffled control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.problems.examples import Example

HELD_OUT = 0.25
#: How much of the mean variance is added to every dimension, so that the covariance can be inverted.
SHRINKAGE = 1e-2
_ORDINALS = ("1st", "2nd", "3rd")


def values_of(examples: Sequence[Example]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The values on the way and the answer: float64 [n, k], NaN where a problem has fewer, and the columns' names.

    The last step's value is the answer and stands in the last column alone.
    """
    most = max((len(example.steps) for example in examples), default=1) - 1
    names = tuple(_ORDINALS[at] if at < len(_ORDINALS) else f"{at + 1}th" for at in range(most))
    table = np.full((len(examples), most + 1), np.nan)
    for row, example in enumerate(examples):
        for at, step in enumerate(example.steps[:-1]):
            table[row, at] = step.value
        table[row, -1] = example.final_answer
    return table, (*names, "answer")


def probe_values(
    states: Mapping[int, np.ndarray],
    values: np.ndarray,
    groups: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How often each value is read rightly from each state, on problems held out with their group.

    The probe is linear discriminant analysis with a shrunk covariance: one Gaussian per value, all of one shape, in
    closed form (Hastie, Tibshirani and Friedman 2009, section 4.3). Its decision is linear in the state. The control
    is the same probe, fitted to the same problems with their values shuffled.

    Args:
        states: float [steps, n, d_model] by layer.
        values: float [n, k], NaN where a problem has none.
        groups: [n], of which none stands on both sides.
        names: of the values; `1st`, `2nd` and so on by default.

    Returns:
        A line a layer, step and value: `layer`, `step`, `value`, `accuracy`, `shuffled`, `majority` (of the value that
        is the most frequent in training), `n` (held-out problems). A value that the training problems don't have is
        counted as wrong.

    Raises:
        UserError: if states, values and groups are not of the same problems, or there are too few to hold any out.
    """
    import pandas as pd

    n, k = values.shape
    if len(groups) != n or any(array.shape[1] != n for array in states.values()):
        raise UserError(f"states, {n:,} values and {len(groups):,} groups must be of the same problems")
    held_out = _held_out(groups, seed)
    if held_out.all() or not held_out.any():
        raise UserError(f"{len(set(groups))} groups of problems are too few to hold some out for a probe")
    names = names or [_ORDINALS[at] if at < len(_ORDINALS) else f"{at + 1}th" for at in range(k)]
    generator = np.random.default_rng(seed)
    lines = []
    for at, name in enumerate(names):
        known = ~np.isnan(values[:, at])
        train, test = np.flatnonzero(known & ~held_out), np.flatnonzero(known & held_out)
        if len(train) < 2 or not len(test):
            continue
        seen, labels = np.unique(values[train, at], return_inverse=True)
        shuffled = generator.permutation(labels)
        frequent = seen[np.bincount(labels).argmax()]
        wanted = values[test, at]
        for layer, array in states.items():
            for step, x in enumerate(array):
                rows, asked = x[train].astype(np.float64), x[test].astype(np.float64)
                lines.append(
                    {
                        "layer": layer,
                        "step": step,
                        "value": name,
                        "accuracy": float((seen[_read(rows, labels, asked)] == wanted).mean()),
                        "shuffled": float((seen[_read(rows, shuffled, asked)] == wanted).mean()),
                        "majority": float((wanted == frequent).mean()),
                        "n": len(test),
                    }
                )
    columns = ["layer", "step", "value", "accuracy", "shuffled", "majority", "n"]
    return pd.DataFrame(lines, columns=columns).sort_values(["layer", "step"], kind="stable", ignore_index=True)


def _read(rows: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The class that linear discriminant analysis gives each of `asked`, fitted to `rows` with `labels` from 0 on."""
    counts = np.bincount(labels)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, labels, rows)
    means /= counts[:, None]
    within = rows - means[labels]
    covariance = within.T @ within / max(len(rows) - len(counts), 1)
    spread = SHRINKAGE * covariance.trace() / len(covariance)
    covariance[np.diag_indices_from(covariance)] += spread if spread > 0 else 1.0
    weights = np.linalg.solve(covariance, means.T)
    scores = asked @ weights - 0.5 * (means.T * weights).sum(axis=0) + np.log(counts / counts.sum())
    return scores.argmax(axis=1)


def _held_out(groups: Sequence[str], seed: int) -> np.ndarray:
    """bool [n]: a quarter of the groups, drawn with the seed."""
    _, of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    order = np.random.default_rng(seed).permutation(of.max() + 1)
    return np.isin(of, order[: round(HELD_OUT * len(order))])
