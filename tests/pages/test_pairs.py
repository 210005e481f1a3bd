"""Pairs: the table and its filters, the chosen pair, and nothing found."""

from __future__ import annotations

import shutil

import pytest

from sae.ui.pairs_view import block_features
from tests.pages.test_home import words


@pytest.fixture
def run(results):
    (found,) = [
        r["id"] for r in results.experiment("both").content["runs"]
        if r["factors"] == {"preset": "corrected", "k": 4, "d_sae": 16, "seed": 0}
    ]  # fmt: skip
    return results.run(found)


def test_without_a_run_the_way_to_one_is_shown(open_page, workspace):
    at = open_page("pairs", workspace)
    assert not at.exception
    assert "No finished run yet" in words(at)


def test_pairs_that_fire_together(open_page, results, run):
    at = open_page("pairs", results, run=run.id, support="5")
    assert not at.exception and not at.error
    table = at.dataframe[0].value
    pairs = run.pairs()
    expected = pairs[(pairs["pearson"] > 0) & (pairs["n_both"] >= 5)]
    assert len(table) == len(expected) and table["pearson"].is_monotonic_decreasing
    a, b = int(table["a"].iloc[0]), int(table["b"].iloc[0])
    assert at.subheader[0].value == f"Features {a} and {b}"
    assert len(at.get("plotly_chart")) == 2


def test_pairs_that_keep_apart_with_one_feature(open_page, results, run):
    at = open_page("pairs", results, run=run.id, sign="apart", support="5")
    assert not at.exception and not at.error
    table = at.dataframe[0].value
    assert (table["pearson"] < 0).all() and table["pearson"].is_monotonic_increasing
    feature = int(table["a"].iloc[0])
    at = open_page("pairs", results, run=run.id, sign="apart", support="5", with_feature=str(feature))
    table = at.dataframe[0].value
    assert ((table["a"] == feature) | (table["b"] == feature)).all()


def test_the_pair_of_the_address_and_its_counts(open_page, results, run):
    codes = run.codes()
    at = open_page("pairs", results, run=run.id, support="5", a="2", b="9")
    assert at.subheader[0].value == "Features 2 and 9"
    first, second = set(codes.feature(2)[0].tolist()), set(codes.feature(9)[0].tolist())
    said = words(at).replace("**", "")
    assert f"Both active on {len(first & second)} of 300 rows, only the first on {len(first - second)}" in said
    at = open_page("pairs", results, run=run.id, support="5", a="2", b="400")
    assert "no pair 2 and 400" in at.warning[0].value.replace("\\", "")


def test_no_pair_passes(open_page, results, run):
    at = open_page("pairs", results, run=run.id, support="100000")
    assert not at.exception
    assert at.info[0].value.startswith("No pair passes")
    at.button[0].click().run()
    assert at.subheader[0].value.startswith("Features ")


def test_compared_with_chance(open_page, results, run):
    at = open_page("pairs", results, run=run.id, support="5")
    at.button(key="pair_null_button").click().run()
    assert not at.exception and not at.error
    assert "beyond" in words(at)


def test_which_features_the_block_has(run):
    pairs = run.pairs()
    features = block_features(pairs, (0, 15), most=6)
    assert len(features) == 6 == len(set(features)) and {0, 15} <= set(features)
    assert features[0] in (pairs["a"].iloc[0], 0)


def test_without_the_activations_rows_are_drawn_and_it_is_said(open_page, own_results, run):
    shutil.rmtree(own_results.activations_folder("rows"))
    at = open_page("pairs", own_results, run=run.id, support="5", a="2", b="9")
    assert not at.exception
    assert "bootstrap over rows: the activations" in words(at)
