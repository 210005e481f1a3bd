"""The strongest example of each feature as an extra column; where the activations are gone, that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.common.errors import UserError
from sae.ui import loaded
from sae.ui.words import plain

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder


def strongest_texts(run: RunFolder) -> list[str]:
    """For each feature the beginning of its strongest example, "" where there is none.

    A run can outlive the activations that it was trained on: then a caption says so here, and all texts are "".
    """
    try:
        texts = loaded.top_texts(run)
    except UserError as error:
        st.caption(f"No examples beside the features: {plain(error)}")
        return [""] * len(loaded.features(run))
    return [line[0] if line else "" for line in texts]
