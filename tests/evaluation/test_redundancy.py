import numpy as np
import pytest
import torch

from sae.evaluation import redundancy as module
from sae.evaluation.reconstruction import Codes
from sae.evaluation.redundancy import redundancy


def codes_of(dense: np.ndarray) -> Codes:
    rows, features = np.nonzero(dense)
    indptr = np.concatenate([[0], np.bincount(rows, minlength=len(dense)).cumsum()])
    return Codes(indptr, features.astype(np.int32), dense[rows, features].astype(np.float32))


@pytest.mark.parametrize("dense_from", [0.0, 1.0])
@pytest.mark.parametrize("entries", [16_000_000, 20])
def test_correlation_and_cosine_are_those_of_dense_arrays(monkeypatch, entries, dense_from):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", entries)
    monkeypatch.setattr(module, "_DENSE", dense_from)
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((60, 9)) < 0.4, rng.random((60, 9)), 0).astype(np.float32)
    dense[:, 3] = 0  # dead
    dense[:, 4] = 2 * dense[:, 5]  # the same feature twice
    rows = np.arange(10, 60)
    W_dec = rng.normal(size=(9, 5)).astype(np.float32)
    found = redundancy(codes_of(dense), rows, torch.from_numpy(W_dec))
    living = [j for j in range(9) if j != 3]
    r = np.abs(np.corrcoef(dense[rows][:, living].T.astype(float)))
    assert found["mean_abs_correlation"] == pytest.approx((r.sum() - len(living)) / (len(living) * (len(living) - 1)))
    unit = W_dec[living] / np.linalg.norm(W_dec[living], axis=1, keepdims=True)
    cosine = unit @ unit.T - 3 * np.eye(len(living))
    assert found["max_decoder_cosine_mean"] == pytest.approx(cosine.max(1).mean(), abs=1e-6)


def test_what_never_varies_has_no_correlation():
    found = redundancy(codes_of(np.ones((5, 3), np.float32)), np.arange(5), torch.eye(3))
    assert np.isnan(found["mean_abs_correlation"]) and found["max_decoder_cosine_mean"] == 0
    found = redundancy(codes_of(np.zeros((5, 3), np.float32)), np.arange(5), torch.eye(3))
    assert np.isnan(found["mean_abs_correlation"]) and np.isnan(found["max_decoder_cosine_mean"])


def test_more_rows_than_are_needed_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 50)
    rng = np.random.default_rng(1)
    dense = np.where(rng.random((500, 4)) < 0.5, 1.0, 0.0).astype(np.float32)
    kept = np.linspace(0, 499, 50).astype(int)
    found = redundancy(codes_of(dense), np.arange(500), torch.eye(4))
    r = np.abs(np.corrcoef(dense[kept].T.astype(float)))
    assert found["mean_abs_correlation"] == pytest.approx((r.sum() - 4) / 12)
