import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from sae.analysis import features as module
from sae.analysis.codes import FeatureActivations
from sae.analysis.features import feature_table, nearest_decoder
from sae.common.errors import UserError
from tests.analysis.synthetic import planted


def test_the_table_against_dense_arithmetic():
    x, codes = planted()
    rng = np.random.default_rng(1)
    example = rng.integers(0, 40, len(x))  # rows in no order of examples
    split = rng.choice(["train", "validation", "test"], len(x))
    W_dec = rng.normal(size=(30, 12)).astype(np.float32)
    W_enc = rng.normal(size=(12, 30)).astype(np.float32)
    table = feature_table(codes, split=split, example=example, W_dec=W_dec, W_enc=W_enc)
    active = x != 0
    assert table["feature"].tolist() == list(range(30))
    np.testing.assert_array_equal(table["n_active"], active.sum(0))
    np.testing.assert_allclose(table["density"], active.mean(0))
    np.testing.assert_array_equal(table["n_active_train"], active[split == "train"].sum(0))
    np.testing.assert_array_equal(table["n_active_validation"], active[split == "validation"].sum(0))
    assert table["dead"].tolist() == (~active.any(0)).tolist() and table["dead"].sum() == 1
    np.testing.assert_array_equal(table["dead_train"], ~active[split == "train"].any(0))
    for j in range(30):
        values = x[active[:, j], j].astype(float)
        assert table["n_examples"][j] == len(set(example[active[:, j]]))
        if not len(values):
            assert table.loc[j, ["mean_activation", "max_activation", "mean_signed"]].isna().all()
            assert table["top_row"][j] == -1
            continue
        assert table["mean_activation"][j] == pytest.approx(np.abs(values).mean(), rel=1e-6)
        assert table["mean_signed"][j] == pytest.approx(values.mean(), rel=1e-5)
        assert table["max_activation"][j] == pytest.approx(np.abs(values).max())
        assert table["top_row"][j] == np.abs(x[:, j]).argmax()
    np.testing.assert_allclose(table["decoder_norm"], np.linalg.norm(W_dec, axis=1), rtol=1e-6)
    own = [cosine_similarity(W_dec[[j]], W_enc[:, [j]].T)[0, 0] for j in range(30)]
    np.testing.assert_allclose(table["encoder_decoder_cosine"], own, atol=1e-6)


@pytest.mark.parametrize("entries", [4_000_000, 70])
def test_nearest_living_decoder(monkeypatch, entries):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
    rng = np.random.default_rng(2)
    W_dec = rng.normal(size=(25, 6)).astype(np.float32)
    W_dec[3] = -2 * W_dec[8]  # opposite: |cosine| 1
    alive = rng.random(25) < 0.7
    alive[[3, 8]] = True
    cosines = cosine_similarity(W_dec)
    np.fill_diagonal(cosines, 0)
    cosines[:, ~alive] = 0
    nearest, cosine = nearest_decoder(W_dec, alive)
    expected = np.abs(cosines).argmax(1)
    np.testing.assert_array_equal(nearest, expected)
    np.testing.assert_allclose(cosine, cosines[np.arange(25), expected], atol=1e-6)
    assert nearest[3] == 8 and cosine[3] == pytest.approx(-1)


def test_nothing_to_be_near_to():
    W_dec = np.eye(3, dtype=np.float32)
    W_dec[2] = 0
    nearest, cosine = nearest_decoder(W_dec, np.array([True, False, True]))
    assert nearest.tolist() == [-1, 0, -1]  # 0 has no other living direction, 2 has no direction
    assert np.isnan(cosine[[0, 2]]).all() and cosine[1] == 0
    assert nearest_decoder(W_dec, np.zeros(3, bool))[0].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("shape", [(0, 4), (6, 4), (6, 1)])
def test_all_dead(shape):
    table = feature_table(FeatureActivations.from_dense(np.zeros(shape, np.float32)), W_dec=np.ones((shape[1], 3)))
    assert len(table) == shape[1] and table["dead"].all() and (table["density"] == 0).all()
    assert (table["nearest_feature"] == -1).all()


def test_all_rows_one_example():
    x, codes = planted()
    table = feature_table(codes, example=np.zeros(len(x), int))
    assert set(table["n_examples"]) == {0, 1}
    assert table["decoder_norm"].isna().all() and (table["nearest_feature"] == -1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": ["train"]},
        {"example": np.zeros(3)},
        {"W_dec": np.ones((3, 2))},
        {"W_enc": np.ones((3, 2))},
        {"W_dec": np.ones((30, 2)), "W_enc": np.ones((3, 30))},
    ],
)
def test_shapes_that_do_not_fit(wrong):
    with pytest.raises(UserError, match="W_|split|example"):
        feature_table(planted()[1], **wrong)
