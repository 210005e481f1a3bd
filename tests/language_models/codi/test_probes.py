"""Probes of planted values: read where they are, at chance where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from sae.common.errors import UserError
from sae.language_models.codi.probes import probe_values, values_of
from sae.problems import generate


def planted(n: int = 1200, d: int = 24) -> tuple[dict[int, np.ndarray], np.ndarray, list[str]]:
    """Two values of 8; the first stands in layer 1 from step 1 on, the second nowhere; a third of it is missing."""
    generator = np.random.default_rng(0)
    values = generator.integers(1, 9, size=(n, 2)).astype(float)
    directions = 3 * generator.standard_normal((9, d))
    states = {layer: generator.standard_normal((2, n, d)) for layer in (0, 1)}
    states[1][1] += directions[values[:, 0].astype(int)]
    values[::3, 1] = np.nan
    return states, values, [f"g{i // 2}" for i in range(n)]


def test_a_planted_value_is_read_where_it_stands() -> None:
    states, values, groups = planted()
    found = probe_values(states, values, groups)
    assert list(found.columns) == ["layer", "step", "value", "accuracy", "shuffled", "majority", "n"]
    assert len(found) == 8
    table = found.set_index(["layer", "step", "value"])
    assert table.loc[(1, 1, "1st"), "accuracy"] > 0.95
    others = table.drop((1, 1, "1st"))
    assert others["accuracy"].max() < 0.25 and table["shuffled"].max() < 0.25
    assert table["majority"].between(0.05, 0.25).all()
    assert table.loc[(0, 0, "1st"), "n"] == 300
    assert 170 < table.loc[(0, 0, "2nd"), "n"] < 230


def test_the_same_decisions_as_sklearns() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    from sae.language_models.codi import probes

    states, values, _ = planted()
    x, labels = states[1][1], values[:, 0].astype(int) - 1
    n, d = x[:900].shape
    # sklearn's covariance divides by n and shrinks towards the mean variance with (1 - s) on what was found.
    within = x[:900] - np.stack([x[:900][labels[:900] == c].mean(0) for c in range(8)])[labels[:900]]
    mean = np.trace(within.T @ within / n) / d
    extra = probes.SHRINKAGE * np.trace(within.T @ within / (n - 8)) / d * (n - 8) / n
    share = extra / (mean + extra)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share).fit(x[:900], labels[:900])
    ours = probes._read(x[:900], labels[:900], x[900:])
    assert (ours == theirs.predict(x[900:])).mean() > 0.99


def test_groups_stay_on_one_side() -> None:
    """Each group has a value of its own that is told by the states: read only if a group stood on both sides."""
    generator = np.random.default_rng(1)
    group = np.repeat(np.arange(60), 10)
    directions = 5 * generator.standard_normal((60, 16))
    states = {0: (directions[group] + generator.standard_normal((600, 16)))[None]}
    found = probe_values(states, group[:, None].astype(float), [str(g) for g in group])
    assert found["accuracy"].tolist() == [0.0]


def test_values_of_problems() -> None:
    examples = generate(40, 2).examples
    values, names = values_of(examples)
    assert max(len(example.steps) for example in examples) == 4
    assert names == ("1st", "2nd", "3rd", "answer")
    for row, example in zip(values, examples, strict=True):
        assert row[-1] == example.final_answer
        known = row[:-1][~np.isnan(row[:-1])]
        assert known.tolist() == [step.value for step in example.steps[:-1]]


def test_what_does_not_fit() -> None:
    states, values, groups = planted(20)
    with pytest.raises(UserError, match="must be of the same problems"):
        probe_values(states, values[:10], groups[:10])
    with pytest.raises(UserError, match="too few to hold some out"):
        probe_values(states, values, ["one"] * 20)
