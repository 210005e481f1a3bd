"""Models by name: folders, GGUF files, the hub without a network; and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sae.common.errors import UserError
from sae.language_models import load
from tests.language_models import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make(tmp_path / "model")


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, sae.language_models, sae.capture; print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_float16_on_a_cpu_is_computed_in_float32(folder: Path) -> None:
    model = load(str(folder), dtype="float16")
    assert next(model.model.parameters()).dtype == torch.float32
    assert model.source["dtype"] == "float32"


def test_unknown_names_and_types_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="int8"):
        load(str(folder), dtype="int8")
    for name in ("./nowhere/at/all", "../x", "a/b/c", "", "owner/", str(folder / "config.json")):
        with pytest.raises(UserError, match="neither a folder"):
            load(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no config.json"):
        load(str(tmp_path / "empty"))


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights \\(pytorch_model.bin\\)"):
        load(str(folder))


def test_code_of_a_model_is_never_run(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}})
    )
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError, match="code of its own"):
        load(str(folder))
    assert not (folder / "ran").exists()


def test_a_missing_or_misshapen_weight_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = load_file(path)
    name = "model.layers.2.mlp.up_proj.weight"
    save_file({key: value for key, value in whole.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"missing.*{name}"):
        load(str(folder))
    save_file({**whole, name: torch.zeros(3, 3)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="can't be loaded|misshapen"):
        load(str(folder))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="can't be loaded"):
        load(str(folder))


def test_a_tokenizer_without_offsets_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError):
        load(str(folder))


def test_without_a_network_a_hub_name_fails_at_once(tmp_path: Path) -> None:
    code = (
        "from sae.common.errors import UserError\nfrom sae.language_models import load\n"
        "try:\n    load('nobody/no-such-model')\nexcept UserError as error:\n    print(error)"
    )
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=True
    )
    assert done.stdout.startswith(
        "model 'nobody/no-such-model' is not in the local hub cache and the hub was not reached"
    )
    assert len(done.stdout.splitlines()) == 1 and not done.stderr


def test_a_complete_hub_cache_is_used_without_a_network(tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--owner--tiny"
    tiny.make(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    code = "from sae.language_models import load\nm = load('owner/tiny')\nprint(m.source['revision'], m.n_layers)"
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=False
    )
    assert done.stdout.split() == [revision, str(tiny.LAYERS)], done.stderr


def _write_gguf(source: Path, path: Path) -> None:
    """The tiny Llama of `source` as llama.cpp writes it: rows of Q and K interleaved for its rotary embedding."""
    import gguf

    weights = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    tokenizer = json.loads((source / "tokenizer.json").read_text())["model"]
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    vocabulary += [f"<unused{i}>" for i in range(config["vocab_size"] - len(vocabulary))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
    names |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
    names |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, tensor in weights.items():
        array = tensor.numpy()
        if name.startswith("model.layers."):
            _, _, layer, rest = name.removesuffix(".weight").split(".", 3)
            if rest.endswith(("q_proj", "k_proj")):
                n = heads if rest.endswith("q_proj") else kv
                array = array.reshape(n, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
            name = f"blk.{layer}.{names[rest]}.weight"
        else:
            name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}.get(
                name, "output.weight"
            )
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_folder_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "gguf").mkdir()
    _write_gguf(folder, tmp_path / "gguf" / "tiny.F32.gguf")
    model, theirs = load(str(tmp_path / "gguf")), load(str(folder))
    assert model.source["quantisation"] == "F32, dequantised to float32" and len(model.source["sha256"]) == 64
    ids = torch.tensor([[0, 40, 41, 42, 43, 44, 45]])
    mask = torch.ones_like(ids)
    for layer, expected in theirs.hidden_states(ids, mask, [0, 3]).items():
        torch.testing.assert_close(model.hidden_states(ids, mask, [layer])[layer], expected, rtol=1e-4, atol=1e-4)
    ours, reference = model.tokenize(tiny.TEXTS)[1], theirs.tokenize(tiny.TEXTS)[1]
    assert [ours.ids[i] for i in ours.kept] == [reference.ids[i] for i in reference.kept]


def test_a_broken_gguf_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 64)
    with pytest.raises(UserError, match="can't be read as a GGUF model"):
        load(str(tmp_path))
    (tmp_path / "y.gguf").write_bytes(b"")
    with pytest.raises(UserError, match="holds 2 .gguf files"):
        load(str(tmp_path))
