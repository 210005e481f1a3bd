"""SAE Workbench in the browser: `streamlit run app.py`. Navigation, theme and role check; nothing else."""

from pathlib import Path

import streamlit as st

from sae.ui import address, entry, link, sign_in, style
from sae.ui.turn import turn

PAGES = {
    "Workspace": {"home": "Home", "data": "Data", "train": "Train"},
    "Experiments": {
        "grid": "Grid",
        "run": "Run",
        "compare": "Compare",
        "thoughts": "Thoughts",
        "ablations": "Ablations",
        "claims": "Claims",
    },
    "Features": {"features": "Features", "pairs": "Pairs", "wrong": "Right or wrong"},
    "Share": {"share": "Share"},
}

entry.through_app()
here = Path(__file__).parent / "pages"
groups = {
    group: [
        st.Page(here / f"{stem}.py", title=title, url_path=stem, default=stem == "home")
        for stem, title in pages.items()
    ]
    for group, pages in PAGES.items()
}
style.apply()
page = st.navigation(groups, position="hidden")
sign_in.ask()
link.begin(page.url_path)
if link.alone() is None:
    with st.sidebar:
        st.markdown("**SAE Workbench**")
        # Streamlit's own list of sections is not a list to a screen reader; these are links.
        for group, links in groups.items():
            with st.container(gap="xxsmall", key=f"navigation_{group.lower()}"):
                st.caption(group)
                for one in links:
                    st.page_link(one)
        sign_in.say()
address.catch_up()
with turn():
    page.run()
address.write()
link.end()
