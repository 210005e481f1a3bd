import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sae.analysis.maps import decoder_map
from sae.common.errors import UserError


def test_umap_puts_directions_of_a_group_together_and_comes_out_the_same_again():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 12)
    W_dec = (rng.normal(size=(3, 64)) * 4)[group] + rng.normal(size=(36, 64))
    W_dec *= rng.uniform(0.1, 10, (36, 1))  # lengths don't matter
    alive = np.ones(36, bool)
    alive[7] = False
    table, parameters = decoder_map(W_dec, alive, n_neighbors=8)
    assert parameters["method"] == "umap" and parameters["axes"] == 50 and parameters["why"] is None
    assert table["feature"].tolist() == [j for j in range(36) if j != 7]
    places, groups = table[["x", "y"]].to_numpy(), group[table["feature"]]
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(1)] == groups).mean() > 0.9
    again, _ = decoder_map(W_dec, alive, n_neighbors=8)
    np.testing.assert_array_equal(again, table)


def test_what_numba_compiles_for_a_map_is_kept_for_the_next_process():
    decoder_map(np.random.default_rng(4).normal(size=(30, 4)))
    from umap import umap_

    assert list(Path(umap_.smooth_knn_dist.stats.cache_path).glob("umap_.smooth_knn_dist-*.nbi"))


def test_pca_against_sklearn():
    W_dec = np.random.default_rng(1).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]
    table, parameters = decoder_map(W_dec, method="pca")
    unit = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    expected = PCA(2).fit_transform(unit)
    for axis, name in enumerate("xy"):
        assert abs(np.corrcoef(table[name], expected[:, axis])[0, 1]) > 0.9999
        assert table[name].std(ddof=0) == pytest.approx(expected[:, axis].std(), rel=1e-3)
    assert parameters["method"] == "pca" and parameters["n_neighbors"] is None


@pytest.mark.parametrize("n", [0, 1, 2, 9])
@pytest.mark.parametrize("d_in", [1, 80])
def test_few_features(n, d_in):
    W_dec = np.random.default_rng(2).normal(size=(12, d_in))
    alive = np.arange(12) < n
    table, parameters = decoder_map(W_dec, alive)
    assert len(table) == n and np.isfinite(table[["x", "y"]].to_numpy()).all()
    assert parameters["method"] == "pca" and "fewer than 10" in parameters["why"]


def test_without_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    table, parameters = decoder_map(np.random.default_rng(3).normal(size=(30, 4)))
    assert parameters["method"] == "pca" and "not installed" in parameters["why"] and len(table) == 30


def test_zero_rows_have_no_place():
    W_dec = np.eye(4)
    W_dec[1] = 0
    assert decoder_map(W_dec)[0]["feature"].tolist() == [0, 2, 3]


def test_refusals():
    with pytest.raises(UserError, match="umap or pca"):
        decoder_map(np.eye(3), method="tsne")
    with pytest.raises(UserError, match="one mark a feature"):
        decoder_map(np.eye(3), np.ones(2, bool))


def test_nothing_heavy_is_imported_with_the_analyses():
    code = (
        "import sys, pkgutil, importlib, sae.analysis as a\n"
        "[importlib.import_module(f'sae.analysis.{m.name}') for m in pkgutil.iter_modules(a.__path__)]\n"
        "print([m for m in ('umap', 'numba', 'sklearn', 'torch', 'streamlit', 'plotly', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
