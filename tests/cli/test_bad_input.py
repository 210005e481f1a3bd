"""What `capture` and `codi evaluate` say of checkpoints and problems that can't be used: one last line, exit code 2."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from sae.cli.main import main
from sae.common.errors import UserError
from sae.problems import generate, write_jsonl
from sae.workspace import Workspace
from tests.language_models.codi import published, tiny

TENSOR = f"{published.PREFIX}model.layers.1.mlp.up_proj.lora_B.default.weight"
COMMANDS = ("capture", "evaluate")


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Three problems that can be read."""
    file = tmp_path / "problems.jsonl"
    write_jsonl(generate(3, 1), file)
    return file


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, why: int) -> None:
    def refuse(workspace, name, **named):
        raise OSError(why, os.strerror(why), str(tmp_path / "a.html"))

    monkeypatch.setattr("sae.report.make.make_report", refuse)
    assert main(["share", "x", "--out", str(tmp_path / "a.html"), "--workspace", str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith(f"error: {tmp_path / 'a.html'}: {os.strerror(why)}")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sae.report.make.make_report", lambda workspace, name, **named: None)
    monkeypatch.setattr("sae.report.render.to_html", lambda report: "")
    assert main(["share", "x", "--out", str(tmp_path / "file" / "a.html"), "--workspace", str(tmp_path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: {tmp_path / 'file'}") and said.endswith("give another path")


def test_an_index_that_cannot_be_made_is_one_line(tmp_path, capsys) -> None:
    (tmp_path / "workspace.db").mkdir()  # sqlite can't open it, as in a folder that can't be written to
    assert main(["experiment", "list", "--workspace", str(tmp_path)]) == 0
    capsys.readouterr()
    with pytest.raises(UserError, match="can't be opened .*SAE_READ_ONLY=1"):
        Workspace(tmp_path).jobs.all()


def words(command: str, model: Path, problems: Path, tmp_path: Path) -> list[str]:
    shared = ["--model", str(model), "--problems", str(problems)]
    if command == "evaluate":
        return ["codi", "evaluate", *shared]
    where = [
        "--positions",
        "thoughts",
        "--layers",
        "all",
        "--name",
        "found",
        "--workspace",
        str(tmp_path / "workspace"),
    ]
    return ["capture", *shared, *where]


def refused(capsys: pytest.CaptureFixture[str], asked: list[str]) -> str:
    """The last line on standard error."""
    assert main(asked) == 2
    found = capsys.readouterr()
    assert found.out == ""
    last = found.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and found.err.count("error:") == 1 and "Traceback" not in found.err
    return last


def line_of(file: Path, number: int) -> dict[str, str]:
    return json.loads(file.read_text().splitlines()[number])


def write(file: Path, lines: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_without_a_tensor(
    command: str, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {name: tensor for name, tensor in published.state("llama").items() if name != TENSOR}
    folder = published.write(tmp_path / "codi-lacking", "llama", state)
    last = refused(capsys, words(command, folder, problems, tmp_path))
    assert f"lacks {TENSOR} of shape (40, 3)" in last and str(folder / "model.safetensors") in last


@pytest.mark.parametrize("command", COMMANDS)
def test_a_checkpoint_with_a_misshapen_tensor(
    command: str, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {**published.state("llama"), TENSOR: torch.zeros(39, 3)}
    folder = published.write(tmp_path / "codi-misshapen", "llama", state)
    last = refused(capsys, words(command, folder, problems, tmp_path))
    assert f"{TENSOR} in {folder / 'model.safetensors'} has shape (39, 3), expected is (40, 3)" in last


@pytest.mark.parametrize("command", COMMANDS)
def test_no_answer_with_its_mark(
    command: str, model: Path, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line_of(problems, number) for number in range(3)]
    unmarked = [{**line, "answer": line["answer"].replace("####", "so:")} for line in lines]
    last = refused(capsys, words(command, model, write(problems, unmarked), tmp_path))
    assert str(problems) in last and "line 0 (counted from 0)" in last and "no '####'" in last


@pytest.mark.parametrize("command", COMMANDS)
def test_one_answer_without_its_mark_is_left_out_and_said(
    command: str, model: Path, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line_of(problems, number) for number in range(3)]
    lines[1] = {**lines[1], "answer": "7"}
    asked = words(command, model, write(problems, lines), tmp_path)
    assert main(asked) == 0
    said = "1 of the file's lines can't be read; the first: line 1 (counted from 0) skipped: the answer has no '####'"
    assert said in capsys.readouterr().out
    if command == "evaluate":
        assert main([*asked, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        n, unread = found["n"], found["unread"]
    else:
        (found,) = Workspace(tmp_path / "workspace").activations()
        n, unread = found["n_examples"], found["problems"]["unread"]
    assert n == 2 and len(unread) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_prompt_longer_than_the_context(
    command: str, model: Path, problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = line_of(problems, 0)
    question = " ".join([line["question"]] * 60)
    lines = [{**line, "answer": "7"}, {**line, "question": question}]
    last = refused(capsys, words(command, model, write(problems, lines), tmp_path))
    # The first line can't be read: what is counted are the lines of the file.
    if command == "evaluate":
        assert "the question in line 1 (counted from 0) has" in last and "shorten it or take it out" in last
    else:
        assert "none of the 1 problems can be read" in last and "longer than the" in last
