"""Each check holds where it should and fails on what it is there to find."""

import numpy as np

from sae.analysis import self_checks as checks
from sae.analysis.codes import FeatureActivations

CODES = FeatureActivations.from_rows(
    np.array([0, 2, 3]), np.array([0, 2, 1], np.int32), np.array([1.0, 2.0, 3.0], np.float32), 4
)


def test_l0():
    assert checks.l0_is_k(CODES, 2).holds and "exactly K on 50.0 %" in checks.l0_is_k(CODES, 2).found
    assert checks.l0_is_k(CODES, 1).holds is False
    assert checks.l0_is_k(CODES, None).holds is None


def test_unit_decoder():
    W = np.eye(3, dtype=np.float32)
    assert checks.unit_decoder(W, True).holds
    assert checks.unit_decoder(W * 1.01, True).holds is False
    assert checks.unit_decoder(W * 1.01, False).holds is None


def test_finite():
    assert checks.finite({"a": np.ones(3)}).holds
    broken = checks.finite({"a": np.array([1, np.nan, np.inf]), "b": np.ones(2)})
    assert broken.holds is False and broken.found == "2 in a"


def test_splits():
    split = np.array(["train", "train", "validation", "test"])
    assert checks.splits_apart(split, np.array([0, 0, 1, 2])).holds
    mixed = checks.splits_apart(split, np.array([0, 1, 1, 2]))
    assert mixed.holds is False and mixed.found == "1 of 3"
    assert checks.questions_apart(0).holds and checks.questions_apart(2).holds is False
    assert checks.questions_apart(None).holds is None


def test_files_and_metrics():
    assert checks.unchanged({"a": "1"}, {"a": "1"}).holds
    assert checks.unchanged({"a": "1", "b": "2"}, {"a": "9"}).found == "a, b"
    assert checks.agrees(1.5, 1.5).holds and checks.agrees(1.5, 1.6).holds is False


def test_explained_variance_again_and_of_the_mean():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(5000, 4)) * [1, 2, 3, 4] + [50, 60, 70, 80]).astype(np.float32)
    guess = x + rng.normal(size=x.shape).astype(np.float32)
    mean = x.astype(np.float64).mean(0)
    by_sums = 1 - float(((x - guess).astype(np.float64) ** 2).sum()) / float(x.astype(np.float64).var(0).sum() * 5000)
    assert checks.ev_again(by_sums, x, guess, mean).holds
    assert checks.ev_again(by_sums + 0.01, x, guess, mean).holds is False
    assert checks.mean_predictor(x, mean).holds
    assert checks.mean_predictor(x, np.zeros(4)).holds is False
    assert checks.mean_predictor(x, np.full(4, mean.mean())).holds is False


def test_directions_and_examples_that_come_twice():
    assert checks.directions_apart(np.array([0.5, -0.999])).holds
    assert checks.directions_apart(np.array([0.5, 0.995, 0.995])).found.startswith("2 of 3")
    assert checks.examples_once(1, 100).holds and checks.examples_once(2, 100).holds is False
    assert checks.examples_once(None, 100).holds is None
