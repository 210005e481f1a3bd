"""Small CODI checkpoints with the structure of the published ones, tensor by tensor, and random numbers in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.language_models import tiny as language_models

FAMILIES = ("llama", "gpt2")
N_LAYERS, D_MODEL, HEADS, KV_HEADS, D_MLP, V, RANK, D_PROJECTION, CONTEXT = 3, 32, 4, 2, 40, 300, 3, 24, 128
THETA, EPSILON = 500_000.0, 1e-5
SCALING = {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
PREFIX = "codi.base_model.model."

#: The configurations of the bases, in the words in which they stand on the hub.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": D_MODEL,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "intermediate_size": D_MLP,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "rope_scaling": {"rope_type": "llama3", **SCALING},
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": V,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": D_MODEL,
        "n_layer": N_LAYERS,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "n_ctx": CONTEXT,
        "n_inner": None,
        "layer_norm_epsilon": EPSILON,
        "vocab_size": V,
        "bos_token_id": 0,
        "eos_token_id": 1,
    },
}


def state(family: str, *, norm: bool = True) -> dict[str, Tensor]:
    """The state of CODI's whole training module: base in bfloat16, what was learnt in float32, the head twice."""
    random = torch.Generator().manual_seed(7)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=random) * scale

    def matrix(n_out: int, n_in: int) -> Tensor:
        return normal(n_out, n_in, scale=n_in**-0.5)

    found: dict[str, Tensor] = {}

    def lora(name: str, n_out: int, n_in: int, *, transposed: bool = False) -> None:
        base = matrix(n_out, n_in)
        found[f"{PREFIX}{name}.base_layer.weight"] = (base.T.contiguous() if transposed else base).bfloat16()
        if transposed:
            found[f"{PREFIX}{name}.base_layer.bias"] = normal(n_out, scale=0.1).bfloat16()
        found[f"{PREFIX}{name}.lora_A.default.weight"] = matrix(RANK, n_in)
        # Large, since alpha / r multiplies it by 32 / 3.
        found[f"{PREFIX}{name}.lora_B.default.weight"] = normal(n_out, RANK, scale=0.03)

    def norms(name: str, *, bias: bool) -> None:
        found[f"{PREFIX}{name}.weight"] = (1 + normal(D_MODEL, scale=0.1)).bfloat16()
        if bias:
            found[f"{PREFIX}{name}.bias"] = normal(D_MODEL, scale=0.1).bfloat16()

    # So large that rounding does not grow from thought to thought, so small that questions have answers of their own.
    embeddings = normal(V + 3, D_MODEL, scale=1.0 if family == "llama" else 0.5).bfloat16()
    if family == "llama":
        found[f"{PREFIX}model.embed_tokens.weight"] = embeddings
        for i in range(N_LAYERS):
            layer = f"model.layers.{i}"
            lora(f"{layer}.self_attn.q_proj", D_MODEL, D_MODEL)
            lora(f"{layer}.self_attn.k_proj", D_MODEL // HEADS * KV_HEADS, D_MODEL)
            lora(f"{layer}.self_attn.v_proj", D_MODEL // HEADS * KV_HEADS, D_MODEL)
            lora(f"{layer}.self_attn.o_proj", D_MODEL, D_MODEL)
            lora(f"{layer}.mlp.gate_proj", D_MLP, D_MODEL)
            lora(f"{layer}.mlp.up_proj", D_MLP, D_MODEL)
            lora(f"{layer}.mlp.down_proj", D_MODEL, D_MLP)
            norms(f"{layer}.input_layernorm", bias=False)
            norms(f"{layer}.post_attention_layernorm", bias=False)
        norms("model.norm", bias=False)
    else:
        found[f"{PREFIX}transformer.wte.weight"] = embeddings
        found[f"{PREFIX}transformer.wpe.weight"] = normal(CONTEXT, D_MODEL, scale=0.3).bfloat16()
        for i in range(N_LAYERS):
            layer = f"transformer.h.{i}"
            norms(f"{layer}.ln_1", bias=True)
            lora(f"{layer}.attn.c_attn", 3 * D_MODEL, D_MODEL, transposed=True)
            lora(f"{layer}.attn.c_proj", D_MODEL, D_MODEL, transposed=True)
            norms(f"{layer}.ln_2", bias=True)
            lora(f"{layer}.mlp.c_fc", 4 * D_MODEL, D_MODEL, transposed=True)
            lora(f"{layer}.mlp.c_proj", D_MODEL, 4 * D_MODEL, transposed=True)
            # Older versions of transformers saved the causal mask.
            found[f"{PREFIX}{layer}.attn.bias"] = torch.ones(1, 1, CONTEXT, CONTEXT).tril().bool()
        norms("transformer.ln_f", bias=True)
    found[f"{PREFIX}lm_head.weight"] = embeddings.clone()
    found |= {"prj.1.weight": matrix(D_PROJECTION, D_MODEL), "prj.1.bias": normal(D_PROJECTION, scale=0.1)}
    found |= {"prj.3.weight": matrix(D_MODEL, D_PROJECTION), "prj.3.bias": normal(D_MODEL, scale=0.5)}
    if norm:
        found |= {"prj.ln.weight": 1 + normal(D_MODEL, scale=0.1), "prj.ln.bias": normal(D_MODEL, scale=0.1)}
    return found


def write(folder: Path, family: str, tensors: dict[str, Tensor], form: str = "safetensors") -> Path:
    """A checkpoint's folder: weights in one of the forms, the base's config.json, a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[family]))
    language_models.save_tokenizer(folder, first_token=family == "llama")
    names = list(tensors)
    if form == "safetensors":
        save_file(tensors, folder / "model.safetensors")
    elif form == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
    elif form == "old bin":
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    else:
        stem, end = ("model", "safetensors") if form == "safetensors files" else ("pytorch_model", "bin")
        files = [f"{stem}-0000{number}-of-00002.{end}" for number in (1, 2)]
        for number, file in enumerate(files):
            part = {name: tensors[name] for name in names[number::2]}
            if end == "bin":
                torch.save(part, folder / file)
            else:
                save_file(part, folder / file)
        index = {"metadata": {}, "weight_map": {name: files[i % 2] for i, name in enumerate(names)}}
        (folder / f"{stem}.{end}.index.json").write_text(json.dumps(index))
    return folder
