"""The Grid page's difference view: another experiment, or another recipe, minus this one, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.figures.grid import difference_heat_map
from sae.figures.style import metric_title
from sae.ui import grid_data, heat_map, page, pickers
from sae.ui.grid_views import BIG, axes_of, hashes, n_words, open_cell
from sae.ui.panel import figure_panel
from sae.ui.reproduce import Reproduce
from sae.ui.tables import as_shown
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder


def show(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """Another experiment, or another recipe of this one, minus what the pickers above show."""
    from sae.analysis.differences import difference as cell_difference

    names = [other.name for other in workspace.experiments() if other.source is None]
    x, y = axes_of(experiment)
    metrics = [name for name in grid_data.METRICS if name == "ev_total" or table.get(name, pd.Series()).notna().any()]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        metric = pickers.pick_choice("Metric", metrics, name="metric", default="ev_total", format=metric_title)
        other_name = pickers.pick_choice(
            "Compared with experiment", names, name="with", default=experiment.name, needs="experiment"
        )
        other = workspace.experiment(other_name or experiment.name)
        recipes = list(other.factors.get("preset", []))
        here = chosen.get("preset", (experiment.factors.get("preset") or [None])[0])
        preferred = [r for r in recipes if r != here] if other.name == experiment.name else recipes
        recipe = None
        if recipes:
            first = (preferred or recipes)[0]
            recipe = pickers.pick_choice("Recipe", [first, *[r for r in recipes if r != first]], name="with_preset")
    metric = metric or "ev_total"
    kept = {name: value for name, value in chosen.items() if value is not None}
    other_kept = {"preset": recipe} if recipes else {}
    left = grid_data.matching(table, kept)
    right = grid_data.matching(grid_data.runs_with_metrics(other, split), other_kept)
    for side, name in ((left, experiment.name), (right, other.name)):
        if metric not in side or side[metric].notna().sum() == 0:
            st.info(f"No finished run of {plain(name)} has {metric_title(metric).lower()} on {split} rows yet.")
            return
    missing = [name for name in (x, y) if name not in right]
    if missing:
        st.info(f"{plain(other.name)} does not vary {missing[0]}: there are no cells to compare.")
        return
    cells = cell_difference(left, right, metric, on=[y, x])
    cells["run"] = cells.merge(
        right.groupby([y, x], sort=False)["run"].agg(",".join).reset_index(), on=[y, x], how="left"
    )["run"]
    before = f"{experiment.name}{f' {here}' if here else ''}"
    after = f"{other.name}{f' {recipe}' if recipe else ''}"
    cells = cells.astype({"run": object})
    cells["run"] = cells["run"].where(cells["run"].notna(), None)
    figure = difference_heat_map(cells, metric=metric, x=x, y=y, theme=page.theme(), height=BIG)
    key = f"difference_{metric}"
    drawn, listed = st.columns([1.5, 1], gap="medium")
    with listed:
        titles = {"left": before, "right": after, "difference": "Difference", "standard_error": "SE"}
        kind = grid_data.metric_columns(cells.rename(columns={"left": metric}), [])[metric]["type_config"]
        sides = {side: {**st.column_config.NumberColumn(title), "type_config": kind} for side, title in titles.items()}
        shown, config = as_shown(cells[[y, x, *titles]], {**grid_data.metric_columns(cells, ["k", "d_sae"]), **sides})
        st.dataframe(
            shown, hide_index=True, alt="Cells of both experiments", column_config=config, placeholder="–"
        )  # fmt: skip
    with drawn:
        figure_panel(
            figure, cells, key=key, title=f"{after} minus {before}: {metric_title(metric)}",
            meaning="Blue: the second has less; orange: it has more. The spread is the standard error over seeds. "
            "A click opens the second one's run.",
            formula=r"$$\bar m_{second} - \bar m_{first}, \quad SE = \sqrt{s_1^2 / n_1 + s_2^2 / n_2}$$ over seeds; no "
            "standard error with fewer than two seeds on a side.",
            n=n_words(experiment, split), filename=f"{after}-minus-{before}-{metric}-{split}".replace(" ", "-"),
            reproduce=Reproduce(
                "\n".join(
                    f"python -m sae experiment show {name} --json"
                    for name in dict.fromkeys((experiment.name, other.name))
                ),
                "from sae.analysis.differences import difference\n"
                "from sae.ui.grid_data import matching, runs_with_metrics\n"
                "from sae.workspace import Workspace\n\nworkspace = Workspace.at()\n"
                f'left = runs_with_metrics(workspace.experiment("{experiment.name}"), "{split}")\n'
                f'right = runs_with_metrics(workspace.experiment("{other.name}"), "{split}")\n'
                f"left, right = matching(left, {kept!r}), matching(right, {other_kept!r})\n"
                f'difference(left, right, "{metric}", on=["{y}", "{x}"])',
                hashes(experiment) | hashes(other),
            ),
            columns=grid_data.metric_columns(cells, ["k", "d_sae"]), on_select=heat_map.when_clicked(key, open_cell),
        )  # fmt: skip
    opened = st.session_state.pop("grid_open", None)
    if opened is not None:
        st.switch_page("pages/run.py", query_params={"experiment": other.name, "run": opened})
