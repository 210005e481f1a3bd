"""Concepts: whether features stand for known concepts, for rows that are alike, and for the same in every seed."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    import pandas as pd

    from sae.common.progress import Progress

CONCEPTS = Measurement(
    name="concepts",
    title="Concepts",
    question="Do single features stand for known concepts, for rows that are alike, and for the same in every seed?",
    settings={
        "labels": "",
        "permutations": 20,
        "least_examples": 20,
        "least_active": 20,
        "least_gain": 0.1,
        "alpha": 0.05,
        "others": 2,
        "candidates": 32,
        "seed": 0,
    },
    meanings={
        "labels": "columns of the examples that say the concepts, with commas between; empty takes all",
        "permutations": "how often all is done again with labels shuffled between groups; 0 for no null",
        "least_examples": "only labels that so many examples have",
        "least_active": "only features that are active on at least so many examples",
        "least_gain": "how far a label's share where the feature fires goes from its base rate to 1, on each half",
        "alpha": "false discovery rate, on the half where labels are found and on the half where they are confirmed",
        "others": "matched with at most so many runs of the same cell and other seeds; 2 make all pairs of five",
        "candidates": "largest correlations of each feature that the one-to-one match chooses from",
        "seed": "of the halves and of everything that is shuffled",
    },
    measure="sae.experiments.concepts:measure",
    of_codes=True,
    of_run=(
        "label_f1",
        "label_f1_null",
        "feature_f1",
        "feature_f1_null",
        "confirmed",
        "coherence_between",
        "match_phi",
        "match_phi_null",
    ),
)


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Purity, coherence and the match with other seeds of one run, on the rows of all splits.

    Results: of `sae.analysis.concept_purity` `confirmed`, `label_f1`, `label_auroc`, `feature_f1`, each with its mean
    over shuffled labels behind (`label_f1_null`; the interval holds 95 % of the shufflings) and `label_f1_p`; of
    `sae.analysis.coherence` the means over features `coherence` and `coherence_between`; of `sae.analysis.seed_match`
    `match_phi` and `nearest_phi`, means over the other seeds, and the same with rows permuted, `match_phi_null` and
    `nearest_phi_null`. What could not be had is NaN.

    Raises:
        UserError: if there is no concept to compare with, or a setting is out of range.
    """
    from dataclasses import replace

    from sae.analysis.active_examples import group_numbers
    from sae.analysis.coherence import coherence
    from sae.analysis.concept_purity import LIMITS, concept_purity

    if settings["others"] < 0:
        raise UserError(f"others {settings['others']} must not be below 0")
    examples, owner = case.activations.examples, case.slice.rows["example"].to_numpy()
    drawing = {name: settings[name] for name in ("permutations", "seed", "alpha", "least_active", "least_gain")}
    purity = concept_purity(
        case.codes,
        examples,
        owner,
        columns=[name.strip() for name in settings["labels"].split(",") if name.strip()],
        limits=replace(LIMITS, least_examples=settings["least_examples"]),
        watch=lambda done, total: progress.update(0.8 * done / total, 1, "concepts"),
        **drawing,
    )
    metrics, interval = _against_null(purity.summary, purity.null)
    group = examples["group"].to_numpy(object) if "group" in examples else None
    numbers = group_numbers(len(examples), group)[owner]
    alike = coherence(case.codes, np.asarray(case.slice.x), numbers)
    progress.update(0.85, 1, "matching seeds")
    matches, matched = _matches(case, settings)
    metrics |= {
        "coherence": float(alike["coherence"].mean()),
        "coherence_between": float(alike["coherence_between"].mean()),
        **matched,
        "labels": purity.notes["n_labels"],
        "features_living": int((case.codes.n_active > 0).sum()),
        "features_confirmed": int(purity.features["confirmed"].sum()),
    }
    features = purity.features.merge(alike.drop(columns="n_rows"), on="feature", validate="one_to_one")
    tables = {
        "features": features,
        "findings": purity.findings,
        "labels": purity.labels,
        "null": purity.null,
        "matches": matches,
    }
    n = purity.notes["n_discovery"] + purity.notes["n_heldout"]
    progress.update(1, 1, "concepts")
    return Measured([{"split": "all", "metrics": metrics, "interval": interval, "n": n}], tables, purity.notes)


def _against_null(
    summary: dict[str, float], null: pd.DataFrame
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Each number beside the mean of its shufflings, and the middle 95 % of those."""
    metrics: dict[str, float] = {}
    interval: dict[str, tuple[float, float]] = {}
    for name, value in summary.items():
        metrics[name] = value
        if len(null):
            draws = null[name].to_numpy(float)
            metrics[f"{name}_null"] = float(np.nanmean(draws)) if np.isfinite(draws).any() else float("nan")
            low, high = np.nanquantile(draws, [0.025, 0.975]) if np.isfinite(draws).any() else (np.nan, np.nan)
            interval[f"{name}_null"] = (float(low), float(high))
    if len(null):
        as_good = int((null["label_f1"] >= summary["label_f1"]).sum())
        metrics["label_f1_p"] = (1 + as_good) / (1 + len(null))
    return metrics, interval


def _matches(case: Case, settings: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, float]]:
    """A line a feature and other seed, and the means over them; NaN where there is no other seed."""
    import pandas as pd

    from sae.analysis.seed_match import match, rows_permuted

    tables, figures = [], []
    for run, codes in islice(case.other_seeds(), settings["others"]):
        found = match(case.codes, codes, settings["candidates"])
        chance = match(case.codes, rows_permuted(codes, settings["seed"]), settings["candidates"])
        tables.append(found.features.assign(run=run))
        figures.append((found.matched, found.nearest, chance.matched, chance.nearest))
    names = ("match_phi", "nearest_phi", "match_phi_null", "nearest_phi_null")
    columns = ["feature", "partner", "phi", "nearest", "nearest_phi", "run"]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({name: [] for name in columns})
    means = np.mean(figures, axis=0) if figures else np.full(len(names), np.nan)
    return table, {**dict(zip(names, map(float, means), strict=True)), "other_seeds": len(figures)}
