"""Explained variance beside what it has to beat, a line a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from sae.workspace.experiments import ExperimentFolder

_COLUMNS = ["k", "d_sae", "sae", "pca", "lead", "random_dictionary", "mean_predictor_flat"]


def baseline_table(experiment: ExperimentFolder, table: pd.DataFrame, split: str) -> pd.DataFrame:
    """k, d_sae, and EV_total of the SAE (mean of its seeds), of PCA-K (`lead`: how far the SAE is above it) and of a
    random dictionary; EV_flat of the mean predictor. Baselines are taken on single splits: `all` has those of the
    validation rows' beside it left out, and is empty.
    """
    wanted = set(table["run"])
    lines = []
    for run in experiment.runs():
        if run.id not in wanted or not run.done:
            continue
        found = run.results.get("baselines", {})
        if split not in found.get("pca", {}):
            continue
        sae, pca = run.metrics[split]["ev_total"], found["pca"][split]["ev_total"]
        lines.append(
            {
                "k": run.config["model"].get("k"),
                "d_sae": run.config["model"]["d_sae"],
                "sae": sae,
                "pca": pca,
                "lead": sae - pca,
                "random_dictionary": found["random_dictionary"][split]["ev_total"],
                "mean_predictor_flat": found["mean_predictor"][split]["ev_flat"],
            }
        )
    if not lines:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.DataFrame(lines).groupby(["k", "d_sae"], dropna=False).mean().reset_index()[_COLUMNS]
