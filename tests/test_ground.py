"""The ground that the project stands on: what installs it, what starts it, how it looks before any page."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
THEME = CONFIG["theme"]


def requirements(name: str) -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    included = [found for line in lines if line.startswith("-r ") for found in requirements(line[3:])]
    return included + [Requirement(line) for line in lines if line and not line.startswith("-r ")]


PINS: dict[str, Requirement] = {canonicalize_name(pin.name): pin for pin in requirements("constraints.txt")}


# --- requirements ---


@pytest.mark.parametrize("wanted", requirements("requirements.txt") + requirements("requirements-dev.txt"), ids=str)
def test_requirements_are_open_ranges_that_admit_the_pin(wanted: Requirement) -> None:
    operators = {specifier.operator for specifier in wanted.specifier}
    assert ">=" in operators and not operators & {"==", "===", "~="}
    (pin,) = PINS[canonicalize_name(wanted.name)].specifier
    assert wanted.specifier.contains(pin.version)


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line
    assert str(PINS["torch"]) == "torch==2.13.0"


def test_every_package_imported_by_the_product_is_required() -> None:
    distributions = {"sklearn": "scikit-learn", "umap": "umap-learn", "google": "protobuf", "yaml": "pyyaml"}
    required = {canonicalize_name(wanted.name) for wanted in requirements("requirements.txt")}
    files = [*(ROOT / "sae").rglob("*.py"), *(ROOT / "pages").rglob("*.py"), *ROOT.glob("app.py")]
    # sae-lens pins a torch of its own: whoever wants its registry installs it, and without it one line says so.
    extra = {canonicalize_name(wanted.name) for wanted in requirements("requirements-cluster.txt")} | {"sae-lens"}
    missing = {
        f"{path.relative_to(ROOT)}: {package}"
        for path in files
        for package, line in outside_packages(path)
        if (name := canonicalize_name(distributions.get(package, package))) not in required
        and not (name in extra and (package, line) not in outside_packages(path, at_start=True))
    }
    assert missing == set()


def test_pytest_collects_with_requirements_txt_alone() -> None:
    """What only requirements-dev.txt brings is imported inside functions or under TYPE_CHECKING."""
    tools = {"playwright", "axe_playwright_python", "xdist", "pytest_timeout"}
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 3
    early = [
        f"{path.relative_to(ROOT)}:{line}: {package}"
        for path in files
        for package, line in outside_packages(path, at_start=True)
        if package in tools
    ]
    assert early == []


def outside_packages(path: Path, at_start: bool = False) -> set[tuple[str, int]]:
    """(top-level package, line) of what a file imports beyond Python's own library and this repository."""
    found: set[tuple[str, int]] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if at_start and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
                continue
            if isinstance(child, ast.Import):
                found.update((alias.name.partition(".")[0], child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level:
                found.add(((child.module or "").partition(".")[0], child.lineno))
            walk(child)

    walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    own = {"sae", "tests", "pages", "app"} | set(sys.stdlib_module_names)
    return {(package, line) for package, line in found if package not in own}


# --- starting ---


def test_python_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == ">=3.11"
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert project["tool"]["mypy"]["python_version"] == "3.11"
    assert "Python 3.11 or newer" in (ROOT / "README.md").read_text(encoding="utf-8")


def stand_in(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def run_copy(tmp_path: Path, script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script of .ci in a folder of its own, where there is no .venv."""
    folder = tmp_path / "clone" / ".ci"
    folder.mkdir(parents=True)
    for name in (script, "as-root"):
        (folder / name).write_bytes((ROOT / ".ci" / name).read_bytes())
        (folder / name).chmod(0o755)
    surroundings = {**os.environ, **environment}
    return subprocess.run([folder / script], env=surroundings, capture_output=True, text=True, timeout=120)


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    old = stand_in(tmp_path, "python3.9", 'case "$2" in *platform*) echo 3.9.2;; *) exit 1;; esac')
    done = run_copy(tmp_path, "venv", {"PYTHON": str(old)})
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: Python 3.11 or newer is needed, {old} is 3.9.2; "
        "install it or name one: make run PYTHON=/path/to/python3.11"
    ]
    assert not (tmp_path / "clone" / ".venv").exists()


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    """No ensurepip, no pip, and nobody who may install: id says 1000, sudo says no."""
    for name, script in {"id": "echo 1000", "sudo": "exit 1"}.items():
        stand_in(tmp_path, name, script)
    bare = 'case "$*" in -m*) exit 1;; *%d.%d*) echo 3.11;; --version) echo Python 3.11.2;; esac'
    python = stand_in(tmp_path, "bare", bare)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = run_copy(tmp_path, "venv", {"PYTHON": str(python), "PATH": path})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error:") and "sudo apt-get install python3.11-venv" in last
    assert not (tmp_path / "clone" / ".venv").exists()


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_without_chromium_ci_fails_and_others_are_told(tmp_path: Path, ci: str, code: int) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(Path("/usr/bin") / name if (Path("/usr/bin") / name).exists() else f"/bin/{name}")
    done = run_copy(tmp_path, "chromium", {"CI": ci, "PATH": str(tools), "CHROMIUM": "/nowhere/chromium"})
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert "CHROMIUM=/path/to/chrome" in line


def test_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec make .*\btest\b", script.read_text(encoding="utf-8"), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in (
        "-m pytest -n",
        "-m ruff check .",
        "-m mypy",
        "-m streamlit run app.py",
        "-c constraints.txt",
    ):
        assert line in makefile and line in readme
    for target in ("run", "test"):
        assert f"make {target} " in readme and re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


# --- the server and the theme ---


def test_the_server_is_local_and_tells_nobody() -> None:
    assert CONFIG["server"]["address"] == "127.0.0.1" and CONFIG["server"]["port"] == 8501
    assert CONFIG["server"]["headless"] is True
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["client"]["showErrorDetails"] == "none"
    assert "enableStaticServing" not in CONFIG["server"]


def test_streamlit_knows_every_option() -> None:
    config = pytest.importorskip("streamlit.config")
    known = set(config._config_options_template)
    written = {
        ".".join([*path, key])
        for path, table in _tables((), CONFIG)
        for key, v in table.items()
        if not isinstance(v, dict)
    }
    assert len(written) > 60
    assert written <= known, written - known


def _tables(path: tuple[str, ...], table: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    inner = [pair for key, value in table.items() if isinstance(value, dict) for pair in _tables((*path, key), value)]
    return [(path, table), *inner]


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2, definition of relative luminance)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def mixed(front: str, back: str, share: float) -> str:
    """`front` at opacity `share` over `back`."""
    pairs = [(int(front[i : i + 2], 16), int(back[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * f + (1 - share) * b):02x}" for f, b in pairs)


def test_contrast_of_known_pairs() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)  # the well-known near miss of AA
    assert mixed("#000000", "#ffffff", 0.6) == "#666666"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(scheme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn. Captions are the text colour at 60 % (Streamlit)."""
    theme = THEME[scheme]
    grounds = [theme["backgroundColor"], theme["secondaryBackgroundColor"]]
    side = [theme["sidebar"]["backgroundColor"], theme["sidebar"]["secondaryBackgroundColor"]]
    for ground in grounds + side:
        for name in ("textColor", "linkColor"):
            assert contrast(theme[name], ground) >= 4.5, (name, ground)
        assert contrast(theme["primaryColor"], ground) >= 3, ground
    for ground in (grounds[0], side[0]):
        assert contrast(mixed(theme["textColor"], ground, 0.6), ground) >= 4.5, ("caption", ground)
    assert contrast("#ffffff", theme["primaryColor"]) >= 4.5  # a primary button's label
    assert contrast(theme["codeTextColor"], theme["codeBackgroundColor"]) >= 4.5
    assert contrast(theme["dataframeHeaderTextColor"], theme["dataframeHeaderBackgroundColor"]) >= 4.5
    for hue in ("red", "orange", "yellow", "green", "blue", "violet", "gray"):
        text, box = theme[f"{hue}TextColor"], theme[f"{hue}BackgroundColor"]
        assert contrast(text, box) >= 4.5 and contrast(text, grounds[0]) >= 4.5, hue
        assert contrast(theme[f"{hue}Color"], grounds[0]) >= 3, hue


def test_fonts_and_colours_come_from_here() -> None:
    text = (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    assert "//" not in text and "fontFaces" not in text


def test_chart_colours_are_the_published_ramps() -> None:
    plotly = pytest.importorskip("plotly.colors")
    okabe_ito = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
    for scheme in ("light", "dark"):
        colours = THEME[scheme]["chartCategoricalColors"]
        assert set(colours) == okabe_ito | {THEME[scheme]["textColor"]} and len(colours) == 8
    ramp = plotly.sample_colorscale("Cividis", [i / 9 for i in range(10)], colortype="tuple")
    for ours, reference in zip(THEME["chartSequentialColors"], ramp, strict=True):
        shades = [int(ours[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert shades == pytest.approx(reference, abs=0.04), ours
    lightness = [luminance(colour) for colour in THEME["chartSequentialColors"]]
    assert lightness == sorted(lightness)


def test_licence_is_mit() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License") and "the SAE Workbench authors" in text


def test_pins_hold_for_python_3_11() -> None:
    """numpy 2.5 and scipy 1.18 ask for 3.12."""
    for name, limit in {"numpy": "2.5", "scipy": "1.18"}.items():
        (pin,) = PINS[name].specifier
        assert Version(pin.version) < Version(limit)
