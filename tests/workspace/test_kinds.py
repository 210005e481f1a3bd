"""Experiments of one's own in a workspace: kept, trained, shown as what they were when the file is gone."""

import pytest

from sae.cli.main import main
from sae.common.errors import UserError
from sae.workspace.kinds import keep_definition, kinds_here, unreadable
from tests.experiments.test_definition import MINE


def test_definitions_are_kept_and_broken_ones_named(filled):
    assert keep_definition(filled, MINE, "f.yaml") == "depth"
    assert keep_definition(filled, MINE, "again.yaml") == "depth"
    with pytest.raises(UserError, match="another experiment is defined as 'depth'"):
        keep_definition(filled, MINE.replace("epochs: 3", "epochs: 4"), "f.yaml")
    (filled.root / "kinds" / "bad.yaml").write_text("name: x")
    found = kinds_here(filled)
    assert found["depth"].kind.title == "Rates" and found["topk-grid"].definition is None
    assert unreadable(filled) == ["bad.yaml: the field 'title' is missing"]


def test_one_is_trained_from_its_file_and_stands_without_it(filled, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    words = ["--activations", "rows", "--name", "x", "--workspace", str(filled.root)]
    assert main(["experiment", "run", str(path), *words, "--set", "batch_size=64"]) == 0
    path.unlink()
    experiment = filled.experiment("x")
    assert len(experiment.runs()) == 4 and all(run.done for run in experiment.runs())
    assert experiment.trains is not None and experiment.trains.title == "Rates"
    # What Reproduce names gives the same runs again.
    kept = filled.root / "experiments" / "x" / "kind.yaml"
    assert main(["experiment", "run", str(kept), *words, "--set", "batch_size=64"]) == 0
    assert filled.experiment("x").run_ids() == experiment.run_ids()
    capsys.readouterr()


def test_a_built_in_one_is_printed_to_start_from(capsys):
    assert main(["experiment", "define", "topk-grid"]) == 0
    printed = capsys.readouterr().out
    assert "name: my-topk-grid" in printed and "preset:" in printed
    assert main(["experiment", "define", "nothing"]) == 2
