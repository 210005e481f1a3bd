"""Matched features: how similar they are beside chance, in how many seeds they are found, and families across sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import ThemeName, color_at, empty_note, new_figure, theme_of

if TYPE_CHECKING:
    import pandas as pd


_WORDS = 0.72  # the share of a column's width that a feature's words may take


def similarity_histogram(
    table: pd.DataFrame,
    lines: Mapping[str, float],
    *,
    x_title: str = "Similarity of matched features",
    title: str = "Similarity of matched features",
    threshold: float | None = None,
    theme: ThemeName = "light",
    height: int = 320,
) -> go.Figure:
    """A table of `sae.figures.columns.binned` as bars, with chance as dotted lines and the threshold as a dashed one.

    Args:
        lines: what a line stands for -> where it lies.
    """
    t = theme_of(theme)
    figure = new_figure(title, x_title=x_title, y_title="Features", theme=theme, height=height)
    if not len(table) or not table["features"].sum():
        return empty_note(figure, "No feature is matched", theme)
    low, high, counts = (table[name].to_numpy(float) for name in ("low", "high", "features"))
    figure.add_trace(
        go.Bar(
            x=(low + high) / 2, width=high - low, y=np.where(counts > 0, counts, np.nan), name="features",
            marker={"color": t.bar, "line": {"width": 0.5, "color": t.paper}},
            customdata=np.column_stack([low, high]), showlegend=False,
            hovertemplate="%{customdata[0]:.3f} to %{customdata[1]:.3f}: %{y:,} features<extra></extra>",
        )
    )  # fmt: skip
    top = float(counts.max()) * 1.06
    drawn = [(f"{name} ({value:.2f})", value, "dot", t.categories[1 + at]) for at, (name, value) in
             enumerate(lines.items())]  # fmt: skip
    if threshold is not None:
        drawn.append((f"threshold ({threshold:.2f})", threshold, "dash", t.ink))
    for name, value, dash, color in drawn:
        figure.add_trace(
            go.Scatter(
                x=[value, value], y=[0, top], mode="lines", name=name, line={"dash": dash, "color": color, "width": 2},
                hovertemplate=f"{name}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(tickformat=".1f", range=[min(0.0, float(low.min())), 1.0])
    figure.update_yaxes(tickformat=",", range=[0, top])
    figure.update_layout(
        bargap=0, legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"}
    )
    return figure


def found_again(
    table: pd.DataFrame, *, title: str = "Found again in other seeds", theme: ThemeName = "light", height: int = 260
) -> go.Figure:
    """A table of `sae.analysis.matching_seeds.found_in` as bars, the number of features on each."""
    t = theme_of(theme)
    figure = new_figure(
        title, x_title="Other seeds that have it", y_title="Living features", theme=theme, height=height
    )
    if not len(table) or not table["features"].sum():
        return empty_note(figure, "No living feature", theme)
    figure.add_trace(
        go.Bar(
            x=[f"{int(found)}" for found in table["found"]], y=table["features"], marker={"color": t.bar},
            text=[f"{100 * share:.1f} %" for share in table["share"]], textposition="outside", cliponaxis=False,
            textfont={"color": t.ink, "size": 12},
            hovertemplate="in %{x} of " + f"{len(table) - 1}" + " other seeds: %{y:,} features<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=",", range=[0, float(table["features"].max()) * 1.15])
    figure.update_layout(showlegend=False, bargap=0.25)
    return figure


def family(
    table: pd.DataFrame,
    columns: Sequence[str],
    *,
    labels: Mapping[tuple[int, int], str] | None = None,
    title: str = "Family",
    theme: ThemeName = "light",
    height: int | None = None,
) -> go.Figure:
    """A family of `sae.analysis.matching_fates.family_tree`: a column a size, a box a feature, a line to its parent.

    The first trace of nodes has [generation, feature] as its customdata. A line is the thicker, the more similar the
    two are; a box says the similarity and is coloured by it.

    Args:
        columns: what each generation is called.
        labels: (generation, feature) -> words under its number.
    """
    t = theme_of(theme)
    places = tree_places(table)
    deepest = int(table["generation"].max())
    leaves = len({y for y in places.values()})
    figure = new_figure(title, theme=theme, height=height or int(np.clip(90 + 42 * leaves, 200, 1_800)))
    for line in table.itertuples():
        if line.generation == 0:
            continue
        y0, y1 = places[line.generation - 1, line.parent], places[line.generation, line.feature]
        x0 = line.generation - 1 + _WORDS  # beside what is written of the parent
        figure.add_trace(
            go.Scatter(
                x=[x0, x0 + 0.03, line.generation - 0.06, line.generation - 0.03], y=[y0, y0, y1, y1], mode="lines",
                hoverinfo="skip", showlegend=False,
                line={"color": t.rule, "width": 0.8 + 3.5 * max(line.similarity - 0.5, 0)},
            )
        )  # fmt: skip
    colors = [color_at(float(value)) for value in table["similarity"]]
    figure.add_trace(
        go.Scatter(
            x=table["generation"], y=[places[g, f] for g, f in zip(table["generation"], table["feature"], strict=True)],
            mode="markers",
            marker={"symbol": "square", "size": 13, "color": colors, "line": {"color": t.rule, "width": 1}},
            customdata=table[["generation", "feature", "similarity"]].to_numpy(), showlegend=False,
            hovertemplate="feature %{customdata[1]:,}, cosine with its parent %{customdata[2]:.3f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(annotations=[
        {
            "x": line.generation, "y": places[line.generation, line.feature], "xanchor": "left", "xshift": 10,
            "text": _said(line, labels), "align": "left", "showarrow": False, "bgcolor": t.paper, "borderpad": 1,
            "font": {"size": 12, "color": t.ink},
        }
        for line in table.itertuples()
    ])  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(deepest + 1)), ticktext=list(columns[: deepest + 1]), side="top", showgrid=False,
        range=[-0.1, deepest + 0.9], ticks="", showline=False,
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-leaves + 0.3, 0.7])
    figure.update_layout(margin={"l": 16, "r": 16, "t": 40, "b": 10})
    return figure


def tree_places(table: pd.DataFrame) -> dict[tuple[int, int], float]:
    """By (generation, feature) the height at which it is drawn: leaves one below the other, a parent at the middle of
    its children.
    """
    children: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for line in table.itertuples():
        if line.generation:
            key = (int(line.generation) - 1, int(line.parent))
            children.setdefault(key, []).append((int(line.generation), int(line.feature)))
    places: dict[tuple[int, int], float] = {}
    leaves = 0

    def put(node: tuple[int, int]) -> float:
        nonlocal leaves
        below = [put(child) for child in children.get(node, [])]
        if below:
            places[node] = (below[0] + below[-1]) / 2
        else:
            places[node] = -float(leaves)
            leaves += 1
        return places[node]

    put((0, int(table["feature"].iloc[0])))
    return places


def _said(line: Any, labels: Mapping[tuple[int, int], str] | None) -> str:
    """Number and cosine, and its label on a second line."""
    found = (labels or {}).get((int(line.generation), int(line.feature)), "")
    cosine = "" if line.generation == 0 else f"  {line.similarity:.2f}"
    return f"<b>{line.feature:,}</b>{cosine}{f'<br><i>{found}</i>' if found else ''}"
