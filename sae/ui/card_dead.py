"""What a dead feature's card says: how near it came to being selected, where, and when it was last alive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from sae.ui import loaded, page
from sae.ui.words import share

if TYPE_CHECKING:
    from sae.analysis.near import Nearness
    from sae.workspace.runs import RunFolder


def _pre_activation(run: RunFolder, feature: int) -> np.ndarray:
    from sae.analysis.near import pre_activation

    weights = loaded.weights(run)
    rows, b_dec = _encoder_rows(str(run.folder), (run.folder / "weights.safetensors").stat().st_mtime_ns)
    return pre_activation(rows, weights["W_enc"], weights["b_enc"], feature, b_dec)


@st.cache_resource(max_entries=2, show_spinner="Reading rows as the encoder sees them")
def _encoder_rows(folder: str, modified: int) -> tuple[np.ndarray, np.ndarray | None]:
    from sae.workspace.encoder_rows import encoder_rows
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    return encoder_rows(run, loaded.slice_of(run).x)


def _nearness(run: RunFolder, feature: int) -> Nearness:
    from sae.analysis.near import nearness

    model = run.config["model"]
    signed = model.get("selection", "signed") == "signed"
    # Bits are on above the threshold, which is 0 before the sigmoid; or they are the K strongest.
    bits = model["architecture"] == "binary"
    k = None if bits and model["code"] == "threshold" else model.get("k")
    weakest = _weakest(str(run.folder), (run.folder / "codes.safetensors").stat().st_mtime_ns) if bits and k else None
    threshold = loaded.weights(run).get("threshold")
    if threshold is not None:  # of each feature, or one for all
        own = float(np.broadcast_to(threshold, model["d_sae"])[feature])
        weakest = np.full(loaded.codes(run).n_rows, max(own, 0.0))
    return nearness(loaded.codes(run), _pre_activation(run, feature), k, signed, weakest)


@st.cache_resource(max_entries=8, show_spinner="Reading what each row selected")
def _weakest(folder: str, modified: int) -> np.ndarray:
    from sae.analysis.near import weakest_selected
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    weights = loaded.weights(run)
    return weakest_selected(loaded.codes(run), loaded.slice_of(run).x, weights["W_enc"], weights["b_enc"])


def closeness(run: RunFolder, feature: int) -> np.ndarray:
    """[n_rows]: the larger, the less it took for the feature to be selected there."""
    short = _nearness(run, feature).short
    return short.max(initial=0.0) - short


def show(run: RunFolder, feature: int, line: pd.Series) -> None:
    """How near a dead feature came, and when it was last alive."""
    words = ["This feature is dead."]
    if "last_fired_row" in line and pd.notna(line["last_fired_row"]):
        fired = int(line["last_fired_row"])
        rows = max(int(run.config["data"]["rows"].get("train", 0)), 1)
        words.append(
            f"In training it was last selected after {fired:,} rows (epoch {fired / rows:.1f})."
            if fired
            else "In training it was never selected."
        )
    with page.errors_shown("reading how near it came"):
        near = _nearness(run, feature)
        if near.row >= 0:
            words.append(
                f"It came nearest on row {near.row:,}: {near.value:.3g} before the selection, where {near.needed:.3g} "
                f"was needed. Above 0 on {share(near.positive)} of the rows."
            )
    if line["nearest_feature"] >= 0:
        words.append("Its nearest living neighbour may do its work.")
    st.info(" ".join(words))
