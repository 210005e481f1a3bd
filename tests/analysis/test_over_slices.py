"""An SAE's features on other slices, against dense arithmetic row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae.analysis.over_slices import over_slices
from sae.common.errors import UserError
from sae.models.topk import TopK


@pytest.fixture
def model() -> TopK:
    torch.manual_seed(0)
    made = TopK(6, 20, 3, selection="magnitude")
    with torch.no_grad():
        for weight in (made.W_enc, made.b_enc, made.W_dec, made.b_dec):
            weight.copy_(torch.randn_like(weight))
    return made


def test_counts_means_correlation_and_explained_variance(model: TopK) -> None:
    rng = np.random.default_rng(1)
    home = rng.standard_normal((40, 6)).astype(np.float32)
    other = (home + 0.5 * rng.standard_normal((40, 6))).astype(np.float16)
    found = over_slices(model, home, [((0, 2), home), ((1, 2), other)])
    assert found.places == ((0, 2), (1, 2)) and found.n == 40
    with torch.no_grad():
        dense = [model.encode(torch.from_numpy(x.astype(np.float32))).numpy().astype(float) for x in (home, other)]
        guess = model(torch.from_numpy(other.astype(np.float32))).numpy().astype(float)
    exact = other.astype(float)
    expected_ev = 1 - np.square(exact - guess).sum() / np.square(exact - exact.mean(0)).sum()
    assert found.ev[1] == pytest.approx(expected_ev)
    for feature in range(20):
        table = found.feature(feature)
        for place, values in enumerate(dense):
            column = values[:, feature]
            line = table.iloc[place]
            assert line["n_active"] == (column != 0).sum() and line["active"] == (column != 0).mean()
            if (column != 0).any():
                assert line["mean_activation"] == pytest.approx(np.abs(column[column != 0]).mean())
            else:
                assert np.isnan(line["mean_activation"])
            if column.std() > 0 and dense[0][:, feature].std() > 0:
                expected = np.corrcoef(dense[0][:, feature], column)[0, 1]
                assert line["correlation"] == pytest.approx(expected, abs=1e-9)
            else:
                assert np.isnan(line["correlation"])


def test_a_slice_that_does_not_vary_has_no_explained_variance(model: TopK) -> None:
    home = np.random.default_rng(2).standard_normal((10, 6)).astype(np.float32)
    found = over_slices(model, home, [((0, 0), np.ones((10, 6), np.float32))])
    assert np.isnan(found.ev[0])
    assert np.isnan(found.correlation).all()
    assert set(np.unique(found.n_active)) <= {0, 10}


def test_what_does_not_fit_is_refused(model: TopK) -> None:
    home = np.zeros((10, 6), np.float32)
    with pytest.raises(UserError, match=r"\(3, 6\)"):
        over_slices(model, home, [((0, 0), np.zeros((3, 6), np.float32))])
    with pytest.raises(UserError, match="no slice"):
        over_slices(model, home, [])
    with pytest.raises(UserError, match="features 0 to 19"):
        over_slices(model, home, [((0, 0), home)]).feature(20)
