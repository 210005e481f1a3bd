"""Absorption: whether the latent of a general label is silent where a more special one is there."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.labelled import model_of, saebench_notes, units_of
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Slice
    from sae.common.progress import Progress
    from sae.evaluation.probing.absorption import Absorption, Direction
    from sae.experiments.labelled import Units

ABSORPTION = Measurement(
    name="absorption",
    title="Absorption",
    question="Is the latent of a general concept silent where a more special one is there?",
    settings={"labels": "", "most_parents": 50, "least_examples": 20, "random_features": 20, "draws": 1000, "seed": 0},
    meanings={
        "labels": "columns of the examples that say the concepts, with commas between; empty takes all",
        "most_parents": "at most so many parents, those with the most examples",
        "least_examples": "of a parent and of a child, on each half of the examples",
        "random_features": "so many living features, drawn with the seed, take each parent latent's place for the null",
        "draws": "bootstrap samples of groups, for intervals",
        "seed": "of the halves, the random features and the bootstrap",
    },
    measure="sae.experiments.absorption:measure",
    of_run=(
        "absorption_rate",
        "absorption_rate_random",
        "mean_absorption_fraction_score",
        "mean_full_absorption_score",
        "mean_num_split_features",
    ),
)
#: SAEBench's name of a mean over parents, and the column of the table that it is the mean of.
_MEANS = {
    "absorption_rate": "absorption_rate",
    "off_rate_alone": "off_rate_alone",
    "absorption_rate_random": "absorption_rate_random",
    "mean_absorption_fraction_score": "mean_absorption_fraction",
    "mean_full_absorption_score": "full_absorption_rate",
    "mean_num_split_features": "num_split_features",
    "mean_absorption_fraction_score_saebench": "mean_absorption_fraction_saebench",
    "mean_full_absorption_score_saebench": "full_absorption_rate_saebench",
    "mean_absorption_fraction_score_random": "mean_absorption_fraction_random",
    "mean_full_absorption_score_random": "full_absorption_rate_random",
    "mean_num_latents_with_children": "num_latents_with_children",
    "mean_parent_f1": "f1",
}


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Absorption of one run, over examples of all splits, chosen on one half of the groups and measured on the other.

    Which label is a kind of which is read off the labels (`sae.evaluation.probing.hierarchy`). Results: means over
    parents of the columns of `sae.evaluation.probing.absorption`, under SAEBench's names where it has them, with
    intervals by bootstrap over groups; and `std_dev_...`, the standard deviation over parents. Tables: `parents`,
    `pairs`.

    Raises:
        UserError: if no label is a kind of another, or a setting is out of range.
    """
    from sae.evaluation.probing import absorption as evaluation

    for name, least in (("most_parents", 1), ("least_examples", 1), ("random_features", 0), ("draws", 1)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]} must be at least {least}")
    columns = tuple(name.strip() for name in settings["labels"].split(",") if name.strip())
    shared = _shared(case.slice, columns, settings["least_examples"], settings["most_parents"], settings["seed"])
    weights = {name: getattr(case.model, name).detach().cpu().numpy() for name in ("W_dec", "b_dec")}
    units = evaluation.Units(
        codes=shared.units.pooled(case.codes.csr()),
        x=shared.units.x,
        having=shared.units.labels.having.tocsc(),
        names=shared.units.labels.table["label"].tolist(),
        group=shared.units.group,
        first=shared.first,
        second=shared.second,
        **weights,
    )
    found = evaluation.absorption(
        units,
        shared.children,
        shared.directions,
        random_features=settings["random_features"],
        seed=settings["seed"],
        watch=lambda done, total: progress.update(done, total, "absorption"),
    )
    metrics = {name: float(found.parents[column].mean()) for name, column in _MEANS.items()}
    for name, column in (
        ("std_dev_absorption_fraction_score", "mean_absorption_fraction"),
        ("std_dev_full_absorption_score", "full_absorption_rate"),
        ("std_dev_num_split_features", "num_split_features"),
        ("std_dev_absorption_fraction_score_saebench", "mean_absorption_fraction_saebench"),
        ("std_dev_full_absorption_score_saebench", "full_absorption_rate_saebench"),
    ):
        metrics[name] = float(found.parents[column].std(ddof=1)) if len(found.parents) > 1 else float("nan")
    metrics |= {"parents": len(found.parents), "pairs": len(found.pairs)}
    table = _with_intervals(found, settings["draws"], settings["seed"])
    notes = {
        "model": model_of(case.activations),
        "layer": case.slice.layer,
        "position": case.slice.position,
        "settings": settings,
        "columns": list(columns),
        "n_discovery": int(shared.first.sum()),
        "n_heldout": int(shared.second.sum()),
        "directions": "known" if shared.known else "probes on the activations",
        **saebench_notes(metrics, _details(found.parents), _config(settings)),
    }
    result = {
        "split": "all",
        "metrics": metrics,
        "interval": table.pop("interval"),
        "n": int(shared.second.sum()),
    }
    return Measured([result], {"parents": table["parents"], "pairs": found.pairs}, notes)


class _Shared:
    """What all runs over a slice share: units, halves, who is whose child, the parents' directions."""

    def __init__(
        self, units: Units, first: np.ndarray, children: dict[int, list[int]], directions: dict[int, Direction]
    ) -> None:
        self.units, self.first, self.second = units, first, ~first
        self.children, self.directions = children, directions
        self.known = any(one.known for one in directions.values())


@lru_cache(maxsize=2)
def _shared(piece: Slice, columns: tuple[str, ...], least: int, most_parents: int, seed: int) -> _Shared:
    from sae.analysis.active_examples import halves
    from sae.analysis.label_columns import Limits
    from sae.evaluation.probing.absorption import direction_of
    from sae.evaluation.probing.hierarchy import implications

    limits = Limits(least_examples=least, lowest_rate=0.0, highest_rate=0.95, most_values=5000, rare_first=True)
    # Choosing and measuring have halves of their own: the SAE's split would leave few of a rare child.
    units = units_of(piece, columns, "mean", limits)
    first, _ = halves(np.ones(len(units.group), bool), units.group, seed)
    having = units.labels.having.astype(np.int64)
    on_each = np.array([np.asarray(having.T @ half.astype(np.int64)).reshape(-1) for half in (first, ~first)])
    usable = units.labels.table["used"].to_numpy(bool) & (on_each >= least).all(axis=0)
    kept = np.flatnonzero(usable)
    below = implications(units.labels.having[:, kept], units.group)
    children = {int(kept[parent]): [int(kept[child]) for child in found] for parent, found in below.items()}
    if not children:
        raise UserError(
            f"no label of these examples is a kind of another that {least} examples of each half have: make some with "
            "'activations planted --hierarchy 8', or name columns such as concepts,children or ancestors with "
            "--set labels="
        )
    total = on_each.sum(axis=0)
    chosen = sorted(sorted(children, key=lambda parent: (-total[parent], parent))[:most_parents])
    children = {parent: children[parent] for parent in chosen}
    known = _known_directions(piece, units, chosen)
    directions = {
        parent: direction_of(units.x, units.having(parent), first, units.group, known.get(parent)) for parent in chosen
    }
    return _Shared(units, first, children, directions)


def _known_directions(piece: Slice, units: Units, parents: list[int]) -> dict[int, np.ndarray]:
    """The planted directions of parents, by label; none where nothing was planted."""
    from sae.capture.planted_hierarchy import Hierarchy, plant_hierarchy

    planted = piece.activations.manifest.get("planted_hierarchy")
    if planted is None:
        return {}
    named = plant_hierarchy(Hierarchy(**planted)).named_directions()
    words = units.labels.table["label"].tolist()
    said = {parent: words[parent].removeprefix("concepts ") for parent in parents}
    return {parent: named[word] for parent, word in said.items() if word in named}


def _with_intervals(found: Absorption, draws: int, seed: int) -> dict[str, Any]:
    """Bootstrap over groups: of each parent's rates (columns `_low`, `_high`) and of their means."""
    from sae.evaluation.bootstrap import drawn_weights, interval

    ratios = {
        "absorption_rate": ("off", "n", "absorption_rate"),
        "off_rate_alone": ("off_alone", "n_alone", "off_rate_alone"),
        "mean_absorption_fraction": ("fraction", "true", "mean_absorption_fraction_score"),
        "full_absorption_rate": ("full", "true", "mean_full_absorption_score"),
    }
    counted = found.sums["n"].shape[0]
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in ratios}
    for weights in drawn_weights(counted, draws, seed):
        for name, (part, whole, _) in ratios.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn[name].append((weights @ found.sums[part]) / (weights @ found.sums[whole]))
    parents: pd.DataFrame = found.parents.copy()
    intervals: dict[str, tuple[float, float]] = {}
    for name, (_, _, metric) in ratios.items():
        values = np.concatenate(drawn[name])
        values[:, parents[name].isna().to_numpy()] = np.nan
        bounds = np.array([interval(column) for column in values.T])
        parents[f"{name}_low"], parents[f"{name}_high"] = bounds[:, 0], bounds[:, 1]
        finite = np.isfinite(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(finite, values, 0).sum(axis=1) / finite.sum(axis=1)
        intervals[metric] = interval(means)
    return {"parents": parents, "interval": intervals}


def _config(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings under SAEBench's names."""
    from sae.evaluation.probing.absorption import F1_GAIN, MOST_SPLITS

    return {"random_seed": settings["seed"], "f1_jump_threshold": F1_GAIN, "max_k_value": MOST_SPLITS}


def _details(parents: pd.DataFrame) -> list[dict[str, Any]]:
    """A line a parent under the names of SAEBench's details, the parent in the letter's place."""
    return [
        {
            "first_letter": line["parent"],
            "mean_absorption_fraction": line["mean_absorption_fraction_saebench"],
            "full_absorption_rate": line["full_absorption_rate_saebench"],
            "num_full_absorption": round(line["full_absorption_rate_saebench"] * line["num_probe_true_positives"])
            if line["num_probe_true_positives"]
            else 0,
            "num_probe_true_positives": line["num_probe_true_positives"],
            "num_split_features": line["num_split_features"],
        }
        for line in parents.to_dict("records")
    ]
