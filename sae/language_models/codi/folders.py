"""Our own CODI models on disk: one folder with everything, readable with public tools."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import read_json, to_json, write_json, write_tensors

from .recognise import MARK
from .tensor_files import TensorFiles
from .tokenizer_files import read_tokenizer
from .weights import DTYPES, built, check, configuration, expected, precision_of, projection, projection_shapes

if TYPE_CHECKING:
    from .model import Codi

FORMAT = 1
#: The order in which a folder's files are put in place.
_FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "training.json", "README.md")
_TITLES = {
    "supervised": "CODI with supervised thoughts",
    "pure": "pure CODI",
    "no-thoughts": "control without thoughts",
    "published": "published CODI checkpoint",
}
# They say where a model was read from, and are found anew by whoever reads it.
_NOT_KEPT = ("from", "sha256", "dtype", "unused_tensors")


def save(
    codi: Codi, folder: Path, *, card: str = "", training: dict[str, Any] | None = None, dtype: str = "float16"
) -> None:
    """Write a model into `folder`, in the place of one that is there.

    Files: config.json (of transformers, for the base), codi.json (name, kind, thoughts, projection), model.safetensors
    (transformers' names, and `prj.1.weight` and so on), tokenizer.json, tokenizer_config.json; README.md and
    training.json where given.

    Args:
        card: the model's card.
        training: how it was trained.
        dtype: that the weights are kept in.

    Raises:
        UserError: if a weight is not finite in that type, or the folder holds something else.
    """
    import torch

    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UserError(f"{folder} holds something else than a CODI model: take another folder")
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known: take one of {', '.join(DTYPES)}")
    model = codi.language_model
    weights = dict(model.state_dict())
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    weights |= {f"prj.{name}": tensor for name, tensor in codi.projection.state_dict().items()}
    tensors = {name: tensor.detach().to(getattr(torch, dtype)) for name, tensor in weights.items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{name} is not finite in {dtype}: the training diverged, or it needs float32")
    content = json.loads(model.config.to_json_string(use_diff=False))
    content |= {"architectures": [type(model).__name__], "dtype": dtype}
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        codi.tokenizer.save_pretrained(work)
        write_tensors(work / "model.safetensors", tensors, {"format": "pt"})
        write_json(work / "config.json", content)
        if training is not None:
            write_json(work / "training.json", training)
        if card:
            (work / "README.md").write_text(card, encoding="utf-8")
        write_json(work / MARK, _described(codi, folder.name, dtype))
        folder.mkdir(exist_ok=True)
        # Without its mark a folder is no model: nobody reads the weights of one with the words of the other.
        (folder / MARK).unlink(missing_ok=True)
        for name in (*_FILES, MARK):
            if (work / name).exists():
                (work / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _described(codi: Codi, name: str, dtype: str) -> dict[str, Any]:
    kept = {key: value for key, value in codi.source.items() if key not in _NOT_KEPT}
    kind = kept.get("kind", "pure")
    tensors = codi.projection.state_dict()
    return {
        "format": FORMAT,
        **{"name": name, "title": _TITLES.get(kind, kind), "licence": None},
        **kept,
        "kind": kind,
        "n_thoughts": codi.n_thoughts,
        "first_extra": codi.pad_id,
        "d_projection": len(tensors["1.weight"]),
        "projection_norm": "ln.weight" in tensors,
        "dtype": dtype,
    }


def load(folder: Path, device: str = "cpu", dtype: str = "float32", *, name: str | None = None) -> Codi:
    """Read what `save` wrote. Nothing is unpickled and nothing of the folder runs.

    Args:
        dtype: to compute in; on a CPU float16 becomes float32.
        name: what the model is called from here on; what it calls itself by default.

    Raises:
        UserError: if the folder is not of this format, or a tensor is missing, misshapen or unexpected.
    """
    from .model import Codi

    folder = Path(folder)
    precision = precision_of(device, dtype)
    about = _about(folder / MARK)
    content = read_json(folder / "config.json")
    if not isinstance(content, dict):
        raise UserError(f"{folder / 'config.json'} is not a configuration")
    config = configuration(content, folder / "config.json")
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"{folder / 'model.safetensors'} is missing")
    files = TensorFiles(folder)
    what = expected(config, folder / "config.json")
    parts = projection_shapes(config.hidden_size, about["d_projection"], norm=about["projection_norm"])
    check(files, {**what.shapes, **parts})
    tokenizer = read_tokenizer(folder)
    first_extra = about["first_extra"]
    if config.vocab_size != first_extra + 3 or len(tokenizer) > first_extra:
        raise UserError(
            f"{folder} does not fit together: {len(tokenizer):,} words in tokenizer.json, first_extra {first_extra:,} "
            f"in {MARK}, and {config.vocab_size:,} embedding rows where {first_extra + 3:,} are expected"
        )
    model = built(config, what, {weight: files.read(weight) for weight in what.shapes}, precision).to(device)
    thoughts = projection({part: files.read(part).float() for part in parts}, precision).to(device)
    source = {key: value for key, value in about.items() if key not in ("format", "first_extra")}
    source |= {
        "name": name or about["name"],
        "from": str(folder.resolve()),
        "sha256": files.sha256(),
        "dtype": str(precision).removeprefix("torch."),
    }
    return Codi(model, thoughts, tokenizer, source, first_extra)


def _about(path: Path) -> dict[str, Any]:
    """The content of a codi.json, each field of its type."""
    about = read_json(path)
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise UserError(f"{path} does not describe a CODI model")
    if about["format"] != FORMAT:
        raise UserError(f"{path} is of format {about['format']}, this version reads {FORMAT}: update SAE Workbench")
    types: dict[str, type] = {"name": str, "kind": str, "title": str, "projection_norm": bool}
    types |= {"n_thoughts": int, "first_extra": int, "d_projection": int}
    for key, kind in types.items():
        value = about.get(key)
        if type(value) is not kind or (kind is int and int(about[key]) < (1 if key == "d_projection" else 0)):
            raise UserError(f"{path} has {key} {to_json(value)}, which is not what this format has there")
    return about
