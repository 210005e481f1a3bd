"""What the Data page says of thoughts: their convention, how much each layer and step varies, one problem's steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.capture.conventions import step_name
from sae.ui import page
from sae.ui.panel import table_panel
from sae.ui.reproduce import Reproduce
from sae.ui.thought_chips import StepShown, thought_steps
from sae.ui.thought_words import SAID, read_thoughts, slice_text, supervised
from sae.ui.words import number, plain

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Activations


def notes(activations: Activations) -> None:
    """The convention, and how the model was trained."""
    said = plain(SAID["seed"])
    if more := supervised(activations.manifest):
        said += f" **{plain(more)}**"
    st.caption(said)


def slices(activations: Activations) -> pd.DataFrame:
    """`sae.capture.slices_table`, kept for the array's hash."""
    return _slices(str(activations.folder), str(activations.manifest["sha256"]))


@st.cache_data(max_entries=32, show_spinner=False)
def _slices(folder: str, sha256: str) -> pd.DataFrame:
    from sae.capture import Activations, slices_table

    return slices_table(Activations.open(Path(folder)))


def by_layer_and_step(table: pd.DataFrame) -> pd.DataFrame:
    """A line a layer, a column a step (`0 BOT`, `1 z1`, ...): what varies in per cent, near-constant slices named."""
    shown = table.assign(
        step=[f"{step} {step_name(step)}" for step in table["position"]],
        said=[
            f"{100 * share:.2g} % (near-constant)" if constant else f"{100 * share:.1f} %"
            for share, constant in zip(table["varying"], table["near_constant"], strict=True)
        ],
    )
    wide = shown.pivot(index="layer", columns="step", values="said")
    return wide[list(dict.fromkeys(shown["step"]))].reset_index().rename(columns={"layer": "Layer"})


def near_constant(table: pd.DataFrame) -> str:
    """Which slices hardly differ from their mean; empty if none."""
    found = table[table["near_constant"]]
    named = ", ".join(slice_text(line.layer, line.position, "seed") for line in found.itertuples())
    if not named:
        return ""
    return f"Near-constant: {named}. Explained variance is high there whatever is trained, and says little."


def panel(activations: Activations) -> None:
    """The table of layers and steps, with what is near-constant."""
    with page.errors_shown("measuring the slices"):
        with st.spinner("Reading the slices"):
            table = slices(activations)
        if said := near_constant(table):
            st.warning(plain(said))
        name = activations.name
        table_panel(
            by_layer_and_step(table),
            key="slices",
            title="How much varies",
            n=f"{int(table['rows'].max()):,} rows a slice",
            filename=f"{name}-slices",
            meaning="By layer and step of thinking: the share of the rows' mean square that their mean does not hold.",
            formula=r"$$\frac{\operatorname{tr} C}{\operatorname{mean} \lVert x \rVert^2}$$ with the covariance $C$ of "
            "the rows $x$. Near-constant: the rows lie within 5 % of the size of their mean, root mean square.",
            reproduce=Reproduce(
                f"python -m sae activations show {name}",
                "from sae.capture import slices_table\nfrom sae.workspace import Workspace\n\n"
                f'slices_table(Workspace.at().open_activations("{name}"))',
                {f"activations/{name}/activations.npy": str(activations.manifest["sha256"])},
            ),
        )


def chips(line: Any) -> None:
    """What each step of thinking about a problem read as."""
    words = read_thoughts(line.get("thoughts"))
    if not words:
        st.caption("The model did not think about this problem: see the skipped ones under Overview.")
        return
    note = ""
    if (found := line.get("answer_log_prob")) is not None and found == found:
        note = f" Log-probability of the model's answer: {number(float(found), 2)} nats."
    st.caption(f"What each step of thinking about problem {line['example']} reads as through the head.{note}")
    steps = [StepShown(step_name(step), str(step), read) for step, read in enumerate(words)]
    thought_steps(steps, key=f"chips_{line['example']}", theme=page.theme())


def skipped(activations: Activations) -> None:
    """Problems that have no rows, and why; folded."""
    import pandas as pd

    found = activations.manifest.get("skipped")
    if found:
        were = "problem was" if len(found) == 1 else "problems were"
        with st.expander(f"{len(found):,} {were} skipped"):
            st.dataframe(
                pd.DataFrame(found), hide_index=True, height=min(38 + 35 * len(found), 300),
                column_config={
                    "example": st.column_config.NumberColumn("No.", width=60),
                    "tokens": st.column_config.NumberColumn("Tokens", width=60),
                    "reason": st.column_config.TextColumn("Reason"),
                },
            )  # fmt: skip
