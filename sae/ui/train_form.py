"""The form that describes an experiment: text into factors, what is wrong with it, its cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from sae.common.errors import UserError
from sae.experiments.plan import LAYERS, SLICE_FACTORS, Plan, Spec
from sae.experiments.recipes import Recipe
from sae.training.config import CONFIGS, config_class, from_settings
from sae.training.settings import Setting, settings
from sae.ui import address, role
from sae.workspace import supervisor
from sae.workspace.register import planned

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Activations
    from sae.experiments.measurement import Measurement
    from sae.experiments.plan import Factor, Kind
    from sae.workspace import Workspace

T = TypeVar("T")


def whole_numbers(text: str, title: str) -> list[int]:
    """`5, 10, 1_000` or `5 10 20`.

    Raises:
        UserError: naming the word that is no whole number.
    """
    return _read(text, title, int, "a whole number")


def numbers(text: str, title: str) -> list[float]:
    """`0.1, 1, 10`. Raises UserError naming the word that is no number."""
    return _read(text, title, float, "a number")


def _read(text: str, title: str, kind: Callable[[str], T], said: str) -> list[T]:
    found = []
    for word in text.replace(",", " ").replace(";", " ").split():
        try:
            found.append(kind(word.replace("_", "")))
        except ValueError:
            raise UserError(f"{title}: {word!r} is not {said}; write them with commas between") from None
    if not found:
        raise UserError(f"{title}: give at least one number")
    return list(dict.fromkeys(found))


def choices_of(kind: Kind, factor: Factor) -> tuple[str, ...]:
    """What a factor of words may be; empty for one of numbers."""
    if factor.name in (*SLICE_FACTORS, *kind.recipes, "seed"):
        return ()
    return next((s.choices for s in settings(architecture_of(kind, {})) if s.name == factor.name), ())


def architecture_of(kind: Kind, changed: Mapping[str, Any]) -> str:
    """What its runs are trained as, unless a recipe says otherwise."""
    return str(changed.get("architecture", kind.settings.get("architecture", "topk")))


def several_layers(kind: Kind, chosen: str | None) -> bool:
    """Whether its runs read several layers at once, so that none is chosen for them.

    Args:
        chosen: the architecture that the form says, which counts where the kind leaves that open.
    """
    changed = {"architecture": chosen} if chosen in architectures_for(kind) else {}
    return config_class(architecture_of(kind, changed)).several_layers


def layer_sets(activations: Activations) -> list[str]:
    """What a crosscoder can read: each layer by itself, and all."""
    layers = dict.fromkeys(piece.layer for piece in activations.slices if piece.layer is not None)
    return [*map(str, layers), "all"]


def architectures_for(kind: Kind) -> tuple[str, ...]:
    """The architectures that it can be trained with; empty for a kind that is about one, or varies them itself.

    Where the layer is a factor, none that reads several at once.
    """
    named = [kind.settings, *(one.settings for recipes in kind.recipes.values() for one in recipes.values())]
    fixed = kind.ablates or any("architecture" in settings for settings in named)
    by_layer = any(factor.name == "layer" for factor in kind.factors)
    found = (name for name in CONFIGS if name != "binary" and not (by_layer and config_class(name).several_layers))
    return () if fixed else tuple(found)


def impossible(factors: Mapping[str, Sequence[Any]]) -> None:
    """Raises UserError naming the cells whose K is larger than their dictionary."""
    cells = [(k, d) for d in factors.get("d_sae", ()) for k in factors.get("k", ()) if k > d]
    if cells:
        named = ", ".join(f"K {k:,} with d_sae {d:,}" for k, d in cells[:6]) + (" ..." if len(cells) > 6 else "")
        raise UserError(f"a row can't keep more features than there are: {named}; take that K or that size out")


def check(workspace: Workspace, spec: Mapping[str, Any]) -> Plan:
    """The runs that the form stands for. Raises UserError for what is wrong with it, in one line."""
    impossible(spec["factors"])
    return planned(workspace, Spec(**spec))


def count_text(plan: Plan) -> str:
    """`12 runs: 3 dictionary sizes x 4 K`, naming what varies."""
    words = {"preset": "recipe", "d_sae": "dictionary size", LAYERS: "sets of layers"}
    parts = [
        f"{len(values)} {words.get(name, name.replace('_', ' '))}{'' if name in ('k', LAYERS) else 's'}"
        for name, values in plan.factors.items()
        if len(values) > 1
    ]
    runs = len(plan.runs)
    return f"{runs:,} run{'' if runs == 1 else 's'}" + (f" ({' × '.join(parts)})" if parts else "")


def free_name(workspace: Workspace, about: str, kind: Kind | Measurement) -> str:
    """A name for a new experiment that none has yet: what it is about, and the last word of its kind."""
    taken = {experiment.name for experiment in workspace.experiments()}
    stem = f"{about[:60]}-{kind.name.rpartition('-')[2]}"
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def settable(kind: Kind, changed: Mapping[str, Any]) -> dict[str, Setting]:
    """What may be set beside the factors, by name, for the architecture that `changed` or the kind says."""
    factors = {factor.name for factor in kind.factors}
    known = settings(architecture_of(kind, changed))
    return {s.name: s for s in known if s.name not in factors and s.name != "architecture"}


def settings_table(kind: Kind, chosen: Mapping[str, Sequence[Any]], changed: Mapping[str, Any]) -> pd.DataFrame:
    """What the runs are trained with, as the changes make it: a line a setting, a column a recipe where there are some.

    What a factor varies is not among the lines.

    Args:
        chosen: values of the factors.
    """
    import pandas as pd

    columns = {}
    for name in kind.recipes or [""]:
        recipes = kind.recipes.get(name, {"Value": Recipe({}, "")})
        for value in chosen.get(name) or recipes:
            columns[value] = from_settings({**kind.settings, **recipes[value].settings, **changed})
    return pd.DataFrame(
        [
            {
                "Setting": s.name,
                **{name: str(getattr(c, s.name, "–")) for name, c in columns.items()},
                "Meaning": s.meaning,
            }
            for s in settable(kind, changed).values()
        ]
    )


def estimate(workspace: Workspace, spec: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Cost of the experiment, measured by a probe of about a second and remembered for the same form.

    Raises:
        UserError: for whatever is wrong with it.
    """
    # The name changes nothing of the cost.
    content = json.dumps({**spec, "name": "estimate"}, sort_keys=True)
    return _estimate(str(workspace.root), content, device)


@st.cache_data(max_entries=32, ttl="30m", show_spinner=False)
def _estimate(root: str, content: str, device: str) -> dict[str, Any]:
    from sae.workspace import Workspace
    from sae.workspace.start import estimate_experiment

    return estimate_experiment(Workspace.at(root), json.loads(content), device)


def start(
    workspace: Workspace, spec: dict[str, Any], device: str, begin: Callable[..., Any], forget: Sequence[str] = ()
) -> None:
    """Queue what the form describes and go to where it is watched; what is wrong with it is said on the next run.

    Args:
        begin: takes workspace, spec and `device=`: `start_experiment` or `start_measurement`.
        forget: names of the form that mean nothing there.
    """
    try:
        role.require_change()
        begin(workspace, spec, device=device)
        supervisor.ensure_running(workspace, device)
    except UserError as error:
        st.session_state["start_error"] = str(error)
        return
    address.choose(show="watch", experiment=spec["name"], drop=["run", "name", *forget])
