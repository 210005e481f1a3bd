"""Views of the Ablations page that are read off curves and codes: training, bits on a row, use of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.analysis import ablations, seed_bands
from sae.figures.ablations import level_bars
from sae.figures.ablations import seed_bands as band_figure
from sae.figures.style import metric_kind, metric_title
from sae.ui import ablation_data, grid_data, grid_views, page, pickers
from sae.ui.ablation_data import Shown, level_name
from sae.ui.ablation_recipes import runs_recipe
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import plain, plural

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

HEIGHT = 380
REDUNDANT = "mean_abs_correlation"
MOST_BINS = 60
_SEEDS = "Lines are means over seeds, bands go from the least to the most of them."
_STABILITY = {
    "loss_spikes": "Loss spikes",
    "gradient_norm_cv": "Variation of the gradient's norm",
    "reconstruction_weight": "Weight of the reconstruction objective",
    "sparsity_weight": "Weight of the sparsity objective",
}


def training(shown: Shown, table: pd.DataFrame) -> None:
    """Curves over training with the seeds' band, and how steadily it went."""
    runs, held = ablation_data.drawn(shown)
    curves = ablation_data.histories(runs)
    columns = ablation_data.curve_columns(curves)
    if not columns:
        st.info("Curves appear when the first run has trained a few steps.")
        return
    first = shown.kind.metrics[0] if shown.kind.metrics[0] in columns else columns[0]
    with st.container(width=330):
        column = pickers.pick_choice("Curve", columns, name="curve", start=first, format=metric_title) or first
    bands = {name: seed_bands.over_training(found, column) for name, found in curves.items()}
    figure_panel(
        band_figure(
            bands, x="step", x_title="Training step", y_title=metric_title(column), kind=metric_kind(column),
            theme=page.theme(), height=HEIGHT,
        ),
        _long(bands), key="ablation_curves", title=f"{metric_title(column)} in training",
        meaning=f"{_SEEDS}{_held(held)}", formula=_CURVES, n=_seeds(runs),
        filename=f"{shown.experiment.name}-curves-{column}",
        reproduce=runs_recipe(
            shown, "from sae.analysis.seed_bands import over_training\n",
            f'{{name: over_training([run.history() for run in found], "{column}") for name, found in runs.items()}}',
        ),
    )  # fmt: skip
    _steadiness(shown, runs)


def _steadiness(shown: Shown, runs: Mapping[str, list[RunFolder]]) -> None:
    """Spikes, variation and weights of each level, over its seeds."""
    lines = [
        {
            "level": name,
            "seed": run.factors.get("seed", 0),
            **(run.results.get("training") or {}),
            "diverged": _lost(run, shown),
        }
        for name, seeds in runs.items()
        for run in seeds
        if run.done
    ]
    found = pd.DataFrame(lines)
    metrics = [name for name in (*_STABILITY, "diverged") if name in found and found[name].notna().any()]
    if metrics:
        _steady(shown, runs, found, metrics)
    acted = [name for name in found if name not in ("level", "seed", *_STABILITY, "diverged")]
    if acted:
        _acted(shown, runs, found, acted)


def _steady(shown: Shown, runs: Mapping[str, list[RunFolder]], found: pd.DataFrame, metrics: list[str]) -> None:
    long = ablations.cells(found, ["level", "seed"], metrics)
    wide = long.pivot(index="level", columns="metric", values="mean").reindex(columns=metrics)
    wide = wide.reindex(list(runs)).dropna(how="all").reset_index()
    titles = {**_STABILITY, "diverged": "Diverged (share of seeds)"}
    table_panel(
        wide, key="ablation_steadiness", title="How steadily it trained", n=_seeds(runs),
        meaning="Means over seeds.",
        formula="**Loss spikes**: losses above their exponential mean by more than five exponential standard "
        "deviations (decay 0.99, after 50 steps). **Variation**: standard deviation over mean of the gradient's norm, "
        "last third of the steps. **Weights**: what an objective that replaces a cosine is multiplied by, so that its "
        "gradient starts with the cosine's norm. **Diverged**: reconstruction loss not below the mean predictor's.",
        filename=f"{shown.experiment.name}-stability",
        columns={"level": "Level"} | {
            name: st.column_config.NumberColumn(titles[name], format="%.3g") for name in metrics
        },
        reproduce=runs_recipe(shown, "", "{run.id: run.results['training'] for found in runs.values() "
                              "for run in found if run.done}"),
    )  # fmt: skip


def _acted(shown: Shown, runs: Mapping[str, list[RunFolder]], found: pd.DataFrame, metrics: list[str]) -> None:
    """What each level's mechanisms did, and the lengths that they had."""
    long = ablations.cells(found, ["level", "seed"], metrics)
    wide = long.pivot(index="level", columns="metric", values="mean").reindex(columns=metrics)
    wide = wide.reindex(list(runs)).dropna(how="all").dropna(axis=1, how="all").reset_index()
    table_panel(
        wide, key="ablation_acted", title="How often each mechanism acted", n=_seeds(runs),
        meaning="Means over seeds, of the whole training; windows and schedules in steps.",
        formula="What each figure counts: docs/orthogonality.md. A level has no figure of what it does not do.",
        filename=f"{shown.experiment.name}-acted",
        columns={"level": "Level"} | {
            name: st.column_config.NumberColumn(metric_title(name), format="%.4g") for name in wide if name != "level"
        },
        reproduce=runs_recipe(shown, "", "{run.id: run.results['training'] for found in runs.values() "
                              "for run in found if run.done}"),
    )  # fmt: skip


def _lost(run: RunFolder, shown: Shown) -> float:
    """1 where the run ended no better than the mean predictor; NaN where that isn't measured."""
    metrics = run.metrics.get(shown.split, {})
    loss, mean = metrics.get("reconstruction_loss"), metrics.get(ablation_data.MEAN_PREDICTOR)
    if mean is None:
        return float("nan")
    return float(loss is None or not loss < mean)


def codes(shown: Shown, table: pd.DataFrame) -> None:
    """How many bits rows have, and how evenly the features are used."""
    runs, held = ablation_data.drawn(shown)
    done = {name: [run for run in seeds if run.done] for name, seeds in runs.items()}
    done = {name: seeds for name, seeds in done.items() if seeds}
    if not done:
        st.info("Codes appear with the first finished run.")
        return
    counts = {name: [ablation_data.row_counts(run, shown.split) for run in seeds] for name, seeds in done.items()}
    used = {name: [ablation_data.densities(run, shown.split) for run in seeds] for name, seeds in done.items()}
    k = {run.config["model"].get("k") for seeds in done.values() for run in seeds}
    left, right = st.columns(2, gap="medium")
    with left:
        bands = {name: seed_bands.count_shares(found, bins(counts)) for name, found in counts.items()}
        always = {name: found[0][0] for name, found in counts.items() if _one_number(found)}
        mark = (float(next(iter(k))), f"K = {next(iter(k)):,}") if len(k) == 1 and None not in k else None
        figure_panel(
            band_figure(
                bands, x="low", x_title="Active features on a row", y_title="Share of rows", kind="share",
                stairs=True, mark=mark, peaks=always, theme=page.theme(), height=HEIGHT,
            ),
            _long(bands), key="ablation_counts", title="How many features are active on a row",
            meaning=f"{_SEEDS} A click on a name hides it.{_spikes(always)}{_held(held)}",
            formula="Features whose code is not 0, counted in every row of the split; bins of equal width.",
            n=f"{grid_views.n_words(shown.experiment, shown.split)}, {_seeds(done)}",
            filename=f"{shown.experiment.name}-counts-{shown.split}",
            reproduce=runs_recipe(
                shown, "from sae.ui.ablation_data import row_counts\n",
                f'{{name: [row_counts(run, "{shown.split}") for run in found] for name, found in runs.items()}}',
            ),
        )  # fmt: skip
    with right:
        ranks = {name: seed_bands.by_rank(found) for name, found in used.items()}
        figure_panel(
            band_figure(
                ranks, x="rank", x_title="Rank of the feature (log)", y_title="Share of rows where it is active (log)",
                kind="share", log_x=True, log_y=True, theme=page.theme(), height=HEIGHT,
            ),
            _long(ranks), key="ablation_use", title="How often each feature is active",
            meaning=f"The most frequent first. {_SEEDS} A line ends where features are dead.{_held(held)}",
            formula=r"$$n_j / n$$ for feature j, sorted in each seed by itself.",
            n=f"{grid_views.n_words(shown.experiment, shown.split)}, {_seeds(done)}",
            filename=f"{shown.experiment.name}-use-{shown.split}",
            reproduce=runs_recipe(
                shown, "from sae.analysis.seed_bands import by_rank\nfrom sae.ui.ablation_data import densities\n",
                f'{{name: by_rank([densities(r, "{shown.split}") for r in found]) for name, found in runs.items()}}',
            ),
        )  # fmt: skip
    correlations(shown, done)


def correlations(shown: Shown, done: Mapping[str, list[RunFolder]]) -> None:
    """How much the features of each level fire together; nothing for experiments that don't measure it."""
    found = {
        name: ablations.over_seeds([run.metrics[shown.split].get(REDUNDANT, np.nan) for run in seeds])
        for name, seeds in done.items()
    }
    table = pd.DataFrame([{"name": name, **line} for name, line in found.items()])
    if not np.isfinite(table["mean"].to_numpy(float)).any():
        return
    figure_panel(
        level_bars(table, REDUNDANT, theme=page.theme(), height=max(240, 90 + 26 * len(table))), table,
        key="ablation_correlations", title="How much features repeat each other",
        meaning="Means over seeds with 95 % intervals.", formula=grid_data.METRICS[REDUNDANT][1],
        n=f"{grid_views.n_words(shown.experiment, shown.split)}, {_seeds(done)}",
        filename=f"{shown.experiment.name}-correlations-{shown.split}",
        reproduce=runs_recipe(
            shown, "", f'{{name: [run.metrics["{shown.split}"]["{REDUNDANT}"] for run in found if run.done] '
            "for name, found in runs.items()}",
        ),
    )  # fmt: skip


def _one_number(counts: list[np.ndarray]) -> bool:
    """Whether all rows of all seeds have the same count."""
    ends = [(one.min(), one.max()) for one in counts if len(one)]
    return bool(ends) and len({end for pair in ends for end in pair}) == 1


def _spikes(always: Mapping[str, int]) -> str:
    """Levels whose peak would flatten every other line."""
    said = ", ".join(f"{name} ({number:,})" for name, number in always.items())
    return f" The same number on every row, so a share of 1 that goes past the top: {plain(said)}." if always else ""


def bins(counts: Mapping[str, list[np.ndarray]]) -> np.ndarray:
    """Edges of equal bins over all counts, with an empty one on either side."""
    every = np.concatenate([one for seeds in counts.values() for one in seeds])
    low, high = (int(every.min()), int(every.max())) if len(every) else (0, 0)
    width = -(-(high - low + 1) // MOST_BINS)
    return np.arange(low - width, high + 2 * width + 1, width)


def _long(bands: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([band.assign(level=name) for name, band in bands.items()], ignore_index=True)


def _held(held: Mapping[str, Any]) -> str:
    return f" Drawn at {plain(level_name(held))}: choose another above." if held else ""


def _seeds(runs: Mapping[str, list[RunFolder]]) -> str:
    most = max(len(seeds) for seeds in runs.values())
    return f"{most} {plural(most, 'seed')} a level"


_CURVES = (
    "At each recorded step: **objective** is what is minimised; **loss** is the mean squared error of the "
    "reconstruction on the batch; **reconstruction loss**, **sparsity alignment** and **activation count** are those "
    "of the batch; **bits that flipped** compares fixed rows with the last point of the curve, as a share of the bits "
    "on in either."
)
