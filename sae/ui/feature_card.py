"""One feature: what it fires on, how often and how strongly, with which others, and what people wrote about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.analysis.examples import STRATA, stratum_title
from sae.report.examples import has_tokens
from sae.report.visible import visible
from sae.ui import (
    address,
    card_dead,
    card_examples,
    feature_numbers,
    goes_with,
    keys,
    loaded,
    page,
    pickers,
    reproduce,
    role,
    run_layers,
    stability_view,
)
from sae.ui.activation_panel import activation_panel
from sae.ui.drawn import kept
from sae.ui.feature_table import neighbours
from sae.ui.panel import table_panel
from sae.ui.tokens import token_strip
from sae.ui.words import count, plain, share
from sae.workspace.notes import FeatureNote, Notes

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

PER_STRATUM = (5, 10, 20, 50)
PARTNERS = 8


def show(run: RunFolder, feature: int, order: Sequence[int]) -> None:
    """The card. `order`: the features as the table lists them, for the previous and the next one.

    Raises:
        UserError: if the run's tables can't be read.
    """
    features = loaded.features(run)
    line = features.iloc[feature]
    notes = Notes(run.folder, len(features))
    note = notes.feature(feature)
    with st.container(key="feature_card", gap="xsmall"):
        with st.container(gap=None):
            _head(run, feature, order, note)
            _facts(run, line)
            goes_with.show(run, feature)
            stability_view.badge(run, feature)
        if line["dead"]:
            card_dead.show(run, feature, line)
        left, right = st.columns([1.5, 1], gap="medium")
        with left, page.errors_shown("showing examples"):
            _examples(run, feature, line)
        with right:
            _notes(run, feature, notes, note)
            if not line["dead"]:
                _histogram(run, feature)
                _partners(run, feature, notes)
                with page.errors_shown("comparing with labels"):
                    _base_rates(run, feature)
        _listen(run, feature, order)


def go(feature: int | None) -> None:
    """Show another feature."""
    if feature is not None:
        address.choose(feature=feature)


def _head(run: RunFolder, feature: int, order: Sequence[int], note: FeatureNote) -> None:
    before, after, place = neighbours(order, feature)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="card_head"):
        label = f" :gray[{plain(note.label)}]" if note.label else ""
        st.subheader(f"Feature {feature:,}{label}", anchor=False, width="stretch")
        said = f"{place + 1:,} of {len(order):,} listed" if place is not None else "not in the list above"
        st.caption(said, width="content")
        st.button(
            "Previous", key="card_previous", icon=":material/chevron_left:", on_click=go, args=(before,),
            disabled=before is None, help="The one before in the table's order (k or left arrow)",
        )  # fmt: skip
        st.button(
            "Next", key="card_next", icon=":material/chevron_right:", icon_position="right", on_click=go, args=(after,),
            disabled=after is None, help="The one after in the table's order (j or right arrow)",
        )  # fmt: skip
        if role.may_change():
            st.button(
                "Bookmarked" if note.bookmark else "Bookmark", key="card_bookmark",
                icon=":material/bookmark_added:" if note.bookmark else ":material/bookmark:", on_click=_toggle_bookmark,
                args=(run, feature), help="Mark or unmark (b)",
            )  # fmt: skip


def _listen(run: RunFolder, feature: int, order: Sequence[int]) -> None:
    """j and k, or the arrows, step through the list; b marks."""
    before, after, _ = neighbours(order, feature)
    actions = {"j": lambda: go(after), "k": lambda: go(before)}
    actions |= {"ArrowRight": actions["j"], "ArrowLeft": actions["k"]}
    if role.may_change():
        actions["b"] = lambda: _toggle_bookmark(run, feature)
    keys.on_keys(actions, key="card_keys")


def _facts(run: RunFolder, line: pd.Series) -> None:
    n_rows = loaded.codes(run).n_rows
    if line["dead"]:
        words = [f"never active on the {count(n_rows)} rows"]
    else:
        words = [
            f"active on **{count(line['n_active'])}** of {count(n_rows)} rows ({share(line['density'])})",
            f"in {count(line['n_examples'])} {'example' if line['n_examples'] == 1 else 'examples'}",
            f"largest **{line['max_activation']:.3g}**, mean {line['mean_activation']:.3g}",
        ]
    if line["nearest_feature"] >= 0:
        near = int(line["nearest_feature"])
        words.append(f"nearest decoder direction {near:,} (cosine {line['max_decoder_cosine']:.2f})")
    if by_layer := run_layers.line(loaded.features(run), int(line["feature"])):
        words.append(by_layer)
    said = ", ".join(words)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{said[:1].upper()}{said[1:]}.", width="stretch")
        card_examples.thoughts_link(run, int(line["feature"]))


def _toggle_bookmark(run: RunFolder, feature: int) -> None:
    with page.errors_shown("keeping the bookmark"):
        role.require_change()
        notes = Notes(run.folder, len(loaded.features(run)))
        notes.write(feature, bookmark=not notes.feature(feature).bookmark)


def _examples(run: RunFolder, feature: int, line: pd.Series) -> None:
    dead = bool(line["dead"])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        options = [name for name in STRATA if name != "near_miss"] if not dead else ["near_miss"]
        if not dead:
            stratum = pickers.pick_choice(
                "Examples", options, name="examples", default="top", format=stratum_title, visible=False,
            )  # fmt: skip
        else:
            stratum = "near_miss"
            st.markdown("**Where it came nearest**", width="stretch")
        wanted = pickers.pick_choice(
            "How many", list(PER_STRATUM), name="many", default=10, format=lambda n: f"up to {n}", visible=False
        )
        keep = card_examples.pick_rows(run)
    lines = card_examples.strata(
        run, feature, int(wanted or 10), card_dead.closeness(run, feature) if dead else None, keep
    )
    lines = lines[lines["stratum"] == stratum]
    piece = loaded.slice_of(run)
    if keep is not None:
        st.caption(f"From the {count(keep.sum())} of {count(len(keep))} rows that fit the filter.")
    if lines.empty:
        st.caption("No example in this group.")
        return
    values = loaded.codes(run).feature(feature)[1]
    token_strip(
        card_examples.shown(run, feature, lines), key="card_tokens", theme=page.theme(),
        maximum=float(line["max_activation"]) if not dead else 0.0, signed=bool(len(values) and values.min() < 0),
        scale=not dead,
    )  # fmt: skip
    if not dead and not has_tokens(piece):
        st.caption(plain(card_examples.row_note(piece)))


def _histogram(run: RunFolder, feature: int) -> None:
    from sae.figures import activity as figures

    found = feature_numbers.histogram(run, feature)
    figure = kept(
        figures.activation_histogram,
        found.table,
        n_zero=found.n_zero,
        n_rows=found.n_rows,
        feature=feature,
        theme=page.theme(),
        height=210,
    )
    activation_panel(figure, found.table, run=run, feature=feature, key="card_histogram")


def _partners(run: RunFolder, feature: int, notes: Notes) -> None:
    found = feature_numbers.partners(run, feature, PARTNERS)
    labels = {number: note.label for number, note in notes.all().items()}
    table = found[["feature", "pearson", "n_both", "jaccard", "lift"]].copy()
    table.insert(1, "label", [labels.get(int(other), "") for other in table["feature"]])

    def opened() -> None:
        cells = st.session_state["card_partners"]["selection"]["cells"]
        if cells:
            go(int(table["feature"].iloc[cells[0][0]]))

    number = st.column_config.NumberColumn
    with st.container(gap="xxsmall"):
        table_panel(
            table, key="card_partners", title="Correlated features",
            meaning=f"The {PARTNERS} most and least correlated over all rows; a click opens one.",
            formula="Pearson's r of activations over all rows, zeros included; rows on which both are active; Jaccard "
            "and lift of being active.", filename=f"{run.id}-feature-{feature}-partners", height=248, on_select=opened,
            columns={
                "feature": number("Feature", format="%d", width=62),
                "label": st.column_config.TextColumn("Label", width=90),
                "pearson": number("r", format="%.2f", width=50), "n_both": number("Both", format="localized", width=55),
                "jaccard": number("Jaccard", format="%.2f", width=60), "lift": number("Lift", format="%.2g", width=50),
            },
            reproduce=reproduce.of_run(
                run, f"run pairs {run.id} --json",
                f"from sae.analysis.pairs import top_partners\n\ntop_partners(run.codes, {feature}, {PARTNERS})",
            ),
        )  # fmt: skip


def _base_rates(run: RunFolder, feature: int) -> None:
    """What the examples' labels are where it fires, beside how common those labels are anyway."""
    from sae.analysis.examples import LEAST_SUPPORT

    found = feature_numbers.base_rates(run, feature)
    if found is None:
        return
    table = found.farthest
    if table.empty:
        st.caption(
            f"Labels: active in {count(found.n_active)} labelled examples, fewer than the {LEAST_SUPPORT} a share "
            "needs."
        )
        return
    percent = st.column_config.NumberColumn
    table_panel(
        table[["label", "value", "share", "low", "high", "base_rate", "n_active_with"]], key="card_labels",
        title="Labels against base rates",
        meaning="A label says something only where its share among active examples leaves its base rate.",
        formula="Share of examples with the label among those where the feature fires on any row, with a 95 % Wilson "
        "interval; base rate: the share among all examples.", height=220,
        filename=f"{run.id}-feature-{feature}-labels",
        columns={
            "label": st.column_config.TextColumn("Label", width=80),
            "value": st.column_config.TextColumn("Value", width=60),
            "share": percent("Active", format="percent", width=60), "low": percent("Low", format="percent", width=55),
            "high": percent("High", format="percent", width=55),
            "base_rate": percent("Base", format="percent", width=60), "n_active_with": percent("n", width=45),
        },
        reproduce=reproduce.of_run(
            run, f"run features {run.id} --json",
            "from sae.analysis.examples import base_rates\nfrom sae.report.examples import label_columns\n\n"
            'rows, examples = run.slice.rows["example"].to_numpy(), run.slice.activations.examples\n'
            f"found = base_rates(run.codes, {feature}, examples[label_columns(examples)], example=rows)\n"
            'found = found[found["enough"]]\n'
            'found.sort_values("difference", key=abs, ascending=False, kind="stable").head(12)',
        ),
    )  # fmt: skip


def _notes(run: RunFolder, feature: int, notes: Notes, note: FeatureNote) -> None:
    """Label, note and lists. What is written is kept at once, in the run's folder."""
    own = f"{run.id}_{feature}"
    lists = notes.lists()
    member = [name for name, members in lists.items() if feature in members]
    if not role.may_change():
        if note.note:
            st.text(visible(note.note))
        if member:
            st.caption(plain(f"On the lists {', '.join(member)}"))
        return

    def keep(field: str) -> None:
        with page.errors_shown("keeping what you wrote"):
            role.require_change()
            notes.write(feature, **{field: st.session_state[f"{field}_{own}"]})

    def keep_lists() -> None:
        with page.errors_shown("keeping the lists"):
            role.require_change()
            chosen = list(st.session_state[f"lists_{own}"])
            for name in chosen:
                if name not in member:
                    notes.add(name, [feature])
            for name in member:
                if name not in chosen:
                    notes.remove(name, [feature])

    st.text_input(
        "Label", value=note.label, key=f"label_{own}", max_chars=200, on_change=keep, args=("label",),
        placeholder="What it seems to stand for",
    )  # fmt: skip
    with st.expander("Note and lists" if not (note.note or member) else "Note and lists (written)"):
        st.text_area("Note", value=note.note, key=f"note_{own}", max_chars=10_000, on_change=keep, args=("note",))
        st.multiselect(
            "Lists", sorted({*lists, *member}), default=member, key=f"lists_{own}", accept_new_options=True,
            on_change=keep_lists, placeholder="Put it on a list, or type a new one",
        )  # fmt: skip
