"""What is worked out from shared things is made once for the same ones, and anew for others."""

from __future__ import annotations

import pandas as pd
import pytest
import streamlit as st

from sae.ui import once as module
from sae.ui.once import once

made: list[int] = []


def longest(table: pd.DataFrame, *, least: int = 0) -> int:
    made.append(least)
    return max(least, len(table))


@pytest.fixture(autouse=True)
def nothing_kept():
    st.cache_resource.clear()
    made.clear()


def test_the_same_objects_and_values_are_asked_once():
    table = pd.DataFrame({"a": [1, 2]})
    assert once(longest, table) == once(longest, table) == 2
    assert once(longest, table, least=5) == 5
    assert made == [0, 5]


def test_an_equal_object_that_is_another_is_another():
    for n in range(1, 8):  # each may stand where the one before it stood
        assert once(longest, pd.DataFrame({"a": range(n)})) == n
    assert len(made) == 7


def test_what_was_not_asked_for_the_longest_time_goes_first():
    table = pd.DataFrame({"a": [1]})
    for least in range(module._MOST):
        once(longest, table, least=least)
    once(longest, table, least=0)
    once(longest, table, least=99)  # one more than are kept: 1 goes
    made.clear()
    once(longest, table, least=0)
    once(longest, table, least=1)
    assert made == [1]


def test_a_function_that_reads_more_than_its_arguments_is_refused():
    more = 3
    with pytest.raises(TypeError, match="reads more"):
        once(lambda table: len(table) + more, pd.DataFrame())
