"""activations.npy, filled batch by batch; a killed capture goes on at the batch it was at."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from sae.common.errors import UserError
from sae.common.progress import Progress

from .folder import Workplace
from .npy import NpyWriter, check_room
from .state import State

#: How much may be lost to a power cut; a killed process loses at most the batch it was at.
_SAVE_SECONDS = 2.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Work(Generic[Result]):
    """What a capture does with its batches.

    Attributes:
        batches: all of them, each a list of places in the capture's plan.
        weights: how much each batch counts in the progress.
        read: for the batches given, their results in order; calls its second argument while it waits.
        write: puts the result of one batch into the array, and returns how many rows that were.
        flush: whatever else `write` wrote is on the disk afterwards.
        stage: what the progress says.
    """

    batches: list[list[int]]
    weights: list[int]
    read: Callable[[list[list[int]], Callable[[], None]], Generator[Result, None, None]]
    write: Callable[[list[int], Result, NpyWriter], int]
    flush: Callable[[], None]
    stage: str


class Unfit(Exception):
    """A state that can't be stored."""


def fill(
    work: Work[Result],
    shape: tuple[int, int],
    dtype: np.dtype,
    place: Workplace,
    state: State,
    progress: Progress,
) -> None:
    """Fill activations.npy [n_rows, d_in], from the first batch that state.json doesn't count as done.

    Raises:
        UserError: if there is too little room, or `write` finds values that can't be stored; nothing is left then.
    """
    path = place.partial / "activations.npy"
    if not path.exists():
        check_room(place.partial, shape[0] * shape[1] * dtype.itemsize)
    writer = NpyWriter(path, shape, dtype, resume=state.batches > 0)
    done, total = sum(work.weights[: state.batches]), sum(work.weights)
    rows, started, saved, reached = 0, time.monotonic(), time.monotonic(), state.batches

    def say() -> None:
        rate = rows / max(time.monotonic() - started, 1e-9)
        progress.update(done, total, work.stage, rows_per_second=round(rate))

    def save() -> None:
        # The count comes last: what it counts must be there.
        writer.flush()
        work.flush()
        state.save(reached)

    results = work.read(work.batches[state.batches :], say)
    try:
        for number in range(state.batches, len(work.batches)):
            say()
            rows += work.write(work.batches[number], next(results), writer)
            done += work.weights[number]
            reached = number + 1
            if time.monotonic() - saved > _SAVE_SECONDS:
                save()
                saved = time.monotonic()
        say()
    except Unfit as error:
        writer.close()
        # It would fail again at the same text, and must not stand in the way of another dtype.
        place.discard()
        raise UserError(str(error)) from None
    except BaseException:
        save()
        raise
    else:
        save()
    finally:
        results.close()
        writer.close()


def stored(values: np.ndarray, dtype: np.dtype, place: str, example: Callable[[int], int]) -> np.ndarray:
    """`values` [n, d_in] in the dtype of the file.

    Args:
        place: what to call them in an error, such as `layer 3`.
        example: the example of row i of them.

    Raises:
        Unfit: if the dtype can't hold one of them.
    """
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    if not (finite := np.isfinite(found).all(axis=1)).all():
        row = int(np.flatnonzero(~finite)[0])
        hint = "take float32" if np.isfinite(values[row]).all() else "the model gives NaN or Inf"
        raise Unfit(f"{place} has values that {dtype} can't hold at example {example(row)}: {hint}")
    return found
