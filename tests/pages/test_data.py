"""Data over an empty workspace, activations with problems, and refused imports."""

from __future__ import annotations

import numpy as np
import pytest

from sae.ui import data_view
from sae.workspace import Workspace
from tests.pages.conftest import N
from tests.pages.test_home import words


def test_without_activations_the_ways_to_some_are_shown(open_page, workspace):
    at = open_page("data", workspace)
    assert not at.exception
    assert "No activations yet" in words(at)


def test_what_activations_are(open_page, trained):
    at = open_page("data", trained)
    assert not at.exception
    manifest = Workspace(trained).activations()[0]
    shown = dict(zip(*(at.table[0].value[column] for column in at.table[0].value), strict=True))
    assert shown["Shape"] == f"{N} rows × {manifest['d_in']} dimensions, float32"
    assert shown["Split"] == "train 160, validation 40"
    assert "133 right, 67 wrong" in words(at)
    x = np.load(trained / "activations" / "rows" / "activations.npy").astype(float)
    tiles = {metric.label: metric.value for metric in at.metric}
    assert float(tiles["Total variance"].replace(",", "")) == pytest.approx(x.var(0).sum(), abs=0.01)
    assert float(tiles["Size of the mean"].replace(",", "")) == pytest.approx(np.linalg.norm(x.mean(0)), abs=0.01)
    assert not at.warning
    assert len(at.get("plotly_chart")) == 1


def test_a_near_constant_slice_is_warned_about(open_page, copied):
    path = copied.activations_folder("rows") / "activations.npy"
    x = np.load(path)
    np.save(path, (x * 1e-4 + 3).astype(np.float32))
    at = open_page("data", copied)
    assert "Near" in at.warning[0].value


def test_broken_activations_are_one_line(open_page, copied):
    (copied.activations_folder("rows") / "activations.npy").write_bytes(b"no array")
    at = open_page("data", copied)
    assert not at.exception
    assert len(at.error) == 1
    assert "Traceback" not in words(at)


def test_problems_are_searched_and_one_is_opened(open_page, trained):
    at = open_page("data", trained, show="problems", q="apples 17", of_split="validation", example="4")
    assert not at.exception
    shown = at.dataframe[0].value
    # 169 is found by its answer, 170.
    assert list(shown["example"]) == [i for i in range(4, N, 5) if "17" in f"{i} {i + 1} {i if i % 3 == 0 else i + 1}"]
    assert set(at.dataframe[0].value["split"]) == {"validation"}
    texts = [text.value for text in at.text]
    assert "Ann has 4 apples and gets more. How many has she?" in texts
    assert "4+1 = 5\n4+2 = 6" in texts


def test_problems_by_steps_and_by_right_and_wrong(trained):
    activations = Workspace(trained).open_activations("rows")
    table = data_view.problems_table(activations)
    assert len(table) == N
    wrong = data_view.chosen_problems(table, right="wrong")
    assert (wrong["example"] % 3 == 0).all() and len(wrong) == 67
    assert len(data_view.chosen_problems(table, steps="2", right="right")) == sum(i % 3 == 1 for i in range(N))


def test_a_problem_that_is_not_there_is_said(open_page, trained):
    at = open_page("data", trained, show="problems", example="999")
    assert not at.exception
    assert "999" in at.warning[0].value


def test_a_capture_is_queued(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", layers="3, 5", many="7")
    assert not at.exception
    next(button for button in at.button if button.label == "Capture").click().run()
    assert not at.exception and not at.error
    (job,) = Workspace(workspace).jobs.all()
    assert (job.kind, job.spec["layers"], job.spec["problems"]) == ("capture", [3, 5], "generated:7")
    assert no_supervisor


def test_a_capture_with_bad_layers_is_refused_in_one_line(open_page, workspace, no_supervisor):
    at = open_page("data", workspace, show="capture", layers="three")
    next(button for button in at.button if button.label == "Capture").click().run()
    assert len(at.error) == 1 and "three" in at.error[0].value
    assert Workspace(workspace).jobs.all() == []


def test_import_takes_an_array_and_refuses_nan(open_page, workspace, tmp_path):
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    np.save(tmp_path / "good.npy", x)
    x[3, 1] = np.nan
    np.save(tmp_path / "bad.npy", x)
    at = open_page("data", workspace, show="import")
    at.text_input(key="array_path").set_value(str(tmp_path / "bad.npy")).run()
    next(button for button in at.button if button.label == "Import").click().run()
    assert not at.exception
    assert len(at.error) == 1 and "NaN" in at.error[0].value
    assert Workspace(workspace).activations() == []
    at.text_input(key="array_path").set_value(str(tmp_path / "good.npy")).run()
    next(button for button in at.button if button.label == "Import").click().run()
    assert not at.error
    assert [manifest["name"] for manifest in Workspace(workspace).activations()] == ["good"]
