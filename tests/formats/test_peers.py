"""What other packages saved gives what they compute; what is exported is what they opened, and gave the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sae import formats
from sae.common.errors import UserError
from sae.formats import forms
from tests.formats import drawn

FIXTURES = Path(__file__).parent / "fixtures"
SAVED = sorted(
    path.parent for name in ("sparsify", "dictionary_learning") for path in FIXTURES.glob(f"{name}/*/*.json")
)
EXPORTED = sorted(path.parent for path in FIXTURES.glob("exported/*/*/*.json"))


def expected(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "expected.safetensors")


def described(kind: str) -> dict[str, Any]:
    model = drawn.model(kind)
    return {"architecture": model.architecture, **model.hyperparameters()}


@pytest.mark.parametrize("folder", SAVED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_what_a_package_saved_gives_what_it_computes(folder: Path) -> None:
    loaded = formats.read(folder)
    assert loaded.format == folder.parent.name
    peer = expected(folder)
    torch.testing.assert_close(loaded.model(peer["x"]), peer["reconstruction"], rtol=0, atol=1e-5)
    torch.testing.assert_close(loaded.model.encode(peer["x"]), peer["features"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("folder", EXPORTED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_an_export_is_what_the_package_opened_and_gave_the_same(folder: Path, tmp_path: Path) -> None:
    model = drawn.model(folder.name)
    about = {"model_name": "gpt2"} if folder.parent.name == "saelens" else {}
    formats.write(model, folder.parent.name, tmp_path, about)
    there = sorted(path.name for path in folder.iterdir() if path.name != "expected.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    for name in there:
        if name.endswith(".json"):
            assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())
        else:
            load = load_file if name.endswith(".safetensors") else lambda path: torch.load(path, weights_only=True)
            ours, theirs = load(tmp_path / name), load(folder / name)
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    peer = expected(folder)
    torch.testing.assert_close(model(peer["x"]), peer["reconstruction"], rtol=0, atol=1e-5)
    back = formats.read(tmp_path)
    assert back.format == folder.parent.name
    torch.testing.assert_close(back.model(peer["x"]), peer["reconstruction"], rtol=0, atol=1e-5)


def test_every_kind_that_a_format_holds_was_opened_by_its_package() -> None:
    held = {(name, kind) for kind in drawn.KINDS for name in forms.WRITTEN if not forms.why_not(name, described(kind))}
    assert held == {(folder.parent.name, folder.name) for folder in EXPORTED}
    kinds = {forms.kind_of(described(kind)) for kind in drawn.KINDS}
    assert {line["SAE"] for line in forms.table()} == kinds | {"binary", "crosscoder", "deep-topk"}


@pytest.mark.parametrize(
    ("name", "model", "words"),
    [
        ("sparsify", {"architecture": "standard"}, "sparsify can't hold this SAE: it keeps K features of every row"),
        ("sparsify", {"architecture": "topk", "k": 2, "selection": "magnitude"}, "this one by magnitude"),
        ("saelens", {"architecture": "binary", "k": 2}, "sigmoid"),
        ("saelens", {"architecture": "transcoder", "k": 2, "skip": False}, "its transcoders are ReLU"),
        ("sparsify", {"architecture": "transcoder", "k": 2, "selection": "magnitude"}, "by magnitude"),
        ("sparsify", {"architecture": "deep-topk", "k": 2, "encoder_layers": 2}, "further layers"),
        ("saelens", {"architecture": "crosscoder", "k": 2, "layers": [0, 1]}, "several layers at once"),
        ("saelens", {"architecture": "topk", "k": 2, "inhibition": {"kind": "fixed"}}, "lateral inhibition"),
        ("saelens", {"architecture": "not-yet-known"}, "'not-yet-known' has not been tried"),
        ("saelens", {"architecture": "topk", "k": 2, "other_rule": 1}, "other_rule"),
        ("onnx", {"architecture": "topk", "k": 2}, "'onnx' is not known: take one of saelens"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_reason(name: str, model: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        forms.form_of(name, {"d_in": 4, "d_sae": 8, **model})
    assert words in str(caught.value)


def changed(source: Path, target: Path, **changes: object) -> Path:
    """A copy of a sparsify or dictionary_learning folder whose configuration says something else."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    file = next(target.glob("*.json"))
    content = json.loads(file.read_text())
    said = content["trainer"] if file.name == "config.json" else content
    said |= changes
    for key in [key for key, value in said.items() if value is ...]:
        del said[key]
    file.write_text(json.dumps(content))
    return target


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("sparsify/topk", {"activation": "groupmax"}, "'groupmax'"),
        ("sparsify/topk", {"skip_connection": True}, "skip_connection"),
        ("sparsify/topk", {"transcode": 1}, "transcode"),
        ("sparsify/transcoder", {"skip_connection": True}, "W_skip"),
        ("sparsify/topk", {"k": ...}, "does not say k"),
        ("sparsify/topk", {"k": 17}, "k 17"),
        ("sparsify/topk", {"num_latents": 0, "expansion_factor": 2**25}, "times expansion_factor"),
        ("sparsify/topk", {"d_in": 7}, "(16, 7)"),
        ("dictionary_learning/BatchTopKSAE", {"dict_class": "os.system"}, "known are AutoEncoderTopK"),
        ("dictionary_learning/BatchTopKSAE", {"dict_class": "GatedAutoEncoder"}, "has no tensor"),
        ("dictionary_learning/BatchTopKSAE", {"k": 4}, "k 4"),
        ("dictionary_learning/BatchTopKSAE", {"dict_size": 17}, "dict_size 17"),
        ("dictionary_learning/MatryoshkaBatchTopKSAE", {"dict_class": "BatchTopKSAE"}, "encoder.weight"),
        ("dictionary_learning/AutoEncoder", {"dict_class": ["AutoEncoder"]}, "dict_class"),
    ],
)
def test_a_configuration_that_cannot_be_held_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError) as caught:
        formats.read(changed(FIXTURES / name, tmp_path / "sae", **changes))
    assert words in str(caught.value) and len(str(caught.value)) < 300


def test_a_threshold_that_was_never_set_lets_every_positive_value_pass(tmp_path: Path) -> None:
    folder = changed(FIXTURES / "dictionary_learning" / "BatchTopKSAE", tmp_path / "sae")
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"threshold": torch.tensor(-1.0)}, folder / "ae.pt")
    loaded = formats.read(folder)
    assert "never set" in loaded.changes[0]
    x = drawn.rows()
    assert torch.equal(loaded.model.encode(x), loaded.model.pre_activations(x).relu())


def test_a_folder_of_several_names_one_of_them() -> None:
    with pytest.raises(UserError, match="several SAEs in folders: give one of them, such as 'topk'"):
        formats.read(FIXTURES / "sparsify")
