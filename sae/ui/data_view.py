"""What activations are, in words and numbers, and their problems as a table; for the Data page."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.capture.context import cut_text
from sae.capture.conventions import step_name
from sae.ui.words import ago, bytes_text, count, number, plural, seconds_text, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Activations, Slice

ANY = "any"
SEARCHED = ("question", "answer", "model_answer", "concept", "concept_name", "categories")
RIGHT = {ANY: "any answer", "right": "right", "wrong": "wrong"}


def facts(activations: Activations) -> dict[str, str]:
    """What the manifest says, for people; in order."""
    manifest = activations.manifest
    model, problems = manifest.get("model") or {}, manifest.get("problems") or {}
    split, made = manifest.get("split") or {}, str(manifest.get("created", ""))
    found = {
        "Model": str(model.get("title") or model.get("name") or "not said (an imported array)"),
        "Model from": str(model.get("from") or ""),
        "Quantisation": str(model.get("quantisation") or ""),
        "Layers": _layers(manifest, model),
        "Read at": _positions(manifest),
        _of_what(problems): _source(problems),
        "Licence of the terms": str(problems.get("licence", "")) if is_terms(activations) else "",
        "Test problems": _source(problems.get("test") or {}),
        "Not read": _unread(problems, is_terms(activations)),
        "Shape": f"{count(activations.n_rows)} rows × {count(activations.d_in)} dimensions, {manifest['dtype']}",
        "Size": bytes_text(activations.n_rows * activations.d_in * (2 if manifest["dtype"] == "float16" else 4)),
        "Cut": cut_text(manifest["cut"]) if manifest.get("cut") else "",
        "Examples": count(manifest.get("n_examples") or len(activations.examples)),
        "Split": ", ".join(f"{name} {count(n)}" for name, n in (split.get("counts") or {}).items()),
        "Split by": f"{split['method']}, seed {split.get('seed')}" if split.get("method") else "",
        "Skipped": count(len(manifest["skipped"])) if manifest.get("skipped") else "",
        "Made": f"{ago(made)}, {made[:16].replace('T', ' ')} UTC" if made else "",
        "Took": seconds_text(manifest["seconds"]) if manifest.get("seconds") else "",
        "SHA-256": f"{str(manifest.get('sha256', ''))[:16]}…",
    }
    return {name: text for name, text in found.items() if text}


def is_terms(activations: Activations) -> bool:
    """Whether an example is a term of an ontology: a name or a synonym of a concept."""
    return (activations.manifest.get("problems") or {}).get("kind") == "ontology"


def nouns(activations: Activations) -> tuple[str, str]:
    """What one example is called, and several."""
    if is_terms(activations):
        return "term", "terms"
    cut = activations.manifest.get("cut") or {}
    return ("piece", "pieces") if cut.get("context") else ("problem", "problems")


def _of_what(problems: dict[str, Any]) -> str:
    if problems.get("kind") == "ontology":
        return "Terms"
    return "Texts" if problems.get("kind") in ("text", "texts") or "repository" in problems else "Problems"


def _source(problems: dict[str, Any]) -> str:
    if problems.get("kind") == "ontology":
        release = f" {problems['version']}" if problems.get("version") else ""
        concepts = f" of {count(problems['concepts'])} concepts" if problems.get("concepts") else ""
        return f"{count(problems['n'])}{concepts}, {problems['name']}{release}"
    return " ".join(str(problems[key]) for key in ("kind", "name", "n", "path") if problems.get(key))


def _unread(problems: dict[str, Any], terms: bool) -> str:
    lines = problems.get("unread")
    return f"{count(len(lines))} {plural(len(lines), 'term' if terms else 'line')}; {lines[0]}" if lines else ""


def _layers(manifest: dict[str, Any], model: dict[str, Any]) -> str:
    layers = manifest.get("layers")
    if not layers:
        return ""
    of = f" of {model['n_layers']}" if model.get("n_layers") else ""
    site = manifest.get("site") if manifest.get("positions") == "thoughts" else None
    return ", ".join(map(str, layers)) + of + f" ({site or 'residual stream after the block'})"


def _positions(manifest: dict[str, Any]) -> str:
    if manifest.get("positions") == "pooled":
        return str(manifest.get("site", ""))
    if manifest.get("positions") == "thoughts":
        return ", ".join(step_name(step) for step in manifest.get("steps") or []) + " (continuous thoughts)"
    where = {"last": "last token", "all": "every token"}.get(str(manifest.get("positions")), "")
    return f"{where} of the {manifest['text'].replace('+', ' and ')}" if where and manifest.get("text") else where


def statistics(piece: Slice) -> dict[str, Any]:
    """`sae.capture.slice_statistics` with `question_overlap`, kept for the array's hash."""
    activations = piece.activations
    return _statistics(str(activations.folder), str(activations.manifest["sha256"]), piece.layer, piece.position)


@st.cache_data(max_entries=128, show_spinner=False)
def _statistics(folder: str, sha256: str, layer: int | None, position: int | None) -> dict[str, Any]:
    from sae.capture import Activations, slice_statistics
    from sae.capture.overlap import question_overlap

    activations = Activations.open(Path(folder))
    return {**slice_statistics(activations.slice(layer, position)), "overlap": question_overlap(activations)}


def tiles(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Title, value and definition of each number that describes a slice. x: the rows, m: their mean."""
    return [
        ("Total variance", number(found["total_variance"], 2), "Sum of the variances of the dimensions: tr C."),
        ("Size of the mean", number(found["mean_norm"], 2), "‖m‖, the Euclidean norm of the mean row."),
        ("Centred norm", number(found["centred_norm"], 2), "√(mean of ‖x − m‖²): how far rows lie from their mean."),
        (
            "Mean to centred",
            number(found["mean_to_centred"], 2),
            "‖m‖ over the centred norm. Large: rows differ little.",
        ),
        (
            "Participation ratio",
            number(found["participation_ratio"], 1),
            f"(tr C)² / tr C²: how many directions share the variance, from 1 to {count(found['d_in'])}.",
        ),
        (
            "Outlier ratio",
            number(found["outlier_ratio"], 1),
            "γ: largest over median standard deviation of the dimensions; the largest is dimension "
            f"{count(found['outlier_dimension'])}, counted from 0.",
        ),
        ("Duplicate rows", share(found["duplicate_rows"]), "Share of rows that equal an earlier one bit for bit."),
        ("Constant dims", count(found["constant_dimensions"]), "Dimensions that don't vary at all."),
    ]


def warnings(found: dict[str, Any], title: str) -> list[str]:
    """What should be known before an SAE is trained on the slice."""
    said = []
    if found["near_constant"]:
        said.append(
            f"Near-constant slice: in {title} the mean holds almost all of every row (centred norm "
            f"{number(found['centred_norm'])}, mean {number(found['mean_norm'])}). A measure that does not centre will "
            "look perfect whatever is trained here."
        )
    if found["duplicate_rows"] > 0.01:
        said.append(f"{share(found['duplicate_rows'])} of the rows equal an earlier row: examples may be repeated.")
    if found.get("overlap"):
        said.append(
            f"{count(found['overlap'])} held-out examples have a question that a training example has too: held-out "
            "numbers are too good."
        )
    return said


def base_rate(activations: Activations) -> str:
    """How often the model's own answer is right; empty where that is not known."""
    examples = activations.examples
    if "correct" not in examples or not examples["correct"].notna().any():
        return ""
    known = examples["correct"].dropna().astype(bool)
    return (
        f"The model answers {share(float(known.mean()))} of {count(len(known))} problems right "
        f"({count(known.sum())} right, {count((~known).sum())} wrong)."
    )


def judged(line: pd.Series) -> str:
    """`right`, `wrong`, or nothing where that is not known."""
    import pandas as pd

    value = line.get("correct")
    return "" if value is None or pd.isna(value) else "right" if value else "wrong"


def labels_of(line: pd.Series) -> dict[str, str]:
    """What else is known of a problem, by column: all but what is shown beside it."""
    import pandas as pd

    shown = {"example", "question", "answer", "model_answer", "split", "steps", "correct", "thoughts"}
    return {str(name): _listed(str(value)) for name, value in line.items() if name not in shown and not pd.isna(value)}


def _listed(text: str) -> str:
    """A list in JSON as its items with commas between; anything else as it is."""
    if text.startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return ", ".join(str(item) for item in json.loads(text))
    return text


def problems_table(activations: Activations) -> pd.DataFrame:
    """Examples with their split, a line each, in their order; `example` is the row number in examples.parquet."""
    return _problems(str(activations.folder), str(activations.manifest["sha256"]))


@st.cache_resource(max_entries=8, show_spinner=False)
def _problems(folder: str, sha256: str) -> pd.DataFrame:
    from sae.capture import Activations

    activations = Activations.open(Path(folder))
    splits = activations.rows.drop_duplicates("example").set_index("example")["split"]
    table = activations.examples.reset_index(drop=True)
    table.insert(0, "example", range(len(table)))
    # A column of the user's own may have the name; the rows decide.
    return table.drop(columns="split", errors="ignore").assign(split=splits.reindex(range(len(table))).to_numpy())


def chosen_problems(
    table: pd.DataFrame, text: str = "", split: str = ANY, steps: str = ANY, right: str = ANY
) -> pd.DataFrame:
    """The problems that hold every word of `text`, of a split, a number of steps, answered right or wrong."""
    if text.strip():
        where = [name for name in SEARCHED if name in table] or ["example"]
        joined = table[where[0]].astype(str)
        for name in where[1:]:
            joined = joined + "\n" + table[name].astype(str)
        joined = joined.str.lower()
        for word in text.lower().split():
            table = table[joined.loc[table.index].str.contains(word, regex=False)]
    if split != ANY:
        table = table[table["split"] == split]
    if steps != ANY and "n_steps" in table:
        table = table[table["n_steps"].astype(str) == steps]
    if right != ANY and "correct" in table:
        table = table[table["correct"].astype("boolean").fillna(right == "wrong") == (right == "right")]
    return table


def shown_problems(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of the list."""
    wanted = (
        "example",
        "question",
        "concept_name",
        "term",
        "n_steps",
        "final_answer",
        "model_answer",
        "correct",
        "split",
    )
    shown = table[[name for name in wanted if name in table and table[name].notna().any()]].copy()
    if "question" in shown:
        shown["question"] = shown["question"].astype(str).str.slice(0, 300)
    return shown
