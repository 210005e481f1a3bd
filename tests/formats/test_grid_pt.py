"""The published grid's `.pt`: the fold of its bias, its two layouts, and files that were not made to be opened."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sae import formats
from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.formats.grid_pt import write_grid_pt
from sae.models import build
from torture.hostile import pickles

D_IN, D_SAE, K = 12, 30, 4


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    layers = nn.ModuleDict({"encoder": nn.Linear(D_IN, D_SAE), "decoder": nn.Linear(D_SAE, D_IN)})
    return layers.state_dict()


def published_forward(state: dict[str, torch.Tensor], x: np.ndarray, k: int) -> np.ndarray:
    """What the published code computes, in float64: the encoder sees x, the k largest by magnitude keep their sign."""
    weights = {name: value.double().numpy() for name, value in state.items()}
    pre = x @ weights["encoder.weight"].T + weights["encoder.bias"]
    kept = np.argsort(-np.abs(pre), axis=1)[:, :k]
    sparse = np.zeros_like(pre)
    np.put_along_axis(sparse, kept, np.take_along_axis(pre, kept, 1), 1)
    return sparse @ weights["decoder.weight"].T + weights["decoder.bias"]


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(3, 1, (40, D_IN))


@pytest.mark.parametrize("whole", [False, True], ids=["state dict", "checkpoint"])
def test_reconstructions_are_those_of_the_published_forward_pass(tmp_path: Path, x: np.ndarray, whole: bool) -> None:
    state = published()
    path = tmp_path / ("pos3_layer14_d30_k4.pt" if whole else "pos3_d30_k4.pt")
    config = {"input_dim": D_IN, "latent_dim": D_SAE, "k": K, "position": 3, "layer": 14}
    torch.save({"model_state_dict": state, "config": config, "metrics": {"l0_mean": 4.0}} if whole else state, path)
    loaded = formats.read(path)
    with torch.no_grad():
        got = loaded.model(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(got, published_forward(state, x, K), atol=2e-5)
    assert loaded.model.hyperparameters() == {"d_in": D_IN, "d_sae": D_SAE, "k": K, "selection": "magnitude"}
    assert loaded.details == ({"layer": 14, "position": 3} if whole else {"position": 3})
    assert loaded.files == {path.name: file_sha256(path)}


def test_what_is_written_has_the_published_layout_and_computes_the_same(tmp_path: Path, x: np.ndarray) -> None:
    torch.manual_seed(2)
    model = build("topk", d_in=D_IN, d_sae=D_SAE, k=K, selection="magnitude")
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    write_grid_pt(model, tmp_path / "pos3_d30_k4.pt")
    state = torch.load(tmp_path / "pos3_d30_k4.pt", weights_only=True)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "encoder.weight": (D_SAE, D_IN),
        "encoder.bias": (D_SAE,),
        "decoder.weight": (D_IN, D_SAE),
        "decoder.bias": (D_IN,),
    }
    with torch.no_grad():
        expected = model(torch.from_numpy(x).float()).numpy()
        again = formats.read(tmp_path / "pos3_d30_k4.pt").model(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(published_forward(state, x, K), expected, atol=2e-4)
    np.testing.assert_allclose(again, expected, atol=2e-4)


def test_another_architecture_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="standard SAE does not fit"):
        write_grid_pt(build("standard", d_in=4, d_sae=8), tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_our_own_readme_says_how_features_are_selected_of_the_very_file_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "pos3_d30_k4.pt"
    torch.save(published(), path)
    entry = {"k": 4, "selection": "signed", "sha256": file_sha256(path)}
    (tmp_path / "README.json").write_text(json.dumps({"state_dicts": {path.name: entry}}))
    assert formats.read(path).model.hyperparameters()["selection"] == "signed"
    torch.save(published(seed=5), path)  # another file of that name: the readme is not about it
    assert formats.read(path).model.hyperparameters()["selection"] == "magnitude"
    (tmp_path / "README.json").write_text("{]")
    assert formats.read(path).model.hyperparameters()["selection"] == "magnitude"


def refused(path: Path, *words: str, k: int | None = None) -> None:
    with pytest.raises(UserError) as caught:
        formats.read(path, k=k)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    for word in words:
        assert word in message, message


def test_k_must_be_known_and_agree(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(published(), path)
    refused(path, "does not say its k", "pos3_d512_k5.pt")
    assert formats.read(path, k=7).model.hyperparameters()["k"] == 7
    refused(path, "k 31", k=31)
    torch.save(published(), tmp_path / "pos3_d30_k4.pt")
    refused(tmp_path / "pos3_d30_k4.pt", "says k 4", "k 5", k=5)
    torch.save(published(), tmp_path / "pos3_d31_k4.pt")
    refused(tmp_path / "pos3_d31_k4.pt", "d_sae 31", "30")


def changed(**changes: object) -> dict:
    return {name: value for name, value in (published() | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(**{"decoder.bias": None}), ["no tensor 'decoder.bias'"]),
        (changed(**{"encoder.weight": None}), ["no tensor 'encoder.weight'"]),
        (changed(extra=torch.zeros(1)), ["'extra'", "does not belong"]),
        (changed(**{"encoder.bias": torch.zeros(3)}), ["encoder.bias", "(3,)", "(30,)"]),
        (changed(**{"encoder.weight": torch.zeros(30)}), ["encoder.weight", "[d_sae, d_in]"]),
        (changed(**{"decoder.weight": torch.full((D_IN, D_SAE), torch.nan)}), ["decoder.weight", "360 of 360"]),
        (changed(**{"decoder.bias": torch.zeros(D_IN, dtype=torch.int64)}), ["decoder.bias", "int64"]),
        (changed(**{"encoder.bias": "text"}), ["encoder.bias", "str"]),
        (changed(**{"encoder.weight": torch.zeros(1).expand(10**6, 10**6)}), ["encoder.weight", "claims", "4 bytes"]),
        (torch.zeros(3), ["a Tensor, not a dictionary"]),
        ({"model_state_dict": [1, 2]}, ["must be dictionaries"]),
        ({"model_state_dict": published(), "config": {"k": "four"}}, ["whole number"]),
        ({1: torch.zeros(2)}, ["not text"]),
    ],
    ids=str,
)
def test_a_state_dict_that_cannot_be_held_is_refused(tmp_path: Path, content: object, words: list[str]) -> None:
    torch.save(content, tmp_path / "x_k4.pt")
    refused(tmp_path / "x_k4.pt", *words)


class Boom:
    def __reduce__(self) -> tuple:
        return print, ("executed",)


def test_nothing_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({**published(), "extra": Boom()}, tmp_path / "new_k4.pt")
    refused(tmp_path / "new_k4.pt", "print", "nothing is executed")
    (tmp_path / "old_k4.pt").write_bytes(pickle.dumps(Boom()))
    refused(tmp_path / "old_k4.pt", "not a file of weights")
    assert capsys.readouterr().out == ""


def test_a_zip_that_would_swell_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb_k4.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * 2**24)
    refused(path, "compressed")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all" * 10])
def test_other_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x_k4.pt").write_bytes(content)
    refused(tmp_path / "x_k4.pt")


def test_bytes_turned_over_give_one_line_or_an_sae(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "good_k4.pt")
    good = (tmp_path / "good_k4.pt").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        broken = bytearray(good)
        for place in rng.integers(0, len(good), 4):
            broken[place] = int(rng.integers(256))
        path = tmp_path / f"n{number}_k4.pt"
        path.write_bytes(bytes(broken))
        try:
            formats.read(path)
        except UserError as error:
            assert "\n" not in str(error)


def test_a_part_that_holds_itself_twice_forty_times_over_is_refused_at_once(tmp_path: Path) -> None:
    for number, content in enumerate(pickles()):
        path = tmp_path / f"{number}_k3.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", b"3\n")
        with pytest.raises(UserError, match="wants to build|twice|weights|not a dictionary"):
            formats.read(path)
