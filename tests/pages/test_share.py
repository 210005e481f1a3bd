"""Share: what is offered, taking in a bundle through the page's own steps, findings written and signed."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from sae.cli.main import main
from sae.ui import share_open
from sae.workspace.findings import Findings
from sae.workspace.notes import Notes
from tests.pages.test_home import words


@pytest.fixture
def files(monkeypatch):
    """What the download buttons of a page would give, by label."""
    offered: dict[str, Any] = {}

    def button(label, data, **named):
        offered[named["file_name"]] = data
        return False

    monkeypatch.setattr("streamlit.download_button", button)
    return offered


def test_a_report_and_a_bundle_are_offered_and_are_what_the_command_writes(open_page, results, files, tmp_path) -> None:
    run = results.experiment("both").run_ids()[0]
    at = open_page("share", results)
    assert not at.exception and not at.error
    at = open_page("share", results, run=run, features="some", numbers="3,5")
    assert not at.error and f"share {run} --features 3,5" in at.code[0].value
    made = files[f"{run}.html"]()
    data = made.split('id="data">')[1].split("</script>")[0]
    assert [card["feature"] for card in json.loads(data)["features"]["cards"]] == [3, 5]
    at = open_page("share", results, view="bundle", run=run, opens=f"run?run={run}")
    assert not at.error and "1 run, 1 experiment, 0 findings" in words(at)
    (tmp_path / "a.zip").write_bytes(files[f"{run}.zip"]())
    from sae.workspace.bundles_read import read_manifest

    assert read_manifest(tmp_path / "a.zip")["view"] == f"run?run={run}"


def test_a_bundle_is_looked_into_then_taken_in(open_page, own_results, results, tmp_path, monkeypatch) -> None:
    from sae.workspace.bundles import make_bundle
    from sae.workspace.bundles_merge import open_bundle

    run = results.experiment("both").run_ids()[0]
    Notes(own_results.run_folder(run), 16).write(1, label="<b>theirs</b>")
    make_bundle(own_results, run, tmp_path / "b.zip", view=f"features?run={run}&feature=1")
    Notes(own_results.run_folder(run), 16).write(1, label="ours")

    def in_this_process(workspace, command):
        found = open_bundle(workspace, command[1], look="--look" in command)
        return json.loads(json.dumps({**vars(found), "differences": [vars(one) for one in found.differences]}))

    monkeypatch.setattr(share_open, "run_command", in_this_process)
    at = open_page("share", own_results, view="open", path=str(tmp_path / "b.zip"))
    at.button(key="share_look").click().run()
    assert not at.error and "both stay" in at.dataframe[0].value["outcome"].iloc[0]
    assert Notes(own_results.run_folder(run)).feature(1).note == ""
    at.button(key="share_take").click().run()
    assert not at.error and "theirs" in Notes(own_results.run_folder(run)).feature(1).note


def test_a_viewer_is_not_offered_to_open_or_write(open_page, results, monkeypatch) -> None:
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    at = open_page("share", results, view="open")
    assert not at.button and not at.exception
    at = open_page("share", results, view="findings")
    assert not at.button and not at.text_input and "No findings yet" in words(at)


def test_a_disk_that_cannot_be_written_is_one_line(open_page, results, monkeypatch) -> None:
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device", "/ws/findings/f.json")

    monkeypatch.setattr(Findings, "add", full)
    at = open_page("share", results, view="findings")
    at.text_area(key="finding_claim").input("K matters")
    at.button(key="FormSubmitter:finding_new-Write it down").click().run()
    (error,) = at.error
    assert "No space left" in error.value and "Something went wrong" not in error.value
    assert not any("Traceback" in code.value for code in at.code)


def test_a_finding_is_written_supported_and_signed(open_page, own_results, capsys) -> None:
    run = own_results.experiment("both").run_ids()[0]
    at = open_page("share", own_results, view="findings")
    at.text_area(key="finding_claim").input("<img src=x> K matters")
    at.text_input(key="finding_first").input(f"run?run={run}")
    at.text_input(key="finding_by").input("Ada")
    at.button(key="FormSubmitter:finding_new-Write it down").click().run()
    assert not at.error
    (made,) = Findings(own_results).all()
    assert made.by == "Ada"
    for options, start in (([], "# Findings"), (["--json"], "[")):
        capsys.readouterr()
        assert main(["findings", *options, "--workspace", str(own_results.root)]) == 0
        said = capsys.readouterr().out
        assert said.startswith(start) and made.id in said
    at = open_page("share", own_results, view="findings", finding=made.id)
    at.text_input(key="share_who").input("Ben").run()
    at.button(key="finding_sign").click().run()
    assert Findings(own_results).get(made.id).status == "signed"
    assert Findings(own_results).get(made.id).signatures[0].by == "Ben"
    assert "\\<img src\\=x\\> K matters" in words(at)
