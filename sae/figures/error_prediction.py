"""Error prediction: probes beside what they have to beat, features' effects, calibration, and AUROC by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from sae.figures.style import HEIGHT, ThemeName, category_color, empty_note, new_figure, number_text, theme_of

if TYPE_CHECKING:
    import pandas as pd

#: effect -> (title, the q and the p over all features that belong to it, unit of its values)
EFFECTS = {
    "difference": ("Difference in activity share, wrong minus right", "q_hypergeometric", "p_largest", "share"),
    "auroc": ("AUROC of the feature's value, errors ranked high", "q_mann_whitney", "p_largest_auroc", "ev"),
}
LEVEL = 0.05
_LEAST_Q = 1e-300


def forest(
    table: pd.DataFrame,
    *,
    null: tuple[float, float] | None = None,
    title: str = "AUROC of wrong answers",
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """A point and its interval for each probe: on SAE features filled, baselines hollow; ½ is no better than chance.

    Args:
        table: a line a probe with `title`, `baseline` (bool), `auroc`, `auroc_low`, `auroc_high`.
        null: what permuted labels give in 95 of 100 cases, drawn as a band.
    """
    t = theme_of(theme)
    figure = new_figure(title, subtitle, x_title="AUROC", theme=theme, height=height)
    if not len(table):
        return empty_note(figure, "The full protocol was not run here", theme)
    if null is not None:
        figure.add_shape(
            type="rect", x0=null[0], x1=null[1], y0=0, y1=1, yref="paper", layer="below", name="null", line_width=0,
            fillcolor=t.grid,
        )  # fmt: skip
    figure.add_shape(
        type="line", x0=0.5, x1=0.5, y0=0, y1=1, yref="paper", layer="below", name="chance",
        line={"color": t.rule, "width": 1, "dash": "dash"},
    )  # fmt: skip
    ordered = table.sort_values("baseline", kind="stable")
    for baseline, name in ((False, "SAE features"), (True, "Baselines")):
        lines = ordered[ordered["baseline"] == baseline]
        color = t.muted if baseline else t.accent
        area, low, high = (lines[column].to_numpy(float) for column in ("auroc", "auroc_low", "auroc_high"))
        said = [
            f"{line.title}<br>AUROC {line.auroc:.3f}, 95 % interval {line.auroc_low:.3f} to {line.auroc_high:.3f}"
            for line in lines.itertuples()
        ]
        figure.add_trace(
            go.Scatter(
                x=area.tolist(), y=lines["title"].tolist(), mode="markers", name=name, customdata=said,
                hovertemplate="%{customdata}<extra></extra>",
                error_x={"type": "data", "symmetric": False, "array": high - area, "arrayminus": area - low,
                         "color": color, "thickness": 1.5, "width": 4},
                marker={"size": 9, "color": t.paper if baseline else color, "line": {"color": color, "width": 1.5}},
            )
        )  # fmt: skip
    names = ordered["title"].tolist()
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=names, range=[len(names) - 0.5, -0.5], ticks=""
    )
    figure.update_xaxes(tickformat=".2~f")
    figure.update_layout(legend={"x": 0, "y": 1, "yanchor": "bottom", "orientation": "h"}, margin={"t": 30})
    return figure


def volcano(
    table: pd.DataFrame,
    effect: str = "difference",
    *,
    band: float,
    selected: int | None = None,
    title: str = "Features and wrong answers",
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """A feature's effect against its adjusted p; clickable, the customdata of a point are [feature, hover].

    Filled are features beyond the permutation band whose q is below 0.05.

    Args:
        table: of `sae.evaluation.error_prediction.effects`; features that were not tested are left out.
        effect: a key of `EFFECTS`.
        band: what the largest effect of any feature stays within in 95 of 100 permutations of the labels: of
            |difference|, or of |AUROC - 1/2|.
        selected: a feature to ring.

    Raises:
        ValueError: for an effect that is not known.
    """
    if effect not in EFFECTS:
        raise ValueError(f"effect {effect!r} is not known: take one of {', '.join(EFFECTS)}")
    axis, q_name, p_name, kind = EFFECTS[effect]
    middle = 0.5 if effect == "auroc" else 0.0
    t = theme_of(theme)
    figure = new_figure(title, subtitle, x_title=axis, y_title="−log₁₀ q", theme=theme, height=height)
    lines = table[table[q_name].notna()]
    if not len(lines):
        return empty_note(figure, "No feature is active on enough problems to be tested", theme)
    x = lines[effect].to_numpy(float)
    y = -np.log10(np.maximum(lines[q_name].to_numpy(float), _LEAST_Q))
    y = np.maximum(y, 0)
    beyond = (np.abs(x - middle) > band) & (lines[q_name].to_numpy(float) < LEVEL)
    figure.add_shape(
        type="rect", x0=middle - band, x1=middle + band, y0=0, y1=1, yref="paper", layer="below", name="band",
        line_width=0, fillcolor=t.grid,
    )  # fmt: skip
    figure.add_shape(
        type="line", x0=0, x1=1, xref="paper", y0=-np.log10(LEVEL), y1=-np.log10(LEVEL), layer="below", name="q",
        line={"color": t.rule, "width": 1, "dash": "dash"},
    )  # fmt: skip
    said = [
        f"Feature {int(line['feature']):,}<br>active on {line['share_wrong']:.1%} of wrong, {line['share_right']:.1%} "
        f"of right ({int(line['n_active']):,} problems)<br>{_effect_text(line[effect], effect, kind)}, q = "
        f"{line[q_name]:.2g}, p over all features = {line[p_name]:.2g}".replace("%", " %")
        for line in lines.to_dict("records")
    ]
    features = lines["feature"].to_numpy(int)
    for filled, name in ((False, "within the band, or q of 0.05 and above"), (True, "beyond the band, q below 0.05")):
        inside = beyond == filled
        custom = [[int(features[i]), said[i]] for i in np.flatnonzero(inside)]
        look = {"size": 8 if filled else 6, "color": t.accent if filled else t.rule, "opacity": 0.9 if filled else 0.6}
        figure.add_trace(
            go.Scatter(
                x=x[inside].tolist(), y=y[inside].tolist(), mode="markers", customdata=custom,
                name=f"{name} ({inside.sum():,})", marker=look, hovertemplate="%{customdata[1]}<extra></extra>",
                selected={"marker": {"opacity": look["opacity"]}}, unselected={"marker": {"opacity": look["opacity"]}},
            )
        )  # fmt: skip
    for i in np.flatnonzero(features == selected):
        figure.add_trace(
            go.Scatter(
                x=[x[i]], y=[y[i]], mode="markers", hoverinfo="skip", name="selected", showlegend=False,
                marker={"size": 15, "color": "rgba(0,0,0,0)", "line": {"color": t.ink, "width": 2.5}},
            )
        )  # fmt: skip
    reach = max(float(np.abs(x - middle).max()), band) * 1.08
    figure.update_xaxes(range=[middle - reach, middle + reach], tickformat=".0%" if kind == "share" else ".2~f")
    figure.update_yaxes(range=[-0.03 * max(1.6, y.max()), 1.08 * max(1.6, y.max())])
    figure.update_layout(legend={"x": 0, "y": 1, "yanchor": "bottom", "orientation": "h"}, margin={"t": 30})
    return figure


def calibration_curve(
    table: pd.DataFrame,
    titles: Mapping[str, str],
    *,
    title: str = "Calibration",
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """Share of wrong answers against the predicted chance, bin by bin; on the diagonal chances are what they say.

    Args:
        table: `probe`, `chance`, `wrong`, `n` (predictions in the bin). titles: which probes, by name.
    """
    t = theme_of(theme)
    figure = new_figure(
        title, subtitle, x_title="Predicted chance of a wrong answer", y_title="Share wrong", theme=theme, height=height
    )
    if not len(table):
        return empty_note(figure, "The full protocol was not run here", theme)
    figure.add_shape(
        type="line", x0=0, y0=0, x1=1, y1=1, layer="below", name="diagonal",
        line={"color": t.rule, "width": 1, "dash": "dash"},
    )  # fmt: skip
    for number, (probe, name) in enumerate(titles.items()):
        lines = table[table["probe"] == probe]
        figure.add_trace(
            go.Scatter(
                x=lines["chance"].tolist(), y=lines["wrong"].tolist(), mode="lines+markers", name=name,
                customdata=lines["n"].tolist(),
                line={"color": category_color(number, theme), "width": 1.5},
                marker={"size": 5 + 9 * np.sqrt(lines["n"] / max(lines["n"].max(), 1))},
                hovertemplate=f"{name}<br>predicted %{{x:.1%}}, wrong %{{y:.1%}}<br>%{{customdata:,}} predictions"
                "<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_layout(legend={"x": 0, "y": 1, "yanchor": "bottom", "orientation": "h"}, margin={"t": 30})
    return figure


def by_step(
    table: pd.DataFrame,
    steps: Sequence[str],
    *,
    level: float,
    detected: str | None = None,
    title: str = "AUROC by step",
    subtitle: str = "",
    theme: ThemeName = "light",
    height: int = 300,
) -> go.Figure:
    """AUROC of the features at each step of one layer, with simultaneous intervals, and of the question alone.

    Args:
        table: a line a step with `step` (its name), `auroc`, `low`, `high`, `question`.
        steps: their names in order. level: of each interval, for the hover.
        detected: the step from which on features tell more than the question; it gets a filled point.
    """
    t = theme_of(theme)
    figure = new_figure(title, subtitle, x_title="Step of thinking", y_title="AUROC", theme=theme, height=height)
    if not len(table):
        return empty_note(figure, "No step was measured", theme)
    area, low, high = (table[column].to_numpy(float) for column in ("auroc", "low", "high"))
    said = [
        f"{step}: AUROC {a:.3f}, {number_text(level, 'share')} interval {b:.3f} to {c:.3f}"
        for step, a, b, c in zip(table["step"], area, low, high, strict=True)
    ]
    figure.add_trace(
        go.Scatter(
            x=table["step"].tolist(), y=area.tolist(), mode="lines+markers", name="SAE features", customdata=said,
            line={"color": t.accent, "width": 1}, hovertemplate="%{customdata}<extra></extra>",
            marker={"size": 9, "color": [t.accent if step == detected else t.paper for step in table["step"]],
                    "line": {"color": t.accent, "width": 1.5}},
            error_y={"type": "data", "symmetric": False, "array": high - area, "arrayminus": area - low,
                     "color": t.accent, "thickness": 1.5, "width": 4},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=table["step"].tolist(), y=table["question"].tolist(), mode="lines", name="Question only",
            line={"color": t.muted, "width": 1.5, "dash": "dash"}, hovertemplate="%{x}: %{y:.3f}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=list(steps))
    figure.update_yaxes(tickformat=".2~f")
    figure.update_layout(legend={"x": 0, "y": 1, "yanchor": "bottom", "orientation": "h"}, margin={"t": 30})
    return figure


def _effect_text(value: float, effect: str, kind: str) -> str:
    return f"difference {number_text(value, kind, signed=True)}" if effect == "difference" else f"AUROC {value:.3f}"
