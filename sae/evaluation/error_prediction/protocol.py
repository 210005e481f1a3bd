"""Everything that is measured of one slice: the quick pass and each feature's effect, and where it was named
beforehand the full protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.evaluation.bootstrap import interval
from sae.evaluation.error_prediction.effects import feature_effects
from sae.evaluation.error_prediction.problems import QUESTION_FEATURES, Problems

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csc_matrix

    from sae.evaluation.error_prediction.probes import Features

KS = (1, 2, 5, 10, 20, 50)
#: What each probe is called. `pca` says how many components.
TITLES = {
    "sae": "SAE features, L1",
    "sae_l2": "SAE features, L2",
    **{f"sae_k{k}": f"{k} SAE feature{'s' if k > 1 else ''}, L2" for k in KS},
    "raw": "Raw activations, L2",
    "pca": "Principal components, L2",
    "log_prob": "Log-probability of the answer",
    "question": "Question only",
    "random_sae": "Random SAE, L1",
    "majority": "Majority",
}
#: What the features have to beat.
BASELINES = ("raw", "pca", "log_prob", "question", "random_sae", "majority")


@dataclass(frozen=True)
class Inputs:
    """One slice. Rows follow `problems`.

    Attributes:
        codes: the SAE's feature activations [n, d_sae]. random_codes: those of a random SAE.
        x: activations [n, d_in]. components: their scores on principal axes of the training rows [n, k].
    """

    problems: Problems
    codes: csc_matrix
    x: np.ndarray
    components: np.ndarray
    random_codes: csc_matrix


@dataclass
class Outcome:
    """What was measured: metrics and intervals by name, tables by name, further facts."""

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


Watch = Callable[[float], None]


def quick(
    codes: csc_matrix, problems: Problems, *, draws: int, permutations: int, watch: Watch = lambda share: None
) -> Outcome:
    """One grouped pass of SAE features and the question-only baseline, and each feature's effect.

    Args:
        codes: [n, d_sae]. draws: bootstrap samples. permutations: of the labels, for the effects.

    Returns:
        Metrics `auroc_one_pass`, `auroc_question_one_pass`, `difference_one_pass`; the tables `features` and `draws`
        (bootstrap draws of AUROC: `sae_one_pass`, `question_one_pass`).
    """
    import pandas as pd

    from sae.evaluation.error_prediction.one_pass import one_pass
    from sae.evaluation.error_prediction.probes import DenseL2, SparseL1

    probes: dict[str, Features] = {"sae": SparseL1(codes), "question": DenseL2(problems.question)}
    found = one_pass(probes, problems.wrong, problems.group, draws=draws)
    watch(0.4)
    outcome = Outcome()
    for name, metric in (("sae", "auroc_one_pass"), ("question", "auroc_question_one_pass")):
        outcome.metrics[metric] = found.auroc[name]
        outcome.intervals[metric] = interval(found.draws[name])
    outcome.metrics["difference_one_pass"] = found.auroc["sae"] - found.auroc["question"]
    outcome.intervals["difference_one_pass"] = interval(found.draws["sae"] - found.draws["question"])
    outcome.tables["draws"] = pd.DataFrame(
        {f"{name}_one_pass": found.draws[name].astype(np.float32) for name in probes}
    )
    effects = feature_effects(codes, problems.wrong, problems.group, permutations=permutations)
    watch(1.0)
    outcome.tables["features"] = effects.table
    outcome.notes = {
        "protocol": "quick",
        "split": problems.split,
        "n": len(problems.wrong),
        "n_wrong": int(problems.wrong.sum()),
        "n_groups": problems.n_groups,
        "grouped_by": problems.grouped_by,
        "question_features": list(QUESTION_FEATURES),
        "one_pass_C": found.Cs["sae"],
        "features_tested": effects.n_tested,
        "difference_band": effects.difference_band,
        "auroc_band": effects.auroc_band,
        "permutations": permutations,
        "draws": draws,
    }
    return outcome


def full(
    inputs: Inputs,
    *,
    repeats: int,
    draws: int,
    permutations: int,
    null_permutations: int,
    watch: Watch = lambda share: None,
) -> Outcome:
    """`quick`, and nested cross-validation of all probes and baselines with a null of permuted labels.

    Args:
        repeats: of the outer folds. null_permutations: of the labels, at fixed C.

    Returns:
        Beside quick's: metrics `auroc auprc brier ece accuracy` of the SAE's L1 probe, `auroc_PROBE` and
        `difference_PROBE` (SAE less that probe) of the others, `accuracy_majority`, `null_p`; the tables `probes`,
        `differences`, `calibration`, `null` (permuted AUROCs), `predictions` (mean chance of an error by probe) and
        more columns of `draws`.
    """
    import pandas as pd

    from sae.evaluation.error_prediction import nested
    from sae.evaluation.error_prediction.one_pass import label_permutations

    problems = inputs.problems
    wrong, group = problems.wrong, problems.group
    outcome = quick(
        inputs.codes, problems, draws=draws, permutations=permutations, watch=lambda share: watch(0.05 * share)
    )
    probes = probes_of(inputs)
    found = nested.cross_validate(
        probes, wrong, group, repeats=repeats, watch=lambda done, total: watch(0.05 + 0.65 * done / total)
    )
    table, areas = nested.measured(found, wrong, group, draws=draws)
    watch(0.8)
    table.insert(1, "title", [title_of(name, inputs.components.shape[1]) for name in table["probe"]])
    table.insert(2, "baseline", table["probe"].isin(BASELINES))
    compared = nested.differences(table, areas, "sae")
    C = float(table.set_index("probe")["C"]["sae"])
    null = label_permutations(
        probes["sae"], wrong, group, C, n=null_permutations, watch=lambda done, total: watch(0.8 + 0.2 * done / total)
    )
    outcome.tables |= {
        "probes": table,
        "differences": compared,
        "calibration": nested.calibration_table(found, wrong),
        "null": pd.DataFrame({"auroc": null.permuted}),
        "predictions": pd.DataFrame(
            {"example": problems.examples, "wrong": wrong, "group": group}
            | {name: one.chances.mean(0) for name, one in found.items()}
        ),
    }
    outcome.tables["draws"] = pd.concat([outcome.tables["draws"], areas.astype(np.float32)], axis=1)
    _headline(outcome, table, compared)
    outcome.metrics["null_p"] = null.p
    outcome.notes |= {
        "protocol": "full",
        "repeats": repeats,
        "null": {
            "C": C,
            "observed": null.observed,
            "p": null.p,
            "n": null_permutations,
            "band": list(interval(null.permuted)),
        },
        "components": inputs.components.shape[1],
        "left_out": [] if problems.log_prob is not None else ["log_prob"],
    }
    return outcome


def probes_of(inputs: Inputs) -> dict[str, Features]:
    """The probes and baselines of the full protocol, by name; `log_prob` only where it is known."""
    from sae.evaluation.error_prediction.probes import DenseL2, KSparse, SparseL1

    problems, dense = inputs.problems, inputs.codes.toarray()
    found: dict[str, Features] = {
        "sae": SparseL1(inputs.codes),
        "sae_l2": DenseL2(dense[:, dense.any(0)], max_abs=True),
        **{f"sae_k{k}": KSparse(dense, k) for k in KS if k <= dense.shape[1]},
        "raw": DenseL2(inputs.x.astype(np.float64)),
        "pca": DenseL2(inputs.components),
        "question": DenseL2(problems.question),
        "random_sae": SparseL1(inputs.random_codes),
    }
    if problems.log_prob is not None:
        found["log_prob"] = DenseL2(problems.log_prob[:, None])
    return found


def title_of(probe: str, components: int) -> str:
    """A probe's name for people: `20 principal components, L2`."""
    if probe == "pca":
        return f"{components} principal component{'' if components == 1 else 's'}, L2"
    return TITLES[probe]


def _headline(outcome: Outcome, table: pd.DataFrame, compared: pd.DataFrame) -> None:
    for line in table.to_dict("records"):
        metrics = ("auroc", "auprc", "brier", "accuracy", "ece") if line["probe"] == "sae" else ("auroc",)
        for metric in metrics:
            name = metric if line["probe"] == "sae" else f"{metric}_{line['probe']}"
            outcome.metrics[name] = line[metric]
            if f"{metric}_low" in line:
                outcome.intervals[name] = line[f"{metric}_low"], line[f"{metric}_high"]
        if line["probe"] == "majority":
            outcome.metrics["accuracy_majority"] = line["accuracy"]
    for line in compared.to_dict("records"):
        outcome.metrics[f"difference_{line['against']}"] = line["difference"]
        outcome.intervals[f"difference_{line['against']}"] = line["low"], line["high"]
