"""The map of features: one point a feature, coloured by any column, a click opens its card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import (
    CIVIDIS,
    ThemeName,
    category_color,
    colorbar,
    colorscale,
    empty_note,
    metric_kind,
    metric_title,
    new_figure,
    number_text,
    theme_of,
)

if TYPE_CHECKING:
    import pandas as pd

_MOST_CATEGORIES = 8
# on paper cividis' yellow end and on dark its blue end would vanish: the ramp stops short of it
_POINT_COLORS = {"light": CIVIDIS[:9], "dark": ("#4a6fae", *CIVIDIS[3:])}


def feature_map(
    table: pd.DataFrame,
    *,
    color: str | None = None,
    selected: int | None = None,
    method: str = "umap",
    log_color: bool = False,
    text: str | None = None,
    title: str = "Feature map",
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = 520,
) -> go.Figure:
    """Features in the plane.

    Args:
        table: feature, x, y; and `color` (numbers, or up to 8 categories, others counted together), and
            `text` (a column shown in the hover, a label say). A feature without a number is drawn in grey.
        selected: the feature to mark. method: names the axes.

    Each point's customdata are [feature, what the hover says].
    """
    t = theme_of(theme)
    axis = method.upper()
    note = "distances are not metric" if method == "umap" else "first two principal axes"
    words = "; ".join(part for part in (f"{len(table):,} living features", subtitle, note) if part)
    figure = new_figure(title, words, x_title=f"{axis} 1", y_title=f"{axis} 2", theme=theme, height=height)
    if not len(table):
        return empty_note(figure, "No living features", theme)
    features = table["feature"].to_numpy()
    size = 7 if len(table) <= 4000 else 5 if len(table) <= 20_000 else 3
    hover = [f"feature {feature:,}" for feature in features]
    if text is not None and text in table:
        hover = [
            f"{head}<br>{tail}" if isinstance(tail, str) and tail else head
            for head, tail in zip(hover, table[text], strict=True)
        ]

    def points(mask: np.ndarray, said: list[str], **more: Any) -> None:
        custom = [[int(features[i]), said[i]] for i in np.flatnonzero(mask)]
        figure.add_trace(
            go.Scattergl(
                x=table["x"].to_numpy(np.float32)[mask], y=table["y"].to_numpy(np.float32)[mask], mode="markers",
                customdata=custom, hovertemplate="%{customdata[1]}<extra></extra>",
                selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 0.85}}, **more,
            )
        )  # fmt: skip

    everyone = np.ones(len(table), bool)
    numeric = color is not None and color in table and table[color].dtype.kind in "fiu"
    if color is None or color not in table:
        points(everyone, hover, marker={"size": size, "color": t.accent, "opacity": 0.85}, showlegend=False)
    elif numeric:
        kind = metric_kind(color)
        values = table[color].to_numpy(float)
        known = np.isfinite(values) & ((values > 0) | (not log_color))
        said = [
            f"{head}<br>{metric_title(color)}: {number_text(v, kind)}" for head, v in zip(hover, values, strict=True)
        ]
        if not known.all():
            points(~known, said, marker={"size": size, "color": t.rule, "opacity": 0.7}, name="no value")
        if known.any():
            shown = np.log10(values[known]) if log_color else values[known]
            bar = colorbar(metric_title(color), theme, kind)
            if log_color:
                powers = np.arange(np.floor(shown.min()), np.ceil(shown.max()) + 1)
                bar |= {"tickvals": powers, "ticktext": [number_text(10.0**p, kind) for p in powers]}
            # the strongest on top: draw in rising order
            order = np.flatnonzero(known)[np.argsort(shown, kind="stable")]
            custom = [[int(features[i]), said[i]] for i in order]
            figure.add_trace(
                go.Scattergl(
                    x=table["x"].to_numpy(np.float32)[order], y=table["y"].to_numpy(np.float32)[order], mode="markers",
                    customdata=custom, hovertemplate="%{customdata[1]}<extra></extra>", showlegend=False, name=color,
                    marker={"size": size, "color": np.sort(shown, kind="stable"), "opacity": 0.9,
                            "colorscale": colorscale(_POINT_COLORS[theme]), "showscale": True, "colorbar": bar},
                    selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 0.9}},
                )
            )  # fmt: skip
    else:
        values = table[color].astype("object").where(table[color].notna(), "no value").astype(str).to_numpy()
        names, counts = np.unique(values, return_counts=True)
        names = names[np.argsort(-counts, kind="stable")]
        if len(names) > _MOST_CATEGORIES:
            values = np.where(np.isin(values, names[: _MOST_CATEGORIES - 1]), values, "other")
            names = np.append(names[: _MOST_CATEGORIES - 1], "other")
        said = [f"{head}<br>{metric_title(color)}: {v}" for head, v in zip(hover, values, strict=True)]
        for number, name in enumerate(names):
            shade = t.rule if name in ("no value", "other") else category_color(number, theme)
            inside = values == name
            marker = {"size": size, "color": shade, "opacity": 0.85}
            points(inside, said, marker=marker, name=f"{name} ({inside.sum():,})")
    for i in np.flatnonzero(features == selected):
        x, y = float(table["x"].iloc[i]), float(table["y"].iloc[i])
        figure.add_annotation(
            x=x, y=y, text=f"{int(features[i]):,}", showarrow=False, yanchor="bottom", yshift=12, borderpad=2,
            bgcolor=t.paper, bordercolor=t.ink, font={"size": 13, "color": t.ink, "weight": 600},
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[x], y=[y], mode="markers", hoverinfo="skip", name="selected", showlegend=False,
                marker={"size": size + 8, "color": "rgba(0,0,0,0)", "line": {"color": t.ink, "width": 2.5}},
            )
        )  # fmt: skip
    # positions have no unit: no ticks, and one scale both ways
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False, showline=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, showline=False)
    figure.update_layout(dragmode="pan", margin={"b": 36, "l": 36})
    # beside a colour bar there is no room: the legend's one entry goes below
    place = (
        {"x": 0, "y": 0, "xanchor": "left", "yanchor": "bottom"} if numeric else {"x": 1.02, "y": 1, "xanchor": "left"}
    )
    figure.update_layout(legend=place)
    return figure
