"""Measurements at equal bits: seeds averaged, methods told apart."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from sae.analysis.equal_bits import MEASURES, PQ, curves
from sae.figures.equal_bits import best_so_far, bits_curves


def line(experiment, architecture, method, bits, recall, **factors):
    measures = {f"{name}{end}": np.nan for name in MEASURES for end in ("", "_low", "_high")}
    measures |= {"recall": recall, "recall_low": recall - 0.1, "recall_high": recall + 0.1}
    return {"experiment": experiment, "architecture": architecture, "method": method, "bits": bits} | measures | factors


@pytest.fixture
def table():
    lines = [
        line("codes", "binary", "bits", 100.0 + seed, 0.5 + 0.1 * seed, d_sae=64, k=4, seed=seed, rounding="topk")
        for seed in range(3)
    ]
    lines += [
        line("codes", "binary", "bits", 90.0, 0.4, d_sae=64, k=4, seed=0, rounding="pass_through"),
        line("codes", "binary", "int8", 120.0, 0.6, d_sae=64, k=4, seed=0, rounding="topk_values"),
        line("codes", "binary", "pq", 104.0, 0.7, d_sae=64, k=4, seed=0, rounding="topk"),
        line("codes", "binary", "pq", 104.0, 0.7, d_sae=64, k=4, seed=1, rounding="topk"),
        line("grid", "topk", "int8", 150.0, 0.65, d_sae=128, k=8, seed=0, preset="corrected"),
    ]
    return curves(pd.DataFrame(lines), ["d_sae", "k", "seed", "rounding", "preset"])


def test_cells_of_several_seeds_are_means_with_students_t(table):
    cell = table[table["method"] == "Binary code, hard TopK"].iloc[0]
    assert (cell["bits"], cell["seeds"], cell["recall"]) == (pytest.approx(101), 3, pytest.approx(0.6))
    half = t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (cell["recall_low"], cell["recall_high"]) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))
    assert cell["cell"] == "codes: N 64, K 4"


def test_methods_are_told_apart_and_one_seed_keeps_its_interval(table):
    methods = {"Binary code, hard TopK", "Binary code, pass through", "TopK strengths, 8 bits", PQ}
    assert set(table["method"]) == methods | {"TopK SAE, 8-bit values"}
    one = table[table["method"] == "TopK SAE, 8-bit values"].iloc[0]
    assert (one["seeds"], one["recall_low"], one["recall_high"]) == (1, pytest.approx(0.55), pytest.approx(0.75))
    assert (table["method"] == PQ).sum() == 1


def test_a_line_joins_the_cells_that_none_of_fewer_bits_reaches(table):
    assert best_so_far(pd.Series([3.0, 2.0, 5.0, 5.0, 7.0]), falling=False).tolist() == [True, False, True, False, True]
    assert best_so_far(pd.Series([3.0, 2.0, 5.0]), falling=True).tolist() == [True, True, False]
    figure = bits_curves(table, "recall", dense_bits=768)
    names = [trace.name for trace in figure.data if trace.mode == "markers"]
    assert names == list(dict.fromkeys(table["method"])) and figure.layout.xaxis.type == "log"
    assert len(bits_curves(table, "ev_total").data) == 0  # nothing was measured: said in the figure
