"""Gathers what `sae.analysis.autopsy` needs from a run's folder and its activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.workspace.encoder_rows import encoder_rows

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder


class Autopsy(NamedTuple):
    """`sae.analysis.autopsy.autopsy` of a run.

    Attributes:
        table: see there; `near_row` is a row of the slice.
        fates: how many features met which.
        n_rows: on how many rows, evenly spread, pre-activations were read.
    """

    table: pd.DataFrame
    fates: dict[str, int]
    n_rows: int


def autopsy_of(workspace: Workspace, run: RunFolder) -> Autopsy:
    """Of a finished run.

    Raises:
        UserError: if it is not finished, its activations are gone or changed, or its architecture has no encoder whose
            pre-activations decide alone.
    """
    from sae.analysis.autopsy import ROWS, Schedule, autopsy, fates

    model, data, training = run.config["model"], run.config["data"], run.config.get("training")
    codes, weights = run.codes(), run.weights()
    activations = workspace.open_activations(data["activations"])
    x = rows_read(activations, data).x
    if len(x) != codes.n_rows or activations.manifest["sha256"] != data["sha256"]:
        raise UserError(f"the activations {data['activations']!r} are not those that run {run.id} was trained on")
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), ROWS)).astype(np.int64))
    schedule = None
    if training:
        schedule = Schedule(int(data["rows"]["train"]), int(training["batch_size"]))
    seen, b_dec = encoder_rows(run, np.asarray(x[rows], np.float32))
    table = autopsy(
        run.features(),
        seen,
        weights["W_enc"],
        weights["b_enc"],
        _needed(run)[rows],
        b_dec=b_dec,
        signed=model.get("selection", "signed") == "signed",
        schedule=schedule,
    )
    found = table["near_row"].to_numpy()
    table["near_row"] = np.where(found >= 0, rows[found], -1)
    return Autopsy(table, fates(table), len(rows))


def _needed(run: RunFolder) -> np.ndarray:
    """[n_rows] or [n_rows, d_sae]: what a pre-activation has to reach."""
    from sae.analysis.near import needed_by_row

    model, codes = run.config["model"], run.codes()
    if model["architecture"] == "binary":
        if model["code"] != "threshold":
            raise UserError(
                "a binary code of the K strongest bits has no autopsy: its bits don't say how strong they were"
            )
        return np.zeros(codes.n_rows)
    threshold = run.weights().get("threshold")
    if threshold is not None:  # of each feature, or one for all
        shape = (codes.n_rows, *threshold.shape)
        return np.broadcast_to(np.maximum(threshold, 0), shape)
    return needed_by_row(codes, model.get("k"))
