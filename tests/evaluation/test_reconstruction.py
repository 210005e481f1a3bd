"""Metrics against plain numpy on dense arrays."""

import numpy as np
import pytest
import torch

from sae.evaluation.baselines import PCA, Baselines, mean_predictor, random_dictionary
from sae.evaluation.reconstruction import encode_rows, ev_interval, metrics, split_metrics
from sae.models import build


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(1)
    model = build("topk", d_in=6, d_sae=20, k=3, selection="magnitude")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    x = (torch.randn(5000, 6, generator=generator) + 3).numpy()  # more rows than one batch, and a mean that is not 0
    train, validation = np.arange(0, 4000), np.arange(4000, 5000)
    mean = x[train].astype(np.float64).mean(0)
    codes, errors = encode_rows(model, x, mean)
    with torch.no_grad():
        f = model.encode(torch.from_numpy(x)).double().numpy()
        guess = model(torch.from_numpy(x)).double().numpy()
    return model, x, f, guess, mean, codes, errors, {"train": train, "validation": validation, "test": np.arange(0)}


def test_metrics_agree_with_dense_numpy(case):
    _, x, f, guess, mean, codes, errors, splits = case
    found = split_metrics(codes, errors, splits, 6, 20)
    assert set(found) == {"train", "validation", "all"}
    for name, rows in [("train", splits["train"]), ("validation", splits["validation"]), ("all", np.arange(5000))]:
        X, G, F = x[rows].astype(np.float64), guess[rows], f[rows]
        e = X - G
        active = F != 0
        use = active.sum(0) / active.sum()
        use = use[use > 0]
        expected = {
            "ev_total": 1 - (e**2).sum() / ((X - mean) ** 2).sum(),
            "ev_flat": 1 - e.var(ddof=1) / X.var(ddof=1),
            "mse": (e**2).mean(),
            "l0": active.sum(1).mean(),
            "dead": (~active.any(0)).mean(),
            "dense": (active.mean(0) > 0.5).mean(),
            "ultra_low": ((active.mean(0) > 0) & (active.mean(0) < 1e-4)).mean(),
            "mean_activation": np.abs(F[active]).mean(),
            "max_activation": np.abs(F).max(),
            "perplexity": np.exp(-(use * np.log(use)).sum()),
            "cosine_similarity": np.mean((X * G).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(G, axis=1)),
            "l2_ratio": np.mean(np.linalg.norm(G, axis=1) / np.linalg.norm(X, axis=1)),
            "l0_sd": np.std(active.sum(1)),
            # by how much the centred reconstruction has to be divided to come nearest, as a regression finds it
            "reconstruction_bias": 1 / np.linalg.lstsq((G - mean).reshape(-1, 1), (X - mean).ravel())[0][0],
        }
        assert set(found[name]) == set(expected)
        for metric, value in expected.items():
            assert found[name][metric] == pytest.approx(value, rel=1e-5, abs=1e-9), metric


def test_the_mean_predictor_scores_zero_and_a_perfect_one_scores_one(case):
    _, x, *_ = case
    mean = x[:4000].astype(np.float64).mean(0)
    silent = build("topk", d_in=6, d_sae=20, k=3)  # zero weights: it predicts b_dec
    with torch.no_grad():
        silent.b_dec.copy_(torch.from_numpy(mean))
    codes, errors = encode_rows(silent, x, mean)
    assert metrics(codes, errors, np.arange(4000), 6, 20)["ev_total"] == pytest.approx(0, abs=1e-6)
    assert metrics(codes, errors, np.arange(4000), 6, 20)["dead"] == 1
    identity = build("topk", d_in=6, d_sae=6, k=6, selection="magnitude")
    with torch.no_grad():
        identity.W_enc.copy_(torch.eye(6))
        identity.W_dec.copy_(torch.eye(6))
    codes, errors = encode_rows(identity, x, mean)
    assert metrics(codes, errors, np.arange(5000), 6, 6)["ev_total"] == pytest.approx(1, abs=1e-12)


def test_flat_explained_variance_rewards_the_mean():
    x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor([0.0, 5.0, -5.0, 20.0])
    scores = mean_predictor(PCA(x).kept(x))
    assert scores["ev_total"] == 0
    assert scores["ev_flat"] > 0.95


def test_pca_is_the_best_linear_reconstruction(case):
    _, x, *_ = case
    train, rest = torch.from_numpy(x[:4000]), torch.from_numpy(x[4000:])
    pca = PCA(train)
    mean = x[:4000].astype(np.float64).mean(0)
    _, _, vectors = np.linalg.svd(x[:4000] - mean, full_matrices=False)
    for rows in (train, rest):
        X = rows.double().numpy()
        for k, found in pca.ev(rows, [1, 3, 6, 50]).items():
            V = vectors[: min(k, 6)]
            e = (X - mean) - (X - mean) @ V.T @ V
            assert found["ev_total"] == pytest.approx(1 - (e**2).sum() / ((X - mean) ** 2).sum(), abs=1e-6)
            assert found["ev_flat"] == pytest.approx(1 - e.var(ddof=1) / X.var(ddof=1), abs=1e-4)


def test_random_dictionary_is_between_the_mean_and_pca(case):
    _, x, *_ = case
    train = torch.from_numpy(x[:4000])
    found = random_dictionary(train, {"train": train}, d_sae=32, k=3)["train"]["ev_total"]
    assert 0.05 < found < PCA(train).ev(train, [6])[6]["ev_total"]


def test_random_dictionary_against_its_reconstructions(case):
    """The scale by least squares, and both figures from reconstructions written out, in float64."""
    _, x, *_ = case
    train, rest = torch.from_numpy(x[:4000]).double(), torch.from_numpy(x[4000:]).double()
    found = random_dictionary(train.float(), {"train": train.float(), "validation": rest.float()}, d_sae=32, k=3)
    W = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)).double()
    W = W / W.norm(dim=1, keepdim=True)
    mean = train.mean(0)

    def guess(rows):
        values, indices = ((rows - mean) @ W.T).topk(3)
        return torch.zeros(len(rows), 32, dtype=torch.float64).scatter(1, indices, values.relu()) @ W

    g = guess(train)
    scale = (g * (train - mean)).sum() / g.square().sum()
    for name, rows in (("train", train), ("validation", rest)):
        e = rows - mean - scale * guess(rows)
        assert found[name]["ev_total"] == pytest.approx(
            float(1 - e.square().sum() / (rows - mean).square().sum()), abs=1e-6
        )
        assert found[name]["ev_flat"] == pytest.approx(float(1 - e.var() / rows.var()), abs=1e-3)


def test_baselines_of_a_slice_equal_those_of_its_tensors(case):
    _, x, *_ = case
    parts = {"train": torch.from_numpy(x[:4000]), "validation": torch.from_numpy(x[4000:])}
    found = Baselines(x, {"train": np.arange(4000), "validation": np.arange(4000, 5000), "test": np.arange(0)}).of(
        32, 3
    )
    pca = PCA(parts["train"])
    assert set(found) == {"mean_predictor", "pca", "random_dictionary"}
    for name, rows in parts.items():
        assert found["pca"][name] == pytest.approx(pca.ev(rows, [3])[3])
        assert found["mean_predictor"][name]["ev_flat"] == pytest.approx(
            float(1 - (rows - parts["train"].mean(0)).double().var() / rows.double().var()), abs=1e-6
        )
        expected = random_dictionary(parts["train"], parts, 32, 3)[name]
        assert found["random_dictionary"][name] == pytest.approx(expected)


def test_interval_resamples_examples_not_rows(monkeypatch):
    generator = np.random.default_rng(0)
    error, spread = generator.random(200), generator.random(200) + 1
    low, high = ev_interval(error, spread, np.arange(200))
    value = 1 - error.sum() / spread.sum()
    assert low < value < high
    # ten identical rows an example carry no more information than one
    repeated = ev_interval(np.repeat(error, 10), np.repeat(spread, 10), np.repeat(np.arange(200), 10))
    np.testing.assert_allclose(repeated, (low, high), atol=1e-12)
    as_rows = ev_interval(np.repeat(error, 10), np.repeat(spread, 10), np.arange(2000))
    assert as_rows[1] - as_rows[0] < 0.5 * (high - low)
    # parts of examples at their number
    monkeypatch.setattr("sae.evaluation.reconstruction.INTERVAL_PARTS", 200)
    np.testing.assert_allclose(ev_interval(np.repeat(error, 10), np.repeat(spread, 10), np.arange(2000)), (low, high))
    assert np.isnan(ev_interval(error[:1], spread[:1], np.zeros(1))).all()


def test_codes_too_large_for_memory_come_from_a_file(case, tmp_path, monkeypatch):
    model, x, _, _, mean, codes, *_ = case
    monkeypatch.setattr("sae.evaluation.entries.LARGEST_IN_MEMORY", 10_000)
    found, _ = encode_rows(model, x, mean, folder=tmp_path)
    assert isinstance(found.values, np.memmap) and isinstance(found.features, np.memmap)
    for one, other in zip(found, codes, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert not list(tmp_path.iterdir())  # it has no name, and is gone with its last use
