"""Which problems to look at: answered right or wrong, how many steps, which operations. All in the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from sae.ui import pickers
from sae.ui.data_view import ANY, RIGHT
from sae.ui.once import once

if TYPE_CHECKING:
    import pandas as pd

OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}


class Known(NamedTuple):
    """What is known about problems that they can be chosen by."""

    anything: bool
    answers: bool
    steps: list[int]
    operations: list[str]


def known(examples: pd.DataFrame) -> Known:
    """Of examples that nobody writes to."""
    return once(_known, examples)


def _known(examples: pd.DataFrame) -> Known:
    here = [name for name in ("correct", "n_steps", "operations") if name in examples and examples[name].notna().any()]
    steps = sorted({int(n) for n in examples["n_steps"].dropna()}) if "n_steps" in here else []
    written = "".join(examples["operations"].dropna().astype(str).unique()) if "operations" in here else ""
    return Known(bool(here), "correct" in here, steps, [sign for sign in OPERATIONS if sign in written])


def pick(examples: pd.DataFrame) -> np.ndarray:
    """bool [n_examples]: the problems that the visitor asks for; all of them at first."""
    right = steps = operation = ANY
    here = known(examples)
    if here.answers:
        with st.container(width=130):
            right = pickers.pick_choice(
                "Answered", list(RIGHT), name="answered", default=ANY, format=RIGHT.__getitem__
            ) or ANY  # fmt: skip
    if "n_steps" in examples:
        with st.container(width=90):
            steps = pickers.pick_choice("Steps", [ANY, *map(str, here.steps)], name="steps", default=ANY) or ANY
    if "operations" in examples:
        with st.container(width=135):
            operation = pickers.pick_choice(
                "Operation", [ANY, *here.operations], name="operation", default=ANY,
                format=lambda sign: OPERATIONS.get(sign, "any"),
            ) or ANY  # fmt: skip
    return chosen(examples, right, steps, operation)


def chosen(examples: pd.DataFrame, right: str = ANY, steps: str = ANY, operation: str = ANY) -> np.ndarray:
    """bool [n_examples]: those that fit. A problem of which something is not known fits only where it may be anything.

    Args:
        right: `right`, `wrong` or `any`.
        steps: a number of steps, as text.
        operation: one of `OPERATIONS` that must occur in its steps.
    """
    kept = np.ones(len(examples), bool)
    if right != ANY:
        known = examples["correct"].astype("boolean")
        kept &= (known == (right == "right")).fillna(False).to_numpy(bool)
    if steps != ANY:
        kept &= (examples["n_steps"] == int(steps)).fillna(False).to_numpy(bool)
    if operation != ANY:
        kept &= examples["operations"].fillna("").astype(str).str.contains(operation, regex=False).to_numpy(bool)
    return kept
