"""The Grid page's configurations: what a declared rule picks for each use, beside what the published report picked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import empty, grid_data
from sae.ui.words import count, number, plain, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder


def show(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """What a declared rule picks for each use, beside what the published report picked."""
    from sae.analysis.guide import recommend

    lines = grid_data.configurations(grid_data.matching(table, chosen), list(experiment.factors))
    if not {"k", "d_sae", "ev_total", "dead"} <= set(lines.columns) or lines.empty:
        st.info("Recommendations appear with the first finished run of a grid over K and d_sae.")
        return
    factors = grid_data.varied(lines, list(experiment.factors))
    st.caption(
        f"Each rule is applied to {count(len(lines))} measured configurations on {split} rows; seeds are averaged. "
        "Beside it stands what the published report recommended, from its own table."
    )
    for start in (0, 2):
        for column, found in zip(st.columns(2, gap="medium"), recommend(lines)[start : start + 2], strict=False):
            with column, st.container(border=True, gap="xsmall", height="stretch"):
                st.markdown(f"**{plain(found.use)}**")
                st.caption(plain(found.rule))
                _pick("Here", lines, found.pick_index, found.reason, experiment, factors)
                if found.runner_up_index is not None:
                    _pick("Runner-up", lines, found.runner_up_index, found.runner_up_reason, experiment, factors)
                else:
                    st.caption(f"Runner-up: {plain(found.runner_up_reason)}")
                _reports_pick(lines, found.report_pick, found.report_words, experiment)


def _pick(
    word: str, lines: pd.DataFrame, index: object, reason: str, experiment: ExperimentFolder, factors: list[str]
) -> None:
    if index is None:
        st.markdown(f"{word}: {plain(reason)}")
        return
    line = lines.loc[index]
    with st.container(gap=None):
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.markdown(f"{word}:", width="content")
            label = grid_data.name_of(line.to_dict(), factors)
            empty.link("run", label, experiment=experiment.name, run=line["run"])
        st.caption(plain(reason))


def _reports_pick(lines: pd.DataFrame, pick: tuple[int, int] | None, words: str, experiment: ExperimentFolder) -> None:
    if pick is None:
        return
    k, d_sae = pick
    said = f"The report: K {k}, {d_sae:,} features (“{words}”)."
    same = lines[(lines["k"] == k) & (lines["d_sae"] == d_sae)]
    if same.empty:
        st.caption(plain(f"{said} Not in this grid."))
        return
    line = same.iloc[0]
    ev, dead = number(line["ev_total"]), share(line["dead"])
    st.caption(plain(f"{said} Here it has explained variance {ev}, {dead} dead."))
