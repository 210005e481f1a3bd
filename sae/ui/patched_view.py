"""The Run page's panel on patching: does the model answer as it did with this SAE's reconstruction in its thought?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import page, reproduce
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import count, number, plain, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.runs import RunFolder

HEIGHT = 250
_LAST = "The last block's state at the last thought is read by nothing: whatever takes its place changes no answer."


def show(run: RunFolder) -> None:
    """The newest patching of this run; nothing where there is none."""
    with page.errors_shown("reading what patching found"):
        experiment = measured_by(run)
        if experiment is None:
            return
        found = experiment.part_results(run.id)
        st.markdown("**Patched**")
        if not found:
            st.caption(plain(f"{experiment.name} could not patch this run: {_error(experiment, run)}"))
            return
        _patched(run, experiment, found[0])


def measured_by(run: RunFolder) -> ExperimentFolder | None:
    """The newest experiment of kind patching that has measured this run, or has failed to."""
    fitting = [
        experiment
        for experiment in page.workspace().experiments()
        if experiment.kind == "patching"
        and run.id in experiment.measured_runs()
        and (experiment.part_results(run.id) is not None or _error(experiment, run))
    ]
    return max(fitting, key=lambda experiment: experiment.created, default=None)


def _error(experiment: ExperimentFolder, run: RunFolder) -> str:
    from sae.common.files import read_json

    path = experiment.part_folder(run.id) / "error.json"
    return str(read_json(path)["error"]) if path.exists() else ""


def _patched(run: RunFolder, experiment: ExperimentFolder, found: dict[str, Any]) -> None:
    metrics, intervals = found["metrics"], found["interval"]
    notes = experiment.part_notes(run.id)
    with st.container(horizontal=True, gap="medium", key="patched"):
        for title, name, text, say in (
            ("Right when patched", "accuracy_patched", "Share of right answers with the SAE's reconstruction in the "
             "thought's place.", share),
            ("Answers flipped", "flipped", "Share of answers that are another number than the model's own.", share),
            ("KL of the answer", "kl", "KL(clean || patched) in nats per answer token, on the model's own answer.",
             number),
            ("KL recovered", "kl_recovered", "1 - KL with the SAE / KL with the mean of the train rows in its place: "
             "1 is a reconstruction that changes nothing, 0 one that is no better than the mean.", number),
        ):  # fmt: skip
            low, high = intervals[name]
            st.metric(
                title, say(metrics[name]), width="content", delta_color="off", delta_arrow="off", help=text,
                delta=f"not patched {share(metrics['accuracy_clean'])}" if name == "accuracy_patched"
                else f"95 % interval {say(low)} to {say(high)}",
            )  # fmt: skip
    if notes.get("is_read") is False:
        st.info(_LAST)
    conditions = experiment.part(run.id, "conditions")
    n = f"{count(found['n'])} {found['split']} problems"
    left, right = st.columns(2, gap="medium")
    for column, measure, clean, formula in (
        (left, "accuracy", metrics["accuracy_clean"], "Share of right answers. The state at this layer and step is "
         "replaced, and the model thinks on from there. Intervals are a bootstrap over problems."),
        (right, "kl", None, "KL(clean || patched) in nats per answer token, teacher-forced on the model's own answer: "
         "mean over the tokens of an answer, then over problems."),
    ):  # fmt: skip
        with column:
            _conditions(run, experiment, conditions, measure, clean, n, formula)
    _features(run, experiment, experiment.part(run.id, "features"))


def _conditions(
    run: RunFolder, experiment: ExperimentFolder, table: pd.DataFrame, measure: str, clean: float | None, n: str,
    formula: str,
) -> None:  # fmt: skip
    from sae.figures.patching import conditions

    titles = {"accuracy": "Right answers, by what takes the thought's place", "kl": "KL of the answer"}
    figure_panel(
        conditions(table, measure, clean=clean, title=titles[measure], theme=page.theme(), height=HEIGHT), table,
        key=f"patched_{measure}", meaning="The SAE beside its controls.", n=n, formula=formula,
        filename=f"{run.id}-patched-{measure}",
        reproduce=_again(
            run, experiment, "from sae.figures.patching import conditions\n\n"
            f'conditions(experiment.part("{run.id}", "conditions"), "{measure}").show()'),
    )  # fmt: skip


def _features(run: RunFolder, experiment: ExperimentFolder, table: pd.DataFrame) -> None:
    if not len(table):
        return
    shares = ("accuracy_change", "flipped", "right_to_wrong", "wrong_to_right")
    titles = {
        "accuracy_change": "Change of accuracy",
        "flipped": "Flipped",
        "right_to_wrong": "Right to wrong",
        "wrong_to_right": "Wrong to right",
    }
    shown = table[["feature", "n", *shares, "kl", "kl_low", "kl_high"]].sort_values("kl", ascending=False)
    columns = {
        "feature": st.column_config.NumberColumn("Feature", format="%d"),
        "n": st.column_config.NumberColumn("Problems", format="localized", help="On which it is active"),
        **{name: st.column_config.NumberColumn(titles[name], format="percent") for name in shares},
        "kl": st.column_config.NumberColumn("KL (nats per token)", format="%.3g"),
        "kl_low": st.column_config.NumberColumn("from", format="%.3g", help="95 % interval of KL"),
        "kl_high": st.column_config.NumberColumn("to", format="%.3g", help="95 % interval of KL"),
    }
    table_panel(
        shown, key="patched_features", title="One feature switched off", n=f"{count(len(table))} features",
        meaning="Taken out of the thought where it is active, the largest effect first.", columns=columns, height=300,
        formula=r"The state becomes $$h - f_j d_j$$ on the problems where feature j is active, and the model thinks "
        "on. All columns are over these problems.", filename=f"{run.id}-switched-off",
        reproduce=_again(run, experiment, f'experiment.part("{run.id}", "features")'),
    )  # fmt: skip


def _again(run: RunFolder, experiment: ExperimentFolder, python: str) -> reproduce.Reproduce:
    spec = experiment.spec
    opened = f'from sae.workspace import Workspace\n\nexperiment = Workspace.at(None).experiment("{spec["name"]}")\n'
    return reproduce.Reproduce(reproduce.measurement_command(spec), opened + python, reproduce.hashes(run))
