"""The line of a feature's card that says which label it goes with, or that none does."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.common.errors import UserError
from sae.ui import loaded
from sae.ui.words import count, plain, plural, share

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

_HELP = (
    "An example counts as active if any of its rows is. Every feature is tested against every label on one half of the "
    "examples (hypergeometric, false discovery rate {alpha:.0%} over {n_tests:,} tests; q is that of this label), and "
    "what is found there again on the other half, the held-out one. On each half the label's share among active "
    "examples must go {least_gain:.0%} of the way from its base rate to 100 %. Of several labels this is the one of "
    "the largest F1."
)


def show(run: RunFolder, feature: int) -> None:
    """Draw the line; nothing for a dead feature, or where there are no labels to go with."""
    with contextlib.suppress(UserError):  # the table, which reads the same, has said what is wrong
        found = loaded.specificity(run)
        line = found.features.iloc[feature].to_dict()
        if found.notes["n_labels"] and line["n_examples"]:
            st.markdown(sentence(line, found.notes), help=_HELP.format(**found.notes))


def sentence(line: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    """Markdown. `line`: a line of `Specificity.features`; `notes`: its notes."""
    if not line["tested"]:
        return (
            f"Goes with: active in fewer than {count(notes['least_active'])} examples, too few to compare with labels."
        )
    if not line["confirmed"]:
        return f"Goes with: no label of {count(notes['n_labels'])} passes on both halves."
    others = int(line["n_confirmed"]) - 1
    more = f"; {count(others)} more {plural(others, 'label')} confirmed" if others else ""
    return (
        f"Goes with: **{plain(line['label'])}** (held-out half: precision {share(line['heldout_precision'])}, recall "
        f"{share(line['heldout_recall'])}, base rate {share(line['heldout_base_rate'])}, "
        f"n {count(line['heldout_n_active'])}; found on the other half, {chance(line['q'])}{more})."
    )


def chance(q: float) -> str:
    """`q = 0.013`, `q = 2e-9`; what is below the smallest float as `q < 1e-300`."""
    if q < 1e-300:
        return "q < 1e-300"
    if q >= 0.001:
        return f"q = {q:.2g}"
    digits, _, exponent = f"{q:.0e}".partition("e")
    return f"q = {digits}e{int(exponent)}"
