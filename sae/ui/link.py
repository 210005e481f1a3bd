"""Links to a view: Copy link on a page and on each panel, and a panel that stands alone (`?panel=KEY`).

On a server for several people a link begins with its public address, and says of whom to ask for what is missing. On
one's own machine it works there alone, so the view itself can be sent: a bundle that opens on it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from sae.ui import address, page, role
from sae.ui.words import plain
from sae.workspace.server_config import server_config

if TYPE_CHECKING:
    from sae.workspace import Workspace

PANEL = "panel"
_PAGE, _DRAWN, _MISSED = "_link_page", "_link_panels", "_link_missed"
_KEY = re.compile(r"\w{1,80}", re.ASCII)


def begin(stem: str) -> None:
    """Called by app.py before the page, whose stem it is; '' for the one at the root."""
    st.session_state[_PAGE] = stem
    st.session_state[_DRAWN] = set()


def end() -> None:
    """Called by app.py after the page: leaves, where one panel is wanted, just that, or says that there is none."""
    wanted = alone()
    missed = st.session_state.pop(_MISSED, None)
    if missed is not None:
        page.note(f"This view has no panel {missed!r}: it shows all of them.")
    if wanted is None:
        return
    if wanted not in st.session_state[_DRAWN]:
        address.choose(drop=[PANEL])
        st.session_state[_MISSED] = wanted
        st.rerun()
    with st.container(key="panel_whole_view"):
        st.markdown(f"[Whole view]({link()})")
    # By `alone`, `wanted` is letters, digits and underscores.
    shown = [f".st-key-panel_{wanted}", ".st-key-panel_whole_view"]
    others = "".join(f":not({one}):not({one} *):not(:has({one}))" for one in shown)
    main = '[data-testid="stMainBlockContainer"]'
    st.html(
        f'<style>{main} *{others}, [data-testid="stHeader"] {{ display: none }}{main} {{ padding: .5rem 1rem }}</style>'
    )


def alone() -> str | None:
    """The panel that the address wants to stand alone; None for a whole page."""
    wanted = address.get(PANEL)
    return wanted if wanted and _KEY.fullmatch(wanted) else None


def hidden(panel: str) -> bool:
    """Whether this panel is not the one that is wanted alone; notes that it is on the page."""
    st.session_state.setdefault(_DRAWN, set()).add(panel)
    return alone() not in (None, panel)


@contextmanager
def panel(name: str) -> Iterator[None]:
    """What is drawn inside can be linked to as panel `name`."""
    st.session_state.setdefault(_DRAWN, set()).add(name)
    with st.container(key=f"panel_{name}", gap="xxsmall"):
        yield


def of_page() -> None:
    """The page's own Copy link."""
    with st.popover(":material/link:", type="tertiary", key="link_page", help="Copy link", on_change="rerun") as shown:
        if shown.open:
            _offer(None)


def of_panel(name: str) -> None:
    """A panel's Copy link, among its tools."""
    with st.popover(
        ":material/link:", type="tertiary", key=f"{name}_link", help="Copy link", on_change="rerun"
    ) as shown:
        if shown.open:
            _offer(name)


def _offer(panel: str | None) -> None:
    url = link(panel)
    st.markdown("**Link to this panel**" if panel else "**Link to this view**")
    st.code(url, language=None, wrap_lines=True)
    if server_config() is None and role.at_this_machine():
        st.caption("It works on this machine only, as long as the app runs here.")
        _send(page.workspace())
    else:
        st.caption("It opens this view for whoever may look at this server.")
    if panel:
        st.caption("To show it inside of another page:")
        frame = f'<iframe src="{escape(link(panel, embed=True))}" width="900" height="520"></iframe>'
        st.code(frame, language=None, wrap_lines=True)


def link(panel: str | None = None, *, embed: bool = False) -> str:
    """The address of the view as it stands, from the scheme on.

    Args:
        panel: one panel of it, alone.
        embed: without Streamlit's own bar.

    Raises:
        UserError: if the server's configuration is wrong.
    """
    further = [(PANEL, panel)] if panel else []
    config = server_config()
    if config is None:
        own = urlsplit(st.context.url or f"http://127.0.0.1:{st.get_option('server.port')}")
        base = f"{own.scheme}://{own.netloc}/{str(st.get_option('server.baseUrlPath') or '').strip('/')}"
    else:
        base = config.public_address
        sender = config.contact or role.visitor()
        further += [(address.SENDER, sender)] if sender else []
    if embed:
        further.append(("embed", "true"))
    query = _query(further)
    return f"{base.rstrip('/')}/{st.session_state.get(_PAGE, '')}{'?' if query else ''}{query}"


def view() -> str:
    """The same as `page?choices`, which is how a bundle keeps what it opens on."""
    query = _query([])
    return f"{st.session_state.get(_PAGE) or 'home'}{'?' if query else ''}{query}"


def _query(further: list[tuple[str, str]]) -> str:
    own = [(name, value) for name in st.query_params for value in st.query_params.get_all(name)]
    return urlencode([pair for pair in own if pair[0] not in (PANEL, address.SENDER)] + further, quote_via=quote)


def shown_names(workspace: Workspace) -> list[str]:
    """The runs and the experiment that the address names and that are here: what a bundle of this view holds."""
    asked = [*address.get_all("run"), *address.get_all("runs")]
    runs = [run for run in dict.fromkeys(asked) if run and (workspace.root / "runs" / run / "metrics.json").exists()]
    if runs:
        return runs
    experiments = {experiment.name for experiment in workspace.experiments()}
    return [name for name in dict.fromkeys(address.get_all("experiment")) if name in experiments]


def _send(workspace: Workspace) -> None:
    names = shown_names(workspace)
    if not names:
        st.caption("To send it, open a run or an experiment: a view without one has nothing to bundle.")
        return
    said = plain(names[0]) if len(names) == 1 else f"{len(names)} runs"
    opens_on = view()

    def make() -> bytes:
        return bundle(workspace, names, opens_on)

    st.download_button(
        "Send this view",
        make,
        file_name=f"{names[0]}.zip",
        mime="application/zip",
        key="link_bundle",
        on_click="ignore",
    )
    st.caption(f"A bundle of {said} that opens on this very view: *Open bundle*, or `python -m sae open FILE.zip`.")


def bundle(workspace: Workspace, names: list[str], opens_on: str) -> bytes:
    """The bundle as a file's bytes. Raises UserError if nothing of `names` is finished."""
    from sae.workspace.bundles import make_bundle

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "view.zip"
        make_bundle(workspace, names, path, view=opens_on)
        return path.read_bytes()
