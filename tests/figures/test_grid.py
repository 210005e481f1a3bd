import re

import numpy as np
import pandas as pd
import pytest

from sae.figures.grid import difference_heat_map, grid_heat_map
from sae.figures.style import THEMES, contrast
from tests.analysis.report_grid import REPORT


def runs(seeds=1):
    parts = [REPORT.assign(seed=seed, run=[f"run{i}-{seed}" for i in range(12)], state="done") for seed in range(seeds)]
    return pd.concat(parts, ignore_index=True)


def texts(figure):
    return {(int(note.x), int(note.y)): note.text for note in figure.layout.annotations}


def hatched(figure):
    """The cells (column, row) under a hatching, from where its lines really are."""
    cells = set()
    for shape in figure.layout.shapes:
        if shape.name == "missing":
            points = np.array([float(n) for n in re.findall(r"-?\d+\.\d+", shape.path)]).reshape(-1, 2)
            column, row = points.mean(axis=0).round().astype(int)
            assert (np.abs(points - [column, row]) <= 0.5 + 1e-9).all()
            cells.add((int(column), int(row)))
    return cells


def test_every_cell_says_its_value_in_its_place():
    figure = grid_heat_map(runs(), "ev_total")
    heat = figure.data[0]
    assert list(heat.x) == ["512", "1,024", "2,048"] and list(heat.y) == ["5", "10", "20", "100"]
    for line in REPORT.itertuples():
        place = ([512, 1024, 2048].index(line.d_sae), [5, 10, 20, 100].index(line.k))
        assert heat.z[place[1]][place[0]] == line.ev_total
        assert texts(figure)[place] == f"{line.ev_total:.3f}"
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "category"
    assert not hatched(figure)
    shares = grid_heat_map(runs(), "dead")
    assert texts(shares)[(0, 0)] == "85.5 %" and texts(shares)[(0, 3)] == "0.0 %"


def test_a_missing_cell_is_hatched_and_never_nought():
    table = runs().drop(index=4)
    figure = grid_heat_map(table, "ev_total", x_values=[4096])
    assert hatched(figure) == {(1, 1), (3, 0), (3, 1), (3, 2), (3, 3)}
    assert np.isnan(figure.data[0].z[1][1]) and (1, 1) not in texts(figure)
    assert list(figure.data[0].x)[-1] == "4,096"
    assert figure.data[0].zmin == REPORT["ev_total"].min()


def test_states_stand_in_their_cells():
    table = runs()
    for i, state in ((0, "queued"), (1, "running"), (2, "failed"), (3, "cancelled")):
        table.loc[i, ["ev_total", "state"]] = [np.nan, state]
    table["progress"] = np.where(table["state"] == "running", 0.42, np.nan)
    figure = grid_heat_map(table, "ev_total")
    said = texts(figure)
    assert [said[place] for place in ((0, 0), (1, 0), (2, 0), (0, 1))] == [
        "queued",
        "running<br>42 %",
        "failed",
        "cancelled",
    ]
    assert not hatched(figure)
    done_without_value = table.assign(state="done", ev_total=np.nan)
    assert len(hatched(grid_heat_map(done_without_value, "ev_total"))) == 12


def test_a_click_carries_the_runs_of_its_cell():
    figure = grid_heat_map(runs(seeds=2), "ev_total")
    overlay = figure.data[-1]
    assert overlay.type == "scatter" and overlay.marker.opacity < 0.01 and overlay.marker.symbol == "square"
    assert overlay.unselected.marker.opacity == overlay.marker.opacity  # a click dims nothing
    by_cell = {(custom[1], custom[2]): custom for custom in overlay.customdata}
    assert len(by_cell) == 12
    for line in runs().itertuples():
        number = line.run.removeprefix("run").removesuffix("-0")
        custom = by_cell[(line.d_sae, line.k)]
        assert custom[0] == f"run{number}-0" and custom[3] == f"run{number}-0,run{number}-1"
    for x, y, custom in zip(overlay.x, overlay.y, overlay.customdata, strict=True):
        assert (x, y) == (f"{custom[1]:,}", f"{custom[2]}")
    missing = grid_heat_map(runs().drop(index=4), "ev_total").data[-1]
    assert [list(custom)[:4] for custom in missing.customdata if custom[4] == "no run"] == [["", 1024, 10, ""]]


def test_seeds_are_averaged_with_their_spread():
    table = runs(seeds=3)
    table["ev_total"] += table["seed"] * 0.01
    figure = grid_heat_map(table, "ev_total")
    assert figure.data[0].z[0][0] == pytest.approx(0.712)
    assert "0.712" in texts(figure)[(0, 0)] and "± 0.010" in texts(figure)[(0, 0)]
    dead = grid_heat_map(table.assign(dead=table["dead"] - table["seed"] * 0.01), "dead")
    assert "± 1.0 pp" in texts(dead)[(0, 0)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ink_fits_the_colour_below_it(theme):
    figure = grid_heat_map(runs(), "ev_total", theme=theme, selected=(1024, 100))
    inks = {place: note.font.color for place, note in zip(texts(figure), figure.layout.annotations, strict=True)}
    assert inks[(0, 0)] == "#ffffff" and inks[(1, 3)] == "#000000"  # cividis: dark low, light high
    outline = next(shape for shape in figure.layout.shapes if shape.name == "selected")
    assert (outline.x0, outline.x1, outline.y0, outline.y1) == (0.5, 1.5, 2.5, 3.5)
    assert figure.layout.paper_bgcolor == THEMES[theme].paper
    assert contrast(figure.layout.font.color, figure.layout.paper_bgcolor) > 12


def test_no_runs_and_runs_without_a_value():
    empty = grid_heat_map(runs().iloc[:0], "ev_total")
    assert empty.layout.annotations[0].text == "No runs yet" and not empty.data
    without = grid_heat_map(runs().drop(columns=["ev_total", "state"]), "ev_total")
    assert len(hatched(without)) == 12 and not without.data[0].showscale
    one = grid_heat_map(runs().iloc[:1], "ev_total")
    assert texts(one) == {(0, 0): "0.702"} and not one.data[0].showscale


def test_difference_is_centred_on_nought():
    table = REPORT.assign(left=REPORT["ev_total"], right=REPORT["ev_total"] + 0.01, standard_error=np.nan)
    table["difference"] = np.linspace(-0.05, 0.02, 12)
    table.loc[4, "difference"] = np.nan
    figure = difference_heat_map(table)
    heat = figure.data[0]
    assert (heat.zmin, heat.zmax) == (-0.05, 0.05)
    assert heat.colorscale[len(heat.colorscale) // 2] == (0.5, THEMES["light"].paper)
    assert texts(figure)[(0, 0)] == "\u22120.050" and texts(figure)[(2, 3)] == "+0.020"
    assert hatched(figure) == {(1, 1)}
    assert "0.702 against 0.712" in figure.data[-1].customdata[0][4]
    shares = difference_heat_map(table.assign(difference=0.031), metric="dead")
    assert texts(shares)[(0, 0)] == "+3.1 pp"
    assert difference_heat_map(table.iloc[:0]).layout.annotations[0].text == "No cells to compare"
    same = difference_heat_map(table.assign(difference=0.0))
    assert same.data[0].zmin < 0 < same.data[0].zmax
