"""A CODI model before it has learnt anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .model import Codi, Projection
from .vocabulary import NUMBERS, build_tokenizer, check_numbers

if TYPE_CHECKING:
    from .config import CodiConfig

#: Periods of the waves that the numbers' first embeddings are mixed from.
PERIODS = (2, 3, 4, 5, 7, 10, 20, 25, 50, 100, 200)
CONTEXT = 256


def untrained(config: CodiConfig, words: Sequence[str]) -> Codi:
    """A Llama-style decoder of the configured size over `words`, with random weights from `config.seed`.

    Embeddings have a standard deviation of 1 / sqrt(d_model), tied to the head; thoughts start at their scale. The
    numbers' embeddings start as a random mixture of waves and of their size, so that near numbers start near.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(words)
    n_words = len(tokenizer)
    shape = LlamaConfig(
        vocab_size=n_words + 3,
        hidden_size=config.d_model,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_heads,
        intermediate_size=config.d_mlp,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=n_words,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model: Any = LlamaForCausalLM(shape)
        model.set_attn_implementation("eager")
        scale = 1 / math.sqrt(config.d_model)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    weight.normal_(0, scale / math.sqrt(2 * config.n_layers))
                elif weight.ndim == 2:
                    weight.normal_(0, scale)
            first = check_numbers(tokenizer)
            embedding = model.get_input_embeddings().weight
            embedding[first : first + len(NUMBERS)] = number_embeddings(config.d_model) * scale
        projection = Projection(config.d_model, config.d_projection)
        with torch.no_grad():
            projection.get_parameter("ln.weight").fill_(scale)
    source = {"name": f"codi-{config.kind}", "kind": config.kind, "n_thoughts": config.n_thoughts}
    return Codi(model, projection, tokenizer, source, n_words)


def number_embeddings(d_model: int) -> Tensor:
    """[100, d_model] of unit standard deviation: a random mixture of waves, the number and its logarithm, and noise."""
    numbers = torch.arange(len(NUMBERS), dtype=torch.float32)
    waves = [wave(2 * math.pi * numbers / period) for period in PERIODS for wave in (torch.sin, torch.cos)]
    features = torch.stack([*waves, numbers / 50 - 1, numbers.add(1).log() / 2.3 - 1], dim=1)
    mixed = features @ torch.randn(features.shape[1], d_model)
    mixed = mixed / mixed.std()
    return (mixed + 0.5 * torch.randn_like(mixed)) / math.sqrt(1.25)
