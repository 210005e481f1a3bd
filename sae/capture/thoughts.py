"""The continuous thoughts of a CODI model over problems, as activations: every layer and step in one pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.common.progress import Progress, Silent

from . import conventions
from .answers import is_right, known_references
from .filling import Work, fill, stored
from .folder import Workplace, write_examples, write_rows
from .journal import Journal
from .npy import NpyWriter
from .plan import DTYPES, check_choice
from .splits import split_examples
from .state import STATE, State, make_spec, what_is_there
from .store import Activations
from .thinking import (
    BATCH_SIZE,
    ThoughtPlan,
    Thoughts,
    batch_tokens_for,
    check_layers,
    check_steps,
    make_thought_plan,
    prepare,
    think_batches,
)

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models.codi.model import Codi

    from .shards import Shards

_JOURNAL = "thoughts.jsonl"
FINAL_NORM = ("before", "after")
_SITES = {
    "before": "residual stream after the block, before the final norm",
    "after": "residual stream after the block, for the last block after the final norm (hidden_states[-1])",
}


def capture_thoughts(
    codi: Codi,
    examples: pd.DataFrame,
    folder: Path,
    *,
    name: str,
    layers: Sequence[int],
    steps: Sequence[int] | None = None,
    dtype: str = "float16",
    final_norm: str = "before",
    batch_size: int = BATCH_SIZE,
    problems_source: dict[str, Any] | None = None,
    progress: Progress | None = None,
    shards: Shards | None = None,
) -> Activations:
    """Let the model think about every question, and write the states of `layers` at `steps` into `folder`.

    Rows stand in the order layer, step, example: a slice for each layer and step. The model also answers, and what
    each of its steps reads as is kept with the examples: `model_answer`, `model_number`, `correct` (missing where
    there is no reference), `answer_log_prob` (nats, of the answer's tokens), `thoughts` (JSON: for each step the
    likeliest words through the head as [word, probability]) and `unknown_words` (how many).

    Questions that are empty, too long, or have words that the model does not know have no rows; the manifest's
    `skipped` lists them. The same name with the same spec (model, examples, layers, steps, final norm, dtype) returns
    what is there or goes on with what a kill or a cancel left beside `folder`, in the same batches, to the same bytes.

    Args:
        examples: `question`, and where used `answer`, `final_answer`, `group`, `split`; other columns are kept.
        folder: where the activations will stand; its last part is `name`.
        layers: block numbers from 0.
        steps: 0 is BOT, 1 to 6 are the thoughts; None for all.
        dtype: `float16` or `float32`, of what is stored.
        final_norm: whether the last block's states are taken `before` or `after` the final norm, as published ones are.
        batch_size: at most so many problems at once; long ones are fewer.
        problems_source: where the examples came from, for the manifest.
        progress: may raise `Cancelled`; what is there then stays for the next time.
        shards: hold all thoughts already; the model then says only what they belong to.

    Raises:
        UserError: bad arguments, another spec under the same name, no problem that can be read, too little room on
            the disk, or values that `dtype` can't hold. Nothing is left in `folder`.
    """
    progress = progress or Silent()
    check_name(name, "activations name")
    if folder.name != name:
        raise UserError(f"the folder {folder} must end in the activations' name {name!r}")
    check_choice("dtype", dtype, DTYPES)
    check_choice("final norm", final_norm, FINAL_NORM)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size} must be at least 1")
    wanted, at = check_layers(codi, layers), check_steps(codi, steps)
    examples = examples.reset_index(drop=True)
    spec = thoughts_spec(codi, examples, wanted, at, final_norm, dtype)
    if folder.exists():
        return what_is_there(folder, spec)

    progress.update(0, 1, "tokenizing")
    plan = make_thought_plan(codi, examples)
    split, split_how = split_examples(examples)
    how = shards.how(spec) if shards else how_thought(codi, batch_size)
    with Workplace(folder) as place:
        if folder.exists():
            return what_is_there(folder, spec)
        state = State.at(place, spec, how)
        said = _capture(codi, plan, wanted, at, np.dtype(dtype), final_norm, place, state, progress, shards)
        progress.update(0, 1, "finishing")
        n = len(plan.numbers)
        columns: dict[str, np.ndarray] = {
            "example": np.tile(np.array(plan.numbers, np.int32), len(at)),
            "position": np.repeat(np.array(at, np.int16), n),
        }
        write_rows(place.partial / "rows.parquet", columns, split, wanted)
        judged = _with_answers(examples, plan, said)
        write_examples(place.partial / "examples.parquet", judged, split)
        pieces = [(layer, step) for layer in wanted for step in at]
        known = judged["correct"].dropna().astype(bool)
        manifest = {
            "kind": "capture",
            "model": {**codi.source, "n_layers": codi.n_layers, "d_model": codi.d_model, "context": codi.context},
            "problems": problems_source,
            "text": "question",
            "positions": "thoughts",
            "convention_note": conventions.NOTE,
            "steps": at,
            "layers": wanted,
            "site": _SITES[spec["final_norm"]],
            "dtype": dtype,
            "d_in": codi.d_model,
            "n_rows": n * len(pieces),
            "n_examples": len(examples),
            "slices": [
                {
                    "layer": layer,
                    "position": step,
                    "start": i * n,
                    "stop": (i + 1) * n,
                    "block_index": layer,
                    "hidden_states_index": conventions.hidden_states_index(layer),
                }
                for i, (layer, step) in enumerate(pieces)
            ],
            "split": split_how,
            "skipped": plan.skipped,
            "tokens": plan.n_tokens,
            "seconds": round(state.seconds, 3),
            "compute": state.how,
            "answers": {
                "decoding": "greedy",
                "accuracy": float(known.mean()) if len(known) else None,
                "n": len(known),
            },
            "spec": spec,
        }
        return place.finish(manifest, drop=(STATE, _JOURNAL))


def thoughts_spec(
    codi: Codi, examples: pd.DataFrame, layers: list[int], steps: list[int], final_norm: str, dtype: str
) -> dict[str, Any]:
    """What makes two captures of thoughts the same."""
    return make_spec(
        codi.source,
        examples,
        layers=layers,
        positions="thoughts",
        steps=steps,
        # It says something about the last block alone.
        final_norm=final_norm if layers[-1] == codi.n_layers - 1 else "before",
        dtype=dtype,
    )


def how_thought(codi: Codi, batch_size: int) -> dict[str, Any]:
    """What decides the last bits beside the spec."""
    return {
        "device": str(codi.device),
        "kernel": prepare(codi),
        "batch_size": batch_size,
        "batch_tokens": batch_tokens_for(codi),
    }


def _capture(
    codi: Codi,
    plan: ThoughtPlan,
    layers: list[int],
    steps: list[int],
    dtype: np.dtype,
    final_norm: str,
    place: Workplace,
    state: State,
    progress: Progress,
    shards: Shards | None,
) -> list[dict[str, Any]]:
    """Fill activations.npy, from the first batch that state.json doesn't count; what the model said, by problem."""
    batches = plan.batches(state.how["batch_size"], state.how["batch_tokens"])
    n = len(plan.numbers)
    with Journal(place.partial / _JOURNAL, keep=state.batches) as journal:

        def write(batch: list[int], thoughts: Thoughts, writer: NpyWriter) -> int:
            for i, layer in enumerate(layers):
                for j, step in enumerate(steps):
                    what = conventions.slice_title(layer, step)
                    values = stored(thoughts.states[layer][j], dtype, what, lambda row: plan.numbers[batch[row]])
                    first = (i * len(steps) + j) * n
                    for row, problem in enumerate(batch):
                        writer.write(first + problem, values[row : row + 1])
            journal.add(thoughts.said)
            return len(batch) * len(layers) * len(steps)

        def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[Thoughts, None, None]:
            if shards:
                return shards.thoughts(left, len(steps), tick)
            return think_batches(codi, plan, left, layers, steps, final_norm, tick)

        work = Work(
            batches=batches,
            weights=[len(batch) for batch in batches],
            read=read,
            write=write,
            flush=journal.flush,
            stage="thinking (problems)",
        )
        fill(work, (n * len(layers) * len(steps), codi.d_model), dtype, place, state, progress)
        said: list[dict[str, Any]] = [{}] * n
        for batch, lines in zip(batches, journal.finished, strict=True):
            for problem, line in zip(batch, lines, strict=True):
                said[problem] = line
    return said


def _with_answers(examples: pd.DataFrame, plan: ThoughtPlan, said: list[dict[str, Any]]) -> pd.DataFrame:
    """`examples` with what the model said about those that it read."""
    import pandas as pd

    lines: list[dict[str, Any] | None] = [None] * len(examples)
    for number, line in zip(plan.numbers, said, strict=True):
        lines[number] = line
    references = known_references(examples)
    correct = [
        None if line is None or np.isnan(reference) else is_right(line["number"], reference)
        for line, reference in zip(lines, references, strict=True)
    ]

    def numbers(key: str) -> np.ndarray:
        return np.array([np.nan if line is None or line[key] is None else line[key] for line in lines], np.float64)

    return examples.assign(
        model_answer=pd.array([None if line is None else line["answer"] for line in lines], dtype="str"),
        model_number=numbers("number"),
        # With a gap: Python's own values, which read back as such.
        correct=np.array(correct, object if None in correct else bool),
        answer_log_prob=numbers("log_prob"),
        thoughts=pd.array(
            [None if line is None else json.dumps(line["thoughts"], ensure_ascii=False) for line in lines], dtype="str"
        ),
        unknown_words=np.array(plan.unknown, np.int32),
    )
