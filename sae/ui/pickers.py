"""Choices that stand in the address: what pages ask for, drawn where they are called.

Names in the address: activations, layer, position, experiment, run, split, preset, seed, metric, feature, ...
A name may be drawn once on a page; the widget's key is the name. Not for use inside `st.form`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import streamlit as st

from sae.common.errors import UserError
from sae.report.visible import visible as written_out
from sae.ui import address

if TYPE_CHECKING:
    from sae.capture.store import Activations, Slice
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder

T = TypeVar("T")
SPLITS = ("validation", "train", "test", "all")
Look = Literal["list", "buttons"]


def pick_choice(
    label: str,
    options: Sequence[T],
    *,
    name: str,
    default: T | None = None,
    start: T | None = None,
    format: Callable[[T], str] = written_out,
    help: str | None = None,
    look: Look = "list",
    carry: bool = False,
    resets: Iterable[str] = (),
    needs: str | None = None,
    visible: bool = True,
    disabled: bool = False,
) -> T | None:
    """One of `options`; None only if there are none.

    Args:
        default: a fixed default, which is left out of the address; without one the first option is taken and written.
        start: what to take instead of the first option where there is no fixed default.
        look: `list` to choose from, or `buttons` side by side for two to five short options.
        carry: keep the choice on other pages.
        resets: names that are forgotten when this choice changes.
        needs: `experiment` where that is what the options are, under another name (`address.prepare`).
        visible: whether the label is drawn (it is read out in any case).
    """
    if not options:
        return None
    first = default if default is not None else options[0] if start is None else start
    by_text = {str(option): option for option in options}

    def read(text: str) -> T:
        if text not in by_text:
            raise ValueError("is not among what is here")
        return by_text[text]

    address.prepare(name, first, read, carry=carry, fixed=default is not None, needs=needs)
    shared: dict[str, Any] = {
        "format_func": format,
        "key": name,
        "help": help,
        "on_change": address.changed,
        "args": (name, default, tuple(resets)),
        "label_visibility": "visible" if visible else "collapsed",
        "disabled": disabled,
    }
    if look == "buttons":
        return st.segmented_control(label, options, required=True, **shared)
    return st.selectbox(label, options, **shared)


def pick_many(
    label: str,
    options: Sequence[T],
    *,
    name: str,
    default: Sequence[T] = (),
    format: Callable[[T], str] = written_out,
    help: str | None = None,
    placeholder: str | None = None,
) -> list[T]:
    """Any number of `options`; the address repeats the name."""
    address.prepare_many(name, default, options)
    return st.multiselect(
        label,
        options,
        format_func=format,
        key=name,
        help=help,
        placeholder=placeholder,
        on_change=address.changed,
        args=(name, list(default)),
    )


def pick_number(
    label: str,
    *,
    name: str,
    default: float,
    low: float,
    high: float,
    step: float = 1,
    help: str | None = None,
    carry: bool = False,
) -> float:
    """A number between `low` and `high`; whole if `default` is."""
    kind = type(default)

    def read(text: str) -> float:
        value = kind(text)  # raises ValueError
        if not low <= value <= high:
            raise ValueError(f"lies outside of {low} to {high}")
        return value

    address.prepare(name, default, read, carry=carry)
    return st.number_input(
        label,
        kind(low),
        kind(high),
        step=kind(step),
        key=name,
        help=help,
        on_change=address.changed,
        args=(name, default),
    )


def pick_text(
    label: str,
    *,
    name: str,
    default: str = "",
    placeholder: str | None = None,
    help: str | None = None,
    visible: bool = True,
) -> str:
    """A line of text, such as a search."""
    address.prepare(name, default, str)
    return (
        st.text_input(
            label,
            key=name,
            placeholder=placeholder,
            help=help,
            on_change=address.changed,
            args=(name, default),
            label_visibility="visible" if visible else "collapsed",
        )
        or ""
    )


def pick_switch(label: str, *, name: str, default: bool = False, help: str | None = None) -> bool:
    """On or off."""

    def read(text: str) -> bool:
        if text not in ("True", "False"):
            raise ValueError("is neither True nor False")
        return text == "True"

    address.prepare(name, default, read)
    return st.toggle(label, key=name, help=help, on_change=address.changed, args=(name, default))


def pick_activations(workspace: Workspace, label: str = "Activations") -> Activations | None:
    """Activations by name, the newest first; None if there are none. Raises UserError if the chosen ones are broken."""
    names = [manifest["name"] for manifest in workspace.activations()]
    name = pick_choice(label, names, name="activations", carry=True, resets=("layer", "position", "example"))
    return None if name is None else workspace.open_activations(name)


def pick_slice(activations: Activations, all_layers: bool = False) -> Slice:
    """A layer and a position where there are several; draws nothing where there is one slice.

    Args:
        all_layers: no layer is chosen: the slice is the first layer's.

    Raises:
        UserError: if the activations have no slice.
    """
    slices = activations.slices
    if not slices:
        raise UserError(f"activations {activations.name!r} hold no rows")
    layers = list(dict.fromkeys(piece.layer for piece in slices))
    layer = layers[0]
    if len(layers) > 1 and not all_layers:
        layer = pick_choice("Layer", layers, name="layer", carry=True)
    positions = list(dict.fromkeys(piece.position for piece in slices if piece.layer == layer))
    position = positions[0]
    if len(positions) > 1:
        called = slice_format(activations)
        position = pick_choice("Position", positions, name="position", carry=True, format=called)
    return activations.slice(layer, position)


def slice_format(activations: Activations) -> Callable[[int | None], str]:
    """How a position is written: with the name of its step where positions are steps of thinking."""
    if not activations.is_thoughts:
        return str
    from sae.capture.conventions import step_name

    return lambda position: "" if position is None else f"{position} ({step_name(position)})"


def pick_experiment(
    workspace: Workspace,
    wanted: Callable[[ExperimentFolder], bool] = lambda experiment: experiment.source is None,
    label: str = "Experiment",
) -> ExperimentFolder | None:
    """An experiment, the newest first; None if there are none that are wanted (by default, of those that train)."""
    here = [experiment for experiment in workspace.experiments() if wanted(experiment)]
    # One that only waits has nothing to show: it is not what a page opens with.
    names = [e.name for e in sorted(here, key=lambda e: e.source is None and not e.begun)]
    if names and address.get("experiment") is None and (run := address.get("run")):
        _follow_run(workspace, run, names)
    name = pick_choice(label, names, name="experiment", carry=True, resets=("run", "feature"))
    return None if name is None else workspace.experiment(name)


def _follow_run(workspace: Workspace, run: str, names: list[str]) -> None:
    """An address that names a run alone means the run's experiment too."""
    try:
        experiment = workspace.run(run).config.get("experiment")
    except UserError:
        return
    if experiment in names:
        address.choose(experiment=experiment)


def run_titles(workspace: Workspace, experiment: ExperimentFolder | None) -> dict[str, str]:
    """What to call each run, by id: the factors that vary within the experiment; imported SAEs by their name."""
    if experiment is None:
        table = workspace.runs_table()
        if table.empty:
            return {}
        owners = table["experiment"].tolist() if "experiment" in table else [None] * len(table)
        lines = zip(table["id"].tolist(), table["name"].tolist(), owners, strict=True)
        return {run: written_out(name) for run, name, owner in lines if not isinstance(owner, str)}
    named = _given_names(workspace)
    varied = [name for name, values in experiment.factors.items() if len(values) > 1]
    shown = varied or list(experiment.factors)
    return {
        run["id"]: named.get(run["id"]) or ", ".join(factor_text(name, run["factors"][name]) for name in shown)
        for run in experiment.content["runs"]
    }


def _given_names(workspace: Workspace) -> dict[str, str]:
    table = workspace.runs_table()
    if table.empty:
        return {}
    lines = zip(table["id"].tolist(), table["name"].tolist(), strict=True)  # pandas' own filter copies all columns
    return {run: written_out(name) for run, name in lines if name != run}


def factor_text(name: str, value: Any) -> str:
    """One factor as a title says it: `K 20`, `d_sae 1,024`, `corrected`."""
    if name == "preset":
        return str(value)
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{'K' if name == 'k' else name} {text}"


def pick_split(here: Iterable[str], label: str = "Split") -> str | None:
    """One of the splits that a run's metrics were taken on; held-out rows first."""
    found = [split for split in SPLITS if split in set(here)]
    return pick_choice(label, found, name="split", look="buttons", default=found[0] if found else None, carry=True)
