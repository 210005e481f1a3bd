"""Home: what is here, what is running, where to start."""

import time
from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import empty, home_dialogs, jobs_view, link, page, role, runs_list, watch_view
from sae.ui.panel import toolbar
from sae.ui.pickers import pick_choice, pick_switch, pick_text
from sae.ui.reproduce import Reproduce
from sae.ui.words import bytes_text, count, plain, plural
from sae.workspace.demo import NAME as DEMO
from sae.workspace.start import start_demo
from sae.workspace.supervisor import ensure_running

if TYPE_CHECKING:
    import pandas as pd

VIEWS = {"runs": "Runs", "experiments": "Experiments", "jobs": "Jobs"}
A_DAY = 86_400.0
workspace = page.workspace()


def begin_demo() -> None:
    """Queue the demo and see that somebody works on it."""
    with page.errors_shown("starting the demo"):
        role.require_change()
        ensure_running(workspace, start_demo(workspace).device)


def nothing_here() -> None:
    """What this is, and the ways to begin."""
    with st.container(border=True, key="empty_state"):
        st.markdown(
            "**This workspace is empty.** Here you bring hidden states of a language model, train sparse autoencoders "
            "on them in one go, and read what their features stand for."
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            if role.may_change():
                st.button(
                    "Start the demo",
                    type="primary",
                    on_click=begin_demo,
                    help="A small model thinks through 3,000 generated problems, and a grid of SAEs is trained on it.",
                )
                empty.link("data", "Capture activations", show="capture")
                empty.link("data", "Import an array", show="import")
                empty.link("share", "Open a bundle", view="open")


def while_demo_runs() -> None:
    """What the demo will have made, and what can be done meanwhile."""
    first, second, third = st.columns(3, gap="large")
    first.markdown(
        "**1 Activations**  \nA small model that ships with this thinks through 3,000 generated word problems; its "
        "state at every layer and every thought is kept."
    )
    second.markdown(
        "**2 A grid of SAEs**  \nTwelve sparse autoencoders at one layer and thought, K from 5 to 100 and 512 to 2,048 "
        "features. A sweep over all thoughts and what it is worth follow."
    )
    third.markdown(
        "**3 Features**  \nAny cell of the grid opens its SAE, any feature the problems on which it is active and what "
        "it goes with."
    )
    with st.container(horizontal=True, gap="medium"):
        st.caption("It goes on if you close this page.", width="content")
        if role.may_change():
            empty.link("data", "Import an array instead", show="import")
            empty.link("data", "Capture your own activations", show="capture")
            empty.link("share", "Open a bundle", view="open")


def links() -> None:
    """Where to go from here."""
    with st.container(horizontal=True, gap="medium", key="links"):
        experiments = workspace.experiments()
        if any(experiment.name == DEMO for experiment in experiments):
            empty.link("grid", "Open the demo's grid", experiment=DEMO)
        newest = next((e.name for e in experiments if e.source is None and not e.name.startswith(DEMO)), None)
        if newest is not None:
            empty.link("grid", f"Open {newest}", experiment=newest)
        if role.may_change():
            empty.link("train", "Train on your own activations", show="new")
            empty.link("data", "Import or capture activations", show="import")


def ended() -> None:
    """Jobs that failed or were stopped within a day and were not started again since."""
    seen = set()
    shown = 0
    for job in workspace.jobs.all(20):
        new = (job.kind, job.name) not in seen
        seen.add((job.kind, job.name))
        recent = job.finished is not None and time.time() - job.finished < A_DAY
        if new and recent and job.status in ("failed", "cancelled") and shown < 3:
            jobs_view.ended_row(workspace, job, place="home")
            shown += 1


def what_is_here(runs: "pd.DataFrame") -> None:
    """One line of counts and disk used by kind."""
    used = runs_list.disk_used(str(workspace.root))
    counts = {
        "set of activations": (len(workspace.activations()), used["activations"]),
        "experiment": (len(workspace.experiments()), used["experiments"]),
        "run": (len(runs), used["runs"]),
    }
    words = [f"**{count(n)}** {plural(n, kind)} ({bytes_text(size)})" for kind, (n, size) in counts.items()]
    st.markdown(f"{', '.join(words)}, jobs {bytes_text(used['jobs'])} :gray[in {plain(workspace.root)}]")


def list_runs(runs: "pd.DataFrame", controls: st.delta_generator.DeltaGenerator) -> None:
    """All runs: filter, sort, open, rename, delete."""
    if runs.empty:
        empty.no_runs()
        return
    with controls:
        with st.container(width=240):
            text = pick_text("Filter", name="q", placeholder="Words, or k=20")
        names = list(dict.fromkeys(runs["experiment"].dropna()))
        alone = [runs_list.ALONE] if runs["experiment"].isna().any() else []
        said = {runs_list.ALL: "all experiments", runs_list.ALONE: "SAEs from elsewhere"}
        with st.container(width=190):
            of = pick_choice(
                "Experiment",
                [runs_list.ALL, *names, *alone],
                name="of",
                default=runs_list.ALL,
                format=lambda name: said.get(name, name),
            )
        with st.container(width=170):
            sort = pick_choice(
                "Sort by",
                list(runs_list.SORTS),
                name="sort",
                default="created",
                format=lambda name: runs_list.SORTS[name],
            )
        turned = pick_switch("Reversed", name="turned")
    found = runs_list.chosen_runs(runs, text, of or runs_list.ALL, sort or "created", turned)
    if found.empty:
        st.caption("No run fits the filter.")
        return
    # A selection is by line, so it ends with the lines it was made on.
    key = f"runs_{abs(hash((text, of, sort, turned, len(found))))}"
    state = st.session_state.get(key)
    lines = [line for line in (state["selection"]["rows"] if state else []) if line < len(found)]
    ids = [str(found["id"].iloc[line]) for line in lines]
    recipe = Reproduce(
        "python -m sae run list --json",
        "from sae.ui.runs_list import all_runs, chosen_runs\nfrom sae.workspace import Workspace\n\n"
        f"chosen_runs(all_runs(Workspace.at()), {text!r}, {of!r}, {sort!r}, {turned!r})",
    )
    with link.panel("runs"):
        run_actions(found, ids, recipe)
        st.dataframe(
            runs_list.shown_runs(found),
            hide_index=True,
            column_config=runs_list.run_columns(),
            key=key,
            on_select="rerun",
            selection_mode="multi-row",
            height=min(36 * (len(found) + 1) + 4, 420),
        )


def run_actions(runs: "pd.DataFrame", ids: list[str], recipe: Reproduce) -> None:
    """What can be done with the chosen lines."""
    with st.container(horizontal=True, vertical_alignment="center", key="run_actions"):
        one = ids[0] if len(ids) == 1 else None
        if st.button("Open", type="primary", disabled=one is None):
            st.switch_page("pages/run.py", query_params={"run": one or ""})
        if role.may_change():
            if st.button("Rename", disabled=one is None) and one:
                home_dialogs.rename(workspace, one)
            if st.button("Delete", disabled=not ids):
                home_dialogs.delete(workspace, ids)
        ticked = f", {count(len(ids))} ticked" if ids else ". Tick one to open or rename it, any number to delete them."
        st.caption(f"{count(len(runs))} {plural(len(runs), 'run')}{ticked}", width="stretch")
        toolbar(None, runs, key="runs_tools", title="Runs", filename="runs", reproduce=recipe)


def list_experiments(runs: "pd.DataFrame") -> None:
    """All experiments: open, watch, delete."""
    table = runs_list.experiments_table(workspace, runs)
    if table.empty:
        empty.no_experiments()
        return
    with link.panel("experiments"):
        key = f"experiments_{len(table)}"
        state = st.session_state.get(key)
        lines = [line for line in (state["selection"]["rows"] if state else []) if line < len(table)]
        with st.container(horizontal=True, vertical_alignment="center", key="experiment_actions"):
            if lines:
                name = str(table["name"].iloc[lines[0]])
                if workspace.experiment(name).source is None:
                    empty.link("grid", "Open the grid", experiment=name)
                elif there := watch_view.RESULTS.get(str(table["kind"].iloc[lines[0]])):
                    empty.link(there[0], there[1], experiment=name)
                empty.link("train", "Watch", show="watch", experiment=name)
                if role.may_change() and st.button("Delete"):
                    home_dialogs.delete_experiment(workspace, name)
            else:
                st.caption("Tick one to open or delete it.", width="stretch")
            recipe = Reproduce(
                "python -m sae experiment list --json",
                "from sae.ui.runs_list import all_runs, experiments_table\nfrom sae.workspace import Workspace\n\n"
                "workspace = Workspace.at()\nexperiments_table(workspace, all_runs(workspace))",
            )
            toolbar(None, table, key="experiments_tools", title="Experiments", filename="experiments", reproduce=recipe)
        config = st.column_config
        st.dataframe(
            runs_list.shown_experiments(table), hide_index=True, key=key, on_select="rerun",
            selection_mode="single-row",
            column_config={
                "name": config.TextColumn("Experiment"), "kind": "Kind", "activations": "Activations",
                "trained": config.ProgressColumn("Done", format="percent", width=110),
                "runs": config.TextColumn("Runs"),
                "varies": config.TextColumn("Varies", width=340), "created": "Begun",
            },
        )  # fmt: skip


def list_jobs() -> None:
    """The newest jobs; the log of the one that is ticked."""
    table = runs_list.jobs_table(workspace)
    if table.empty:
        st.caption("No job yet: captures, experiments and maps appear here.")
        return
    with link.panel("jobs"):
        with st.container(horizontal=True, vertical_alignment="center", key="job_actions"):
            st.caption(f"{count(len(table))} {plural(len(table), 'job')}. Tick one to read its log.", width="stretch")
            recipe = Reproduce(
                "python -m sae job list --json",
                "from sae.ui.runs_list import jobs_table\nfrom sae.workspace import Workspace\n\n"
                "jobs_table(Workspace.at())",
            )
            toolbar(None, table, key="jobs_tools", title="Jobs", filename="jobs", reproduce=recipe)
        key = f"jobs_{len(table)}"
        config = st.column_config
        chosen = st.dataframe(
            runs_list.shown_jobs(table), hide_index=True, key=key, on_select="rerun", selection_mode="single-row",
            height=260,
            column_config={
                "kind": "Kind", "name": "Of", "status": "Status", "device": "Device", "seconds": "Time",
                "queued": "Queued",
                "error": config.TextColumn("What went wrong", width=240), "id": "Job",
            },
        )["selection"]["rows"]  # fmt: skip
        if chosen:
            job = workspace.jobs.get(str(table["id"].iloc[chosen[0]]))
            st.code(job.log(100) or "Nothing was printed.", language=None, height=260)


page.head("Home", "What is here, what is running, and where to start?")
with page.errors_shown("showing this page"):
    bare = not workspace.activations() and not workspace.experiments()
    if bare and page.demo_wanted() and role.may_change() and not workspace.jobs.all(1):
        begin_demo()
    jobs_view.queue(workspace, place="home")
    ended()
    runs = runs_list.all_runs(workspace)
    if bare and runs.empty:
        if not workspace.jobs.active():
            nothing_here()
        else:
            while_demo_runs()
    else:
        links()
        what_is_here(runs)
        controls = st.container(horizontal=True, vertical_alignment="bottom", key="list_controls")
        with controls, st.container(width="content"):
            view = pick_choice(
                "List",
                list(VIEWS),
                name="list",
                default="runs",
                format=lambda v: VIEWS[v],
                look="buttons",
                visible=False,
            )
        if view == "experiments":
            list_experiments(runs)
        elif view == "jobs":
            list_jobs()
        else:
            list_runs(runs, controls)
