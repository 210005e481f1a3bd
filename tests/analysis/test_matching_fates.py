"""What becomes of features, their families and their stability, where the answer is known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from sae.analysis.matching import Null, match_directions
from sae.analysis.matching_fates import counted, family_sizes, family_tree, fates
from sae.analysis.matching_seeds import found_in, stability
from sae.common.errors import UserError

D = 40


def axes(*rows):
    """Directions given as weights of axes: `{0: 1, 5: 0.5}`."""
    W = np.zeros((len(rows), D), np.float32)
    for at, row in enumerate(rows):
        for axis, weight in row.items():
            W[at, axis] = weight
    return W


def match(a, b):
    return match_directions(a, b, np.ones(len(a), bool), np.ones(len(b), bool))


SMALL = axes({0: 1}, {1: 1}, {2: 1, 3: 0.3}, {2: 1, 4: 0.3}, {5: 1}, {6: 1})
LARGE = axes({0: 1, 7: 0.2}, {1: 1, 8: 0.5}, {1: 1, 9: 0.6}, {2: 1}, {5: 1, 10: 2})
# 0 has a partner; 1 has two; 2 and 3 share one; 4 is like the last, at 1 / sqrt(5); 6 is nowhere


def test_every_fate():
    found = replace(match(SMALL, LARGE), nulls=(Null("random", 0.1, 0.3),))
    here, there = fates(found, 0.7), fates(found.swapped(), 0.7)
    assert here["fate"].tolist() == ["matched", "split", "merged", "merged", "weak", "lost"]
    assert here["family"].tolist() == [1, 2, 1, 0, 0, 0]
    assert there["fate"].tolist() == ["matched", "merged", "merged", "split", "weak"]
    above = replace(found, nulls=(Null("random", 0.1, 0.5),))  # 4 is at 1 / sqrt(5): now no more than chance
    assert fates(above, 0.7)["fate"].tolist()[4] == "lost"
    table = counted(here, there).set_index("fate")
    assert table["first"].sum() == 6 and table["second"].sum() == 5
    assert table.loc["merged", ["first", "second"]].tolist() == [2, 2]
    assert table.loc["split", "first_share"] == pytest.approx(1 / 6)
    with pytest.raises(UserError, match="threshold"):
        fates(found, 0)


def test_each_feature_has_the_fate_that_its_definition_gives():
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((30, 4)), generator.standard_normal((45, 4))
    found = match(a, b)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (a, b)]
    s = unit[0] @ unit[1].T
    best_here, best_there = s.argmax(axis=1), s.argmax(axis=0)
    threshold = 0.85
    for line in fates(found, threshold).itertuples():
        i, j = line.feature, best_here[line.feature]
        children = [k for k in range(45) if best_there[k] == i and s[i, k] >= threshold]
        rivals = [k for k in range(30) if best_here[k] == j and s[k, j] >= threshold]
        if len(children) >= 2:
            expected = "split"
        elif s[i, j] >= threshold and len(rivals) >= 2:
            expected = "merged"
        elif line.partner >= 0 and s[i, line.partner] >= threshold:
            expected = "matched"
        else:
            expected = "lost" if s[i, j] <= found.floor else "weak"
        assert line.fate == expected and line.family == len(children)


def test_a_family_over_three_sizes():
    small = axes({0: 1}, {1: 1})
    middle = axes({0: 1, 2: 0.3}, {0: 1, 3: 0.4}, {1: 1})
    large = axes({0: 1, 2: 0.3}, {0: 1, 3: 0.4}, {0: 1, 3: 0.5, 4: 0.1}, {1: 1}, {9: 1})
    steps = [match(small, middle), match(middle, large)]
    tree = family_tree(steps, 0, 0.7)
    assert tree[["generation", "feature", "parent"]].to_numpy().tolist() == [
        [0, 0, -1], [1, 0, 0], [1, 1, 0], [2, 0, 0], [2, 1, 1], [2, 2, 1],
    ]  # fmt: skip
    assert tree["similarity"].iloc[1] == pytest.approx(1 / np.sqrt(1.09))
    sizes = family_sizes(steps, 0.7)
    assert sizes.to_numpy().tolist() == [[0, 2, 3], [1, 1, 1]]
    assert family_tree(steps, 1, 0.999)["generation"].tolist() == [0, 1, 2]


def test_stability_counts_seeds():
    generator = np.random.default_rng(1)
    W = generator.standard_normal((20, D)).astype(np.float32)
    others = []
    for known in (20, 10, 5):  # the first so many of the features are in that seed
        other = generator.standard_normal((20, D)).astype(np.float32)
        other[:known] = W[:known]
        others.append(match(W, other[generator.permutation(20)]))
    table = stability(others)
    assert table["found"].tolist() == [3] * 5 + [2] * 5 + [1] * 10
    assert (table["seeds"] == 3).all()
    assert table["median_similarity"].to_numpy()[:10] == pytest.approx(1)
    assert table["median_similarity"].to_numpy()[10:].max() < 0.7
    counts = found_in(table)
    assert counts["features"].tolist() == [0, 10, 5, 5] and counts["share"].sum() == pytest.approx(1)
