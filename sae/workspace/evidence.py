"""What an experiment offers as evidence for or against a document's claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sae.analysis.claims.measured import Ablation, Measured
from sae.capture.run_rows import place_words
from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.claims import Document
    from sae.experiments.plan import Kind
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.runs import RunFolder


def choose_preset(experiment: ExperimentFolder, document: Document, preset: str | None = None) -> str:
    """The preset that claims are held against: the one asked for, else the one nearest the document's recipe.

    Raises:
        UserError: if the experiment has no runs of the one asked for.
    """
    there = [str(name) for name in experiment.factors.get("preset", ["corrected"])]
    if preset is not None:
        if preset not in there:
            raise UserError(f"experiment {experiment.name!r} has no preset {preset!r}; it has {', '.join(there)}")
        return preset
    return next((name for name in document.presets if name in there), there[0])


def gather(experiment: ExperimentFolder, document: Document, preset: str | None = None) -> Measured:
    """The tables that claims are held against, from an experiment's finished runs.

    Raises:
        UserError: if none of its runs is finished, or it has no runs of the preset asked for.
    """
    import pandas as pd

    chosen = choose_preset(experiment, document, preset)
    finished = [run for run in experiment.runs() if run.done]
    results = experiment.results()
    if not finished or results.empty:
        raise UserError(f"experiment {experiment.name!r} has no finished run yet")
    if "preset" not in results:
        results = results.assign(preset=chosen)
    if "seed" not in results:
        results = results.assign(seed=0)
    data = finished[0].config["data"]
    return Measured(
        experiment.name,
        chosen,
        _about(experiment, finished[0]),
        {
            "d_in": finished[0].config["model"]["d_in"],
            "layer": data["layer"],
            "position": data["position"],
            "n_rows": data["stop"] - data["start"],
        },
        results,
        intervals=pd.DataFrame(_intervals(finished), columns=["id", "split", "metric", "low", "high"]),
        baselines=pd.DataFrame(_baselines(finished), columns=["id", "split", "baseline", "ev_total", "ev_flat"]),
        times=pd.DataFrame(
            [
                {
                    "id": run.id,
                    "train_seconds": run.results["train_seconds"],
                    "device_name": run.config.get("environment", {}).get("device_name", "an unknown device"),
                }
                for run in finished
            ]
        ),
        norms=_norms(finished),
        ablations=_ablations(experiment, document),
    )


def companions(experiment: ExperimentFolder, document: Document) -> dict[str, ExperimentFolder]:
    """By kind that the document's claims name: the experiment itself, and of the other kinds the newest one with a
    finished run on the same activations.
    """
    wanted = {claim.arguments["kind"] for claim in document.claims if "kind" in claim.arguments}
    found = {experiment.kind: experiment} if experiment.kind in wanted else {}
    others = [
        other
        for other in experiment.workspace.experiments()
        if other.source is None
        and other.kind in wanted
        and other.kind != experiment.kind
        and other.activations == experiment.activations
    ]
    for other in sorted(others, key=lambda one: one.created, reverse=True):
        if other.kind not in found and any(run.done for run in other.runs()):
            found[other.kind] = other
    return found


def _ablations(experiment: ExperimentFolder, document: Document) -> dict[str, Ablation]:
    from sae.experiments import kind_of

    return {name: _ablation(one, one.trains or kind_of(name)) for name, one in companions(experiment, document).items()}


def _ablation(experiment: ExperimentFolder, kind: Kind) -> Ablation:
    import pandas as pd

    finished = [run for run in experiment.runs() if run.done]
    there = [run.metrics for run in finished]
    split = next(name for name in ("test", "validation", "all") if all(name in metrics for metrics in there))
    measured = _measurements(experiment)
    lines = []
    for run, metrics in zip(finished, there, strict=True):
        here = metrics[split]
        training = run.results.get("training", {})
        lines.append(
            {
                "id": run.id,
                "seed": 0,
                **run.factors,
                **here,
                **{f"{name}_all": metrics["all"].get(name) for name in ("dead", "dense")},
                **{name: training.get(name) for name in ("loss_spikes", "gradient_norm_cv")},
                # worse than predicting the mean of the training rows, or no number
                "diverged": float(not here.get("reconstruction_loss", 0.0) < here.get("mean_predictor_loss", 1.0)),
                **measured.get(run.id, {}),
            }
        )
    factors = tuple(experiment.factors)
    return Ablation(experiment.name, kind.name, split, factors, kind.baseline, kind.matched, pd.DataFrame(lines))


def _measurements(experiment: ExperimentFolder) -> dict[str, dict[str, float]]:
    """What the newest measurements of each kind found of each run, the kind before each name."""
    found: dict[str, dict[str, float]] = {}
    others = [one for one in experiment.workspace.experiments() if one.source == experiment.name]
    for one in sorted(others, key=lambda other: other.created):
        prefix = one.kind.replace("-", "_")
        for run in one.measured_runs():
            for results in one.part_results(run) or []:
                found.setdefault(run, {}).update({f"{prefix}_{k}": v for k, v in results["metrics"].items()})
    return found


def _about(experiment: ExperimentFolder, run: RunFolder) -> str:
    """Which activations these are, in words: model, layer, position, rows, dimensions."""
    data = run.config["data"]
    try:
        manifest: dict[str, Any] = experiment.workspace.open_activations(data["activations"]).manifest
    except UserError:  # deleted since: what the run says of them is left
        manifest = {}
    model = manifest.get("model")
    name = model.get("name") or model.get("id") if isinstance(model, dict) else model
    rows = data["stop"] - data["start"]
    words = [f"{data['activations']!r}" + (f" of {name}" if name else "")]
    words += place_words(data)
    return ", ".join([*words, f"{rows:,} rows", f"{run.config['model']['d_in']:,} dimensions"])


def _intervals(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    return [
        {"id": run.id, "split": split, "metric": metric, "low": bounds[0], "high": bounds[1]}
        for run in runs
        for split, metrics in run.results["intervals"].items()
        for metric, bounds in metrics.items()
        if None not in bounds
    ]


def _baselines(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    return [
        {"id": run.id, "split": split, "baseline": name, **values}
        for run in runs
        for name, splits in run.results["baselines"].items()
        for split, values in splits.items()
    ]


def _norms(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Smallest and largest decoder norm of each run's living features."""
    import pandas as pd

    lines = []
    for run in runs:
        table = run.features()
        norms = table.loc[~table["dead"].astype(bool), "decoder_norm"]
        if len(norms):
            lines.append({"id": run.id, "low": float(norms.min()), "high": float(norms.max())})
    return pd.DataFrame(lines, columns=["id", "low", "high"])
