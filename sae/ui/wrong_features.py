"""Right or wrong: each feature's effect against its adjusted p, as a figure and as a table; a click opens its card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.figures.error_prediction import EFFECTS
from sae.ui import address, heat_map, page
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import count
from sae.ui.wrong_shown import OPEN, Shown, again

HEIGHT = 335


def plot(shown: Shown) -> None:
    """The volcano: effect against adjusted p, with the band that permuted labels give."""
    from sae.figures.error_prediction import volcano

    table = shown.experiment.part(shown.run, "features")
    band = shown.notes[f"{shown.effect}_band"]
    band = float("nan") if band is None else float(band)
    q, p = EFFECTS[shown.effect][1:3]
    chosen = address.get("feature")
    figure = volcano(
        table, shown.effect, band=band if np.isfinite(band) else 0.0, theme=page.theme(), height=HEIGHT,
        selected=int(chosen) if chosen and chosen.isdecimal() else None,
    )  # fmt: skip
    beyond = int((table[p] <= 0.05).sum())
    reach = f"{100 * band:.1f} pp" if shown.effect == "difference" else f"{band:.3f} around 0.5"
    figure_panel(
        figure, table[["feature", "n_active", shown.effect, q, p]].dropna(), key="wrong_volcano",
        title="Features and wrong answers", on_select=_clicked("wrong_volcano"),
        n=f"{shown.n}; {count(shown.notes['features_tested'])} features tested",
        meaning=f"{beyond:,} beyond what chance gives the largest of all ({reach}, grey). A click opens the feature.",
        formula="Tested are features active on 20 problems or more. Effect: share of wrong answers on which the "
        "feature is active less that of right answers, q from the hypergeometric distribution; or the AUROC of its "
        "value, q from Mann and Whitney's test; both adjusted by Benjamini and Hochberg over all tested features "
        "(dashed: 0.05). "
        f"The band: in 95 % of {count(shown.notes['permutations'])} permutations of the groups' labels the largest "
        "effect of any tested feature stays within it. The tests behind q take problems as independent; the "
        "permutations keep groups together. These are associations: a feature may go with hard problems.",
        filename=f"{shown.run}-features-and-errors",
        reproduce=again(
            shown, "from sae.figures.error_prediction import volcano\n\n"
            f'volcano(experiment.part("{shown.run}", "features"), "{shown.effect}", '
            f'band=experiment.part_notes("{shown.run}")["{shown.effect}_band"] or 0.0).show()',
        ),
    )  # fmt: skip


def table(shown: Shown) -> None:
    """Every feature that is active, the smallest q first."""
    q, p = EFFECTS[shown.effect][1:3]
    table = shown.experiment.part(shown.run, "features")
    table = table[table["n_active"] > 0].sort_values([q, "feature"], na_position="last").reset_index(drop=True)
    names = [
        "feature", "n_active", "share_wrong", "share_right", "difference", "log_odds_ratio", "cohens_d", "auroc",
        "mean_wrong", "mean_right", "q_hypergeometric", "q_mann_whitney", "p_permutation", "p_largest",
    ]  # fmt: skip
    if p not in names:
        names[-2:] = ["p_permutation_auroc", p]
    number = st.column_config.NumberColumn
    table_panel(
        table[names], key="wrong_features", title="Features by their effect", height=250, n=shown.n,
        meaning="Those with the smallest q first; a click opens the feature.", on_select=_line_clicked(table),
        formula="With W wrong of n problems and c wrong among the s on which a feature is active: difference "
        "$c/W - (s-c)/(n-W)$; log odds ratio with ½ added to each cell; Cohen's d of the value with the pooled "
        "deviation; AUROC of the value. p by permutation of the groups' labels: of the feature alone, and of the "
        "largest effect of all tested features, which controls the chance of any false one.",
        filename=f"{shown.run}-features-and-errors-table",
        reproduce=again(shown, f'experiment.part("{shown.run}", "features")'),
        columns={
            "feature": number("Feature", format="%d", width=65, pinned=True),
            "n_active": number("Problems", format="localized", width=70, help="On which it is active"),
            "share_wrong": number("Wrong", format="percent", width=60, help="Share of wrong answers with it active"),
            "share_right": number("Right", format="percent", width=60, help="Share of right answers with it active"),
            "difference": number("Difference", format="percent", width=75),
            "log_odds_ratio": number("Log odds ratio", format="%.2f"), "cohens_d": number("Cohen's d", format="%.2f"),
            "auroc": number("AUROC", format="%.3f", width=60), "mean_wrong": number("Mean, wrong", format="%.3g"),
            "mean_right": number("Mean, right", format="%.3g"),
            "q_hypergeometric": number("q, activity", format="%.2g"),
            "q_mann_whitney": number("q, value", format="%.2g"),
            "p_permutation": number("p, permuted", format="%.3f"), "p_largest": number("p, largest", format="%.3f"),
            "p_permutation_auroc": number("p, permuted", format="%.3f"),
            "p_largest_auroc": number("p, largest", format="%.3f"),
        },
    )  # fmt: skip


def _clicked(key: str) -> Any:
    def selected() -> None:
        data = heat_map.clicked(key)
        if isinstance(data, list) and data:
            st.session_state[OPEN] = int(data[0])

    return selected


def _line_clicked(table: pd.DataFrame) -> Any:
    def selected() -> None:
        cells = st.session_state["wrong_features"]["selection"]["cells"]
        if cells and cells[0][0] < len(table):
            st.session_state[OPEN] = int(table["feature"].iloc[cells[0][0]])

    return selected
