"""A language model by name: a hub id, a local folder, or `smollm2-135m`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import torch

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json
from sae.common.progress import Progress, Silent

from . import smollm2
from .gguf_files import load_gguf
from .hub import HubFolder, hub_folder
from .model import LanguageModel
from .quiet import quiet

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def load(name: str, *, device: str = "cpu", dtype: str = "float32", progress: Progress | None = None) -> LanguageModel:
    """Load a causal language model and its tokenizer.

    Nothing of a model runs as code of its own (`trust_remote_code` is off) and nothing is unpickled: weights are
    safetensors or GGUF.

    Args:
        name: `smollm2-135m`; the path of a folder (config.json with safetensors, or one .gguf file); or a hub id
            such as `HuggingFaceTB/SmolLM2-135M`, taken from the local hub cache if it is complete there.
        device: as torch names it.
        dtype: `float32`, `float16` or `bfloat16`, the precision that it computes in. On a CPU float16 becomes
            float32: half precision is slower there, and less exact.

    Raises:
        UserError: if there is no such model, the network is needed and not there, or the files can't be used.
    """
    if dtype not in _DTYPES:
        raise UserError(f"dtype {dtype!r} is not known: take one of {', '.join(_DTYPES)}")
    precision = _DTYPES[dtype]
    if device == "cpu" and precision == torch.float16:
        precision = torch.float32
    progress = progress or Silent()
    folder = Path(name).expanduser()
    if name == smollm2.NAME:
        fetched, source = smollm2.fetch(progress)
        model, tokenizer = _load_folder(fetched, precision, name)
    elif name and folder.is_dir():
        model, tokenizer, source = _local(folder, precision, name)
    elif is_hub_id(name):
        progress.update(0, 1, f"fetching {name}")
        found = hub_folder(name)
        model, tokenizer = _load_folder(found.folder, precision, name)
        source = hub_source(name, found)
    else:
        raise UserError(f"model {name!r} is neither a folder that is here, nor a hub id, nor {smollm2.NAME!r}")
    return LanguageModel(model.to(device), tokenizer, {**source, "dtype": str(precision).removeprefix("torch.")})


def _local(folder: Path, precision: torch.dtype, name: str) -> tuple[Any, Any, dict[str, Any]]:
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs and not (folder / "config.json").exists():
        if len(ggufs) > 1:
            raise UserError(f"{folder} holds {len(ggufs)} .gguf files: give a folder with one")
        model, tokenizer = load_gguf(ggufs[0])
        kind = re.search(r"[.-](I?Q\d\w*|BF16|F16|F32)\.gguf$", ggufs[0].name, re.IGNORECASE)
        source = {
            "name": name,
            "kind": "gguf",
            "from": str(ggufs[0].resolve()),
            "quantisation": f"{kind[1] if kind else 'as in the file'}, dequantised to float32",
            "sha256": file_sha256(ggufs[0]),
        }
        return model.to(precision), tokenizer, source
    model, tokenizer = _load_folder(folder, precision, name)
    weights = {path.name: file_sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return model, tokenizer, {"name": name, "kind": "folder", "from": str(folder.resolve()), "sha256": weights}


def is_hub_id(name: str) -> bool:
    """Whether `name` can only be that of a repository on the hub."""
    return bool(_HUB_ID.fullmatch(name)) and ".." not in name and not Path(name).expanduser().is_file()


def hub_source(name: str, found: HubFolder) -> dict[str, Any]:
    """What to write down as the source of a model from the hub."""
    return {
        "name": name,
        "kind": "hub",
        "from": f"https://huggingface.co/{name}",
        "revision": found.revision,
        "licence": found.licence,
    }


def _load_folder(folder: Path, precision: torch.dtype, name: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder in the hub's layout, with every weight accounted for."""
    from transformers import AutoModelForCausalLM

    return load_folder(folder, precision, name, AutoModelForCausalLM)


def load_folder(
    folder: Path, precision: torch.dtype, name: str, auto: Any, may_lack: tuple[str, ...] = ()
) -> tuple[Any, Any]:
    """Model and tokenizer of a folder in the hub's layout, made by one of transformers' auto classes.

    Args:
        name: what to call the model in an error.
        may_lack: beginnings of the names of weights that are never used and may be missing.

    Raises:
        UserError: if a file or a weight is missing, weights are pickled, or the model needs code of its own.
    """
    from transformers import AutoTokenizer

    if not (folder / "config.json").exists():
        raise UserError(f"model {name!r}: {folder} has no config.json")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        what = f"only pickled weights ({', '.join(pickled[:3])}), which are never opened" if pickled else "no weights"
        raise UserError(f"model {name!r}: {folder} holds {what}: model.safetensors is needed")
    if (config := read_json(folder / "config.json")) and isinstance(config, dict) and "auto_map" in config:
        kind = config.get("model_type", "")
        with contextlib.suppress(ImportError):
            from transformers import CONFIG_MAPPING

            if kind not in CONFIG_MAPPING:
                raise UserError(f"model {name!r} needs code of its own ({kind!r}), which is never run here")
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            loaded: Any = auto.from_pretrained(
                str(folder), **where, dtype=precision, use_safetensors=True, output_loading_info=True
            )
            model, report = loaded
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **where, use_fast=True)
    except UserError:
        raise
    except Exception as error:
        # transformers and its parts raise whatever they like at files that they can't read.
        raise UserError(f"model {name!r} can't be loaded from {folder} ({type(error).__name__}: {error})") from None
    for what in ("missing_keys", "mismatched_keys"):
        lacking = sorted(str(key) for key in report[what] if not str(key).startswith(may_lack))
        if lacking:
            # transformers would go on with random numbers in their place.
            raise UserError(
                f"model {name!r}: {len(lacking)} weights are {'missing' if what == 'missing_keys' else 'misshapen'} "
                f"in {folder}, the first {lacking[0]!r}"
            )
    return model, tokenizer
