"""Defining an experiment in YAML, from one that is there; for the Train page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.common.errors import UserError
from sae.experiments.definition import FIELDS, LARGEST, definition_of, to_yaml
from sae.ui import address, page, role
from sae.ui.words import plain
from sae.workspace.kinds import keep_definition, unreadable

if TYPE_CHECKING:
    from sae.experiments.plan import Kind
    from sae.workspace import Workspace


def show(workspace: Workspace, kind: Kind) -> None:
    """Draw the form, closed; it starts from `kind`."""
    for problem in unreadable(workspace):
        st.caption(f":material/warning: {plain(problem)}")
    if not role.may_change():
        return
    with st.expander("Define an experiment of your own"):
        st.caption(
            f"In YAML, with the fields of the built-in ones: {', '.join(FIELDS)}. It starts as a copy of what is "
            "chosen above; give it a name of its own. It is kept in the workspace, and with what is trained from it."
        )
        copy = {**definition_of(kind), "name": f"my-{kind.name}"[:60], "title": f"{kind.title}, mine"}
        text = st.text_area("Definition", to_yaml(copy), height=300, key=f"define_{kind.name}")
        given = st.file_uploader("Or upload a file", type=["yaml", "yml"], key="define_file")
        if st.button("Keep it", key="define_keep"):
            with page.errors_shown("reading the definition"):
                role.require_change()
                content, name = text, "the definition"
                if given is not None:
                    if given.size > LARGEST:
                        raise UserError(f"{given.name} is larger than {LARGEST:,} bytes: that is no definition")
                    content, name = given.getvalue().decode("utf-8", "replace"), given.name
                address.choose(kind=keep_definition(workspace, content, name))
                st.rerun()
