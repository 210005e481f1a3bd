"""The documents: every command in them is one that there is, and a chosen set of them is run.

A fenced block may have a mark in the line above it, an HTML comment that no reader sees:

    <!-- runs -->     run here, in the order of `RUN`, in one workspace of the test's
    <!-- long -->     minutes or hours: read, not run
    <!-- network -->  needs the network, or a package that is not installed here: read, not run
    <!-- text -->     no commands

Without a mark a block is read: a command by the parser that it is for, Python by its imports, YAML and TOML as what
they say they are. A block that starts work, or installs something, must say which of these it is.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*DOCUMENTS, *(ROOT / name for name in ("CHANGELOG.md", "SECURITY.md", "benchmarks/README.md"))]
RUN = ("own-activations", "own-sae", "share-with-a-group")
MARKS = ("runs", "long", "network", "text")
STARTS_WORK = {("demo",), ("capture",), ("import",), ("experiment", "run"), ("codi", "train"), ("run", "evaluate")}
#: Programs that are not ours: only their name is known here.
OTHERS = {"cd", "docker", "edit", "export", "git", "ray", "sudo", "torchrun"}
BLOCK = re.compile(r"^(?:<!-- (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python -m sae|make) [^`\n|]+)`")


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The words of each command, without comments and the variables before it."""
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                found.append(words)
        return found


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(document, line, found[1] or "", found[2], found[3])


BLOCKS = list(blocks())


def test_every_fence_is_a_block() -> None:
    for document in DOCUMENTS:
        fences = re.findall(r"^\s*```", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * sum(block.document == document for block in BLOCKS), document


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_a_block_holds_is_there(block: Block) -> None:
    assert block.mark in ("", *MARKS)
    if block.language == "python":
        check_imports(block.text)
    elif block.language == "yaml":
        import yaml

        from sae.experiments.definition import kind_from

        kind_from(yaml.safe_load(block.text))
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.mark != "text":
        for words in block.commands():
            starts = check_command(words)
            assert not starts or block.mark, f"{block}: {shlex.join(words)} needs a mark above the block: {MARKS[:3]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_within_the_text(document: Path) -> None:
    for command in INLINE.findall(BLOCK.sub("", document.read_text(encoding="utf-8"))):
        if "..." not in command.replace("RUN...", ""):
            check_command(shlex.split(command))


def check_command(words: list[str]) -> bool:
    """Whether it starts work or installs something. Raises AssertionError or UserError for what there is not."""
    if words[0] in OTHERS:
        return words[0] in {"git", "sudo", "docker"}
    if words[0].split("/")[-1] in ("pip", "python", "python3.11", "streamlit"):
        return check_python(words)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(word for word in words[1:] if "=" not in word) <= set(targets), words
        return True
    assert (ROOT / words[0]).is_file(), f"unknown command: {shlex.join(words)}"
    return True


def check_python(words: list[str]) -> bool:
    if words[0] == "pip" or words[1:3] == ["-m", "pip"]:
        files = [after for word, after in zip(words, words[1:], strict=False) if word in ("-r", "-c")]
        assert all((ROOT / name).is_file() for name in files), words
        return True
    if words[1] == "-m" and words[2] == "sae":
        end = next((at for at, word in enumerate(words) if word in (">", "|")), len(words))
        return check_ours(words[3:end])
    if words[1] == "-m":
        module = words[2].replace(".", "/")
        ours = (ROOT / f"{module}.py").is_file() or (ROOT / module / "__main__.py").is_file()
        assert ours or importlib.util.find_spec(words[2]) is not None or words[2] == "venv", words
        return ours or words[2] == "venv"
    assert (ROOT / words[1]).is_file(), words
    return True


def check_ours(arguments: list[str]) -> bool:
    """A command of `python -m sae`: its options, its kind, factors, settings and evaluations."""
    from sae.cli.experiments import settings_from
    from sae.cli.main import parser
    from sae.experiments import KINDS, MEASUREMENTS

    if arguments[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            parser().parse_args(arguments)
        return False
    options = parser().parse_args(arguments)
    command = tuple(arguments[:2])
    if command == ("run", "evaluate"):
        from sae.workspace.evaluations import settings_of

        settings_of(options.eval.split(","), settings_from(options.set))
    elif command[0] == "experiment" and "kind" in options and not options.kind.endswith(".yaml"):
        assert options.kind in (KINDS if command[1] == "define" else {**KINDS, **MEASUREMENTS}), options.kind
        if command[1] != "define":
            check_experiment(options)
    return command in STARTS_WORK or command[:1] in STARTS_WORK


def check_experiment(options: Any) -> None:
    from sae.cli.experiments import measurement_spec_of, spec_of
    from sae.experiments import MEASUREMENTS, kind_of
    from sae.experiments.plan import Spec, over_all_layers, over_all_slices, resolve

    if options.kind in MEASUREMENTS:
        MEASUREMENTS[options.kind].settings_of(measurement_spec_of(options)["settings"])
        return
    kind, spec = kind_of(options.kind), Spec(**spec_of(options, "name"))
    assert resolve(kind, over_all_layers(kind, over_all_slices(kind, spec, [(0, 0), (1, 0)]), lambda: [0, 1])).runs


def check_imports(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sae"):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


# --- the blocks that are run ---


def test_the_marked_blocks_run(tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    chosen = [block for block in BLOCKS if block.mark == "runs"]
    assert {block.document.stem for block in chosen} == set(RUN)
    names: dict[str, Any] = {}
    for block in sorted(chosen, key=lambda block: (RUN.index(block.document.stem), block.line)):
        if block.language == "python":
            exec(compile(block.text, str(block), "exec"), names)
            continue
        for words in block.commands():
            assert words[:3] == ["python", "-m", "sae"], f"{block}: only our own commands are run"
            assert main(words[3:]) == 0, f"{block}: {shlex.join(words)}"


# --- links ---


def anchors(document: Path) -> set[str]:
    """Of a document's headings, as GitHub makes them."""
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", one).strip().lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", LINKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        assert there.exists(), f"{target} is not there"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{target}: no such heading"


def test_documents_named_in_the_code_exist() -> None:
    files = [*(ROOT / "sae").rglob("*.py"), *(ROOT / "pages").glob("*.py"), *ROOT.glob("requirements*.txt")]
    files += [ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]
    named = {(path, name) for path in files for name in re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8"))}
    missing = sorted(f"{path.relative_to(ROOT)}: {name}" for path, name in named if not (ROOT / name).exists())
    assert missing == []


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([^)#]+\.md)\)", index)) | set(re.findall(r"`([\w/-]+\.md)`", index))
    assert {path.relative_to(ROOT / "docs").as_posix() for path in DOCUMENTS[2:]} - {"README.md"} <= named


def test_the_readme_has_a_picture_of_each_page() -> None:
    shown = re.findall(r'src="docs/pictures/(\w+)\.png"', (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {path.stem for path in (ROOT / "pages").glob("*.py")} <= set(shown)
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert {path.stem for path in pictures} == set(shown)
    assert sum(path.stat().st_size for path in pictures) < 2_000_000


# --- the reference (`make api`) ---


def test_everything_in_the_reference_has_a_docstring() -> None:
    missing = []
    for path in (ROOT / "sae").rglob("*.py"):
        if path.relative_to(ROOT).parts[1] in ("ui", "cli"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        if not ast.get_docstring(tree):
            missing.append(str(path.relative_to(ROOT)))
        missing += [f"{path.relative_to(ROOT)}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert missing == []
