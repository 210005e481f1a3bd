"""SAE Workbench in the browser: `streamlit run app.py`. Navigation, theme and role check; nothing else."""

from pathlib import Path

import streamlit as st

from sae.ui import address, role

PAGES = {
    "Workspace": {"home": "Home", "data": "Data", "train": "Train"},
    "Experiments": {"grid": "Grid", "run": "Run", "claims": "Claims"},
    "Features": {"features": "Features", "pairs": "Pairs"},
}

st.set_page_config(page_title="SAE Workbench", page_icon=":material/grid_on:", layout="wide")
here = Path(__file__).parent / "pages"
page = st.navigation(
    {
        group: [
            st.Page(here / f"{stem}.py", title=title, url_path=stem, default=stem == "home")
            for stem, title in pages.items()
            if (here / f"{stem}.py").exists()
        ]
        for group, pages in PAGES.items()
    }
)
if not role.may_change():
    st.sidebar.caption("Read-only: this server shows the workspace and changes nothing in it.")
page.run()
address.write()
