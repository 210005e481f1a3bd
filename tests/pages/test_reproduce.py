"""Every *Reproduce* recipe runs: its Python in this process, its command through the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from plotly.basedatatypes import BaseFigure

from sae.cli.main import main

VIEWS: list[tuple[str, dict[str, str]]] = [
    *(("run", {"view": view}) for view in ("overview", "activity", "geometry", "autopsy", "configuration")),
    ("features", {}),
    ("pairs", {}),
    *(("grid", {"view": view}) for view in ("heat-maps", "difference", "frontier", "configurations")),
    *(("grid", {"view": view}) for view in ("scaling", "runs")),
    ("claims", {}),
    ("claims", {"view": "figures"}),
    ("data", {"activations": "rows"}),
]


@pytest.mark.parametrize(
    ("page", "address"), VIEWS, ids=lambda part: part if isinstance(part, str) else "-".join(part.values())
)
def test_recipes_run(open_page, results, offered, monkeypatch, capsys, tmp_path: Path, page, address):
    if page in ("run", "features", "pairs"):
        address = {**address, "run": results.experiment("both").run_ids()[0]}
    elif page in ("grid", "claims"):
        address = {**address, "experiment": "both"}
    at = open_page(page, results, **address)
    assert not at.exception and not at.error
    monkeypatch.setattr(BaseFigure, "show", lambda self, *a, **k: None)
    monkeypatch.chdir(tmp_path)
    for recipe in list(offered):
        exec(compile(recipe.python, f"<{page}>", "exec"), {})  # our own text, which is what is tested
        for line in recipe.command.splitlines():
            words = shlex.split(line)
            assert words[:3] == ["python", "-m", "sae"], line
            if words[3:5] == ["experiment", "run"]:
                continue  # would train; that these commands are taken is tested with the experiments
            capsys.readouterr()
            assert main([*words[3:], "--workspace", str(results.root)]) == 0, line
            if "--json" in words:
                json.loads(capsys.readouterr().out)
