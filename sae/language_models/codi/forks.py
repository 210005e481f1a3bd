"""Questions that are read and thought about once, and gone on from several times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .model import Codi, Edit, Thinking

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def forked(cache: Any, length: int, rows: Tensor | None = None) -> Any:
    """The first `length` places of a cache, of some rows, in an order and as often as `rows` names them.

    What is kept is not copied where all rows are taken; both grow on their own from here.
    """
    from transformers import DynamicCache

    copied = DynamicCache()
    for number, layer in enumerate(cache.layers):
        keys, values = layer.keys[:, :, :length], layer.values[:, :, :length]
        if rows is not None:
            keys, values = keys[rows], values[rows]
        copied.update(keys, values, number)
    return copied


@dataclass(frozen=True)
class Thought:
    """A batch of questions, thought about to the end.

    Attributes:
        thinking: of all steps; its cache is never used up here.
        n_read: places of the cache that the questions take.
    """

    codi: Codi
    thinking: Thinking
    n_read: int

    @classmethod
    def about(cls, codi: Codi, ids: Sequence[Sequence[int]], *, layers: Collection[int] = ()) -> Thought:
        """Read and think. The caller switches gradients off."""
        cache, mask, position, _ = codi.read(*codi.pad(ids))
        return cls(codi, codi.think_from(cache, mask, position, layers=layers), mask.shape[1])

    @property
    def steps(self) -> int:
        """BOT and the thoughts."""
        return len(self.thinking.final)

    def stopped(self, n_thoughts: int | None = None, rows: Tensor | None = None) -> Thinking:
        """As if it had had `n_thoughts` only (all by default), with a cache that may be used up."""
        steps = self.steps if n_thoughts is None else n_thoughts + 1
        return _taken(self.thinking, self.n_read + steps, rows, self.thinking.final[:steps])

    def again(
        self,
        step: int,
        *,
        zeroed: Collection[int] = (),
        edit: Edit | None = None,
        edited_layers: Collection[int] = (),
        rows: Tensor | None = None,
    ) -> Thinking:
        """Think anew from `step` on, which may be edited, or given zeros; the steps before it are taken over.

        Args:
            rows: which questions, in an order and as often as named; all by default. `edit` is called with these.
        """
        before = self.stopped(step - 1, rows)
        return self.codi.think_from(
            before.cache,
            before.mask,
            before.position,
            n_thoughts=self.steps - 1,
            zeroed=zeroed,
            edit=edit,
            edited_layers=edited_layers,
            last=before.final[-1] if step else None,
            first=step,
        )


def some_of(thinking: Thinking, rows: Tensor) -> Thinking:
    """The same for some rows, with a cache of its own."""
    return _taken(thinking, thinking.mask.shape[1], rows, thinking.final)


def _taken(thinking: Thinking, length: int, rows: Tensor | None, final: torch.Tensor) -> Thinking:
    mask = thinking.mask[:, :length]
    position = thinking.position - (thinking.mask.shape[1] - length)
    if rows is not None:
        mask, position, final = mask[rows], position[rows], final[:, rows]
    return Thinking({}, final, forked(thinking.cache, length, rows), mask, position)
