import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.analysis.pareto import dominators, non_dominated
from sae.common.errors import UserError
from tests.analysis.report_grid import REPORT


def cells(mask):
    return {(int(line.d_sae), int(line.k)) for line in REPORT[mask].itertuples()}


def test_report_ev_up_k_down():
    mask = non_dominated(REPORT, maximize=["ev_total"], minimize=["k"])
    assert mask.dtype == bool and mask.sum() == 4
    assert cells(mask) == {(2048, 5), (2048, 10), (2048, 20), (1024, 100)}


def test_report_ev_up_k_and_dictionary_down():
    mask = non_dominated(REPORT, maximize=["ev_total"], minimize=["k", "d_sae"])
    assert mask.sum() == 11 and cells(~mask) == {(2048, 100)}
    assert dominators(REPORT, ["ev_total"], ["k", "d_sae"])[11] == [10]


def test_report_its_own_test():
    assert non_dominated(REPORT, ["ev_total"], ["k"], strict_all=True).sum() == 12


def test_report_other_objectives():
    assert non_dominated(REPORT, ["ev_total"], ["k", "dead"]).sum() == 11
    assert cells(non_dominated(REPORT, ["ev_total"], ["dead"])) == {(512, 100), (1024, 100)}


def brute_force(rows, signs, strict_all, slack):
    kept = []
    for a in rows:
        beaten = any(np.isnan(a))
        for b in rows:
            if any(np.isnan(a)) or any(np.isnan(b)):
                continue
            lead = [s * (y - x) if x != y else 0.0 for s, x, y in zip(signs, a, b, strict=True)]
            if strict_all:
                beaten |= all(value > slack for value in lead)
            else:
                beaten |= all(value >= -slack for value in lead) and any(value > slack for value in lead)
        kept.append(not beaten)
    return kept


number = st.one_of(st.integers(0, 3).map(float), st.sampled_from([np.nan, np.inf, -np.inf, 0.1]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(number, number, number), max_size=12),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_equals_brute_force(rows, up, strict_all, slack):
    table = pd.DataFrame(rows, columns=["a", "b", "c"], dtype=float)
    maximize = [name for name, wanted in zip("abc", up, strict=True) if wanted]
    minimize = [name for name, wanted in zip("abc", up, strict=True) if not wanted]
    mask = non_dominated(table, maximize, minimize, strict_all, slack)
    assert mask.tolist() == brute_force(rows, [1 if wanted else -1 for wanted in up], strict_all, slack)
    beaten_by = dominators(table, maximize, minimize, strict_all, slack)
    complete = table.notna().all(axis=1).tolist()
    assert [not beaten and whole for beaten, whole in zip(beaten_by, complete, strict=True)] == mask.tolist()


def test_missing_values_are_never_on_the_frontier_and_beat_nobody():
    table = pd.DataFrame({"ev": [np.nan, 0.5, 0.4], "k": [1, 5, 5]})
    assert non_dominated(table, ["ev"], ["k"]).tolist() == [False, True, False]
    assert dominators(table, ["ev"], ["k"]) == [[], [], [1]]


def test_equal_lines_stand_together():
    assert non_dominated(pd.DataFrame({"ev": [1.0, 1.0]}), ["ev"]).tolist() == [True, True]


def test_tolerance_by_column():
    table = pd.DataFrame({"ev": [0.880, 0.879], "d": [1024.0, 512.0]})
    assert non_dominated(table, ["ev"], ["d"]).tolist() == [True, True]
    assert non_dominated(table, ["ev"], ["d"], tolerance={"ev": 0.002}).tolist() == [False, True]


def test_no_lines():
    assert non_dominated(REPORT.iloc[:0], ["ev_total"], ["k"]).shape == (0,)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "at least one objective"),
        ({"maximize": ["fame"]}, "no column 'fame'"),
        ({"maximize": ["k"], "minimize": ["k"]}, "twice"),
        ({"maximize": ["ev_total"], "tolerance": -1}, "0 or more"),
        ({"maximize": ["word"]}, "not numeric"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        non_dominated(REPORT.assign(word="x"), **arguments)
