"""Live curves on disk."""

import pandas as pd

from sae.workspace.results import WorkspaceStore


def test_every_run_of_a_group_has_its_live_curve(filled):
    """A GPU trains several runs at once, which tell their curves one right after the other."""
    store = WorkspaceStore(filled, "topk-grid", "grid", "cpu")
    point = {"step": 1, "loss": 0.5, "dead_share": 0.0, "ev_total_batch": 0.5, "validation_ev_total": None}
    for run in ("one", "two"):
        store.curves(run, 0.1, [point])
        store.curves(run, 0.2, [point, {**point, "step": 2}])  # within the same second
        assert list(pd.read_parquet(filled.run_folder(run) / "history.parquet")["step"]) == [1]
