"""The embedded demo: generated problems through a small language model, and the grid under two presets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace

NAME = "demo"
CAPTURE: dict[str, Any] = {
    "name": NAME,
    "model": "smollm2-135m",
    "problems": "generated:1500",
    "limit": None,
    "seed": 0,
    "layers": [9],
    "positions": "last",
    "text": "question",
    "dtype": "float32",
    "answers": False,
}
EXPERIMENT: dict[str, Any] = {
    "kind": "topk-grid",
    "name": NAME,
    "activations": NAME,
    "layer": 9,
    "position": None,
    "factors": {"preset": ["corrected", "published"]},
    "settings": {},
}


def spec() -> dict[str, Any]:
    """The job's specification: what is captured and what is trained."""
    return {"capture": CAPTURE, "experiment": EXPERIMENT}


def run(workspace: Workspace, wanted: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Capture, then train; each part is skipped or resumed if it is there already."""
    from sae.workspace.work import run_capture, run_experiment

    if not (workspace.activations_folder(wanted["capture"]["name"]) / "manifest.json").exists():
        run_capture(workspace, wanted["capture"], device, progress)
    run_experiment(workspace, wanted["experiment"], device, progress)
