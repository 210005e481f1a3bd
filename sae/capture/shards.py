"""A capture in shards: each machine reads a part of the batches that one capture would read, and what they found is
put together to the same bytes. A shard keeps every batch as it comes, so a killed one goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.files import read_json, replacing, write_json
from sae.common.progress import Progress

from . import answers as own_answers
from .filling import Unfit, stored
from .forward import read_batches
from .plan import make_plan
from .state import make_spec
from .thinking import BATCH_SIZE, Thoughts, check_layers, check_steps, make_thought_plan, think_batches

if TYPE_CHECKING:
    import pandas as pd

    from sae.language_models import LanguageModel
    from sae.language_models.codi.model import Codi
    from sae.language_models.encoders import Encoder

    from .context import Cut

_HEAD = "shard.json"
Read = Callable[[list[list[int]], Callable[[], None]], Generator[Any, None, None]]


def fill_shard(
    model: LanguageModel,
    examples: pd.DataFrame,
    folder: Path,
    part: tuple[int, int],
    *,
    layers: Sequence[int],
    positions: str = "last",
    text: str = "question",
    dtype: str = "float16",
    batch_size: int = 64,
    answers: bool = False,
    cut: Cut | None = None,
    progress: Progress,
) -> None:
    """Read one part of what `capture_language_model` with the same arguments would, into `folder`.

    Args:
        part: number (from 0) and count of the shards.

    Raises:
        UserError: as `capture_language_model`.
    """
    from .capturing import ANSWERS_AT_ONCE, how_read, token_choices

    wanted = model.check_layers(layers)
    examples = examples.reset_index(drop=True)
    if answers:
        own_answers.reference_answers(examples)  # refused now, not when all is read
    spec = make_spec(model.source, examples, **token_choices(wanted, positions, text, dtype, answers, cut))
    how = how_read(model, batch_size)
    plan = make_plan(model, examples, positions, text)
    shard = _Shard(folder, part, spec, how, progress)

    def keep(batch: list[int], states: dict[int, np.ndarray]) -> None:
        owners = np.repeat(batch, [len(plan.indices[place]) for place in batch])
        shard.keep_states(batch, states, dtype, lambda row: plan.numbers[int(owners[row])])

    def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[dict[int, np.ndarray], None, None]:
        return read_batches(model, plan, left, wanted, tick)

    batches = plan.batches(how["batch_size"], how["batch_tokens"])
    shard.fill(batches, "states-{}.npz", read, keep, "capturing (batches)")
    if answers:
        prompts, asked = own_answers.answer_batches(
            model, [str(question) for question in examples["question"]], ANSWERS_AT_ONCE
        )
        shard.fill(
            asked,
            "answers-{}.json",
            lambda left, tick: own_answers.generate(model, prompts, left, tick),
            lambda batch, written: write_json(folder / f"answers-{batch[0]}.json", written),
            "answers (batches)",
        )


def fill_thoughts_shard(
    codi: Codi,
    examples: pd.DataFrame,
    folder: Path,
    part: tuple[int, int],
    *,
    layers: Sequence[int],
    steps: Sequence[int] | None = None,
    dtype: str = "float16",
    final_norm: str = "before",
    batch_size: int = BATCH_SIZE,
    progress: Progress,
) -> None:
    """Think about one part of what `capture_thoughts` with the same arguments would, into `folder`.

    Raises:
        UserError: as `capture_thoughts`.
    """
    from .thoughts import how_thought, thoughts_spec

    wanted, at = check_layers(codi, layers), check_steps(codi, steps)
    examples = examples.reset_index(drop=True)
    spec = thoughts_spec(codi, examples, wanted, at, final_norm, dtype)
    how = how_thought(codi, batch_size)
    plan = make_thought_plan(codi, examples)
    shard = _Shard(folder, part, spec, how, progress)

    def keep(batch: list[int], thoughts: Thoughts) -> None:
        write_json(folder / f"said-{batch[0]}.json", thoughts.said)
        shard.keep_states(batch, thoughts.states, dtype, lambda row: plan.numbers[batch[row % len(batch)]])

    def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[Thoughts, None, None]:
        return think_batches(codi, plan, left, wanted, at, final_norm, tick)

    batches = plan.batches(how["batch_size"], how["batch_tokens"])
    shard.fill(batches, "states-{}.npz", read, keep, "thinking (batches)")


def fill_pooled_shard(
    encoder: Encoder,
    examples: pd.DataFrame,
    folder: Path,
    part: tuple[int, int],
    *,
    text: str = "question",
    dtype: str = "float32",
    progress: Progress,
) -> None:
    """Embed one part of what `capture_pooled` with the same arguments would, into `folder`.

    Raises:
        UserError: as `capture_pooled`.
    """
    from .pooled import BATCH_SIZE, embed_batches, how_pooled, make_pooled_plan

    examples = examples.reset_index(drop=True)
    spec = make_spec(encoder.source, examples, positions="pooled", text=text, dtype=dtype)
    how = how_pooled(encoder, BATCH_SIZE)
    plan = make_pooled_plan(encoder, examples, text)
    shard = _Shard(folder, part, spec, how, progress)

    def keep(batch: list[int], vectors: np.ndarray) -> None:
        shard.keep_states(batch, {0: vectors}, dtype, lambda row: plan.numbers[batch[row]])

    def read(left: list[list[int]], tick: Callable[[], None]) -> Generator[np.ndarray, None, None]:
        return embed_batches(encoder, plan, left, tick)

    batches = plan.batches(how["batch_size"], how["batch_tokens"])
    shard.fill(batches, "states-{}.npz", read, keep, "embedding (batches)")


class _Shard:
    """The folder of one shard: `shard.json`, and files by the first place of each of its batches."""

    def __init__(
        self, folder: Path, part: tuple[int, int], spec: dict[str, Any], how: dict[str, Any], progress: Progress
    ) -> None:
        self.folder, self.part, self.progress = folder, part, progress
        head = {"spec": spec, "how": how, "part": list(part)}
        if not (folder / _HEAD).exists() or read_json(folder / _HEAD) != head:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(folder / _HEAD, head)

    def fill(
        self, batches: list[list[int]], name: str, read: Read, keep: Callable[[list[int], Any], None], stage: str
    ) -> None:
        """Read those of all `batches` that are this shard's and that it does not have.

        Args:
            name: of the file that `keep` writes last, with a place for the batch's first text.
        """
        number, count = self.part
        # Every count-th: they are sorted by length, so that all shards have as much to do.
        own = batches[number::count]
        left = [batch for batch in own if not (self.folder / name.format(batch[0])).exists()]
        done = len(own) - len(left)
        results = read(left, lambda: self.progress.update(done, len(own), stage))
        try:
            for batch in left:
                self.progress.update(done, len(own), stage)
                keep(batch, next(results))
                done += 1
            self.progress.update(done, len(own), stage)
        except Unfit as error:
            raise UserError(str(error)) from None
        finally:
            results.close()

    def keep_states(
        self, batch: list[int], states: dict[int, np.ndarray], dtype: str, example: Callable[[int], int]
    ) -> None:
        """States by layer [..., d_model], as rows in the dtype of the capture."""
        rows = {
            str(layer): stored(values.reshape(-1, values.shape[-1]), np.dtype(dtype), f"layer {layer}", example)
            for layer, values in states.items()
        }
        with replacing(self.folder / f"states-{batch[0]}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, **rows)  # type: ignore[arg-type]


class Shards:
    """Full shards of one capture, which the functions that capture take instead of the model's passes.
    Their states are in the precision that is stored."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(folders)
        self._heads = [read_json(folder / _HEAD) for folder in folders]

    def how(self, spec: dict[str, Any]) -> dict[str, Any]:
        """How their batches were read: device, kernel, sizes.

        Raises:
            UserError: if they are of another capture than `spec`, or were read in different batches.
        """
        if any(head["spec"] != spec for head in self._heads):
            raise UserError("the model or the problems changed while they were captured in shards: start it again")
        hows = [head["how"] for head in self._heads]
        kinds = sorted({str(how["device"]).split(":")[0] for how in hows})
        if len(kinds) > 1:
            raise UserError(f"the shards ran on different devices ({', '.join(kinds)}): choose one device, start again")
        return {**hows[0], "kernel": "+".join(sorted({str(how["kernel"]) for how in hows})), "shards": len(hows)}

    def states(
        self, batches: list[list[int]], tick: Callable[[], None]
    ) -> Generator[dict[int, np.ndarray], None, None]:
        """As `forward.read_batches`."""
        for batch in batches:
            tick()
            yield self._states(batch)

    def thoughts(
        self, batches: list[list[int]], n_steps: int, tick: Callable[[], None]
    ) -> Generator[Thoughts, None, None]:
        """As `thinking.think_batches`."""
        for batch in batches:
            tick()
            states = {layer: rows.reshape(n_steps, len(batch), -1) for layer, rows in self._states(batch).items()}
            yield Thoughts(states, read_json(self._path(f"said-{batch[0]}.json")))

    def pooled(self, batches: list[list[int]], tick: Callable[[], None]) -> Generator[np.ndarray, None, None]:
        """As `pooled.embed_batches`."""
        for states in self.states(batches, tick):
            yield states[0]

    def answers(self, batches: list[list[int]], tick: Callable[[], None]) -> Generator[list[str], None, None]:
        """As `answers.generate`."""
        for batch in batches:
            tick()
            yield read_json(self._path(f"answers-{batch[0]}.json"))

    def _states(self, batch: list[int]) -> dict[int, np.ndarray]:
        with np.load(self._path(f"states-{batch[0]}.npz"), allow_pickle=False) as file:
            return {int(layer): file[layer] for layer in file.files}

    def _path(self, name: str) -> Path:
        for folder in self._folders:
            if (folder / name).exists():
                return folder / name
        raise UserError(f"no shard has {name}: start the capture again")
