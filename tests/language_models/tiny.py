"""Tiny random models with a tokenizer of their own, saved as a hub folder would be. Used by the capture tests too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

TEXTS = [
    "Ana has 3 apples and buys 4 more. How many apples does she have?",
    "Natalia's café sold 48 clips — 日本 🙂 ok",
    "A train of 12 cars loses 5.",
    "One.",
    "Zoë paid €7.50 for the naïve façade; twice that is £15.",
    "How many legs do 6 spiders and 2 dogs have, if each spider has 8 and each dog 4 of them?",
    "Two and two are four, and four and four are eight, and so on for a while until nobody counts.",
]
D_MODEL = 32
LAYERS = 4


def save_tokenizer(folder: Path, *, first_token: bool) -> None:
    """A byte-level BPE tokenizer; with `first_token` it puts a BOS before every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if first_token:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def make(folder: Path, family: str = "llama", *, context: int = 128, first_token: bool = True) -> Path:
    """Save a random model of a family into `folder`; the same every time."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 300, "hidden_size": D_MODEL, "num_hidden_layers": LAYERS}
    sizes |= {"num_attention_heads": 4, "max_position_embeddings": context, "bos_token_id": 0, "eos_token_id": 1}
    model: Any
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=48, num_key_value_heads=2))
    elif family == "gpt2":
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=300,
                n_embd=D_MODEL,
                n_layer=LAYERS,
                n_head=4,
                n_positions=context,
                bos_token_id=0,
                eos_token_id=1,
            )
        )
    elif family == "neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, intermediate_size=48))
    else:
        model = OPTForCausalLM(OPTConfig(**sizes, ffn_dim=48, word_embed_proj_dim=D_MODEL, pad_token_id=1))
    with torch.no_grad():
        # Weights of a usual size would give states so small that a wrong one looked right.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    save_tokenizer(folder, first_token=first_token)
    return folder
