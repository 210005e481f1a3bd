"""Every function that writes refuses a viewer and a read-only process; a read-only index writes nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sae.common.errors import UserError
from sae.common.files import write_json
from sae.workspace import Workspace, access
from sae.workspace.housekeeping import delete_runs, rename_run
from sae.workspace.imports import import_path
from sae.workspace.kinds import keep_definition
from sae.workspace.notes import Notes
from sae.workspace.rebuild import rebuild_index
from sae.workspace.server_config import checked, server_config
from sae.workspace.start import (
    estimate_capture,
    request_maps,
    start_again,
    start_capture,
    start_demo,
    start_experiment,
    start_measurement,
)
from sae.workspace.supervisor import Supervisor, ensure_running

WRITERS: dict[str, Callable[[Workspace], object]] = {
    "experiment": lambda w: start_experiment(w, {"name": "e", "kind": "topk_grid", "activations": "rows"}),
    "measurement": lambda w: start_measurement(w, {"name": "m", "kind": "patching", "source": "e"}),
    "capture": lambda w: start_capture(w, {"name": "c", "model": "m", "problems": "generated:10", "layers": "1"}),
    "demo": start_demo,
    "again": lambda w: start_again(w, w.jobs.all()[0]),
    "maps": lambda w: request_maps(w, "e", ["r"]),
    "enqueue": lambda w: w.jobs.enqueue("map", "e", {}),
    "cancel": lambda w: w.jobs.cancel(w.jobs.all()[0].id),
    "probe": lambda w: estimate_capture({}),
    "activations": lambda w: w.delete_activations("rows"),
    "delete experiment": lambda w: w.delete_experiment("e"),
    "delete run": lambda w: w.delete_run("r"),
    "delete runs": lambda w: delete_runs(w, ["r"]),
    "rename": lambda w: rename_run(w, "r", "n"),
    "label": lambda w: Notes(w.run_folder("r")).write(0, label="x"),
    "list": lambda w: Notes(w.run_folder("r")).add("l", [1]),
    "unlist": lambda w: Notes(w.run_folder("r")).remove("l"),
    "import": lambda w: import_path(w, "there.pt", None),
    "define": lambda w: keep_definition(w, "name: x", "x.yaml"),
    "rebuild": rebuild_index,
    "supervisor": ensure_running,
    "work": lambda w: Supervisor(w, "cpu").run(),
}


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    workspace.jobs.enqueue("map", "e", {"runs": []})
    write_json(workspace.run_folder("r") / "config.json", {})
    workspace.runs_table()
    return workspace


@pytest.fixture
def as_viewer() -> Iterator[None]:
    before = access._ask, access._refusal
    access.decide_by(lambda: "viewer", lambda: "ask ann@example.org")
    yield
    access.decide_by(*before)


def files(workspace: Workspace) -> dict[str, bytes]:
    """All that stands in the workspace, but SQLite's shared memory, and its log before anything is written to it."""
    found = {str(p): p.read_bytes() for p in workspace.root.rglob("*") if p.is_file()}
    return {
        name: content
        for name, content in found.items()
        if not (name.endswith("-shm") or name[-4:] == "-wal" and not content)
    }


@pytest.mark.parametrize("name", WRITERS)
def test_a_viewer_is_refused_where_the_work_is_done(name, here, as_viewer):
    before = files(here)
    with pytest.raises(UserError, match=r"is for trainers: ask ann@example\.org"):
        WRITERS[name](here)
    assert files(here) == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_process_changes_nothing(name, here, monkeypatch):
    here.database.close()
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    before = files(here)
    with pytest.raises(UserError, match="read-only"):
        WRITERS[name](here)
    assert files(here) == before


def test_a_read_only_index_is_read_and_can_not_be_written(here, monkeypatch):
    here.database.close()
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    (job,) = here.jobs.all()
    assert (job.name, job.status) == ("e", "queued")
    write_json(here.run_folder("s") / "config.json", {})
    assert set(here.runs_table()["id"]) == {"r", "s"}  # what the index does not know is read from its files
    with pytest.raises(UserError, match="read-only"), here.database.write():
        pass
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        here.database.read("DELETE FROM jobs")
    # A writer beside it goes on, and what it writes is seen.
    monkeypatch.delenv("SAE_READ_ONLY")
    Workspace(here.root).jobs.enqueue("map", "f", {})
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    assert len(here.jobs.all()) == 2


def test_a_read_only_workspace_without_an_index_gets_none(tmp_path, monkeypatch):
    write_json(tmp_path / "runs" / "r" / "config.json", {})
    monkeypatch.setenv("SAE_READ_ONLY", "1")
    workspace = Workspace(tmp_path)
    assert list(workspace.runs_table()["id"]) == ["r"] and workspace.jobs.all() == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


SHARED = {"public_address": "https://sae.example.org", "identity": "oidc", "trainers": ["ann@x.org", "*@lab.org"]}
SECRET = "0123456789abcdef01234567"


def test_roles_follow_from_the_lists():
    config = checked(SHARED | {"viewers": ["*@x.org"]})
    roles = {
        who: config.role_of(who) for who in ("Ann@X.org", "bob@lab.org", "eve@x.org", "eve@lab.org.evil", None, "")
    }
    assert list(roles.values()) == ["trainer", "trainer", "viewer", "nobody", "nobody", "nobody"]
    assert checked(SHARED).role_of("eve@evil.org") == "viewer" and checked(SHARED).role_of(None) == "nobody"
    assert checked(SHARED | {"viewers": ["anyone"]}).role_of(None) == "viewer"
    assert checked({"public_address": "http://10.0.0.5:8501", "identity": "none"}).role_of(None) == "viewer"


def test_the_proxy_is_believed_only_with_its_secret_and_one_name(monkeypatch):
    monkeypatch.setenv("SAE_PROXY_SECRET", SECRET)
    config = checked(SHARED | {"identity": "proxy"}, proxy_secret=SECRET)

    def named(**headers: list[str]) -> str | None:
        return config.named_by_proxy(lambda name: headers.get(name.replace("-", "_"), []))

    assert named(X_Workbench_Proxy=[SECRET], X_Forwarded_Email=["ann@x.org"]) == "ann@x.org"
    assert named(X_Forwarded_Email=["ann@x.org"]) is None
    assert named(X_Workbench_Proxy=[SECRET[:-1]], X_Forwarded_Email=["ann@x.org"]) is None
    assert named(X_Workbench_Proxy=[SECRET], X_Forwarded_Email=["ann@x.org", "eve@evil.org"]) is None
    assert named(X_Workbench_Proxy=[SECRET], X_Forwarded_Email=[" "]) is None


def test_a_token_is_good_for_its_role(monkeypatch):
    monkeypatch.setenv("SAE_TRAINER_TOKEN", SECRET)
    monkeypatch.setenv("SAE_VIEWER_TOKEN", SECRET[::-1])
    config = checked({"public_address": "https://x.org", "identity": "token"}, "", SECRET, SECRET[::-1])
    roles = [config.role_of_token(token) for token in (SECRET, SECRET[::-1], "", "täglich", SECRET + "x")]
    assert roles == ["trainer", "viewer", "nobody", "nobody", "nobody"]
    monkeypatch.delenv("SAE_VIEWER_TOKEN")
    assert config.role_of_token("") == "nobody"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": ["a"]}, "'trainer' is no setting: take public_address"),
        ({"identity": "ldap"}, "identity = 'ldap' is not known: take one of none, oidc"),
        ({"identity": None}, "identity = None is not text"),
        ({"trainers": "ann"}, "trainers = 'ann' is not a list"),
        ({"public_address": "sae.example.org"}, "is not like https://sae.example.org"),
        ({"public_address": "http://sae.example.org"}, "needs https"),
        ({"identity": "none"}, "nobody is known"),
        ({"identity": "proxy"}, "SAE_PROXY_SECRET with 24"),
        ({"identity": "token"}, "leave trainers out"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said_in_one_line(change, said):
    with pytest.raises(UserError, match=said):
        checked(SHARED | change)


def test_the_file_is_read_again_when_it_changes(tmp_path, monkeypatch):
    assert server_config() is None
    path = tmp_path / "server.toml"
    monkeypatch.setenv("SAE_SERVER", str(path))
    with pytest.raises(UserError, match="can't be read"):
        server_config()
    path.write_text("public_address = ")
    with pytest.raises(UserError, match="is not TOML"):
        server_config()
    path.write_text('public_address = "https://a.org"\nidentity = "none"\n')
    os.utime(path, (1, 1))
    config = server_config()
    assert config is not None and config.public_address == "https://a.org"
