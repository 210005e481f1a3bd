"""The language models that CODI's published checkpoints stand on, and what their tensors do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import read_json

from .weights import Shape, configuration

#: Rows that CODI adds behind the vocabulary: padding, BOT and EOT.
EXTRA_ROWS = 3
_EMBEDDINGS = {"llama": "model.embed_tokens.weight", "gpt2": "transformer.wte.weight"}
_LAYERS = {"llama": "model.layers.", "gpt2": "transformer.h."}


@dataclass(frozen=True)
class Base:
    """`hub`: where its tokenizer is; `end`: what its texts end with; `config`: what its tensors do not say."""

    title: str
    hub: str
    family: str
    n_layers: int
    d_model: int
    n_words: int
    end: str
    config: dict[str, Any] = field(default_factory=dict)


def _gpt2(title: str, hub: str, n_layers: int, d_model: int) -> Base:
    return Base(title, hub, "gpt2", n_layers, d_model, 50_257, "<|endoftext|>", {"n_head": d_model // 64})


def _llama(title: str, n_layers: int, d_model: int, heads: int) -> Base:
    config = {
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "bos_token_id": 128_000,
        "eos_token_id": 128_009,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    }
    # CODI was trained on the instruction-tuned models; their tokenizers end a turn with this.
    return Base(title, f"meta-llama/{title}-Instruct", "llama", n_layers, d_model, 128_256, "<|eot_id|>", config)


#: Source: the config.json of each on the hub.
BASES = (
    _gpt2("GPT-2", "openai-community/gpt2", 12, 768),
    _gpt2("GPT-2 medium", "openai-community/gpt2-medium", 24, 1024),
    _gpt2("GPT-2 large", "openai-community/gpt2-large", 36, 1280),
    _gpt2("GPT-2 XL", "openai-community/gpt2-xl", 48, 1600),
    _llama("Llama-3.2-1B", 16, 2048, 32),
    _llama("Llama-3.2-3B", 28, 3072, 24),
)


def base_config(folder: Path, shapes: Mapping[str, Shape], *, tied: bool) -> tuple[Any, Base | None]:
    """The configuration of a checkpoint's base, with the rows that CODI added, and the base if it is a known one.

    A config.json of the base beside the checkpoint is followed; without one the base must be of `BASES`.

    Args:
        shapes: of the base's tensors, by the names of transformers.

    Raises:
        UserError: if this is no checkpoint that is known here, its heads can't be known, or rows are missing.
    """
    family = next((family for family, name in _EMBEDDINGS.items() if name in shapes), None)
    if family is None:
        known = " or ".join(f"codi.base_model.model.{name}" for name in _EMBEDDINGS.values())
        raise UserError(f"{folder} holds no CODI checkpoint: it has no token embeddings ({known})")
    rows, d_model = _matrix(_EMBEDDINGS[family], shapes, folder)
    n_layers = len(
        {name.removeprefix(_LAYERS[family]).split(".")[0] for name in shapes if name.startswith(_LAYERS[family])}
    )
    known_base = next(
        (base for base in BASES if (base.family, base.n_layers, base.d_model) == (family, n_layers, d_model)), None
    )
    content = _own_config(folder)
    if content is not None:
        n_words = content.get("vocab_size")
        # Written before the rows were added, or after.
        if n_words not in (rows - EXTRA_ROWS, rows):
            raise UserError(
                f"{_EMBEDDINGS[family]} in {folder} has {rows:,} rows; its config.json has a vocabulary of "
                f"{n_words} words, so that {EXTRA_ROWS} more are expected"
            )
    elif known_base is None:
        raise UserError(
            f"the number of attention heads of this {family} model ({n_layers} layers, d_model {d_model:,}) does not "
            f"follow from its tensors: put the config.json of its base model into {folder}"
        )
    else:
        if rows != known_base.n_words + EXTRA_ROWS:
            raise UserError(
                f"{_EMBEDDINGS[family]} in {folder} has {rows:,} rows; {known_base.title} has "
                f"{known_base.n_words:,} words, so that {known_base.n_words + EXTRA_ROWS:,} are expected"
            )
        content = {"model_type": family, **known_base.config, **_sizes(family, shapes, folder, n_layers, d_model)}
    return configuration({**content, "vocab_size": rows, "tie_word_embeddings": tied}, folder), known_base


def _own_config(folder: Path) -> dict[str, Any] | None:
    """The base's config.json; a file of that name may also be about the adapter alone."""
    if not (folder / "config.json").is_file():
        return None
    content = read_json(folder / "config.json")
    return content if isinstance(content, dict) and "model_type" in content else None


def _sizes(family: str, shapes: Mapping[str, Shape], folder: Path, n_layers: int, d_model: int) -> dict[str, Any]:
    if family == "gpt2":
        positions, _ = _matrix("transformer.wpe.weight", shapes, folder)
        return {"n_layer": n_layers, "n_embd": d_model, "n_positions": positions}
    d_mlp, _ = _matrix("model.layers.0.mlp.up_proj.weight", shapes, folder)
    return {"num_hidden_layers": n_layers, "hidden_size": d_model, "intermediate_size": d_mlp}


def _matrix(name: str, shapes: Mapping[str, Shape], folder: Path) -> Shape:
    if name not in shapes:
        raise UserError(f"the checkpoint in {folder} lacks {name}: download or save it again")
    if len(shapes[name]) != 2:
        raise UserError(f"{name} in {folder} has shape {shapes[name]}, expected is a matrix")
    return shapes[name]
