"""How often and how strongly features are active: by row, by feature, within one feature, by density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import (
    HEIGHT,
    ThemeName,
    empty_note,
    new_figure,
    number_text,
    theme_of,
)

if TYPE_CHECKING:
    import pandas as pd


def active_per_row(
    table: pd.DataFrame,
    *,
    mean: float,
    sd: float,
    quartiles: tuple[float, float, float],
    k: int | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """How many features are active on a row.

    Args:
        table: active (0, 1, ...), rows. k: marked if given.
    """
    t = theme_of(theme)
    n = int(table["rows"].sum())
    low, middle, high = quartiles
    words = f"{n:,} rows; mean {mean:.1f}, standard deviation {sd:.2f}; quartiles {low:g}, {middle:g}, {high:g}"
    figure = new_figure(
        "Active features per row", words if n else "", x_title="Active features on a row (L0)",
        y_title="Rows", theme=theme, height=height,
    )  # fmt: skip
    if not n:
        return empty_note(figure, "No rows", theme)
    active, rows = table["active"].to_numpy(), table["rows"].to_numpy()
    seen = active[rows > 0]
    figure.add_trace(
        go.Bar(x=active, y=rows, marker={"color": t.bar, "line": {"width": 0}}, name="rows", width=0.9,
               hovertemplate="%{x} active: %{y:,} rows<extra></extra>")
    )  # fmt: skip
    ends = [int(seen.min()), int(seen.max())]
    if k is not None:
        ends = [min(ends[0], k), max(ends[1], k)]
        # beside the line, on the side where there is room
        left = k > (ends[0] + ends[1]) / 2 or ends[0] == ends[1]
        figure.add_vline(
            x=k, line={"color": t.accent, "dash": "dash", "width": 2}, annotation_text=f"K = {k:,}",
            annotation_position="top left" if left else "top right",
            annotation_font={"color": t.accent, "size": 13},
        )  # fmt: skip
    margin = max(3.0, 0.05 * (ends[1] - ends[0]))
    figure.update_xaxes(range=[max(-0.6, ends[0] - margin), ends[1] + margin], tickformat=",d")
    figure.update_yaxes(tickformat=",", range=[0, 1.14 * float(rows.max())])  # room for the mark's name
    figure.update_layout(showlegend=False)
    return figure


def rows_per_feature(
    table: pd.DataFrame,
    *,
    n_rows: int,
    n_features: int,
    n_dead: int,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """On how many rows a feature is active; both axes logarithmic, so dead features stand in the subtitle.

    Args:
        table: low, high (inclusive), features.
    """
    t = theme_of(theme)
    figure = new_figure(
        "Rows per feature",
        f"{n_features - n_dead:,} living of {n_features:,} features; {n_dead:,} dead; {n_rows:,} rows",
        x_title="Rows on which a feature is active (log)", y_title="Features (log)", theme=theme, height=height,
    )  # fmt: skip
    filled = table[table["features"] > 0]
    if not len(filled):
        return empty_note(figure, "No feature is active on any row", theme)
    low, high = filled["low"].to_numpy(float), filled["high"].to_numpy(float)
    said = [f"{a:,.0f}" if a == b else f"{a:,.0f} to {b:,.0f}" for a, b in zip(low, high, strict=True)]
    # a bar from low to high + 1, so that a bin of the single count 1 has a width on a log axis
    figure.add_trace(
        go.Bar(
            x=(low + high + 1) / 2, width=(high + 1 - low) * 0.98, y=filled["features"].to_numpy(),
            marker={"color": t.bar, "line": {"width": 0}}, customdata=said, name="features",
            hovertemplate="%{customdata} rows: %{y:,} features<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1, tickformat=",", minor={"ticks": "outside", "ticklen": 2})
    most = float(filled["features"].max())
    figure.update_yaxes(type="log", dtick=1, tickformat=",", range=[np.log10(0.6), np.log10(most * 1.4)])
    return figure


def feature_frequency(
    ranked: np.ndarray,
    *,
    n_rows: int,
    n_features: int,
    k: float | None = None,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """The share of rows on which each living feature is active, by rank.

    Args:
        ranked: counts of rows in falling order. k: if given, the level at which every feature would be used
            equally, K / d_sae, is drawn.
    """
    t = theme_of(theme)
    figure = new_figure(
        "Feature frequency",
        f"{len(ranked):,} living of {n_features:,} features, {n_rows:,} rows",
        x_title="Rank of the feature (log)", y_title="Share of rows on which it is active (log)",
        theme=theme, height=height,
    )  # fmt: skip
    if not len(ranked):
        return empty_note(figure, "No feature is active on any row", theme)
    rank, share = np.arange(1, len(ranked) + 1), np.asarray(ranked, float) / n_rows
    figure.add_trace(
        go.Scattergl(x=rank, y=share, mode="lines+markers", marker={"size": 4, "color": t.accent},
                     line={"color": t.accent, "width": 1.5}, name="features",
                     hovertemplate="rank %{x:,}: %{y:.2%} of rows<extra></extra>")
    )  # fmt: skip
    if k is not None:
        level = k / n_features
        figure.add_hline(y=level, line={"color": t.muted, "dash": "dash", "width": 1.5})
        # placed by hand: an annotation on a log axis takes the logarithm, a line the value
        figure.add_annotation(
            x=0.01, xref="paper", y=np.log10(level), xanchor="left", yanchor="top", showarrow=False,
            text=f"all features used equally: {number_text(level, 'share')}", font={"color": t.muted, "size": 12},
        )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1, tickformat=",")
    figure.update_yaxes(type="log", dtick=1, tickformat="~%")
    figure.update_layout(showlegend=False)
    return figure


def activation_histogram(
    table: pd.DataFrame,
    *,
    n_zero: int,
    n_rows: int,
    feature: int | None = None,
    log_y: bool = True,
    marked: float | None = None,
    x_range: tuple[float, float] | None = None,
    theme: ThemeName = "light",
    height: int = 280,
) -> go.Figure:
    """One feature's activations; the rows on which it is silent as a bar of their own, left of the others.

    Args:
        table: low, high, rows. log_y: else a linear axis, on which the silent rows stand in the subtitle
            alone.
        marked: the activation of the example at hand, drawn as a line. x_range: to compare two figures.
    """
    t = theme_of(theme)
    active = int(table["rows"].sum()) if len(table) else 0
    density = number_text(active / n_rows if n_rows else np.nan, "share")
    name = "Activations" if feature is None else f"Activations of feature {feature:,}"
    figure = new_figure(
        name, f"active on {active:,} of {n_rows:,} rows ({density}); silent on {n_zero:,}",
        x_title="Activation", y_title="Rows (log)" if log_y else "Rows", theme=theme, height=height,
    )  # fmt: skip
    if not active:
        return empty_note(figure, "Never active on these rows", theme)
    low, high, rows = (table[column].to_numpy() for column in ("low", "high", "rows"))
    split = log_y and n_zero > 0
    figure.add_trace(
        go.Bar(
            x=(low + high) / 2, width=high - low, y=np.where(rows > 0, rows, np.nan), name="active",
            marker={"color": np.where(high <= 0, t.signed[2], t.bar if low.min() >= 0 else t.signed[6]),
                    "line": {"width": 0.5, "color": t.paper}},
            customdata=np.column_stack([low, high]),
            hovertemplate="%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y:,} rows<extra></extra>",
        )
    )  # fmt: skip
    if split:
        figure.add_trace(
            go.Bar(x=["0"], y=[n_zero], xaxis="x2", marker={"color": t.rule}, name="silent", width=0.8,
                   hovertemplate="silent: %{y:,} rows<extra></extra>")
        )  # fmt: skip
        axis = figure.layout.xaxis.to_plotly_json()
        figure.update_layout(
            xaxis={"domain": [0.1, 1]},
            xaxis2={**axis, "domain": [0, 0.07], "type": "category", "anchor": "y", "title": {"text": ""}},
            yaxis={"anchor": "x2"},
        )
    if marked is not None and np.isfinite(marked):
        figure.add_vline(x=marked, line={"color": t.accent, "width": 2}, annotation_text=f"{marked:.3g}",
                         annotation_font={"color": t.accent, "size": 12})  # fmt: skip
    if x_range is not None:
        figure.update_layout(xaxis={"range": list(x_range)})
    figure.update_yaxes(type="log" if log_y else "linear", tickformat=",", rangemode="tozero")
    if log_y:
        most = max(float(rows.max()), float(n_zero if split else 0))
        figure.update_yaxes(dtick=1, range=[np.log10(0.6), np.log10(most * 1.6)])
    figure.update_layout(showlegend=False, bargap=0)
    return figure


def density_bands(table: pd.DataFrame, *, n_rows: int, theme: ThemeName = "light", height: int = 260) -> go.Figure:
    """Features by band of density.

    Args:
        table: band, low, high (shares of rows), features, share.
    """
    t = theme_of(theme)
    n = int(table["features"].sum())
    figure = new_figure("Features by density", f"{n:,} features, {n_rows:,} rows", x_title="Features",
                        theme=theme, height=height)  # fmt: skip
    if not n:
        return empty_note(figure, "No features", theme)
    words = {
        "dead": "dead (never active)",
        "ultra-low": "ultra-low (below 0.01 %)",
        "rare": "rare (below 1 %)",
        "normal": "normal (1 to 50 %)",
        "dense": "dense (above 50 %)",
    }
    count, share = table["features"].to_numpy(), table["share"].to_numpy()
    colors = [t.rule if band == "dead" else t.bar for band in table["band"]]
    figure.add_trace(
        go.Bar(
            y=[words.get(band, band) for band in table["band"]], x=count, orientation="h",
            marker={"color": colors, "line": {"width": 0}},
            text=[f"{a:,} ({number_text(b, 'share')})" for a, b in zip(count, share, strict=True)],
            textposition="outside", cliponaxis=False, textfont={"color": t.ink, "size": 12},
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_xaxes(tickformat=",", range=[0, float(count.max()) * 1.22])
    return figure


def cosine_histogram(
    table: pd.DataFrame,
    *,
    n_features: int,
    d_in: int,
    sampled: bool = False,
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """Cosines between decoder directions, beside what independent random directions would give.

    Args:
        table: low, high, pairs, expected.
    """
    t = theme_of(theme)
    pairs = int(table["pairs"].sum())
    some = "a random sample of " if sampled else ""
    figure = new_figure(
        "Cosines between decoder directions",
        f"{pairs:,} pairs of {some}{n_features:,} living features, {d_in:,} dimensions",
        x_title="Cosine", y_title="Pairs (log)", theme=theme, height=height,
    )  # fmt: skip
    if not pairs:
        return empty_note(figure, "Fewer than two living features", theme)
    middle = ((table["low"] + table["high"]) / 2).to_numpy()
    drawn, expected = table["pairs"].to_numpy(float), table["expected"].to_numpy(float)
    figure.add_trace(
        go.Bar(x=middle, y=np.where(drawn > 0, drawn, np.nan), width=(table["high"] - table["low"]).to_numpy(),
               marker={"color": t.bar, "line": {"width": 0}}, name="these features",
               hovertemplate="cosine %{x:.3f}: %{y:,} pairs<extra></extra>")
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=middle, y=np.where(expected >= 0.5, expected, np.nan), mode="lines", name="random directions",
                   line={"color": t.ink, "dash": "dot", "width": 1.5}, hoverinfo="skip")
    )  # fmt: skip
    seen = middle[(drawn > 0) | (expected >= 0.5)]
    reach = min(1.0, float(np.abs(seen).max()) + 0.05)
    figure.update_xaxes(range=[-reach, reach], tickformat=".2~f")
    figure.update_yaxes(type="log", dtick=1, tickformat=",")
    figure.update_layout(bargap=0, legend={"x": 1, "y": 1, "xanchor": "right", "bgcolor": t.paper})
    return figure
