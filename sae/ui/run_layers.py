"""What a crosscoder has by layer: how well each is explained, and which layers its features live in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import loaded, page, reproduce
from sae.ui.panel import figure_panel
from sae.ui.pickers import pick_choice
from sae.ui.words import count

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.runs import RunFolder

HEIGHT = 280
_NORMS = (
    r"$$s_l = \frac{\lVert d_l \rVert}{\sum_m \lVert d_m \rVert}$$ $d_l$: what a feature writes into layer l, in "
    "units of the spread of that layer's training rows."
)


def explained(run: RunFolder, split: str) -> None:
    """A panel of explained variance by layer; nothing for an SAE of one slice."""
    from sae.analysis.layer_norms import by_layer
    from sae.figures.layers import ev_by_layer
    from sae.workspace.comparing import alone

    if "ev_layers" not in run.metrics[split]:
        return
    features = loaded.features(run)
    own = alone(page.workspace(), run)
    table = by_layer(run.metrics[split], features, {layer: one.metrics.get(split, {}) for layer, one in own.items()})
    meaning = f"On the {split} rows of each layer; their mean is {run.metrics[split]['ev_layers']:.3f}."
    if own:
        meaning += " Beside each, the run of this experiment that has the layer to itself."
    figure_panel(
        ev_by_layer(table, theme=page.theme(), height=HEIGHT), table, key="ev_by_layer", height=HEIGHT,
        meaning=meaning,
        formula="ev_total of each layer's rows by themselves. norm_share: mean over living features of "
        + _NORMS + " features: those with more than half of their norm in the layer.",
        filename=f"{run.id}-by-layer", n=f"{count((~features['dead']).sum())} living features",
        columns={
            "layer": st.column_config.NumberColumn("Layer", format="%d"),
            "ev": st.column_config.NumberColumn("Explained variance", format="%.3f"),
            "ev_alone": st.column_config.NumberColumn("The layer by itself", format="%.3f"),
            "norm_share": st.column_config.NumberColumn("Share of decoder norm", format="percent"),
            "features": st.column_config.NumberColumn("Features that live there", format="localized"),
        },
        reproduce=reproduce.of_run(
            run, f"run show {run.id} --json", "from sae.analysis.layer_norms import by_layer\n"
            "from sae.figures.layers import ev_by_layer\nfrom sae.workspace.comparing import alone\n\n"
            "own = alone(run.workspace, run.folder).items()\n"
            f"own = {{layer: one.metrics.get({split!r}, {{}}) for layer, one in own}}\n"
            f"ev_by_layer(by_layer(run.metrics[{split!r}], run.features, own)).show()",
        ),
    )  # fmt: skip


def relative(run: RunFolder) -> None:
    """A histogram of how features share their decoder norm between two layers; nothing where there are no two."""
    from sae.analysis.layer_norms import norms_of, relative_norms
    from sae.figures.columns import binned, column_histogram

    features = loaded.features(run)
    living = features[~features["dead"]]
    layers, _ = norms_of(living)
    if len(layers) < 2:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=120):
            one = int(pick_choice("Layer", layers, name="of_layer", start=layers[0]) or 0)
        rest = [layer for layer in layers if layer != one]
        with st.container(width=120):
            other = int(pick_choice("Against", rest, name="to_layer", start=rest[-1]) or 0)
    table = binned(relative_norms(living, one, other), low=0.0, high=1.0)
    title = f"Decoder norm in layer {other} against layer {one}"
    figure_panel(
        column_histogram(table, "relative_norm", title=title, x_title="Relative decoder norm", theme=page.theme(),
                         height=HEIGHT),
        table, key="relative_norm", height=HEIGHT, filename=f"{run.id}-relative-norm-{one}-{other}",
        meaning=f"0: the feature writes into layer {one} alone; 1: into layer {other} alone; a half: into both alike.",
        formula=rf"$$\frac{{\lVert d_{{{other}}} \rVert}}{{\lVert d_{{{one}}} \rVert + \lVert d_{{{other}}} \rVert}}$$ "
        r"(Lindsey et al. 2024). $d_l$: what a feature writes into layer l, in units of the spread of that layer's "
        "training rows.",
        n=f"{count(len(living))} living features",
        reproduce=reproduce.of_run(
            run, f"run features {run.id} --json", "from sae.analysis.layer_norms import relative_norms\n"
            "from sae.figures.columns import binned, column_histogram\n\n"
            f'values = relative_norms(run.features.query("not dead"), {one}, {other})\n'
            'column_histogram(binned(values, low=0.0, high=1.0), "relative_norm").show()',
        ),
    )  # fmt: skip


def line(features: pd.DataFrame, feature: int) -> str:
    """`decoder norm 0.66 (34 %) in layer 0, 0.48 (25 %) in layer 1`; empty for an SAE of one slice."""
    from sae.analysis.layer_norms import layer_shares, norms_of

    layers, norms = norms_of(features.iloc[[feature]])
    if not layers:
        return ""
    shares = layer_shares(norms)[0]
    lines = zip(layers, norms[0], shares, strict=True)
    return "decoder norm " + ", ".join(
        f"{norm:.2f} ({100 * part:.0f} %) in layer {layer}" for layer, norm, part in lines
    )
