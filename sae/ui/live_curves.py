"""The learning curves of a run while it trains: loss, explained variance and dead features over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

HEIGHT = 340
FLOOR = -0.5


def live_curves(history: pd.DataFrame, theme: Literal["light", "dark"] = "light") -> go.Figure:
    """Three small panels over one axis of epochs.

    Args:
        history: history.parquet of a run; `validation_ev_total` is NaN between evaluations.
    """
    from sae.figures.style import new_figure, theme_of

    look = theme_of(theme)
    figure = new_figure(theme=theme, height=HEIGHT)
    first, second = look.categories[0], look.categories[1]
    held_out = history.dropna(subset="validation_ev_total")
    line = {"color": first, "width": 1.6}
    epochs = history["epoch"]
    hover = "epoch %{x:.2f}: %{y:.4g}<extra>%{fullData.name}</extra>"

    def add(x: pd.Series, y: pd.Series, name: str, axis: str, **style: object) -> None:
        figure.add_scatter(x=x, y=y, name=name, yaxis=axis, hovertemplate=hover, showlegend=axis == "y2", **style)

    add(epochs, history["loss"], "loss, batch", "y", line=line, mode="lines")
    add(epochs, history["ev_total_batch"], "train batch", "y2", line=line, mode="lines")
    add(
        held_out["epoch"], held_out["validation_ev_total"], "validation", "y2", mode="lines+markers",
        line={"color": second, "width": 1.4}, marker={"size": 5, "color": second},
    )  # fmt: skip
    add(epochs, history["dead_share"], "dead features", "y3", line=line, mode="lines")
    plain = figure.layout.yaxis.to_plotly_json()
    for number, (low, high, title, more) in enumerate(
        [
            (0.76, 1.0, "Loss", {"rangemode": "tozero", "tickformat": ".3~g"}),
            (0.37, 0.65, "EV_total", {"tickformat": ".2~f"}),
            (0.0, 0.28, "Dead", {"rangemode": "tozero", "tickformat": ".0~%"}),
        ],
        start=1,
    ):
        name = "yaxis" if number == 1 else f"yaxis{number}"
        title_font = {"size": 12, "color": look.ink}
        figure.layout[name] = {
            **plain, "domain": [low, high], "nticks": 4, "title": {"text": title, "font": title_font}, **more,
        }  # fmt: skip
    # A start far below 0 would press the rest of the curve into a line.
    lowest, highest = history["ev_total_batch"].min(), history["ev_total_batch"].max()
    if lowest < FLOOR:
        figure.update_layout(yaxis2_range=[FLOOR, max(float(highest), 0.0) + 0.08])
    figure.update_layout(
        xaxis={"title": {"text": "Epoch"}, "rangemode": "tozero", "anchor": "y3"},
        margin={"l": 56, "r": 12, "t": 8, "b": 40},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 0.655, "yanchor": "bottom"},
        uirevision="live",  # a zoom stays while the figure grows
    )
    return figure
