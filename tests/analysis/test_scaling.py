"""The scaling law against planted laws and statsmodels-free algebra of its own."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from sae.analysis.scaling import fit
from sae.common.errors import UserError


def grid(a, b_k, b_d, g, noise=0.0, sizes=(512, 1024, 2048, 4096), ks=(5, 10, 20, 100), seeds=1, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for d, k, _ in itertools.product(sizes, ks, range(seeds)):
        log = a + b_k * np.log(k) + b_d * np.log(d) + g * np.log(k) * np.log(d) + noise * rng.normal()
        lines.append({"d_sae": d, "k": k, "fvu": np.exp(log)})
    return pd.DataFrame(lines)


def test_a_planted_law_is_found_and_holds_for_the_size_left_out():
    law = fit(grid(1.0, -0.3, -0.2, -0.02))
    assert law.coefficients == pytest.approx([1.0, -0.3, -0.2, -0.02], abs=1e-8)
    assert law.held_out == 4096 and law.n == 12 and law.r_squared == pytest.approx(1)
    assert law.error == pytest.approx(0, abs=1e-8)
    # The next smaller size is off by log 2 times the slope at each K.
    slopes = -0.2 - 0.02 * np.log([5, 10, 20, 100])
    assert law.error_of_next == pytest.approx(np.sqrt(np.mean((slopes * np.log(2)) ** 2)))
    assert law.predict(np.array([50]), np.array([8192]))[0] == pytest.approx(
        np.exp(1 - 0.3 * np.log(50) - 0.2 * np.log(8192) - 0.02 * np.log(50) * np.log(8192))
    )


def test_intervals_hold_what_they_promise():
    inside = []
    for seed in range(200):
        held = fit(grid(0.5, -0.4, -0.1, 0.0, noise=0.05, seed=seed)).table.query("held_out")
        inside += ((held["low"] <= held["fvu"]) & (held["fvu"] <= held["high"])).tolist()
    assert 0.92 <= np.mean(inside) <= 0.975


def test_a_law_that_breaks_at_the_largest_size_is_seen():
    table = grid(1.0, -0.3, -0.2, 0.0, noise=0.001)
    table.loc[table["d_sae"] == 4096, "fvu"] *= 1.5
    law = fit(table)
    assert law.error == pytest.approx(np.log(1.5), abs=0.01)
    assert (law.table.query("held_out")["fvu"] > law.table.query("held_out")["high"]).all()


def test_with_one_k_less_it_is_a_line_in_logarithms():
    table = grid(1.0, -0.3, -0.2, -0.01, noise=0.05, sizes=(512, 1024, 2048), ks=(10, 20), seeds=3)
    law = fit(table)
    for k in (10, 20):  # saturated in K: each K has the slope of its own regression on the two smaller sizes
        part = table[(table["k"] == k) & (table["d_sae"] < 2048)]
        slope = linregress(np.log(part["d_sae"]), np.log(part["fvu"])).slope
        assert law.coefficients[2] + law.coefficients[3] * np.log(k) == pytest.approx(slope)


@pytest.mark.parametrize(("table", "said"), [
    (grid(1, -0.3, -0.2, 0, sizes=(512, 1024)), "at least three"),
    (grid(1, -0.3, -0.2, 0, ks=(5,)), "two values of K"),
    (grid(1, -0.3, -0.2, 0).assign(fvu=0.0), "below 1"),
])  # fmt: skip
def test_too_little_says_what_is_missing(table, said):
    with pytest.raises(UserError, match=said):
        fit(table)
