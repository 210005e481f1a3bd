"""What measurements found of an experiment's runs, as further metrics of those runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.experiments import MEASUREMENTS

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder


def measured_metrics(experiment: ExperimentFolder, split: str) -> pd.DataFrame:
    """A line a measured run: `id`, and the metrics that a measurement says are of the run (`Measurement.of_run`).

    Of several measurements of one kind the newest that has the run counts. Where it has the split, that is taken,
    otherwise the first of those that it has: some choose their own rows.
    """
    import pandas as pd

    found: dict[str, dict[str, Any]] = {}
    there = [one for one in experiment.workspace.experiments() if one.source == experiment.name]
    for one in sorted(there, key=lambda one: one.created):
        wanted = MEASUREMENTS[one.kind].of_run if one.kind in MEASUREMENTS else ()
        for run in one.measured_runs() if wanted else ():
            if not (results := one.part_results(run)):
                continue
            metrics = next((each for each in results if each["split"] == split), results[0])["metrics"]
            line = found.setdefault(run, {"id": run})
            line.update({name: metrics[name] for name in wanted if metrics.get(name) is not None})
    return pd.DataFrame(list(found.values()), columns=None if found else ["id"])
