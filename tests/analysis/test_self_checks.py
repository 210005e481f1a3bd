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
