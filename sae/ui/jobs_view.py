"""Jobs as visitors see them: progress read from disk once a second, stop, go on, the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import role
from sae.ui.empty import link
from sae.ui.page import errors_shown
from sae.ui.words import count, plain, seconds_text
from sae.workspace.supervisor import ensure_running

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.jobs import Job

KINDS = {
    "experiment": "Experiment",
    "measurement": "Measurement",
    "evaluation": "Evaluation of",
    "capture": "Capture",
    "demo": "Demo",
    "map": "Maps of",
}
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
