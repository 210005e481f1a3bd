"""A run's features on every slice of its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from sae.capture.run_rows import rows_alike, rows_read

if TYPE_CHECKING:
    from sae.analysis.over_slices import OverSlices, Place
    from sae.capture.store import Activations
    from sae.workspace.runs import RunFolder

EXAMPLES = 500


def over_slices_of(
    run: RunFolder,
    activations: Activations,
    progress: Callable[[int, int], None] | None = None,
    most: int = EXAMPLES,
) -> OverSlices:
    """The run's SAE on all slices that hold the examples of its own, over at most `most` of them (a fixed draw).

    Args:
        progress: called with the number of slices read and of all.

    Raises:
        UserError: if the run has no weights, or was trained on a slice that is not there.
    """
    from sae.analysis.over_slices import over_slices

    data = run.config["data"]
    home = rows_read(activations, data)
    owner = home.rows["example"].to_numpy()
    rows = np.arange(len(owner))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    slices = [piece for piece in rows_alike(activations, data) if piece.stop - piece.start == len(owner)]

    def blocks() -> Iterator[tuple[Place, np.ndarray]]:
        for number, piece in enumerate(slices):
            if progress is not None:
                progress(number, len(slices))
            if np.array_equal(piece.rows["example"].to_numpy(), owner):
                yield (piece.layer, piece.position), np.asarray(piece.x[rows], np.float32)

    return over_slices(run.model(), np.asarray(home.x[rows], np.float32), blocks())
