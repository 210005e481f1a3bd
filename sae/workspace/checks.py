"""Gathers what `sae.analysis.self_checks` needs from a run's folder and its activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.analysis import self_checks as checks
from sae.analysis.layer_norms import directions
from sae.capture.overlap import question_overlap, repeated_questions
from sae.capture.run_rows import rows_read, rows_written
from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.training.config import from_settings

if TYPE_CHECKING:
    from sae.analysis.codes import FeatureActivations
    from sae.capture.store import Slice
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

QUICK_ENTRIES = 2**27  # numbers that are read for a check: half a GB


def run_checks(workspace: Workspace, run: RunFolder) -> list[checks.Check]:
    """Every check of a finished run; those about examples are left out where its activations are gone.

    Raises:
        UserError: if the run is not finished.
    """
    codes, weights, config = run.codes(), run.weights(), run.config
    training = config.get("training") or {}
    found = [
        # where a threshold decides, K is what training aimed at
        checks.l0_is_k(
            codes,
            config["model"].get("k"),
            held=config["model"].get("code") != "threshold" and "threshold" not in weights,
        ),
        checks.agrees(run.metrics["all"]["l0"], float(np.diff(codes.row_indptr).mean())),
        checks.unit_decoder(directions(weights), _unit_norm_held(training, config["model"]["architecture"])),
        checks.finite(weights),
        checks.directions_apart(run.features().query("not dead")["max_decoder_cosine"].to_numpy(float)),
        checks.unchanged(
            run.results["sha256"], {name: file_sha256(run.folder / name) for name in run.results["sha256"]}
        ),
    ]
    data = config["data"]
    try:
        activations = workspace.open_activations(data["activations"])
        piece = rows_read(activations, data)
    except UserError:
        return found
    split, example = piece.rows["split"].to_numpy(str), piece.rows["example"].to_numpy()
    return [
        *found,
        *(_explained(run, codes, weights, piece, split) if activations.has_values else ()),
        checks.splits_apart(split, example),
        checks.questions_apart(question_overlap(activations)),
        checks.examples_once(repeated_questions(activations), len(activations.examples)),
    ]


def _unit_norm_held(training: dict[str, Any], stored_as: str) -> bool:
    """Whether training ends every step with decoder rows at unit norm, and the stored model has that decoder."""
    if training.get("architecture") != stored_as:
        return False  # stored as another one than was trained: its decoder has taken up what training scaled by
    if "decoder_norm" in training:
        return bool(training["decoder_norm"] == "every_step")
    try:
        return bool(getattr(from_settings(training), "unit_norm", False))
    except UserError:  # trained by a version with other settings
        return False


def _explained(
    run: RunFolder, codes: FeatureActivations, weights: dict[str, np.ndarray], piece: Slice, split: np.ndarray
) -> list[checks.Check]:
    """The checks of explained variance: on the held-out rows where that is quick, else on none."""
    name = "validation" if "validation" in run.metrics else "all"
    rows = np.flatnonzero(split == name) if name == "validation" else np.arange(len(split))
    train = np.flatnonzero(split == "train")
    d_in = weights["W_dec"].shape[1]
    if run.config["model"]["architecture"] == "binary" or (len(rows) + len(train)) * d_in > QUICK_ENTRIES:
        return []  # binary codes are judged by cosines
    written = rows_written(piece.activations, run.config["data"]).x
    total = np.zeros(d_in)
    for start in range(0, len(train), 4096):
        total += np.asarray(written[train[start : start + 4096]], np.float64).sum(axis=0)
    mean, x = total / max(len(train), 1), np.asarray(written[rows], np.float32)
    return [
        checks.ev_again(run.metrics[name]["ev_total"], x, _guess(run, codes, weights, piece, rows), mean),
        checks.mean_predictor(np.asarray(written[train], np.float32), mean),
    ]


def _guess(
    run: RunFolder, codes: FeatureActivations, weights: dict[str, np.ndarray], piece: Slice, rows: np.ndarray
) -> np.ndarray:
    """What the run makes of some rows [n, d_in], from the stored weights and activations."""
    total = codes.csr()[rows] @ weights["W_dec"]
    if run.config["model"].get("decoder_layers", 1) > 1:
        import torch

        with torch.no_grad():
            deep: np.ndarray = run.model("cpu").written(torch.from_numpy(total.astype(np.float32))).numpy()
        return deep
    if "W_skip" in weights:
        total = total + np.asarray(piece.x[rows], np.float32) @ weights["W_skip"]
    return total + weights["b_dec"]
