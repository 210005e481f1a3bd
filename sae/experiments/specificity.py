"""Specificity: which label each feature goes with, found on one half of the examples and confirmed on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    from sae.common.progress import Progress

SPECIFICITY = Measurement(
    name="specificity",
    title="Specificity",
    question="Which features go with an operation, a number, a step count or a wrong answer?",
    settings={"alpha": 0.05, "least_active": 20, "least_gain": 0.1, "seed": 0},
    meanings={
        "alpha": "false discovery rate, on the half where labels are found and on the half where they are confirmed",
        "least_active": "only features that are active on at least so many examples",
        "least_gain": "how far a label's share where the feature fires goes from its base rate to 1, on each half",
        "seed": "of the split into halves",
    },
    measure="sae.experiments.specificity:measure",
    of_codes=True,
)


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Compare every feature of one run with every label of the examples, of all splits.

    Results: `confirmed` (share of living features with a confirmed label), `median_f1` and `median_precision` (of those
    features' labels on the held-out half), and by family of labels `confirmed_FAMILY`, the number of features whose
    label is one of it.

    Raises:
        UserError: if the examples can't be halved or a setting is out of range.
    """
    from sae.analysis.specificity import of_examples

    found = of_examples(
        case.codes, case.activations.examples, case.slice.rows["example"].to_numpy(), **settings
    )  # fmt: skip
    living = found.features[found.features["n_examples"] > 0]
    lines = living[living["confirmed"]]
    families = found.labels.loc[found.labels["used"], "family"].drop_duplicates()
    counts = lines["family"].value_counts()
    metrics = {
        "confirmed": len(lines) / len(living) if len(living) else float("nan"),
        "median_f1": float(lines["heldout_f1"].median()),
        "median_precision": float(lines["heldout_precision"].median()),
        "features_confirmed": len(lines),
        "features_tested": int(living["tested"].sum()),
        "features_living": len(living),
        **{f"confirmed_{_word(name)}": int(counts.get(name, 0)) for name in families},
    }
    n = found.notes["n_discovery"] + found.notes["n_heldout"]
    progress.update(1, 1, "specificity")
    tables = {"features": found.features, "findings": found.findings, "labels": found.labels}
    return Measured([{"split": "all", "metrics": metrics, "interval": {}, "n": n}], tables, found.notes)


def _word(family: str) -> str:
    """A family as part of a metric's name: `number in the question` is `number_in_the_question`."""
    return "".join(c if c.isalnum() else "_" for c in family.lower().replace("'", ""))
