"""The card's sentence about the label that a feature goes with."""

import numpy as np
import pytest

from sae.ui.goes_with import chance, sentence

NOTES = {"least_active": 20, "n_labels": 143}
LINE = {
    "tested": True, "confirmed": True, "n_confirmed": 1, "label": "uses *division*", "heldout_precision": 0.9124,
    "heldout_recall": 0.403, "heldout_base_rate": 0.2211, "heldout_n_active": 1312.0, "q": 1.4e-9,
}  # fmt: skip


def test_what_is_confirmed_with_both_halves_numbers() -> None:
    assert sentence(LINE, NOTES) == (
        r"Goes with: **uses \*division\*** (held-out half: precision 91.2 %, recall 40.3 %, base rate 22.1 %, n 1,312; "
        "found on the other half, q = 1e-9)."
    )
    assert sentence({**LINE, "n_confirmed": 3}, NOTES).endswith("q = 1e-9; 2 more labels confirmed).")
    assert sentence({**LINE, "n_confirmed": 2}, NOTES).endswith("; 1 more label confirmed).")


def test_what_is_not() -> None:
    line = {**LINE, "confirmed": False, "n_confirmed": 0}
    assert sentence(line, NOTES) == "Goes with: no label of 143 passes on both halves."
    assert "fewer than 20 examples" in sentence({**line, "tested": False, "q": np.nan}, NOTES)


@pytest.mark.parametrize(("q", "said"), [
    (0.0, "q < 1e-300"), (1e-310, "q < 1e-300"), (2.3e-17, "q = 2e-17"), (0.00042, "q = 4e-4"), (0.0131, "q = 0.013"),
])  # fmt: skip
def test_small_numbers(q: float, said: str) -> None:
    assert chance(q) == said
