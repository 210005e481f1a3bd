"""Bundles: what was sent comes out the same elsewhere; both sides' words stand; nothing hostile gets in."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import write_json
from sae.workspace import Workspace, access
from sae.workspace.bundles import make_bundle
from sae.workspace.bundles_merge import open_bundle
from sae.workspace.findings import Findings
from sae.workspace.notes import NOTE_LENGTH, Notes
from tests.workspace.grids import train_grid
from tests.workspace.helpers import put_activations


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two runs of `grid` over `rows`, with notes and a finding. Not to be written to."""
    root = tmp_path_factory.mktemp("sent") / "workspace"
    workspace = Workspace(root)
    put_activations(workspace)
    train_grid(workspace, root.parent / "scratch", d_sae=(16,))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    run = workspace.experiment("grid").runs()[0]
    notes = Notes(run.folder, 16)
    notes.write(1, label="theirs", note="seen by them")
    notes.write(2, label="only theirs", bookmark=True)
    notes.add("good", [1, 2])
    Findings(workspace).add("Feature 1 adds", "Ada", [(f"features?run={run.id}&feature=1", "its card")])
    Findings(workspace).add("Of something else", "Ada", [("run?run=elsewhere", "")])
    workspace.database.close()
    return workspace


@pytest.fixture(scope="module")
def bundle(sent: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "grid.zip"
    make_bundle(sent, "grid", path, view="grid?experiment=grid&view=frontier")
    return path


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "here")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_was_sent_stands_there_byte_for_byte(sent, bundle, here) -> None:
    found = open_bundle(here, bundle)
    assert not found.refused and not found.here and found.view == "grid?experiment=grid&view=frontier"
    assert len(found.added) == 5  # two runs, experiment, activations, the finding about them
    for run in sent.experiment("grid").runs():
        theirs, ours = files(run.folder), files(here.run_folder(run.id))
        assert json.loads(ours.pop("config.json")) == json.loads(theirs.pop("config.json"))
        assert ours == {name: data for name, data in theirs.items() if not name.startswith(".")}
    assert here.experiment("grid").results().equals(sent.experiment("grid").results())
    assert [finding.claim for finding in Findings(here).all()] == ["Feature 1 adds"]
    assert sorted(path.name for path in here.root.iterdir()) == ["activations", "experiments", "findings", "runs"]
    again = open_bundle(here, bundle)
    assert not again.added and not again.differences and len(again.here) == 5


def test_examples_come_without_values_and_with_them_when_asked(sent, bundle, here, tmp_path) -> None:
    found = open_bundle(here, bundle)
    assert [need["activations"] for need in found.needs] == ["rows"]
    rows, original = here.open_activations("rows"), sent.open_activations("rows")
    assert rows.examples.equals(original.examples) and rows.rows.equals(original.rows) and not rows.has_values
    with pytest.raises(UserError, match="came in a bundle without their values"):
        rows.slice().x  # noqa: B018 (reading it is what fails)
    make_bundle(sent, sent.experiment("grid").run_ids()[0], tmp_path / "whole.zip", values=True)
    assert open_bundle(here, tmp_path / "whole.zip").added == ["activations/rows (values)"]
    assert np.array_equal(here.open_activations("rows").array, original.array)


def test_both_sides_words_stand(sent, bundle, here) -> None:
    open_bundle(here, bundle)
    run = here.experiment("grid").runs()[0]
    notes = Notes(run.folder, 16)
    notes.write(1, label="ours", note="seen by us")
    notes.write(2, bookmark=False)
    notes.write(3, label="ours alone")
    notes.remove("good", [2])
    notes.add("good", [7])
    looked = open_bundle(here, bundle, look=True)
    assert Notes(run.folder).feature(1).note == "seen by us", "looking changes nothing"
    found = open_bundle(here, bundle)
    assert looked.differences == found.differences
    said = {(one.what, one.feature): (one.ours, one.theirs) for one in found.differences}
    assert said == {
        ("label", 1): ("ours", "theirs"),
        ("note", 1): ("seen by us", "seen by them"),
        ("bookmark", 2): ("no", "yes"),
        ("list good", None): ("1, 7", "1, 2"),
    }
    one = notes.feature(1)
    assert one.label == "ours" and one.note == "seen by us\n\nFrom grid:\nLabel: theirs\nseen by them"
    assert notes.feature(2).bookmark and notes.feature(3).label == "ours alone"
    assert notes.lists() == {"good": [1, 7, 2]}
    assert not open_bundle(here, bundle).differences, "the same again adds nothing"
    notes.write(1, note="x" * NOTE_LENGTH)
    (label, note) = open_bundle(here, bundle).differences
    assert "ours stays" in label.outcome and "ours stays" in note.outcome
    assert notes.feature(1).note == "x" * NOTE_LENGTH


def test_a_short_word_within_another_is_not_taken_for_it(sent, here, tmp_path) -> None:
    shutil.copytree(sent.root, tmp_path / "a")
    other = Workspace(tmp_path / "a")
    run = other.experiment("grid").run_ids()[0]
    Notes(other.run_folder(run)).write(5, label="add", note="a")
    make_bundle(other, run, tmp_path / "a.zip")
    open_bundle(here, tmp_path / "a.zip")
    ours = Notes(here.run_folder(run), 16)
    ours.write(5, label="addition", note="adds a lot")
    open_bundle(here, tmp_path / "a.zip")
    assert ours.feature(5).note.endswith(":\nLabel: add\na")


def test_a_run_alone_then_its_experiment(sent, bundle, here, tmp_path) -> None:
    first, second = sent.experiment("grid").run_ids()
    make_bundle(sent, second, tmp_path / "one.zip")
    open_bundle(here, tmp_path / "one.zip")
    assert here.experiment("grid").run_ids() == [second]
    found = open_bundle(here, bundle)
    assert here.experiment("grid").run_ids() == [second, first]
    assert "experiments/grid (more of it)" in found.added
    assert here.experiment("grid").results()["id"].nunique() == 2


def test_names_that_stand_for_something_else_here(sent, bundle, here, tmp_path) -> None:
    put_activations(here, n=150)
    train_grid(here, tmp_path / "scratch", d_sae=(8,), k=(2,))
    before = files(here.root / "experiments") | files(here.root / "activations")
    found = open_bundle(here, bundle)
    assert set(found.renamed) == {"rows", "grid"}
    assert (files(here.root / "experiments") | files(here.root / "activations")).items() >= before.items()
    named = found.renamed["grid"]
    runs = here.experiment(named).runs()
    assert {run.config["experiment"] for run in runs} == {named}
    assert {run.config["data"]["activations"] for run in runs} == {found.renamed["rows"]}
    assert found.view == f"grid?experiment={named}&view=frontier"
    assert not open_bundle(here, bundle).added


def test_a_run_of_other_weights_is_not_mixed(sent, bundle, here) -> None:
    open_bundle(here, bundle)
    first, second = here.experiment("grid").run_ids()
    shutil.copy(here.run_folder(second) / "weights.safetensors", here.run_folder(first) / "weights.safetensors")
    before = (here.run_folder(first) / "weights.safetensors").read_bytes()
    (refused,) = open_bundle(here, bundle).refused
    assert first in refused and "other weights" in refused
    assert (here.run_folder(first) / "weights.safetensors").read_bytes() == before


def test_nothing_that_is_said_of_other_weights_stands_beside_ours(sent, here, tmp_path) -> None:
    shutil.copytree(sent.root, tmp_path / "theirs")
    theirs = Workspace(tmp_path / "theirs")
    first, second = theirs.experiment("grid").run_ids()
    measured = theirs.experiment_folder("measured")
    listed = [{"id": run, "factors": {}, "name": run} for run in (first, second)]
    spec = {"kind": "evaluation", "name": "measured", "source": "grid", "settings": {}}
    content = {**theirs.experiment("grid").content, "name": "measured", "kind": "evaluation", "spec": spec, "runs": []}
    for run in (first, second):
        write_json(measured / "parts" / run / "summary.json", {"of": run})
    write_json(measured / "experiment.json", {**content, "measured": listed})
    make_bundle(theirs, "grid", tmp_path / "a.zip", view=f"features?run={first}&feature=1")
    make_bundle(theirs, first, tmp_path / "alone.zip")
    open_bundle(here, tmp_path / "a.zip")
    shutil.rmtree(here.experiment_folder("measured"))
    shutil.copy(here.run_folder(second) / "weights.safetensors", here.run_folder(first) / "weights.safetensors")
    found = open_bundle(here, tmp_path / "a.zip")
    assert found.view is None and any("opens on" in line for line in found.refused), "it would show ours instead"
    assert here.experiment("measured").measured_runs() == [second]
    assert [path.name for path in (here.experiment_folder("measured") / "parts").iterdir()] == [second]
    shutil.rmtree(here.experiment_folder("measured"))
    assert any("measured" in line for line in open_bundle(here, tmp_path / "alone.zip").refused)
    assert not here.experiment_folder("measured").exists()


def test_files_of_any_date_that_change_meanwhile(sent, here, tmp_path, monkeypatch) -> None:
    shutil.copytree(sent.root, tmp_path / "old")
    old = Workspace(tmp_path / "old")
    run = old.experiment("grid").runs()[0]
    os.utime(run.folder / "config.json", (0, 0))  # as in an image, or after a clock that jumped
    closed = zipfile.ZipFile.open
    notes = run.folder / "notes.json"

    def and_somebody_writes(self, name, mode="r", **named):
        if mode == "w" and getattr(name, "filename", "").endswith("notes.json"):
            notes.touch()
        opened = closed(self, name, mode, **named)
        if mode == "w" and getattr(name, "filename", "").endswith("notes.json"):
            write = opened.write

            def then_changed(data):
                Notes(run.folder, 16).write(5, label="meanwhile")
                return write(data)

            opened.write = then_changed  # type: ignore[method-assign]
        return opened

    monkeypatch.setattr(zipfile.ZipFile, "open", and_somebody_writes)
    make_bundle(old, "grid", tmp_path / "b.zip")
    assert not open_bundle(here, tmp_path / "b.zip").refused
    assert Notes(run.folder).feature(5).label == "meanwhile" and not Notes(here.run_folder(run.id)).feature(5).label


Change = Callable[[dict[str, bytes], dict[str, Any]], object]


def rewritten(bundle: Path, target: Path, change: Change, kind: int = zipfile.ZIP_DEFLATED) -> Path:
    """The bundle with its files and manifest changed; hashes are left as they are."""
    with zipfile.ZipFile(bundle) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(held.pop("manifest.json"))
    change(held, manifest)
    with zipfile.ZipFile(target, "w", kind) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", json.dumps(manifest))
    return target


def put(held: dict[str, bytes], manifest: dict[str, Any], name: str, data: bytes) -> None:
    import hashlib

    held[name] = data
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def config_of(held: dict[str, bytes]) -> str:
    return next(name for name in held if name.endswith("/config.json"))


def hostile_config(held: dict[str, bytes], manifest: dict[str, Any], **values: Any) -> None:
    name = config_of(held)
    put(held, manifest, name, json.dumps({**json.loads(held[name]), **values}).encode())


HOSTILE: dict[str, tuple[Change, str]] = {
    "changed": (lambda held, _: held.update({config_of(held): held[config_of(held)].replace(b"1", b"2")}), "SHA-256"),
    "cut": (lambda held, _: held.update({config_of(held): held[config_of(held)][:-1]}), "not of the size"),
    "slip": (lambda held, manifest: put(held, manifest, "runs/../../evil.json", b"x"), "no place"),
    "absolute": (lambda held, manifest: put(held, manifest, "/etc/evil.json", b"x"), "no place"),
    "backslash": (lambda held, manifest: put(held, manifest, "runs\\..\\evil.json", b"x"), "no place"),
    "drive": (lambda held, manifest: put(held, manifest, "runs/C:/evil.json", b"x"), "no place"),
    "code": (lambda held, manifest: put(held, manifest, "runs/a/evil.py", b"x"), "no place"),
    "database": (lambda held, manifest: put(held, manifest, "workspace.db", b"x"), "no place"),
    "extra": (lambda held, _: held.update({"runs/a/b.json": b"{}"}), "does not name"),
    "missing": (lambda held, _: held.pop(config_of(held)), "lacks"),
    "version": (lambda _, manifest: manifest.update(version=2), "version 2"),
    "other": (lambda _, manifest: manifest.update(format="zip"), "not a bundle"),
    "view": (lambda _, manifest: manifest.update(view="https://e.vil/?a=b"), "not a page"),
    "no files": (lambda _, manifest: manifest.update(files={}), "names no files"),
    "no hash": (lambda held, manifest: manifest["files"][config_of(held)].pop("sha256"), "no SHA-256"),
    "bomb": (lambda held, manifest: put(held, manifest, "runs/a/b.npy", bytes(100 * 2**20)), "far more"),
    "run id": (lambda held, manifest: hostile_config(held, manifest, id="../x"), "calls itself"),
    "no data": (lambda held, manifest: hostile_config(held, manifest, data=None), "has no data"),
    "architecture": (lambda held, manifest: hostile_config(held, manifest, model={"architecture": "os"}), "can't be"),
    "pickle": (
        lambda held, manifest: put(held, manifest, config_of(held).replace("config.json", "weights.safetensors"),
                                   b"\x80\x04cos\nsystem\n"), "can't be taken",
    ),
    "parquet": (
        lambda held, manifest: put(held, manifest, config_of(held).replace("config.json", "features.parquet"), b"PAR1"),
        "features.parquet can't be read",
    ),
    "notes": (
        lambda held, manifest: put(held, manifest, config_of(held).replace("config.json", "notes.json"),
                                   b'{"format": 1, "features": {"99": {}}, "lists": {}}'), "features that it has not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_get_one_line_and_leave_nothing(bundle, here, tmp_path, name: str) -> None:
    change, said = HOSTILE[name]
    with pytest.raises(UserError) as error:
        open_bundle(here, rewritten(bundle, tmp_path / "b.zip", change))
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not list(here.root.iterdir()) and sorted(p.name for p in tmp_path.iterdir()) == ["b.zip", "here"]


def test_links_doubles_passwords_and_false_sizes(bundle, here, tmp_path) -> None:
    link = zipfile.ZipInfo("runs/a/config.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(rewritten(bundle, tmp_path / "link.zip", lambda *_: None), "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with zipfile.ZipFile(rewritten(bundle, tmp_path / "twice.zip", lambda *_: None), "a") as archive, pytest.warns():
        archive.writestr("manifest.json", "{}")
    (tmp_path / "none.zip").write_bytes(b"PK not a zip")
    data = bytearray(bundle.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (2**31).to_bytes(4, "little")  # the size that the directory announces
    (tmp_path / "size.zip").write_bytes(data)
    data = bytearray(bundle.read_bytes())
    data[central + 8] |= 1  # encrypted
    (tmp_path / "locked.zip").write_bytes(data)
    for name in ("link", "twice", "none", "size", "locked", "not-there"):
        with pytest.raises(UserError, match=f"{name}.zip"):
            open_bundle(here, tmp_path / f"{name}.zip")
    assert not here.root.exists() or not list(here.root.iterdir())


def test_mutated_bundles_never_end_otherwise(bundle, tmp_path) -> None:
    """The short form of the fuzzing: bytes changed anywhere, mostly in headers, manifest and the end."""
    generator, original = random.Random(0), bundle.read_bytes()
    here = Workspace(tmp_path / "here")
    for number in range(60):
        data = bytearray(original)
        for _ in range(generator.choice((1, 3, 30))):
            at = generator.choice((generator.randrange(len(data)), len(data) - 1 - generator.randrange(3000)))
            data[at] = generator.randrange(256)
        if number % 5 == 0:
            del data[generator.randrange(len(data)) :]
        (tmp_path / "b.zip").write_bytes(data)
        try:
            open_bundle(here, tmp_path / "b.zip", look=True)
        except UserError as error:
            assert len(str(error)) < 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "here"] and not list(here.root.iterdir())


def test_a_viewer_can_look_but_not_open(bundle, here) -> None:
    before = access._ask, access._refusal
    access.decide_by(lambda: "viewer")
    try:
        assert open_bundle(here, bundle, look=True).added
        with pytest.raises(UserError, match="opening a bundle is for trainers"):
            open_bundle(here, bundle)
    finally:
        access.decide_by(*before)


def test_the_commands(sent, tmp_path, capsys) -> None:
    there, run = ["--workspace", str(sent.root)], sent.experiment("grid").run_ids()[0]
    file = str(tmp_path / "a.zip")
    assert main(["share", run, "--out", file, "--view", f"run?run={run}", "--json", *there]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == [run]
    new = ["--workspace", str(tmp_path / "new")]
    assert main(["open", file, "--json", *new]) == 0
    said = json.loads(capsys.readouterr().out)
    assert f"runs/{run}" in said["added"] and said["view"] == f"run?run={run}"
    assert main(["open", file, *new]) == 0
    assert "0 added, 4 here already" in capsys.readouterr().out
    for words, expected in (
        (["share", run, "--out", file, "--view", "javascript:alert(1)"], "not a page"),
        (["share", run, "--out", file, "--panel", "curves"], "of a report"),
        (["share", run, run, "--out", "a.html"], "of one experiment or run"),
        (["open", str(tmp_path / "no.zip")], "is not a file"),
    ):
        assert main([*words, *there]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ") and expected in line
