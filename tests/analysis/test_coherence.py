"""Coherence against a loop over all pairs."""

import numpy as np
import pytest

from sae.analysis import coherence as module
from sae.analysis.codes import FeatureActivations
from sae.analysis.coherence import coherence
from sae.common.errors import UserError


def by_pairs(x, rows, group):
    """Mean cosine over pairs, and over pairs of different groups."""
    norms = np.linalg.norm(x, axis=1)
    every, between = [], []
    for place, i in enumerate(rows):
        for j in rows[place + 1 :]:
            cosine = x[i] @ x[j] / (norms[i] * norms[j]) if norms[i] * norms[j] else 0.0
            every.append(cosine)
            between += [cosine] if group[i] != group[j] else []
    return (np.mean(part) if part else np.nan for part in (every, between))


@pytest.mark.parametrize(("block", "groups"), [(60, 15), (16_000_000, 15), (60, 1), (60, 20)])
def test_against_all_pairs(monkeypatch, block, groups):
    monkeypatch.setattr(module, "_BLOCK_VALUES", block)  # also in blocks of a few features
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5)).astype(np.float32) + 0.3
    x[7] = 0
    group = np.arange(40) // 2 if groups == 20 else rng.integers(0, groups, 40)
    on = (rng.random((40, 9)) < 0.25).astype(np.float32)
    on[:, 2], on[:, 3], on[:, 4] = 0, 1, 0
    on[11, 4] = 1
    found = coherence(FeatureActivations.from_dense(on), x, group)
    whole = list(by_pairs(x, np.arange(40), group))
    for j, line in enumerate(found.itertuples()):
        every, between = by_pairs(x, np.flatnonzero(on[:, j]), group)
        assert line.n_rows == on[:, j].sum()
        assert [line.cosine, line.cosine_between] == pytest.approx([every, between], abs=1e-6, nan_ok=True)
        expected = [every - whole[0], between - whole[1]]
        assert [line.coherence, line.coherence_between] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert np.isnan(found["coherence"][[2, 4]]).all() and found["coherence"][3] == pytest.approx(0, abs=1e-6)


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="3 rows don't fit"):
        coherence(FeatureActivations.from_dense(np.ones((4, 2), np.float32)), np.ones((3, 2)))
