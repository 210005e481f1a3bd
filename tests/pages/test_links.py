"""Every view of every page is its URL."""

from __future__ import annotations

import io
import json
import zipfile
from urllib.parse import parse_qs, urlsplit

import pytest

from sae.workspace.findings import Findings
from tests.pages.states import reopened


@pytest.mark.parametrize(
    ("stem", "states"),
    [("home", 20), ("data", 20), ("train", 18), ("grid", 18), ("run", 20), ("compare", 18), ("claims", 16),
     ("features", 18), ("pairs", 16), ("share", 16)],
)  # fmt: skip
def test_random_states_reopen_from_their_address(open_page, results, stem, states):
    """With those of Thoughts, Right or wrong and Ablations beside their own tests: more than 200, of every page."""
    assert reopened(open_page, stem, results, states) > states / 4


def words(at) -> str:
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.warning) for e in kind).replace("\\", "")


def opened(at, key: str):
    """With the popover `key` open, as after a click on it."""
    at.session_state[key] = True
    return at.run()


def test_copy_link_of_a_page_on_this_machine(open_page, results):
    (run, *_) = results.experiment("both").run_ids()
    at = opened(open_page("run", results, run=run, view="activity"), "link_page")
    (url,) = [code.value for code in at.code if code.value.startswith("http")]
    parts = urlsplit(url)
    assert parts.netloc.startswith("127.0.0.1") and parts.path == "/run"
    assert parse_qs(parts.query) | {"run": [run], "view": ["activity"]} == parse_qs(parts.query)
    assert "this machine only" in words(at) and "opens on this very view" in words(at)


def test_copy_link_on_a_server_has_its_address_and_says_whom_to_ask(open_page, results, tmp_path, monkeypatch):
    path = tmp_path / "server.toml"
    path.write_text('public_address = "https://x.org/sae/"\nidentity = "none"\ncontact = "ann@x.org"\n')
    monkeypatch.setenv("SAE_SERVER", str(path))
    at = opened(open_page("grid", results, experiment="both"), "link_page")
    (url,) = [code.value for code in at.code if code.value.startswith("http")]
    assert url.startswith("https://x.org/sae/grid?") and parse_qs(urlsplit(url).query)["from"] == ["ann@x.org"]
    monkeypatch.delenv("SAE_SERVER")
    other = open_page("grid", results, experiment="elsewhere", **{"from": "ann@x.org"})
    assert "experiment 'elsewhere', which is not in this workspace: ann@x.org has it" in words(other)


def test_copy_link_on_a_server_without_configuration_is_not_of_this_machine(open_page, results, monkeypatch):
    monkeypatch.setattr("sae.ui.role.at_this_machine", lambda: False)  # a Space that shows one workspace
    at = opened(open_page("grid", results, experiment="both"), "link_page")
    assert "this machine only" not in words(at) and "whoever may look at this server" in words(at)


VIEWS = [
    ("home", {}), ("home", {"list": "experiments"}), ("home", {"list": "jobs"}), ("share", {"view": "findings"}),
    ("data", {"activations": "rows"}),
    ("data", {"activations": "rows", "show": "problems"}), ("train", {"show": "watch"}),
    ("claims", {"experiment": "both"}), ("claims", {"experiment": "both", "view": "figures"}),
    *(("run", {"view": view}) for view in ("overview", "activity", "geometry", "autopsy", "configuration", "export")),
    *(("grid", {"experiment": "both", "view": view}) for view in ("heat-maps", "difference", "frontier", "runs")),
    ("compare", {}), ("features", {}), ("pairs", {}),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "choices"), VIEWS, ids=lambda part: part if isinstance(part, str) else str(part))
def test_every_link_to_a_panel_leads_to_one(open_page, own_results, monkeypatch, stem, choices):
    run = own_results.experiment("both").run_ids()[0]
    Findings(own_results).add("K matters", "Ada", [(f"run?run={run}", "")])
    offered: list[str] = []
    monkeypatch.setattr("sae.ui.link.of_panel", offered.append)
    at = open_page(stem, own_results, **({"run": run} if stem in ("run", "features", "pairs") else {}), **choices)
    offered.clear()  # of Home, past which the page was opened
    at.run()
    assert not at.exception and not at.error
    assert set(offered) <= at.session_state["_link_panels"] and len(set(offered)) == len(offered)


def test_a_link_into_an_empty_workspace_says_what_it_needs(open_page, workspace):
    at = open_page("run", workspace, run="corrected-d16-k2-s0-0badc0de")
    assert "'corrected-d16-k2-s0-0badc0de', which is not in this workspace" in words(at)


def test_runs_to_compare_that_are_not_here(open_page, results, workspace):
    (run, other, *_) = results.experiment("both").run_ids()
    sent = {"runs": [run, "gone-0badc0de", other], "from": "ann@x.org"}
    at = open_page("compare", results, **sent)
    assert "run 'gone-0badc0de', which is not in this workspace: ann@x.org has it" in words(at)
    assert sorted(at.multiselect(key="runs").value) == sorted([run, other])
    assert "gone-0badc0de" in at.query_params["runs"], "the link still says what was sent"
    at.run()
    assert "ann@x.org has it" in words(at)
    at = open_page("compare", workspace, **sent)
    assert "'gone-0badc0de'" in words(at) and "ann@x.org has them and can send a bundle of them" in words(at)


def test_a_panel_stands_alone(open_page, results):
    (run, *_) = results.experiment("both").run_ids()
    whole = open_page("run", results, run=run, view="activity")
    at = open_page("run", results, run=run, view="activity", panel="active_per_row")
    assert len(whole.get("plotly_chart")) > 1 and whole.sidebar.get("page_link")
    styles = [e.proto.body for e in at.get("html") if "panel_active_per_row" in e.proto.body]
    assert len(at.get("plotly_chart")) == 1 and len(styles) == 1 and not at.sidebar.get("page_link")
    assert f"run={run}" in at.markdown[-1].value and "panel=" not in at.markdown[-1].value


@pytest.mark.parametrize("name", ["nothing", "x{}</style><script>alert(1)</script>"])
def test_a_panel_that_is_not_there_shows_the_whole_view(open_page, results, name):
    (run, *_) = results.experiment("both").run_ids()
    at = open_page("run", results, run=run, view="activity", panel=name)
    assert not at.exception and len(at.get("plotly_chart")) > 1
    assert not [e for e in at.get("html") if "script" in e.proto.body or "panel_nothing" in e.proto.body]
    assert ("no panel 'nothing'" in words(at)) == (name == "nothing")


def test_a_view_is_sent_as_a_bundle_that_opens_on_it(results):
    from sae.ui.link import bundle

    (run, *_) = results.experiment("both").run_ids()
    content = bundle(results, [run], f"run?run={run}&view=activity")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert json.loads(archive.read("manifest.json"))["view"] == f"run?run={run}&view=activity"


def test_an_experiment_to_compare_with_that_is_not_here(open_page, results):
    sent = {"experiment": "both", "view": "difference", "with": "elsewhere", "from": "ann@x.org"}
    at = open_page("grid", results, **sent)
    assert "experiment 'elsewhere', which is not in this workspace: ann@x.org has it" in words(at)
    assert "this shows experiment 'both'" in words(at)
