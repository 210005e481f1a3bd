"""One text thought through by the CODI model that some activations came from, and read by the SAEs trained on them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.common.progress import Progress

if TYPE_CHECKING:
    from sae.capture.store import Activations
    from sae.language_models.codi.model import Codi
    from sae.workspace.runs import RunFolder

TOP = 5  # words that a step reads as
_LOCK = threading.Lock()
_LOADED: dict[str, Codi] = {}


@dataclass(frozen=True)
class ThoughtThrough:
    """What a model thought about one question.

    Attributes:
        words: by step the words that it reads as through the head, with their probabilities.
        states: by layer float32 [steps, d_model], as the activations hold them (place and precision).
        answer, number, log_prob: its answer, the last number in it, and its log-probability in nats.
    """

    question: str
    words: tuple[tuple[tuple[str, float], ...], ...]
    states: dict[int, np.ndarray]
    answer: str
    number: float | None
    log_prob: float


def model_of(activations: Activations, progress: Progress | None = None) -> Codi:
    """The model that the activations came from; the one that was loaded last is kept.

    Raises:
        UserError: if they are no thoughts, the model can't be had, or is another one of the same name.
    """
    from sae.language_models.codi import loading

    manifest = activations.manifest
    told: dict[str, Any] = manifest.get("model") or {}
    if manifest.get("positions") != "thoughts" or not told.get("name"):
        raise UserError(f"activations {activations.name!r} don't come from a model that thinks in hidden vectors")
    name, sha256 = str(told["name"]), str(told.get("sha256") or "")
    with _LOCK:  # two visitors at once: one loads, the other waits
        codi = _LOADED.get(f"{name} {sha256}")
        if codi is None:
            codi = loading.load(name, progress=progress)
            found = str(codi.source.get("sha256") or "")
            if sha256 and found and found != sha256:
                raise UserError(
                    f"model {name!r} has changed since activations {activations.name!r} were captured (its weights are "
                    f"{found[:12]}, they were {sha256[:12]}): features would be read off another model"
                )
            _LOADED.clear()
            _LOADED[f"{name} {sha256}"] = codi
    return codi


def think_through(codi: Codi, activations: Activations, question: str) -> ThoughtThrough:
    """Let the model think about a question, and keep every layer's states as the activations hold them.

    Raises:
        UserError: if there is no question, it has words that the model does not know (it would read another problem),
            or it is too long.
    """
    import torch

    if not question.strip():
        raise UserError("there is no problem to think about: type or paste one")
    (unknown,) = codi.unknown_words([question])
    if unknown:
        listed = ", ".join(repr(word) for word in dict.fromkeys(unknown))
        raise UserError(
            f"this model does not know {listed}: it would read another problem, so it was not asked; take other words"
        )
    layers = sorted({piece.layer for piece in activations.slices if piece.layer is not None})
    after = (activations.manifest.get("spec") or {}).get("final_norm") == "after"
    dtype = np.dtype(activations.manifest["dtype"])
    with torch.inference_mode():
        thinking = codi.think(codi.encode([question]), layers=layers)
        found, shares = codi.reads_as(thinking.final[:, 0], TOP)
        states = {}
        for layer in layers:
            last = after and layer == codi.n_layers - 1
            rows = (thinking.final if last else thinking.states[layer])[:, 0].float().cpu().numpy()
            states[layer] = rows.astype(dtype).astype(np.float32)
        (answer,) = codi.answer(thinking)
    words = tuple(
        tuple(zip(row, map(float, chances), strict=True)) for row, chances in zip(found, shares.tolist(), strict=True)
    )
    return ThoughtThrough(question, words, states, answer.text, answer.number, answer.log_prob)


def firing(run: RunFolder, thought: ThoughtThrough) -> tuple[np.ndarray, np.ndarray]:
    """The features (ascending) of a run that fire on the state of its slice, and their activations.

    Raises:
        UserError: if the run was trained on another layer or step than were thought.
    """
    import torch

    data = run.config["data"]
    layer, step = data["layer"], data["position"]
    if layer not in thought.states or not 0 <= step < len(thought.states[layer]):
        raise UserError(f"run {run.id} reads layer {layer}, step {step}, which this model does not have")
    with torch.inference_mode():
        codes = _sae(str(run.folder), (run.folder / "weights.safetensors").stat().st_mtime_ns).sparse_encode(
            torch.from_numpy(thought.states[layer][step : step + 1])
        )
    return codes.features.numpy(), codes.values.numpy()


def _sae(folder: str, modified: int) -> Any:
    """The trained SAE of a run; the last sixteen are kept."""
    from sae.workspace.runs import RunFolder

    key = (folder, modified)
    with _LOCK:
        if key not in _SAES:
            if len(_SAES) >= 16:
                _SAES.pop(next(iter(_SAES)))
            _SAES[key] = RunFolder(Path(folder)).model()
        return _SAES[key]


_SAES: dict[tuple[str, int], Any] = {}
