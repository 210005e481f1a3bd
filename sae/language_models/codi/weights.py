"""A causal language model from its configuration and tensors, each of which is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sae.common.errors import UserError
from sae.language_models.quiet import quiet

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from .tensor_files import TensorFiles

Shape = tuple[int, ...]
DTYPES = ("float32", "float16", "bfloat16")


def precision_of(device: str, dtype: str) -> torch.dtype:
    """The precision to compute in. On a CPU float16 becomes float32: it is slower there, and less exact.

    Raises:
        UserError: for a type that is not known.
    """
    import torch

    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not known: take one of {', '.join(DTYPES)}")
    return torch.float32 if device == "cpu" and dtype == "float16" else getattr(torch, dtype)


def configuration(content: Mapping[str, Any], where: Path) -> Any:
    """The configuration of transformers that a config.json describes.

    Raises:
        UserError: if transformers does not know it, or it needs code of its own.
    """
    from transformers import CONFIG_MAPPING, AutoConfig

    kind = content.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(
            f"{where} is of a kind of model ({kind!r}) that transformers does not know, or has code of its own"
        )
    try:
        with quiet():
            return AutoConfig.for_model(**{key: value for key, value in content.items() if key != "auto_map"})
    except Exception as error:
        # Its checks raise errors of many kinds.
        raise UserError(f"{where} can't be used ({type(error).__name__}: {error})") from None


class Expected(NamedTuple):
    """`shapes` of a model's weights (a tied head left out); `transposed`: those that are stored as (in, out)."""

    shapes: dict[str, Shape]
    transposed: frozenset[str]
    model: type


def expected(config: Any, where: Path) -> Expected:
    """What a model of this configuration is made of; nothing is allocated.

    Raises:
        UserError: if no such model can be made.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    try:
        with quiet(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:
        raise UserError(f"{where} describes no model that can be made ({type(error).__name__}: {error})") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    transposed = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
    return Expected(shapes, frozenset(transposed), type(model))


def projection_shapes(d_model: int, d_hidden: int, *, norm: bool) -> dict[str, Shape]:
    """Of the projection's tensors, by their names in a checkpoint."""
    shapes: dict[str, Shape] = {"prj.1.weight": (d_hidden, d_model), "prj.1.bias": (d_hidden,)}
    shapes |= {"prj.3.weight": (d_model, d_hidden), "prj.3.bias": (d_model,)}
    return shapes | ({"prj.ln.weight": (d_model,), "prj.ln.bias": (d_model,)} if norm else {})


def check(files: TensorFiles, wanted: Mapping[str, Shape], whole: bool = True) -> None:
    """Hold tensors against what is wanted, by the names that they have in the files.

    Raises:
        UserError: for the first that is missing or misshapen, or with `whole` that nobody asked for.
    """
    for name, shape in wanted.items():
        if name not in files.shapes:
            raise UserError(f"{files.file_of(name)} lacks {name} of shape {shape}: download or save it again")
        if files.shapes[name] != shape:
            raise UserError(f"{name} in {files.file_of(name)} has shape {files.shapes[name]}, expected is {shape}")
    for name in files.shapes if whole else ():
        if name not in wanted:
            raise UserError(
                f"{files.file_of(name)} holds {name} of shape {files.shapes[name]}, for which this model has no place"
            )


def built(config: Any, what: Expected, tensors: Mapping[str, Tensor], precision: torch.dtype) -> Any:
    """The model, with `tensors` by the names of transformers; they must have been checked.

    Attention is spelled out rather than fused: on a CPU the fused one is slower with a mask, and the rows here are
    short.
    """
    model: Any = what.model
    with quiet():
        return model.from_pretrained(
            None, config=config, state_dict=dict(tensors), dtype=precision, attn_implementation="eager"
        )


def projection(tensors: Mapping[str, Tensor], precision: torch.dtype) -> nn.Module:
    """The projection, with `tensors` by their names in a checkpoint; they must have been checked."""
    from .model import Projection

    d_hidden, d_model = tensors["prj.1.weight"].shape
    made = Projection(d_model, d_hidden, norm="prj.ln.weight" in tensors)
    made.load_state_dict({name.removeprefix("prj."): tensor for name, tensor in tensors.items()})
    return made.to(precision)
