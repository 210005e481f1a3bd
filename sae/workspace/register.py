"""Puts an experiment into the workspace before anything is trained, so that its cells are there to watch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sae.capture.run_rows import rows_read
from sae.capture.several_layers import layers_at
from sae.common.errors import UserError
from sae.common.files import read_json, write_json
from sae.workspace.results import now

if TYPE_CHECKING:
    from sae.experiments.plan import Plan, Spec
    from sae.workspace.folder import Workspace

#: The definition of a kind that is not built in, beside experiment.json; Reproduce's command names it.
DEFINITION = "kind.yaml"


def planned(workspace: Workspace, spec: Spec) -> Plan:
    """The runs that a specification stands for, over all slices where its kind varies them.

    Raises:
        UserError: for whatever is wrong with it.
    """
    from sae.experiments import kind_of_spec
    from sae.experiments.plan import over_all_layers, over_all_slices, resolve
    from sae.experiments.targets import with_layers

    kind = kind_of_spec(spec.as_dict())
    if kind.over_slices:
        slices = workspace.open_activations(spec.activations).slices
        spec = over_all_slices(kind, spec, [(piece.layer, piece.position) for piece in slices])
    spec = over_all_layers(kind, spec, lambda: layers_at(workspace.open_activations(spec.activations), spec.position))
    plan = resolve(kind, spec)
    if any(run.config.several_layers for run in plan.runs):
        activations = workspace.open_activations(spec.activations)
        plan = replace(plan, runs=[with_layers(run, activations) for run in plan.runs])
    if spec.preset is not None:
        activations = workspace.open_activations(spec.activations)
        piece = activations.slice(spec.layer, spec.position)
        kind.presets[spec.preset].check_activations(activations.manifest, piece.layer)
    return plan


def register(workspace: Workspace, plan: Plan) -> None:
    """Write experiment.json; the same name with the same specification leaves what is there.

    Raises:
        UserError: if an experiment of that name has another specification, the activations or slice are missing, or
            a run is shorter than its longest window or schedule, or reconstructs a slice that is not there.
    """
    from sae.experiments.targets import target_slice
    from sae.training.lengths import check_lengths

    path = workspace.experiment_folder(plan.spec.name) / "experiment.json"
    activations = workspace.open_activations(plan.spec.activations)
    places = {run.place_key: run.place for run in plan.runs}
    pieces = {key: rows_read(activations, place) for key, place in places.items()}
    n_rows = {place: len(piece.train_rows) for place, piece in pieces.items()}
    for run in plan.runs:
        check_lengths(run.config, n_rows[run.place_key])
    aims = {(run.place_key, run.config.target_place(run.layer, run.position)): run for run in plan.runs}
    for (place, _), run in aims.items():
        target_slice(pieces[place], run.config)
    sha256 = activations.manifest["sha256"]
    if path.exists():
        existing = read_json(path)
        if existing["activations_sha256"] != sha256:
            raise UserError(
                f"experiment {plan.spec.name!r} was trained on other activations that had the name "
                f"{plan.spec.activations!r}: take another name, or delete it first"
            )
        if [run["id"] for run in existing["runs"]] != [run.id for run in plan.runs]:
            raise UserError(
                f"experiment {plan.spec.name!r} exists with another specification: take another name, or delete it "
                f"('python -m sae experiment delete {plan.spec.name}')"
            )
        return
    if plan.spec.definition is not None:
        from sae.experiments.definition import to_yaml

        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / DEFINITION).write_text(to_yaml(plan.spec.definition), encoding="utf-8")
    write_json(
        path,
        {
            "format": 1,
            "name": plan.spec.name,
            "kind": plan.spec.kind,
            "created": now(),
            "spec": plan.spec.as_dict(),
            "factors": plan.factors,
            "runs": [{"id": run.id, "factors": run.factors} for run in plan.runs],
            "activations_sha256": sha256,
        },
    )
