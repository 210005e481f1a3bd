"""Metrics of binary codes against loops over rows."""

import math

import numpy as np
import pytest
import torch

from sae.evaluation.binary_codes import binary_metrics, row_figures
from sae.models import build


@pytest.fixture(params=["threshold", "topk", "topk_values"])
def case(request):
    generator = torch.Generator().manual_seed(3)
    model = build("binary", d_in=5, d_sae=12, k=3, code=request.param, temperature=0.7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model, torch.randn(40, 5, generator=generator).numpy()


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_against_a_loop_over_rows(case):
    model, x = case
    W_enc, b_enc, W_dec, b_dec = (
        p.detach().double().numpy() for p in (model.W_enc, model.b_enc, model.W_dec, model.b_dec)
    )
    mean = x[:30].mean(0).astype(float)
    found: dict[str, list[float]] = {}
    use = np.zeros(12)
    rows = np.arange(30, 40)
    for row in x[rows].astype(float):
        logits = row @ W_enc + b_enc
        s = 1 / (1 + np.exp(-logits / 0.7))
        m = np.zeros(12)
        m[np.argsort(-logits)[:3]] = 1
        bits = (s > 0.5).astype(float) if model.code == "threshold" else m
        code = {"threshold": bits, "topk": m, "topk_values": m * s}[model.code]
        use += bits
        each = {
            "reconstruction_loss": 1 - cosine(row, code @ W_dec + b_dec),
            "reconstruction_loss_soft": 1 - cosine(row, s @ W_dec + b_dec),
            "fixed_topk_reconstruction_loss": 1 - cosine(row, m @ W_dec + b_dec),
            "sparsity_alignment": cosine(s, m),
            "mean_predictor_loss": 1 - cosine(row, mean),
            "jaccard": np.minimum(bits, m).sum() / np.maximum(bits, m).sum(),
            "sparsity_alignment_hard": (bits * m).sum() / math.sqrt(max(bits.sum() * 3, 1e-16)),
            "average_activation_count": bits.sum(),
            "sparsity_deviation_by_row": abs(bits.sum() - 3) / 3,
            "entropy_bits": math.log2(math.comb(12, int(bits.sum()))),
        }
        for name, value in each.items():
            found.setdefault(name, []).append(value)
    metrics = binary_metrics(row_figures(model, x, mean), rows, use, model)
    for name, values in found.items():
        assert metrics[name] == pytest.approx(np.mean(values), abs=1e-5), name
    counts = np.array(found["average_activation_count"])
    assert metrics["activation_count_standard_deviation"] == pytest.approx(counts.std())
    assert metrics["sparsity_deviation"] == pytest.approx(abs(counts.mean() - 3) / 3)
    assert metrics["index_bits"] == pytest.approx(counts.mean() * 4)
    assert metrics["compression"] == pytest.approx(160 / min(counts.mean() * 4, 12))
    p = use / 10
    entropy = sum(-q * math.log2(q) for share in p for q in (share, 1 - share) if q > 0)
    assert metrics["code_entropy"] == pytest.approx(entropy)
