"""The tables that the Grid page shows: a line a run, a line a configuration, and who beats whom in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.figures.style import metric_kind, metric_title, number_text
from sae.ui.metric_help import BINARY, CONCEPTS, EVALUATIONS
from sae.workspace.measured_metrics import measured_metrics

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

# What the six figures show, in this order: the metric, one line on it, and its formula.
METRICS: dict[str, tuple[str, str]] = {
    "ev_total": (
        "Share of the variance around the training mean that the reconstruction keeps; 0 is predicting that mean.",
        r"$$EV_{total} = 1 - \frac{\sum_i \lVert x_i - \hat x_i\rVert^2}{\sum_i \lVert x_i - \mu_{train}\rVert^2}$$"
        "\n\nThe out-of-sample R² with one mean per dimension, taken on train rows.",
    ),
    "ev_flat": (
        "The published report's definition: one grand mean, so differences between dimensions count as variance.",
        r"$$EV_{flat} = 1 - \frac{Var(x - \hat x)}{Var(x)}$$ over all elements at once."
        "\n\nA mean predictor scores above 0 here: read it beside the baselines.",
    ),
    "ev_layers": (
        "Of a crosscoder: the explained variance of each layer's rows by themselves, the mean of that over layers.",
        r"$$\frac{1}{L} \sum_l EV_{total}(x_l, \hat x_l)$$ The explained variance of all layers together counts each "
        "by its spread.",
    ),
    "dead": (
        "Features that are never active on the rows of the split.",
        r"$$dead = \frac{1}{d_{sae}} \left|\{j : f_{ij} = 0 \text{ for all rows } i\}\right|$$",
    ),
    "mean_activation": (
        "Mean size of an activation, over active entries only.",
        r"$$\frac{\sum_{ij} |f_{ij}|}{|\{(i, j) : f_{ij} \ne 0\}|}$$",
    ),
    "max_activation": ("Largest size of an activation.", r"$$\max_{ij} |f_{ij}|$$"),
    "mse": (
        "Mean squared error of the reconstruction over all elements: the training loss without its auxiliary part.",
        r"$$MSE = \frac{1}{n\, d_{in}} \sum_i \lVert x_i - \hat x_i\rVert^2$$",
    ),
    "l0": ("Mean number of active features in a row.", r"$$L_0 = \frac{1}{n}\sum_i |\{j : f_{ij} \ne 0\}|$$"),
    "l0_sd": (
        "How much the number of active features varies from row to row: its standard deviation.",
        r"$$\sqrt{\frac{1}{n}\sum_i (|\{j : f_{ij} \ne 0\}| - L_0)^2}$$",
    ),
    "reconstruction_bias": (
        "By how much reconstructions, taken from the mean, are too long or too short: below 1 they are shrunk.",
        r"$$\gamma = \frac{\sum_i \lVert \hat x_i - \mu \rVert^2}{\sum_i (\hat x_i - \mu) \cdot (x_i - \mu)}$$",
    ),
    "l2_ratio": (
        "Mean norm of a reconstruction over its row's: it falls with shrinkage and with what is not explained.",
        r"$$\frac{1}{n}\sum_i \lVert\hat x_i\rVert / \lVert x_i\rVert$$",
    ),
    "perplexity": (
        "How many features the codes effectively use.",
        r"$$\exp\left(-\sum_j u_j \log u_j\right)$$ with $u_j$ the share of all activations that are feature j's.",
    ),
    "dense": ("Features active on more than half of the rows.", r"$$\frac{1}{d_{sae}}|\{j : n_j > n / 2\}|$$"),
    "ultra_low": (
        "Features active on some rows, but on fewer than one in 10,000.",
        r"$$\frac{1}{d_{sae}}|\{j : 0 < n_j < n / 10^4\}|$$",
    ),
    **BINARY,
    **CONCEPTS,
    **EVALUATIONS,
}

_NAMED = {"k": 0, "d_sae": 1, "preset": 3}  # places in a configuration's name; other factors stand at 2

# What a frontier may be drawn over, and which way is better.
OBJECTIVES: dict[str, str] = {
    "ev_total": "high",
    "ev_flat": "high",
    "k": "low",
    "d_sae": "low",
    "dead": "low",
    "mse": "low",
    "l0": "low",
    "alive": "high",
}
_SHORT = {
    "ev_total": "explained variance",
    "ev_flat": "explained variance, flat",
    "k": "K",
    "d_sae": "dictionary size",
    "dead": "share of dead features",
    "mse": "mean squared error",
    "l0": "L0",
    "alive": "living features",
}


def runs_with_metrics(experiment: ExperimentFolder, split: str) -> pd.DataFrame:
    """A line a run, finished or not: run, state, progress, error, seconds, the factors, the split's metrics, and what
    measurements found of it (`sae.workspace.measured_metrics`).
    """
    table = experiment.runs_table().rename(columns={"id": "run", "status": "state", "fraction": "progress"})
    results = experiment.results(split)
    if results.empty:
        return table
    chosen = results.drop(columns=["split", *experiment.factors])
    further = measured_metrics(experiment, split)
    further = further.drop(columns=[name for name in further if name != "id" and name in chosen])
    chosen = chosen.merge(further, on="id", how="left").rename(columns={"id": "run"})
    merged = table.merge(chosen, on="run", how="left")
    merged["alive"] = (1 - merged["dead"]) * merged["d_sae"]
    return merged


def matching(table: pd.DataFrame, choices: Mapping[str, Any]) -> pd.DataFrame:
    """The lines whose factors have the given values; None leaves a factor free."""
    kept = np.ones(len(table), bool)
    for name, value in choices.items():
        if value is not None:
            kept &= (table[name] == value).to_numpy()
    return table[kept].reset_index(drop=True)


def configurations(table: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A line a configuration: means over its finished seeds, `seeds` (how many) and `run` (the first)."""
    done = table[table["state"] == "done"]
    if done.empty:
        return pd.DataFrame(columns=[*factors, "seeds", "run"])
    cells = [name for name in factors if name != "seed"]
    skipped = {*factors, "run", "state", "error", "progress"}
    metrics = [name for name in done.columns if name not in skipped and pd.api.types.is_numeric_dtype(done[name])]
    grouped = done.groupby(cells, sort=False)
    means = grouped[metrics].mean()
    means.insert(0, "run", grouped["run"].first())
    means.insert(0, "seeds", grouped.size())
    return means.reset_index()


def name_of(line: Mapping[str, Any], factors: Sequence[str]) -> str:
    """A configuration in words: `K 20, 1,024 features, corrected`."""
    order = sorted((name for name in factors if name != "seed" and name in line), key=lambda name: _NAMED.get(name, 2))
    words = []
    for name in order:
        value = line[name]
        if name == "k":
            words.append(f"K {int(value):,}")
        elif name == "d_sae":
            words.append(f"{int(value):,} features")
        elif name == "preset":
            words.append(str(value))
        else:
            words.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(words)


def varied(lines: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """The factors that a configuration must be named by here: K, dictionary size, and what differs between lines."""
    return [name for name in factors if name in ("k", "d_sae") or (name in lines and lines[name].nunique() > 1)]


def beaten_by(
    table: pd.DataFrame, place: int, dominators: Sequence[int], objectives: Sequence[str], factors: Sequence[str]
) -> str:
    """In words what beats the configuration at `place`, and on what: the one that leads on most objectives first."""
    if not dominators:
        return ""
    line = table.iloc[place]

    def ahead(other: int) -> list[str]:
        return [name for name in objectives if table.iloc[other][name] != line[name]]

    ranked = sorted(dominators, key=lambda other: (-len(ahead(other)), other))
    best = ranked[0]
    parts = []
    for name in ahead(best):
        kind = metric_kind(name)
        sides = number_text(table.iloc[best][name], kind), number_text(line[name], kind)
        parts.append(f"{_SHORT.get(name, metric_title(name))} {sides[0]} against {sides[1]}")
    equal = len(objectives) - len(parts)
    words = f"{name_of(table.iloc[best].to_dict(), factors)}: {'; '.join(parts)}"
    if equal:
        words += f"; equal on {equal}"
    return words + (f" (and {len(ranked) - 1} more)" if len(ranked) > 1 else "")


def short_title(metric: str) -> str:
    """A metric's name for a narrow panel."""
    short = {
        "ev_flat": "Explained variance, flat",
        "mean_activation": "Mean |activation|",
        "mse": "Mean squared error",
        "accuracy_mean": "Right, training mean instead",
    }
    if metric in BINARY:
        return metric_title(metric).split(" (")[0].split(",")[0].replace("Standard deviation of the", "SD of the")
    return short.get(metric, metric_title(metric))


def objective_title(name: str) -> str:
    """An objective as the page offers it: `explained variance, higher`."""
    return f"{_SHORT.get(name, metric_title(name))}, {'higher' if OBJECTIVES[name] == 'high' else 'lower'}"


def metric_columns(table: pd.DataFrame, numbers: Sequence[str]) -> dict[str, Any]:
    """Streamlit's columns for a table with factors and metrics, each written as its kind of number is."""
    import streamlit as st

    formats = {"ev": "%.3f", "share": "percent", "count": "localized", "decimal": "%.1f", "number": "%.4g"}
    found: dict[str, Any] = {}
    for name in table.columns:
        kind = table[name].dtype
        if name in numbers or (pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)):
            title = {"k": "K", "d_sae": "d_sae", "seed": "seed"}.get(str(name), metric_title(str(name)))
            found[str(name)] = st.column_config.NumberColumn(title, format=formats[metric_kind(str(name))])
    return found
