"""Gathers what `sae.analysis.self_checks` needs from a run's folder and its activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae.analysis import self_checks as checks
from sae.capture.overlap import question_overlap
from sae.common.errors import UserError
from sae.common.files import file_sha256

if TYPE_CHECKING:
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder


def run_checks(workspace: Workspace, run: RunFolder) -> list[checks.Check]:
    """Every check of a finished run; those about examples are left out where its activations are gone.

    Raises:
        UserError: if the run is not finished.
    """
    codes, weights, config = run.codes(), run.weights(), run.config
    training = config.get("training") or {}
    found = [
        checks.l0_is_k(codes, config["model"].get("k"), held=config["model"].get("code") != "threshold"),
        checks.agrees(run.metrics["all"]["l0"], float(np.diff(codes.row_indptr).mean())),
        checks.unit_decoder(weights["W_dec"], training.get("decoder_norm") == "every_step"),
        checks.finite(weights),
        checks.unchanged(
            run.results["sha256"], {name: file_sha256(run.folder / name) for name in run.results["sha256"]}
        ),
    ]
    data = config["data"]
    try:
        activations = workspace.open_activations(data["activations"])
        rows = activations.slice(data["layer"], data["position"]).rows
    except UserError:
        return found
    split, example = rows["split"].to_numpy(str), rows["example"].to_numpy()
    return [*found, checks.splits_apart(split, example), checks.questions_apart(question_overlap(activations))]
