"""From a specification to the runs it stands for: factors crossed, presets applied, each run named by its content."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from sae.common.errors import UserError
from sae.experiments.presets import preset
from sae.training.config import TrainingConfig, from_settings

MAX_RUNS = 20_000


@dataclass(frozen=True)
class Factor:
    """Something an experiment varies. `setting` is the training setting it stands for; None for a preset."""

    name: str
    default: tuple[Any, ...]
    title: str


@dataclass(frozen=True)
class Kind:
    """A named experiment, as data: what it asks, what it varies, what is read off."""

    name: str
    title: str
    question: str
    factors: tuple[Factor, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    """Base settings, under the factors."""
    metrics: tuple[str, ...] = ("ev_total", "dead", "mean_activation", "max_activation", "mse")
    """What its page shows, the first being the primary one."""


@dataclass(frozen=True)
class Spec:
    """What the user asked for; JSON in `experiment.json` and in the job."""

    kind: str
    name: str
    activations: str
    layer: int | None = None
    position: int | None = None
    factors: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "activations": self.activations,
            "layer": self.layer,
            "position": self.position,
            "factors": self.factors,
            "settings": self.settings,
        }


@dataclass(frozen=True)
class RunPlan:
    """One run to be trained."""

    id: str
    factors: dict[str, Any]
    config: TrainingConfig


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment, in the order in which they are trained."""

    spec: Spec
    factors: dict[str, list[Any]]
    runs: list[RunPlan]


def resolve(kind: Kind, spec: Spec, d_in: int | None = None) -> Plan:
    """Cross the factors of `spec` (the kind's defaults where it names none) into runs.

    A setting is looked up in this order, the last one found winning: the training defaults, the kind's, the
    preset's, the user's `settings`, the factors.

    Raises:
        UserError: for an unknown factor or setting, an empty list, a value out of range (K > d_sae names the cell), or
            more than 20,000 runs.
    """
    known = {factor.name: factor for factor in kind.factors}
    for name, values in spec.factors.items():
        if name not in known:
            raise UserError(f"{name!r} is not a factor of {kind.name}; factors are: {', '.join(known)}")
        if not values:
            raise UserError(f"factor {name!r} has no values")
    factors = {name: list(dict.fromkeys(spec.factors.get(name, factor.default))) for name, factor in known.items()}
    overlap = sorted(set(factors) & set(spec.settings))
    if overlap:
        raise UserError(f"{overlap[0]!r} is a factor of {kind.name}: give its values as one, not as a setting")
    total = 1
    for values in factors.values():
        total *= len(values)
    if total > MAX_RUNS:
        raise UserError(f"{total:,} runs are more than an experiment may have ({MAX_RUNS:,}): vary less at once")
    runs = []
    for combination in itertools.product(*factors.values()):
        cell = dict(zip(factors, combination, strict=True))
        settings = {**kind.settings, **preset(cell["preset"])} if "preset" in cell else dict(kind.settings)
        settings |= {**spec.settings, **{name: value for name, value in cell.items() if name != "preset"}}
        config = from_settings(settings)
        cell |= {name: getattr(config, name) for name in cell if name != "preset"}
        runs.append(RunPlan(_run_id(kind, spec, cell, config), cell, config))
    factors = {name: list(dict.fromkeys(run.factors[name] for run in runs)) for name in factors}
    return Plan(spec, factors, runs)


def _run_id(kind: Kind, spec: Spec, cell: dict[str, Any], config: TrainingConfig) -> str:
    """Readable, and different for anything that is trained differently: `k20-d1024-s0-corrected-1f3a9c0b`."""
    content = json.dumps([kind.name, spec.name, spec.activations, spec.layer, spec.position, cell, config.as_dict()])
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    short = {"d_sae": "d", "seed": "s", "preset": ""}
    words = [f"{short.get(name, name)}{value}" for name, value in cell.items()]
    return "-".join([*words, digest])[:80]


def seed_values(count: int) -> list[int]:
    """`--seeds N`. Raises UserError below 1."""
    if count < 1:
        raise UserError(f"--seeds {count}: it counts seeds and must be at least 1")
    return list(range(count))
