"""Data: which activations are here, what they look like, their problems; capture and import of more."""

import re
import tempfile
import time
from pathlib import Path
from typing import Any

import streamlit as st

from sae.capture.store import Activations, Slice
from sae.common.files import check_name
from sae.report.visible import visible
from sae.report.words import steps_of
from sae.ui import address, capture_form, data_view, empty, jobs_view, link, page, role, thought_overview
from sae.ui.commands import keep_uploads, run_command
from sae.ui.data_view import ANY
from sae.ui.panel import figure_panel, toolbar
from sae.ui.pickers import pick_activations, pick_choice, pick_slice, pick_text
from sae.ui.reproduce import Reproduce
from sae.ui.words import count, plain

VIEWS = {"overview": "Overview", "problems": "Problems", "capture": "Capture", "import": "Import"}
workspace = page.workspace()


def overview(activations: Activations, piece: Slice) -> None:
    """What they are, and the numbers of the slice."""
    if activations.is_thoughts:
        thought_overview.notes(activations)
    left, right = st.columns([5, 8], gap="large")
    with left:
        facts = data_view.facts(activations)
        st.table(
            {"": list(facts), " ": [plain(text) for text in facts.values()]},
            border="horizontal",
            hide_index=True,
            hide_header=True,
        )
        if rate := data_view.base_rate(activations):
            st.markdown(rate)
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            empty.link("train", "Train on them", show="new", activations=activations.name)
            if role.may_change() and st.button("Delete"):
                delete(activations.name)
    with right, page.errors_shown("measuring the slice"):
        place = st.container()
        with place.skeleton(height=420):
            found = data_view.statistics(piece)
        with place:
            for warning in data_view.warnings(found, piece.title):
                st.warning(plain(warning))
            with st.grid(4, gap="small", min_column_width=120):
                for title, value, meaning in data_view.tiles(found):
                    st.metric(title, value, help=meaning)
            scree(activations, piece, found)
    if activations.is_thoughts:
        thought_overview.panel(activations)
    thought_overview.skipped(activations)


def scree(activations: Activations, piece: Slice, found: dict[str, Any]) -> None:
    """The spectrum of the slice."""
    import numpy as np
    import pandas as pd

    from sae.figures.shares import scree as figure

    shares = np.asarray(found["scree"], float)
    table = pd.DataFrame({"component": np.arange(1, len(shares) + 1), "share": shares, "together": shares.cumsum()})
    choice = ", ".join(f"{k}={v}" for k, v in (("layer", piece.layer), ("position", piece.position)) if v is not None)
    python = (
        "from sae.capture import slice_statistics\nfrom sae.workspace import Workspace\n\n"
        f'piece = Workspace.at().open_activations("{activations.name}").slice({choice})\n'
        'slice_statistics(piece)["scree"]'
    )
    drawn = figure(shares, n_rows=found["spectrum_rows"], title="", theme=page.theme(), height=250)
    drawn.update_layout(title=None, margin_t=8)
    figure_panel(
        drawn, table, key="scree",
        title="Principal components", n=int(found["spectrum_rows"]), filename=f"{activations.name}-{piece.key}-scree",
        meaning="How many directions hold how much of the variance of the rows, about their mean.",
        formula=r"$$\frac{\lambda_1 + \dots + \lambda_j}{\operatorname{tr} C}$$ with the eigenvalues "
        r"$\lambda_1 \ge \lambda_2 \ge \dots$ of the covariance $C$ of the rows.",
        reproduce=Reproduce(f"python -m sae activations show {activations.name}", python,
                            {f"activations/{activations.name}/activations.npy": activations.manifest["sha256"]}),
    )  # fmt: skip


@st.dialog("Delete activations")
def delete(name: str) -> None:
    """Ask before they go."""
    st.markdown(f"Delete activations {plain(name)}? There is no way back.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete_it"):
            with page.errors_shown("deleting"):
                role.require_change()
                workspace.delete_activations(name)
                address.choose(drop=["activations", "layer", "position", "example"])
                st.rerun()
        if st.button("Keep", key="keep_it"):
            st.rerun()


def problems(activations: Activations) -> None:
    """A searchable table of the examples, one of them opened."""
    table = data_view.problems_table(activations)
    one, several = data_view.nouns(activations)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=300):
            words = "Words of the term or its concept" if one == "term" else "Words of the question or the answers"
            text = pick_text("Search", name="q", placeholder=words)
        with st.container(width=150):
            splits = [ANY, *table["split"].dropna().unique()]
            split = pick_choice("Split", splits, name="of_split", default=ANY)
        steps = right = ANY
        if "n_steps" in table:
            with st.container(width=130):
                known = sorted(table["n_steps"].dropna().unique())
                steps = pick_choice("Steps", [ANY, *(str(n) for n in known)], name="steps", default=ANY) or ANY
        if "correct" in table and table["correct"].notna().any():
            with st.container(width=150):
                right = (
                    pick_choice(
                        "Answered",
                        list(data_view.RIGHT),
                        name="answered",
                        default=ANY,
                        format=lambda r: data_view.RIGHT[r],
                    )
                    or ANY
                )
    found = data_view.chosen_problems(table, text, split or ANY, steps, right)
    if found.empty:
        st.caption(f"No {one} fits.")
        return
    left, side = st.columns([8, 5], gap="medium")
    with left:
        shown = data_view.shown_problems(found)
        key = f"problems_{abs(hash((activations.name, text, split, steps, right)))}"
        config = st.column_config

        def opened() -> None:
            rows = st.session_state[key]["selection"]["rows"]
            if rows:
                address.choose(example=int(shown["example"].iloc[rows[0]]))

        with link.panel("problems"):
            with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
                st.caption(
                    f"{count(len(found))} of {count(len(table))} {several}. Tick one to open it.", width="stretch"
                )
                name = activations.name
                python = f'from sae.workspace import Workspace\n\nWorkspace.at().open_activations("{name}").examples'
                reads = {f"activations/{name}/activations.npy": activations.manifest["sha256"]}
                toolbar(
                    None, found, key="problems_tools", title=several.capitalize(), filename=f"{name}-{several}",
                    reproduce=Reproduce(f"python -m sae activations show {name}", python, reads),
                )  # fmt: skip
            st.dataframe(
                shown, hide_index=True, key=key, on_select=opened, selection_mode="single-row", height=440,
                column_config={
                    "example": config.NumberColumn("No.", width=55),
                    "question": config.TextColumn("Term" if one == "term" else "Question", width=315),
                    "concept_name": config.TextColumn("Concept", width=230), "term": config.TextColumn("Is", width=120),
                    "n_steps": config.NumberColumn("Steps", width=50),
                    "final_answer": config.TextColumn("Answer", width=65),
                    "model_answer": config.TextColumn("Model's", width=70),
                    "correct": config.CheckboxColumn("Right", width=50), "split": config.TextColumn("Split", width=80),
                },
            )  # fmt: skip
    with side:
        asked = address.get("example")
        line = found.iloc[0]
        if asked is not None and asked.isdecimal() and int(asked) < len(table):
            line = table.iloc[int(asked)]
        elif asked is not None:
            page.note(f"There is no {one} {asked!r} here: they are numbered 0 to {len(table) - 1}.")
        one_problem(line, one)
    if activations.is_thoughts:
        thought_overview.chips(line)


def one_problem(line: Any, noun: str = "problem") -> None:
    """A problem with its steps and answers, or a term with its concept.

    Its text is whatever the data set holds: shown as plain text.
    """
    with st.container(border=True, key="problem"):
        st.caption(f"{noun.capitalize()} {line['example']}, {line['split']}")
        if isinstance(line.get("question"), str):
            st.text(visible(line["question"]))
        if steps := steps_of(line):
            st.markdown("**Steps**")
            st.text(visible("\n".join(steps)))
        if isinstance(line.get("answer"), str):
            st.markdown("**Reference answer**")
            st.text(visible(line["answer"]))
        if isinstance(line.get("model_answer"), str):
            right = data_view.judged(line)
            st.markdown("**The model's answer**" + (f" :gray[{right}]" if right else ""))
            st.text(visible(line["model_answer"]))
        rest = data_view.labels_of(line)
        if rest:
            st.markdown("**Labels**")
            st.text(visible("\n".join(f"{name}: {text}" for name, text in rest.items())))


def _free_name(wanted: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", wanted).strip("-._").replace("..", ".")[-60:].lstrip("-._") or "activations"
    taken = {manifest["name"] for manifest in workspace.activations()}
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def captures_ended() -> None:
    """The last capture, if it failed or was stopped within a day."""
    last = next((job for job in workspace.jobs.all(20) if job.kind == "capture"), None)
    if last is None or last.active or last.finished is None or time.time() - last.finished > 86_400:
        return
    if last.status == "done":
        empty.link("data", f"Open {last.name}", activations=last.name)
    else:
        jobs_view.ended_row(workspace, last, place="data")


def import_array() -> None:
    """The form that takes in an array made elsewhere."""
    if not role.may_change():
        st.caption("This server is read-only.")
        return
    st.caption(
        "An array of rows: .npy, .safetensors with one two-dimensional tensor, or .parquet with numeric columns. "
        "With it, if you like, one JSON line a row: question, answer, split, group, correct and labels of your own."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        array = st.file_uploader("Array", type=["npy", "safetensors", "parquet"], key="array_file")
        path = lines = ""
        if role.local():
            path = pick_text("Or its path on the server", name="array_path", placeholder="/data/acts.npy")
    with right:
        examples = st.file_uploader("Examples, one JSON line a row", type=["jsonl"], key="examples_file")
        if role.local():
            lines = pick_text("Or their path on the server", name="examples_path", placeholder="/data/examples.jsonl")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=330):
            stem = Path(array.name if array else path.strip() or "activations").stem
            name = pick_text("Name", name="name", default=_free_name(stem))
        if not st.button("Import", type="primary", disabled=array is None and not path.strip()):
            return
    with page.errors_shown("importing the array"), tempfile.TemporaryDirectory() as scratch:
        role.require_change()
        check_name(name.strip(), "activations name")
        source = keep_uploads([array], Path(scratch) / "array") if array else Path(path.strip()).expanduser()
        words: list[str | Path] = ["activations", "import", source, "--name", name.strip()]
        if examples or lines.strip():
            words += ["--examples", keep_uploads([examples], Path(scratch) / "examples") if examples
                      else Path(lines.strip()).expanduser()]  # fmt: skip
        with st.spinner("Reading and checking every value"):
            manifest = run_command(workspace, words)
        st.success(f"{plain(manifest['name'])} is here: {count(manifest['n_rows'])} rows of {count(manifest['d_in'])}.")
        empty.link("data", "Look at it", activations=manifest["name"])


page.head("Data", "Which activations are here, what do they look like, and which problems do they come from?")
with page.errors_shown("showing this page"):
    controls = st.container(horizontal=True, vertical_alignment="bottom", key="controls")
    with controls, st.container(width="content"):
        view = pick_choice(
            "View",
            list(VIEWS),
            name="show",
            default="overview",
            format=lambda v: VIEWS[v],
            look="buttons",
            visible=False,
        )
    if view == "capture":
        jobs_view.queue(workspace, place="data")
        captures_ended()
        capture_form.form(workspace, _free_name)
    elif view == "import":
        import_array()
    else:
        with controls, st.container(width=280):
            activations = pick_activations(workspace)
        if activations is None:
            empty.no_activations()
        elif view == "problems":
            problems(activations)
        else:
            with controls:
                piece = pick_slice(activations)
            overview(activations, piece)
