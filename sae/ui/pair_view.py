"""One pair of features: its correlation with an interval and beside chance, row by row, and its examples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from sae.common.errors import UserError
from sae.report.examples import has_tokens
from sae.ui import card_examples, empty, loaded, page, pickers, reproduce
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel
from sae.ui.tokens import token_strip
from sae.ui.words import count, plain
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from sae.analysis.codes import FeatureActivations
    from sae.analysis.pair_chance import PairInterval, PermutationMaximum
    from sae.workspace.runs import RunFolder

WHICH = {"both": "Both active", "only a": "Only the first", "only b": "Only the second"}
PERMUTATIONS = 19


def show(run: RunFolder, codes: FeatureActivations, a: int, b: int) -> None:
    """How often and how strongly both are active, what chance makes of it, and on which examples."""
    from sae.analysis.pairs import pair_rows
    from sae.figures.pairs import pair_scatter

    rows = pair_rows(codes, a, b)
    by_example = _examples_known(run)
    interval = _interval(str(run.folder), modified(run), a, b, by_example)
    labels = Notes(run.folder).all()
    experiment = run.config.get("experiment")
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="pair_head"):
        st.subheader(f"Features {a:,} and {b:,}", anchor=False, width="stretch")
        for feature in (a, b):
            label = labels[feature].label if feature in labels and labels[feature].label else f"Feature {feature:,}"
            empty.link("features", plain(label), experiment=experiment, run=run.id, feature=feature)
    st.markdown(_said(rows, codes.n_rows, interval, by_example))
    _null(run, interval, a, b)
    left, right = st.columns([1, 1.35], gap="medium")
    with left:
        figure_panel(
            kept(
                pair_scatter, rows, a, b, n_rows=codes.n_rows, pearson=interval.pearson, theme=page.theme(), height=340
            ),
            rows, key="pair_scatter", title="Row by row", meaning="Rows on which either is active.",
            formula="One point a row. Rows on which only one is active lie on its axis; rows on which neither is "
            "active are counted, not drawn, and enter r.", filename=f"{run.id}-pair-{a}-{b}",
            reproduce=reproduce.of_run(
                run, f"run pairs {run.id} --json",
                "from sae.analysis.pairs import pair_rows\nfrom sae.figures.pairs import pair_scatter\n\n"
                f"rows = pair_rows(run.codes, {a}, {b})\n"
                f"pair_scatter(rows, {a}, {b}, n_rows={codes.n_rows}).show()",
            ),
        )  # fmt: skip
    with right, page.errors_shown("showing examples"):
        _examples(run, codes, rows, a, b)


def modified(run: RunFolder) -> int:
    """When the run's pairs were written, in ns."""
    return (run.folder / "pairs.parquet").stat().st_mtime_ns


def _examples_known(run: RunFolder) -> bool:
    """Whether rows of one example can be drawn together; without the activations each row stands for itself."""
    try:
        loaded.examples_by_row(run)
    except UserError:
        return False
    return True


def _said(rows: pd.DataFrame, n_rows: int, interval: PairInterval, by_example: bool) -> str:
    found = rows["which"].value_counts()
    both, first, second = (count(found.get(which, 0)) for which in WHICH)
    known = np.isfinite(interval.low)
    drawn = "examples" if by_example else "rows: the activations that say which rows share an example are gone"
    bounds = f" (95 % interval {interval.low:.3f} to {interval.high:.3f}, bootstrap over {drawn})" if known else ""
    return (
        f"r = **{interval.pearson:.3f}**{bounds}. Both active on **{both}** of {count(n_rows)} rows, only the first on "
        f"{first}, only the second on {second}."
    )


@st.cache_resource(max_entries=256, show_spinner=False)
def _interval(folder: str, modified: int, a: int, b: int, by_example: bool) -> PairInterval:
    from pathlib import Path

    from sae.analysis.pair_chance import pair_interval
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    example = loaded.examples_by_row(run) if by_example else None
    return pair_interval(loaded.codes(run), a, b, example, n_boot=400)


def _null(run: RunFolder, interval: PairInterval, a: int, b: int) -> None:
    """What r chance reaches among all pairs: worked out when asked for, then kept while the app runs."""
    key = (str(run.folder), modified(run))
    done = st.session_state.get("pair_null") == key[0]
    if not done:
        st.button(
            "Compare with chance", key="pair_null_button", type="tertiary", icon=":material/shuffle:",
            on_click=lambda: st.session_state.update(pair_null=key[0]),
            help=f"Permutes each feature's examples {PERMUTATIONS} times and takes the largest |r| of any pair. Some "
            "seconds to a minute.",
        )  # fmt: skip
        return
    bound: PermutationMaximum = _permuted(*key)
    beyond = abs(interval.pearson) > bound.bound
    st.markdown(
        f"By chance the largest |r| of any pair with {bound.min_support} rows together stays below "
        f"**{bound.bound:.3f}** in 95 % of permutations ({PERMUTATIONS} of them, by example): this pair is "
        f"{'beyond' if beyond else 'not beyond'} it."
    )


@st.cache_resource(max_entries=16, show_spinner="Permuting examples")
def _permuted(folder: str, modified: int) -> PermutationMaximum:
    from pathlib import Path

    from sae.analysis.pair_chance import permutation_maximum
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    return permutation_maximum(loaded.codes(run), loaded.examples_by_row(run), n=PERMUTATIONS)


def _examples(run: RunFolder, codes: FeatureActivations, rows: pd.DataFrame, a: int, b: int) -> None:
    """Examples both fire on, or one alone; shaded by the first, or by the second where that alone fires."""
    which = pickers.pick_choice(
        "Examples", list(WHICH), name="which", default="both", format=WHICH.__getitem__, look="buttons", visible=False
    )
    part = rows[rows["which"] == which]
    feature, column = (b, "value_b") if which == "only b" else (a, "value_a")
    owner = loaded.examples_by_row(run)
    strength = part["value_a"].abs() + part["value_b"].abs()
    part = part.assign(strength=strength, example=owner[part["row"].to_numpy()])
    part = part.sort_values("strength", ascending=False, kind="stable").drop_duplicates("example").head(8)
    if part.empty:
        st.caption("No row of this kind.")
        return
    lines = part.rename(columns={column: "activation"})[["row", "example", "activation"]]
    values = codes.feature(feature)[1]
    more = "; strongest together first" if which == "both" else ""
    st.caption(f"Shaded by feature {feature:,}, {count(len(rows[rows['which'] == which]))} rows{more}.")
    examples = card_examples.shown(run, feature, lines)
    if which == "both":
        others = [f"{b:,} at {value:.3g}" for value in part["value_b"]]
        examples = [replace(one, aside=f"{said}, {one.aside}") for one, said in zip(examples, others, strict=True)]
    token_strip(
        examples, key="pair_tokens", theme=page.theme(),
        maximum=float(np.abs(values).max()) if len(values) else 0.0, signed=bool(len(values) and values.min() < 0),
    )  # fmt: skip
    piece = loaded.slice_of(run)
    if not has_tokens(piece):
        st.caption(plain(card_examples.row_note(piece)))
