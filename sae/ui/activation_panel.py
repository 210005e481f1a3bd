"""The histogram of one feature's activations with its toolbar: on its card, and side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae.ui import reproduce
from sae.ui.panel import figure_panel

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.ui.drawn import Drawn
    from sae.workspace.runs import RunFolder


def activation_panel(
    figure: go.Figure | Drawn, table: pd.DataFrame, *, run: RunFolder, feature: int, key: str, meaning: str = ""
) -> None:
    """Draw `sae.figures.activity.activation_histogram` of `sae.analysis.distributions.activation_histogram`'s table."""
    figure_panel(
        figure, table, key=key, title="Activations", meaning=meaning,
        formula="Rows by activation, bins after Freedman and Diaconis, rows on a logarithmic axis; silent rows apart.",
        filename=f"{run.id}-feature-{feature}-histogram",
        reproduce=reproduce.of_run(
            run, f"run features {run.id} --json",
            "from sae.analysis.distributions import activation_histogram\nfrom sae.figures import activity\n\n"
            f"found = activation_histogram(run.codes, {feature})\n"
            "activity.activation_histogram(found.table, n_zero=found.n_zero, n_rows=found.n_rows).show()",
        ),
    )  # fmt: skip
