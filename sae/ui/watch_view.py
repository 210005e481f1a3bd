"""An experiment while it trains: its grid as the progress display, the learning curves of one cell, Stop and Resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import address, role
from sae.ui import link as panels
from sae.ui.empty import link
from sae.ui.jobs_view import EVERY, again, cancel, keep_working, log_tail, progress_text
from sae.ui.page import errors_shown
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.figures.style import ThemeName
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.jobs import Job

#: The page that shows what a measurement found.
RESULTS = {"error-prediction": ("wrong", "Right or wrong"), "specificity": ("features", "Features")}
#: Measurements whose results stand on the Ablations page, under the experiment that was measured, and in which view.
BESIDE = {"concepts": "table", "equal-bits": "trade-off"}


def watch(workspace: Workspace, name: str, theme: ThemeName) -> None:
    """The grid of an experiment as its progress display, with the learning curves of one cell.

    Raises:
        UserError: if there is no such experiment.
    """
    workspace.experiment(name)
    job = workspace.jobs.latest(name)
    keep_working(workspace)
    if job is not None and job.active:
        _watch_live(workspace, name, theme)
    else:
        _watch(workspace, name, theme, live=False)


@st.fragment(run_every=EVERY)
def _watch_live(workspace: Workspace, name: str, theme: ThemeName) -> None:
    with errors_shown("showing the grid"):  # what a fragment raises, no page can catch
        _watch(workspace, name, theme, live=True)


def _watch(workspace: Workspace, name: str, theme: ThemeName, *, live: bool) -> None:
    from sae.ui.cells import cells
    from sae.ui.pickers import run_titles

    experiment = workspace.experiment(name)
    job = workspace.jobs.latest(name)
    if live and (job is None or not job.active):
        st.rerun()
    if experiment.source is not None:
        _watch_measurement(workspace, experiment, job)
        return
    runs = cell_table(workspace, name)
    counts = runs["status"].value_counts()
    _watch_head(workspace, name, job, runs)
    asked = address.get("run")
    chosen = asked if asked in set(runs["id"]) else _interesting(runs)
    left, right = st.columns([11, 9], gap="medium")
    with left:
        cells(runs, experiment.factors, key=f"cells_{name}", chosen=chosen, on_pick=lambda run: address.choose(run=run))
        st.caption(
            "Explained variance (EV_total) and, below it, the share of features that are active on no row; both on "
            "validation rows. A click on a cell shows its curves. Hatched: not trained."
        )
    with right:
        if chosen is not None:
            _curves(experiment, chosen, run_titles(workspace, experiment)[chosen], runs, theme)
    if counts.get("failed", 0):
        failed = runs[runs["status"] == "failed"]
        for _, run in failed.head(4).iterrows():
            st.error(f"**{plain(run_titles(workspace, experiment)[run['id']])}**: {plain(run['error'])}")
    if job is not None:
        log_tail(job)


def _watch_measurement(workspace: Workspace, experiment: ExperimentFolder, job: Job | None) -> None:
    """A measurement's runs, measured or not, and where its results are shown."""
    from sae.experiments import measurement_of
    from sae.ui.pickers import run_titles

    runs = experiment.runs_table()
    _watch_head(workspace, experiment.name, job, runs, experiment.kind)
    kind = measurement_of(experiment.kind)
    st.caption(f"{kind.title}: {kind.question} Measured are runs of {plain(str(experiment.source))}.")
    titles = run_titles(workspace, workspace.experiment(str(experiment.source)))
    shown = runs[["id", "status", "error"]].assign(run=[titles.get(run, run) for run in runs["id"]])
    st.dataframe(
        shown[["run", "status", "error"]], hide_index=True, key=f"measured_{experiment.name}", placeholder="–",
        column_config={"run": "Run", "status": "State", "error": "What went wrong"},
    )  # fmt: skip
    if job is not None:
        log_tail(job)


def _watch_head(workspace: Workspace, name: str, job: Job | None, runs: Any, measures: str | None = None) -> None:
    counts = runs["status"].value_counts()
    done, total = int(counts.get("done", 0)), len(runs)
    active = job is not None and job.active
    with st.container(horizontal=True, vertical_alignment="center"):
        if active and job is not None:
            part, words = progress_text(job.progress(), job.status)
            st.progress(part, text=plain("Stopping" if job.cancel else words))
        else:
            states = ", ".join(
                f"{counts[s]} {w}"
                for s, w in (("done", "done"), ("failed", "failed"), ("cancelled", "stopped"))
                if s in counts
            )
            what = "trained" if measures is None else "measured"
            st.markdown(f"**{plain(name)}** :gray[{done} of {total} runs {what} ({plain(states)})]", width="stretch")
        if done and measures is None:
            link("grid", "Open the grid", experiment=name)
        elif done and (there := RESULTS.get(measures or "")):
            link(there[0], there[1], experiment=name)
        elif done and measures in BESIDE:
            source = workspace.experiment(str(workspace.experiment(name).source))
            if source.trains is not None and source.trains.ablates:
                link("ablations", "Ablations", experiment=source.name, view=BESIDE[measures])
        if not role.may_change():
            return
        if active and job is not None:
            st.button(
                "Stop",
                key=f"stop_watch_{job.id}",
                on_click=cancel,
                args=(workspace, job.id),
                disabled=job.cancel,
                help="Finished cells stay; the others go on from their last checkpoint when resumed.",
            )
        elif job is not None and done < total:
            failed = int(counts.get("failed", 0))
            label = "Retry failed" if failed and failed + done == total else "Resume"
            st.button(label, key=f"again_watch_{job.id}", type="primary", on_click=again, args=(workspace, job))
    if job is not None and job.status == "failed":
        st.error(plain(job.error or "the job ended without a word"))


def cell_table(workspace: Workspace, name: str) -> Any:
    """`ExperimentFolder.runs_table` with `ev_total` and `dead` of each run as far as they are known."""
    experiment = workspace.experiment(name)
    table = experiment.runs_table()
    job = workspace.jobs.latest(name)
    live = job.progress().get("cells", {}) if job else {}
    known = workspace.runs_table()
    measured = known.set_index("id").to_dict("index") if not known.empty else {}
    figures: dict[str, list[float]] = {"ev_total": [], "dead": []}
    for run in table["id"]:
        line = measured.get(run, {})
        for metric, column in figures.items():
            value = next(
                (v for v in (line.get(f"validation.{metric}"), line.get(f"all.{metric}")) if v is not None and v == v),
                live.get(run, {}).get(metric),
            )
            column.append(float("nan") if value is None else float(value))
    return table.assign(**figures)


def _interesting(runs: Any) -> str | None:
    """The run whose curves are shown unasked: the one that trains, else the last that was begun."""
    for status in ("running", "failed", "done"):
        found = runs[runs["status"] == status]
        if len(found):
            return str(found["id"].iloc[-1])
    return None


def _curves(experiment: ExperimentFolder, run: str, name: str, runs: Any, theme: ThemeName) -> None:
    line = runs[runs["id"] == run].iloc[0]
    with panels.panel("live_curves"):
        _drawn_curves(experiment, run, name, line, theme)


def _drawn_curves(experiment: ExperimentFolder, run: str, name: str, line: Any, theme: ThemeName) -> None:
    folder = experiment.workspace.root / "runs" / run
    head = st.container(horizontal=True, vertical_alignment="center")
    with head:
        words = [str(line["status"]) if line["status"] != "cancelled" else "stopped"]
        if line["status"] == "running":
            words.append(f"{100 * line['fraction']:.0f} %")
        st.markdown(f"**{plain(name)}** :gray[{plain(', '.join(words))}]", width="stretch")
        if line["status"] == "done":
            link("run", "Open the run", run=run)
    history = _history(str(folder), _modified(folder / "history.parquet"))
    if history is None or history.empty:
        st.caption("Its curves appear with its first steps.")
        return
    from sae.ui.live_curves import live_curves
    from sae.ui.panel import chart, toolbar
    from sae.ui.reproduce import Reproduce, experiment_command, of_run
    from sae.workspace.runs import RunFolder

    figure = live_curves(history, theme)
    if line["status"] != "running":  # while it trains, the curves are drawn anew every second
        if line["status"] == "done":
            recipe = of_run(RunFolder(folder), f"run show {run} --json", "run.history")
        else:  # what there is of it is read; the command trains the rest
            python = f'from sae.workspace import Workspace\n\nWorkspace.at().run("{run}").history()'
            recipe = Reproduce(experiment_command(experiment.spec), python)
        with head:
            toolbar(
                figure, history, key="live_curves_tools", title=f"Learning curves of {name}", filename=f"{run}-curves",
                reproduce=recipe,
            )  # fmt: skip
    chart(figure, key="live_curves", alt=f"Learning curves of {name}", height=330)


def _modified(path: Any) -> int:
    try:
        return int(path.stat().st_mtime_ns)
    except FileNotFoundError:
        return 0


@st.cache_resource(max_entries=32, show_spinner=False)
def _history(folder: str, modified: int) -> Any:
    from pathlib import Path

    from sae.workspace.runs import RunFolder

    return RunFolder(Path(folder)).history() if modified else None
