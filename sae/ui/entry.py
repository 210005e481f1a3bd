"""Makes every visit enter through app.py.

While a folder `pages` stands beside app.py, Streamlit runs the file of a page by itself (and draws a navigation of its
own) until `st.navigation` has been called once in the server's life: an address opened first thing after a start would
miss app.py and its role check. Whoever is run so switches that off and runs again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

LOOK: dict[str, Any] = {
    "page_title": "SAE Workbench",
    # A file of ours: a named icon would be fetched from the network.
    "page_icon": str(Path(__file__).with_name("icon.svg")),
    "layout": "wide",
    "initial_sidebar_state": 210,
}


def through_app() -> None:
    """Call first in app.py and in every page's head; costs nothing but in the first run of a server."""
    st.set_page_config(**LOOK)
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()
