"""Which executor runs: the file, the variable, the command line, and everything that can be wrong with them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from sae.cli.main import main
from sae.common.errors import UserError
from sae.workspace import Workspace
from sae.workspace.executors.configuration import configure, configured
from sae.workspace.executors.driver import engine_for


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("SAE_EXECUTOR", raising=False)
    (tmp_path / "w").mkdir()
    return Workspace(tmp_path / "w")


@pytest.fixture
def with_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ray and submitit were installed, whether or not they are."""
    monkeypatch.setattr("sae.workspace.executors.configuration.find_spec", lambda name: object())


def test_without_a_word_work_stays_on_this_machine(workspace: Workspace) -> None:
    executor = configured(workspace)
    assert (executor.name, executor.remote, executor.describe()) == ("local", False, "this machine")
    assert not (workspace.root / "executor.json").exists()


def test_choosing_one_keeps_the_settings_of_the_others(workspace: Workspace, with_packages: None) -> None:
    configure(workspace, "ray", {"address": "10.0.0.5:6379", "num_gpus": 0.25})
    configure(workspace, "ray", {"num_cpus": 2})
    configure(workspace, "slurm", {"partition": "gpu", "gpus": 1, "minutes": 30})
    assert configured(workspace).describe() == "SLURM, partition gpu: 4 CPUs, 1 GPU and at most 30 min a task"
    assert configured(workspace).threads == 4
    configure(workspace, "ray", {})
    assert configured(workspace).describe() == "Ray cluster at 10.0.0.5:6379: 2 CPUs, 0.25 GPU a task"
    content = json.loads((workspace.root / "executor.json").read_text())
    assert content == {
        "executor": "ray",
        "slurm": {"partition": "gpu", "gpus": 1, "minutes": 30},
        "ray": {"address": "10.0.0.5:6379", "num_gpus": 0.25, "num_cpus": 2},
    }
    configure(workspace, "local", {})
    assert not configured(workspace).remote


def test_the_variable_overrules_the_file(
    workspace: Workspace, with_packages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(workspace, "ray", {"address": "head:6379"})
    configure(workspace, "local", {})
    monkeypatch.setenv("SAE_EXECUTOR", "ray")
    assert configured(workspace).settings["address"] == "head:6379"
    monkeypatch.setenv("SAE_EXECUTOR", "dask")
    with pytest.raises(UserError, match=r"\$SAE_EXECUTOR: executor 'dask' is not known: take one of local, ray, slurm"):
        configured(workspace)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"executor": "dask"}, "executor 'dask' is not known"),
        ({"executor": ["ray"]}, "is not known"),
        ({"excutor": "ray"}, "'excutor' is not known: there are executor, local, ray, slurm"),
        ({"executor": "ray", "ray": "head:6379"}, "'ray' must be a table of settings"),
        ({"executor": "ray", "ray": {"adress": "x"}}, "'adress' is not a setting of executor 'ray'"),
        ({"executor": "ray", "ray": {"address": "ray://head:10001"}}, "give auto or HOST:PORT"),
        ({"executor": "ray", "ray": {"num_gpus": 1.5}}, "num_gpus 1.5 can't be: give a fraction"),
        ({"executor": "ray", "ray": {"num_cpus": True}}, "num_cpus True can't be"),
        ({"executor": "slurm", "slurm": {"minutes": 0}}, "minutes 0 can't be: give a whole number from 1 on"),
        ({"executor": "slurm", "slurm": {"setup": "module load cuda"}}, "give a list of shell lines"),
        ({"executor": "local", "local": {"threads": 3}}, "'threads' is not a setting of executor 'local'"),
        ([], "must hold a table"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_one_line(workspace: Workspace, content: Any, said: str) -> None:
    (workspace.root / "executor.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as raised:
        configured(workspace)
    assert said in str(raised.value) and "executor.json" in str(raised.value)


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "sae.workspace.executors.configuration.find_spec", lambda wanted: None if wanted == package else there(wanted)
    )
    said = f"needs the package '{package}', which is not installed: pip install -r requirements-cluster.txt"
    with pytest.raises(UserError, match=said):
        configure(workspace, name, {})
    assert not (workspace.root / "executor.json").exists()
    # A workspace that came from a machine which had it.
    (workspace.root / "executor.json").write_text(json.dumps({"executor": name}))
    with pytest.raises(UserError, match=said):
        engine_for(configured(workspace), workspace, workspace.root / "jobs" / "j")


def test_the_command_line_shows_and_chooses(
    workspace: Workspace, with_packages: None, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--workspace", str(workspace.root)]
    assert main(["workspace", "executor", *where]) == 0
    assert capsys.readouterr().out == "local: this machine\n"
    chosen = ["workspace", "executor", "slurm", "--set", "partition=gpu", "--set", "gpus=1", "--json", *where]
    assert main([*chosen, "--set", 'setup=["module load python"]']) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["executor"] == "slurm"
    assert (shown["settings"]["partition"], shown["settings"]["setup"]) == ("gpu", ["module load python"])
    assert main(["workspace", "executor", *where]) == 0
    assert capsys.readouterr().out.startswith("slurm: SLURM, partition gpu: 4 CPUs, 1 GPU and at most 240 min a task\n")
    for wrong, said in (
        (["slurm", "--set", "gpus=many"], "slurm gpus 'many' can't be: give a whole number from 0 on"),
        (["slurm", "--set", "gpus"], "write it as setting=value"),
        (["--set", "gpus=1"], "name the executor"),
        (["kubernetes"], "executor 'kubernetes' is not known"),
    ):
        assert main(["workspace", "executor", *wrong, *where]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
