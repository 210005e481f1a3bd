"""GGUF files: read through transformers, dequantised to float32; written again as plain safetensors."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import write_json, write_tensors

from .quiet import quiet


def load_gguf(path: Path) -> tuple[Any, Any]:
    """Model (float32, on the CPU) and tokenizer of a GGUF file.

    Raises:
        UserError: if the packages that read it are missing, or they can't read it.
    """
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"reading {path.name} needs the package {package!r}: run 'pip install {package}'")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(path.parent)
    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    try:
        # Its own bar for dequantising listens to no setting.
        with quiet(), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(folder, **where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path} can't be read as a GGUF model ({error})") from None
    return model, tokenizer


def save_plain(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write config.json, model.safetensors (float32, tied weights once) and the tokenizer's files into `folder`."""
    folder.mkdir(parents=True)
    seen: set[int] = set()
    tensors = {}
    # A tied head shares its memory with the embeddings; loading ties it again.
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            tensors[name] = tensor
            seen.add(tensor.data_ptr())
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    config = model.config.to_dict()
    # It is no longer quantised.
    config.pop("quantization_config", None)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = "float32"
    write_json(folder / "config.json", config)
    tokenizer.save_pretrained(folder)
