"""CODI models by name, and folders of our own: what comes back is what was saved, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json
from sae.language_models.codi import folders, loading
from sae.language_models.codi.loading import is_codi, load
from sae.problems import generate
from tests.language_models import tiny as language_models
from tests.language_models.codi import published, tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "model")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models with one in it."""
    tiny.save(tmp_path / "models" / "codi-tiny", "supervised")
    monkeypatch.setattr(loading, "FOLDER", tmp_path / "models")
    return tmp_path / "models"


# our own folders


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_was_saved_comes_back(dtype: str, tmp_path: Path) -> None:
    saved = tiny.codi(kind="supervised")
    folders.save(saved, tmp_path / "m", card="# a card\n", training={"seed": 3}, dtype=dtype)
    read = load(str(tmp_path / "m"))
    precision = getattr(torch, dtype)
    for ours, theirs in zip(read.parameters(), saved.parameters(), strict=True):
        assert ours.dtype == torch.float32 and torch.equal(ours, theirs.to(precision).float())
    assert read.language_model.lm_head.weight is read.embeddings.weight
    questions = [example.question for example in generate(4, 0).examples]
    assert read.encode(questions) == saved.encode(questions)
    if dtype == "float32":
        with torch.inference_mode():
            one, other = (codi.think(codi.encode(questions), layers=[0, 1]) for codi in (read, saved))
            assert torch.equal(one.states[1], other.states[1]) and torch.equal(one.final, other.final)
            assert read.answer(one) == saved.answer(other)
    assert (tmp_path / "m" / "README.md").read_text() == "# a card\n"
    assert read_json(tmp_path / "m" / "training.json") == {"seed": 3}
    assert (read.n_thoughts, read.context, read.pad_id) == (6, 256, saved.pad_id)


def test_a_folder_is_readable_with_public_tools(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = load(str(folder))
    row = ours.encode(["3 cups and 4 cups."])[0]
    assert tokenizer("3 cups and 4 cups.")["input_ids"] == row
    with torch.inference_mode():
        theirs = model(torch.tensor([row])).logits[0, -1, :-1]
        _, _, _, last = ours.read(*ours.pad([row]))
        torch.testing.assert_close(ours.head(last)[0], theirs, rtol=1e-4, atol=1e-4)
    names = set(load_file(folder / "model.safetensors"))
    assert {"prj.1.weight", "prj.3.bias", "prj.ln.weight", "model.embed_tokens.weight"} <= names
    assert "lm_head.weight" not in names


def test_a_source_says_where_a_model_came_from(folder: Path) -> None:
    source = load(str(folder)).source
    assert source == {
        "name": str(folder),
        "kind": "pure",
        "title": "tiny pure CODI",
        "n_thoughts": 6,
        "licence": "MIT",
        "from": str(folder),
        "sha256": file_sha256(folder / "model.safetensors"),
        "dtype": "float32",
        "d_projection": 24,
        "projection_norm": True,
    }
    assert folders.load(folder).source["name"] == "model"
    assert load(str(folder), dtype="bfloat16").source["dtype"] == "bfloat16"
    assert next(load(str(folder), dtype="float16").parameters()).dtype == torch.float32


@pytest.mark.parametrize("family", published.FAMILIES)
def test_a_published_checkpoint_becomes_a_folder_of_our_own(family: str, tmp_path: Path) -> None:
    state = published.state(family, norm=family == "llama")
    one = load(str(published.write(tmp_path / "checkpoint", family, state)))
    folders.save(one, tmp_path / "ours", dtype="float32")
    other = load(str(tmp_path / "ours"))
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with torch.inference_mode():
        rows = one.encode(["One.", "Ana has 3 apples."])
        assert rows == other.encode(["One.", "Ana has 3 apples."])
        assert torch.equal(one.think(rows).final, other.think(rows).final)
    assert other.source["kind"] == "published" and other.source["lora"] == one.source["lora"]


def test_saving_again_takes_the_place_of_what_was_there(folder: Path) -> None:
    folders.save(tiny.codi(kind="supervised", seed=1), folder)
    assert load(str(folder)).source["kind"] == "supervised"
    assert not (folder / "README.md").exists()
    assert [path for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_what_cant_be_saved(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="int8"):
        folders.save(tiny.codi(), folder, dtype="int8")
    codi = tiny.codi()
    codi.projection.get_parameter("3.bias")[2] = 1e6
    with pytest.raises(UserError, match="prj.3.bias is not finite in float16"):
        folders.save(codi, folder)
    assert load(str(folder)).source["kind"] == "pure"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        folders.save(tiny.codi(), tmp_path / "other")


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "prj.1.bias"])
def test_a_missing_misshapen_or_unexpected_tensor_is_one_line(name: str, folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = load_file(path)
    shape = str(tuple(whole[name].shape))
    save_file({key: value for key, value in whole.items() if key != name}, path)
    with pytest.raises(UserError) as caught:
        load(str(folder))
    assert f"{path} lacks {name} of shape {shape}" in str(caught.value)
    save_file({**whole, name: torch.zeros(3, 3)}, path)
    with pytest.raises(UserError) as caught:
        load(str(folder))
    assert f"{name} in {path} has shape (3, 3), expected is {shape}" in str(caught.value)
    save_file({**whole, "model.extra": torch.zeros(2)}, path)
    with pytest.raises(UserError) as caught:
        load(str(folder))
    assert f"{path} holds model.extra of shape (2,), for which this model has no place" in str(caught.value)


def test_broken_folders_are_one_line(folder: Path) -> None:
    def refused(file: str, content: str | bytes, match: str) -> None:
        before = (folder / file).read_bytes()
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=match):
            load(str(folder))
        (folder / file).write_bytes(before)

    about, config = read_json(folder / "codi.json"), read_json(folder / "config.json")
    refused("model.safetensors", (folder / "model.safetensors").read_bytes()[:3000], "can't be read as safetensors")
    refused("codi.json", "{", "not valid JSON")
    refused("codi.json", "[]", "does not describe")
    refused("codi.json", json.dumps({**about, "format": 2}), "is of format 2, this version reads 1")
    refused("codi.json", json.dumps({**about, "n_thoughts": "6"}), 'n_thoughts "6"')
    refused("codi.json", json.dumps({**about, "d_projection": 0}), "d_projection 0")
    refused("codi.json", json.dumps({**about, "d_projection": 25}), r"prj.1.weight .* expected is \(25, 32\)")
    refused("codi.json", json.dumps({**about, "projection_norm": False}), "holds prj.ln")
    refused("codi.json", json.dumps({**about, "first_extra": 830}), "does not fit together")
    refused("config.json", "[]", "not a configuration")
    refused("config.json", json.dumps({**config, "model_type": "evil", "auto_map": {"AutoConfig": "e.C"}}), "evil")
    refused("config.json", json.dumps({**config, "num_attention_heads": "many"}), "config.json")
    refused("tokenizer.json", "{}", "can't be read as a tokenizer")
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / file).rename(folder / "away")
        with pytest.raises(UserError, match=f"{file} is missing"):
            load(str(folder))
        (folder / "away").rename(folder / file)
    load(str(folder))


# names


def test_shipped_models_are_found_by_name(models: Path) -> None:
    assert loading.shipped() == ("codi-tiny",)
    codi = load("codi-tiny")
    assert codi.source["name"] == "codi-tiny" and codi.source["kind"] == "supervised"
    (models / "codi-half").mkdir()
    assert loading.shipped() == ("codi-tiny",)


def test_unknown_names_say_what_ships(models: Path) -> None:
    for name in ("codi-tny", "", "./nowhere", "../x", "a/b/c", "a/../b", str(models / "codi-tiny" / "codi.json")):
        with pytest.raises(UserError, match=r"neither a shipped one \(codi-tiny\), nor a folder") as caught:
            load(name)
        assert repr(name) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="int8"):
        load("codi-tiny", dtype="int8")


def test_what_ships_loads() -> None:
    assert set(loading.SHIPPED) == set(loading.shipped())
    for name in loading.SHIPPED:
        codi = load(name)
        assert codi.source["name"] == name and codi.source["kind"] in ("supervised", "pure", "no-thoughts")


def test_codi_models_are_told_from_others(models: Path, tmp_path: Path) -> None:
    assert is_codi("codi-tiny") and is_codi(str(models / "codi-tiny"))
    for form in ("safetensors", "bin", "safetensors files", "bin files"):
        for family in published.FAMILIES:
            folder = published.write(tmp_path / form / family, family, published.state(family), form)
            assert is_codi(str(folder)), form
    for name in ("zen-E/CODI-gpt2", "zen-E/CODI-llama3.2-1b-Instruct", "bcywinski/codi_llama1b-answer_only"):
        assert is_codi(name)
    assert is_codi("internlm/SIM_COT-GPT2-CODI")
    plain = language_models.make(tmp_path / "plain")
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"\xff" * 40)
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "model.safetensors.index.json").write_text('{"weight_map": 3}')
    for other in (plain, tmp_path, tmp_path / "broken", tmp_path / "index", tmp_path / "nowhere"):
        assert not is_codi(str(other))
    for name in ("smollm2-135m", "gpt2", "", "codi", "owner/codices", "owner/melodic", "a/b/codi"):
        assert not is_codi(name)


def test_telling_them_apart_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys\nfrom sae.language_models.codi import loading\n"
        f"print(loading.is_codi({str(folder)!r}), loading.is_codi('zen-E/CODI-gpt2'), len(loading.SHIPPED) >= 0)\n"
        "print({'torch', 'transformers', 'pandas', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["True True True", "set()"]
