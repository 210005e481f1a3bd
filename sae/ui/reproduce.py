"""Shows the command and the Python that make a figure again, with the hashes and versions that it was made from."""

from __future__ import annotations

import streamlit as st

from sae.report.recipes import Reproduce, experiment_command, hashes, measurement_command, of_run

__all__ = ["Reproduce", "experiment_command", "hashes", "measurement_command", "of_run", "show"]


def show(reproduce: Reproduce) -> None:
    """The recipes, hashes and versions, to copy. Plain: Streamlit's syntax colours are too pale on paper."""
    st.markdown("**Command**")
    st.code(reproduce.command, language=None, wrap_lines=True)
    st.markdown("**Python**")
    st.code(reproduce.python, language=None, wrap_lines=True)
    if reproduce.reads:
        st.markdown("**Read from** (SHA-256)")
        lines = [f"{digest}  {name}" for name, digest in reproduce.reads.items()]
        st.code("\n".join(lines), language=None, wrap_lines=True)
    st.markdown("**Versions**")
    st.code(reproduce.versions, language=None, wrap_lines=True)
