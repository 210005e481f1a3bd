"""Figures of matched features: bars and lines where the numbers say, and a tree that is one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.figures.columns import binned
from sae.figures.matching import family, found_again, similarity_histogram, tree_places

TREE = pd.DataFrame(
    [(0, 7, -1, 1.0), (1, 3, 7, 0.9), (1, 5, 7, 0.8), (2, 1, 3, 0.95), (2, 8, 5, 0.9), (2, 9, 5, 0.7)],
    columns=["generation", "feature", "parent", "similarity"],
)


def test_bars_and_the_lines_of_chance():
    table = binned(np.array([0.1, 0.8, 0.85, 0.9]), bins=10, low=0.0, high=1.0)
    figure = similarity_histogram(table, {"random directions": 0.2}, threshold=0.7)
    bars, random, threshold = figure.data
    assert sum(y for y in bars.y if y == y) == 4
    assert set(random.x) == {0.2} and "0.20" in random.name and set(threshold.x) == {0.7}
    assert similarity_histogram(binned(np.array([])), {}).layout.annotations[0].text == "No feature is matched"


def test_bars_of_seeds_say_their_share():
    table = pd.DataFrame({"found": [0, 1, 2], "features": [1, 2, 5], "share": [0.125, 0.25, 0.625]})
    (bars,) = found_again(table).data
    assert list(bars.y) == [1, 2, 5] and list(bars.text) == ["12.5 %", "25.0 %", "62.5 %"]
    assert len(found_again(table.assign(features=0)).data) == 0


def test_a_tree_has_a_line_to_every_child_and_leaves_apart():
    places = tree_places(TREE)
    assert [places[2, leaf] for leaf in (1, 8, 9)] == [0, -1, -2]
    assert places[1, 3] == 0 and places[1, 5] == -1.5 and places[0, 7] == -0.75
    figure = family(TREE, ["d_sae 4", "d_sae 8", "d_sae 16"], labels={(1, 5): "sums"}, theme="dark")
    *lines, nodes = figure.data
    assert len(lines) == 5 and len(nodes.x) == 6
    assert {(line.y[0], line.y[-1]) for line in lines} == {(-0.75, 0), (-0.75, -1.5), (0, 0), (-1.5, -1), (-1.5, -2)}
    assert nodes.customdata[2].tolist() == [1, 5, 0.8]
    said = [annotation.text for annotation in figure.layout.annotations]
    assert said[0] == "<b>7</b>" and said[2] == "<b>5</b>  0.80<br><i>sums</i>"
