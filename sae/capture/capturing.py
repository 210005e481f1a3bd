"""Hidden states of a language model over examples, written as they come; a killed capture goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import check_name
from sae.common.progress import Progress, Silent

from . import answers as own_answers
from .filling import Work, fill, stored
from .folder import Workplace, write_examples, write_rows
from .forward import batch_tokens_for, read_batches
from .npy import NpyWriter
from .plan import DTYPES, Plan, check_choice, make_plan
from .splits import split_examples
from .state import STATE, State, make_spec, what_is_there
from .store import Activations

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel

    from .context import Cut
    from .shards import Shards

_JOURNAL = "answers.jsonl"
ANSWERS_AT_ONCE = 32


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
    cut: Cut | None = None,
    progress: Progress | None = None,
    shards: Shards | None = None,
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
        cut: how the examples were cut out of longer texts, or where they were stopped; of the spec, too.
        progress: may raise `Cancelled`; what is there then stays for the next time.
        shards: have read all batches already; the model then says only what they belong to.

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
    choices = token_choices(wanted, positions, text, dtype, answers, cut)
    spec = make_spec(model.source, examples, **choices)
    if folder.exists():
        return what_is_there(folder, spec)

    progress.update(0, 1, "tokenizing")
    plan = make_plan(model, examples, positions, text)
    split, split_how = split_examples(examples)
    with Workplace(folder) as place:
        if folder.exists():
            return what_is_there(folder, spec)
        state = State.at(place, spec, shards.how(spec) if shards else how_read(model, batch_size))
        _capture_states(model, plan, wanted, np.dtype(dtype), place, state, progress, shards)
        if answers:
            examples = _with_answers(model, examples, references, place, state, progress, shards)
        progress.update(0, 1, "finishing")
        write_rows(place.partial / "rows.parquet", plan.row_columns(), split, wanted)
        write_examples(place.partial / "examples.parquet", examples, split)
        per_layer = plan.rows_per_layer
        manifest = {
            "kind": "capture",
            "model": {**model.source, "n_layers": model.n_layers, "d_model": model.d_model, "context": model.context},
            "problems": problems_source,
            "text": text,
            "cut": None if cut is None else asdict(cut),
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
        return place.finish(manifest, drop=(STATE, _JOURNAL))


def _capture_states(
    model: LanguageModel,
    plan: Plan,
    layers: list[int],
    dtype: np.dtype,
    place: Workplace,
    state: State,
    progress: Progress,
    shards: Shards | None,
) -> None:
    """Fill activations.npy, from the first batch that state.json doesn't count as done."""
    batches = plan.batches(state.how["batch_size"], state.how["batch_tokens"])

    def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[dict[int, np.ndarray], None, None]:
        return shards.states(left, tick) if shards else read_batches(model, plan, left, layers, tick)

    work = Work(
        batches=batches,
        weights=[sum(len(plan.tokens[text].ids) for text in batch) for batch in batches],
        read=read,
        write=lambda batch, states, writer: _write_batch(plan, batch, layers, states, writer),
        flush=lambda: None,
        stage="capturing (tokens)",
    )
    fill(work, (plan.rows_per_layer * len(layers), model.d_model), dtype, place, state, progress)


def _write_batch(
    plan: Plan, batch: list[int], layers: list[int], states: dict[int, np.ndarray], writer: NpyWriter
) -> int:
    """Write the rows of one batch; returns how many."""
    ends = np.concatenate([[0], np.cumsum([len(plan.indices[place]) for place in batch])])

    def example(row: int) -> int:
        return plan.numbers[batch[int(np.searchsorted(ends, row, side="right")) - 1]]

    for number, layer in enumerate(layers):
        values = stored(states[layer], writer.dtype, f"layer {layer}", example)
        for index, place in enumerate(batch):
            first = number * plan.rows_per_layer + int(plan.first_row[place])
            writer.write(first, values[ends[index] : ends[index + 1]])
    return int(ends[-1]) * len(layers)


def _with_answers(
    model: LanguageModel,
    examples: pd.DataFrame,
    references: list[float],
    place: Workplace,
    state: State,
    progress: Progress,
    shards: Shards | None,
) -> pd.DataFrame:
    """`examples` with `model_answer` (its text), `model_number` and `correct`."""
    import pandas as pd

    questions = [str(question) for question in examples["question"]]
    try:
        written = own_answers.collect_answers(
            model, questions, place.partial / _JOURNAL, ANSWERS_AT_ONCE, progress, shards
        )
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


def token_choices(
    layers: list[int], positions: str, text: str, dtype: str, answers: bool, cut: Cut | None
) -> dict[str, Any]:
    """What of a capture at tokens, beside its model and examples, makes two of them the same (`state.make_spec`)."""
    found = {"layers": layers, "positions": positions, "text": text, "dtype": dtype, "answers": answers}
    return found if cut is None else {**found, "cut": cut.asked}


def how_read(model: LanguageModel, batch_size: int) -> dict[str, Any]:
    """What decides the last bits beside the spec."""
    return {
        "device": str(model.device),
        "kernel": model.kernel,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens_for(model.device),
    }
