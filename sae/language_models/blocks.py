"""Finds the decoder blocks of a causal language model, whatever its family calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    from torch import nn


def text_config(model: Any) -> Any:
    """The configuration of the part that reads text."""
    return model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config


def decoder_blocks(model: Any) -> nn.ModuleList:
    """The list of decoder blocks, in the order in which they run.

    It is the outermost `ModuleList` with as many members as the configuration has layers, all of one class: this
    holds for `model.layers` (Llama and its relatives), `transformer.h` (GPT-2), `gpt_neox.layers`,
    `model.decoder.layers` (OPT) and the rest, without a list of families that would age.

    Raises:
        UserError: if there is none, or several at the same depth.
    """
    from torch import nn

    config = text_config(model)
    wanted = getattr(config, "num_hidden_layers", None)
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == wanted and len({type(block) for block in module}) == 1
    ]
    if len(found) > 1:
        depth = min(name.count(".") for name, _ in found)
        found = [(name, module) for name, module in found if name.count(".") == depth]
    if len(found) != 1:
        kind = getattr(model.config, "model_type", type(model).__name__)
        names = ", ".join(name for name, _ in found) or "none"
        raise UserError(
            f"the decoder blocks of this {kind} model were not found (lists of {wanted} blocks: {names}); "
            "capture it elsewhere and import the array"
        )
    return found[0][1]
