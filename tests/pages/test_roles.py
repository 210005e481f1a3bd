"""Who may look and who may change, on the real pages of a server for several people."""

from __future__ import annotations

import pytest
from streamlit.runtime.context import ContextProxy, StreamlitHeaders

from sae.workspace import Workspace

SECRET = "0123456789abcdef01234567"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """`serve(identity, line...)`: the configuration of a server."""

    def write(identity: str, *lines: str) -> None:
        path = tmp_path / "server.toml"
        path.write_text("\n".join(['public_address = "https://sae.example.org"', f'identity = "{identity}"', *lines]))
        monkeypatch.setenv("SAE_SERVER", str(path))

    return write


@pytest.fixture
def come_as(monkeypatch):
    """`come_as(name)`: what the proxy says of the visitor from now on; None: a request that avoided the proxy."""
    monkeypatch.setenv("SAE_PROXY_SECRET", SECRET)

    def say(name: str | None) -> None:
        sent = [("X-Forwarded-Email", name or "ann@x.org"), ("X-Workbench-Proxy", SECRET if name else "guessed")]
        monkeypatch.setattr(ContextProxy, "headers", property(lambda self: StreamlitHeaders(sent)))

    return say


def said(at) -> str:
    return "\n".join(e.value for kind in (at.markdown, at.caption, at.error) for e in kind).replace("\\", "")


def test_by_proxy_a_trainer_a_viewer_and_whoever_avoids_it(open_page, trained, serve, come_as):
    serve("proxy", 'trainers = ["ann@x.org"]', 'viewers = ["*@x.org"]')
    come_as("Ann@x.org")
    at = open_page("home", trained)
    assert "Delete" in [b.label for b in at.button] and "train and delete" in said(at)
    come_as("bob@x.org")
    at = open_page("home", trained)
    assert [b.label for b in at.button] == ["Open"] and len(at.dataframe[0].value) == 4
    come_as("eve@y.org")
    at = open_page("home", trained)
    assert "not among those who may look" in said(at) and not at.dataframe
    come_as(None)
    at = open_page("home", trained)
    assert "https://sae.example.org" in said(at) and not at.dataframe


def test_an_event_that_a_viewer_forges_changes_nothing(open_page, copied, serve, come_as, no_supervisor):
    job = copied.jobs.enqueue("experiment", "other", {})
    serve("proxy", 'trainers = ["ann@x.org"]', 'contact = "ann@x.org"')
    come_as("ann@x.org")
    at = open_page("home", copied)
    stop = at.button(key=f"stop_home_{job.id}")
    come_as("eve@y.org")  # the widget is known to this session; its event comes from somebody who may only look
    stop.click().run()
    assert copied.jobs.get(job.id).status == "queued"
    assert "is for trainers: ask ann@x.org" in said(at)


def test_by_token(open_page, trained, serve, monkeypatch):
    monkeypatch.setenv("SAE_TRAINER_TOKEN", SECRET)
    monkeypatch.setenv("SAE_VIEWER_TOKEN", SECRET[::-1])
    serve("token")
    at = open_page("home", trained)
    assert "Sign in to see" in said(at) and not at.dataframe
    at.text_input(key="sign_in_token").input("guess")
    at.button[0].click().run()
    assert "not known here" in said(at) and not at.dataframe
    at.text_input(key="sign_in_token").input(SECRET[::-1])
    at.button[0].click().run()
    assert len(at.dataframe[0].value) == 4 and "Delete" not in [b.label for b in at.button]
    at.button(key="sign_out").click().run()
    assert not at.dataframe


def test_a_configuration_that_is_wrong_shows_that_and_nothing_else(open_page, trained, serve):
    serve("oidc", "trainer = 1")
    at = open_page("home", trained)
    assert "no setting" in said(at) and not at.dataframe
    assert not at.exception


def test_a_server_that_others_reach_without_a_configuration_only_shows(open_page, copied, monkeypatch):
    monkeypatch.setattr("sae.ui.role.at_this_machine", lambda: False)
    at = open_page("home", copied)
    assert [b.label for b in at.button] == ["Open"]
    assert "listens beyond this machine" in said(at)


def test_a_read_only_page_leaves_the_index_as_it_was(open_page, copied, monkeypatch):
    copied.database.close()
    before = (copied.root / "workspace.db").read_bytes()
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    assert not open_page("grid", Workspace(copied.root), experiment="grid").exception
    assert (copied.root / "workspace.db").read_bytes() == before
