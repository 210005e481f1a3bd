"""Patching: thoughts are replaced by their reconstructions, features are switched off, and the model thinks on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from sae.common.progress import Progress
    from sae.evaluation.patching import CleanBatch, Effect, Site
    from sae.language_models.codi.model import Codi

PATCHING = Measurement(
    name="patching",
    title="Patching",
    question="Does the model still answer as it did when a thought is replaced by its reconstruction?",
    settings={"problems": 500, "features": 50, "min_active": 20, "resamples": 1000, "seed": 0},
    meanings={
        "problems": "at most so many problems of the split, drawn with the seed; 0 takes all",
        "features": "how many features are switched off one by one, the most frequent first; 0 for none",
        "min_active": "only features that are active on at least so many of the problems",
        "resamples": "of the bootstrap over problems",
        "seed": "of the problems drawn, the random directions and the bootstrap",
    },
    measure="sae.experiments.patching:measure",
)

#: What takes the state's place. The first is what is measured; it has to be read beside the others.
CONDITIONS = {
    "sae": "the SAE's reconstruction",
    "pca": "reconstruction from as many principal components as the SAE has active features",
    "random": "an error as long as the SAE's, in a random direction",
    "mean": "the mean of the train rows",
    "zero": "zeros",
}
#: A state that is thought anew may differ from the stored one by so much of its length (it may be stored as float16).
TOLERANCE = 0.01


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Patch one run's slice on the problems of its test split, or of its validation split where it has no test.

    Raises:
        UserError: if the activations are not thoughts, their problems or answers are not known, or the model does not
            think what was stored.
    """
    import torch

    from sae.evaluation import patching
    from sae.evaluation import patching_tables as tables

    split, rows = held_out(case, settings)
    codi = case.language_model()
    site = site_of(case, codi)
    examples = case.activations.examples.iloc[case.slice.rows["example"].to_numpy()[rows]]
    for column in ("question", "final_answer"):
        if column not in examples:
            raise UserError(f"{case.activations.name!r} does not say the {column} of its problems: capture them again")
    ids = codi.encode(list(examples["question"]))
    wanted = examples["final_answer"].to_numpy(np.float64)
    stored = case.slice.x[rows].astype(np.float32)
    replacing = _Replacing(case, settings["seed"])
    chosen = _features(case, rows, settings)
    clean = np.empty(len(rows))
    effects = {name: _empty(len(rows)) for name in CONDITIONS}
    off: dict[int, list[tuple[np.ndarray, Effect]]] = {int(feature): [] for feature in chosen}
    furthest = done = 0.0
    with torch.inference_mode():
        for places, batch in patching.clean_batches(codi, ids, site):
            furthest = max(furthest, difference_from_stored(case, stored[places], batch.state))
            clean[places] = batch.numbers
            for name, state in replacing.states(batch.state, int(done)).items():
                numbers, kl = batch.patched(state)
                effects[name].numbers[places], effects[name].kl[places] = numbers, kl
            _switch_off(case, batch, places, off)
            done += len(places)
            progress.update(done, len(rows), "patching")
    drawing = {"resamples": settings["resamples"], "seed": settings["seed"]}
    conditions, compared = tables.condition_table(effects, wanted, clean, **drawing)
    conditions.insert(1, "means", [CONDITIONS[name] for name in conditions["condition"]])
    found = {
        "conditions": conditions,
        "problems": _problems(examples, wanted, clean, effects),
        "features": tables.feature_table(off, wanted, clean, **drawing),
    }
    notes = {
        "layer": case.slice.layer,
        "step": site.step,
        "split": split,
        "after_final_norm": site.layer == codi.n_layers,
        "is_read": site.is_read(codi),
        "components": replacing.components,
        "largest_difference_from_stored": furthest,
        "frequent_features": len(_features(case, rows, {**settings, "features": case.codes.d_sae})),
        "model": {name: codi.source.get(name) for name in ("name", "kind", "title", "sha256")},
        "settings": settings,
    }
    return Measured([{"split": split, "n": len(rows), **_metrics(conditions, compared)}], found, notes)


def held_out(case: Case, settings: dict[str, Any]) -> tuple[str, np.ndarray]:
    """The split and the rows of the slice that are patched: test rows, or validation rows where there is no test.

    Raises:
        UserError: if the activations are not thoughts, or there are fewer than two such rows.
    """
    if not case.activations.is_thoughts:
        raise UserError(
            f"{case.activations.name!r} are not continuous thoughts, and nothing can be thought on from them: patching "
            "needs activations captured with --positions thoughts"
        )
    split = "test" if len(case.slice.test_rows) else "validation"
    rows = case.slice.test_rows if split == "test" else case.slice.validation_rows
    if len(rows) < 2:
        raise UserError(f"{case.slice.title} of {case.activations.name!r} has fewer than two {split} rows to patch")
    most = settings["problems"]
    if 0 < most < len(rows):
        rows = np.sort(np.random.default_rng(settings["seed"]).choice(rows, most, replace=False))
    return split, rows


def site_of(case: Case, codi: Codi) -> Site:
    """Where the rows of the slice were taken: the last block's may be from behind the final norm.

    Raises:
        UserError: if the slice names no layer and step, or the model has no such state.
    """
    from sae.evaluation.patching import Site

    layer, step = case.slice.layer, case.slice.position
    if layer is None or step is None:
        raise UserError(f"{case.slice.title} of {case.activations.name!r} names no layer and step: it can't be patched")
    taken = case.activations.manifest.get("spec", {}).get("final_norm", "before")
    after = taken == "after" and layer == codi.n_layers - 1
    site = Site(codi.n_layers if after else layer, step)
    site.check(codi)
    return site


def difference_from_stored(case: Case, stored: np.ndarray, state: Tensor) -> float:
    """The largest distance of a state from the stored one, as a share of its length; both [n, d_model].

    Raises:
        UserError: if it is more than `TOLERANCE`: they come from another model.
    """
    found = state.float().cpu().numpy()
    apart = float((np.linalg.norm(found - stored, axis=1) / np.linalg.norm(stored, axis=1).clip(1e-12)).max())
    if not apart <= TOLERANCE:
        raise UserError(
            f"the model's states at {case.slice.title} differ from those stored in {case.activations.name!r} by up to "
            f"{apart:.1%}: they come from another model or other weights; capture them again"
        )
    return apart


class _Replacing:
    """What takes the place of states, under each condition."""

    def __init__(self, case: Case, seed: int) -> None:
        from sae.common.row_reader import RowBlocks, sample
        from sae.evaluation.baselines import PCA, PCA_ROWS

        rows = RowBlocks(case.slice.x, sample(case.slice.train_rows, PCA_ROWS), case.device)
        pca = PCA(rows)
        k = getattr(case.model, "k", None) or max(1, round(case.codes.nnz / case.codes.n_rows))
        self.components = min(int(k), rows.shape[1])
        self._mean = pca.mean.float().to(case.device)
        self._principal = pca.components[:, : self.components].float().to(case.device)
        self._model, self._seed = case.model, seed

    def states(self, state: Tensor, start: int) -> dict[str, Tensor]:
        """[n, d_model] for each condition; `start`: how many problems came before, for the random directions."""
        from sae.evaluation.patching import random_error

        h = state.float()
        reconstruction = self._model(h)
        centred = h - self._mean
        found = {
            "sae": reconstruction,
            "pca": self._mean + centred @ self._principal @ self._principal.T,
            "random": random_error(h, reconstruction, self._seed * 1_000_003 + start),
            "mean": self._mean.expand_as(h),
            "zero": h.new_zeros(h.shape),
        }
        return {name: found[name] for name in CONDITIONS}


def _features(case: Case, rows: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Features active on enough of the rows, the most frequent first."""
    active = case.codes.csr()[rows].getnnz(axis=0)
    order = np.lexsort((np.arange(len(active)), -active))
    return order[active[order] >= max(1, settings["min_active"])][: settings["features"]]


def _switch_off(
    case: Case, batch: CleanBatch, places: np.ndarray, off: dict[int, list[tuple[np.ndarray, Effect]]]
) -> None:
    """Take each feature out of the states in which it is active, all of them in one go: h - f_j d_j."""
    import torch

    from sae.evaluation.patching import Effect

    if not off:
        return
    h = batch.state.float()
    features = torch.tensor(list(off), device=h.device)
    strength = case.model.encode(h)[:, features].T  # [features, problems]
    which, rows = strength.nonzero(as_tuple=True)
    if not len(rows):
        return
    states = h[rows] - strength[which, rows].unsqueeze(1) * case.model.W_dec[features[which]]
    effect = batch.patched(states, rows)
    which_of, row_of = which.cpu().numpy(), rows.cpu().numpy()
    for number, feature in enumerate(off):
        here = which_of == number
        if here.any():
            off[feature].append((places[row_of[here]], Effect(effect.numbers[here], effect.kl[here])))


def _metrics(conditions: pd.DataFrame, compared: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """Metrics and intervals: the SAE's under plain names, the controls' with the control behind: `flipped_mean`."""
    metrics = {name: value for name, (value, _, _) in compared.items()}
    intervals = {name: (low, high) for name, (_, low, high) in compared.items()}
    for line in conditions.to_dict("records"):
        for measure in ("accuracy", "accuracy_change", "flipped", "right_to_wrong", "wrong_to_right", "kl"):
            plain = "accuracy_patched" if measure == "accuracy" else measure
            name = plain if line["condition"] == "sae" else f"{measure}_{line['condition']}"
            metrics[name], intervals[name] = line[measure], (line[f"{measure}_low"], line[f"{measure}_high"])
    return {"metrics": metrics, "interval": intervals}


def _problems(
    examples: pd.DataFrame, wanted: np.ndarray, clean: np.ndarray, effects: dict[str, Effect]
) -> pd.DataFrame:
    """One line a problem: the right answer, the clean one, and the answer and KL under each condition."""
    import pandas as pd

    columns: dict[str, Any] = {"example": examples.index.to_numpy(), "final_answer": wanted, "clean": clean}
    for name, effect in effects.items():
        columns |= {f"answer_{name}": effect.numbers, f"kl_{name}": effect.kl}
    return pd.DataFrame(columns)


def _empty(n: int) -> Effect:
    from sae.evaluation.patching import Effect

    return Effect(np.full(n, np.nan), np.full(n, np.nan))
