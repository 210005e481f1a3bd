"""How often, how strongly and on how many rows the features of one SAE are active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from sae.ui import loaded, page, reproduce
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

HEIGHT = 300


def _rows_of(split: str) -> str:
    """The Python that chooses the rows of a split."""
    if split == "all":
        return "rows = None\n"
    return f'rows = (run.slice.rows["split"] == "{split}").to_numpy().nonzero()[0]\n'


def activity(run: RunFolder, split: str) -> None:
    """How often features are active: by row, by feature, by rank, by band."""
    from sae.analysis import distributions
    from sae.figures import activity as figures

    codes = loaded.codes(run)
    k = run.config["model"].get("k")
    rows = None if split == "all" else np.flatnonzero(loaded.splits_by_row(run) == split)
    theme = page.theme()
    by_row = distributions.active_per_row(codes, rows)
    by_feature = distributions.rows_per_feature(codes)
    top, bottom = st.columns(2, gap="medium"), st.columns(2, gap="medium")
    opened = "from sae.analysis import distributions\nfrom sae.figures import activity\n\ncodes = run.codes\n"
    with top[0]:
        figure_panel(
            kept(
                figures.active_per_row, by_row.table, mean=by_row.mean, sd=by_row.sd,
                quartiles=(by_row.q25, by_row.median, by_row.q75), k=k, theme=theme, height=HEIGHT,
            ),
            by_row.table, key="active_per_row", meaning=f"How many features are active on a row ({split} rows).",
            formula="L0 of a row: the number of features with an activation that is not 0. Signed top-K can have fewer "
            "than K where fewer pre-activations are positive; where a threshold decides, K is only aimed at.",
            filename=f"{run.id}-active-per-row",
            reproduce=reproduce.of_run(
                run, f"run show {run.id} --json", opened + _rows_of(split) +
                "found = distributions.active_per_row(codes, rows)\n"
                "activity.active_per_row(found.table, mean=found.mean, sd=found.sd, "
                "quartiles=(found.q25, found.median, found.q75)).show()"),
        )  # fmt: skip
    with top[1]:
        figure_panel(
            kept(
                figures.rows_per_feature, by_feature.table, n_rows=by_feature.n_rows, n_features=by_feature.n_features,
                n_dead=by_feature.n_dead, theme=theme, height=HEIGHT,
            ),
            by_feature.table, key="rows_per_feature",
            meaning="Features by the number of rows they are active on (all rows).",
            formula="Bins widen with the number of rows; both axes are logarithmic, so dead features have no bar.",
            filename=f"{run.id}-rows-per-feature",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened + "found = distributions.rows_per_feature(codes)\n"
                "activity.rows_per_feature(found.table, n_rows=found.n_rows, n_features=found.n_features, "
                "n_dead=found.n_dead).show()"),
        )  # fmt: skip
    with bottom[0]:
        frequency = loaded.features(run)[["feature", "n_active", "density"]].sort_values("n_active", ascending=False)
        figure_panel(
            kept(
                figures.feature_frequency, by_feature.ranked, n_rows=by_feature.n_rows,
                n_features=by_feature.n_features, k=k, theme=theme, height=HEIGHT,
            ),
            frequency, key="feature_frequency", meaning="How often each feature is active, the most frequent first.",
            formula=r"$$n_j / n$$ for feature j, by rank. The dashed level, $K / d_{sae}$, is where every feature "
            "would lie if all were used equally.", filename=f"{run.id}-feature-frequency",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened + "found = distributions.rows_per_feature(codes)\n"
                "activity.feature_frequency(found.ranked, n_rows=found.n_rows, n_features=found.n_features).show()"),
        )  # fmt: skip
    with bottom[1]:
        bands = distributions.density_bands(codes.n_active, codes.n_rows)
        figure_panel(
            kept(figures.density_bands, bands, n_rows=codes.n_rows, theme=theme, height=HEIGHT), bands,
            key="density_bands",
            meaning="Features by the share of rows on which they are active (all rows).",
            formula="Dead: never. Ultra-low: below 1 row in 10,000. Rare: below 1 %. Normal: up to 50 %. Dense: above.",
            filename=f"{run.id}-density-bands",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened +
                "bands = distributions.density_bands(codes.n_active, codes.n_rows)\n"
                "activity.density_bands(bands, n_rows=codes.n_rows).show()"),
        )  # fmt: skip
