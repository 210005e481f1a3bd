"""Error prediction: whether features tell beforehand that an answer will be wrong, against what they have to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    from sae.common.progress import Progress

ERROR_PREDICTION = Measurement(
    name="error-prediction",
    title="Error prediction",
    question="Do features tell beforehand that an answer will be wrong, and better than simpler predictors?",
    settings={"full": "all", "repeats": 5, "draws": 2000, "permutations": 1000, "null_permutations": 200},
    meanings={
        "full": "which runs get the full nested protocol: all, none, or factors such as layer=2,position=3,k=20; the "
        "others get one grouped pass",
        "repeats": "of the 5 outer folds",
        "draws": "bootstrap samples of problems, for intervals",
        "permutations": "of the labels, for the effects of single features",
        "null_permutations": "of the labels, for the AUROC that chance reaches",
    },
    measure="sae.experiments.error_prediction:measure",
)


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Predict the wrong answers of one run's test problems (`sae.evaluation.error_prediction.protocol`).

    Raises:
        UserError: if the activations don't say which answers were right, too few are wrong or right, or a setting
            can't be read.
    """
    from sae.evaluation.error_prediction import protocol
    from sae.evaluation.error_prediction.baselines import principal_components, random_sae_features
    from sae.evaluation.error_prediction.problems import predicted_problems

    for name in ("repeats", "draws", "permutations", "null_permutations"):
        if settings[name] < 1:
            raise UserError(f"{name} {settings[name]} must be at least 1")
    place = {"layer": case.slice.layer, "position": case.slice.position, **case.factors}
    whole = wants_full(settings["full"], place)
    problems = predicted_problems(case.slice.rows, case.activations.examples)
    codes = case.codes.csr()[problems.rows].tocsc()
    sizes = {"draws": settings["draws"], "permutations": settings["permutations"]}

    def watch(share: float) -> None:
        progress.update(share, 1, "error prediction")

    if not whole:
        found = protocol.quick(codes, problems, **sizes, watch=watch)
    else:
        train = case.slice.x[case.slice.train_rows]
        x = np.asarray(case.slice.x[problems.rows])
        l0 = case.codes.nnz / max(case.codes.n_rows, 1)
        k = min(getattr(case.model, "k", None) or max(1, round(l0)), x.shape[1])
        found = protocol.full(
            protocol.Inputs(
                problems=problems,
                codes=codes,
                x=x,
                components=principal_components(train, x, k),
                random_codes=random_sae_features(case.model, train, x, l0),
            ),
            repeats=settings["repeats"],
            null_permutations=settings["null_permutations"],
            **sizes,
            watch=watch,
        )
    found.notes |= {"layer": case.slice.layer, "position": case.slice.position}
    result = {
        "split": problems.split,
        "metrics": found.metrics,
        "interval": found.intervals,
        "n": len(problems.wrong),
    }
    return Measured([result], found.tables, found.notes)


def wants_full(setting: str, place: dict[str, Any]) -> bool:
    """Whether the run at `place` (its factors, layer and position) is among those that `full` names.

    Raises:
        UserError: for a setting that is neither `all`, `none` nor NAME=VALUE,... of factors that the run has.
    """
    text = setting.strip()
    if text in ("all", "none"):
        return text == "all"
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in place:
            raise UserError(
                f"full {setting!r} can't be read: write all, none, or factors such as layer=2,position=3 (here: "
                f"{', '.join(place)})"
            )
        if str(place[name]) != value:
            return False
    return True
