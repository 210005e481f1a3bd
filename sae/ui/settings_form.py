"""What the runs of an experiment are trained with, and what is changed for all of them: architecture and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import train_form
from sae.ui.pickers import pick_choice, pick_many, pick_switch, pick_text

if TYPE_CHECKING:
    from sae.experiments.plan import Kind
    from sae.training.settings import Setting


def pick_settings(kind: Kind, factors: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Settings that differ from the recipes' or the experiment's, and under a fold what the runs are trained with."""
    changed: dict[str, Any] = {}
    with st.expander("Settings: what the runs are trained with, and what you change for all of them", key="settings"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if choices := train_form.architectures_for(kind):
                with st.container(width=230):
                    usual = train_form.architecture_of(kind, {})
                    architecture = pick_choice(
                        "Architecture", choices, name="architecture", default=usual,
                        help="A recipe that sets what this one does not have is refused, and what that is said.",
                    )  # fmt: skip
                if architecture not in (None, usual):
                    changed["architecture"] = architecture
            offered = train_form.settable(kind, changed)
            names = pick_many("Change", list(offered), name="change", placeholder="Leave everything as it is")
        if names:
            with st.container(horizontal=True, vertical_alignment="bottom"):
                for name in names:
                    with st.container(width=190):
                        changed[name] = _pick(offered[name])
        st.dataframe(train_form.settings_table(kind, factors, changed), hide_index=True, height=240)
    return changed


def _pick(setting: Setting) -> Any:
    name, key, meaning = setting.name, f"set_{setting.name}", setting.meaning or None
    if setting.choices:
        return pick_choice(name, setting.choices, name=key, default=setting.default, help=meaning)
    if setting.kind is bool:
        return pick_switch(name, name=key, default=setting.default, help=meaning)
    default = setting.default if isinstance(setting.default, str) else f"{setting.default:g}"
    return pick_text(name, name=key, default=default, help=meaning)
