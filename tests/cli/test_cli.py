"""The command line as a user meets it: documents, exit codes, one line of error."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import sae
from sae.cli.main import main
from sae.common.files import write_parquet
from sae.workspace import Workspace
from tests.workspace.helpers import put_activations


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SAE_THREADS", "1")
    put_activations(Workspace(tmp_path / "w"))
    return tmp_path / "w"


@pytest.fixture
def call(folder, capsys):
    def run(*words):
        code = main([*words, "--workspace", str(folder)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def trained(call, name="g", *more):
    code, out, err = call(
        "experiment", "run", "topk-grid", "--activations", "rows", "--name", name, "--k", "2,4", "--d-sae", "32",
        "--seeds", "2", "--set", "epochs=2", "--set", "batch_size=64", "--device", "cpu", "--json", *more,
    )  # fmt: skip
    assert code == 0, err
    return json.loads(out)


def test_an_experiment_from_the_command_line_to_numbers(call, folder):
    document = trained(call)
    assert (document["name"], document["kind"], len(document["runs"])) == ("g", "topk-grid", 4)
    run = document["runs"][0]
    assert run["status"] == "done" and run["folder"] == f"runs/{run['id']}" and run["seconds"] > 0
    assert run["factors"] == {"preset": "corrected", "d_sae": 32, "k": 2, "seed": 0}
    assert {"ev_total", "ev_flat", "mse", "l0", "dead"} <= set(run["metrics"]["validation"])
    assert (folder / run["folder"] / "metrics.json").exists()

    # results are means over seeds, with Student's interval
    cell = next(r for r in document["results"] if r["factors"]["k"] == 2 and r["split"] == "validation")
    values = [r["metrics"]["validation"]["ev_total"] for r in document["runs"] if r["factors"]["k"] == 2]
    assert cell["n"] == 2 and cell["metrics"]["ev_total"] == pytest.approx(np.mean(values))
    half = 12.706204736 * np.std(values, ddof=1) / np.sqrt(2)  # t(0.975, 1)
    assert cell["interval"]["ev_total"] == pytest.approx([np.mean(values) - half, np.mean(values) + half])

    # the same command returns what is there, another specification under its name is refused
    assert trained(call) == document
    code, _, err = call(
        "experiment", "run", "topk-grid", "--activations", "rows", "--name", "g", "--k", "3", "--d-sae", "32"
    )
    assert code == 2 and err.strip().splitlines()[-1].startswith(
        "error: experiment 'g' exists with another specification"
    )

    # and from Python
    opened = sae.open(run["id"], folder)
    x = np.load(folder / "activations" / "rows" / "activations.npy")
    f = opened.encode(x)
    assert f.shape == (600, 32) and (f > 0).sum(1).max() <= 2
    np.testing.assert_allclose(f.numpy()[:, 5], opened.codes.csc().toarray()[:, 5], atol=1e-5)
    guess = opened.decode(f)
    mean = torch.from_numpy(x[np.arange(600) % 5 != 4]).mean(0)
    held = torch.from_numpy(x[4::5])
    ev = 1 - (held - guess[4::5]).square().sum() / (held - mean).square().sum()
    assert opened.metrics["validation"]["ev_total"] == pytest.approx(float(ev), abs=1e-4)


def test_the_published_orthogonality_setting(call, folder):
    words = ["experiment", "run", "orthogonality", "--activations", "rows", "--name", "p", "--preset", "published"]
    code, _, err = call(*words)
    assert code == 2 and "python -m sae capture --model google/gemma-2-2b" in err.strip().splitlines()[-1]
    manifest = folder / "activations" / "rows" / "manifest.json"
    content = json.loads(manifest.read_text())
    content |= {"model": {"name": "google/gemma-2-2b"}, "cut": {"context": 128}, "positions": "all"}
    content["slices"][0]["layer"] = 19
    manifest.write_text(json.dumps(content))
    code, _, err = call(*words, "--queue", "--vary", "mechanism=baseline", "--set", "epochs=40")
    assert code == 0, err
    from sae.ui.reproduce import experiment_command

    spec = Workspace(folder).experiment("p").spec
    assert spec["preset"] == "published" and "--preset published" in experiment_command(spec)
    code, _, err = call(*words[:-1], "published,corrected")
    assert code == 2 and "takes one, published" in err


def test_lists_shows_and_deletes(call, folder):
    document = trained(call)
    run = document["runs"][0]["id"]
    assert "g" in call("experiment", "list")[1]
    assert json.loads(call("activations", "list", "--json")[1])[0]["n_rows"] == 600
    assert "600 rows of 24 dimensions" in call("activations", "show", "rows")[1]
    assert json.loads(call("run", "show", run, "--json")[1])["config"]["id"] == run
    assert len(json.loads(call("run", "features", run, "--json", "--limit", "7")[1])) == 7
    assert call("run", "pairs", run)[0] == 0
    code, _, err = call("activations", "delete", "rows")
    assert code == 2 and "are used by g" in err
    assert call("experiment", "delete", "g")[0] == 0
    assert call("activations", "delete", "rows")[0] == 0
    assert not list((folder / "runs").iterdir()) and not list((folder / "activations").iterdir())


def test_which_label_features_go_with(call, folder):
    run = Workspace(folder).run(trained(call)["runs"][0]["id"])
    feature = int((run.features()["density"] - 0.3).abs().argmin())
    path = folder / "activations" / "rows" / "examples.parquet"
    fires = np.isin(np.arange(600), run.codes().feature(feature)[0])
    write_parquet(path, pd.read_parquet(path).assign(kind=np.where(fires, "on", "off")))
    code, out, _ = call("run", "specificity", run.id, "--json")
    found = json.loads(out)
    first = found["findings"][0]
    assert code == 0 and (first["feature"], first["label"], first["heldout_f1"]) == (feature, "kind on", 1.0)
    assert found["n_discovery"] + found["n_heldout"] == 600 and first["confirmed"] is True
    code, out, _ = call("run", "specificity", run.id, "--limit", "1")
    assert code == 0 and "kind on" in out and "confirmed on 300 others" in out


def test_the_index_can_be_lost(call, folder):
    before = trained(call)
    for file in folder.glob("workspace.db*"):
        file.unlink()
    code, out, _ = call("workspace", "rebuild", "--json")
    # the grid's job and the one of its maps
    assert code == 0 and json.loads(out) == {"jobs": 2, "runs": 4, "experiments": 1, "activations": 1}
    assert json.loads(call("experiment", "show", "g", "--json")[1]) == before


def test_an_estimate_counts_what_it_would_cost(call):
    code, out, err = call(
        "experiment", "estimate", "topk-grid", "--activations", "rows", "--k", "2,4", "--d-sae", "32,64", "--json"
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["runs"] == 4 and 0 < found["seconds"] < 600 and len(found["cells"]) == 4
    assert found["memory_bytes"] > 4 * 600 * 24


GRID = ["experiment", "run", "topk-grid", "--activations", "rows", "--name", "x"]


@pytest.mark.parametrize(("words", "said"), [
    (["experiment", "run", "sweep", "--activations", "rows", "--name", "x"], "experiment kind 'sweep' is not known"),
    ([*GRID, "--activations", "nope"], "there are no activations named 'nope'"),
    (["experiment", "run", "topk-grid", "--activations", "rows", "--name", "a/b"], "'a/b' can't be used"),
    ([*GRID, "--k", "5,x"], "write whole numbers"),
    ([*GRID, "--k", "600"], "k 600 is larger than d_sae 512"),
    ([*GRID, "--set", "epochs"], "setting=value"),
    ([*GRID, "--set", "speed=1"], "'speed' is not a setting"),
    ([*GRID, "--layer", "4"], "layer"),
    ([*GRID, "--device", "tpu"], "device 'tpu' is not known"),
    ([*GRID, "--seeds", "0"], "must be at least 1"),
    (["experiment", "show", "nope"], "there is no experiment named 'nope'"),
    (["run", "show", "nope"], "there is no run 'nope'"),
    (["job", "cancel", "nope"], "there is no job 'nope'"),
    (["dance"], "invalid choice: 'dance'"),
    (["experiment", "run"], "the following arguments are required"),
])  # fmt: skip
def test_bad_input_exits_with_2_and_one_line(call, words, said):
    code, out, err = call(*words)
    last = err.strip().splitlines()[-1]
    assert code == 2 and out == "" and last.startswith("error: ") and said in last
    assert "Traceback" not in err


def test_help_is_there_for_every_command():
    environment = {**os.environ, "COLUMNS": "100"}
    for words in ([], ["experiment"], ["experiment", "run"], ["capture"], ["activations", "import"], ["run"], ["demo"]):
        done = subprocess.run(
            [sys.executable, "-m", "sae", *words, "--help"], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0 and "usage: python -m sae" in done.stdout
