"""Statistics of a slice against plain numpy over the whole array in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sae.capture import Slice, import_activations, slice_statistics, statistics


def _slice(tmp_path: Path, x: np.ndarray) -> Slice:
    np.save(tmp_path / "x.npy", x)
    return import_activations(tmp_path / "x.npy", tmp_path / "a", name="a").slice()


@pytest.mark.parametrize("shape", [(300, 20), (20, 50)])
def test_against_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]) -> None:
    monkeypatch.setattr(statistics, "_STEP", 64)
    generator = np.random.default_rng(0)
    x = (generator.normal(size=shape) * np.linspace(0.1, 4, shape[1]) + 7).astype(np.float32)
    x[:, 3] = 2.5
    x[-1], x[-2] = x[0], x[0]
    found = slice_statistics(_slice(tmp_path, x))
    wide = x.astype(np.float64)
    covariance = np.cov(wide.T, bias=True)
    eigenvalues = np.sort(np.linalg.eigvalsh(covariance))[::-1][: min(shape)]
    deviation = wide.std(axis=0)
    expected = {
        "n_rows": shape[0],
        "n_sampled": shape[0],
        "d_in": shape[1],
        "mean_row_norm": np.linalg.norm(wide, axis=1).mean(),
        "mean_norm": np.linalg.norm(wide.mean(axis=0)),
        "centred_norm": np.sqrt(np.trace(covariance)),
        "mean_to_centred": np.linalg.norm(wide.mean(axis=0)) / np.sqrt(np.trace(covariance)),
        "total_variance": np.trace(covariance),
        "participation_ratio": np.trace(covariance) ** 2 / np.trace(covariance @ covariance),
        "outlier_ratio": deviation.max() / np.median(deviation),
        "outlier_dimension": deviation.argmax(),
        "constant_dimensions": 1,
        "duplicate_rows": 2 / shape[0],
        "spectrum_rows": shape[0],
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    assert found["near_constant"] is False
    np.testing.assert_allclose(found["scree"], eigenvalues / np.trace(covariance), atol=1e-12)


def test_a_constant_slice(tmp_path: Path) -> None:
    found = slice_statistics(_slice(tmp_path, np.full((40, 8), 3.3, np.float32)))
    assert found["near_constant"] and found["constant_dimensions"] == 8 and found["scree"] == []
    assert found["mean_to_centred"] is None and found["participation_ratio"] is None
    assert found["duplicate_rows"] == pytest.approx(39 / 40)


def test_a_near_constant_slice(tmp_path: Path) -> None:
    x = 100 + 0.01 * np.random.default_rng(0).normal(size=(200, 8))
    assert slice_statistics(_slice(tmp_path, x.astype(np.float32)))["near_constant"]


def test_a_sample_of_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(4000, 6)).astype(np.float32)
    piece = _slice(tmp_path, x)
    found, again = slice_statistics(piece, max_rows=1000), slice_statistics(piece, max_rows=1000)
    assert found == again and found["n_rows"] == 4000 and found["n_sampled"] == 1000
    assert found["total_variance"] == pytest.approx(6, rel=0.1)
    monkeypatch.setattr(statistics, "_MAX_SPECTRUM", 4)
    few = slice_statistics(piece, max_rows=1000)
    assert few["spectrum_rows"] == 4 and few["total_variance"] == found["total_variance"]
