"""Exports: files, card, zip and hub, of runs whose SAEs came from other tools; registry ids through their package."""

from __future__ import annotations

import io
import shutil
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sae import formats
from sae.cli.main import main
from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json, write_json
from sae.formats.dictionary_learning import CLASSES
from sae.workspace import Workspace
from sae.workspace.exports import export_run, export_zip
from sae.workspace.imports import import_path
from tests.formats import drawn
from tests.workspace.helpers import put_activations

FIXTURES = Path(__file__).parents[1] / "formats" / "fixtures"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """With a run of each class that dictionary_learning has, and a TopK of sparsify."""
    found = Workspace(tmp_path_factory.mktemp("exports") / "w")
    put_activations(found, n=120, d_in=6)
    for name in CLASSES:
        import_path(found, FIXTURES / "dictionary_learning" / name, "rows")
    import_path(found, FIXTURES / "sparsify" / "topk", "rows", name="a <b>*TopK*</b> of theirs")
    return found


def run_of(workspace: Workspace, name: str) -> Any:
    return next(run for run in map(workspace.run, workspace.runs_table()["id"]) if name in run.title)


@pytest.mark.parametrize("name", CLASSES)
def test_what_was_imported_goes_out_and_comes_back_the_same(workspace: Workspace, name: str, tmp_path: Path) -> None:
    run = run_of(workspace, name)
    assert len(run.features()) == 16 and run.config["source"]["format"] == "dictionary_learning"
    done = export_run(workspace, run, "saelens", tmp_path / "out")
    x = drawn.rows()
    torch.testing.assert_close(formats.read(tmp_path / "out").model(x), run.model()(x), rtol=0, atol=1e-5)
    assert done.files == {path.name: file_sha256(path) for path in (tmp_path / "out").iterdir()}
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_the_card_says_what_it_is_and_no_markup_of_others_works_in_it(workspace: Workspace, tmp_path: Path) -> None:
    run = run_of(workspace, "theirs")
    export_run(workspace, run, "sparsify", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "# a \\<b\\>\\*TopK\\*\\</b\\> of theirs" in card
    assert file_sha256(tmp_path / "out" / "sae.safetensors") in card
    assert run.config["data"]["sha256"] in card and "train 96, validation 24" in card
    value = run.metrics["validation"]["ev_total"]
    line = next(line for line in card.splitlines() if line.startswith("| `ev_total`"))
    assert line.split(" | ")[1:3] == [f"{run.metrics['train']['ev_total']:.4f}", f"{value:.4f}"]
    assert "license:" not in card.split("---")[1] and "library_name: sparsify" in card


def test_what_cannot_be_held_and_what_is_in_the_way_is_refused_before_anything_is_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="sparsify can't hold this SAE: it keeps K features of every row"):
        export_run(workspace, run_of(workspace, "GatedAutoEncoder"), "sparsify", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for folder in (tmp_path / "full", tmp_path / "full" / "mine.txt"):
        with pytest.raises(UserError, match="not an empty folder"):
            export_run(workspace, run_of(workspace, "theirs"), "sparsify", folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_a_zip_has_the_same_files_in_one_folder(workspace: Workspace, tmp_path: Path) -> None:
    run = run_of(workspace, "theirs")
    with zipfile.ZipFile(io.BytesIO(export_zip(workspace, run, "sparsify"))) as archive:
        names = {f"{run.id}-sparsify/{name}" for name in ("cfg.json", "sae.safetensors", "README.md")}
        assert set(archive.namelist()) == names
        archive.extractall(tmp_path)
    x = drawn.rows()
    torch.testing.assert_close(formats.read(tmp_path / f"{run.id}-sparsify").model(x), run.model()(x))


def test_the_hub_gets_the_files_and_without_a_token_nothing_is_written(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    asked: list[tuple[str, Any]] = []

    class Hub:
        def __init__(self, token: str) -> None:
            asked.append(("token", token))

        def create_repo(self, name: str, **options: Any) -> str:
            asked.append(("create", (name, options["private"])))
            if "/" not in name:
                raise ValueError("Repo id must be owner/name\nand more")
            return f"https://huggingface.co/{name}"

        def upload_folder(self, **options: Any) -> None:
            asked.append(("upload", (Path(options["folder_path"]).name, options["allow_patterns"])))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    run = run_of(workspace, "theirs").id
    words = ["export", run, "--workspace", str(workspace.root), "--format", "sparsify", "--out"]
    assert main([*words, str(tmp_path / "a"), "--push-to-hub", "me/mine"]) == 2
    assert "set HF_TOKEN" in capsys.readouterr().err and not asked and not (tmp_path / "a").exists()
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "secret")
    assert main([*words, str(tmp_path / "a"), "--push-to-hub", "me/mine", "--private"]) == 0
    printed = capsys.readouterr().out
    assert "https://huggingface.co/me/mine" in printed and "secret" not in printed
    files = ["README.md", "cfg.json", "sae.safetensors"]
    assert asked == [("token", "secret"), ("create", ("me/mine", True)), ("upload", ("a", files))]
    assert main([*words, str(tmp_path / "b"), "--push-to-hub", "mine"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: 'mine' was not uploaded (Repo id must be owner/name)") and "secret" not in error


def test_an_sae_of_the_registry_comes_through_its_package_or_says_what_to_install(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(UserError, match="needs SAELens, which is not installed here .*pip install sae-lens"):
        import_path(workspace, "saelens:gpt2-small/blocks.8/topk", "rows")

    class Lens:
        def __init__(self, name: str) -> None:
            self.name = name

        @classmethod
        def from_pretrained(cls, release: str, name: str, device: str) -> Lens:
            assert (release, device) == ("gpt2-small", "cpu")
            if name == "broken":
                raise RuntimeError("404 of the hub\nand its page")
            return cls(name.split("/")[1])

        def save_model(self, folder: Path) -> None:
            shutil.copytree(FIXTURES / "saelens" / self.name, folder)

    ids = {"blocks.8/topk": "", "blocks.8/jumprelu": "", "broken": ""}
    directory = ModuleType("directory")
    directory.get_pretrained_saes_directory = lambda: {"gpt2-small": SimpleNamespace(saes_map=ids)}  # type: ignore[attr-defined]
    package = ModuleType("sae_lens")
    package.SAE = Lens  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sae_lens", package)
    monkeypatch.setitem(sys.modules, "sae_lens.loading.pretrained_saes_directory", directory)
    run = workspace.run(import_path(workspace, "saelens:gpt2-small/blocks.8/jumprelu", "rows"))
    assert run.title == "gpt2-small/blocks.8/jumprelu" and run.config["model"]["architecture"] == "jumprelu"
    for address, words in (
        ("saelens:someone/else", "no release 'someone'"),
        ("saelens:gpt2-small/blocks.9", "it has 3, such as 'blocks.8/topk'"),
        ("saelens:gpt2-small/broken", "can't load 'broken' of 'gpt2-small': 404 of the hub$"),
    ):
        with pytest.raises(UserError, match=words):
            import_path(workspace, address, "rows")


def test_a_run_that_is_not_finished_has_nothing_to_export(workspace: Workspace, tmp_path: Path) -> None:
    run = run_of(workspace, "theirs")
    copy = workspace.run_folder("unfinished")
    copy.mkdir()
    write_json(copy / "config.json", {**read_json(run.folder / "config.json"), "id": "unfinished"})
    with pytest.raises(UserError, match="not finished"):
        export_run(workspace, workspace.run("unfinished"), "sparsify", tmp_path / "out")
