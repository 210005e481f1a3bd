"""What the card of a feature is worked out from, kept for all visitors who open it: nobody may write to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from sae.ui import loaded

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sae.analysis.codes import FeatureActivations
    from sae.analysis.distributions import ActivationHistogram
    from sae.workspace.runs import RunFolder


def histogram(run: RunFolder, feature: int) -> ActivationHistogram:
    """`sae.analysis.distributions.activation_histogram` of the feature."""
    return _histogram(*_key(run), feature, loaded.codes(run))


def partners(run: RunFolder, feature: int, n: int) -> pd.DataFrame:
    """`sae.analysis.pairs.top_partners` of the feature."""
    return _partners(*_key(run), feature, n, loaded.codes(run))


class BaseRates(NamedTuple):
    """In how many labelled examples a feature is active, at most, and the labels whose share among them has the support
    it needs and lies farthest from the base rate."""

    n_active: int
    farthest: pd.DataFrame


def base_rates(run: RunFolder, feature: int, n: int = 12) -> BaseRates | None:
    """The `n` lines of `sae.analysis.examples.base_rates` of the feature over its run's labels that lie farthest off;
    None where there are no labels."""
    labels = loaded.label_table(run)
    if labels.empty:
        return None
    data = run.config["data"]
    return _base_rates(
        *_key(run), data["activations"], data["sha256"], feature, n, loaded.codes(run), labels,
        loaded.examples_by_row(run),
    )  # fmt: skip


def _key(run: RunFolder) -> tuple[str, int]:
    return str(run.folder), loaded.modified(run, "codes.safetensors")


@st.cache_resource(max_entries=512, show_spinner=False)
def _histogram(folder: str, modified: int, feature: int, _codes: FeatureActivations) -> ActivationHistogram:
    from sae.analysis.distributions import activation_histogram

    return activation_histogram(_codes, feature)


@st.cache_resource(max_entries=512, show_spinner=False)
def _partners(folder: str, modified: int, feature: int, n: int, _codes: FeatureActivations) -> pd.DataFrame:
    from sae.analysis.pairs import top_partners

    return top_partners(_codes, feature, n)


@st.cache_resource(max_entries=512, show_spinner=False)
def _base_rates(
    folder: str, modified: int, activations: str, sha256: str, feature: int, n: int,
    _codes: FeatureActivations, _labels: pd.DataFrame, _example: np.ndarray,
) -> BaseRates | None:  # fmt: skip
    from sae.analysis.examples import base_rates

    found = base_rates(_codes, feature, _labels, example=_example)
    if found.empty:
        return None
    enough = found[found["enough"]]
    order = enough["difference"].abs().sort_values(ascending=False, kind="stable").index[:n]
    table = enough.loc[order]
    return BaseRates(int(found["n_active"].max()), table.assign(value=table["value"].astype(str)))
