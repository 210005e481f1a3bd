"""The form that reads problems through a language model, its cost, and the job it becomes; for the Data page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.capture.context import TEXT_CONTEXT
from sae.common.errors import UserError
from sae.common.files import check_name
from sae.language_models import minilm
from sae.problems.concepts import hpo_is_here
from sae.ui import page, role
from sae.ui.commands import keep_uploads
from sae.ui.pickers import pick_choice, pick_switch, pick_text
from sae.ui.words import bytes_text, count, plural, seconds_text
from sae.workspace.start import estimate_capture, start_capture
from sae.workspace.supervisor import ensure_running

if TYPE_CHECKING:
    from sae.workspace import Workspace

PROBLEMS = {"generated": "Generated problems", "gsm8k": "GSM8K from the hub", "gsm8k:test": "GSM8K test from the hub",
            "file": "A file of problems"}  # fmt: skip
_TEXTS = {"texts": "A file of texts", "hub": "Texts from the hub"}
_HPO = {"hpo": "Terms of the HPO"}
_POSITIONS = {"last": "Last token", "all": "All tokens", "pooled": "Mean over tokens"}
_FINAL_NORM = {"before": "Before the final norm", "after": "After it"}


def form(workspace: Workspace, free_name: Callable[[str], str]) -> None:
    """Draw the form.

    Args:
        free_name: makes a name that nothing has yet.
    """
    if not role.may_change():
        st.caption("This server is read-only.")
        return
    above = st.container(horizontal=True, vertical_alignment="bottom")
    with above:
        model = _field(
            330, "Language model", name="model", default="smollm2-135m",
            help="smollm2-135m, a CODI model that ships, a hub id such as HuggingFaceTB/SmolLM2-135M or "
            "zen-E/CODI-gpt2, or a folder on the server. For means over tokens also any text encoder, such as minilm "
            "(an optional package).",
        )  # fmt: skip
        codi = _is_codi(model)
    below = st.container(horizontal=True, vertical_alignment="bottom")
    with below:
        source, upload, texts = _pick_problems(codi)
    with above:
        where = _thoughts() if codi else _tokens(model, texts)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        limit = ""
        if not source.startswith("generated"):
            limit = _field(
                100, "At most", name="limit", placeholder="all",
                help=f"Only the first so many {'texts' if texts else 'problems'}.",
            )  # fmt: skip
        if where["positions"] in ("last", "all"):
            where |= _cutting(texts)
        test = ""
        if source not in _HPO and not texts:
            test = _field(
                260, "Test problems", name="test_problems", placeholder="none",
                help="More problems, kept as the split test: gsm8k:test, generated:500 (drawn with another seed), "
                "generated:500:unseen-numbers, or a JSONL file on the server. The others are split 80 to 20 as always.",
            )  # fmt: skip
        if where["positions"] in ("last", "all") and not texts and not where["context"]:
            where["answers"] = pick_switch(
                "Answers",
                name="answers",
                help="Let the model answer each problem too, and mark right and wrong. Takes much longer.",
            )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = _field(330, "Name", name="name", default=free_name(f"{model}-{source.removeprefix('hub:')}"))
        begin = st.button("Capture", type="primary")
        measure = st.button(
            "Measure the cost", help="Loads the model and reads one batch; fetches the model if needed."
        )
    spec = {"name": name, "model": model, "problems": source, "test_problems": test or None, **where}
    with page.errors_shown("preparing the capture"):
        if not (begin or measure):
            return
        check_name(spec["name"], "activations name")
        spec["limit"] = _whole("at most", limit)
        for key in ("context", "tokens"):
            if key in spec:
                spec[key] = _whole(key, spec[key])
        if test and not role.local() and not test.startswith(("generated", "gsm8k")):
            raise UserError(f"test problems {test!r} can't be read from here: take gsm8k:test or generated:N")
        if upload is not None:
            spec["problems"] = str(keep_uploads([upload], workspace.root / "problems" / f"{time.time_ns()}"))
        if not spec["problems"]:
            raise UserError(f"give the path of a file of {'texts' if texts else 'problems'}, or upload one")
        if spec["problems"] == "hub:":
            raise UserError("give the name of a data set on the hub, such as OWNER/NAME or OWNER/NAME:CONFIG:SPLIT")
        if measure:
            with st.spinner("Loading the model and reading one batch"):
                cost = estimate_capture(spec)
            st.markdown(cost_text(cost) + (", without the answers" if spec.get("answers") else ""))
        else:
            role.require_change()
            start_capture(workspace, spec)
            ensure_running(workspace)
            st.rerun()


def cost_text(cost: dict[str, Any]) -> str:
    """What `estimate_capture` found, for people."""
    layers = len(cost["layers"] or [])
    steps = f" × {len(cost['steps'])} {plural(len(cost['steps']), 'step')}" if cost["steps"] else ""
    skipped = f" ({count(cost['skipped'])} of them can't be read)" if cost["skipped"] else ""
    took = f", about **{seconds_text(cost['seconds'])}**" if cost["seconds"] is not None else ""
    where = f", {layers} {plural(layers, 'layer')}{steps}" if layers else ", a row each"
    cut = cost["cut"]
    of = plural(cut["documents"], "text") if cut else ""
    what = f"pieces of {count(cut['documents'])} {of}" if cut and cut["context"] else "problems"
    return (
        f"{count(cost['examples'])} {what}{skipped}{where}: "
        f"{count(cost['rows'])} rows of {count(cost['d_in'])} dimensions in {cost['dtype']}, "
        f"**{bytes_text(cost['bytes'])}** on the disk{took}"
    )


def _is_codi(model: str) -> bool:
    from sae.language_models.codi.loading import is_codi

    try:
        return is_codi(model)
    except UserError:  # a folder that can't be read; loading it says why
        return False


def _tokens(model: str, texts: bool) -> dict[str, Any]:
    """Where an ordinary language model is read, or that an encoder gives one row a text."""
    positions = pick_choice(
        "Positions",
        list(_POSITIONS),
        name="positions",
        default="pooled" if model == minilm.NAME else "all" if texts else "last",
        look="buttons",
        format=lambda p: _POSITIONS[p],
    )
    layers = None
    if positions != "pooled":
        layers = _field(
            130, "Layers", name="layers", default="9",
            help="Blocks whose output is kept, counted from 0, with commas between; or all.",
        )  # fmt: skip
    text: str | None = "question"
    if not texts:
        text = pick_choice(
            "Text",
            ["question", "question+answer"],
            name="text",
            default="question",
            look="buttons",
            format=lambda t: {"question": "Question", "question+answer": "Question and answer"}[t],
        )
    dtype = pick_choice("Kept as", ["float32", "float16"], name="dtype", default="float32", look="buttons")
    return {"layers": layers, "positions": positions, "text": text, "dtype": dtype}


def _cutting(texts: bool) -> dict[str, Any]:
    """Into which pieces texts are cut, and how many tokens are enough."""
    context = _field(
        110, "Context", name="context", default=str(TEXT_CONTEXT) if texts else "", placeholder="whole",
        help="Cut each text into pieces of at most so many tokens; pieces of one text stay on one side of the split. "
        f"SAEBench reads {TEXT_CONTEXT} at a time.",
    )  # fmt: skip
    tokens = _field(
        120, "Tokens", name="tokens", placeholder="all",
        help="Stop where so many tokens that make rows are reached: with all tokens, so many rows of a layer.",
    )  # fmt: skip
    return {"context": context, "tokens": tokens}


def _thoughts() -> dict[str, Any]:
    """Where a CODI model is read: at its thoughts, which it answers from as well."""
    layers = _field(
        110, "Layers", name="thought_layers", default="all",
        help="Blocks whose output is kept, counted from 0, such as 0,3 or 0-3; or all.",
    )  # fmt: skip
    steps = _field(
        110, "Steps of thinking", name="thought_steps", default="0-6",
        help="0 is BOT, the token after the question; 1 to 6 are the thoughts z1 to z6.",
    )  # fmt: skip
    last = pick_choice(
        "Last block",
        list(_FINAL_NORM),
        name="final_norm",
        default="before",
        look="buttons",
        format=lambda choice: _FINAL_NORM[choice],
        help="Published activations of the last block are taken after the final norm, on another scale than the rest.",
    )
    dtype = pick_choice("Kept as", ["float16", "float32"], name="thought_dtype", default="float16", look="buttons")
    return {"layers": layers, "positions": "thoughts", "steps": steps, "final_norm": last, "dtype": dtype}


def _pick_problems(codi: bool) -> tuple[str, Any, bool]:
    """What is read: a spec as the command line takes it, an uploaded file if there is one, and whether it is texts."""
    offered = PROBLEMS | ({} if codi else _TEXTS) | (_HPO if hpo_is_here() else {})
    with st.container(width=230):
        source = (
            pick_choice(
                "What is read", list(offered), name="problems", default="generated", format=lambda p: offered[p]
            )
            or "generated"
        )
    if source == "generated":
        return f"generated:{_field(120, 'How many', name='many', default='1500')}", None, False
    if source == "hub":
        named = _field(
            330, "Data set", name="hub", placeholder="OWNER/NAME:CONFIG:SPLIT",
            help="A data set with a column of texts, such as NeelNanda/pile-10k. Without a configuration the only one "
            "or default is taken, without a split train. No more files are downloaded than are needed.",
        )  # fmt: skip
        return f"hub:{named}", None, True
    if source in ("file", "texts"):
        texts, path = source == "texts", ""
        if role.local():
            like = "/data/book.txt" if texts else "/data/train.jsonl"
            path = _field(330, "Path on the server", name="problems_path", placeholder=like)
        kinds = ["txt", "jsonl"] if texts else ["jsonl"]
        upload = st.file_uploader(
            "Or upload it" if role.local() else "Upload it", type=kinds, key=f"{source}_upload",
            help="A .txt file is one text; a .jsonl file has one on each line, as text, with any labels beside it."
            if texts else None,
        )  # fmt: skip
        return path, upload, texts
    return source, None, False


def _field(width: int, label: str, **named: Any) -> str:
    """`pick_text` of a width in px, without blanks around what was typed."""
    with st.container(width=width):
        return pick_text(label, **named).strip()


def _whole(what: str, text: str) -> int | None:
    if not text:
        return None
    if not text.replace(",", "").isdecimal():
        raise UserError(f"{what} {text!r}: give a whole number")
    return int(text.replace(",", ""))
