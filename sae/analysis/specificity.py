"""Which label each feature goes with: found on one half of the examples, confirmed on the other.

The unit is the example: it belongs to a feature's active set if any of its rows is active. Every feature with enough
active examples is tested against every label (hypergeometric, one-sided: more often together than by chance) on the
discovery half; Benjamini and Hochberg (1995) over all features times all labels decides what counts as found, and the
same over what was found decides, on the other half, what counts as confirmed. On either half a pair counts only if the
label's share among the active examples goes a tenth of the way from its base rate to 1, since with thousands of
examples any difference is significant: a feature that fires everywhere is specific for nothing. What does not count,
and what is not tested, has p = 1 among the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.active_examples import ActiveExamples, active_examples, halves
from sae.analysis.codes import FeatureActivations
from sae.analysis.contingency import log_chance, measures, upper_tail
from sae.analysis.label_columns import Labels, labels_of
from sae.analysis.label_half import COUNTS, LabelHalf
from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg

ALPHA = 0.05
LEAST_ACTIVE = 20
LEAST_GAIN = 0.1
DISCOVERY, HELD_OUT = "discovery", "heldout"
_BLOCK_ENTRIES = 4_000_000  # feature x label counts held at once: 32 MB an array


@dataclass(frozen=True)
class Specificity:
    """What was found. Columns are described at `specificity`."""

    features: pd.DataFrame
    findings: pd.DataFrame
    labels: pd.DataFrame
    notes: dict[str, Any]


def of_examples(codes: FeatureActivations, examples: pd.DataFrame, example: np.ndarray, **settings: Any) -> Specificity:
    """`specificity` with every label that the examples have (`label_columns`), halved by their column `group`.

    Args:
        examples: one line an example. example: int [n_rows], the example of each row.
        settings: seed, alpha, least_active, least_gain.

    Raises:
        UserError: as `specificity`.
    """
    present = np.zeros(len(examples), bool)
    present[np.asarray(example)] = True
    group = examples["group"].to_numpy(object) if "group" in examples else None
    return specificity(codes, labels_of(examples, present), example=example, group=group, **settings)


def specificity(
    codes: FeatureActivations,
    labels: Labels,
    *,
    example: np.ndarray | None = None,
    group: np.ndarray | None = None,
    seed: int = 0,
    alpha: float = ALPHA,
    least_active: int = LEAST_ACTIVE,
    least_gain: float = LEAST_GAIN,
) -> Specificity:
    """Compare every feature with every label that is used.

    Args:
        labels: of the examples (`sae.analysis.label_columns`).
        example: int [n_rows], the example of each row; None: every row is its own.
        group: [n_examples], what stays on one side of the split; None: every example is its own group.
        seed: of the split into halves.
        alpha: the false discovery rate, on each half.
        least_active: a feature that is active on fewer examples is not tested.
        least_gain: (precision - base rate) / (1 - base rate) must reach this, on each half.

    Returns:
        `findings`, a line for each pair found: feature, family, label, base_rate (over all examples), for each half
        (prefix `discovery_` and `heldout_`) n (examples of which the label is known), n_active, n_with, n_both,
        base_rate, precision, recall, f1, lift, gain, mutual_information (bits), phi, specificity, auroc (of the value
        of largest size, 0 where silent), cohen_d (of it, standard deviations pooled), class_specificity
        (1 - H(p(. | active)) / log C over the C labels of an exclusive family, else NaN), p; then q (of the discovery
        half), heldout_q, confirmed (heldout_q <= alpha). By feature, then by falling F1 of the discovery half.
        `features`, a line a feature: feature, n_examples, tested, selectivity (the largest F1 with any label on the
        discovery half), selectivity_label, heldout_selectivity (F1 of that label on the other half), n_found,
        n_confirmed, and the columns of its best finding: among the confirmed, else among the found, that of the
        largest F1 on the discovery half. Empty label and NaN without one.
        `labels`: the table of the labels. `notes`: settings and counts.

    Raises:
        UserError: if the examples don't fit, there are fewer than two groups to split, or a setting is out of range.
    """
    _check(alpha, least_active, least_gain)
    n_examples = labels.having.shape[0]
    owner = np.arange(codes.n_rows) if example is None else np.asarray(example)
    if owner.shape != (codes.n_rows,) or (len(owner) and not 0 <= owner.min() <= owner.max() < n_examples):
        raise UserError(f"labels of {n_examples:,} examples don't fit the {codes.n_rows:,} rows of these activations")
    present = np.zeros(n_examples, bool)
    present[owner] = True
    first, second = halves(present, group, seed)
    active = active_examples(codes, owner, n_examples)
    used = np.flatnonzero(labels.table["used"].to_numpy(bool))
    tested = np.flatnonzero(active.n_active >= least_active)
    parts = [LabelHalf(name, half, labels) for name, half in ((DISCOVERY, first), (HELD_OUT, second))]
    columns = _selectivity_columns(codes.d_sae)
    found = _found(active, tested, parts, alpha, least_gain, columns)
    tests = codes.d_sae * len(used)
    found["q"] = benjamini_hochberg(found["discovery_p"], tests)
    found = {name: values[found["q"] <= alpha] for name, values in found.items()}
    findings = _measured(active, labels, parts, found, alpha, least_gain)
    names = labels.table["label"].to_numpy(object)[used]
    chosen = columns.pop("label")
    table = pd.DataFrame(
        {
            "feature": np.arange(codes.d_sae, dtype=np.int32),
            "n_examples": active.n_active,
            "tested": np.isin(np.arange(codes.d_sae), tested),
            **columns,
            "selectivity_label": [names[at] if at >= 0 else "" for at in chosen],
            "n_found": np.bincount(findings["feature"], minlength=codes.d_sae),
            "n_confirmed": np.bincount(findings["feature"][findings["confirmed"]], minlength=codes.d_sae),
        }
    )
    notes = {
        "n_tests": int(tests),
        "n_labels": len(used),
        "n_labels_left_out": len(labels.table) - len(used),
        "n_features": int(codes.d_sae),
        "n_tested": len(tested),
        "n_found": len(findings),
        "n_confirmed": int(findings["confirmed"].sum()),
        "n_discovery": int(first.sum()),
        "n_heldout": int(second.sum()),
        "seed": seed,
        "alpha": alpha,
        "least_active": least_active,
        "least_gain": least_gain,
        "grouped": group is not None,
    }
    return Specificity(_with_best(table, findings), findings, labels.table, notes)


def _check(alpha: float, least_active: int, least_gain: float) -> None:
    if not 0 < alpha <= 1:
        raise UserError(f"alpha {alpha} must lie above 0 and not above 1: it is a false discovery rate")
    if least_active < 1:
        raise UserError(f"least_active {least_active} must be 1 or more: it counts examples")
    if not 0 <= least_gain <= 1:
        raise UserError(f"least_gain {least_gain} must lie between 0 and 1")


def _selectivity_columns(d_sae: int) -> dict[str, np.ndarray]:
    return {
        "selectivity": np.full(d_sae, np.nan),
        "heldout_selectivity": np.full(d_sae, np.nan),
        "label": np.full(d_sae, -1),
    }


def _found(
    active: ActiveExamples,
    tested: np.ndarray,
    halves: list[LabelHalf],
    alpha: float,
    least_gain: float,
    columns: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Pairs that may be found (p <= alpha and gain enough on the discovery half), with the counts of both halves.

    A pair with p above alpha can't have a q of alpha or less, so leaving it here changes nothing. Writes the
    selectivity of each feature into `columns` on the way.
    """
    names = ["feature", "label", "discovery_p"]
    names += [f"{half.name}_{count}" for half in halves for count in COUNTS]
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    n_labels = len(halves[0].n)
    step = max(1, _BLOCK_ENTRIES // max(n_labels, 1))
    for start in range(0, len(tested) if n_labels else 0, step):
        features = tested[start : start + step]
        counts = [half.counts(active, features) for half in halves]
        _select(features, counts, columns)
        here = counts[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            base = here["n_with"] / here["n"]
            gain = (here["n_both"] / here["n_active"] - base) / (1 - base)
        line, label = np.nonzero((gain >= least_gain) & (gain > 0))
        tables = [{name: values[line, label] for name, values in one.items()} for one in counts]
        # The first term alone is a lower bound: above alpha the whole tail is.
        likely = log_chance(*(tables[0][name] for name in COUNTS)) <= np.log(alpha)
        line, label = line[likely], label[likely]
        tables = [{name: values[likely] for name, values in one.items()} for one in tables]
        p = upper_tail(*(tables[0][name] for name in COUNTS))
        kept = p <= alpha
        pieces["feature"].append(features[line[kept]])
        pieces["label"].append(label[kept])
        pieces["discovery_p"].append(p[kept])
        for half, table in zip(halves, tables, strict=True):
            for name in COUNTS:
                pieces[f"{half.name}_{name}"].append(table[name][kept])
    return {
        name: np.concatenate(parts) if parts else np.empty(0, np.float64 if name == "discovery_p" else np.int64)
        for name, parts in pieces.items()
    }


def _select(features: np.ndarray, counts: list[dict[str, np.ndarray]], columns: dict[str, np.ndarray]) -> None:
    """The label of the largest F1 on the discovery half, and its F1 on both."""
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = [2 * one["n_both"] / (one["n_active"] + one["n_with"]) for one in counts]
    best = np.nan_to_num(f1[0], nan=-1.0).argmax(axis=1)
    line = np.arange(len(features))
    columns["selectivity"][features], columns["heldout_selectivity"][features] = f1[0][line, best], f1[1][line, best]
    columns["label"][features] = best


def _measured(
    active: ActiveExamples,
    labels: Labels,
    halves: list[LabelHalf],
    found: dict[str, np.ndarray],
    alpha: float,
    least_gain: float,
) -> pd.DataFrame:
    """The lines of `findings`, with everything that is only worked out for what was found."""
    used = np.flatnonzero(labels.table["used"].to_numpy(bool))
    label = used[found["label"]]
    lines = labels.table.iloc[label]
    table: dict[str, Any] = {"feature": found["feature"].astype(np.int32)}
    table |= {name: lines[name].to_numpy() for name in ("family", "label", "base_rate")}
    for half in halves:
        counts = [found[f"{half.name}_{name}"] for name in COUNTS]
        columns = dict(zip(COUNTS, counts, strict=True)) | measures(*counts)
        parts = [
            {
                **half.of_values(active, found["feature"][one], found["label"][one], [part[one] for part in counts]),
                "class_specificity": half.of_classes(active, found["feature"][one], label[one]),
            }
            for one in _blocks(found["feature"], len(half.n))
        ]
        columns |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["p"] = found["discovery_p"] if half.name == DISCOVERY else upper_tail(*counts)
        table |= {f"{half.name}_{name}": values for name, values in columns.items()}
    table["q"] = found["q"]
    enough = (table["heldout_gain"] >= least_gain) & (table["heldout_gain"] > 0)
    table["heldout_q"] = benjamini_hochberg(np.where(enough, table["heldout_p"], 1.0), len(label))
    table["confirmed"] = table["heldout_q"] <= alpha
    return (
        pd.DataFrame(table)
        .sort_values(["feature", "discovery_f1", "label"], ascending=[True, False, True], kind="stable")
        .reset_index(drop=True)
    )


def _blocks(feature: np.ndarray, n_labels: int) -> list[slice]:
    """Pairs, which are in the order of their features, so many at a time that their products fit into memory."""
    step = max(1, _BLOCK_ENTRIES // max(n_labels, 1))
    starts = np.searchsorted(feature, np.unique(feature)[::step]) if len(feature) else [0]
    return [slice(*span) for span in zip(starts, [*starts[1:], len(feature)], strict=True)]


def _with_best(features: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """The feature table with each feature's best finding beside it."""
    ordered = findings.sort_values(["feature", "confirmed"], ascending=[True, False], kind="stable")
    best = ordered.drop_duplicates("feature")
    table = features.merge(best, on="feature", how="left", validate="one_to_one")
    table["confirmed"] = table["confirmed"].eq(True)
    return table.assign(**{name: table[name].fillna("").astype(object) for name in ("family", "label")})
