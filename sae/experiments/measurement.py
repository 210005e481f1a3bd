"""Experiments that train nothing: they measure the runs of another experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.capture.store import Activations, Slice
    from sae.common.progress import Progress
    from sae.language_models.codi.model import Codi
    from sae.models.base import SAE


@dataclass(frozen=True)
class Measurement:
    """A named measurement, as data.

    Attributes:
        name, title, question: as on screen.
        settings: their defaults; a setting keeps the type of its default.
        meanings: what each setting means, in a line.
        measure: `module:function`, imported when it runs. It takes a `Case`, the settings and a `Progress`, and
            returns a `Measured`.
        one_run: it is made for one run at a time: of an experiment with several, the user names which.
        of_codes: it needs feature activations alone, not reconstructions of what was read: transcoders have it too.
        version: changes when it measures something else than before; what was kept of earlier ones is then made anew.
        of_run: which of its metrics stand beside those of the run itself wherever runs are compared.
    """

    name: str
    title: str
    question: str
    settings: dict[str, Any]
    meanings: dict[str, str]
    measure: str
    one_run: bool = False
    of_run: tuple[str, ...] = ()
    of_codes: bool = False
    version: int = 1

    def of(self, case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
        """What it finds of one run.

        Raises:
            UserError: if it can't be measured.
        """
        if not self.of_codes and case.model.transcodes:
            raise UserError(
                f"{self.name} needs reconstructions of the rows that are read: run {case.run} is a transcoder, which "
                "writes others"
            )
        if not self.of_codes and case.model.several_layers:
            raise UserError(
                f"{self.name} needs an SAE of one layer's states: run {case.run} is a crosscoder, which reads several "
                "layers at once"
            )
        module, _, name = self.measure.partition(":")
        measure: Callable[[Case, dict[str, Any], Progress], Measured] = getattr(import_module(module), name)
        return measure(case, settings, progress)

    def settings_of(self, given: dict[str, Any]) -> dict[str, Any]:
        """The defaults with what was given; text is read as its default's type.

        Raises:
            UserError: for an unknown setting or a value of another type.
        """
        found = dict(self.settings)
        for name, value in given.items():
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise UserError(f"{name!r} is not a setting of {self.name}; settings are: {known}")
            found[name] = _as(type(self.settings[name]), name, value)
        return found


@dataclass(frozen=True)
class MeasurementSpec:
    """What the user asked for; JSON in `experiment.json` and in the job.

    Attributes:
        source: the experiment whose runs are measured (`--from`).
        runs: which of them; all finished ones if empty.
    """

    kind: str
    name: str
    source: str
    runs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "source": self.source,
            "runs": self.runs,
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Case:
    """One run, as a measurement sees it.

    Attributes:
        run, factors: its id and place in its experiment.
        model: the SAE, in evaluation mode on `device`.
        codes: its feature activations over the rows of `slice`.
        language_model: loads the CODI model that the activations come from, once for all runs of a measurement.
        other_seeds: the other finished runs of its experiment on the same rows that differ from it in nothing but the
            seed, as (id, feature activations), those that come after it first.
    """

    run: str
    factors: dict[str, Any]
    model: SAE
    codes: FeatureActivations
    slice: Slice
    activations: Activations
    language_model: Callable[[], Codi]
    device: str
    other_seeds: Callable[[], Iterable[tuple[str, FeatureActivations]]] = tuple


@dataclass(frozen=True)
class Measured:
    """What a measurement found of one run.

    Attributes:
        results: {"split", "metrics": {name: number}, "interval": {name: (low, high)}, "n"} each.
        tables: further tables by name.
        notes: further facts, as JSON.
    """

    results: list[dict[str, Any]]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def _as(kind: type, name: str, value: Any) -> Any:
    if kind is bool:
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise UserError(f"{name} {value!r} must be true or false")
    try:
        return kind(value)
    except (TypeError, ValueError):
        words = {int: "a whole number", float: "a number"}.get(kind, "text")
        raise UserError(f"{name} {value!r} must be {words}") from None
