"""CODI checkpoints as they are published: the state of the whole training module, its LoRA beside the base weights.

Source: github.com/zhenyi4/codi (`src/model.py`, `test.py`). The names in a file are those of transformers behind
`codi.base_model.model.`; a weight W with LoRA is there as `base_layer.weight`, `lora_A.default.weight` (r, in) and
`lora_B.default.weight` (out, r), and means W + alpha / r * B A. The layers of GPT-2 keep W as (in, out), so that there
the transpose of B A is added. The projection is `prj.1`, `prj.3` and, unless it was trained without, `prj.ln`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import read_json
from sae.common.progress import Progress, Silent

from .bases import EXTRA_ROWS, base_config
from .model import N_THOUGHTS, Codi
from .tensor_files import TensorFiles
from .tokenizer_files import base_tokenizer
from .weights import Expected, Shape, built, check, expected, precision_of, projection, projection_shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: What every published script trains with (`--lora_alpha 32`); the rank is read off the tensors.
DEFAULT_ALPHA = 32.0
_PREFIX = re.compile(r"codi\.(base_model\.model\.)?")
_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"
# Causal masks and frequencies that older versions of transformers saved; they are made, not learnt.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True)
class _Names:
    """What a checkpoint's tensors are called.

    Attributes:
        base: for each weight, by transformers' name, its name in the file; it may be missing there.
        lora: for each weight that has LoRA, the names of A and B in the file; they may be missing there.
        projection: names that start with `prj.`.
        others: tensors of nothing that is used here, such as an auxiliary decoder that only training needs.
    """

    base: dict[str, str]
    lora: dict[str, tuple[str, str]]
    projection: list[str]
    others: list[str]


def load(
    folder: Path, *, name: str, device: str = "cpu", dtype: str = "float32", progress: Progress | None = None
) -> Codi:
    """Load a published checkpoint: merged in float32, then cast.

    Args:
        folder: with the checkpoint's file or files; a config.json of the base and a tokenizer.json where it has them.
        name: what the model is called from here on.

    Raises:
        UserError: if a tensor is missing, misshapen or unexpected, the base's heads or tokenizer can't be known, or
            the file is none that is opened here.
    """
    precision = precision_of(device, dtype)
    progress = progress or Silent()
    files = TensorFiles(folder)
    names = _names(files.shapes)
    if not names.projection:
        raise UserError(f"{files.paths[0]} has no projection (prj.1.weight): it is not a CODI checkpoint")
    tied = _tied(files, names)
    shapes = {weight: files.shapes[held] for weight, held in names.base.items() if held in files.shapes}
    if tied:
        shapes.pop("lm_head.weight", None)
    config, base = base_config(folder, shapes, tied=tied)
    what = expected(config, folder / "config.json")
    check(files, _wanted(files, names, what, config.hidden_size, tied=tied), whole=False)
    _nothing_else(files, names, what, tied=tied)
    n_words = config.vocab_size - EXTRA_ROWS
    tokenizer = base_tokenizer(folder, base, n_words)
    alpha, root, alpha_from = _alpha(folder)
    tensors = {}
    for number, weight in enumerate(what.shapes):
        progress.update(number, len(what.shapes), f"reading {name}")
        tensors[weight] = _merged(files, names, weight, alpha, root, weight in what.transposed).to(precision)
    source: dict[str, Any] = {
        "name": name,
        "kind": "published",
        "title": f"CODI checkpoint of {base.title if base else config.model_type}",
        "n_thoughts": N_THOUGHTS,
        "from": str(folder.resolve()),
        "sha256": files.sha256(),
        "licence": None,
        "dtype": str(precision).removeprefix("torch."),
        "head": "tied" if tied else "its own",
        "unused_tensors": len(names.others),
    }
    if names.lora:
        ranks = sorted({files.shapes[a][0] for a, _ in names.lora.values()})
        source["lora"] = {
            "alpha": alpha,
            "alpha_from": alpha_from,
            "r": ranks[0] if len(ranks) == 1 else ranks,
            "scale": [_scale(alpha, r, root) for r in ranks] if len(ranks) > 1 else _scale(alpha, ranks[0], root),
        }
    model = built(config, what, tensors, precision).to(device)
    thoughts = projection({held: files.read(held).float() for held in names.projection}, precision).to(device)
    return Codi(model, thoughts, tokenizer, source, n_words)


def _names(shapes: dict[str, Shape]) -> _Names:
    base: dict[str, str] = {}
    lora: dict[str, tuple[str, str]] = {}
    others = []
    for held in shapes:
        found = _PREFIX.match(held)
        if held.startswith("prj."):
            continue
        if not found or held.endswith(_BUFFERS):
            others.append(held)
            continue
        inner, prefix = held[found.end() :], found[0]
        stem = next((inner.removesuffix(end) for end in (_A, _B, ".base_layer.weight") if inner.endswith(end)), None)
        if stem is None:
            base[inner.replace(".base_layer.", ".")] = held
        else:
            # All three belong together: where one is there, the others are wanted.
            base[f"{stem}.weight"] = f"{prefix}{stem}.base_layer.weight"
            lora[f"{stem}.weight"] = (f"{prefix}{stem}{_A}", f"{prefix}{stem}{_B}")
    return _Names(base, lora, [held for held in shapes if held.startswith("prj.")], others)


def _tied(files: TensorFiles, names: _Names) -> bool:
    """Whether the head is the embeddings: it is left out, or saved a second time."""
    head = names.base.get("lm_head.weight")
    if head is None:
        return True
    embeddings = names.base.get("model.embed_tokens.weight") or names.base.get("transformer.wte.weight")
    if embeddings not in files.shapes or files.shapes[head] != files.shapes[embeddings]:
        return False
    return bool((files.read(head) == files.read(embeddings)).all())


def _wanted(files: TensorFiles, names: _Names, what: Expected, d_model: int, *, tied: bool) -> dict[str, Shape]:
    """The shape that each tensor should have, by its name in the file."""
    wanted: dict[str, Shape] = {}
    prefix = next(found[0] for held in names.base.values() if (found := _PREFIX.match(held)))
    for weight, shape in what.shapes.items():
        wanted[names.base.get(weight, prefix + weight)] = shape
        if weight in names.lora:
            a, b = names.lora[weight]
            n_out, n_in = reversed(shape) if weight in what.transposed else shape
            rank = _rank(files, a, b)
            wanted |= {a: (rank, n_in), b: (n_out, rank)}
    first = files.shapes.get("prj.1.weight", (0,))
    norm = any(held.startswith("prj.ln.") for held in names.projection)
    return wanted | projection_shapes(d_model, first[0] if first else 0, norm=norm)


def _rank(files: TensorFiles, a: str, b: str) -> int:
    """From A, or from B where A is missing."""
    if len(files.shapes.get(a, ())) == 2:
        return files.shapes[a][0]
    return files.shapes[b][1] if len(files.shapes.get(b, ())) == 2 else 0


def _nothing_else(files: TensorFiles, names: _Names, what: Expected, *, tied: bool) -> None:
    """Refuse tensors of the base or the projection that would be left out."""
    held = {weight: name for weight, name in names.base.items() if weight not in what.shapes}
    held |= {weight: ab[0] for weight, ab in names.lora.items() if weight not in what.shapes}
    if tied:
        held.pop("lm_head.weight", None)
    known = projection_shapes(0, 0, norm=True)
    for name in [*held.values(), *(name for name in names.projection if name not in known)]:
        raise UserError(
            f"{files.file_of(name)} holds {name} of shape {files.shapes.get(name, ())}, for which this model has no "
            "place: it is not a CODI checkpoint of this base"
        )


def _alpha(folder: Path) -> tuple[float, bool, str]:
    """LoRA's alpha, whether it is divided by the root of the rank, and where that stands."""
    for file in (Path("adapter_config.json"), Path("adapter") / "adapter_config.json", Path("config.json")):
        if not (folder / file).is_file():
            continue
        content = read_json(folder / file)
        if not isinstance(content, dict) or "lora_alpha" not in content:
            continue
        alpha = content["lora_alpha"]
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise UserError(f"{folder / file} has lora_alpha {alpha!r}: it must be a number")
        return float(alpha), bool(content.get("use_rslora", False)), file.as_posix()
    return DEFAULT_ALPHA, False, "not stated; that of the published scripts"


def _scale(alpha: float, rank: int, root: bool) -> float:
    return alpha / (math.sqrt(rank) if root else rank)


def _merged(files: TensorFiles, names: _Names, weight: str, alpha: float, root: bool, transposed: bool) -> Tensor:
    """One weight in float32, its LoRA added."""
    base: torch.Tensor = files.read(names.base[weight]).float()
    if weight not in names.lora:
        return base
    a, b = (files.read(held).float() for held in names.lora[weight])
    added = b @ a
    return base + _scale(alpha, a.shape[0], root) * (added.T if transposed else added)
