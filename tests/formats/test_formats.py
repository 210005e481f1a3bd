"""Which format a path is of, and our own run folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sae import formats
from sae.common.errors import UserError
from sae.models import build

MODELS: list[dict] = [
    {"architecture": "topk", "d_in": 5, "d_sae": 9, "k": 2, "selection": "signed"},
    {"architecture": "topk", "d_in": 5, "d_sae": 9, "k": 2, "selection": "magnitude"},
    {"architecture": "standard", "d_in": 5, "d_sae": 9, "apply_b_dec_to_input": False},
]


def run_folder(path: Path, described: dict) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(0)
    model = build(**described)
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    path.mkdir()
    save_file({name: value.data for name, value in model.named_parameters()}, path / "weights.safetensors")
    (path / "config.json").write_text(json.dumps({"format": 1, "id": path.name, "model": described}))
    return path, model


@pytest.mark.parametrize("described", MODELS, ids=lambda d: d.get("selection", d["architecture"]))
def test_a_run_folder_gives_the_same_model(tmp_path: Path, described: dict) -> None:
    folder, model = run_folder(tmp_path / "k2-d9", described)
    loaded = formats.read(folder)
    x = torch.randn(7, 5)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), model(x))
    assert loaded.details["config"]["id"] == "k2-d9"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "reads 1"),
        ({"model": None}, "which model"),
        ({"model": {**MODELS[0], "architecture": "none-such"}}, "'none-such' is not known"),
        ({"model": {**MODELS[0], "d_sae": 10}}, "(5, 9)"),
        ({"model": {**MODELS[0], "d_sae": 2**40}}, "between 1 and"),
        ({"model": {**MODELS[0], "k": 10}}, "k 10"),
        ({"model": {**MODELS[0], "k": "two"}}, "can't be built"),
        ({"model": {**MODELS[0], "surprise": 1}}, "surprise"),
    ],
)
def test_a_configuration_that_does_not_hold_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    folder, _ = run_folder(tmp_path / "run", MODELS[0])
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        formats.read(folder)
    assert words in str(caught.value)


def test_a_linked_file_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder, _ = run_folder(tmp_path / "run", MODELS[0])
    (folder / "weights.safetensors").rename(tmp_path / "elsewhere")
    (folder / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        formats.read(folder)


def test_what_is_no_sae_is_refused_naming_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path, words in ((tmp_path / "none", "nothing at"), (tmp_path / "notes.txt", "SAELens"), (tmp_path, ".pt")):
        with pytest.raises(UserError) as caught:
            formats.read(path)
        assert words in str(caught.value)


def test_formats_are_told_apart_by_their_files(tmp_path: Path) -> None:
    folder, _ = run_folder(tmp_path / "run", MODELS[0])
    saelens = Path(__file__).parent / "fixtures" / "saelens" / "topk"
    (tmp_path / "pos3_d9_k2.pt").write_bytes(b"anything")
    others = [saelens.parents[1] / "sparsify" / "topk", saelens.parents[1] / "dictionary_learning" / "AutoEncoder"]
    found = [formats.format_of(path) for path in (folder, saelens, *others, tmp_path / "pos3_d9_k2.pt")]
    assert found == ["run", "saelens", "sparsify", "dictionary_learning", "grid-pt"] == list(formats.FORMATS)
    assert all(formats.titles().values())
