"""The labels of one half of the examples: what features are counted and measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from sae.analysis.active_examples import ActiveExamples
from sae.analysis.contingency import entropy
from sae.analysis.label_columns import Labels

COUNTS = ("n_both", "n", "n_active", "n_with")


class LabelHalf:
    """Attributes: `name`, of the half. Labels are numbered as among those that are used, unless it says otherwise."""

    def __init__(self, name: str, half: np.ndarray, labels: Labels) -> None:
        self.name = name
        used = np.flatnonzero(labels.table["used"].to_numpy(bool))
        self._family = labels.table["family"].to_numpy(object)
        self._exclusive = labels.table["exclusive"].to_numpy(bool)
        self._known = labels.masks & half
        self._mask_of = labels.mask_of[used]
        self._every = labels.having.tocsr().multiply(half[:, None].astype(np.int32)).tocsc()
        self._having = self._every[:, used].tocsr()
        self.n = self._known.sum(axis=1).astype(np.int64)[self._mask_of]
        self.n_with = np.asarray(self._having.sum(axis=0), np.int64).reshape(-1)

    def counts(self, active: ActiveExamples, features: np.ndarray) -> dict[str, np.ndarray]:
        """int64 [features, labels] each: n_both, n (examples whose label is known), n_active (of them), n_with."""
        on = active.matrix(features)
        both = (on @ self._having).toarray().astype(np.int64)
        n_active = (on @ self._known.T.astype(np.int64))[:, self._mask_of]
        n, n_with = np.broadcast_to(self.n, both.shape), np.broadcast_to(self.n_with, both.shape)
        return {"n_both": both, "n": n, "n_active": n_active.astype(np.int64), "n_with": n_with}

    def of_values(
        self, active: ActiveExamples, feature: np.ndarray, label: np.ndarray, counts: list[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """AUROC (Mann and Whitney's U over all pairs, ties counting half) and Cohen's d of the values of the examples
        with the label against those without, silent ones 0, for pairs (feature, label) with their `COUNTS`."""
        _, n, _, n_with = (part.astype(np.float64) for part in counts)
        auroc, cohen = np.full(len(feature), np.nan), np.full(len(feature), np.nan)
        features, line = np.unique(feature, return_inverse=True)
        for number, known in enumerate(self._known):
            chosen = np.flatnonzero(self._mask_of[label] == number)
            if not len(chosen):
                continue
            ranks, silent = active.ranks(features, known)
            values = active.matrix(features, values=True)
            at = line[chosen], label[chosen]
            n_c, n_k = n_with[chosen], n[chosen]

            def summed(matrix: Any, at: tuple[np.ndarray, np.ndarray] = at) -> np.ndarray:
                return (matrix @ self._having).toarray()[at]

            with np.errstate(invalid="ignore", divide="ignore"):
                rank_sum = summed(ranks) + n_c * silent[line[chosen]]
                auroc[chosen] = (rank_sum - n_c * (n_c + 1) / 2) / (n_c * (n_k - n_c))
                squares = values.multiply(values).tocsr()
                with_sum, with_squares = summed(values), summed(squares)
                all_sum, all_squares = ((part @ known.astype(np.float64))[line[chosen]] for part in (values, squares))
                spread = with_squares - with_sum**2 / n_c
                spread = spread + (all_squares - with_squares) - (all_sum - with_sum) ** 2 / (n_k - n_c)
                # what rounding leaves of values that are all alike is no spread
                pooled = np.sqrt(np.where(spread > 1e-12 * all_squares, spread, np.nan) / (n_k - 2))
                cohen[chosen] = (with_sum / n_c - (all_sum - with_sum) / (n_k - n_c)) / pooled
        return {"auroc": auroc, "cohen_d": cohen}

    def of_classes(self, active: ActiveExamples, feature: np.ndarray, label: np.ndarray) -> np.ndarray:
        """1 - H(p(class | active)) / log C, for pairs (feature, label) whose label is one of an exclusive family's C;
        else NaN. Labels are numbered as among all."""
        result = np.full(len(feature), np.nan)
        family, exclusive = self._family, self._exclusive
        for name in dict.fromkeys(family[label[exclusive[label]]]):
            classes = np.flatnonzero(family == name)
            chosen = np.flatnonzero(family[label] == name)
            features, line = np.unique(feature[chosen], return_inverse=True)
            counts = (active.matrix(features) @ self._every[:, classes].tocsr()).toarray()
            result[chosen] = (1 - entropy(counts.T) / np.log2(len(classes)))[line]
        return result
