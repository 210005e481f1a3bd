"""One SAE in another tool's format, as a zip with its model card; where a format can't hold it, why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.formats import forms
from sae.ui import page, reproduce
from sae.ui.panel import table_panel
from sae.ui.pickers import pick_choice
from sae.ui.words import bytes_text, plain
from sae.workspace.exports import size_of

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

#: Streamlit keeps a download in the server's memory.
LARGEST_DOWNLOAD = 1 << 30


def show(run: RunFolder) -> None:
    """Choose a format, see what becomes of this SAE in it, and download it; below, what every format holds.

    Draws one choice that stands in the address as `format`.
    """
    described = run.config["model"]
    refused = {name: forms.why_not(name, described) for name in forms.WRITTEN}
    able = [name for name, reason in refused.items() if reason is None]
    chosen = pick_choice(
        "Format", list(forms.WRITTEN), name="format", start=able[0] if able else None,
        format=lambda name: forms.WRITTEN[name].split(":")[0], look="buttons",
    )  # fmt: skip
    name = chosen or next(iter(forms.WRITTEN))
    if refused[name]:
        others = ", ".join(forms.WRITTEN[one].split(":")[0] for one in able)
        st.info(plain(f"{refused[name]}. {f'It fits {others}' if others else 'No format here can hold it'}."))
    else:
        _offer(run, name)
    _table(forms.kind_of(described))


def _offer(run: RunFolder, name: str) -> None:
    form = forms.form_of(name, run.config["model"])
    files = forms.WRITTEN[name].partition(": ")[2]
    said = f"It becomes {form.name}, as {files}, with a README.md that says what it was trained on and how good it is."
    st.caption(plain(said))
    for change in form.changes:
        st.caption(plain(f"{change[:1].upper()}{change[1:]}."))
    command = f"export {run.id} --format {name} --out {run.id}-{name}"
    with st.container(horizontal=True, vertical_alignment="center"):
        with page.errors_shown("looking for the weights"):
            size = size_of(run)
            if size <= LARGEST_DOWNLOAD:
                st.download_button(
                    f"Download, {bytes_text(size)}", lambda: _zip(run, name), file_name=f"{run.id}-{name}.zip",
                    mime="application/zip", key="export_zip", on_click="ignore", type="primary",
                )  # fmt: skip
            else:
                st.caption(plain(f"Its weights are {bytes_text(size)}, too large for a browser: give the command."))
        with st.popover(":material/terminal: Command", type="tertiary", help="Reproduce, and upload to the hub"):
            reproduce.show(
                reproduce.of_run(
                    run, command,
                    "from pathlib import Path\nfrom sae.workspace.exports import export_run\n\n"
                    f'export_run(run.workspace, run.folder, "{name}", Path("{run.id}-{name}"))',
                )
            )  # fmt: skip
            st.markdown("**To the Hugging Face hub**, with a token in `HF_TOKEN`")
            st.code(f"python -m sae {command} --push-to-hub OWNER/NAME", language=None, wrap_lines=True)


def _zip(run: RunFolder, name: str) -> bytes:
    from sae.workspace.exports import export_zip

    return export_zip(page.workspace(), run, name)


def _table(kind: str) -> None:
    lines = forms.table()
    table = pd.DataFrame(sorted(lines, key=lambda line: line["SAE"] != kind))
    table_panel(
        table, key="export_formats", title="What each format holds",
        meaning="What it calls an SAE of each kind, or why it can't hold one; this run's kind stands first. With "
        "lateral inhibition none can.",
        filename="formats",
        columns={"SAE": "SAE", **{name: forms.WRITTEN[name].split(":")[0] for name in forms.WRITTEN}},
    )  # fmt: skip
