"""The Right or wrong page: what it is about, what was found in a sentence, and its parts."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import streamlit as st

from sae.ui import empty, page, pickers, wrong_data, wrong_features, wrong_probes, wrong_slices
from sae.ui.thought_words import SAID, is_thoughts, supervised
from sae.ui.words import count, plain, share
from sae.ui.wrong_shown import CONVENTION, OPEN, Shown

if TYPE_CHECKING:
    from sae.workspace import Workspace

_EFFECTS = {"difference": "Activity share", "auroc": "AUROC of the value"}


def pick(workspace: Workspace) -> Shown | None:
    """Draw the row of controls; None where no run is measured yet."""
    with st.container(width=190):
        # What was named beforehand comes before one pass over many slices.
        found = sorted(
            (one for one in workspace.experiments() if one.kind == wrong_data.KIND),
            key=lambda one: (not wrong_data.measured(one), one.spec["settings"].get("full") == "none"),
        )
        name = pickers.pick_choice(
            "Experiment", [one.name for one in found], name="experiment", carry=True, resets=("run", "feature")
        )
    if name is None:
        return None
    experiment = workspace.experiment(name)
    measured = wrong_data.measured(experiment)
    titles = pickers.run_titles(workspace, workspace.experiment(str(experiment.source)))
    notes = {run: experiment.part_notes(run) for run in measured}
    full = [run for run in measured if notes[run].get("protocol") == "full"]
    with st.container(width=330):
        run = pickers.pick_choice(
            "Run", measured, name="run", start=full[0] if full else None, carry=True, resets=("feature",),
            format=lambda run: f"{titles.get(run, run)}{', full protocol' if run in full else ''}",
        )  # fmt: skip
    if run is None:
        return None
    effect = pickers.pick_choice(
        "Effect of a feature", list(_EFFECTS), name="effect", default="difference", format=_EFFECTS.__getitem__,
        look="buttons", help="A feature that is active on nearly every problem can only differ in its values.",
    )  # fmt: skip
    (results, *_) = experiment.part_results(run) or [{}]
    manifest = workspace.open_activations(experiment.activations).manifest
    return Shown(workspace, experiment, run, results, notes[run], is_thoughts(manifest), effect or "difference")


def nothing(workspace: Workspace) -> None:
    """Why there is nothing to see yet, and what to run."""
    waiting = [e for e in workspace.experiments() if e.kind == wrong_data.KIND]
    for experiment in waiting:
        for line in experiment.runs_table().to_dict("records"):
            if line["error"]:
                page.show_error(f"{experiment.name}: {line['error']}")
                break
    able, unable = wrong_data.can_be_asked(workspace)
    trained = [e for e in workspace.experiments() if e.source is None and e.activations in able]
    start = {"kind": wrong_data.KIND, "experiment": trained[0].name if trained else None}
    links = {
        "Predict errors": ("train", {name: value for name, value in start.items() if value is not None}),
        **({"Watch": ("train", {"show": "watch", "experiment": waiting[0].name})} if waiting else {}),
        **({} if able else {"Capture with answers": ("data", {"show": "capture"})}),
    }
    empty.empty(
        "No errors predicted yet",
        "An error-prediction experiment asks of a trained SAE which features go with wrong answers, and whether they "
        "tell more than simpler predictors.",
        links,
    )
    if trained:
        words = ["python", "-m", "sae", "experiment", "run", wrong_data.KIND, "--from", trained[0].name]
        st.code(shlex.join([*words, "--name", f"{trained[0].name}-errors"]), language=None, wrap_lines=True)
        st.caption(
            "Every run gets the full protocol, about a minute each. --runs names some; --set full=k=20,d\\_sae=1024 "
            "keeps it for those, and the others get one pass."
        )
    if unable:
        names = plain(", ".join(unable))
        st.caption(f"Can't be asked, as they don't say which answers were right (no column 'correct'): {names}.")


def show(shown: Shown) -> None:
    """Everything about one measured run, and the slices around it."""
    _go(shown)
    _head(shown)
    left, right = st.columns(2, gap="medium")
    with left, page.errors_shown("showing the probes"):
        (wrong_probes.comparison if shown.is_full else wrong_probes.one_pass)(shown)
    with right, page.errors_shown("showing the features"):
        wrong_features.plot(shown)
    with page.errors_shown("showing the table of features"):
        wrong_features.table(shown)
    if shown.is_full:
        left, right = st.columns([1.5, 1], gap="medium")
        with left, page.errors_shown("showing the table of probes"):
            wrong_probes.table(shown)
        with right, page.errors_shown("showing calibration"):
            wrong_probes.calibration(shown)
    with page.errors_shown("showing the slices"):
        wrong_slices.show(shown)


def _head(shown: Shown) -> None:
    results, notes = shown.results, shown.notes
    if shown.is_full:
        part = shown.experiment.part
        said = wrong_data.verdict(part(shown.run, "probes"), part(shown.run, "differences"), notes["null"])
    else:
        said = wrong_data.quick_verdict(results["metrics"], results["interval"])
    st.markdown(said)
    words = [
        f"{shown.place[:1].upper()}{shown.place[1:]}: {count(notes['n_wrong'])} of {shown.n} answered wrong "
        f"({share(notes['n_wrong'] / notes['n'])})",
        f"{count(notes['n_groups'])} groups of problems (by {notes['grouped_by']}) stay whole in every split",
    ]
    text = "; ".join(words) + "."
    if shown.thoughts:
        text += f" {SAID[CONVENTION]}"
    more = supervised(shown.workspace.open_activations(shown.experiment.activations).manifest)
    st.caption(plain(text) + (f" **{plain(more)}**" if more else ""))


def _go(shown: Shown) -> None:
    """Follow a click on a feature to its card."""
    feature = st.session_state.pop(OPEN, None)
    if feature is not None:
        query = {"experiment": shown.source, "run": shown.run, "feature": str(feature)}
        st.switch_page("pages/features.py", query_params=query)
