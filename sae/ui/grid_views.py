"""What the Grid page shows of an experiment: heat maps, differences, the frontier, configurations, runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.figures.grid import grid_heat_map
from sae.figures.style import metric_title
from sae.ui import (
    address,
    empty,
    grid_configurations,
    grid_data,
    grid_notes,
    grid_runs,
    heat_map,
    page,
    pickers,
    scaling_view,
)
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, table_panel
from sae.ui.reproduce import Reproduce, experiment_command
from sae.ui.words import number, plain

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

BIG, SMALL = 345, 270  # px, the height of the chosen figure and of the others
SIX = ("ev_total", "ev_flat", "dead", "mean_activation", "max_activation", "mse")
EVERY = 2.0  # s between looks at an experiment that trains
_SEEDS_TOGETHER = "mean"


def splits_of(experiment: ExperimentFolder) -> list[str]:
    """The splits that its finished runs were measured on; before the first, the usual ones."""
    done = experiment.first_done()
    return list(done.metrics) if done is not None else ["validation", "train", "all"]


def axes_of(experiment: ExperimentFolder) -> tuple[str, str]:
    """The two factors of the heat maps: dictionary size and K, unless others vary and these don't."""
    names = [name for name in experiment.factors if name not in ("seed", "preset")]
    varied = [name for name in names if len(experiment.factors[name]) > 1]
    if {"d_sae", "k"} <= set(names) and (not varied or {"d_sae", "k"} & set(varied)):
        return "d_sae", "k"
    varied += names + list(experiment.factors)
    return varied[0], next((name for name in varied if name != varied[0]), varied[0])


def six_of(experiment: ExperimentFolder) -> tuple[str, ...]:
    """What the six figures show: the first metrics of a kind that names its own, else those of every SAE."""
    kind = experiment.trains
    return kind.metrics[:6] if kind is not None and kind.ablates else SIX


def pick_factors(experiment: ExperimentFolder) -> dict[str, Any]:
    """A value for every factor that the heat maps' axes don't show; None for all seeds together."""
    chosen: dict[str, Any] = {}
    for name, values in experiment.factors.items():
        if name in axes_of(experiment):
            continue
        if name == "seed" and len(values) > 1:
            found = pickers.pick_choice(
                "Seed", [_SEEDS_TOGETHER, *values], name="seed", default=_SEEDS_TOGETHER, format=_seed_text
            )
            chosen[name] = None if found == _SEEDS_TOGETHER else found
        elif len(values) > 1:
            chosen[name] = pickers.pick_choice(
                "Recipe" if name == "preset" else name.replace("_", " "), values, name=name, carry=True
            )
    return chosen


def _seed_text(value: Any) -> str:
    return "mean of all" if value == _SEEDS_TOGETHER else str(value)


def show(view: str, workspace: Workspace, experiment: ExperimentFolder, split: str, chosen: Mapping[str, Any]) -> None:
    """Draw one view; while the experiment trains, it is drawn again every two seconds."""
    job = workspace.jobs.latest(experiment.name)
    busy = job is not None and job.active
    views = {
        "heat-maps": heat_maps,
        "difference": difference,
        "frontier": frontier,
        "configurations": grid_configurations.show,
        "scaling": scaling_view.show,
        "runs": grid_runs.show,
    }
    draw = views[view]

    @st.fragment(run_every=EVERY if busy else None)
    def live() -> None:
        with page.errors_shown("drawing the grid"):
            now = workspace.jobs.latest(experiment.name)
            if busy and (now is None or not now.active):
                st.rerun()
            table = grid_data.runs_with_metrics(experiment, split)
            if busy or not (table["state"] == "done").all():
                grid_notes.progress_line(table)
            grid_notes.place(workspace, experiment, chosen)
            grid_notes.hardly_varying(workspace, grid_data.matching(table, chosen))
            draw(workspace, experiment, table, split, chosen)

    live()


def heat_maps(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """One figure large, the others below; a click opens the run."""
    here = grid_data.matching(table, chosen)
    reads = hashes(experiment)
    six = six_of(experiment)
    offered = [*six, *(name for name in grid_data.METRICS if name in here and name not in six)]
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        metric = pickers.pick_choice(
            "Metric", offered, name="metric", default=six[0], format=metric_title, visible=False
        )
        one(experiment, here, metric or six[0], split, chosen, BIG, reads)
    with right:
        chooser(here, experiment)
        beside(experiment, here, split, reads)
    others = [name for name in six if name != metric]
    for start in range(0, len(others), 3):
        for column, name in zip(st.columns(3, gap="medium"), others[start : start + 3], strict=False):
            with column:
                one(experiment, here, name, split, chosen, SMALL, reads)


def one(
    experiment: ExperimentFolder,
    table: pd.DataFrame,
    metric: str,
    split: str,
    chosen: Mapping[str, Any],
    height: int,
    reads: dict[str, str],
) -> None:
    """The heat map of one metric. `reads`: what it stands on, from `hashes`."""
    x, y = axes_of(experiment)
    if metric not in table:
        table = table.assign(**{metric: float("nan")})
    drawn = table[[name for name in ("run", "state", "progress", x, y, metric) if name in table]]
    figure = kept(
        grid_heat_map, drawn, metric, title="", x=x, y=y, theme=page.theme(), height=height,
        x_values=experiment.factors[x], y_values=experiment.factors[y],
    )  # fmt: skip
    meaning, formula = grid_data.METRICS[metric]
    if chosen.get("seed") is None and len(experiment.factors.get("seed", ())) > 1:
        formula += "\n\nA cell holds the mean over seeds; ± is their standard deviation."
    small = height == SMALL
    key = f"heat_{metric}"
    factors = list(experiment.factors)
    shown = table[["run", "state", *factors, metric]]
    figure_panel(
        figure, shown, key=key,
        title=grid_data.short_title(metric) if small else metric_title(metric),
        meaning="" if small else meaning, formula=f"{meaning}\n\n{formula}" if small else formula,
        n=n_words(experiment, split), filename=f"{experiment.name}-{metric}-{split}",
        reproduce=_reproduce(experiment, metric, split, chosen, reads),
        columns=grid_data.metric_columns(shown, ["k", "d_sae"]),
        on_select=heat_map.when_clicked(key, open_cell),
    )  # fmt: skip


def open_cell(found: list[str]) -> None:
    """What a click on a cell does: the Run page of its run; with several seeds, a choice beside the figure."""
    if len(found) == 1:
        st.session_state["grid_open"] = found[0]
    else:
        address.choose(cell=",".join(found))


def chooser(table: pd.DataFrame, experiment: ExperimentFolder) -> None:
    """Follow a click: to the run, or to the seeds of the cell that was clicked."""
    opened = st.session_state.pop("grid_open", None)
    if opened is not None:
        st.switch_page("pages/run.py", query_params={"experiment": experiment.name, "run": opened})
    asked = (address.get("cell") or "").split(",")
    lines = table[table["run"].isin(asked)]
    if lines.empty:
        return
    factors = list(experiment.factors)
    with st.container(border=True, gap="xsmall", key="cell_runs"):
        st.markdown(f"**{plain(grid_data.name_of(lines.iloc[0].to_dict(), factors))}**: choose a seed")
        with st.container(horizontal=True, gap="medium"):
            for line in lines.to_dict("records"):
                ev = f", EV {number(line.get('ev_total'))}" if line.get("ev_total") is not None else ""
                empty.link("run", f"seed {line['seed']}{ev}", experiment=experiment.name, run=line["run"])


def beside(experiment: ExperimentFolder, table: pd.DataFrame, split: str, reads: dict[str, str]) -> None:
    """What the explained variance has to beat, cell by cell."""
    from sae.ui.baselines import baseline_table

    lines = baseline_table(experiment, table, split)
    if lines.empty:
        st.caption("Baselines appear with the first finished run.")
        return
    table_panel(
        lines, key="baselines", title="Beside baselines", n=n_words(experiment, split),
        meaning="Explained variance of the SAE, of PCA with as many components as K, and of a random dictionary.",
        formula="**PCA**: K principal components of the train rows. **Random dictionary**: d_sae random unit "
        "directions, tied encoder, top-K, one scale fitted on train rows. **Mean predictor**: $EV_{total} = 0$ by "
        "definition; its $EV_{flat}$ is in the table.",
        filename=f"{experiment.name}-baselines-{split}", columns=grid_data.metric_columns(lines, ["k", "d_sae"])
        | {name: st.column_config.NumberColumn(title, format="%.3f", help=help, width=60) for name, title, help in (
            ("sae", "SAE", "ev_total of the run, mean over seeds"),
            ("pca", "PCA-K", "ev_total of K principal components"),
            ("lead", "Lead", "how far the SAE is above PCA"),
            ("random_dictionary", "Random", "ev_total of a random dictionary"),
            ("mean_predictor_flat", "Mean, flat", "ev_flat of predicting the training mean; its ev_total is 0"))},
        reproduce=_reproduce(experiment, "ev_total", split, {}, reads),
    )  # fmt: skip


def difference(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """Another experiment, or another recipe of this one, minus what the pickers above show."""
    from sae.ui.grid_difference import show as show_difference

    show_difference(workspace, experiment, table, split, chosen)


def frontier(
    workspace: Workspace, experiment: ExperimentFolder, table: pd.DataFrame, split: str, chosen: Mapping[str, Any]
) -> None:
    """Configurations that no other one beats, under objectives that the reader chooses."""
    from sae.ui.frontier import show as show_frontier

    show_frontier(experiment, table, split, chosen)


def n_words(experiment: ExperimentFolder, split: str) -> str | None:
    done = experiment.first_done()
    if done is None:
        return None
    rows = done.config["data"]["rows"]
    n = sum(rows.values()) if split == "all" else rows.get(split, 0)
    return f"{n:,} {'' if split == 'all' else split + ' '}rows"


def _reproduce(
    experiment: ExperimentFolder, metric: str, split: str, chosen: Mapping[str, Any], reads: dict[str, str]
) -> Reproduce:
    command = f"{experiment_command(experiment.spec)}\npython -m sae experiment show {experiment.name} --json"
    x, y = axes_of(experiment)
    kept = {name: value for name, value in chosen.items() if value is not None}
    python = (
        "from sae.figures.grid import grid_heat_map\nfrom sae.ui.grid_data import matching, runs_with_metrics\n"
        "from sae.workspace import Workspace\n\n"
        f'table = runs_with_metrics(Workspace.at().experiment("{experiment.name}"), "{split}")\n'
        f'grid_heat_map(matching(table, {kept!r}), "{metric}", x="{x}", y="{y}").show()'
    )
    return Reproduce(command, python, reads)


def hashes(experiment: ExperimentFolder) -> dict[str, str]:
    """SHA-256 of the activations and the weights of every finished run, by name."""
    reads = {f"activations/{experiment.activations}/activations.npy": experiment.content.get("activations_sha256", "")}
    for run in experiment.runs():
        if run.done:
            digest = run.results.get("sha256", {}).get("weights.safetensors")
            if digest:
                reads[f"runs/{run.id}/weights.safetensors"] = digest
    return reads
