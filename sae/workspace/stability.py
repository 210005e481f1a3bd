"""In how many other seeds each feature of a run is found again, made when first asked for and kept in its folder."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sae.analysis.matching_fates import THRESHOLD
from sae.common.errors import UserError
from sae.common.files import read_json, read_parquet, write_json, write_parquet
from sae.workspace.comparing import match_runs, siblings

if TYPE_CHECKING:
    import pandas as pd

    from sae.common.progress import Progress
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

_TABLE, _NOTES = "stability.parquet", "stability.json"  # the notes are written last


@dataclass(frozen=True)
class Stability:
    """`features`: `sae.analysis.matching_seeds.stability`, a line a living feature.

    `notes`: threshold, seeds (how many others), others (run and hash of the weights of each), nulls (by name the median
    over the others of what the nearest cosine of a feature is by chance), median_similarity and found_in_most (the
    share of features found again in more than half of the others), shared_start (the share of starting directions that
    two seeds have in common, where they start from the data; else None).
    """

    features: pd.DataFrame
    notes: dict[str, Any]

    def of(self, feature: int) -> dict[str, Any] | None:
        """The line of one feature; None for a dead one."""
        found = self.features[self.features["feature"] == feature]
        return found.iloc[0].to_dict() if len(found) else None


def stability_of(
    workspace: Workspace, run: RunFolder, keep: bool = True, progress: Progress | None = None
) -> Stability | None:
    """How a run's features fare over the other seeds of its experiment, by decoder cosine; None without other seeds.

    What is kept holds as long as the other seeds are the same SAEs. Without `keep`, and in a folder that can't be
    written to, it is made and not kept.

    Raises:
        UserError: if the run is not finished, or files of it or of another seed are gone.
    """
    others = siblings(workspace, run)
    if not others:
        return None
    stands_on = _stands_on(run, others)
    kept = _kept(run, stands_on)
    if kept is not None:
        return kept
    found = _made(workspace, run, others, stands_on, progress)
    if keep:
        with contextlib.suppress(OSError):
            write_parquet(run.folder / _TABLE, found.features)
            write_json(run.folder / _NOTES, found.notes)
    return found


def kept_stability(workspace: Workspace, run: RunFolder) -> Stability | None:
    """What stands in the run's folder, if it was made of the same SAEs; nothing is worked out."""
    others = siblings(workspace, run)
    return _kept(run, _stands_on(run, others)) if others else None


def work(run: RunFolder, others: int) -> float:
    """Floating-point operations, roughly, of looking for its features in so many other seeds."""
    return 2.0 * others * int(run.config["model"]["d_sae"]) ** 2 * int(run.config["model"]["d_in"])


def _kept(run: RunFolder, stands_on: dict[str, Any]) -> Stability | None:
    import pyarrow as pa

    try:
        notes = read_json(run.folder / _NOTES)
        if {name: notes.get(name) for name in stands_on} != stands_on:
            return None
        return Stability(read_parquet(run.folder / _TABLE), notes)
    except (OSError, pa.ArrowException, UserError):
        return None  # not made yet, or damaged


def _stands_on(run: RunFolder, others: list[RunFolder]) -> dict[str, Any]:
    def hashed(one: RunFolder) -> dict[str, str]:
        return {"run": one.id, "weights": one.results["sha256"]["weights.safetensors"]}

    return {"threshold": THRESHOLD, **hashed(run), "others": [hashed(other) for other in others]}


def _made(
    workspace: Workspace,
    run: RunFolder,
    others: list[RunFolder],
    stands_on: dict[str, Any],
    progress: Progress | None,
) -> Stability:
    import numpy as np

    from sae.analysis.matching_seeds import stability

    matchings = []
    for number, other in enumerate(others):
        if progress is not None:
            progress.update(number, len(others), "Looking for the features in other seeds")
        matchings.append(match_runs(workspace, run, other))
    table = stability(matchings)
    names = dict.fromkeys(null.name for found in matchings for null in found.nulls)
    nulls = {
        name: float(np.median([null.median for found in matchings for null in found.nulls if null.name == name]))
        for name in names
    }
    notes = {
        **stands_on,
        "seeds": len(others),
        "nulls": nulls,
        "median_similarity": float(table["median_similarity"].median()) if len(table) else None,
        "found_in_most": float((table["found"] > len(others) / 2).mean()) if len(table) else None,
        "shared_start": _shared_start(run),
    }
    return Stability(table, notes)


def _shared_start(run: RunFolder) -> float | None:
    """The share of starting directions that two seeds have in common on average (`sae.training.start`): all principal
    directions, and of w rows drawn from n train rows without replacement w / n.
    """
    training, model = run.config.get("training") or {}, run.config["model"]
    n, start = int(run.config["data"]["rows"].get("train", 0)), training.get("decoder_init")
    if start not in ("data", "rows") or n < 2:
        return None
    d_sae, pairs = int(model["d_sae"]), 0
    if start == "data":  # a transcoder's `rows` have no principal directions before them
        wanted = training.get("principal_pairs") or training.get("k") or d_sae
        pairs = min(wanted, d_sae // 4, int(model["d_in"]), n - 1)
    drawn = min(d_sae - 2 * pairs, n)
    return (2 * pairs + drawn**2 / n) / d_sae
