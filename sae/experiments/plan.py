"""From a specification to the runs it stands for: factors crossed, presets applied, each run named by its content."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sae.common.errors import UserError
from sae.experiments.published import Published
from sae.experiments.recipes import Recipe, recipe
from sae.training.config import TrainingConfig, config_class, from_settings
from sae.training.mechanisms_config import OFF

MAX_RUNS = 20_000
#: Factors that say which slice a run is trained on. Their default is all that the activations hold.
SLICE_FACTORS = ("layer", "position")
#: The factor that says which layers a crosscoder reads; without values it stands for each by itself, and all at once.
LAYERS = "layers"
_RESAMPLING = {"resampling": False, "resampling_steps": 0}
#: Settings that came after the first runs, at the value that those runs had: at it they don't change a run's name.
LATER_SETTINGS = {"precision": "float32", "chunk_rows": 0, "multi_topk": False, **_RESAMPLING, **OFF}


@dataclass(frozen=True)
class Factor:
    """Something an experiment varies: recipes, a training setting, or `layer` and `position` of what is trained on."""

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
    baseline: dict[str, Any] = field(default_factory=dict)
    """Values of factors of the cell that the others are compared with, where it is an ablation."""
    matched: str = ""
    """A metric of cost at which cells are compared by interpolation, where equal factors would not be fair."""
    equal: str = ""
    """A metric that training brings to the same value everywhere: a level at which it is not that of the baseline, but
    for 5 %, is not judged."""
    unjudged: str = ""
    """Why no level is judged, where each differs from the baseline in more than one thing."""
    recipes: dict[str, dict[str, Recipe]] = field(default_factory=dict)
    """Factors whose values are whole sets of settings: those, by factor and value."""
    presets: dict[str, Published] = field(default_factory=dict)
    """Settings of documents as a whole, by name; where recipes are presets (`recipes`), they are a factor instead."""
    known: str = ""
    """What is known of the source that it goes back to, and what is our reading: a line for people."""

    @property
    def ablates(self) -> bool:
        """Whether the Ablations page is about it: it has a baseline cell, or metrics of its own."""
        return bool(self.baseline) or self.metrics != Kind.metrics

    @property
    def over_slices(self) -> bool:
        """Whether it varies what is trained on: then `layer` and `position` are factors of it."""
        return any(factor.name in SLICE_FACTORS for factor in self.factors)


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
    definition: dict[str, Any] | None = None
    """Of a kind that is not built in (`sae.experiments.definition`)."""
    preset: str | None = None
    """One of the kind's `presets`."""

    def as_dict(self) -> dict[str, Any]:
        named = {"definition": self.definition, "preset": self.preset}
        own = {name: value for name, value in named.items() if value is not None}
        return {
            "kind": self.kind,
            "name": self.name,
            "activations": self.activations,
            "layer": self.layer,
            "position": self.position,
            "factors": self.factors,
            "settings": self.settings,
            **own,
        }


@dataclass(frozen=True)
class RunPlan:
    """One run to be trained."""

    id: str
    factors: dict[str, Any]
    config: TrainingConfig
    layer: int | None = None
    position: int | None = None

    @property
    def place(self) -> dict[str, Any]:
        """What it reads, as `sae.capture.run_rows.rows_read` takes it."""
        layers = self.config.layers_read
        return {"layer": self.layer, "position": self.position, **({LAYERS: list(layers)} if layers else {})}

    @property
    def place_key(self) -> tuple[Any, ...]:
        """The same for all runs that read the same rows."""
        return self.layer, self.position, self.config.layers_read


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment, in the order in which they are trained."""

    spec: Spec
    factors: dict[str, list[Any]]
    runs: list[RunPlan]


def over_all_slices(kind: Kind, spec: Spec, slices: Sequence[tuple[int | None, int | None]]) -> Spec:
    """`spec` with the layers and positions that the activations hold, where a kind varies them and the spec names none.

    Args:
        slices: layer and position of each slice.

    Raises:
        UserError: if a layer and position are asked for that the activations don't hold together, or if a slice is
            given where the kind varies it.
    """
    if not kind.over_slices:
        return spec
    if spec.layer is not None or spec.position is not None:
        raise UserError(f"{kind.name} goes over layers and positions: give them as factors, not one slice")
    here = {name: list(dict.fromkeys(s[place] for s in slices)) for place, name in enumerate(SLICE_FACTORS)}
    factors = {name: spec.factors.get(name) or here[name] for name in SLICE_FACTORS}
    there = set(slices)
    for pair in itertools.product(*factors.values()):
        if pair not in there:
            raise UserError(f"{spec.activations!r} has no layer {pair[0]} with position {pair[1]}: take others")
    return replace(spec, factors={**factors, **{k: v for k, v in spec.factors.items() if k not in factors}})


def over_all_layers(kind: Kind, spec: Spec, layers: Callable[[], Sequence[int]]) -> Spec:
    """`spec` with the sets of layers, where a kind varies them and neither it nor the spec says which: each layer by
    itself, and all.

    Args:
        layers: what the activations hold.
    """
    if spec.factors.get(LAYERS) or not any(factor.name == LAYERS and not factor.default for factor in kind.factors):
        return spec
    return replace(spec, factors={LAYERS: [*map(str, layers()), "all"], **spec.factors})


def resolve(kind: Kind, spec: Spec) -> Plan:
    """Cross the factors of `spec` (the kind's defaults where it names none) into runs.

    A setting is looked up in this order, the last one found winning: the training defaults, the kind's, the
    preset's, the recipe's, the user's `settings`, the factors.

    Raises:
        UserError: for an unknown factor, setting or preset, choices against the preset, an empty list, a value out of
            range (K > d_sae names the cell), or more than 20,000 runs.
    """
    known = {factor.name: factor for factor in kind.factors}
    for name, values in spec.factors.items():
        if name not in known:
            raise UserError(f"{name!r} is not a factor of {kind.name}; factors are: {', '.join(known)}")
        if not values:
            raise UserError(f"factor {name!r} has no values")
    published = _published(kind, spec)
    fixed = {name: (value,) for name, value in published.factors.items()} if published else {}
    factors = {
        name: list(dict.fromkeys(spec.factors.get(name, fixed.get(name, factor.default))))
        for name, factor in known.items()
    }
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
        settings = {**kind.settings, **(published.settings if published else {})}
        for name, recipes in kind.recipes.items():
            settings |= recipe(name, recipes, cell[name])
        trained = {name: value for name, value in cell.items() if name not in (*kind.recipes, *SLICE_FACTORS)}
        config = from_settings({**settings, **_known(spec.settings, settings, kind), **trained})
        cell |= {name: getattr(config, name) for name in trained}
        place = {name: cell.get(name, getattr(spec, name)) for name in SLICE_FACTORS}
        runs.append(RunPlan(_run_id(kind, spec, cell, config), cell, config, **place))
    factors = {name: list(dict.fromkeys(run.factors[name] for run in runs)) for name in factors}
    return Plan(spec, factors, runs)


def _published(kind: Kind, spec: Spec) -> Published | None:
    if spec.preset is None:
        return None
    if spec.preset not in kind.presets:
        there = f"take one of {', '.join(kind.presets)}" if kind.presets else "it has none"
        raise UserError(f"preset {spec.preset!r} is not known for {kind.name}: {there}")
    published = kind.presets[spec.preset]
    published.check_choices(spec.factors, spec.settings)
    return published


def _known(given: dict[str, Any], settings: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Those of the user's settings that this architecture has, where others of the same experiment have the rest."""
    recipes = [one for several in kind.recipes.values() for one in several.values()]
    others = {str(one.settings["architecture"]) for one in recipes if "architecture" in one.settings}
    elsewhere = {name for other in others for name in config_class(other).__dataclass_fields__}
    mine = config_class(settings.get("architecture", "topk")).__dataclass_fields__
    return {name: value for name, value in given.items() if name in mine or name not in elsewhere}


def _run_id(kind: Kind, spec: Spec, cell: dict[str, Any], config: TrainingConfig) -> str:
    """Readable, and different for anything that is trained differently: `k20-d1024-s0-corrected-1f3a9c0b`."""
    settings = {name: value for name, value in config.as_dict().items() if LATER_SETTINGS.get(name) != value}
    content = json.dumps(
        [kind.name, spec.name, spec.activations, spec.layer, spec.position, cell, settings], sort_keys=True
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    short = {"d_sae": "d", "seed": "s", "layer": "L", "position": "P", "alpha": "a", "rounding": ""}
    short |= dict.fromkeys(kind.recipes, "")
    short |= {"reconstruction_objective": "r-", "sparsity_objective": "p-"}
    words = [re.sub(r"[^\w.-]", "_", f"{short.get(name, name)}{value}") for name, value in cell.items()]
    return "-".join([*words, digest])[:80]


def seed_values(count: int) -> list[int]:
    """`--seeds N`. Raises UserError below 1."""
    if count < 1:
        raise UserError(f"--seeds {count}: it counts seeds and must be at least 1")
    return list(range(count))
