"""Which labels a run's features go with, made when first asked for and kept in its folder."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.common.files import read_json, read_parquet, write_json, write_parquet

if TYPE_CHECKING:
    from sae.analysis.specificity import Specificity
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

_TABLES = {
    "features": "specificity.parquet",
    "findings": "specificity_findings.parquet",
    "labels": "specificity_labels.parquet",
}
_NOTES = "specificity.json"  # written last: where it is, all of it is


def specificity_of(workspace: Workspace, run: RunFolder, keep: bool = True) -> Specificity:
    """`sae.analysis.specificity` of a run over the examples of its activations, with the settings it has by default.

    A run never changes, so what is kept holds for good. Without `keep`, and in a folder that can't be written to, it
    is made and not kept.

    Raises:
        UserError: if the run is not finished, its activations are gone or are others by now, or their examples can't
            be halved.
    """
    from sae.analysis.specificity import of_examples

    kept = _kept(run)
    if kept is not None:
        return kept
    data = run.config["data"]
    activations = workspace.open_activations(data["activations"])
    if activations.manifest["sha256"] != data["sha256"]:
        raise UserError(
            f"activations {data['activations']!r} are not those that run {run.id} was trained on: its features can't "
            "be compared with their labels"
        )
    piece = rows_read(activations, data)
    found = of_examples(run.codes(), activations.examples, piece.rows["example"].to_numpy())
    if not keep:
        return found
    with contextlib.suppress(OSError):
        for name, file in _TABLES.items():
            write_parquet(run.folder / file, getattr(found, name))
        write_json(run.folder / _NOTES, found.notes)
    return found


def _kept(run: RunFolder) -> Specificity | None:
    import pyarrow as pa

    from sae.analysis.specificity import Specificity

    if not (run.folder / _NOTES).exists():
        return None
    try:
        tables = {name: read_parquet(run.folder / file) for name, file in _TABLES.items()}
        return Specificity(**tables, notes=read_json(run.folder / _NOTES))
    except (OSError, pa.ArrowException, UserError):
        return None  # a damaged copy is made anew
