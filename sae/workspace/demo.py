"""The embedded demo: the thoughts of a small CODI model that ships, a grid at one of them, and what is read off it.

It needs no network. The grid is what is waited for; everything after it goes on behind whatever somebody starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.workspace.child import JobProgress
    from sae.workspace.folder import Workspace

NAME = "demo"
MODEL = "codi-supervised"
#: Where the grid is trained, and which of its SAEs error prediction is about: named here, before anything is seen.
LAYER, POSITION = 2, 0
CHOSEN = {"d_sae": 1024, "k": 20}
#: Behind jobs that somebody started, before maps.
PRIORITY = 5
CAPTURE: dict[str, Any] = {
    "name": NAME,
    "model": MODEL,
    "problems": "generated:2000",
    "test_problems": "generated:1000:unseen-phrasings",
    "layers": "all",
    "positions": "thoughts",
}
EXPERIMENT: dict[str, Any] = {
    "kind": "topk-grid",
    "name": NAME,
    "activations": NAME,
    "layer": LAYER,
    "position": POSITION,
    "factors": {},
    "settings": {},
}
PUBLISHED: dict[str, Any] = {**EXPERIMENT, "name": f"{NAME}-published", "factors": {"preset": ["published"]}}
SWEEP: dict[str, Any] = {
    "kind": "layer-position-sweep",
    "name": f"{NAME}-sweep",
    "activations": NAME,
    "factors": {"d_sae": [512], "k": [5, 20]},
    "settings": {},
}
#: When the sweep is trained: one pass of error prediction at every thought, and patching.
OF_THE_SWEEP: tuple[dict[str, Any], ...] = (
    {
        "kind": "error-prediction",
        "name": f"{NAME}-errors-by-thought",
        "source": SWEEP["name"],
        "runs": [],
        "settings": {"full": "none"},
    },
    {
        "kind": "patching",
        "name": f"{NAME}-patching-by-thought",
        "source": SWEEP["name"],
        "runs": [],
        "settings": {"features": 0, "problems": 300},
    },
)


def spec() -> dict[str, Any]:
    """The job's specification: what is captured and what is trained."""
    return {"capture": CAPTURE, "experiment": EXPERIMENT}


def run(workspace: Workspace, wanted: dict[str, Any], device: str, progress: JobProgress) -> None:
    """Capture, then train; each part is skipped or resumed if it is there already. Then queue what follows."""
    from sae.workspace.work import run_capture, run_experiment

    if not (workspace.activations_folder(wanted["capture"]["name"]) / "manifest.json").exists():
        run_capture(workspace, wanted["capture"], device, progress)
    run_experiment(workspace, wanted["experiment"], device, progress)
    if wanted == spec():
        queue_further(workspace, device)


def queue_further(workspace: Workspace, device: str) -> None:
    """What is measured of the grid, a sweep over all thoughts with its own measurements, and the published recipe."""
    from sae.workspace.start import start_experiment, start_measurement

    for about in of_the_grid(workspace):
        start_measurement(workspace, about, device=device, priority=PRIORITY)
    start_experiment(workspace, SWEEP, device=device, priority=PRIORITY)
    for about in OF_THE_SWEEP:
        start_measurement(workspace, about, device=device, priority=PRIORITY)
    start_experiment(workspace, PUBLISHED, device=device, priority=PRIORITY)


def of_the_grid(workspace: Workspace) -> list[dict[str, Any]]:
    """Of the one SAE that was named beforehand: do its features tell wrong answers, does the model think on with it?

    Raises:
        UserError: if that SAE is not in the grid.
    """
    runs = workspace.experiment(NAME).content["runs"]
    named = [run["id"] for run in runs if CHOSEN.items() <= run["factors"].items()]
    if not named:
        raise UserError(f"the demo's grid has no run with {CHOSEN}")
    return [
        {"kind": kind, "name": f"{NAME}-{word}", "source": NAME, "runs": named[:1], "settings": {}}
        for kind, word in (("error-prediction", "errors"), ("patching", "patching"), ("specificity", "specificity"))
    ]
