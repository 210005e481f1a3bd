"""Hidden states of a language model over examples, written as they come; a killed capture goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name, read_json, to_json, write_json
from sae.common.progress import Progress, Silent

from . import answers as own_answers
from .folder import Workplace, write_examples, write_rows
from .forward import batch_tokens_for, read_batches
from .npy import NpyWriter, check_room
from .plan import DTYPES, Plan, check_choice, make_plan
from .splits import split_examples
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel

_STATE = "state.json"
_JOURNAL = "answers.jsonl"
#: How much may be lost to a power cut; a killed process loses at most the batch it was at.
_SAVE_SECONDS = 2.0
_ANSWERS_AT_ONCE = 32


def capture_language_model(
    model: LanguageModel,
    examples: pd.DataFrame,
    folder: Path,
    *,
    name: str,
    layers: Sequence[int],
    positions: str = "last",
    text: str = "question",
    dtype: str = "float16",
    batch_size: int = 64,
    answers: bool = False,
    problems_source: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Write the residual stream after each of `layers` over the texts of `examples` into `folder`.

    Rows stand in the order layer, example, token, whatever the batches were. The same name with the same spec (model,
    examples, layers, positions, text, dtype, answers) returns what is there or goes on with what a kill or a
    cancel left beside `folder`, in the same batches, to the same bytes.

    Args:
        examples: `question`, and where used `answer`, `final_answer`, `group`, `split`; other columns are kept.
        folder: where the activations will stand; its last part is `name`.
        layers: block numbers from 0.
        positions: `last` or `all` tokens of the text, special tokens aside.
        text: `question`, or `question+answer` (a line break between them).
        dtype: `float16` or `float32`, of what is stored; computed is in the model's own precision.
        batch_size: at most so many texts at once; long ones are fewer.
        answers: also let the model answer each question greedily, and judge it.
        problems_source: where the examples came from, for the manifest.
        progress: may raise `Cancelled`; what is there then stays for the next time.

    Raises:
        UserError: bad arguments, another spec under the same name, too little room on the disk, or values that
            `dtype` can't hold. Nothing is left in `folder`.
    """
    progress = progress or Silent()
    check_name(name, "activations name")
    if folder.name != name:
        raise UserError(f"the folder {folder} must end in the activations' name {name!r}")
    check_choice("dtype", dtype, DTYPES)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size} must be at least 1")
    wanted = model.check_layers(layers)
    examples = examples.reset_index(drop=True)
    references = own_answers.reference_answers(examples) if answers else []
    spec = _spec(model, examples, wanted, positions, text, dtype, answers)
    if folder.exists():
        return _what_is_there(folder, spec)

    progress.update(0, 1, "tokenizing")
    plan = make_plan(model, examples, positions, text)
    split, split_how = split_examples(examples)
    with Workplace(folder) as place:
        if folder.exists():
            return _what_is_there(folder, spec)
        state = _State.at(place, spec, _how(model, batch_size))
        _capture_states(model, plan, wanted, np.dtype(dtype), place, state, progress)
        if answers:
            examples = _with_answers(model, examples, references, place, state, progress)
        progress.update(0, 1, "finishing")
        write_rows(place.partial / "rows.parquet", plan.row_columns(), split, wanted)
        write_examples(place.partial / "examples.parquet", examples, split)
        per_layer = plan.rows_per_layer
        manifest = {
            "kind": "capture",
            "model": {**model.source, "n_layers": model.n_layers, "d_model": model.d_model, "context": model.context},
            "problems": problems_source,
            "text": text,
            "positions": positions,
            "layers": wanted,
            "site": "residual stream after the block, before any final norm (hidden_states[layer + 1])",
            "dtype": dtype,
            "d_in": model.d_model,
            "n_rows": per_layer * len(wanted),
            "n_examples": len(examples),
            "slices": [
                {"layer": layer, "position": None, "start": i * per_layer, "stop": (i + 1) * per_layer}
                for i, layer in enumerate(wanted)
            ],
            "split": split_how,
            "skipped": plan.skipped,
            "tokens": plan.n_tokens,
            "seconds": round(state.seconds, 3),
            "compute": state.how,
            "answers": _answers_note(model, examples) if answers else None,
            "spec": spec,
        }
        return place.finish(manifest, drop=(_STATE, _JOURNAL))


class _State:
    """What state.json says: the spec, how it is computed, how far it got."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path, self._content = path, content
        self._since = time.monotonic()

    @classmethod
    def at(cls, place: Workplace, spec: dict[str, Any], how: dict[str, Any]) -> _State:
        """Of what a kill or a cancel left, if it is of the same spec; else of a new start.

        Raises:
            UserError: if what was left is of another spec.
        """
        path = place.partial / _STATE
        fresh = {"spec": spec, "how": how, "batches": 0, "seconds": 0.0}
        if path.exists():
            left = read_json(path)
            if left["spec"] != spec:
                raise UserError(
                    f"an unfinished capture {place.folder.name!r} has other {_differences(left['spec'], spec)}: "
                    f"take another name, or delete {place.partial}"
                )
            # Another device or kernel rounds otherwise; half of each would be neither.
            if (left["how"]["device"], left["how"]["kernel"]) == (how["device"], how["kernel"]):
                return cls(path, left)
        place.start_over()
        state = cls(path, fresh)
        state.save()
        return state

    @property
    def how(self) -> dict[str, Any]:
        return self._content["how"]

    @property
    def batches(self) -> int:
        return self._content["batches"]

    @property
    def seconds(self) -> float:
        return self._content["seconds"]

    def save(self, batches: int | None = None) -> None:
        now = time.monotonic()
        self._content["seconds"] += now - self._since
        self._since = now
        if batches is not None:
            self._content["batches"] = batches
        write_json(self._path, self._content)


def _capture_states(
    model: LanguageModel,
    plan: Plan,
    layers: list[int],
    dtype: np.dtype,
    place: Workplace,
    state: _State,
    progress: Progress,
) -> None:
    """Fill activations.npy, from the first batch that state.json doesn't count as done."""
    path = place.partial / "activations.npy"
    shape = (plan.rows_per_layer * len(layers), model.d_model)
    if not path.exists():
        check_room(place.partial, shape[0] * shape[1] * dtype.itemsize)
    writer = NpyWriter(path, shape, dtype, resume=state.batches > 0)
    batches = plan.batches(state.how["batch_size"], state.how["batch_tokens"])
    done = sum(len(plan.tokens[p].ids) for batch in batches[: state.batches] for p in batch)
    rows, started, saved, reached = 0, time.monotonic(), time.monotonic(), state.batches

    def say() -> None:
        rate = rows / max(time.monotonic() - started, 1e-9)
        progress.update(done, plan.n_tokens, "capturing (tokens)", rows_per_second=round(rate))

    states = read_batches(model, plan, batches[state.batches :], layers, say)
    try:
        for number in range(state.batches, len(batches)):
            batch = batches[number]
            say()
            rows += _write_batch(plan, batch, layers, next(states), writer)
            done += sum(len(plan.tokens[place].ids) for place in batch)
            reached = number + 1
            if time.monotonic() - saved > _SAVE_SECONDS:
                writer.flush()
                state.save(reached)
                saved = time.monotonic()
        say()
    except _Unfit as error:
        writer.close()
        # It would fail again at the same text, and must not stand in the way of another dtype.
        place.discard()
        raise UserError(str(error)) from None
    except BaseException:
        writer.flush()
        state.save(reached)
        raise
    finally:
        states.close()
        writer.close()
    state.save(reached)


class _Unfit(Exception):
    """A state that can't be stored."""


def _write_batch(
    plan: Plan, batch: list[int], layers: list[int], states: dict[int, np.ndarray], writer: NpyWriter
) -> int:
    """Write the rows of one batch; returns how many."""
    ends = np.concatenate([[0], np.cumsum([len(plan.indices[place]) for place in batch])])
    for number, layer in enumerate(layers):
        with np.errstate(over="ignore"):
            values = states[layer].astype(writer.dtype)
        if not (finite := np.isfinite(values).all(axis=1)).all():
            row = np.flatnonzero(~finite)[0]
            example = plan.numbers[batch[int(np.searchsorted(ends, row, side="right")) - 1]]
            hint = "take float32" if np.isfinite(states[layer][row]).all() else "the model gives NaN or Inf"
            raise _Unfit(f"layer {layer} has values that {writer.dtype} can't hold at example {example}: {hint}")
        for index, place in enumerate(batch):
            first = number * plan.rows_per_layer + int(plan.first_row[place])
            writer.write(first, values[ends[index] : ends[index + 1]])
    return int(ends[-1]) * len(layers)


def _with_answers(
    model: LanguageModel,
    examples: pd.DataFrame,
    references: list[float],
    place: Workplace,
    state: _State,
    progress: Progress,
) -> pd.DataFrame:
    """`examples` with `model_answer` (its text), `model_number` and `correct`."""
    import pandas as pd

    questions = [str(question) for question in examples["question"]]
    try:
        written = own_answers.collect_answers(model, questions, place.partial / _JOURNAL, _ANSWERS_AT_ONCE, progress)
    finally:
        state.save()
    numbers = [None if answer is None else own_answers.last_number(answer) for answer in written]
    right = [own_answers.is_right(number, reference) for number, reference in zip(numbers, references, strict=True)]
    return examples.assign(
        model_answer=pd.array(written, dtype="str"),
        model_number=np.array([np.nan if number is None else number for number in numbers]),
        correct=np.array(right),
    )


def _answers_note(model: LanguageModel, examples: pd.DataFrame) -> dict[str, Any]:
    chat = bool(model.tokenizer.chat_template)
    return {
        "decoding": "greedy",
        "max_new_tokens": own_answers.MAX_NEW_TOKENS,
        "prompt": own_answers.CHAT_PROMPT if chat else own_answers.PLAIN_PROMPT,
        "chat_template": chat,
        "accuracy": float(examples["correct"].mean()),
    }


def _spec(
    model: LanguageModel,
    examples: pd.DataFrame,
    layers: list[int],
    positions: str,
    text: str,
    dtype: str,
    answers: bool,
) -> dict[str, Any]:
    """What makes two captures the same. Where a model's files stand is no part of it."""
    source = {key: value for key, value in model.source.items() if key not in ("from", "name", "licence", "title")}
    content = hashlib.sha256(examples.to_json(orient="records", lines=True, double_precision=15).encode()).hexdigest()
    spec = {
        "model": {**source, "name": model.source.get("name")} if model.source.get("kind") == "hub" else source,
        "examples": content,
        "layers": layers,
        "positions": positions,
        "text": text,
        "dtype": dtype,
        "answers": answers,
    }
    # As it will come back from disk.
    return json.loads(to_json(spec))


def _how(model: LanguageModel, batch_size: int) -> dict[str, Any]:
    """What decides the last bits beside the spec."""
    return {
        "device": str(model.device),
        "kernel": model.kernel,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens_for(model),
    }


def _what_is_there(folder: Path, spec: dict[str, Any]) -> Activations:
    there = Activations.open(folder)
    if there.manifest.get("spec") == spec:
        return there
    other = _differences(there.manifest.get("spec") or {}, spec)
    raise UserError(
        f"activations {folder.name!r} are there already, with other {other}: take another name or delete them"
    )


def _differences(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    return ", ".join(key for key in ours if theirs.get(key) != ours[key]) or "origin"
