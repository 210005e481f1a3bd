"""Text cut by activation, and colours that can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.figures.tokens import INK, RAMPS, Example, colour, segments, strip_data


def test_runs_without_activation_become_one_piece() -> None:
    text = "Anna has 12 red apples."
    starts, ends = [0, 4, 8, 11, 15, 22], [4, 8, 11, 15, 22, 23]
    assert segments(text, starts, ends, [0, 0, 2.5, 0, 0, 0]) == [
        ("Anna has", 0.0),
        (" 12", 2.5),
        (" red apples.", 0.0),
    ]


def test_neighbours_of_one_value_stay_two_tokens() -> None:
    assert segments("abcd", [0, 2], [2, 4], [1.0, 1.0]) == [("ab", 1.0), ("cd", 1.0)]


def test_bytes_of_one_letter_share_it_and_the_largest_holds() -> None:
    assert segments("a€b", [0, 1, 1, 1, 2], [1, 2, 2, 2, 3], [0, 1, -3, 2, 0]) == [("a", 0.0), ("€", -3.0), ("b", 0.0)]


def test_empty_text_and_tokens_outside_of_it() -> None:
    assert segments("", [], [], []) == []
    assert segments("ab", [5, 0], [9, 40], [1.0, 0.5]) == [("ab", 0.5)]


@given(
    text=st.text(max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    values=st.lists(st.sampled_from([0.0, 0.0, 1.0, -2.0, 3.5]), min_size=12, max_size=12),
)
def test_the_pieces_joined_are_the_text(text: str, cuts: list[int], values: list[float]) -> None:
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    starts, ends = edges[:-1], edges[1:]
    pieces = segments(text, starts, ends, values[: len(starts)])
    assert "".join(piece for piece, _ in pieces) == text
    silent = [value == 0 for _, value in pieces]
    assert not any(a and b for a, b in zip(silent, silent[1:], strict=False))
    at = 0
    for piece, value in pieces:
        for place in range(at, at + len(piece)):
            token = max(i for i, start in enumerate(starts) if start <= place)
            assert values[token] == value
        at += len(piece)


def luminance(shade: str) -> float:
    """WCAG 2.2 relative luminance of `#rrggbb`."""
    parts = [int(shade[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sign", [1, -1])
def test_text_can_be_read_on_every_shade_and_shades_rise(theme, sign) -> None:
    shades = [colour(sign * share, 1.0, theme) for share in np.linspace(0.001, 1, 60)]
    assert min(contrast(shade, INK[theme]) for shade in shades) >= 4.5
    paper = {"light": "#fcfbf8", "dark": "#14171a"}[theme]
    away = [contrast(shade, paper) for shade in shades]
    assert all(b >= a - 0.02 for a, b in zip(away, away[1:], strict=False)) and away[-1] > 1.8
    assert len(RAMPS[theme]) == 2


def test_the_scale_is_the_features_not_the_lists() -> None:
    assert colour(2.0, 4.0) == colour(1.0, 2.0)
    assert colour(9.0, 4.0) == colour(4.0, 4.0)
    assert colour(0.0, 4.0) == "" and colour(1.0, 0.0) == "" and colour(1.0, float("nan")) == ""


def test_what_is_drawn_is_plain_data() -> None:
    examples = [Example("Problem 3", [("<b>x</b>", 0.0), ("12", -1.5)], value=-1.5, details=[("Answer", "#### 4")])]
    data = strip_data(examples, maximum=3.0, theme="dark", signed=True)
    assert json.loads(json.dumps(data)) == data
    (example,) = data["examples"]
    assert example["pieces"][0] == ["<b>x</b>", "", ""]
    assert example["pieces"][1] == ["12", colour(-1.5, 3.0, "dark"), "-1.5"]
    assert example["value"] == "-1.5" and data["low"] == "-3" and data["high"].startswith("3 ")
    assert len(data["ramp"]) == 21 and data["ramp"][0] == colour(-3.0, 3.0, "dark")
