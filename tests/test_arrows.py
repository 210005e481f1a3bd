"""Who may know whom: the imports of every file, held against one table.

Module level, inside functions and under TYPE_CHECKING all count: to know somebody later is to know them.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each part of `sae` and the parts it may import. What is not declared here is not part of the house.
MAY_KNOW: dict[str, set[str]] = {"common": set()}
for _part in ("problems", "models", "objectives", "figures"):
    MAY_KNOW[_part] = {"common"}
MAY_KNOW["language_models"] = {"common", "problems"}
MAY_KNOW["capture"] = {"common", "problems", "language_models"}
MAY_KNOW["training"] = {"common", "models", "objectives"}
MAY_KNOW["evaluation"] = {"common", "models", "language_models"}
MAY_KNOW["analysis"] = {"common", "models", "language_models"}
MAY_KNOW["formats"] = {"common", "models"}
MAY_KNOW["experiments"] = set(MAY_KNOW)
MAY_KNOW["workspace"] = set(MAY_KNOW)
# What `import sae` offers. Opening it from inside would close a circle, so only the parts on top do.
MAY_KNOW["sae"] = set(MAY_KNOW)
MAY_KNOW["report"] = set(MAY_KNOW) - {"sae"}
_BELOW = set(MAY_KNOW)
MAY_KNOW["cli"] = _BELOW
MAY_KNOW["ui"] = _BELOW
MAY_KNOW["__main__"] = {"cli", "common"}
MAY_KNOW["app.py"] = MAY_KNOW["pages"] = _BELOW | {"ui"}

STREAMLIT = {"app.py", "pages", "ui"}  # alone import it
LIGHT = {"app.py", "pages", "ui", "figures", "report", "cli", "__main__"}  # start without these:
HEAVY = {"torch", "transformers", "umap"}


class Import(NamedTuple):
    """One import statement: where it stands, what it brings in, and whether it runs when the file loads."""

    file: Path
    line: int
    modules: tuple[str, ...]
    at_start: bool


def source_files(root: Path) -> list[Path]:
    """Every Python file of the product under `root`, relative to it."""
    files = [path for folder in ("sae", "pages") for path in (root / folder).rglob("*.py")]
    files += [root / "app.py"] if (root / "app.py").exists() else []
    return sorted(path.relative_to(root) for path in files)


def part_of(file: Path) -> str:
    """The table's entry for a file: `sae/models/topk.py` is `models`, `sae/__init__.py` is `sae`."""
    if file.parts[0] != "sae":
        return file.parts[0]
    return "sae" if file.parts[1] == "__init__.py" else Path(file.parts[1]).stem


def imports_of(root: Path, file: Path) -> Iterator[Import]:
    """The imports of one file, relative ones resolved, `importlib.import_module("constant")` among them."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"), str(file))
    yield from _walk(tree, file, at_start=True)


def _walk(node: ast.AST, file: Path, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(child, file, at_start=False)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _walk(ast.Module(child.body, []), file, at_start=False)
            yield from _walk(ast.Module(child.orelse, []), file, at_start)
        else:
            modules = _modules(child, file)
            if modules:
                yield Import(file, getattr(child, "lineno", 0), modules, at_start)
            yield from _walk(child, file, at_start)


def _modules(node: ast.AST, file: Path) -> tuple[str, ...]:
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = file.with_suffix("").parts[: -node.level]
            base = ".".join([*package, *([base] if base else [])])
        if base == "sae":  # `from sae import models` knows models; `from sae import __version__` knows nobody
            return tuple(f"sae.{alias.name}" for alias in node.names if alias.name != "__version__")
        return (base,)
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
            return (node.args[0].value,)
    return ()


def violations(root: Path) -> list[str]:
    """Every import under `root` that the table does not allow, and every part that it does not declare."""
    wrong = []
    for file in source_files(root):
        part = part_of(file)
        if part not in MAY_KNOW:
            wrong.append(f"{file}: {part} is not declared in MAY_KNOW")
            continue
        for found in imports_of(root, file):
            where = f"{file}:{found.line}"
            for module in found.modules:
                top, _, rest = module.partition(".")
                if top == "sae":
                    known = rest.partition(".")[0]
                    target = known if known and _is_part(root, known) else "sae"
                    if target != part and target not in MAY_KNOW[part]:
                        wrong.append(f"{where}: {part} must not know {target} ({module})")
                elif top in ("app", "pages", "tests"):
                    wrong.append(f"{where}: nobody imports {top}")
                elif top == "streamlit" and part not in STREAMLIT:
                    wrong.append(f"{where}: {part} must not import streamlit")
                elif top in HEAVY and part in LIGHT and found.at_start:
                    wrong.append(f"{where}: {part} must not import {top} when it starts")
    return wrong


def _is_part(root: Path, name: str) -> bool:
    return name in MAY_KNOW or (root / "sae" / name).is_dir() or (root / "sae" / f"{name}.py").exists()


def loaded_by(root: Path, statements: list[str], unwanted: set[str]) -> set[str]:
    """Which modules of `unwanted` are loaded once a fresh interpreter in `root` ran `statements`."""
    code = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])} & unwanted


def start_of(root: Path, part: str) -> list[str]:
    """What is imported when `part` starts: its own modules, or for pages and app.py what they import."""
    statements = []
    for file in source_files(root):
        if part_of(file) != part:
            continue
        if file.parts[0] == "sae":
            name = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
            statements.append(f"import {name}")
        else:
            names = [name for found in imports_of(root, file) if found.at_start for name in found.modules]
            statements += [f"import {name}" for name in names if _importable(root, name)]
    return sorted(set(statements))


def _importable(root: Path, name: str) -> bool:
    """False for what `from sae import open` names: a function. `from __future__` loads nothing."""
    if not name.startswith("sae."):
        return name != "__future__"
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def test_every_import_follows_the_table() -> None:
    assert len(source_files(ROOT)) > 5
    assert violations(ROOT) == []


def test_the_table_has_no_circles() -> None:
    order = list(TopologicalSorter(MAY_KNOW).static_order())
    assert order[0] == "common"
    parts = ("models", "training", "experiments", "workspace", "report", "ui", "pages")
    positions = [order.index(part) for part in parts]
    assert positions == sorted(positions)


@pytest.mark.parametrize("part", sorted(LIGHT - {"__main__"}))
def test_starts_without_heavy_packages(part: str) -> None:
    statements = start_of(ROOT, part)
    if not statements:
        pytest.skip(f"there is no {part} yet")
    unwanted = HEAVY if part in STREAMLIT else HEAVY | {"streamlit"}
    assert loaded_by(ROOT, statements, unwanted) == set()


def test_the_command_line_answers_without_heavy_packages() -> None:
    if not (ROOT / "sae" / "__main__.py").exists():
        pytest.skip("there is no command line yet")
    run = [
        "import contextlib, io, runpy, sys",
        "sys.argv = ['sae', '--help']",
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as said:",
        "    runpy.run_module('sae', run_name='__main__')",
        "assert 'usage' in said.getvalue().lower(), said.getvalue()",
    ]
    assert loaded_by(ROOT, run, HEAVY | {"streamlit", "pandas", "sklearn", "scipy"}) == set()


PLANTED = {
    "sae/models/a.py": ("import sae.training.loop", "models must not know training"),
    "sae/objectives/a.py": ("def f():\n    from sae.models import topk", "objectives must not know models"),
    "sae/figures/a.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sae.analysis import pareto",
        "figures must not know analysis",
    ),
    "sae/problems/a.py": ("from .. import capture", "problems must not know capture"),
    "sae/problems/b/c.py": ("from ...capture.store import Activations", "problems must not know capture"),
    "sae/training/a.py": ("from sae import workspace", "training must not know workspace"),
    "sae/analysis/a.py": (
        "import importlib\nx = importlib.import_module('sae.evaluation.probes')",
        "analysis must not know evaluation",
    ),
    "sae/evaluation/a.py": ("import sae\nsae.open('run')", "evaluation must not know sae"),
    "sae/formats/a.py": (
        "class A:\n    def f(self):\n        import streamlit as st",
        "formats must not import streamlit",
    ),
    "sae/cli/a.py": ("from sae.ui import links", "cli must not know ui"),
    "sae/ui/a.py": (
        "try:\n    import torch.nn\nexcept ImportError:\n    pass",
        "ui must not import torch when it starts",
    ),
    "sae/workspace/a.py": ("from sae.cli import main", "workspace must not know cli"),
    "sae/extra/a.py": ("x = 1", "extra is not declared"),
    "pages/a.py": ("import umap", "pages must not import umap when it starts"),
    "app.py": ("from sae.cli.main import main", "app.py must not know cli"),
}


@pytest.mark.parametrize("file", PLANTED)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str) -> None:
    source, expected = PLANTED[file]
    _plant(tmp_path, {file: source})
    (found,) = violations(tmp_path)
    assert found.startswith(file) and expected in found


def test_what_the_table_allows_passes(tmp_path: Path) -> None:
    _plant(
        tmp_path,
        {
            "sae/__init__.py": "def open(run):\n    from sae.workspace import runs\n",
            "sae/models/topk.py": "import torch\nfrom sae import __version__\nimport sae.common.files\n",
            "sae/models/base.py": "from .topk import x\nfrom sae.models import y\n",
            "sae/figures/a.py": "def f():\n    import umap\n",
            "sae/capture/a.py": "from sae.language_models.hooks import h\nfrom sae.problems import p\n",
            "sae/cli/a.py": "import sae\nfrom sae.workspace import jobs\n",
            "sae/__main__.py": "from sae.cli.main import main\n",
            "pages/grid.py": "import streamlit\nfrom sae.ui import links\nfrom sae.figures import heat_map\n",
            "app.py": "import streamlit\n",
        },
    )
    assert violations(tmp_path) == []


def test_a_heavy_import_behind_another_module_is_caught(tmp_path: Path) -> None:
    """What one file's imports can't show: ui imports analysis, and analysis imports the heavy package."""
    _plant(
        tmp_path,
        {
            "sae/__init__.py": "",
            "sae/ui/__init__.py": "from sae.analysis import maps\n",
            "sae/analysis/__init__.py": "",
            "sae/analysis/maps.py": "import umap\n",
            "umap.py": "",
            "pages/a.py": "from sae.ui import x\nfrom sae import analysis\n",
        },
    )
    assert violations(tmp_path) == []
    for part in ("ui", "pages"):
        assert loaded_by(tmp_path, start_of(tmp_path, part), HEAVY) == {"umap"}
    assert loaded_by(tmp_path, ["import sae"], HEAVY) == set()


def _plant(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
