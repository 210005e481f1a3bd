"""How the decoder directions of one SAE lie to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.figures.style import metric_title
from sae.ui import loaded, page, reproduce, run_layers
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, table_panel

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

HEIGHT = 300


def geometry(run: RunFolder, split: str) -> None:
    """Where decoder directions point."""
    from sae.figures import activity as figures
    from sae.figures.columns import binned, column_histogram

    features = loaded.features(run)
    theme = page.theme()
    cosines = _cosines(str(run.folder), (run.folder / "weights.safetensors").stat().st_mtime_ns)
    top = st.columns(2, gap="medium")
    binning = "from sae.figures.columns import binned, column_histogram\n\n"
    with top[0]:
        figure_panel(
            kept(
                figures.cosine_histogram, cosines.table, n_features=cosines.n_features, d_in=cosines.d_in,
                sampled=cosines.sampled, theme=theme, height=HEIGHT,
            ),
            cosines.table, key="cosines", meaning="All pairs of living features, beside random directions.",
            formula=r"$$\cos(d_i, d_j) = \frac{d_i \cdot d_j}{\lVert d_i \rVert \lVert d_j \rVert}$$ of decoder "
            "rows. The dotted line is what independent uniform directions in as many dimensions would give.",
            filename=f"{run.id}-decoder-cosines",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", "from sae.analysis.distributions import decoder_cosines\n"
                "from sae.figures.activity import cosine_histogram\n\n"
                'found = decoder_cosines(run.directions)\n'
                "cosine_histogram(found.table, n_features=found.n_features, d_in=found.d_in).show()"),
        )  # fmt: skip
    living = features[~features["dead"]]
    with top[1]:
        table = binned(living["max_decoder_cosine"].to_numpy())
        figure_panel(
            kept(
                column_histogram, table, "max_decoder_cosine", title="Nearest decoder direction", theme=theme,
                height=HEIGHT,
            ),
            table, key="nearest", meaning="For each living feature the cosine with the living one nearest to it.",
            formula="The largest |cosine| with another living decoder row, with its sign. Near 1: two features that "
            "write the same.", n=f"{len(living):,} living features", filename=f"{run.id}-nearest-cosine",
            reproduce=reproduce.of_run(run, f"run features {run.id} --json", binning +
                'values = run.features.query("not dead")["max_decoder_cosine"]\n'
                'column_histogram(binned(values), "max_decoder_cosine").show()'),
        )  # fmt: skip
    run_layers.relative(run)
    columns = ["decoder_norm", "encoder_decoder_cosine", "max_decoder_cosine", "mean_activation", "max_activation"]
    summary = living[columns].describe(percentiles=[0.05, 0.5, 0.95]).T.reset_index(names="column")
    summary = summary.drop(columns=["count", "std"]).rename(columns={"50%": "median"})
    summary["column"] = [metric_title(name) for name in summary["column"]]
    table_panel(
        summary, key="norms", title="Living features in numbers", n=f"{len(living):,} living features",
        meaning="Length of decoder vectors, agreement of encoder and decoder, and activations.",
        filename=f"{run.id}-feature-summary", height=215,
        columns={"column": st.column_config.TextColumn("Of each feature", width=230)} | {
            name: st.column_config.NumberColumn(title, format="%.3g", width=65) for name, title in (
                ("mean", "Mean"), ("min", "Least"), ("5%", "5 %"), ("median", "Median"), ("95%", "95 %"),
                ("max", "Most"))},
        reproduce=reproduce.of_run(
            run, f"run features {run.id} --json",
            f'run.features.query("not dead")[{columns}].describe(percentiles=[0.05, 0.5, 0.95]).T',
        ),
    )  # fmt: skip


@st.cache_resource(max_entries=16, show_spinner="Comparing decoder directions")
def _cosines(folder: str, modified: int) -> Any:
    from pathlib import Path

    from sae.analysis.distributions import decoder_cosines
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    return decoder_cosines(loaded.directions(run), ~loaded.features(run)["dead"].to_numpy(bool))
