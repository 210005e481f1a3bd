"""Reports: what the file holds, that it can load and run nothing else, and that its numbers are the run's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from safetensors.numpy import load_file

from sae import __version__
from sae.cli.main import main
from sae.common.errors import UserError
from sae.figures import activity, curves, grid
from sae.report.document import Panel, Report
from sae.report.features import choose
from sae.report.make import make_report
from sae.report.render import figure_json, to_html
from sae.report.visible import visible
from sae.workspace.notes import Notes
from tests.report.conftest import HOSTILE


class Parsed(HTMLParser):
    """Elements by name with their attributes, and the content of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def parsed(written: Path) -> Parsed:
    return Parsed(written.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(parsed: Parsed) -> dict[str, Any]:
    return json.loads(parsed.scripts[0])


def test_every_recipe_says_the_versions_that_it_was_made_with(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    recipes = text.count("<p>Command</p>")
    assert recipes and text.count("<p>Versions</p><pre>this app: sae-workbench ") == recipes
    assert text.count(f"the run was trained with: sae-workbench {__version__}, python ") == recipes


def test_nothing_is_loaded_and_only_two_scripts_may_run(parsed: Parsed) -> None:
    assert not [
        attributes for _, attributes in parsed.elements if {"src", "href", "action", "onerror"} & set(attributes)
    ]
    assert not parsed.named("img") and not parsed.named("iframe") and not parsed.named("link")
    (policy,) = [meta["content"] for meta in parsed.named("meta") if meta.get("http-equiv")]
    allowed = re.findall(r"'sha256-([^']+)'", policy or "")
    held = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parsed.scripts]
    assert len(held) == 3 and allowed == held[1:], "the first script is data, which does not run"
    assert "default-src 'none'" in (policy or "") and "unsafe-eval" not in (policy or "")
    assert "'unsafe-inline'" not in (policy or "").split("style-src")[0]


def test_hostile_text_stays_text(written: Path, parsed: Parsed, data: dict[str, Any]) -> None:
    text = written.read_text(encoding="utf-8")
    assert "<img src=x" not in text and "alert(2)</script>" not in text
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067") & set(text.split("plotly.js v")[0])
    (card,) = [card for card in data["features"]["cards"] if card["feature"] == 3]
    assert card["note"] == HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u202c", "⟨U+202C⟩")
    assert card["label"] == card["note"] and card["lists"] == [visible(HOSTILE[:60])]
    assert len(parsed.scripts) == 3


def test_cards_have_the_run_s_numbers(reported, run_id: str, data: dict[str, Any]) -> None:
    codes = reported.run(run_id).codes()
    x = np.zeros((codes.n_rows, codes.d_sae))
    for feature in range(codes.d_sae):
        rows, values = codes.feature(feature)
        x[rows, feature] = values
    activations = reported.open_activations("tokens")
    assert load_file(reported.run_folder(run_id) / "weights.safetensors")["W_dec"].shape[0] == len(x.T)
    cards = data["features"]["cards"]
    assert {card["feature"] for card in cards} >= set(np.flatnonzero((x != 0).any(0)))
    shelf, checked = data["features"]["examples"], 0
    for card in cards:
        column = x[:, card["feature"]]
        assert card["density"] == pytest.approx((column != 0).mean(), rel=1e-3)
        assert sum(card["counts"]) == (column != 0).sum()
        best = pd.Series(np.abs(column)).groupby(activations.rows["example"].to_numpy()).max()
        best = best[best > 0].sort_values(ascending=False).to_numpy()[: len(card["examples"])]
        assert [abs(value) for _, value, _ in card["examples"]] == pytest.approx(list(best), rel=1e-3)
        for place, value, marks in card["examples"]:
            example = int(shelf[place]["heading"].removeprefix("Example ").replace(",", ""))
            assert shelf[place]["text"] == activations.examples["question"][example]
            rows = np.flatnonzero((activations.rows["example"] == example).to_numpy() & (column != 0))
            places = activations.rows.iloc[rows][["char_start", "char_end"]].to_numpy().tolist()
            assert [mark[:2] for mark in marks] == places
            assert [mark[2] for mark in marks] == pytest.approx(column[rows].tolist(), rel=1e-3)
            assert value in [mark[2] for mark in marks]
            checked += 1
    assert checked > 30


def test_a_feature_takes_at_most_50_kilobytes(reported, run_id: str, monkeypatch) -> None:
    """Whatever its examples hold: here every one is a text of its own, of characters that need the longest escape."""
    from sae.capture.store import Activations

    long = pd.DataFrame({"question": [f"{i}" + "<" * 50_000 for i in range(40)], "answer": ["<" * 50_000] * 40})
    monkeypatch.setattr(Activations, "examples", long)
    with_all = to_html(make_report(reported, run_id, features="0,1,2,3,4"))
    with_one = to_html(make_report(reported, run_id, features="0"))
    assert (len(with_all.encode()) - len(with_one.encode())) / 4 < 50_000
    assert len(with_one.encode()) - len(get_plotlyjs().encode()) < 50_000


def test_the_switch_gives_what_would_have_been_drawn_in_the_other_theme() -> None:
    history = pd.DataFrame({"step": [1, 2], "validation_ev_total": [0.1, 0.5]})
    table = pd.DataFrame({"k": [5, 5, 9], "d_sae": [8, 16, 8], "dead": [0.1, 0.2, 0.3]})
    bands = pd.DataFrame({"band": ["dead", "rare"], "features": [3, 4], "share": [0.4, 0.6]})
    drawn = {
        "curves": lambda theme: curves.learning_curves({str(i): history for i in range(8)}, theme=theme),
        "grid": lambda theme: grid.grid_heat_map(table, "dead", theme=theme),
        "bands": lambda theme: activity.density_bands(bands, n_rows=10, theme=theme),
        "histogram": lambda theme: activity.activation_histogram(
            pd.DataFrame({"low": [0.0], "high": [1.0], "rows": [3]}), n_zero=1, n_rows=4, theme=theme
        ),
    }
    report = Report("x", "panel", "", (), [Panel("a", "a", "", table, drawn["grid"]("light"))])
    themes = json.loads(Parsed(to_html(report)).scripts[0])["themes"]
    swapped = {colour: themes["dark"][part] for part, colour in themes["light"].items()}

    def walk(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: walk(part) for name, part in item.items()}
        return (
            [walk(part) for part in item]
            if isinstance(item, list)
            else swapped.get(item, item)
            if isinstance(item, str)
            else item
        )

    for name, draw in drawn.items():
        assert walk(figure_json(draw("light"))) == figure_json(draw("dark")), name


def test_figures_need_no_webgl_and_keep_their_numbers(reported) -> None:
    report = make_report(reported, "tokens")
    assert [panel.key for panel in report.panels] == ["ev_total", "dead", "frontier", "curves", "results"]
    data = json.loads(Parsed(to_html(report)).scripts[0])
    assert not {trace["type"] for panel in data["panels"].values() for trace in panel.get("data", [])} & {"scattergl"}
    shown = data["panels"]["results"]["table"]
    names = [column[0] for column in shown["columns"]]
    lines = [dict(zip(names, row, strict=True)) for row in shown["rows"]]
    for run in reported.experiment("tokens").runs():
        (line,) = [line for line in lines if line["id"] == run.id and line["split"] == "validation"]
        metrics = json.loads((run.folder / "metrics.json").read_text())["metrics"]["validation"]
        assert line["ev_total"] == pytest.approx(metrics["ev_total"], rel=1e-6)


def test_which_features(reported, run_id: str) -> None:
    run = reported.run(run_id)
    notes = Notes(run.folder, 16)
    name = next(iter(notes.lists()))
    assert choose(run)[0] == 3 and sorted(choose(run, "all")) == list(range(16))
    assert choose(run, "5,1,5") == [5, 1] and choose(run, f"list:{name}") == [3, 5]
    busiest = run.features().sort_values("n_active", ascending=False)["n_active"].to_numpy()
    assert run.features()["n_active"][choose(run, "first:2")].tolist() == busiest[:2].tolist()
    for asked, said in (("16", "features 0 to 15"), ("x", "can't be chosen"), ("list:no", "no list 'no'")):
        with pytest.raises(UserError, match=said):
            choose(run, asked)


def test_the_command(reported, run_id: str, tmp_path: Path, capsys) -> None:
    there = ["--workspace", str(reported.root)]
    assert main(["share", run_id, "--panel", "curves", "--out", str(tmp_path / "a.html"), "--json", *there]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["panels"] == ["curves"] and said["bytes"] == (tmp_path / "a.html").stat().st_size
    for words, expected in (
        (["no", "--out", "a.html"], "no experiment or run 'no'"),
        (["tokens", "--out", "a.docx"], "must end in"),
        (["tokens", "--out", "a.html", "--features", "1"], "is an experiment"),
        (["tokens", "--out", "a.html", "--panel", "no"], "its panels: ev_total, dead"),
    ):
        assert main(["share", *words, *there]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ") and expected in line


def test_without_activations_cards_say_why(reported, run_id: str, tmp_path: Path, monkeypatch) -> None:
    import shutil

    from sae.workspace import Workspace

    shutil.copytree(reported.root / "runs", tmp_path / "runs")
    report = make_report(Workspace(tmp_path), run_id)
    assert report.features is not None and not any(card["examples"] for card in report.features["cards"])
    assert "no activations named 'tokens'" in report.features["said"]
