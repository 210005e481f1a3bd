"""How every figure looks: paper and ink in light and dark, the colours, the numbers' formats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

ThemeName = Literal["light", "dark"]

FONT = '"Source Sans 3", "Source Sans Pro", "Source Sans", system-ui, "Segoe UI", Helvetica, Arial, sans-serif'
HEIGHT = 420

# Cividis (Nuñez, Anderton and Renslow 2018) at equal steps.
CIVIDIS = (
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
)  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """Colours of one theme. `categories`: Okabe and Ito's, in an order that holds contrast on this paper."""

    paper: str
    ink: str
    muted: str
    grid: str
    rule: str
    accent: str
    bar: str
    panel: str
    bad: str
    signed: tuple[str, ...]
    categories: tuple[str, ...]


THEMES = {
    "light": Theme(
        paper="#fcfbf8",
        ink="#14171b",
        muted="#5c6168",
        grid="#e9e6de",
        rule="#b9b4a8",
        accent="#1f5a8c",
        bar="#6f93b3",
        panel="#f2f0ea",
        bad="#a4372b",
        signed=("#0b3c66", "#1d5d97", "#4a86bd", "#8ab1d6", "#fcfbf8", "#eab47a", "#d58936", "#a9620f", "#744003"),
        categories=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#14171b", "#a89f00"),
    ),
    "dark": Theme(
        paper="#14171a",
        ink="#e6e3dc",
        muted="#a9adb1",
        grid="#2a2f34",
        rule="#565c63",
        accent="#8cbbe3",
        bar="#5f87aa",
        panel="#1d2125",
        bad="#eb9a8f",
        signed=("#a9d0f2", "#74aede", "#3f7fb5", "#214c70", "#14171a", "#6b421a", "#b06a1f", "#e09a4b", "#f8cf9f"),
        categories=("#56b4e9", "#e69f00", "#00b487", "#cc79a7", "#f0e442", "#e8742a", "#e6e3dc", "#3f97d1"),
    ),
}

# metric -> (title, kind of number). Kinds: ev, share, count, decimal (one of them), number.
METRICS = {
    "ev_total": ("Explained variance", "ev"),
    "ev_flat": ("Explained variance, flat (the report's)", "ev"),
    "ev_layers": ("Explained variance, mean over layers", "ev"),
    "mse": ("Mean squared error per element", "number"),
    "l0": ("Active features per row (L0)", "number"),
    "l0_sd": ("Standard deviation of L0 over rows", "number"),
    "reconstruction_bias": ("Reconstruction bias (below 1: shrunk)", "ev"),
    "l2_ratio": ("Norm of the reconstruction over the row's", "ev"),
    "dead": ("Dead features", "share"),
    "dead_train": ("Dead features on train rows", "share"),
    "mean_activation": ("Mean |activation| of active features", "number"),
    "max_activation": ("Largest |activation|", "number"),
    "perplexity": ("Perplexity of feature use", "count"),
    "dense": ("Dense features, on over half of the rows", "share"),
    "ultra_low": ("Ultra-low features, below 1 row in 10,000", "share"),
    "reconstruction_loss": ("Reconstruction loss", "ev"),
    "reconstruction_loss_soft": ("Reconstruction loss, not rounded", "ev"),
    "rounding_gap": ("Rounding gap", "ev"),
    "fixed_topk_reconstruction_loss": ("Fixed-TopK reconstruction loss", "ev"),
    "mean_predictor_loss": ("Mean predictor's loss", "ev"),
    "average_activation_count": ("Average activation count (bits on a row)", "decimal"),
    "activation_count_standard_deviation": ("Standard deviation of the activation count (bits)", "decimal"),
    "sparsity_deviation": ("Sparsity deviation, |mean count - K| / K", "ev"),
    "sparsity_alignment": ("Sparsity alignment", "ev"),
    "index_bits": ("Storage as indices (bits a row)", "decimal"),
    "compression": ("Compression against float32 (times)", "decimal"),
    "zero_share": ("Share of activations that are 0", "share"),
    "l1": ("Mean L1 norm of activations", "number"),
    "l1_coefficient": ("Penalty (coefficient of L1)", "number"),
    "running_l0": ("Active features per row, running mean", "number"),
    "orthogonality_loss": ("Orthogonality loss", "number"),
    "ortsae_loss": ("OrtSAE's loss", "number"),
    "tau": ("Tau", "number"),
    "pair_fraction": ("Share of pairs selected", "number"),
    "pairs_selected": ("Pairs selected", "count"),
    "pair_features": ("Features in selected pairs", "count"),
    "pair_similarity": ("Mean similarity of selected pairs", "number"),
    "pair_threshold": ("Threshold of similarity", "number"),
    "pair_jaccard": ("Pairs kept since the last look (Jaccard)", "share"),
    "pair_lifetime": ("Mean lifetime of a selected pair (steps)", "decimal"),
    "pair_entropy": ("Entropy of how often pairs are selected (nats)", "decimal"),
    "pruned": ("Features pruned so far", "count"),
    "reallocated": ("Features reallocated so far", "count"),
    "neighbourhood_size": ("Mean size of a neighbourhood (features)", "decimal"),
    "damped_share": ("Activations that inhibition damps", "share"),
    "mean_abs_correlation": ("Mean |correlation| of features", "ev"),
    "max_decoder_cosine_mean": ("Nearest decoder direction, mean cosine", "ev"),
    "kl_score_mean": ("KL score, against the mean", "ev"),
    "ce_score_mean": ("Cross-entropy score, against the mean", "ev"),
    "sae_top_1_test_accuracy": ("Probe of 1 feature: test accuracy", "share"),
    "sae_top_5_test_accuracy": ("Probe of 5 features: test accuracy", "share"),
    "sae_test_accuracy": ("Probe of all features: test accuracy", "share"),
    "sae_test_accuracy_shuffled": ("Probe of all features, labels shuffled", "share"),
    "absorption_rate": ("Absorption rate: parent off where a child is on", "share"),
    "absorption_rate_random": ("Absorption rate of random features", "share"),
    "mean_absorption_fraction_score": ("Absorption fraction, mean", "share"),
    "mean_full_absorption_score": ("Full absorption, mean", "share"),
    "mean_num_split_features": ("Features that a parent is split into, mean", "decimal"),
    "label_f1": ("Concepts: F1 of the best feature", "ev"),
    "label_f1_null": ("Concepts: F1 of the best feature, labels shuffled", "ev"),
    "feature_f1": ("Features: F1 of the best concept", "ev"),
    "feature_f1_null": ("Features: F1 of the best concept, labels shuffled", "ev"),
    "confirmed": ("Features with a confirmed concept", "share"),
    "coherence_between": ("Coherence of a feature's rows", "ev"),
    "match_phi": ("Match with another seed (phi)", "ev"),
    "match_phi_null": ("Match with another seed (phi), rows permuted", "ev"),
    "bit_flips": ("Bits that flipped since the last point", "share"),
    "gradient_norm": ("Norm of the gradient", "number"),
    "objective": ("Objective", "number"),
    "alpha": ("Alpha", "number"),
    "loss": ("Loss", "number"),
    "seconds": ("Training time (s)", "number"),
    "parameters": ("Parameters", "count"),
    "alive": ("Living features", "count"),
    "k": ("K (active features per row)", "count"),
    "d_sae": ("Dictionary size (features)", "count"),
    "seed": ("Seed", "count"),
    "density": ("Density (share of rows active)", "share"),
    "n_active": ("Rows on which the feature is active", "count"),
    "n_examples": ("Examples on which the feature is active", "count"),
    "max_decoder_cosine": ("Cosine with the nearest living decoder direction", "number"),
    "encoder_decoder_cosine": ("Cosine of encoder and decoder", "number"),
    "decoder_norm": ("Length of the decoder vector", "number"),
    "step": ("Training step", "count"),
    "epoch": ("Epoch", "number"),
    "layer": ("Layer", "count"),
    "position": ("Position", "count"),
    "accuracy": ("Right answers", "share"),
    "accuracy_clean": ("Right answers, not patched", "share"),
    "accuracy_patched": ("Right answers, patched", "share"),
    "accuracy_mean": ("Right answers, training mean instead", "share"),
    "accuracy_change": ("Change of right answers", "share"),
    "flipped": ("Answers flipped", "share"),
    "right_to_wrong": ("Answers from right to wrong", "share"),
    "wrong_to_right": ("Answers from wrong to right", "share"),
    "kl": ("KL of the answer (nats per token)", "number"),
    "kl_recovered": ("KL recovered, against the mean", "ev"),
}
_OF_LAYER = re.compile(r"ev_layer_(\d+)")  # of a crosscoder
_SPLIT_PREFIXES = {"validation_": "validation", "train_": "train"}


def theme_of(name: ThemeName) -> Theme:
    """Raises ValueError for anything but "light" and "dark"."""
    if name not in THEMES:
        raise ValueError(f"a theme is light or dark, not {name!r}")
    return THEMES[name]


def is_metric(name: str) -> bool:
    """Whether a run or a measurement of it may have a metric of this name."""
    return name in METRICS or _OF_LAYER.fullmatch(name) is not None


def metric_title(name: str) -> str:
    """A column's name as an axis or title prints it."""
    if name in METRICS:
        return METRICS[name][0]
    for prefix, split in _SPLIT_PREFIXES.items():
        if name.startswith(prefix) and name.removeprefix(prefix) in METRICS:
            return f"{METRICS[name.removeprefix(prefix)][0]}, {split}"
    if layer := _OF_LAYER.fullmatch(name):
        return f"Explained variance, layer {layer[1]}"
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def metric_kind(name: str) -> str:
    """The kind of number that a column holds: "ev", "share", "count" or "number"."""
    for prefix in ("", *_SPLIT_PREFIXES):
        if name.startswith(prefix) and name.removeprefix(prefix) in METRICS:
            return METRICS[name.removeprefix(prefix)][1]
    return "ev" if _OF_LAYER.fullmatch(name) else "number"


def number_text(value: Any, kind: str = "number", signed: bool = False) -> str:
    """A number for people: EV with three decimals, shares in per cent with one, counts with separators."""
    if value is None or not np.isfinite(value):
        return "no value"
    if signed:  # a typographic minus, as wide as the plus
        return _unsigned_text(float(value), kind, "+").replace("-", "\u2212")
    return _unsigned_text(float(value), kind, "")


def _unsigned_text(value: float, kind: str, plus: str) -> str:
    if kind == "ev":
        return _no_minus_zero(f"{value:{plus}.3f}")
    if kind == "share":
        unit = " pp" if plus else " %"  # a difference of shares is in percentage points
        return _no_minus_zero(f"{100 * value:{plus}.1f}") + unit
    if kind == "decimal":
        return f"{value:{plus},.1f}"
    if kind == "count":
        return f"{value:{plus},.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:{plus},.1f}"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:{plus},.0f}"
    return f"{value:{plus}.3g}" if abs(value) >= 1e-4 else f"{value:{plus}.2e}"


def _no_minus_zero(text: str) -> str:
    return text.replace("-", "+", 1) if text.startswith("-") and not text.strip("-0.") else text


def tick_format(kind: str, log: bool = False) -> str:
    """The same for an axis, in d3's words; a logarithmic axis goes on below a tenth of a per cent."""
    if log and kind == "share":
        return ".2~p"
    return {"ev": ".3~f", "share": ".1~%", "count": ",", "decimal": ",.1~f", "number": ",~g"}.get(kind, "")


def category_color(index: int, theme: ThemeName = "light") -> str:
    """The colour of the index-th category; after eight they come round again."""
    categories = theme_of(theme).categories
    return categories[index % len(categories)]


def colorscale(colors: tuple[str, ...]) -> list[list[Any]]:
    """Colours at equal steps as plotly takes a scale."""
    return [[i / (len(colors) - 1), color] for i, color in enumerate(colors)]


def color_at(share: float, colors: tuple[str, ...] = CIVIDIS) -> str:
    """The colour at `share` (0 to 1) of the way along a scale, as #rrggbb."""
    place = float(np.clip(share, 0, 1)) * (len(colors) - 1)
    low = min(int(place), len(colors) - 2)
    pair = np.array([_channels(colors[low]), _channels(colors[low + 1])])
    mixed = pair[0] + (pair[1] - pair[0]) * (place - low)
    return "#" + "".join(f"{int(round(value)):02x}" for value in mixed)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two #rrggbb colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def text_on(background: str) -> str:
    """Black or white ink, whichever is easier to read on this colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, background))


def new_figure(
    title: str = "",
    subtitle: str = "",
    *,
    x_title: str = "",
    y_title: str = "",
    theme: ThemeName = "light",
    height: int = HEIGHT,
) -> go.Figure:
    """An empty figure in our style. Its width is the page's."""
    t = theme_of(theme)
    axis: dict[str, Any] = {
        "color": t.muted,
        "gridcolor": t.grid,
        "linecolor": t.rule,
        "tickcolor": t.rule,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "automargin": True,
        "tickfont": {"size": 12, "color": t.muted},
    }
    layout: dict[str, Any] = {
        # nothing of plotly's own template: it would bring back its greys
        "template": {"layout": {"colorway": list(t.categories)}},
        "height": height,
        "font": {"family": FONT, "size": 13, "color": t.ink},
        "paper_bgcolor": t.paper,
        "plot_bgcolor": t.paper,
        "margin": {"l": 64, "r": 24, "t": 66 if subtitle else 46 if title else 20, "b": 54},
        "xaxis": {**axis, "title": {"text": x_title, "font": {"size": 13, "color": t.ink}, "standoff": 8}},
        "yaxis": {**axis, "title": {"text": y_title, "font": {"size": 13, "color": t.ink}, "standoff": 8}},
        "legend": {
            "bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 12, "color": t.ink},
            "title": {"font": {"size": 12, "color": t.muted}},
            "itemsizing": "constant",
        },
        "hoverlabel": {
            "bgcolor": t.panel,
            "bordercolor": t.rule,
            "font": {"family": FONT, "size": 13, "color": t.ink},
            "align": "left",
        },
        "hovermode": "closest",
        "bargap": 0.06,
        "dragmode": False,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": t.muted, "activecolor": t.accent},
    }
    if title:
        layout["title"] = {
            "text": title,
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14, "l": 0},
            "font": {"size": 16, "color": t.ink, "weight": 600},
            "subtitle": {"text": subtitle, "font": {"size": 13, "color": t.muted}},
        }
    return go.Figure(layout=layout)  # in one step: each update of a layout is validated anew


def colorbar(title: str, theme: ThemeName, kind: str = "number") -> dict[str, Any]:
    """A thin colour bar with its unit at the side."""
    t = theme_of(theme)
    return {
        "thickness": 10,
        "outlinewidth": 0,
        "len": 1.0,
        "x": 1.02,
        "ticks": "outside",
        "ticklen": 3,
        "nticks": 6,
        "tickcolor": t.rule,
        "tickformat": tick_format(kind),
        "tickfont": {"size": 12, "color": t.muted},
        "title": {"text": title, "side": "right", "font": {"size": 12, "color": t.muted}},
    }


def empty_note(figure: go.Figure, text: str, theme: ThemeName) -> go.Figure:
    """Say in the middle of an empty figure why it is empty."""
    figure.add_annotation(
        text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False,
        font={"size": 14, "color": theme_of(theme).muted},
    )  # fmt: skip
    figure.update_xaxes(showticklabels=False, ticks="", showgrid=False)
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False)
    return figure


def _channels(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], float)


def _luminance(color: str) -> float:
    parts = _channels(color) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
