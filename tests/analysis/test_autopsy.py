"""The autopsy of dead features against plain loops, and the steps of training against a count."""

import numpy as np
import pandas as pd
import pytest

from sae.analysis.autopsy import Schedule, autopsy, fates
from sae.common.errors import UserError


@pytest.mark.parametrize(("rows", "batch"), [(10, 4), (12, 4), (5, 8)])
def test_steps_are_counted_as_training_counts_them(rows, batch):
    seen, step = 0, 0
    for _ in range(3):
        left = rows
        while left:
            seen, left, step = seen + min(batch, left), left - min(batch, left), step + 1
            assert Schedule(rows, batch).step_of(np.array([seen]))[0] == step


def case(signed=True):
    rng = np.random.default_rng(0)
    n, d_in, d_sae = 70, 5, 6
    x = rng.normal(size=(n, d_in)).astype(np.float32) + 20
    W_enc, b_enc, b_dec = (rng.normal(size=s).astype(np.float32) for s in ((d_in, d_sae), d_sae, d_in))
    W_enc[:, 5] = 0
    b_enc[5] = -1.0
    features = pd.DataFrame(
        {
            "feature": range(d_sae),
            "n_active": [0, 40, 2, 0, 9, 0],
            "nearest_feature": [1, 4, 1, 4, 1, 1],
            "max_decoder_cosine": [0.5, 0.2, 0.9, -0.3, 0.2, 0.0],
            "last_fired_row": [0, 100, 100, 37, 90, 0],
        }
    )
    return features, x, W_enc, b_enc, rng.uniform(1, 3, n), b_dec


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("subtract", [True, False])
def test_nearness_in_deviations_against_a_loop(signed, subtract):
    features, x, W_enc, b_enc, needed, b_dec = case()
    b_dec = b_dec if subtract else None
    found = autopsy(features, x, W_enc, b_enc, needed, b_dec=b_dec, signed=signed, schedule=Schedule(50, 8))
    assert found["feature"].tolist() == [0, 2, 3, 5]
    assert found["fate"].tolist() == ["born dead", "nearly dead", "died", "born dead"]
    assert found["last_step"].tolist()[1:3] == [14, 5] and np.isnan(found["last_step"][0])
    assert fates(found) == {"born dead": 2, "died": 1, "nearly dead": 1}
    for line in found[found["feature"] != 5].itertuples():
        seen = x.astype(float) - (0 if b_dec is None else b_dec)
        pre = seen @ W_enc[:, line.feature] + b_enc[line.feature]
        short = needed - (pre if signed else np.abs(pre))
        assert line.near_row == short.argmin()
        assert line.short == pytest.approx(short.min() / pre.std(), rel=1e-3)
        assert line.positive == pytest.approx((pre > 0).mean())
    assert found["short"].iloc[3] == np.inf or not signed  # never varies, and is below what is needed
    assert found["max_decoder_cosine"].tolist() == [0.5, 0.9, -0.3, 0.0]


def test_a_bar_of_each_feature():
    features, x, W_enc, b_enc, needed, _ = case()
    each = np.tile(needed[:, None], (1, 6)) + np.arange(6)
    found = autopsy(features, x, W_enc, b_enc, each)
    for line in found[found["feature"] != 5].itertuples():
        pre = x.astype(float) @ W_enc[:, line.feature] + b_enc[line.feature]
        assert line.short == pytest.approx((needed + line.feature - pre).min() / pre.std(), rel=1e-3)
    assert set(found["fate"]) == {"dead", "nearly dead"} and found["last_step"].isna().all()


def test_nothing_dead_and_shapes_that_do_not_fit():
    features, x, W_enc, b_enc, needed, _ = case()
    assert not len(autopsy(features.assign(n_active=50), x, W_enc, b_enc, needed))
    with pytest.raises(UserError, match="don't belong together"):
        autopsy(features, x[:, :3], W_enc, b_enc, needed)
