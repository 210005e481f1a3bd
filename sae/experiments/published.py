"""The setting that a document was written in: what it trains with, and which activations that takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae.common.errors import UserError


@dataclass(frozen=True)
class Published:
    """A setting as a whole: neither its factors nor its settings can be chosen otherwise under its name.

    Attributes:
        factors: the one value that each has.
        settings: of training; a recipe's own come over them.
        model: the last part of its name on the hub.
        layer: block number from 0.
        context: most tokens that the model read at once.
        capture: the command that makes such activations.
    """

    factors: dict[str, Any]
    settings: dict[str, Any]
    model: str
    layer: int
    context: int
    capture: str

    def check_choices(self, factors: Mapping[str, list[Any]], settings: Mapping[str, Any]) -> None:
        """Raises UserError where the user's choices are not those of the setting."""
        for name, value in self.factors.items():
            if factors.get(name, [value]) != [value]:
                raise UserError(f"the published setting has {name} {value}: leave {name} out, or the preset")
        if clash := [name for name in self.settings if name in settings]:
            name = clash[0]
            raise UserError(
                f"the published setting has {name} {self.settings[name]:g}: leave {name} out, or the preset"
            )

    def check_activations(self, manifest: Mapping[str, Any], layer: int | None) -> None:
        """Raises UserError for activations of another model, layer or context, and says how the right ones are made.

        Args:
            manifest: of the activations.
            layer: of the slice that is trained on.
        """
        model = manifest.get("model")
        name = str(model.get("name") or "no model") if isinstance(model, Mapping) else "no model"
        context = (manifest.get("cut") or {}).get("context")
        wrong = [
            f"{what} {has} in place of {wanted}"
            for what, has, wanted, fits in (
                ("model", name, self.model, name.rstrip("/").split("/")[-1].lower() == self.model),
                ("layer", layer, self.layer, layer == self.layer),
                ("context", context, self.context, context == self.context),
                ("positions", manifest.get("positions"), "all", manifest.get("positions") == "all"),
            )
            if not fits
        ]
        if wrong:
            raise UserError(
                f"the published setting takes {self.model}, layer {self.layer}, context {self.context}, all tokens; "
                f"these activations have {', '.join(wrong)}: make them with '{self.capture}'"
            )
