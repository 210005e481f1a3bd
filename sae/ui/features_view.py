"""The Features page: the table beside the map, and the card of the chosen feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import streamlit as st

from sae.ui import (
    address,
    feature_card,
    feature_table,
    heat_map,
    link,
    loaded,
    matched,
    page,
    pickers,
    reproduce,
    role,
    shared_map,
)
from sae.ui.once import once
from sae.ui.panel import chart, toolbar
from sae.ui.tables import as_shown
from sae.ui.words import count, plain
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sae.workspace import Workspace
    from sae.workspace.notes import FeatureNote
    from sae.workspace.runs import RunFolder
    from sae.workspace.stability import Stability

HEIGHT = 228  # px of the table and the map: the card's first example stands above the fold
NO_OTHER_SEEDS = ["found", "seed_cosine"]  # columns that only say something where other seeds were trained
NOT_COMPARED = ["goes_with", "goes_with_f1"]  # columns that only say something where examples have labels
_RISING = "-rising"


class Choices(NamedTuple):
    """What stands in the page's row of controls."""

    search: str
    show: str
    sort: str
    rising: bool


def controls(run: RunFolder) -> Choices:
    """Search, filter and order, all in the address."""
    lists = Notes(run.folder).lists()
    shown = [*feature_table.SHOWN, *(f"list {name}" for name in lists)]
    search = pickers.pick_text(
        "Search", name="search", placeholder="number, label or words of its examples",
        help="A feature's number (317 or #317), or words that must all occur in its label, in the label it goes with "
        "or in the questions of its three strongest examples.",
    )  # fmt: skip
    show = pickers.pick_choice(
        "Show", shown, name="show", default="all", format=lambda name: feature_table.SHOWN.get(name, name)
    )
    orders = [f"{name}{way}" for name in feature_table.SORTS for way in ("", _RISING)]
    order = pickers.pick_choice("Sort by", orders, name="sort", default="n_active", format=_order_title) or "n_active"
    return Choices(search, show or "all", order.removesuffix(_RISING), order.endswith(_RISING))


def _order_title(order: str) -> str:
    name = feature_table.SORTS[order.removesuffix(_RISING)]
    return f"{name}, rising" if order.endswith(_RISING) else name


def show(workspace: Workspace, run: RunFolder, choices: Choices) -> None:
    """Table, map and card."""
    features = loaded.features(run)
    notes = Notes(run.folder, len(features))
    texts: list[tuple[str, ...]] = []
    goes_with: pd.DataFrame | None = None
    with page.errors_shown("reading examples"):
        texts = loaded.top_texts(run)
        compared = loaded.specificity(run)
        goes_with = compared.features if compared.notes["n_labels"] else None
    again = None
    with page.errors_shown("looking for the features in other seeds"):
        again = matched.stability(run)
    written = notes.all()
    listed = once(
        _listed, features, texts, goes_with, again, notes=_as_written(written, notes.lists()), choices=choices
    )
    order = listed.order
    feature = chosen_feature(len(features), order)
    left, right = st.columns([1.45, 1], gap="medium")
    with left, link.panel("feature_table"):
        _table(run, listed, feature, len(features), _python(order, choices, features))
    if feature is None:
        _nothing(choices)
    else:
        feature_card.show(run, feature, order)
    # Last: what is drawn of it is on its way to the browser, and the card need not wait for the map.
    with right, link.panel("feature_map"):
        _map(workspace, run, features, written, feature)


class Listed(NamedTuple):
    """The list as it is drawn, kept for all visitors who see the same: nobody may write to it."""

    table: pd.DataFrame
    shown: pd.DataFrame
    columns: dict[str, Any]
    order: list[int]


def _as_written(notes: Mapping[int, FeatureNote], lists: Mapping[str, list[int]]) -> tuple[Any, ...]:
    return tuple(sorted(notes.items())), tuple((name, tuple(members)) for name, members in lists.items())


def _listed(
    features: pd.DataFrame,
    texts: list[tuple[str, ...]],
    goes_with: pd.DataFrame | None,
    again: Stability | None,
    *,
    notes: tuple[Any, ...],
    choices: Choices,
) -> Listed:
    written, lists = map(dict, notes)
    table = feature_table.listing(
        features, written, lists, texts, goes_with=goes_with, stability=None if again is None else again.features,
        search=choices.search, show=choices.show, sort=choices.sort, rising=choices.rising,
    )  # fmt: skip
    hidden = [] if goes_with is not None else NOT_COMPARED
    hidden = hidden if again is not None else [*hidden, *NO_OTHER_SEEDS]
    table = table.drop(columns=hidden)
    seeds = 0 if again is None else again.notes["seeds"]
    shown, columns = as_shown(table.drop(columns=["mean_signed", "dead"]), feature_table.columns(seeds))
    return Listed(table, shown, columns, table["feature"].tolist())


def chosen_feature(d_sae: int, order: list[int]) -> int | None:
    """The feature of the address, or the first of the list; for one that can't be, the nearest there is, said so."""
    asked = address.get("feature")
    first = order[0] if order else None
    if asked is None:
        return first
    try:
        feature = int(asked)
    except ValueError:
        page.note(f"The address asks for feature {asked!r}, which is no number.")
        return first
    if 0 <= feature < d_sae:
        return feature
    nearest = min(max(feature, 0), d_sae - 1)
    page.note(f"There is no feature {feature}: this SAE has features 0 to {d_sae - 1:,}. This is {nearest:,}.")
    return nearest


def _nothing(choices: Choices) -> None:
    said = f"No feature is found by “{choices.search}”" if choices.search else "No feature is here"
    if choices.show != "all":
        said += f" among those shown ({feature_table.SHOWN.get(choices.show, choices.show)})"
    st.info(plain(said) + ".")
    st.button("Show all features", on_click=address.choose, kwargs={"drop": ("search", "show")})


def _table(run: RunFolder, listed: Listed, feature: int | None, d_sae: int, python: str) -> None:
    key, table = "feature_table", listed.table

    def opened() -> None:
        cells = st.session_state[key]["selection"]["cells"]
        if cells and cells[0][0] < len(table):
            address.choose(feature=int(table["feature"].iloc[cells[0][0]]))

    with st.container(horizontal=True, vertical_alignment="center"):
        said = count(d_sae) if len(table) == d_sae else f"{count(len(table))} of {count(d_sae)}"
        st.markdown(f"**{said} features**", width="content")  # Streamlit's own tools lie over the right end
        toolbar(
            None, table, key="feature_table_tools", title="Features", filename=f"{run.id}-features",
            reproduce=reproduce.of_run(run, f"run features {run.id} --json", python),
        )  # fmt: skip
    _select(key, table, feature)
    st.dataframe(
        listed.shown, hide_index=True, key=key, on_select=opened, selection_mode="single-cell",
        height=HEIGHT, column_config=listed.columns, alt="Features; a click opens one",
        placeholder="–",
    )  # fmt: skip


def _python(order: list[int], choices: Choices, features: pd.DataFrame) -> str:
    """The features of the list in its order; labels and what was found with other runs stand in their own files."""
    if len(order) == len(features) and choices.sort in features and choices.sort != "max_decoder_cosine":
        by = f'["{choices.sort}", "feature"], ascending=[{choices.rising}, True]'
        return f"run.features.sort_values({by})"
    return f"run.features.iloc[{order}]"


def _select(key: str, table: pd.DataFrame, feature: int | None) -> None:
    """Mark the line of the feature that is shown, however it was chosen, in the column where the visitor is."""
    places = table.index[table["feature"] == feature] if feature is not None else []
    state = st.session_state.get(key)
    before = [tuple(cell) for cell in state["selection"]["cells"]] if state else []
    column = before[0][1] if before and before[0][1] in table else "feature"
    cells = [(int(places[0]), column)] if len(places) else []
    if cells != before:
        st.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": cells}}


def _map(
    workspace: Workspace,
    run: RunFolder,
    features: pd.DataFrame,
    written: dict[int, Any],
    feature: int | None,
) -> None:
    place = loaded.feature_map(run)
    if not place.final:
        _request(workspace, run)
    key = "feature_map"

    def opened() -> None:
        found = heat_map.clicked(key)
        if isinstance(found, list) and found:
            address.choose(feature=int(found[0]))

    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(place.title.split(' of ')[0])} map**", width="stretch")
        with st.container(width=150):
            colour = pickers.pick_choice(
                "Map colour",
                list(shared_map.COLOURS),
                name="colour",
                default="density",
                format=shared_map.COLOURS.__getitem__,
                visible=False,
            )
        whole, table = shared_map.of_run(run, place, features, written, colour or "density", HEIGHT - 25)
        figure = shared_map.ringed(whole, place.table, feature)
        toolbar(
            figure, table, key="feature_map_tools", title=place.title, filename=f"{run.id}-map",
            meaning="Features whose decoder directions are alike lie together; a click opens one.",
            formula=f"Made by {plain(place.method)}. Distances on a UMAP are not metric: neighbours mean something, "
            "gaps and sizes don't.",
            reproduce=reproduce.of_run(run, f"run features {run.id} --json", _map_python(place)),
        )  # fmt: skip
    chart(figure, key=key, alt=f"{place.title}: {place.method}", on_select=opened)
    said = "by decoder direction" if place.final else "; principal axes until the UMAP is made"
    st.caption(f"n = {count(len(place.table))} living{'' if said.startswith(';') else ' features '}{said}.")


def _map_python(place: loaded.Place) -> str:
    made = 'decoder_map(run.directions, ~run.features["dead"].to_numpy(bool)'
    table = f"table = run.map  # kept; made by {made})" if place.final else f'table, how = {made}, method="pca")'
    return (
        "from sae.analysis.maps import decoder_map\nfrom sae.figures.map import feature_map\n\n"
        f'{table}\nfeature_map(table.merge(run.features, on="feature"), color="density", log_color=True).show()'
    )


def _request(workspace: Workspace, run: RunFolder) -> None:
    """Ask once for the map that is missing; whoever may only read waits for somebody else to."""
    from sae.ui.jobs_view import keep_working
    from sae.workspace.start import request_maps

    if not role.may_change():
        return
    name = run.config.get("experiment") or run.id
    job = workspace.jobs.latest(name, "map")
    if job is None:
        job = request_maps(workspace, name, [run.id])
    if job.active:
        keep_working(workspace)
