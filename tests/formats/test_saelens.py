"""SAELens folders: what the real SAELens saved must come out the same, and the rest is refused with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from sae import formats
from sae.common.errors import UserError

FIXTURES = Path(__file__).parent / "fixtures" / "saelens"


@pytest.mark.parametrize("name", sorted(folder.name for folder in FIXTURES.iterdir()))
def test_what_saelens_saved_gives_what_saelens_computes(name: str) -> None:
    expected = load_file(FIXTURES / name / "expected.safetensors")
    loaded = formats.read(FIXTURES / name)
    x = torch.from_numpy(expected["x"])
    with torch.no_grad():
        np.testing.assert_allclose(loaded.model(x).numpy(), expected["reconstruction"], rtol=2e-6, atol=1e-5)
        np.testing.assert_allclose(loaded.model.encode(x).numpy(), expected["features"], rtol=2e-6, atol=2e-5)
    assert loaded.format == "saelens"
    assert set(loaded.files) == {"cfg.json", "sae_weights.safetensors"}
    assert loaded.details["sae_lens_version"] == "6.54.12"


@pytest.mark.parametrize("name", ["topk", "abstopk", "standard"])
def test_an_independent_forward_pass_agrees(name: str) -> None:
    weights = load_file(FIXTURES / name / "sae_weights.safetensors")
    x = np.random.default_rng(0).normal(1, 2, (50, 6)).astype(np.float32)
    pre = (x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    if name == "standard":
        features = np.maximum(pre, 0)
    else:
        order = np.argsort(-(np.abs(pre) if name == "abstopk" else pre), axis=1)[:, :3]
        features = np.zeros_like(pre)
        np.put_along_axis(features, order, np.take_along_axis(pre, order, 1), 1)
        if name == "topk":
            features = np.maximum(features, 0)
    with torch.no_grad():
        got = formats.read(FIXTURES / name).model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, features @ weights["W_dec"] + weights["b_dec"], atol=1e-4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "topk", tmp_path / "layer_9"))


def edit(folder: Path, **changes: object) -> None:
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg |= changes
    (folder / "cfg.json").write_text(json.dumps({key: value for key, value in cfg.items() if value is not ...}))


def refused(path: Path, *words: str, k: int | None = None) -> None:
    with pytest.raises(UserError) as caught:
        formats.read(path, k=k)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "temporal"}, ["'temporal'", "topk, abstopk, standard, jumprelu, gated"]),
        ({"architecture": "gated"}, ["no tensor 'b_gate'"]),
        ({"architecture": "jumprelu", "activation_fn": "tanh-relu"}, ["tanh-relu"]),
        ({"architecture": ["topk"]}, ["topk, abstopk, standard"]),
        ({"k": ...}, ["does not say k", "100"]),
        ({"k": 0}, ["k in cfg.json", "between"]),
        ({"k": 17}, ["k 17", "16 features"]),
        ({"k": 2.5}, ["whole number"]),
        ({"k": True}, ["whole number"]),
        ({"k": 3, "activation_fn_kwargs": {"k": 4}}, ["k 3", "k 4"]),
        ({"normalize_activations": "layer_norm"}, ["layer_norm", "raw"]),
        ({"normalize_activations": "expected_average_only_in"}, ["expected_average_only_in"]),
        ({"reshape_activations": "hook_z"}, ["hook_z"]),
        ({"rescale_acts_by_decoder_norm": "yes"}, ["true or false"]),
        ({"finetuning_scaling_factor": True}, ["finetuning_scaling_factor"]),
        ({"d_sae": 17}, ["W_enc", "(6, 16)", "(6, 17)"]),
        ({"d_in": 2**60}, ["d_in"]),
        ({"d_in": ...}, ["d_in", "whole number"]),
        ({"architecture": "standard", "activation_fn": "tanh-relu"}, ["tanh-relu"]),
    ],
)
def test_a_configuration_that_cannot_be_held_is_refused(folder: Path, changes: dict, words: list[str]) -> None:
    edit(folder, **changes)
    refused(folder, *words)


def test_k_can_be_given_where_the_folder_is_silent_and_must_agree_where_it_is_not(folder: Path) -> None:
    refused(folder, "says k 3", "k 5", k=5)
    edit(folder, k=...)
    assert formats.read(folder, k=5).model.hyperparameters()["k"] == 5


def test_a_folder_of_before_version_6_is_topk_by_its_activation_function(folder: Path) -> None:
    edit(
        folder,
        architecture="standard",
        k=...,
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 3},
        metadata=...,
        model_name="gpt2",
        hook_name="blocks.9.hook_resid_pre",
        normalize_activations=False,
    )
    loaded = formats.read(folder)
    assert loaded.model.hyperparameters() == {"d_in": 6, "d_sae": 16, "k": 3, "selection": "signed"}
    assert loaded.details == {"model_name": "gpt2", "hook_name": "blocks.9.hook_resid_pre"}


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in load_file(folder / "sae_weights.safetensors").items()}
    tensors |= changes  # type: ignore[arg-type]
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / "sae_weights.safetensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"b_dec": None}, ["no tensor 'b_dec'"]),
        ({"threshold": torch.zeros(16)}, ["'threshold'", "does not belong"]),
        ({"../../x": torch.zeros(1)}, ["'../../x'"]),
        ({"b_enc": torch.zeros(15)}, ["b_enc", "(15,)", "(16,)"]),
        ({"W_dec": torch.full((16, 6), float("nan"))}, ["W_dec", "96 of 96", "not finite"]),
        ({"b_enc": torch.full((16,), float("inf"))}, ["b_enc", "not finite"]),
        ({"W_enc": torch.zeros(6, 16, dtype=torch.int32)}, ["W_enc", "int32", "float32"]),
        ({"scaling_factor": torch.full((16,), 2.0)}, ["scaling_factor"]),
    ],
)
def test_weights_that_cannot_be_held_are_refused(folder: Path, changes: dict, words: list[str]) -> None:
    rewrite(folder, **changes)
    refused(folder, *words)


def test_a_scaling_factor_of_ones_is_dropped(folder: Path) -> None:
    x = torch.ones(2, 6)
    with torch.no_grad():
        before = formats.read(folder).model(x)
        rewrite(folder, scaling_factor=torch.ones(16))
        assert torch.equal(formats.read(folder).model(x), before)


def test_half_precision_is_read_as_float32(folder: Path) -> None:
    W_enc = torch.from_numpy(load_file(folder / "sae_weights.safetensors")["W_enc"]).half()
    rewrite(folder, W_enc=W_enc)
    assert torch.equal(formats.read(folder).model.W_enc.data, W_enc.float())
