"""The document of `experiment show --json`: runs with their metrics, and results over seeds with intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder


def document(experiment: ExperimentFolder) -> dict[str, Any]:
    """The contract of DESIGN 9: name, kind, runs (id, status, factors, metrics by split, folder, seconds), results."""
    if experiment.source is not None:
        return measurement_document(experiment)
    runs = []
    factors = list(experiment.factors)
    folders = {run.id: run for run in experiment.runs()}
    for line in experiment.runs_table().to_dict("records"):
        run = folders.get(line["id"])
        done = run is not None and run.done
        runs.append(
            {
                "id": line["id"],
                "status": line["status"],
                "factors": {name: line[name] for name in factors},
                "metrics": run.metrics if done and run else {},
                "folder": f"runs/{line['id']}",
                "seconds": run.results["seconds"] if done and run else None,
                "intervals": run.results["intervals"] if done and run else {},
                "baselines": run.results["baselines"] if done and run else {},
                "error": line["error"],
            }
        )
    return {
        "name": experiment.name,
        "kind": experiment.kind,
        "runs": runs,
        "results": over_seeds(experiment.results(), factors, folders),
    }


def measurement_document(experiment: ExperimentFolder) -> dict[str, Any]:
    """The same of a measurement: its runs are those of `source`, each result is of one run (`run`)."""
    states = {line["id"]: line for line in experiment.runs_table().to_dict("records")}
    listed = experiment.content["measured"]
    return {
        "name": experiment.name,
        "kind": experiment.kind,
        "source": experiment.source,
        "runs": [
            {
                "id": run["id"],
                "status": states[run["id"]]["status"],
                "factors": run["factors"],
                "metrics": {found["split"]: found["metrics"] for found in experiment.part_results(run["id"]) or []},
                "folder": f"runs/{run['id']}",
                "error": states[run["id"]]["error"],
            }
            for run in listed
        ],
        "results": [
            {"run": run["id"], "factors": run["factors"], **found}
            for run in listed
            for found in experiment.part_results(run["id"]) or []
        ],
    }


def over_seeds(results: pd.DataFrame, factors: list[str], runs: dict[str, Any]) -> list[dict[str, Any]]:
    """Means over seeds by cell and split. `interval`: Student's t at 95 % over the seeds; for one seed the bootstrap
    over examples, which only EV_total has."""
    if results.empty:
        return []
    from scipy.stats import t

    cells = [name for name in factors if name != "seed"]
    metrics = [c for c in results.columns if c not in {"id", "split", *factors}]
    lines = []
    for key, group in results.groupby([*cells, "split"], sort=False, dropna=False):
        n = len(group)
        means = group[metrics].mean()
        interval: dict[str, tuple[float, float]] = {}
        if n > 1:
            half = t.ppf(0.975, n - 1) * group[metrics].std(ddof=1) / math.sqrt(n)
            interval = {metric: (means[metric] - half[metric], means[metric] + half[metric]) for metric in metrics}
        else:
            interval = runs[group["id"].iloc[0]].results["intervals"].get(key[-1], {})
        lines.append(
            {
                "factors": dict(zip(cells, key[:-1], strict=True)),
                "split": key[-1],
                "metrics": means.to_dict(),
                "interval": interval,
                "n": n,
            }
        )
    return lines
