"""The examples of a feature's card: which rows, their text, and where in it the feature is active."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from sae.analysis.examples import feature_examples
from sae.capture.conventions import step_name
from sae.report.examples import Source, one_example
from sae.report.words import is_thoughts, supervised
from sae.ui import empty, example_filters, loaded, page

if TYPE_CHECKING:
    import pandas as pd

    from sae.capture.store import Slice
    from sae.figures.tokens import Example
    from sae.workspace.runs import RunFolder


def strata(
    run: RunFolder,
    feature: int,
    per_stratum: int,
    pre_activation: np.ndarray | None = None,
    keep: np.ndarray | None = None,
) -> pd.DataFrame:
    """`sae.analysis.examples.feature_examples` of a run: row, example, activation, stratum.

    Args:
        keep: bool [n_rows], the rows to draw from; None: all.
    """
    return feature_examples(
        loaded.codes(run),
        feature,
        example=loaded.examples_by_row(run),
        per_stratum=per_stratum,
        pre_activation=pre_activation,
        keep=keep,
    )


def pick_rows(run: RunFolder) -> np.ndarray | None:
    """bool [n_rows]: rows of the problems that the visitor's filter leaves; None where it leaves all, or can't be."""
    examples = loaded.slice_of(run).activations.examples
    if not example_filters.known(examples).anything:
        return None
    with st.popover("Filter", icon=":material/filter_list:", key="card_filter"), st.container(horizontal=True):
        wanted = example_filters.pick(examples)
    return None if wanted.all() else wanted[loaded.examples_by_row(run)]


def thoughts_link(run: RunFolder, feature: int) -> None:
    """The way to one feature over layers and steps of thinking, where its rows are such steps."""
    data = run.config["data"]
    if run.config.get("experiment") and None not in (data.get("layer"), data.get("position")):
        with page.errors_shown("reading the activations"):
            if is_thoughts(loaded.slice_of(run).activations.manifest):
                empty.link("thoughts", "Over thoughts", view="feature", run=run.id, feature=feature)


def row_note(piece: Slice) -> str:
    """What one row of a slice is whose examples have one row each, and what must be said of the model."""
    manifest = piece.activations.manifest
    if is_thoughts(manifest) and piece.position is not None:
        where = f"{piece.layer_words}, step {piece.position} ({step_name(piece.position)})"
        said = (
            f"One row an example: the hidden state at {where}, whose chip is marked. A chip is what its step reads as."
        )
        return f"{said} {supervised(manifest)}".strip()
    end = ", the hidden state at the end of the text." if manifest.get("positions") == "last" else "."
    return f"One row an example: the activation is that of the whole row{end}"


def shown(run: RunFolder, feature: int, lines: pd.DataFrame) -> list[Example]:
    """Lines of `strata` as the token strip draws them."""
    source = Source(
        loaded.codes(run), loaded.slice_of(run), loaded.splits_by_row(run), partial(loaded.rows_of_example, run),
        partial(_in_thoughts, run),
    )  # fmt: skip
    return [
        one_example(source, feature, int(row), int(example), float(activation))
        for row, example, activation in zip(lines["row"], lines["example"], lines["activation"], strict=True)
    ]


def _in_thoughts(run: RunFolder, example: int) -> str:
    """The address of a problem on the Thoughts page, under the run's configuration; "" for an SAE from elsewhere."""
    if not run.config.get("experiment"):
        return ""
    return "thoughts?" + urlencode({"view": "problem", "run": run.id, "example": example})
