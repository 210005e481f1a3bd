"""Jobs as visitors see them: progress read from disk once a second, stop, go on, the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import address, role
from sae.ui.empty import link
from sae.ui.page import errors_shown
from sae.ui.words import count, plain, seconds_text
from sae.workspace.supervisor import ensure_running

if TYPE_CHECKING:
    from sae.figures.style import ThemeName
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.jobs import Job

KINDS = {
    "experiment": "Experiment",
    "measurement": "Measurement",
    "evaluation": "Evaluation of",
    "capture": "Capture",
    "demo": "Demo",
    "map": "Maps of",
}
#: The page that shows what a measurement found.
RESULTS = {"error-prediction": ("wrong", "Right or wrong"), "specificity": ("features", "Features")}
#: Measurements whose results stand on the Ablations page, under the experiment that was measured, and in which view.
BESIDE = {"concepts": "table", "equal-bits": "trade-off"}
EVERY = 1.0  # s between looks at the disk


def keep_working(workspace: Workspace) -> None:
    """Start a supervisor if jobs wait and none is alive: after the machine was restarted, say."""
    waiting = [job for job in workspace.jobs.active()]
    if waiting and role.may_change() and not workspace.jobs.supervisors():
        ensure_running(workspace, waiting[0].device)


def cancel(workspace: Workspace, job: str) -> None:
    """The Stop button. What is finished stays, the rest goes on from its last checkpoint when it is started again."""
    with errors_shown("stopping the job"):
        role.require_change()
        workspace.jobs.cancel(job)


def again(workspace: Workspace, job: Job) -> None:
    """The Resume and Retry buttons: the same specification again."""
    from sae.workspace.start import start_again

    with errors_shown("starting the job again"):
        role.require_change()
        ensure_running(workspace, start_again(workspace, job).device)


def title(job: Job) -> str:
    """`Experiment grid`, as plain text."""
    return f"{KINDS.get(job.kind, job.kind)} {job.name}" if job.kind != "demo" else "The demo"


def progress_text(progress: dict[str, Any], status: str) -> tuple[float, str]:
    """The bar's share from 0 to 1, and what stands on it: stage, how much, rate, time left."""
    if not progress:
        return 0.0, "Waiting for its turn" if status == "queued" else "Starting"
    done, total = float(progress.get("done") or 0), float(progress.get("total") or 0)
    part = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    stage = str(progress.get("stage") or "working")
    words = [stage[:1].upper() + stage[1:]]
    if total > 1:
        words[0] += f": {count(int(done))} of {count(total)}"
    words += [_figure(name, value) for name, value in (progress.get("figures") or {}).items()]
    left = progress.get("left")
    if left is not None and part < 1:
        words.append(f"about {seconds_text(float(left))} left")
    return part, ", ".join(words)


def _figure(name: str, value: Any) -> str:
    text = f"{value:,.4g}" if isinstance(value, int | float) else str(value)
    things, per, unit = name.partition("_per_")
    return f"{text} {things} a {unit}" if per else f"{name.replace('_', ' ')} {text}"


def job_row(workspace: Workspace, job: Job, *, place: str) -> None:
    """One job under way: what, how far, Stop."""
    progress = job.progress()
    part, words = progress_text(progress, job.status)
    with st.container(horizontal=True, vertical_alignment="center", key=f"job_{place}_{job.id}"):
        with st.container(gap="xxsmall"):
            st.markdown(f"**{plain(title(job))}** :gray[{plain(_elapsed(job))}]")
            st.progress(part, text=plain(words) if not job.cancel else "Stopping")
        if progress.get("cells") and place != "train":
            link("train", "Watch", show="watch", experiment=job.name)
        if role.may_change():
            st.button(
                "Stop",
                key=f"stop_{place}_{job.id}",
                on_click=cancel,
                args=(workspace, job.id),
                disabled=job.cancel,
                help="What is finished stays; it goes on from there when started again.",
            )


def _elapsed(job: Job) -> str:
    if job.status == "queued":
        return "queued"
    return f"running for {seconds_text(max(time.time() - (job.started or time.time()), 0))}"


def ended_row(workspace: Workspace, job: Job, *, place: str) -> None:
    """A job that failed or was stopped: its one line, its log folded, and the button that goes on."""
    with st.container(key=f"ended_{place}_{job.id}", gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if job.status == "failed":
                st.error(f"**{plain(title(job))}** failed: {plain(job.error or 'it ended without a word')}")
            else:
                st.markdown(f"**{plain(title(job))}** was stopped; what it finished is kept.")
            if role.may_change():
                st.button(
                    "Retry" if job.status == "failed" else "Resume",
                    key=f"again_{place}_{job.id}",
                    on_click=again,
                    args=(workspace, job),
                )
        if job.status == "failed":
            log_tail(job)


def log_tail(job: Job, label: str = "Log") -> None:
    """The last lines of a job's log, folded."""
    with st.expander(label, key=f"log_{job.id}", on_change="rerun") as folded:
        if folded.open:
            st.code(job.log(60) or "Nothing was printed.", language=None, height=240)


def queue(workspace: Workspace, *, place: str) -> None:
    """Everything under way, live; draws nothing while nothing is. The page runs again when a job ends or begins."""
    active = workspace.jobs.active()
    if not active:
        return
    keep_working(workspace)
    _queue(workspace, tuple(job.id for job in active), place)


@st.fragment(run_every=EVERY)
def _queue(workspace: Workspace, shown: tuple[str, ...], place: str) -> None:
    with errors_shown("showing the queue"), st.container(border=True, gap="small", key=f"queue_{place}"):
        active = workspace.jobs.active()
        if {job.id for job in active} != set(shown):
            st.rerun()
        # Maps, and what the demo goes on with, are for whoever looks later: nobody waits for them.
        asked_for = [job for job in active if job.kind != "map" and (job.priority <= 0 or job.status == "running")]
        for job in asked_for[:6]:
            job_row(workspace, job, place=place)
        more = len([job for job in active if job.kind != "map"]) - len(asked_for[:6])
        if more:
            st.caption(f"and {more} more in the queue, listed under Jobs on the Home page")
        for job in [job for job in active if job.kind == "map"][:1]:
            _, words = progress_text(job.progress(), job.status)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"{plain(title(job))}: {plain(words)}")
                if role.may_change():
                    st.button(
                        "Stop", key=f"stop_{place}_{job.id}", type="tertiary", on_click=cancel, args=(workspace, job.id)
                    )


def follow(workspace: Workspace, job: Job, *, place: str) -> None:
    """One job, live until it ends; then how it ended."""
    if job.active:
        keep_working(workspace)
        _follow(workspace, job.id, place)
    elif job.status in ("failed", "cancelled"):
        ended_row(workspace, job, place=place)


@st.fragment(run_every=EVERY)
def _follow(workspace: Workspace, job: str, place: str) -> None:
    with errors_shown("showing the job"):
        now = workspace.jobs.get(job)
        if not now.active:
            st.rerun()
        job_row(workspace, now, place=place)


# an experiment that trains


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
            _curves(workspace, chosen, run_titles(workspace, experiment)[chosen], runs, theme)
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
        shown[["run", "status", "error"]], hide_index=True, key=f"measured_{experiment.name}",
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


def _curves(workspace: Workspace, run: str, name: str, runs: Any, theme: ThemeName) -> None:
    line = runs[runs["id"] == run].iloc[0]
    folder = workspace.root / "runs" / run
    with st.container(horizontal=True, vertical_alignment="center"):
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
    from sae.ui.panel import chart

    chart(live_curves(history, theme), key="live_curves", alt=f"Learning curves of {name}", height=330)


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
