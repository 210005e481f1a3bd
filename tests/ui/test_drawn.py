"""A figure that is sent as it stands is the one that plotly would have sent, and is kept by what it is made of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from sae.ui.drawn import drawn, kept

MADE: list[str] = []


def figure(table: pd.DataFrame, name: str) -> go.Figure:
    MADE.append(name)
    made = go.Figure(go.Scatter(x=table["x"].to_numpy(), y=table["y"].tolist(), text=["<b>ä</b>", None]))
    made.add_trace(go.Heatmap(z=np.array([[1.0, np.nan], [np.inf, 4.0]])))
    return made.update_layout(
        title={"text": name, "subtitle": {"text": "of two"}}, margin={"l": 5, "t": 60}, height=300, xaxis_type="log"
    )


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({"x": [1.5, 2.5], "y": [3, 4]})


def sent(shown: Any) -> dict[str, Any]:
    """What goes to the browser."""

    def page(shown):
        import streamlit as st

        st.plotly_chart(shown, key="chart", theme=None)

    (chart,) = AppTest.from_function(page, args=(shown,), default_timeout=120).run().get("plotly_chart")
    return json.loads(chart.proto.spec)


def test_what_is_sent_is_what_plotly_would_send(table: pd.DataFrame) -> None:
    made = figure(table, "a")
    assert sent(drawn(made).for_streamlit()) == sent(made)


def test_a_title_goes_with_the_space_above_it_and_the_figure_keeps_both(table: pd.DataFrame) -> None:
    made = figure(table, "a")
    before = made.to_dict()
    shown = drawn(made)
    assert (shown.title, shown.subtitle) == ("a", "of two")
    bare = shown.without_title().high(120)
    expected = go.Figure(made).update_layout(title=None, margin={"t": 14}, height=120)
    wanted = sent(expected)
    assert wanted["layout"].pop("title", {}) == {}
    assert sent(bare.for_streamlit()) == wanted
    assert bare.without_title() is bare and bare.figure() is made and str(made.to_dict()) == str(before)


def test_it_is_made_once_for_what_it_holds_and_again_for_anything_else(table: pd.DataFrame) -> None:
    st.cache_resource.clear()
    MADE.clear()
    one = kept(figure, table, "a")
    assert kept(figure, table.copy(), "a") is one and MADE == ["a"]
    assert kept(figure, table, name="b").title == "b"
    table.loc[1, "y"] = 5
    changed = kept(figure, table, "a")
    assert list(changed.spec["data"][0]["y"]) == [3, 5] and list(one.spec["data"][0]["y"]) == [3, 4]
    assert MADE == ["a", "b", "a"]


def test_a_function_that_reads_more_than_its_arguments_is_refused(table: pd.DataFrame) -> None:
    more = 1
    with pytest.raises(TypeError, match="more than its arguments"):
        kept(lambda: go.Figure(layout={"height": more}))
