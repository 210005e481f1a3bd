"""The frontier: which configurations nobody beats, under objectives that the reader chooses, and who beats the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.analysis.pareto import dominators, non_dominated
from sae.figures.frontier import frontier
from sae.figures.style import metric_title
from sae.ui import grid_data, heat_map, page, pickers
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce, experiment_command
from sae.ui.tables import as_shown
from sae.ui.words import count

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

DEFAULT = ("ev_total", "k")
_TESTS = {
    "standard": "as good in all, better in one",
    "strict": "better in every one (the report's test)",
}


def show(experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]) -> None:
    """Objectives, the figure, and every configuration with what beats it."""
    factors = list(experiment.factors)
    lines = with_spread(grid_data.matching(table, chosen), factors)
    offered = [name for name in grid_data.OBJECTIVES if name in lines]
    if lines.empty or len(offered) < 2:
        st.info("The frontier appears with the first finished run.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        objectives = pickers.pick_many(
            "Objectives", offered, name="objectives", default=[o for o in DEFAULT if o in offered],
            format=grid_data.objective_title,
        )  # fmt: skip
        test = pickers.pick_choice(
            "One beats another if it is", list(_TESTS), name="test", default="standard", format=_TESTS.__getitem__,
            help="The published report counted a configuration as beaten only by one that is better in every "
            "objective: configurations that are equal in one, such as K, then never beat each other.",
        )  # fmt: skip
    if not objectives:
        st.info("Choose at least one objective.")
        return
    lines = judged(lines, objectives, strict=test == "strict", factors=factors)
    best = int(lines["on_frontier"].sum())
    other = judged(lines, objectives, strict=test != "strict", factors=factors)["on_frontier"].sum()
    names = {"standard": "standard dominance", "strict": "the report's test"}
    against = names["standard" if test == "strict" else "strict"]
    st.markdown(
        f"**{best} of {count(len(lines))}** configurations are on the frontier by {names[test or 'standard']}; "
        f"{int(other)} by {against}."
    )
    x = next((name for name in ("k", "l0", "d_sae", "dead") if name in objectives), "k")
    y = next((name for name in ("ev_total", "ev_flat", "mse", "dead", "alive") if name in objectives and name != x), "")
    y = y or "ev_total"
    figure = kept(
        frontier, lines, x=x, y=y, group="d_sae" if x != "d_sae" else "k", theme=page.theme(), height=400,
        baselines=None if y != "ev_total" or x != "k" else _baselines(experiment, table, split),
        staircase=len(objectives) == 2 and {x, y} == set(objectives), log_x=x in ("k", "d_sae"),
        error=f"{y}_sd" if f"{y}_sd" in lines else None,
    )  # fmt: skip
    shown = lines[["configuration", "beaten_by", *objectives, "seeds"]].copy()
    shown["beaten_by"] = shown["beaten_by"].where(~lines["on_frontier"], "nothing: on the frontier")
    left, right = st.columns([1, 1.15], gap="medium")
    with left:
        figure_panel(
            figure, lines.drop(columns=["run"]), key="frontier_figure",
            title=f"{metric_title(y)} against {metric_title(x).split(' (')[0]}",
            meaning=f"Filled: on the frontier; hollow: beaten. {split.capitalize()} rows; bars: deviation over seeds.",
            formula="B dominates A if B is at least as good in every objective and better in one. With *better in "
            "every one* (the published report's test), B must be better in each: lines that are equal in an objective "
            "never dominate each other, which is how all 12 of its configurations came out optimal.",
            n=f"{len(lines):,} configurations", filename=f"{experiment.name}-frontier-{split}",
            reproduce=_reproduce(experiment, split, objectives, test == "strict", chosen),
            columns=grid_data.metric_columns(lines, ["k", "d_sae"]),
            on_select=_opened,
        )  # fmt: skip
    with right:
        st.markdown("**What beats what**")
        st.caption("For each configuration the one that leads it on most objectives.")
        shown, config = as_shown(shown, {
            **grid_data.metric_columns(shown, []),
            "configuration": st.column_config.TextColumn("Configuration", width=135),
            "beaten_by": st.column_config.TextColumn("Beaten by", width=420),
            "seeds": st.column_config.NumberColumn("Seeds", width=55),
        })  # fmt: skip
        st.dataframe(
            shown, hide_index=True, height=min(38 + 35 * len(shown), 420), column_config=config,
            alt="Configurations and what beats them",
        )  # fmt: skip
    opened = st.session_state.pop("grid_open", None)
    if opened is not None:
        st.switch_page("pages/run.py", query_params={"experiment": experiment.name, "run": opened})


def _opened() -> None:
    data = heat_map.clicked("frontier_figure")
    if isinstance(data, list) and data and data[0]:
        st.session_state["grid_open"] = data[0]


def with_spread(table: pd.DataFrame, factors: list[str]) -> pd.DataFrame:
    """A line a configuration, with the standard deviation over its seeds of each objective as `NAME_sd`."""
    lines = grid_data.configurations(table, factors)
    if lines.empty:
        return lines
    cells = [name for name in factors if name != "seed"]
    done = table[table["state"] == "done"]
    measured = [name for name in grid_data.OBJECTIVES if name in done and name not in cells]
    spread = done.groupby(cells, sort=False)[measured].std(ddof=1).add_suffix("_sd").reset_index()
    lines = lines.merge(spread, on=cells, how="left")
    varied = grid_data.varied(lines, factors)
    lines.insert(0, "configuration", [grid_data.name_of(line, varied) for line in lines.to_dict("records")])
    return lines


def judged(lines: pd.DataFrame, objectives: list[str], *, strict: bool, factors: list[str]) -> pd.DataFrame:
    """`lines` with `on_frontier` and, in words, `beaten_by`; those on the frontier first, by the first objective."""
    maximize = [name for name in objectives if grid_data.OBJECTIVES[name] == "high"]
    minimize = [name for name in objectives if grid_data.OBJECTIVES[name] == "low"]
    lines = lines.reset_index(drop=True)
    best = non_dominated(lines, maximize, minimize, strict_all=strict)
    beaten = dominators(lines, maximize, minimize, strict_all=strict)
    varied = grid_data.varied(lines, factors)
    words = [grid_data.beaten_by(lines, i, found, objectives, varied) for i, found in enumerate(beaten)]
    result = lines.assign(on_frontier=best, beaten_by=words)
    first = objectives[0]
    rising = [False, grid_data.OBJECTIVES[first] == "low"]
    return result.sort_values(["on_frontier", first], ascending=rising, kind="stable", ignore_index=True)


def _baselines(experiment: ExperimentFolder, table: pd.DataFrame, split: str) -> dict[str, pd.DataFrame] | None:
    from sae.ui.baselines import baseline_table

    found = baseline_table(experiment, table, split)
    if found.empty:
        return None
    lines = {
        "PCA of K components": found.groupby("k")["pca"].mean().rename("ev_total").reset_index(),
        "mean predictor": pd.DataFrame({"ev_total": [0.0]}),
    }
    for d_sae, part in found.groupby("d_sae"):
        if d_sae == found["d_sae"].max():
            lines[f"random dictionary, {d_sae:,}"] = part[["k", "random_dictionary"]].rename(
                columns={"random_dictionary": "ev_total"}
            )
    return lines


def _reproduce(
    experiment: ExperimentFolder, split: str, objectives: list[str], strict: bool, chosen: Mapping[str, Any]
) -> Reproduce:
    from sae.ui.grid_views import hashes

    maximize = [name for name in objectives if grid_data.OBJECTIVES[name] == "high"]
    minimize = [name for name in objectives if grid_data.OBJECTIVES[name] == "low"]
    kept = {name: value for name, value in chosen.items() if value is not None}
    rising = objectives[0] in minimize
    order = f'["on_frontier", "{objectives[0]}"], ascending=[False, {rising}], kind="stable"'
    python = (
        "from sae.analysis.pareto import non_dominated\n"
        "from sae.ui.grid_data import configurations, matching, runs_with_metrics\n"
        "from sae.workspace import Workspace\n\n"
        f'experiment = Workspace.at().experiment("{experiment.name}")\n'
        f'runs = matching(runs_with_metrics(experiment, "{split}"), {kept!r})\n'
        "table = configurations(runs, list(experiment.factors))\n"
        f"best = non_dominated(table, maximize={maximize}, minimize={minimize}, strict_all={strict})\n"
        f"table.assign(on_frontier=best).sort_values({order})"
    )
    command = f"{experiment_command(experiment.spec)}\npython -m sae experiment show {experiment.name} --json"
    return Reproduce(command, python, hashes(experiment))
