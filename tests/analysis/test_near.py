"""Strongest rows of all features, and how near the silent ones came, against plain loops and a dense TopK."""

from __future__ import annotations

import numpy as np
import pytest

from sae.analysis.codes import FeatureActivations
from sae.analysis.near import nearness, pre_activation, weakest_selected
from sae.analysis.top_rows import top_rows
from sae.common.errors import UserError


def dense_codes(seed: int = 0, n: int = 60, d: int = 12, share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(n, d)), 1)
    return np.where(rng.random((n, d)) < share, values, 0.0).astype(np.float32)


@pytest.mark.parametrize("by_example", [False, True])
def test_top_rows_are_those_of_a_plain_sort(by_example: bool) -> None:
    dense = dense_codes()
    dense[:, 3] = 0
    dense[:, 5] = 0
    dense[7, 5] = -2.0
    example = np.arange(60) // 3
    found = top_rows(FeatureActivations.from_dense(dense), 4, example if by_example else None)
    for feature in range(12):
        rows = [r for r in sorted(range(60), key=lambda r: (-abs(dense[r, feature]), r)) if dense[r, feature] != 0]
        if by_example:
            seen: set[int] = set()
            rows = [r for r in rows if not (example[r] in seen or seen.add(int(example[r])))]  # type: ignore[func-returns-value]
        assert found[feature].tolist() == (rows[:4] + [-1] * 4)[:4]


def test_top_rows_without_any_activation() -> None:
    assert top_rows(FeatureActivations.from_dense(np.zeros((4, 3), np.float32)), 2).tolist() == [[-1, -1]] * 3


@pytest.mark.parametrize("signed", [True, False])
def test_nearness_against_a_dense_top_k(signed: bool) -> None:
    rng = np.random.default_rng(1)
    n, d_in, d_sae, k = 50, 6, 9, 3
    x = rng.normal(size=(n, d_in)).astype(np.float32)
    W_enc, b_enc, b_dec = (rng.normal(size=s).astype(np.float32) for s in ((d_in, d_sae), (d_sae,), (d_in,)))
    pre = (x - b_dec) @ W_enc + b_enc
    pre[:, 4] = pre[:, 4] / 50 - 0.4  # never wins
    strength = pre if signed else np.abs(pre)
    dense = np.zeros_like(pre)
    for row in range(n):
        for feature in np.argsort(-strength[row])[:k]:
            dense[row, feature] = max(pre[row, feature], 0) if signed else pre[row, feature]
    codes = FeatureActivations.from_dense(dense)
    assert (dense[:, 4] == 0).all()
    found = nearness(codes, pre[:, 4], k, signed)
    short = []
    for row in range(n):
        kept = np.abs(dense[row][dense[row] != 0])
        short.append((kept.min() if len(kept) >= k else 0.0) - strength[row, 4])
    assert np.allclose(found.short, short, atol=1e-6)
    assert found.row == int(np.argmin(short)) and found.value == pytest.approx(pre[found.row, 4])
    assert found.positive == pytest.approx((pre[:, 4] > 0).mean())


def test_pre_activation_is_the_encoders() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 5)).astype(np.float16)
    W_enc, b_enc, b_dec = (rng.normal(size=s).astype(np.float32) for s in ((5, 7), (7,), (5,)))
    expected = (x.astype(np.float64) - b_dec) @ W_enc + b_enc
    assert np.allclose(pre_activation(x, W_enc, b_enc, 3, b_dec), expected[:, 3], atol=1e-4)
    expected = x.astype(np.float64) @ W_enc + b_enc
    assert np.allclose(pre_activation(x, W_enc, b_enc, 3), expected[:, 3], atol=1e-4)
    with pytest.raises(UserError, match="features 0 to 6"):
        pre_activation(x, W_enc, b_enc, 7)
    with pytest.raises(UserError, match="don't fit"):
        pre_activation(x[:, :4], W_enc, b_enc, 1)


def test_the_weakest_selected_of_codes_that_are_bits() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 5)).astype(np.float32)  # more than one block
    W_enc, b_enc = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    pre = x @ W_enc + b_enc
    bits = (pre > 0.8).astype(np.float32)
    expected = [min((p for p, b in zip(*row, strict=True) if b), default=0.0) for row in zip(pre, bits, strict=True)]
    codes = FeatureActivations.from_dense(bits)
    weakest = weakest_selected(codes, x, W_enc, b_enc)
    assert np.allclose(weakest, expected, atol=1e-5) and (bits.sum(1) == 0).any()
    found = nearness(codes, pre[:, 2], 3, weakest=weakest)
    assert np.allclose(found.short, weakest - pre[:, 2], atol=1e-6)
