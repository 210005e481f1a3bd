"""A panel of an experiment: what its codes keep at equal bits, beside other methods over the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import page, reproduce
from sae.ui.panel import figure_panel
from sae.ui.words import count, plain
from sae.workspace import Workspace
from sae.workspace.equal_bits import measurements_of

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder

HEIGHT = 380
_FORMULA = (
    "Bits of a vector: of a binary code the smaller of $$N$$ and its mean number of bits that are on, times "
    r"$$\lceil\log_2 N\rceil$$; of sparse values that number times $$\lceil\log_2 N\rceil$$ plus 32 or 8; of product "
    "quantisation 8 for each sub-vector. Decoders, scales and centroids are kept once. Values in 8 bits are really "
    "quantised, with a scale a feature from training rows, and decoded. Intervals: Student's t over seeds, of one seed "
    "a bootstrap over groups of examples."
)


def show(workspace: Workspace, experiment: ExperimentFolder) -> None:
    """Reconstruction and recall against bits; nothing where the experiment was not measured at equal bits."""
    with page.errors_shown("reading what was measured at equal bits"):
        there = measurements_of(workspace, experiment)
        if not there:
            return
        table, notes = _curves(str(workspace.root), experiment.name, _stamp(there))
        if not len(table):
            return
        st.markdown("**At equal bits**")
        settings = notes["settings"]
        n = f"{count(notes['n'])} {notes['split']} rows"
        left, right = st.columns(2, gap="medium")
        with left:
            _panel(table, "reconstruction_loss", "What is lost", "Less is better; a line joins a method's best cells.",
                   n, notes, experiment, there[0])  # fmt: skip
        with right:
            _panel(
                table, "recall", f"Nearest {settings['neighbours']} rows found",
                "By Jaccard distance of bits, cosine of values, asymmetric cosine of product quantisation.",
                f"{count(min(settings['queries'], notes['n']))} queries among {n}", notes, experiment, there[0],
            )  # fmt: skip
        st.caption(plain(f"Measured by {', '.join(notes['measurements'])}."))


def _panel(
    table: pd.DataFrame, measure: str, title: str, meaning: str, n: str, notes: dict[str, Any],
    experiment: ExperimentFolder, measurement: ExperimentFolder,
) -> None:  # fmt: skip
    from sae.figures.equal_bits import bits_curves

    dense = float(notes["dense_bits"])
    python = (
        "from sae.figures.equal_bits import bits_curves\nfrom sae.workspace import Workspace\n"
        "from sae.workspace.equal_bits import equal_bits_curves\n\nworkspace = Workspace.at(None)\n"
        f'table, _ = equal_bits_curves(workspace, workspace.experiment("{experiment.name}"))\n'
        f'bits_curves(table, "{measure}").show()'
    )
    figure_panel(
        bits_curves(table, measure, dense_bits=dense, title=title, theme=page.theme(), height=HEIGHT,
                    subtitle=f"dashed: a dense float32 vector, {dense:,.0f} bits"), table,
        key=f"equal_bits_{measure}", meaning=meaning, n=n, formula=_FORMULA,
        filename=f"{experiment.name}-equal-bits-{measure}",
        reproduce=reproduce.Reproduce(reproduce.measurement_command(measurement.spec), python),
    )  # fmt: skip


def _stamp(measurements: list[ExperimentFolder]) -> int:
    """Changes when a part of one is measured."""
    files = (one.part_folder(run) / "results.json" for one in measurements for run in one.measured_runs())
    return sum(file.stat().st_mtime_ns for file in files if file.exists())


@st.cache_resource(max_entries=8, show_spinner="Reading what was measured at equal bits")
def _curves(root: str, name: str, stamp: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    from sae.workspace.equal_bits import equal_bits_curves

    workspace = Workspace.at(root)
    return equal_bits_curves(workspace, workspace.experiment(name))
