"""The Run page's evaluations: which there are, what they found, SAEBench's numbers beside ours."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.figures.style import metric_title
from sae.ui import address, jobs_view, measure_form, page, reproduce, role
from sae.ui.panel import table_panel
from sae.ui.pickers import pick_choice
from sae.ui.words import ago, count, plain, plural
from sae.workspace import supervisor
from sae.workspace.evaluations import (
    Evaluation,
    evaluation_of,
    evaluations,
    kinds,
    settings_of,
    start_evaluations,
    under_way,
)

if TYPE_CHECKING:
    from sae.workspace import Workspace
    from sae.workspace.jobs import Job
    from sae.workspace.runs import RunFolder

_TITLES = {
    "kl_sae": "KL with the reconstruction",
    "kl_mean": "KL with the mean",
    "kl_zero": "KL with zeros",
    "kl_score_mean": "KL score, against the mean",
    "kl_score_zero": "KL score, against zeros",
    "ce_clean": "Cross-entropy, model as it is",
    "ce_sae": "Cross-entropy with the reconstruction",
    "ce_mean": "Cross-entropy with the mean",
    "ce_zero": "Cross-entropy with zeros",
    "ce_score_mean": "Cross-entropy score, against the mean",
    "ce_score_zero": "Cross-entropy score, against zeros",
    "mse_token": "Mean squared error per token",
    "l1": "L1 of activations",
    "encoder_max_cosine": "Encoder: mean cosine with the nearest",
    "decoder_max_cosine": "Decoder: mean cosine with the nearest",
    "decoder_max_cosine_living": "Decoder, living features",
}
_FIRST = ("kl_score_mean", "kl_score_zero", "ce_score_mean", "ce_score_zero", "ev_total")
_FORMULA = (
    r"KL score: $$1 - \mathrm{KL}_{SAE} / \mathrm{KL}_{control}$$; cross-entropy score: "
    r"$$(\mathrm{CE}_{control} - \mathrm{CE}_{SAE}) / (\mathrm{CE}_{control} - \mathrm{CE}_{clean})$$. The control "
    "puts the mean of the train rows, or zeros, in the state's place: 1 is a reconstruction that changes nothing, 0 "
    "one that is no better. Intervals are a bootstrap over texts, 95 %. All formulas: docs/evaluations.md."
)
_LINES = 200


def show(workspace: Workspace, run: RunFolder) -> None:
    """All evaluations of a finished run."""
    if error := st.session_state.pop("evaluate_error", None):
        page.show_error(error)
    known = kinds()
    made = {name: evaluations(run, name) for name in known}
    jobs = under_way(workspace, run)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        for name in known:
            _line(workspace, run, name, made[name], jobs.get(name))
    with right:
        start = next((name for name in known if made[name]), "core")
        chosen = pick_choice(
            "Evaluation", list(known), name="evaluation", start=start, format=lambda name: known[name].title
        )
        if chosen is None:
            return
        st.caption(known[chosen].question)
        if chosen in jobs:
            jobs_view.follow(workspace, jobs[chosen], place="evaluations")
        if role.may_change():
            _form(workspace, run, chosen)
        if made[chosen]:
            with page.errors_shown("showing the evaluation"):
                _shown(run, _picked(made[chosen]))


def _line(workspace: Workspace, run: RunFolder, name: str, made: list[Evaluation], job: Job | None) -> None:
    """One evaluation of the list: its state, and the button that starts it as it is by default."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"evaluation_{name}"):
        with st.container(gap=None):
            st.markdown(f"**{plain(kinds()[name].title)}**")
            st.caption(plain(_state(made, job)))
        default = settings_of([name], {})
        if role.may_change() and job is None and not evaluation_of(run, name, default[name]).done:
            st.button(
                "Retry" if made and not made[0].done else "Evaluate", key=f"evaluate_{name}", on_click=_start,
                args=(workspace, run, name, {}), help="With its default settings.",
            )  # fmt: skip


def _state(made: list[Evaluation], job: Job | None) -> str:
    if job is not None:
        return "running" if job.status == "running" else "queued"
    if not made:
        return "not done"
    newest = made[0]
    if not newest.done:
        return "failed"
    return "can't be said of this model" if newest.notes.get("cannot") else f"done {ago(newest.content['finished'])}"


def _form(workspace: Workspace, run: RunFolder, name: str) -> None:
    with st.expander("Settings"):
        try:
            given = measure_form.settings_fields(kinds()[name])
            wanted = settings_of([name], given)[name]
            st.button(
                "Evaluate with these settings", key="evaluate_so", on_click=_start, args=(workspace, run, name, wanted)
            )
        except UserError as error:
            page.show_error(str(error))


def _start(workspace: Workspace, run: RunFolder, name: str, given: dict[str, Any]) -> None:
    try:
        role.require_change()
        job = start_evaluations(workspace, [run.id], settings_of([name], given))
        if job is not None:
            supervisor.ensure_running(workspace, job.device)
    except UserError as error:
        st.session_state["evaluate_error"] = str(error)
        return
    address.choose(evaluation=name)


def _picked(made: list[Evaluation]) -> Evaluation:
    """One of several that were made with different settings."""
    if len(made) == 1:
        return made[0]
    by_key = {one.folder.name: one for one in made}
    chosen = pick_choice(
        "Made", list(by_key), name="made", start=made[0].folder.name, format=lambda k: _when(by_key[k])
    )
    return by_key[chosen or made[0].folder.name]


def _when(one: Evaluation) -> str:
    if not one.done:
        return f"failed: {one.error}"
    default = kinds()[one.name].settings
    changed = [f"{key} {value}" for key, value in one.content.get("settings", {}).items() if value != default.get(key)]
    return f"{ago(one.content['finished'])}, {', '.join(changed) or 'default settings'}"


def _shown(run: RunFolder, one: Evaluation) -> None:
    if not one.done:
        st.error(plain(f"It failed: {one.error}"))
        return
    notes = one.notes
    if notes.get("cannot"):
        st.info(plain(notes["cannot"][:1].upper() + notes["cannot"][1:] + "."))
    _remarks(notes)
    again = _again(run, one)
    theirs = notes.get("saebench")
    for found in one.results:
        columns = st.columns([3, 2] if theirs else 1, gap="medium")
        with columns[0]:
            _ours(run, one, found, again)
        if theirs:
            with columns[1]:
                _saebench(run, one, theirs, again)
    for name in one.tables():
        table = one.table(name)
        table_panel(
            table, key=f"evaluation_{name}", title=name[:1].upper() + name[1:].replace("_", " "), height=260,
            meaning=f"The first {count(_LINES)} lines; downloads have all." if len(table) > _LINES else "",
            n=f"{count(len(table))} {plural(len(table), 'line')}", filename=f"{run.id}-{one.name}-{name}",
            reproduce=again, shown=table.head(_LINES),
        )  # fmt: skip


def _remarks(notes: dict[str, Any]) -> None:
    """What has to be known to read the numbers."""
    said = []
    if notes.get("why"):
        said.append(f"Stored rows alone, without a language model: {notes['why']}.")
    if notes.get("is_read") is False:
        said.append("Nothing reads this state: whatever takes its place changes no answer.")
    if notes.get("tokens") == "all" and notes.get("captured_tokens") == "last":
        said.append("This SAE was trained on the last token of each text; the others are foreign to it.")
    if notes.get("cut"):
        said.append(f"{count(notes['cut'])} texts were cut off.")
    for line in said:
        st.caption(plain(line))


def _ours(run: RunFolder, one: Evaluation, found: dict[str, Any], again: reproduce.Reproduce) -> None:
    import pandas as pd

    metrics, intervals = found["metrics"], found["interval"]
    names = [name for name in _FIRST if name in metrics] + [name for name in metrics if name not in _FIRST]
    table = pd.DataFrame(
        {
            "metric": names,
            "value": [metrics[name] for name in names],
            "low": [intervals.get(name, (None, None))[0] for name in names],
            "high": [intervals.get(name, (None, None))[1] for name in names],
        }
    )
    table_panel(
        table, key=f"evaluation_{one.name}", title=kinds()[one.name].title, meaning="Ours.", n=_n(one, found),
        formula=_FORMULA if one.name == "core" else None, filename=f"{run.id}-{one.name}", reproduce=again,
        shown=table.assign(metric=[_TITLES.get(name) or metric_title(name) for name in names]), height=430,
        columns={
            "metric": st.column_config.TextColumn("Metric", width=215),
            "value": st.column_config.NumberColumn("Value", format="%.4g"),
            "low": st.column_config.NumberColumn("from", format="%.4g", help="95 % interval"),
            "high": st.column_config.NumberColumn("to", format="%.4g", help="95 % interval"),
        },
    )  # fmt: skip


def _n(one: Evaluation, found: dict[str, Any]) -> str:
    texts = one.notes.get("n_texts")
    unit = {"core": "states", "first-letter": "words"}.get(one.name, "rows")
    split = "" if found["split"] in ("table", "words", "all") else f"{found['split']} "
    return f"{count(found['n'])} {split}{unit}" + (f" of {count(texts)} {plural(texts, 'text')}" if texts else "")


def _saebench(run: RunFolder, one: Evaluation, theirs: dict[str, Any], again: reproduce.Reproduce) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {"metric": list(theirs), "value": [float(v) if v is not None else None for v in theirs.values()]}
    )
    table_panel(
        table, key=f"evaluation_{one.name}_saebench", title="SAEBench 0.6.0",
        meaning="As its code computes them, known faults included, for comparison with published numbers.",
        filename=f"{run.id}-{one.name}-saebench",
        formula="explained_variance divides by nearly the mean squared norm, mse by the number of tokens of a batch; "
        "ablation is zeros. What differs from ours: docs/evaluations.md.", reproduce=again, height=390,
        columns={
            "metric": st.column_config.TextColumn("Metric"),
            "value": st.column_config.NumberColumn("Value", format="%.4g"),
        },
    )  # fmt: skip
    st.download_button(
        "SAEBench result file", lambda: _file(one), file_name=_file_name(run), mime="application/json",
        key=f"saebench_{one.name}", on_click="ignore",
    )  # fmt: skip


def _file(one: Evaluation) -> str:
    from sae.common.files import to_json
    from sae.workspace.saebench import result_of

    return to_json(result_of(one))


def _file_name(run: RunFolder) -> str:
    from sae.formats.saebench import file_name

    return file_name(run.id)


def _again(run: RunFolder, one: Evaluation) -> reproduce.Reproduce:
    default = kinds()[one.name].settings
    words = ["run", "evaluate", run.id, "--eval", one.name]
    for key, value in one.content.get("settings", {}).items():
        if value != default.get(key):
            words += ["--set", f"{key}={value}"]
    python = (
        "from sae.workspace import Workspace\nfrom sae.workspace.evaluations import evaluations\n\n"
        f'made = evaluations(Workspace.at(None).run("{run.id}"), "{one.name}")\nmade[0].results'
    )
    return reproduce.Reproduce(f"python -m sae {shlex.join(words)}", python, reproduce.hashes(run))
