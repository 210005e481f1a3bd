"""`run compare | stability`."""

from __future__ import annotations

import argparse
from typing import Any

from sae.cli.output import emit, table, workspace_of
from sae.common.progress import Console


def add(actions: Any, common: argparse.ArgumentParser) -> None:
    one = actions.add_parser("compare", parents=[common], help="its features matched with another run's")
    one.add_argument("id", metavar="RUN")
    one.add_argument("other", metavar="OTHER")
    text = "decoder cosine, or correlation of activations over shared rows (default cosine)"
    one.add_argument("--by", choices=("cosine", "correlation"), default="cosine", help=text)
    one.add_argument("--threshold", type=float, default=0.7, metavar="S", help="the same from here on (default 0.7)")
    one.add_argument("--limit", type=int, default=20, metavar="N", help="pairs to print (default 20)")
    one.set_defaults(run=compare)
    one = actions.add_parser("stability", parents=[common], help="which features other seeds of it have too")
    one.add_argument("id", metavar="RUN")
    one.add_argument("--limit", type=int, default=20, metavar="N", help="features to print (default 20)")
    one.set_defaults(run=stability)


def compare(options: argparse.Namespace) -> None:
    """What became of each feature, and the most similar pairs."""
    from sae.analysis.matching_fates import counted, fates
    from sae.workspace.comparing import match_runs

    workspace = workspace_of(options)
    run, other = workspace.run(options.id), workspace.run(options.other)
    found = match_runs(workspace, run, other, options.by, Console())
    sides = fates(found, options.threshold), fates(found.swapped(), options.threshold)
    counts = counted(*sides).to_dict("records")
    pairs = sides[0].sort_values(["similarity", "feature"], ascending=[False, True]).head(options.limit)
    nulls = {null.name: {"median": null.median, "q999": null.high} for null in found.nulls}
    document = {
        "run": run.id,
        "other": other.id,
        "by": found.by,
        "threshold": options.threshold,
        "nulls": nulls,
        "total": found.total,
        "gap": found.gap,
        "counts": counts,
        "pairs": pairs.to_dict("records"),
    }
    chance = ", ".join(f"{name} {null['median']:.3f}" for name, null in nulls.items())
    lines = pairs[["feature", "partner", "similarity", "nearest", "nearest_similarity", "fate"]].to_dict("records")
    heading = f"matched by {found.by}, mean {found.features['similarity'].mean():.3f}; by chance {chance}"
    emit(options, document, f"{heading}\n{table(counts)}\n\n{table(lines, 'no living feature')}")


def stability(options: argparse.Namespace) -> None:
    """In how many other seeds each feature is found again, the most stable first."""
    from sae.common.errors import UserError
    from sae.workspace.stability import stability_of

    workspace = workspace_of(options)
    run = workspace.run(options.id)
    found = stability_of(workspace, run, progress=Console())
    if found is None:
        raise UserError(
            f"run {run.id} has no other finished seed in its experiment: train it with --seeds 2 or more"
        )  # fmt: skip
    lines = found.features.sort_values(
        ["found", "median_similarity", "feature"], ascending=[False, False, True], kind="stable"
    ).head(options.limit)
    notes = found.notes
    chance = ", ".join(f"{name} {median:.3f}" for name, median in notes["nulls"].items())
    heading = (
        f"{notes['found_in_most']:.1%} of {len(found.features):,} living features are found again (cosine "
        f"{notes['threshold']:g} or more) in more than half of {notes['seeds']} other seeds; median cosine "
        f"{notes['median_similarity']:.3f}, by chance {chance}"
    )
    emit(options, {**notes, "features": lines.to_dict("records")}, f"{heading}\n{table(lines.to_dict('records'))}")
