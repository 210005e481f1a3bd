"""Concept purity: how well single features stand for known concepts, beside the same with shuffled labels.

Features and labels are compared as in `sae.analysis.specificity`: found on one half of the groups, confirmed on the
other, false discoveries controlled on each. Here the other side is asked as well: of each label, which feature is the
best one for it? It is chosen by F1 on the discovery half and measured on the held-out half, whose groups (concepts of
an ontology, problems) the choice has not seen. Choosing the best of thousands of features looks good by chance, so all
of it is done again with labels that are shuffled: whole groups swap their labels with groups of the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.active_examples import ActiveExamples, active_examples, group_numbers, halves
from sae.analysis.codes import FeatureActivations
from sae.analysis.label_columns import Labels, Limits, labels_of
from sae.analysis.label_half import COUNTS, LabelHalf
from sae.analysis.specificity import DISCOVERY, HELD_OUT, specificity
from sae.common.errors import UserError

#: A label of an ontology holds for few of its terms, and most of its ids for hardly any.
LIMITS = Limits(least_examples=20, lowest_rate=0.0, highest_rate=0.95, most_values=5000, rare_first=True)
LEAST_EACH_HALF = 5
_BLOCK_ENTRIES = 4_000_000  # feature x label counts held at once: 32 MB an array


@dataclass(frozen=True)
class Purity:
    """`features` and `findings`: as `Specificity`. `labels`: the labels with their best features (`concept_purity`).
    `null`: a line a shuffling with `confirmed`, `label_f1`, `label_auroc`, `feature_f1`. `summary`: those four with the
    labels as they are.
    """

    features: pd.DataFrame
    findings: pd.DataFrame
    labels: pd.DataFrame
    null: pd.DataFrame
    summary: dict[str, float]
    notes: dict[str, Any]


def concept_purity(
    codes: FeatureActivations,
    examples: pd.DataFrame,
    example: np.ndarray,
    *,
    columns: list[str] | None = None,
    limits: Limits = LIMITS,
    permutations: int = 20,
    seed: int = 0,
    alpha: float = 0.05,
    least_active: int = 20,
    least_gain: float = 0.1,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Purity:
    """Compare the features with every label that enough examples have, `permutations` times with shuffled labels too.

    Args:
        examples: one line an example; its column `group` says what stays on one side of the split.
        example: int [n_rows], the example of each row.
        columns: of the examples, the only ones that labels are made from; None: all that `labels_of` reads.
        limits: which labels are used; besides, each half needs 5 examples with the label and 5 without.
        seed: of the halves and of the shuffling.
        alpha, least_active, least_gain: as `specificity`.

    Returns:
        Labels have further columns: `feature` (the one with the largest F1 on the discovery half among those that are
        active on `least_active` examples; -1 where none is), `discovery_f1`, and of that feature on the other half
        `heldout_f1`, `heldout_precision`, `heldout_recall`, `heldout_auroc` (of the value, 0 where silent); `null_f1`,
        the mean of `heldout_f1` over the shufflings. The summary: `confirmed`, share of living features with a
        confirmed label; `label_f1` and `label_auroc`, means over labels of the held-out numbers; `feature_f1`, mean
        over tested features of the F1 on the held-out half of the label chosen on the discovery half.

    Raises:
        UserError: for an unknown column, permutations below 0, no label to compare with, or as `specificity`.
    """
    if permutations < 0:
        raise UserError(f"permutations {permutations} must not be below 0")
    group = examples["group"].to_numpy(object) if "group" in examples else None
    if columns:
        if unknown := [name for name in columns if name not in examples]:
            raise UserError(f"the examples have no column {unknown[0]!r}; they have {', '.join(examples.columns)}")
        examples = examples[columns]
    owner = np.asarray(example)
    present = np.zeros(len(examples), bool)
    present[owner] = True
    first, second = halves(present, group, seed)
    labels = _on_both(labels_of(examples, present, limits), first, second)
    if not labels.n_used:
        raise UserError(
            f"the examples have no label that {limits.least_examples} of them share and others don't: there is no "
            "concept to compare features with"
        )
    active = active_examples(codes, owner, len(examples))
    numbers = np.full(len(examples), -1)
    numbers[present] = group_numbers(int(present.sum()), None if group is None else group[present])
    settings: dict[str, Any] = {"seed": seed, "alpha": alpha, "least_active": least_active, "least_gain": least_gain}

    def measured(of: Labels) -> tuple[Any, pd.DataFrame, dict[str, float]]:
        found = specificity(codes, of, example=owner, group=group, **settings)
        best = _best_features(active, of, first, second, least_active)
        living = found.features[found.features["n_examples"] > 0]
        tested = living.loc[living["tested"], "heldout_selectivity"].fillna(0.0)
        summary = {
            "confirmed": float(living["confirmed"].mean()) if len(living) else float("nan"),
            "label_f1": float(best["heldout_f1"].mean()),
            "label_auroc": float(best["heldout_auroc"].mean()),
            "feature_f1": float(tested.mean()) if len(tested) else float("nan"),
        }
        return found, best, summary

    watch(0, permutations + 1)
    found, best, summary = measured(labels)
    generator = np.random.default_rng([seed, 1])
    lines, chance = [], np.zeros(len(best))
    for done in range(permutations):
        watch(done + 1, permutations + 1)
        _, shuffled, line = measured(_shuffled(labels, numbers, generator))
        lines.append(line)
        chance += shuffled["heldout_f1"].to_numpy() / permutations
    table = labels.table.merge(
        best.assign(null_f1=chance if permutations else np.nan), left_index=True, right_index=True, how="left"
    )
    table["feature"] = table["feature"].fillna(-1).astype(np.int32)
    notes = {**found.notes, "permutations": permutations, "columns": list(columns or []), "n_groups": len(set(numbers))}
    null = pd.DataFrame(lines, columns=list(summary))
    return Purity(found.features, found.findings, table, null, summary, notes)


def _on_both(labels: Labels, first: np.ndarray, second: np.ndarray) -> Labels:
    """Not used is also what one half hardly has: what belongs to a single group can't be found again."""
    table = labels.table.copy()
    having = labels.having.astype(np.int64)
    for half in (first, second):
        n_with = np.asarray(having.T @ half.astype(np.int64)).reshape(-1)
        n = (labels.masks & half).sum(axis=1)[labels.mask_of] if len(table) else np.empty(0, np.int64)
        few = table["used"].to_numpy(bool) & ((n_with < LEAST_EACH_HALF) | (n - n_with < LEAST_EACH_HALF))
        table.loc[few, "used"] = False
        table.loc[few, "reason"] = f"under {LEAST_EACH_HALF} examples with or without it on one half"
    return replace(labels, table=table)


def _shuffled(labels: Labels, numbers: np.ndarray, generator: np.random.Generator) -> Labels:
    """Labels of the same examples, whole groups of one size having swapped theirs; `numbers`: group, or -1."""
    source = np.arange(len(numbers))
    order = np.argsort(numbers, kind="stable")
    order = order[numbers[order] >= 0]
    _, start, size = np.unique(numbers[order], return_index=True, return_counts=True)
    for length in np.unique(size):
        places = start[size == length]
        blocks = order[places[:, None] + np.arange(length)]
        source[blocks] = blocks[generator.permutation(len(blocks))]
    return replace(labels, having=labels.having.tocsr()[source].tocsc(), masks=labels.masks[:, source])


def _best_features(
    active: ActiveExamples, labels: Labels, first: np.ndarray, second: np.ndarray, least_active: int
) -> pd.DataFrame:
    """Of each label that is used, in its line number: the feature of the largest F1 on the first half, measured on the
    second.
    """
    parts = [LabelHalf(name, half, labels) for name, half in ((DISCOVERY, first), (HELD_OUT, second))]
    used = np.flatnonzero(labels.table["used"].to_numpy(bool))
    tested = np.flatnonzero(active.n_active >= least_active)
    best = np.full(len(used), -1)
    f1 = np.full(len(used), -1.0)
    step = max(1, _BLOCK_ENTRIES // len(used))
    for start in range(0, len(tested), step):
        features = tested[start : start + step]
        here = _f1(parts[0].counts(active, features))
        top = here.argmax(axis=0)
        value = here[top, np.arange(len(used))]
        better = value > f1
        best[better], f1[better] = features[top[better]], value[better]
    table = pd.DataFrame(
        {"feature": best, "discovery_f1": np.where(best >= 0, f1, np.nan)}
        | dict.fromkeys(("heldout_f1", "heldout_precision", "heldout_recall"), 0.0)
        | {"heldout_auroc": 0.5},
        index=used,
    )
    label = np.flatnonzero(best >= 0)
    order = label[np.argsort(best[label], kind="stable")]
    for at in range(0, len(order), step := max(1, _BLOCK_ENTRIES // max(len(used), 1))):
        chosen = order[at : at + step]
        features, line = np.unique(best[chosen], return_inverse=True)
        every = parts[1].counts(active, features)
        counts = {name: every[name][line, chosen] for name in COUNTS}
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                "heldout_f1": _f1(counts),
                "heldout_precision": np.nan_to_num(counts["n_both"] / counts["n_active"]),
                "heldout_recall": counts["n_both"] / counts["n_with"],
            }
        of_values = parts[1].of_values(active, best[chosen], chosen, [counts[name] for name in COUNTS])
        for name, column in (values | {"heldout_auroc": of_values["auroc"]}).items():
            table.loc[used[chosen], name] = column
    return table


def _f1(counts: dict[str, np.ndarray]) -> np.ndarray:
    """0 where neither the feature nor the label is there."""
    return 2 * counts["n_both"] / np.maximum(counts["n_active"] + counts["n_with"], 1)
