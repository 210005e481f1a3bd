"""Core: reconstruction, sparsity, and what a model does with the reconstruction; SAEBench's core metrics beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sae.common.progress import Progress
    from sae.evaluation.behaviour import Group
    from sae.evaluation.core import Core

CORE = Measurement(
    name="core",
    title="Core",
    question="How well are held-out states reconstructed, how sparsely, and does the model do with them what it did?",
    settings={
        "texts": 200,
        "table": "",
        "tokens": "captured",
        "context": 0,
        "batch": 16,
        "model": "",
        "resamples": 1000,
        "seed": 0,
    },
    meanings={
        "texts": "at most so many texts or problems, drawn with the seed; 0 takes all",
        "table": "a .jsonl, .csv or .parquet file with a column text; empty reads the capture's own held-out examples",
        "tokens": "which states are replaced: all, last (of each text), or captured: those that the SAE was trained on",
        "context": "only the first so many tokens of a text; 0 for as many as the model takes",
        "batch": "texts in one of SAEBench's batches, on which its mse and legacy explained variance depend",
        "model": "a language model by name; empty is the one the activations come from, none leaves it out",
        "resamples": "of the bootstrap over texts",
        "seed": "of the texts drawn and the bootstrap",
    },
    measure="sae.experiments.core:measure",
    of_run=("kl_score_mean", "ce_score_mean"),
)
TOKENS = ("captured", "all", "last")


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """`sae.evaluation.core` of one run on held-out texts, problems, or stored rows where there is no model to read.

    Table `features`: SAEBench's columns by feature. Notes: `saebench` (its metrics by its names), `behaviour` (which
    model was in the loop, or why none was), what was read, and the settings.

    Raises:
        UserError: if the model, the texts or the table can't be read, or the model is not the one that was captured.
    """
    import pandas as pd

    from sae.evaluation.core import Collected

    _check(settings)
    mean = _train_mean(case)
    collected = Collected(case.model, mean, case.device)
    why = _without_model(case, settings)
    if why:
        split, notes, groups = _stored(case, settings)
        notes["why"] = why
    elif case.activations.is_thoughts:
        split, notes, groups = _thoughts(case, settings, mean)
    else:
        split, notes, groups = _texts(case, settings, mean, progress)
    for group in groups:
        collected.add(group)
        notes["read"] += len(np.unique(group.text))
        progress.update(min(notes["read"], notes["texts"]), notes["texts"], "core")
    core = collected.core(settings["resamples"], settings["seed"])
    notes |= _facts(case, core, settings)
    features = pd.DataFrame({"feature": np.arange(case.model.d_sae), **core.features})
    found = {"split": split, "metrics": core.metrics, "interval": core.intervals, "n": core.n_tokens}
    return Measured([found], {"features": features}, notes)


def _check(settings: dict[str, Any]) -> None:
    for name, least in (("texts", 0), ("context", 0), ("batch", 1), ("resamples", 1)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]} must be at least {least}")
    if settings["tokens"] not in TOKENS:
        raise UserError(f"tokens {settings['tokens']!r} is not known: take one of {', '.join(TOKENS)}")


def _facts(case: Case, core: Core, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "saebench": core.saebench,
        "n_tokens": core.n_tokens,
        "n_predictions": core.n_predictions,
        "n_texts": core.n_texts,
        "layer": case.slice.layer,
        "position": case.slice.position,
        "settings": settings,
    }


def _train_mean(case: Case) -> np.ndarray:
    from sae.common.row_reader import RowBlocks
    from sae.training.rows import moments_of

    return moments_of(RowBlocks(case.slice.x, case.slice.train_rows)).mean.numpy()


def _without_model(case: Case, settings: dict[str, Any]) -> str:
    """Why no language model is in the loop; empty if one is."""
    manifest, name = case.activations.manifest, settings["model"]
    if name == "none":
        return "no language model was asked for"
    if manifest.get("positions") == "pooled":
        return "a row is pooled over a text: no state of a model can be replaced by it"
    if not name and not (manifest.get("model") or {}).get("name"):
        return f"{case.activations.name} does not say which model its rows come from"
    if case.slice.layer is None:
        return f"{case.activations.name} does not say which layer its rows come from"
    return ""


def _stored(case: Case, settings: dict[str, Any]) -> tuple[str, dict[str, Any], Iterator[Group]]:
    """Held-out rows as they stand in the activations, whole examples of them."""
    from sae.evaluation.core import stored_groups

    if settings["table"]:
        raise UserError("a table of texts needs a language model to read it: name one with the setting model")
    split = "test" if len(case.slice.test_rows) else "validation"
    rows = case.slice.test_rows if split == "test" else case.slice.validation_rows
    if not len(rows):
        raise UserError(f"{case.slice.title} of {case.activations.name!r} has no held-out rows")
    example = case.slice.rows["example"].to_numpy()[rows]
    if settings["texts"]:
        every = np.unique(example)
        wanted = np.isin(example, every[drawn_of(len(every), settings)])
        rows, example = rows[wanted], example[wanted]
    notes = {"behaviour": None, "texts": len(np.unique(example)), "read": 0, "source": "stored rows"}
    return split, notes, iter(stored_groups(case.slice.x, rows, example, case.device))


def drawn_of(n: int, settings: dict[str, Any]) -> np.ndarray:
    """Which of `n` texts are read: as many as the setting `texts` says, drawn with `seed`."""
    from sae.experiments.texts import drawn

    return drawn(n, settings["texts"], settings["seed"])


def _thoughts(case: Case, settings: dict[str, Any], mean: np.ndarray) -> tuple[str, dict[str, Any], Iterator[Group]]:
    """Held-out problems that a CODI model thinks about; the state at the run's layer and step is replaced."""
    from sae.evaluation.thought_behaviour import of_thoughts
    from sae.experiments.patching import difference_from_stored, held_out, site_of
    from sae.experiments.reading import model_notes
    from sae.language_models.codi.vocabulary import ANSWER, number_text

    if settings["table"] or settings["model"]:
        raise UserError("thoughts are replaced in the model that thought them: leave out table and model")
    split, rows = held_out(case, {"problems": settings["texts"], "seed": settings["seed"]})
    codi = case.language_model()
    site = site_of(case, codi)
    examples = case.activations.examples.iloc[case.slice.rows["example"].to_numpy()[rows]]
    for column in ("question", "final_answer"):
        if column not in examples:
            raise UserError(f"{case.activations.name!r} does not say the {column} of its problems: capture them again")
    questions = codi.encode(list(examples["question"]))
    wanted = [f"{ANSWER} {number_text(float(value))}" for value in examples["final_answer"]]
    ids = codi.tokenizer(wanted, add_special_tokens=False)["input_ids"] if wanted else []
    answers = [[*row, codi.tokenizer.eos_token_id] for row in ids]
    stored = case.slice.x[rows].astype(np.float32)
    order = np.random.default_rng(settings["seed"]).permutation(len(rows))
    groups = _in_groups(order, settings["batch"])
    notes = {
        "behaviour": model_notes(codi.source),
        "site": "after the final norm" if site.layer == codi.n_layers else "after the block",
        "is_read": site.is_read(codi),
        "texts": len(rows),
        "read": 0,
        "source": "problems of the capture",
        "answer": "reference answers, token by token",
    }

    def read() -> Iterator[Group]:
        for group in of_thoughts(codi, site, case.model, mean, groups, questions, answers):
            difference_from_stored(case, stored[group.text], group.x)
            yield group

    return split, notes, read()


def _texts(
    case: Case, settings: dict[str, Any], mean: np.ndarray, progress: Progress
) -> tuple[str, dict[str, Any], Iterator[Group]]:
    """Texts that a language model reads; states at the run's layer are replaced."""
    from sae.evaluation.behaviour import of_texts
    from sae.experiments import reading
    from sae.experiments.texts import held_out_texts, read_texts

    if settings["table"]:
        split, examples, texts = "table", None, read_texts(settings["table"])
    else:
        split, examples, texts = held_out_texts(case)
    chosen = drawn_of(len(texts), settings)
    captured = case.activations.manifest.get("positions")
    tokens = settings["tokens"]
    if tokens == "captured":
        tokens = "last" if captured == "last" else "all"
    model = reading.language_model_of(case, settings["model"], progress)
    layer = case.slice.layer
    assert layer is not None
    read, cut = reading.tokens_of(model, [texts[place] for place in chosen], tokens, settings["context"])
    whole = np.array([bool(text.measured) for text in read])
    if not whole.any():
        raise UserError("no text has a token that this model reads")
    groups = _in_groups(np.flatnonzero(whole), settings["batch"])
    notes = {
        "behaviour": reading.model_notes(model.source),
        "site": "after the block",
        "tokens": tokens,
        "captured_tokens": captured,
        "texts": int(whole.sum()),
        "read": 0,
        "cut": cut,
        "source": settings["table"] or "examples of the capture",
    }
    stored = reading.last_states(case, None if examples is None else examples[chosen], read)

    def tick() -> None:
        progress.update(min(notes["read"], notes["texts"]), notes["texts"], "core")

    def go() -> Iterator[Group]:
        for group in of_texts(model, layer, case.model, mean, groups, read, tick):
            reading.check_states(case, group, stored)
            yield group

    return split, notes, go()


def _in_groups(places: np.ndarray, size: int) -> list[list[int]]:
    return [places[start : start + size].tolist() for start in range(0, len(places), size)]
