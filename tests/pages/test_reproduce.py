"""Every *Reproduce* recipe runs and gives the panel's own numbers: its Python here, its command by the command line."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.basedatatypes import BaseFigure

from sae.cli.main import main
from sae.ui import panel
from sae.ui.reproduce import Reproduce
from sae.workspace import Workspace
from sae.workspace.findings import Findings

VIEWS: list[tuple[str, dict[str, str]]] = [
    *(("run", {"view": view}) for view in ("overview", "activity", "geometry", "autopsy", "configuration")),
    ("home", {"q": "k=4", "sort": "d_sae"}),
    ("home", {"list": "experiments"}),
    ("home", {"list": "jobs"}),
    ("features", {}),
    ("pairs", {}),
    *(("grid", {"view": view}) for view in ("heat-maps", "difference", "frontier", "configurations")),
    *(("grid", {"view": view}) for view in ("scaling", "runs")),
    ("claims", {}),
    ("claims", {"view": "figures"}),
    ("data", {"activations": "rows"}),
    ("data", {"activations": "rows", "show": "problems"}),
    ("train", {"show": "watch"}),
]


@pytest.mark.parametrize(
    ("page", "address"), VIEWS, ids=lambda part: part if isinstance(part, str) else "-".join(part.values())
)
def test_recipes_run(held, results, page, address):
    if page in ("run", "features", "pairs"):
        address = {**address, "run": results.experiment("both").run_ids()[0]}
    elif page in ("grid", "claims", "train"):
        address = {**address, "experiment": "both"}
    held(results, page, address)


def test_those_of_a_run_that_is_not_finished(held, own_results):
    run = own_results.experiment("both").run_ids()[0]
    (own_results.run_folder(run) / "metrics.json").unlink()
    recipes = held(own_results, "train", {"experiment": "both", "show": "watch", "run": run})
    assert any(run in recipe.python and "experiment run" in recipe.command for recipe in recipes)


def test_those_of_the_list_of_findings(held, own_results):
    run = own_results.experiment("both").run_ids()[0]
    Findings(own_results).add("K matters", "Ada", [(f"run?run={run}", "")])
    assert any("findings" in recipe.command for recipe in held(own_results, "share", {"view": "findings"}))


@pytest.fixture
def held(open_page, offered, monkeypatch, capsys, tmp_path: Path) -> Callable[..., list[Reproduce]]:
    """Opens a page and runs the recipes of its panels; returns them."""
    panels: list[tuple[Any, pd.DataFrame, Any]] = []
    original = panel.downloads

    def noting(fig, table, *, reproduce=None, **named):
        panels.append((fig, table, reproduce))
        original(fig, table, reproduce=reproduce, **named)

    monkeypatch.setattr(panel, "downloads", noting)
    # Every popover as if it were open.
    monkeypatch.setattr(panel, "_when_open", lambda icon, key, said, draw: draw())

    def hold(workspace: Workspace, page: str, address: dict[str, str]) -> list[Reproduce]:
        at = open_page(page, workspace, **address)
        assert not at.exception and not at.error
        recipes = [text.value for text in at.markdown if text.value == "**Command**"]
        versions = [code.value for code in at.code if code.value.startswith("this app: ")]
        assert len(versions) == len(recipes) and bool(recipes) == any(theirs for *_, theirs in panels)
        assert all(f"torch {version('torch')}" in line and "python 3." in line for line in versions)
        made: list[Any] = []
        monkeypatch.setattr(BaseFigure, "show", lambda self, *a, **k: made.append(self))
        monkeypatch.chdir(tmp_path)
        for recipe in list(offered):
            made.clear()
            value = run_python(recipe.python, page)
            for fig, table, theirs in panels:
                if theirs is recipe:
                    same_numbers(fig, table, made[-1] if made else value)
            for line in recipe.command.splitlines():
                words = shlex.split(line)
                assert words[:3] == ["python", "-m", "sae"], line
                if words[3:5] == ["experiment", "run"]:
                    continue  # would train; that these commands are taken is tested with the experiments
                capsys.readouterr()
                assert main([*words[3:], "--workspace", str(workspace.root)]) == 0, line
                if "--json" in words:
                    json.loads(capsys.readouterr().out)
        return [theirs for *_, theirs in panels if theirs]

    return hold


def run_python(text: str, page: str) -> Any:
    """Run a recipe, our own text; the value of its last line if that is an expression, as a notebook shows it."""
    tree = ast.parse(text)
    names: dict[str, Any] = {}
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"<{page}>", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), f"<{page}>", "eval"), names)


def same_numbers(fig: Any, table: pd.DataFrame, got: Any) -> None:
    """What a recipe drew or gave holds the numbers of its panel: trace by trace, or column by column."""
    if isinstance(got, BaseFigure) and fig is not None:
        assert len(got.data) and len(got.data) <= len(fig.data)
        for ours, theirs in zip(got.data, fig.data, strict=False):
            for axis in ("x", "y", "z"):
                same(getattr(ours, axis, None), getattr(theirs, axis, None), f"{axis} of {fig.layout.title.text}")
    elif isinstance(got, pd.DataFrame):
        shared = [name for name in table.columns if name in got.columns]
        assert shared and len(got) >= len(table), "a panel may show the beginning of what the recipe gives"
        for name in shared:
            same(got[name].iloc[: len(table)], table[name], str(name))


def same(ours: Any, theirs: Any, what: str) -> None:
    if ours is None or theirs is None:
        assert ours is None and theirs is None, what
        return
    left, right = np.asarray(ours), np.asarray(theirs)
    if left.dtype.kind in "fiu" and right.dtype.kind in "fiu":
        np.testing.assert_allclose(left, right, rtol=1e-6, err_msg=what)
    else:
        assert left.astype(str).tolist() == right.astype(str).tolist(), what
