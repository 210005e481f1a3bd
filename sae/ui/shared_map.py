"""The map of a run's features as its visitors share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import loaded, page
from sae.ui.drawn import Drawn, drawn

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.figures.style import ThemeName
    from sae.workspace.notes import FeatureNote
    from sae.workspace.runs import RunFolder

COLOURS = {
    "density": "density",
    "max_activation": "largest activation",
    "mean_activation": "mean activation",
    "n_examples": "examples",
    "max_decoder_cosine": "nearest decoder direction",
    "decoder_norm": "decoder length",
    "encoder_decoder_cosine": "encoder against decoder",
    "labelled": "labelled or not",
}
_LOGARITHMIC = {"density", "n_examples"}


def of_run(
    run: RunFolder,
    place: loaded.Place,
    features: pd.DataFrame,
    written: Mapping[int, FeatureNote],
    colour: str,
    height: int,
) -> tuple[Drawn, pd.DataFrame]:
    """The map of a run's features and the table behind it.

    Made once for all visitors who see it in one colour, one theme and with the labels of the time.
    """
    labels = tuple(sorted((feature, note.label) for feature, note in written.items() if note.label))
    modified = (run.folder / "features.parquet").stat().st_mtime_ns
    return _drawn(
        str(run.folder), modified, place.modified, place.final, colour, page.theme(), labels, height, place, features
    )


def ringed(whole: Drawn, places: pd.DataFrame, feature: int | None) -> Drawn:
    """The map with its ring, the last trace, around one feature; the dead have no place, and no ring."""
    found = places[places["feature"] == feature]
    at = {"x": found["x"].tolist(), "y": found["y"].tolist()}

    def figure() -> go.Figure:
        import plotly.graph_objects as go

        own = go.Figure(whole.figure())
        own.data[-1].update(at)
        return own

    *points, ring = whole.spec["data"]
    return Drawn({**whole.spec, "data": [*points, {**ring, **at}]}, figure)


@st.cache_resource(max_entries=64, show_spinner=False)
def _drawn(
    folder: str, modified: int, placed: int, final: bool, colour: str, theme: ThemeName,
    labels: tuple[tuple[int, str], ...], height: int, _place: loaded.Place, _features: pd.DataFrame,
) -> tuple[Drawn, pd.DataFrame]:  # fmt: skip
    import plotly.graph_objects as go

    from sae.figures.map import feature_map

    known = dict(labels)
    numbers = ["feature", *(name for name in COLOURS if name in _features)]
    table = _place.table.merge(_features[numbers], on="feature", how="left")
    table["label"] = [known.get(int(feature), "") for feature in table["feature"]]
    table["labelled"] = ["labelled" if label else "not labelled" for label in table["label"]]
    figure = feature_map(
        table, color=colour, method="pca" if "principal" in _place.method else "umap", title="",
        log_color=colour in _LOGARITHMIC, text="label", theme=theme, height=height,
    )  # fmt: skip
    figure.update_layout(margin={"l": 6, "r": 6, "t": 8, "b": 6}, xaxis_title=None, yaxis_title=None)
    ring = {"size": 17, "color": "rgba(0,0,0,0)", "line": {"color": figure.layout.font.color, "width": 2.5}}
    figure.add_trace(
        go.Scatter(x=[], y=[], mode="markers", hoverinfo="skip", showlegend=False, name="chosen", marker=ring)
    )
    return drawn(figure), table
