"""Train: what the form says and starts, the cells of an experiment, and what is refused."""

from __future__ import annotations

import shutil
from typing import Any

import pandas as pd
import pytest

from sae.common.errors import UserError
from sae.common.files import write_json
from sae.experiments import kind_of
from sae.training.settings import settings
from sae.ui import jobs_view, train_form, watch_view
from sae.ui.cells import axes, cells_data
from sae.workspace import Workspace
from tests.pages.test_home import words
from tests.workspace import thoughts
from tests.workspace.made import copy_of


@pytest.fixture(scope="module")
def thought(tmp_path_factory):
    """Thoughts of two layers and seven steps, and SAEs on them. Not to be written to."""
    return copy_of(thoughts.make, tmp_path_factory.mktemp("thoughts") / "workspace").root


@pytest.fixture
def thinking(thought, tmp_path):
    """A copy of `thought`."""
    shutil.copytree(thought, tmp_path / "thinking")
    return Workspace(tmp_path / "thinking")


def start(at):
    return next(button for button in at.button if button.label.startswith("Start"))


def test_without_activations_nothing_can_be_trained(open_page, workspace):
    at = open_page("train", workspace)
    assert not at.exception
    assert "No activations yet" in words(at)


def test_the_form_counts_runs_and_starts_them(open_page, copied, no_supervisor):
    at = open_page("train", copied, k="2, 4", d_sae="8 16", seeds="3", preset=["corrected", "report"], name="mine")
    assert not at.exception and not at.error
    assert start(at).label == "Start 24 runs"
    start(at).click().run()
    assert not at.exception and not at.error
    experiment = copied.experiment("mine")
    assert experiment.factors == {"preset": ["corrected", "report"], "d_sae": [8, 16], "k": [2, 4], "seed": [0, 1, 2]}
    assert [job.name for job in copied.jobs.active()] == ["mine"]
    assert no_supervisor
    # The page went to the cells, and the address says so.
    assert at.query_params["experiment"] == "mine"
    assert at.query_params["show"] == "watch"


def test_it_says_which_executor_runs(open_page, copied):
    assert "Runs on this machine." in words(open_page("train", copied))
    write_json(copied.root / "executor.json", {"executor": "slurm", "slurm": {"partition": "gpu_long", "gpus": 1}})
    at = open_page("train", copied)
    assert "Runs on SLURM, partition gpu\\_long\\: 4 CPUs, 1 GPU and at most 240 min a task." in words(at)
    write_json(copied.root / "executor.json", {"executor": "slurm", "slurm": {"gpus": "one"}})
    assert "gpus 'one' can't be" in open_page("train", copied).error[0].value


def test_k_above_d_sae_names_the_cells(open_page, trained):
    at = open_page("train", trained, k="4, 40", d_sae="16, 64")
    assert "K 40 with d\\_sae 16" in at.error[0].value
    assert not [button for button in at.button if button.label.startswith("Start")]


@pytest.mark.parametrize(
    ("address", "said"),
    [({"k": "four"}, "four"), ({"d_sae": ""}, "at least one"), ({"name": "../up"}, "can't be used")],
)
def test_what_is_wrong_is_said_before_anything_starts(open_page, copied, no_supervisor, address, said):
    at = open_page("train", copied, **({"k": "2", "d_sae": "8"} | address))
    if said not in words(at).replace("\\", ""):
        start(at).click().run()
    assert said in words(at).replace("\\", "")
    assert not at.exception
    assert [experiment.name for experiment in copied.experiments()] == ["grid"]


def test_the_name_of_another_experiment_is_refused(open_page, copied, no_supervisor):
    at = open_page("train", copied, k="2", d_sae="8", name="grid")
    start(at).click().run()
    assert "another specification" in at.error[0].value
    assert copied.jobs.active() == []


def test_changed_settings_reach_the_runs(open_page, copied, no_supervisor):
    at = open_page("train", copied, k="2", d_sae="8", name="mine", change=["epochs", "selection"], set_epochs="3",
                   set_selection="magnitude")  # fmt: skip
    assert not at.exception and not at.error
    start(at).click().run()
    assert copied.experiment("mine").spec["settings"] == {"epochs": "3", "selection": "magnitude"}


def test_another_architecture_is_trained_from_the_form(open_page, copied, no_supervisor):
    at = open_page("train", copied, k="2", d_sae="8", name="gates", architecture="gated", change=["clip_norm"],
                   set_clip_norm="2")  # fmt: skip
    assert not at.exception and not at.error
    start(at).click().run()
    assert copied.experiment("gates").spec["settings"] == {"architecture": "gated", "clip_norm": "2"}
    # a recipe that is made for another one says so
    assert train_form.architectures_for(kind_of("topk-vs-l1")) == ()
    swept, free = (train_form.architectures_for(kind_of(name)) for name in ("layer-position-sweep", "scaling"))
    assert set(free) - set(swept) == {"crosscoder"} and "transcoder" in swept
    at = open_page("train", copied, k="2", d_sae="8", show="new", architecture="gated", preset="published")
    assert "is not a setting of training gated" in at.error[0].value


def test_a_finished_grid_is_shown_with_its_curves(open_page, trained):
    at = open_page("train", trained, show="watch", experiment="grid")
    assert not at.exception and not at.error
    assert "4 of 4 runs trained" in words(at)
    assert len(at.get("plotly_chart")) == 1
    assert any(link.value == "Open the grid" for link in at.page_link)


def test_a_stopped_experiment_goes_on(open_page, copied, no_supervisor):
    spec = copied.experiment("grid").spec
    job = copied.jobs.enqueue("experiment", "grid", spec)
    copied.jobs.cancel(job.id)
    copied.delete_run(copied.run_ids()[0])
    at = open_page("train", copied, show="watch", experiment="grid")
    assert "3 of 4 runs trained" in words(at)
    next(button for button in at.button if button.label == "Resume").click().run()
    assert not at.exception and not at.error
    assert [job.name for job in copied.jobs.active()] == ["grid"]
    next(button for button in at.button if button.label == "Stop").click().run()
    assert copied.jobs.active() == []


def test_a_failed_cell_says_why(open_page, copied):
    run = copied.run_ids()[0]
    (copied.run_folder(run) / "metrics.json").unlink()
    (copied.run_folder(run) / "error.json").write_text('{"error": "training diverged at lr 1.0"}')
    at = open_page("train", copied, show="watch", experiment="grid")
    assert "training diverged" in words(at).replace("\\", "")


def test_cells_have_what_is_known(trained):
    workspace = Workspace(trained)
    table = watch_view.cell_table(workspace, "grid")
    for line in table.to_dict("records"):
        assert line["ev_total"] == workspace.run(line["id"]).metrics["validation"]["ev_total"]
    data = cells_data(table, workspace.experiment("grid").factors, chosen=table["id"].iloc[0])
    assert data["columns"] == ["K 2", "K 4"] and data["rows"] == ["d_sae 16", "d_sae 32"]
    assert [cell["status"] for row in data["tables"][0]["rows"] for cell in row] == ["done"] * 4
    assert sum(cell["chosen"] for row in data["tables"][0]["rows"] for cell in row) == 1


def test_seeds_share_a_cell_and_other_factors_make_tables():
    factors: dict[str, list[Any]] = {"preset": ["a", "b"], "d_sae": [8], "k": [2, 4], "seed": [0, 1]}
    assert axes(factors) == ("k", "d_sae", ["preset"])
    lines = [
        {"id": f"{preset}{k}{seed}", "status": status, "fraction": 0.5, "error": None, "preset": preset, "d_sae": 8,
         "k": k, "seed": seed, "ev_total": ev, "dead": 0.1}
        for preset in "ab" for k in (2, 4) for seed, status, ev in ((0, "done", 0.4), (1, "running", 0.6))
    ]  # fmt: skip
    data = cells_data(pd.DataFrame(lines), factors)
    assert [table["title"] for table in data["tables"]] == ["a", "b"]
    cell = data["tables"][0]["rows"][0][0]
    assert (cell["status"], cell["top"], cell["sub"], cell["run"]) == ("running", "0.500", "1 of 2", "a21")
    assert cell["fill"] == 0.75


def test_a_missing_combination_is_an_empty_place():
    lines = [{"id": "x", "status": "queued", "fraction": 0.0, "error": None, "d_sae": 8, "k": 2}]
    data = cells_data(pd.DataFrame(lines), {"d_sae": [8], "k": [2, 16]})
    assert data["tables"][0]["rows"][0][1] is None
    assert data["tables"][0]["rows"][0][0]["colour"] == ""


def test_numbers_are_read_as_people_write_them():
    assert train_form.whole_numbers("5, 10;20 1_000 5", "K") == [5, 10, 20, 1000]
    with pytest.raises(UserError, match="'2.5' is not a whole number"):
        train_form.whole_numbers("2.5", "K")


def test_every_setting_is_offered_with_its_meaning():
    found = {setting.name: setting for setting in settings("topk")}
    assert found["selection"].choices == ("signed", "magnitude")
    assert "signed" in found["selection"].meaning
    assert found["epochs"].kind is int


def test_progress_in_words():
    part, said = jobs_view.progress_text(
        {"stage": "capturing", "done": 300, "total": 1500, "left": 65.0, "figures": {"rows_per_second": 12.3456}},
        "running",
    )
    assert part == pytest.approx(0.2)
    assert said == "Capturing: 300 of 1,500, 12.35 rows a second, about 1 min 05 s left"
    assert jobs_view.progress_text({}, "queued") == (0.0, "Waiting for its turn")


def test_a_run_folder_is_loaded_and_a_bad_path_refused(open_page, trained, copied):
    run = copied.run_ids()[0]
    copied.delete_run(run)
    at = open_page("train", copied, show="load", load_path=str(trained / "nowhere"))
    next(button for button in at.button if button.label == "Load it").click().run()
    assert not at.exception
    assert len(at.error) == 1 and "nowhere" in at.error[0].value
    at.text_input(key="load_path").set_value(str(trained / "runs" / run)).run()
    next(button for button in at.button if button.label == "Load it").click().run()
    assert not at.exception and not at.error
    assert copied.run(run).metrics == Workspace(trained).run(run).metrics


def test_a_sweep_over_thoughts_is_counted_and_started(open_page, thinking, no_supervisor):
    at = open_page(
        "train", thinking, activations="thoughts", kind="layer-position-sweep", k="2", d_sae="8", positions=["0", "3"],
        name="over",
    )  # fmt: skip
    assert not at.exception and not at.error
    assert start(at).label == "Start 4 runs"
    start(at).click().run()
    assert not at.exception and not at.error
    assert thinking.experiment("over").factors["position"] == [0, 3]
    assert thinking.experiment("over").factors["layer"] == [0, 1]


def test_a_measurement_is_started_on_chosen_runs_and_watched(open_page, thinking, no_supervisor):
    first = thinking.experiment("one").run_ids()[0]
    at = open_page("train", thinking, kind="specificity", experiment="one", runs=[first], name="labels")
    assert not at.exception and not at.error
    (button,) = [button for button in at.button if button.label == "Measure 1 run"]
    button.click().run()
    assert not at.exception and not at.error
    assert thinking.experiment("labels").measured_runs() == [first]
    assert [(job.kind, job.name) for job in thinking.jobs.active()] == [("measurement", "labels")]
    assert at.query_params["show"] == "watch"
    assert "Measured are runs of one" in words(at)


def test_a_measurement_of_one_with_a_wrong_setting_is_refused(open_page, thinking, no_supervisor):
    at = open_page("train", thinking, kind="specificity", experiment="one", set_alpha="much", name="labels")
    assert "must be a number" in at.error[0].value
    assert not thinking.jobs.active()


def test_a_cosine_experiment_is_started_from_the_form(open_page, copied, no_supervisor):
    at = open_page(
        "train", copied, kind="cosine-ablation-loss", d_sae="16", k="2", reconstruction_objective=["cosine", "mse"],
        sparsity_objective=["cosine"], seeds="2", name="codes", change=["alpha"], set_alpha="0.5",
    )  # fmt: skip
    assert not at.exception and not at.error
    assert start(at).label == "Start 4 runs"
    start(at).click().run()
    assert not at.exception and not at.error
    experiment = copied.experiment("codes")
    assert experiment.factors["reconstruction_objective"] == ["cosine", "mse"]
    assert experiment.spec["settings"] == {"alpha": "0.5"}


def test_alpha_is_typed_and_the_rounding_chosen(open_page, copied, no_supervisor):
    at = open_page("train", copied, kind="cosine-ablation-alpha", d_sae="16", k="2", alpha="0, 0.5", name="alphas")
    start(at).click().run()
    assert copied.experiment("alphas").factors["alpha"] == [0, 0.5]
    at = open_page("train", copied, show="new", kind="cosine-ablation-round", d_sae="16", k="2",
                   rounding=["soft", "gumbel"], name="rounds")  # fmt: skip
    start(at).click().run()
    assert copied.experiment("rounds").factors["rounding"] == ["soft", "gumbel"]


def test_an_experiment_of_ones_own_is_defined_kept_and_chosen(open_page, own_results):
    at = open_page("train", own_results, show="new", kind="topk-grid")
    area = next(one for one in at.text_area if one.label == "Definition")
    assert "name: my-topk-grid" in area.value
    area.set_value(area.value.replace("title: TopK grid, mine", "title: Wide ones"))
    next(button for button in at.button if button.label == "Keep it").click().run()
    assert not at.exception and not at.error
    assert (own_results.root / "kinds" / "my-topk-grid.yaml").exists()
    chosen = next(one for one in at.selectbox if one.label == "Experiment")
    assert chosen.value == "my-topk-grid" and "Wide ones" in chosen.options
    area = next(one for one in at.text_area if one.label == "Definition")
    area.set_value("name: [")
    next(button for button in at.button if button.label == "Keep it").click().run()
    assert not at.exception and "the definition, line" in at.error[0].value
