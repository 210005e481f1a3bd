import numpy as np
import pytest

from sae.analysis.guide import RULES, recommend
from sae.common.errors import UserError
from tests.analysis.report_grid import REPORT


def test_on_the_report_s_table_the_rules_pick_what_the_report_picked():
    for recommendation in recommend(REPORT):
        line = REPORT.loc[recommendation.pick_index]
        assert (line.k, line.d_sae) == recommendation.report_pick
        assert f"{line.ev_total:.3f}" in recommendation.reason
        assert recommendation.runner_up_index not in (None, recommendation.pick_index)


def test_the_runner_up_is_named_with_what_it_lost_by():
    extreme, balanced, quality, memory = recommend(REPORT)
    assert tuple(REPORT.loc[extreme.runner_up_index, ["k", "d_sae"]]) == (5, 1024)
    assert "more dead features" in extreme.runner_up_reason
    assert tuple(REPORT.loc[balanced.runner_up_index, ["k", "d_sae"]]) == (20, 512)
    assert "lower explained variance" in balanced.runner_up_reason
    assert tuple(REPORT.loc[memory.runner_up_index, ["k", "d_sae"]]) == (100, 512)
    assert "larger K" in memory.runner_up_reason


def test_a_missing_cell_is_left_out_of_the_rules_that_read_it():
    table = REPORT.copy()
    table.loc[10, "dead"] = np.nan  # the high-quality pick
    quality = recommend(table)[2]
    assert quality.pick_index == 11
    memory = recommend(table)[3]  # reads no dead share
    assert memory.pick_index == 6


def test_nothing_qualifies_and_nothing_measured():
    none = recommend(REPORT.assign(dead=0.9))
    assert none[2].pick_index is None and "None of the 12" in none[2].reason
    assert none[0].pick_index is not None
    assert all(found.pick_index is None for found in recommend(REPORT.iloc[:0]))
    alone = recommend(REPORT.iloc[[10]])[2]
    assert alone.pick_index == 10 and alone.runner_up_index is None and "No other" in alone.runner_up_reason


def test_parameters_decide_about_memory_where_known():
    table = REPORT.assign(parameters=REPORT["d_sae"] * -1.0)
    assert recommend(table)[3].pick_index == 8  # 2048 / 20 now has the fewest


def test_index_labels_come_back():
    named = REPORT.set_axis([f"run{i}" for i in range(12)])
    assert recommend(named)[0].pick_index == "run0"
    with pytest.raises(UserError, match="without repeats"):
        recommend(REPORT.set_axis([0] * 12))
    with pytest.raises(UserError, match="'dead'"):
        recommend(REPORT.drop(columns="dead"))


def test_every_rule_says_itself_in_words():
    assert len({rule.use for rule in RULES}) == 4
    assert all(rule.text.endswith(".") and len(rule.text) > 40 for rule in RULES)
