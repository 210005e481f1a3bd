"""The form that describes a measurement: whose runs, which of them, with what settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import empty, page, role, train_form
from sae.ui.pickers import pick_choice, pick_experiment, pick_many, pick_switch, pick_text, run_titles
from sae.workspace.start import start_measurement

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from sae.experiments.measurement import Measurement
    from sae.workspace import Workspace


def show(workspace: Workspace, kind: Measurement, first: DeltaGenerator, pick_device: Callable[[], str]) -> None:
    """The whole form; `first` is the row of the page's own controls."""
    with first, st.container(width=260):
        source = pick_experiment(workspace, label="Measured experiment")
    if source is None:
        empty.no_experiments()
        return
    titles = run_titles(workspace, source)
    finished = [run.id for run in source.runs() if run.done]
    with first:
        with st.container(width=360):
            if kind.one_run:
                one = pick_choice("Run", finished, name="run", format=lambda run: titles[run], carry=True)
                runs = [one] if one else []
            else:
                runs = pick_many(
                    "Runs", finished, name="runs", format=lambda run: titles[run], placeholder="all that are finished"
                )
        device = pick_device()
    st.caption(kind.question)
    if not finished:
        st.caption("None of its runs is finished yet.")
        return
    try:
        settings = settings_fields(kind)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            with st.container(width=320):
                name = pick_text("Name", name="name", default=train_form.free_name(workspace, source.name, kind))
            spec = {
                "kind": kind.name,
                "name": name.strip(),
                "source": source.name,
                "runs": runs,
                "settings": kind.settings_of(settings),
            }
            if role.may_change():
                n = len(runs) or len(finished)
                st.button(
                    f"Measure {n:,} run{'' if n == 1 else 's'}", type="primary", on_click=train_form.start,
                    args=(workspace, spec, device, start_measurement, ["runs"]),
                )  # fmt: skip
    except UserError as error:
        page.show_error(str(error))


def settings_fields(kind: Measurement) -> dict[str, Any]:
    """A field for each setting."""
    found: dict[str, Any] = {}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, default in kind.settings.items():
            label = name.replace("_", " ")
            label, key, meaning = f"{label[:1].upper()}{label[1:]}", f"set_{name}", kind.meanings.get(name)
            with st.container(width=190):
                if isinstance(default, bool):
                    found[name] = pick_switch(label, name=key, default=default, help=meaning)
                else:
                    found[name] = pick_text(label, name=key, default=str(default), help=meaning)
    return found
