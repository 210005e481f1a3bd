"""What the theme in .streamlit/config.toml can't say."""

from __future__ import annotations

import streamlit as st

# A dark theme has one accent for filled buttons, whose words are white, and for the words of a chosen segment, which
# stand on ink: no colour reads well (4.5 to 1) in both places. The chosen segment takes the colour of links.
_DARK = '<style>[data-testid="stButtonGroup"] button[data-selected="true"] p { color: #8cbbe3 }</style>'

# Streamlit keeps the height of its toolbar free above a page, and paints it; the toolbar itself takes the right end.
# The tools of a panel: small icons side by side, without the arrows that say "opens something", which every one does.
_PLACE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 1.75rem }
[data-testid="stHeader"] { background: transparent; pointer-events: none }
[data-testid="stHeader"] [data-testid="stToolbar"] { pointer-events: auto }
[class*="_tools"] [data-testid="stPopoverButton"] { padding: 0 .3rem; min-height: 1.75rem; opacity: .75; }
[class*="_tools"] [data-testid="stPopoverButton"]:is(:hover, :focus-visible, [aria-expanded="true"]) { opacity: 1; }
[class*="_tools"] [data-testid="stPopoverButton"] > div > div[aria-hidden="true"] { display: none; }
</style>"""


def apply() -> None:
    """Call once a run, in app.py."""
    st.html(_PLACE)
    if st.context.theme.type == "dark":
        st.html(_DARK)
