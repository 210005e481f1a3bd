"""Which label each feature goes with: found on one half of the examples, confirmed on the other.

The unit is the example: it belongs to a feature's active set if any of its rows is active. Every feature with enough
active examples is tested against every label (hypergeometric, one-sided: more often together than by chance) on the
discovery half; Benjamini and Hochberg (1995) over all features times all labels decides what counts as found, and the
same over what was found decides, on the other half, what counts as confirmed. A pair counts only if the label's share
among the active examples goes a tenth of the way from its base rate to 1, since with thousands of examples any
difference is significant: a feature that fires everywhere is specific for nothing. What is not tested counts as p = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.analysis.active_examples import ActiveExamples, active_examples, halves
from sae.analysis.codes import FeatureActivations
from sae.analysis.contingency import entropy, log_chance, measures, upper_tail
from sae.analysis.label_columns import Labels
from sae.analysis.pairs import benjamini_hochberg
from sae.common.errors import UserError

ALPHA = 0.05
LEAST_ACTIVE = 20
LEAST_GAIN = 0.1
DISCOVERY, HELD_OUT = "discovery", "heldout"
_BLOCK_ENTRIES = 4_000_000  # feature x label counts held at once: 32 MB an array

_COUNTS = ("n_both", "n", "n_active", "n_with")


@dataclass(frozen=True)
class Specificity:
    """What was found. Columns are described at `specificity`."""

    features: pd.DataFrame
    findings: pd.DataFrame
    labels: pd.DataFrame
    notes: dict[str, Any]


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
        least_gain: (precision - base rate) / (1 - base rate) on the discovery half must reach this.

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
        UserError: if the examples don't fit, or there are fewer than two groups to split.
    """
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
    parts = [_Half(name, half, labels, used) for name, half in ((DISCOVERY, first), (HELD_OUT, second))]
    columns = _selectivity_columns(codes.d_sae)
    found = _found(active, tested, parts, alpha, least_gain, columns)
    tests = codes.d_sae * len(used)
    found["q"] = benjamini_hochberg(found["discovery_p"], tests)
    found = {name: values[found["q"] <= alpha] for name, values in found.items()}
    findings = _measured(active, labels, parts, found, alpha)
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


class _Half:
    """The labels of one half of the examples: what a block of features is counted against."""

    def __init__(self, name: str, half: np.ndarray, labels: Labels, used: np.ndarray) -> None:
        self.name, self.half = name, half
        self.known = labels.masks & half
        self.mask_of = labels.mask_of[used]
        whole = labels.having.tocsr()
        self.every = whole.multiply(half[:, None].astype(np.int32)).tocsc()
        self.having = self.every[:, used].tocsr()
        self.n = self.known.sum(axis=1).astype(np.int64)[self.mask_of]
        self.n_with = np.asarray(self.having.sum(axis=0), np.int64).reshape(-1)

    def counts(self, active: ActiveExamples, features: np.ndarray) -> dict[str, np.ndarray]:
        """int64 [features, labels] each: n_both, n, n_active, n_with."""
        on = active.matrix(features)
        both = (on @ self.having).toarray().astype(np.int64)
        n_active = (on @ self.known.T.astype(np.int64))[:, self.mask_of]
        n, n_with = np.broadcast_to(self.n, both.shape), np.broadcast_to(self.n_with, both.shape)
        return {"n_both": both, "n": n, "n_active": n_active.astype(np.int64), "n_with": n_with}


def _selectivity_columns(d_sae: int) -> dict[str, np.ndarray]:
    return {
        "selectivity": np.full(d_sae, np.nan),
        "heldout_selectivity": np.full(d_sae, np.nan),
        "label": np.full(d_sae, -1),
    }


def _found(
    active: ActiveExamples,
    tested: np.ndarray,
    halves: list[_Half],
    alpha: float,
    least_gain: float,
    columns: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Pairs that may be found (p <= alpha and gain enough on the discovery half), with the counts of both halves.

    A pair with p above alpha can't have a q of alpha or less, so leaving it here changes nothing. Writes the
    selectivity of each feature into `columns` on the way.
    """
    names = ["feature", "label", "discovery_p"]
    names += [f"{half.name}_{count}" for half in halves for count in _COUNTS]
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
        likely = log_chance(*(tables[0][name] for name in _COUNTS)) <= np.log(alpha)
        line, label = line[likely], label[likely]
        tables = [{name: values[likely] for name, values in one.items()} for one in tables]
        p = upper_tail(*(tables[0][name] for name in _COUNTS))
        kept = p <= alpha
        pieces["feature"].append(features[line[kept]])
        pieces["label"].append(label[kept])
        pieces["discovery_p"].append(p[kept])
        for half, table in zip(halves, tables, strict=True):
            for name in _COUNTS:
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
    active: ActiveExamples, labels: Labels, halves: list[_Half], found: dict[str, np.ndarray], alpha: float
) -> pd.DataFrame:
    """The lines of `findings`, with everything that is only worked out for what was found."""
    used = np.flatnonzero(labels.table["used"].to_numpy(bool))
    label = used[found["label"]]
    lines = labels.table.iloc[label]
    table: dict[str, Any] = {"feature": found["feature"].astype(np.int32)}
    table |= {name: lines[name].to_numpy() for name in ("family", "label", "base_rate")}
    for half in halves:
        counts = [found[f"{half.name}_{name}"] for name in _COUNTS]
        columns = dict(zip(_COUNTS, counts, strict=True)) | measures(*counts)
        columns |= _of_values(active, half, found["feature"], found["label"], counts)
        columns["class_specificity"] = _of_classes(active, labels, half, found["feature"], label)
        columns["p"] = found["discovery_p"] if half.name == DISCOVERY else upper_tail(*counts)
        table |= {f"{half.name}_{name}": values for name, values in columns.items()}
    table["q"] = found["q"]
    table["heldout_q"] = benjamini_hochberg(table["heldout_p"], len(label))
    table["confirmed"] = table["heldout_q"] <= alpha
    return (
        pd.DataFrame(table)
        .sort_values(["feature", "discovery_f1", "label"], ascending=[True, False, True], kind="stable")
        .reset_index(drop=True)
    )


def _of_values(
    active: ActiveExamples, half: _Half, feature: np.ndarray, label: np.ndarray, counts: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """AUROC and Cohen's d of the values with the label against those without, for pairs (feature, used label)."""
    _, n, _, n_with = (part.astype(np.float64) for part in counts)
    auroc, cohen = np.full(len(feature), np.nan), np.full(len(feature), np.nan)
    features, line = np.unique(feature, return_inverse=True)
    for number, known in enumerate(half.known):
        chosen = np.flatnonzero(half.mask_of[label] == number)
        if not len(chosen):
            continue
        ranks, silent = active.ranks(features, known)
        values = active.matrix(features, values=True)
        at = line[chosen], label[chosen]
        n_c, n_k = n_with[chosen], n[chosen]

        def summed(matrix: Any, at: tuple[np.ndarray, np.ndarray] = at) -> np.ndarray:
            return (matrix @ half.having).toarray()[at]

        with np.errstate(invalid="ignore", divide="ignore"):
            rank_sum = summed(ranks) + n_c * silent[line[chosen]]
            auroc[chosen] = (rank_sum - n_c * (n_c + 1) / 2) / (n_c * (n_k - n_c))
            squares = values.multiply(values).tocsr()
            with_sum, with_squares = summed(values), summed(squares)
            all_sum, all_squares = ((part @ known.astype(np.float64))[line[chosen]] for part in (values, squares))
            spread = with_squares - with_sum**2 / n_c
            spread = spread + (all_squares - with_squares) - (all_sum - with_sum) ** 2 / (n_k - n_c)
            pooled = np.sqrt(np.maximum(spread, 0) / (n_k - 2))
            cohen[chosen] = (with_sum / n_c - (all_sum - with_sum) / (n_k - n_c)) / pooled
    return {"auroc": auroc, "cohen_d": cohen}


def _of_classes(
    active: ActiveExamples, labels: Labels, half: _Half, feature: np.ndarray, label: np.ndarray
) -> np.ndarray:
    """1 - H(p(class | active)) / log C, for pairs (feature, label) whose label belongs to an exclusive family."""
    result = np.full(len(feature), np.nan)
    family = labels.table["family"].to_numpy(object)
    exclusive = labels.table["exclusive"].to_numpy(bool)
    for name in dict.fromkeys(family[label[exclusive[label]]]):
        classes = np.flatnonzero(family == name)
        chosen = np.flatnonzero(family[label] == name)
        features, line = np.unique(feature[chosen], return_inverse=True)
        counts = (active.matrix(features) @ half.every[:, classes].tocsr()).toarray()
        result[chosen] = (1 - entropy(counts.T) / np.log2(len(classes)))[line]
    return result


def _with_best(features: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """The feature table with each feature's best finding beside it."""
    ordered = findings.sort_values(["feature", "confirmed"], ascending=[True, False], kind="stable")
    best = ordered.drop_duplicates("feature")
    table = features.merge(best, on="feature", how="left", validate="one_to_one")
    table["confirmed"] = table["confirmed"].eq(True)
    return table.assign(**{name: table[name].fillna("").astype(object) for name in ("family", "label")})
