"""Rows of several layers at once, side by side: what a crosscoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sae.capture.store import Slice
from sae.common.errors import UserError
from sae.common.row_reader import SideBySide

if TYPE_CHECKING:
    import numpy as np

    from sae.capture.store import Activations


@dataclass(frozen=True, eq=False)
class SeveralLayers(Slice):
    """Slices of one position, of the same examples in the same order. `start` and `stop` are those of the first one,
    `layer` is None, and rows have the width of all together.
    """

    parts: tuple[Slice, ...] = ()

    @classmethod
    def of(cls, activations: Activations, layers: Sequence[int], position: int | None) -> SeveralLayers:
        """Raises UserError if a layer is not there at that position, or holds other examples."""
        first = activations.slice(layers[0], position)
        parts = (first, *(first.partner(layer, first.position) for layer in layers[1:]))
        return cls(activations, None, first.position, first.start, first.stop, parts)

    @property
    def x(self) -> np.ndarray:
        """[n, layers · d], as an array that reads what is asked for (`sae.common.row_reader.SideBySide`)."""
        return SideBySide([part.x for part in self.parts])  # type: ignore[return-value]

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(int(part.layer) for part in self.parts if part.layer is not None)

    @property
    def layer_words(self) -> str:
        """`layers 3, 6 and 9`."""
        *most, last = map(str, self.layers)
        return f"layers {', '.join(most)} and {last}" if most else f"layer {last}"

    @property
    def key(self) -> str:
        return f"L{'+'.join(map(str, self.layers))}" + ("" if self.position is None else f"P{self.position}")


def layers_at(activations: Activations, position: int | None) -> list[int]:
    """The layers that the activations hold at a position (at any, for None).

    Raises:
        UserError: if they are not several.
    """
    slices = [piece for piece in activations.slices if position in (None, piece.position)]
    found = list(dict.fromkeys(piece.layer for piece in slices if piece.layer is not None))
    if len(found) < 2:
        where = "" if position is None else f" at position {position}"
        held = f"layer {found[0]} alone" if found else "no layers"
        raise UserError(f"a crosscoder reads several layers, and {activations.name!r} holds {held}{where}")
    return found
