"""Logits of a language model whose residual stream is read, or replaced, after one block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .model import LanguageModel

#: `edit(h)`: h [B, T, d_model] is the block's output; what is returned takes its place.
Edit = Callable[[Tensor], Tensor]
#: `run(input_ids, attention_mask, edit)`: logits [B, T, V].
Run = Callable[[Tensor, Tensor, Edit], Tensor]


@contextmanager
def edited(model: LanguageModel, layer: int) -> Iterator[Run]:
    """Forward passes of whole texts with an edit after block `layer`, on several threads at once if wanted.

    Texts are padded on the right (`LanguageModel.pad`); logits at padding mean nothing. The caller switches gradients
    off.

    Raises:
        UserError: if the model has no such block.
    """
    model.check_layers([layer])
    here = threading.local()

    def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        changed = here.edit(hidden)
        if changed is hidden:
            return None
        changed = changed.to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def run(input_ids: Tensor, attention_mask: Tensor, edit: Edit) -> Tensor:
        here.edit = edit
        return model.forward(input_ids, attention_mask).logits

    handle = model.blocks[layer].register_forward_hook(hook)
    try:
        yield run
    finally:
        handle.remove()
