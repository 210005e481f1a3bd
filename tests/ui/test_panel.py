"""What a panel gives: recipes that the command line understands, files, shares in per cent, clicks."""

from __future__ import annotations

import json
import shlex
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import streamlit as st

from sae.cli.experiments import spec_of
from sae.cli.main import parser
from sae.figures.columns import binned, column_histogram
from sae.ui import heat_map, panel, panel_files
from sae.ui.reproduce import experiment_command
from sae.ui.tables import as_shown

SPECS = [
    {"factors": {"preset": ["corrected"], "d_sae": [512, 1024], "k": [5, 20], "seed": [0, 1, 2]}, "settings": {}},
    {"factors": {"layer": [0, 2], "position": [1], "alpha": [0.1, 1], "rounding": ["topk"]}, "settings": {}},
    {"factors": {"k": [5]}, "settings": {"epochs": "5", "lr": "0.001"}, "layer": 9, "position": 3},
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_command_gives_the_specification_back(spec):
    whole = {"kind": "topk-grid", "name": "e-1", "activations": "a", "layer": None, "position": None, **spec}
    command = experiment_command(whole)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "sae"]
    assert spec_of(parser().parse_args(words[3:]), "e-1") == whole


def test_a_strange_name_stays_one_word():
    command = experiment_command({"kind": "topk-grid", "name": "x; rm -rf .", "activations": "$(boo)"})
    assert shlex.split(command)[-1] == "x; rm -rf ." and "'$(boo)'" in command


def test_shares_are_shown_in_per_cent_and_the_table_stays():
    table = pd.DataFrame({"density": [0.2148, np.nan], "n": [1, 2]})
    percent: Any = st.column_config.NumberColumn("Density", format="percent")
    columns: Any
    shown, columns = as_shown(table, {"density": percent, "n": st.column_config.NumberColumn("n"), "gone": None})
    assert shown["density"].iloc[0] == pytest.approx(21.48)
    assert columns["density"]["type_config"]["format"] == "%.1f %%" and columns["density"]["label"] == "Density"
    assert table["density"].iloc[0] == 0.2148 and percent["type_config"]["format"] == "percent"
    assert as_shown(table, None) == (table, {}) or as_shown(table, None)[0] is table


def test_a_file_of_a_figure_has_a_title():
    figure = go.Figure(go.Scatter(x=[1], y=[2])).update_layout(title={"text": "EV"})
    assert panel_files.titled(figure, "other").layout.title.text == "EV"
    assert panel_files.titled(go.Figure(), "other").layout.title.text == "other"


def test_the_page_of_a_panel_holds_its_numbers_and_its_recipe():
    table = pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25]})
    recipe = panel.recipes.Reproduce("python -m sae run show r --json", "run.history", {"runs/r/x": "ab12"})
    text = panel_files.page_of(go.Figure(go.Scatter(x=[1], y=[2])), table, "f", "Loss", "Of **a\\_b**.", "2", recipe)
    assert "Of a_b." in text and "python -m sae run show r --json" in text and "ab12  runs/r/x" in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["panels"]["panel"]["table"]["rows"] == [[1, 0.5], [2, 0.25]]
    assert "Plotly" in text and text.count("<script") == 3


def test_the_cell_that_was_clicked(monkeypatch):
    state: dict[str, Any] = {
        "chart": {"selection": {"points": [{"customdata": {"0": "a", "1": 16, "2": 2, "3": "a,b", "4": "said"}}]}}
    }
    monkeypatch.setattr(heat_map.st, "session_state", state)
    assert heat_map.clicked("chart") == ["a", 16, 2, "a,b", "said"]
    assert heat_map.runs_clicked("chart") == ["a", "b"]
    state["chart"]["selection"]["points"][0]["customdata"] = ["", 16, 2, "", "no run"]
    assert heat_map.runs_clicked("chart") == []
    state["chart"]["selection"]["points"] = []
    assert heat_map.clicked("chart") is None and heat_map.clicked("other") is None


@pytest.mark.parametrize("values", [[], [np.nan], [2.0], [2.0, 2.0], list(np.linspace(-1, 3, 50))])
def test_bins_hold_every_value(values):
    table = binned(np.array(values), bins=7)
    good = [value for value in values if np.isfinite(value)]
    assert table["features"].sum() == len(good)
    drawn = json.loads(column_histogram(table, "decoder_norm", log_y=True).to_json())
    assert (len(drawn["data"]) == 1) == bool(good)
