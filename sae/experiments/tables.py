"""Labelled texts from elsewhere, read by the model that a run's activations come from, at the same place."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.reading import language_model_of

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from sae.capture.store import Activations, Slice
    from sae.common.progress import Progress
    from sae.experiments.measurement import Case
    from sae.language_models.model import LanguageModel

_NOT_LABELS = ("question", "split", "group", "answer")
_ROWS_AT_ONCE = 8192


class _Kept:
    """Activations in a folder that lasts as long as they do."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sae-texts-")
        self.path = Path(self._folder.name) / "texts"
        self.activations: Activations | None = None


_last: dict[tuple[Any, ...], tuple[_Kept, tuple[str, ...]]] = {}


def captured(case: Case, name: str, pooling: str, context: int, progress: Progress) -> tuple[Slice, tuple[str, ...]]:
    """The texts of a table as activations of one slice, and the columns that are labels; the same for all runs.

    Args:
        name: as `sae.problems.labelled_texts.load_labelled` takes it.
        pooling: `last` reads only the last token of each text, else all are read.
        context: only the first so many tokens of a text; 0 for as many as the model takes.

    Raises:
        UserError: if the activations are not a language model's or an encoder's, or the table or the model can't be
            read.
    """
    from sae.problems.labelled_texts import load_labelled

    manifest, layer = case.activations.manifest, case.slice.layer
    if case.model.several_layers:
        raise UserError("texts of a table are read at one layer, and a crosscoder reads several: leave table empty")
    how = manifest.get("positions")
    if how not in ("last", "all", "pooled"):
        raise UserError(
            f"a table of texts is read by the model that activations come from, and {case.activations.name!r} "
            f"{'are the thoughts of a CODI model' if how == 'thoughts' else 'come from none'}: leave table empty"
        )
    path = Path(name).expanduser()
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    key = (name, stamp, case.activations.folder, layer, pooling, context, case.device)
    if key not in _last:
        table = load_labelled(name)
        columns = tuple(column for column in table.columns if column not in _NOT_LABELS)
        kept = _Kept()
        kept.activations = _capture(case, table, kept.path, pooling, context, progress)
        _last.clear()
        _last[key] = kept, columns
    kept, columns = _last[key]
    assert kept.activations is not None
    return kept.activations.slice(None if how == "pooled" else layer), columns


def _capture(
    case: Case, table: pd.DataFrame, folder: Path, pooling: str, context: int, progress: Progress
) -> Activations:
    from sae.capture.capturing import capture_language_model
    from sae.capture.pooled import capture_pooled

    if case.activations.manifest["positions"] == "pooled":
        encoder = _encoder(str(case.activations.manifest["model"]["name"]), case.device)
        return capture_pooled(encoder, table, folder, name=folder.name, progress=progress)
    model = language_model_of(case, "", progress)
    table = table.assign(question=cut(model, table["question"].tolist(), context))
    return capture_language_model(
        model,
        table,
        folder,
        name=folder.name,
        layers=[case.slice.layer or 0],
        positions="last" if pooling == "last" else "all",
        dtype=str(case.activations.manifest["dtype"]),
        progress=progress,
    )


@lru_cache(maxsize=1)
def _encoder(name: str, device: str) -> Any:
    from sae.language_models.encoders import load_encoder

    return load_encoder(name, device=device)


def cut(model: LanguageModel, texts: list[str], context: int) -> list[str]:
    """Each text up to the end of its `context`-th token, special ones not counted; 0 for as many as the model takes."""
    limits = [limit for limit in (context, (model.context or 0) - 8) if limit > 0]
    if not limits:
        return texts
    most = min(limits)
    found = []
    for text, tokens in zip(texts, model.tokenize(texts), strict=True):
        found.append(text if len(tokens.ends) <= most else text[: tokens.ends[most - 1]])
    return found


def encoded(case: Case, piece: Slice) -> csr_matrix:
    """Feature activations CSR [n, d_sae] of a slice's rows by a run's SAE."""
    import torch
    from scipy.sparse import csr_matrix

    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(piece.x), _ROWS_AT_ONCE):
        rows = torch.from_numpy(np.array(piece.x[start : start + _ROWS_AT_ONCE], np.float32)).to(case.device)
        with torch.no_grad():
            codes = case.model.sparse_encode(rows)
        parts.append(tuple(part.cpu().numpy() for part in codes))
    lengths = np.concatenate([np.diff(indptr) for indptr, _, _ in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    features, values = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
    return csr_matrix((values, features, indptr), shape=(len(piece.x), case.model.d_sae))
