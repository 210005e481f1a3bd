"""Evaluations of single runs: measured once, kept by what was evaluated, and written as SAEBench's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import read_json
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.evaluations import evaluate, evaluation_of, evaluations, settings_of, start_evaluations
from sae.workspace.saebench import result_of
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two runs over rows of no known model."""
    root = tmp_path_factory.mktemp("stored")
    workspace = Workspace(root / "workspace")
    put_activations(workspace, n=200)
    train_grid(workspace, root / "job", d_sae=(16,))
    return workspace


def run_here(workspace: Workspace, folder: Path, runs: list[str], name: str = "core", **given: Any) -> None:
    wanted = settings_of([name], given)
    evaluate(workspace, {"runs": runs, "evaluations": wanted}, "cpu", JobProgress(folder))


def test_stored_rows_are_evaluated_and_kept(stored: Workspace, tmp_path: Path) -> None:
    run = stored.run(stored.experiment("grid").run_ids()[0])
    run_here(stored, tmp_path, [run.id], resamples=50)
    settings = settings_of(["core"], {"resamples": "50"})["core"]
    found = evaluation_of(run, "core", settings)
    assert found.done and [one.folder for one in evaluations(run, "core")] == [found.folder]
    (result,) = found.results
    # the run's own metrics are of the same held-out rows
    for name in ("ev_total", "mse", "l0", "dead", "cosine_similarity"):
        assert result["metrics"][name] == pytest.approx(run.metrics["validation"][name], rel=1e-5), name
    assert result["n"] == 40 and "kl_sae" not in result["metrics"]
    assert "does not say which model" in found.notes["why"]
    assert len(found.table("features")) == 16
    written = result_of(found)
    assert written is not None and written["eval_type_id"] == "core"
    metrics = written["eval_result_metrics"]
    assert metrics["model_behavior_preservation"]["kl_div_score"] == -1
    assert metrics["sparsity"]["l0"] == pytest.approx(result["metrics"]["l0"])
    assert len(written["eval_result_details"]) == 16
    # what is there is not made again
    changed = (found.folder / "results.json").stat().st_mtime_ns
    run_here(stored, tmp_path, [run.id], resamples=50)
    assert (found.folder / "results.json").stat().st_mtime_ns == changed
    assert start_evaluations(stored, [run.id], {"core": settings}) is None
    other = settings_of(["core"], {"resamples": 60})["core"]
    assert not evaluation_of(run, "core", other).done
    job = start_evaluations(stored, [run.id], {"core": other})
    assert job is not None and (job.kind, job.spec["runs"]) == ("evaluation", [run.id])
    stored.jobs.cancel(job.id)


def test_the_key_follows_a_table(stored: Workspace, tmp_path: Path) -> None:
    run = stored.run(stored.experiment("grid").run_ids()[0])
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "one"}\n')
    settings = settings_of(["core"], {"table": str(file)})["core"]
    before = evaluation_of(run, "core", settings).folder
    assert evaluation_of(run, "core", settings).folder == before
    file.write_text('{"text": "two"}\n')
    assert evaluation_of(run, "core", settings).folder != before


def test_one_that_fails_is_recorded(stored: Workspace, tmp_path: Path) -> None:
    run = stored.run(stored.experiment("grid").run_ids()[1])
    with pytest.raises(UserError, match="can't be asked for letters"):
        run_here(stored, tmp_path, [run.id], name="first-letter")
    (failed,) = evaluations(run, "first-letter")
    assert not failed.done and failed.error is not None and "can't be asked for letters" in failed.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--eval", "nothing"], "evaluation 'nothing' is not known"),
        (["--set", "tokens=some"], "tokens 'some' is not known: take one of captured, all, last"),
        (["--set", "texts=many"], "texts 'many' must be a whole number"),
        (["--set", "k=3"], "'k' is not a setting of core"),
        (["--set", "table=gone.jsonl"], "a table of texts needs a language model"),
    ],
)
def test_bad_input_is_one_line(stored: Workspace, capsys: Any, words: list[str], said: str) -> None:
    run = stored.experiment("grid").run_ids()[0]
    code = main(["run", "evaluate", run, *words, "--device", "cpu", "--workspace", str(stored.root)])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: ") and said in error


def test_the_command_line_gives_documents_and_files(stored: Workspace, capsys: Any, tmp_path: Path) -> None:
    runs = stored.experiment("grid").run_ids()
    words = ["run", "evaluate", *runs, "--set", "resamples=70", "--json", "--saebench", str(tmp_path)]
    outputs = []
    for _ in range(2):
        assert main([*words, "--device", "cpu", "--workspace", str(stored.root)]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1] and [line["run"] for line in outputs[0]] == runs
    core = outputs[0][0]["evaluations"]["core"]
    written = read_json(Path(core["saebench_file"]))
    assert written["sae_lens_release_id"] == runs[0] and core["results"][0]["metrics"]["l0"] > 0


def test_the_command_line_ends_with_2_where_one_of_several_failed(stored: Workspace, capsys: Any) -> None:
    run = stored.experiment("grid").run_ids()[0]
    words = ["run", "evaluate", run, "--eval", "core,first-letter", "--set", "resamples=80", "--json"]
    for _ in range(2):  # the second time what did not fail is there already
        assert main([*words, "--device", "cpu", "--workspace", str(stored.root)]) == 2
        said = capsys.readouterr()
        (document,) = json.loads(said.out)
        found = document["evaluations"]
        assert found["core"]["results"] and "letters" in found["first-letter"]["error"]
        last = said.err.strip().splitlines()[-1]
        assert last.startswith("error: 1 of 2 evaluations failed; the first, first-letter of") and "for letters" in last
