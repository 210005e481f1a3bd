"""What must hold for the numbers of a run to mean what they say, as one light and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.ui import page
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

_LIGHTS = {
    True: (":green[:material/check_circle:]", "holds"),
    False: (":red[:material/error:]", "does not hold"),
    None: (":gray[:material/circle:]", "does not apply"),
}


def lights(run: RunFolder) -> None:
    """What must hold for the numbers of this run to mean what they say: one light for all, and each behind it."""
    with page.errors_shown("checking the run"):
        found = _checked(str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns)
        failed = sum(check.holds is False for check in found)
        said = f"{failed} of {len(found)} self-checks do not hold" if failed else "All self-checks hold"
        with st.popover(f"{_LIGHTS[not failed][0]} {said}", width="content"):
            for check in found:
                light, word = _LIGHTS[check.holds]
                st.markdown(f"{light} **{plain(check.name)}**: {word}  \n{plain(check.found)}")


def table(run: RunFolder) -> None:
    """The same as a table."""
    with page.errors_shown("checking the run"):
        found = _checked(str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns)
        failed = sum(check.holds is False for check in found)
        st.markdown(f"**Self-checks**: {f'{failed} of {len(found)} do not hold' if failed else 'all hold'}")
        st.dataframe(
            [{"check": check.name, "result": _LIGHTS[check.holds][1], "found": check.found} for check in found],
            hide_index=True, alt="Self-checks of the run",
            column_config={
                "check": "Check", "result": st.column_config.TextColumn("Result", width=110), "found": "Found",
            },
        )  # fmt: skip


@st.cache_resource(max_entries=32, show_spinner="Checking the run")
def _checked(folder: str, modified: int) -> list[Any]:
    from pathlib import Path

    from sae.workspace.checks import run_checks
    from sae.workspace.runs import RunFolder

    return run_checks(page.workspace(), RunFolder(Path(folder)))
