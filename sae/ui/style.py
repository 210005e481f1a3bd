"""The one thing that the theme in .streamlit/config.toml can't say."""

from __future__ import annotations

import streamlit as st

# A dark theme has one accent for filled buttons, whose words are white, and for the words of a chosen segment, which
# stand on ink: no colour reads well (4.5 to 1) in both places. The chosen segment takes the colour of links.
_DARK = '<style>[data-testid="stButtonGroup"] button[data-selected="true"] p { color: #8cbbe3 }</style>'


def apply() -> None:
    """Call once a run, in app.py."""
    if st.context.theme.type == "dark":
        st.html(_DARK)
