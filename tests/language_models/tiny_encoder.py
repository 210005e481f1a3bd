"""A tiny random text encoder, saved as its authors would: with sentence-transformers' files beside transformers'."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from tests.language_models.tiny import D_MODEL, save_tokenizer


def make_encoder(folder: Path, *, normalise: bool = True, most: int = 32) -> Path:
    """Save it into `folder`; the same every time.

    Args:
        most: tokens that its authors say it reads; it has places for 64.
    """
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)  # what pools by the first token is not in every file
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_tokenizer(folder, first_token=True)
    modules = ["Transformer", "Pooling"] + ["Normalize"] * normalise
    described = [{"idx": i, "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": most}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    said = {"word_embedding_dimension": D_MODEL, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said))
    return folder
