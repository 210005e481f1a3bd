"""The names of steps and the two ways of numbering them, against the table that defines them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sae.capture import conventions
from sae.capture.layers import chosen_layers, parse_steps, read_layers, read_steps
from sae.common.errors import UserError

# Step: name, number in `seed` (BOT is 0, then the thoughts), number in `latent` (thoughts from 0). Written out from
# the definition: t = 0 is BOT, t = i the pass that takes in z_i; seed P = t; latent P = t - 1.
TABLE = {
    0: ("BOT", 0, None),
    1: ("z1", 1, 0),
    2: ("z2", 2, 1),
    3: ("z3", 3, 2),
    4: ("z4", 4, 3),
    5: ("z5", 5, 4),
    6: ("z6", 6, 5),
}


@pytest.mark.parametrize(("step", "expected"), TABLE.items())
def test_steps_and_positions(step: int, expected: tuple[str, int, int | None]) -> None:
    name, seed, latent = expected
    assert conventions.step_name(step) == name
    assert conventions.position_of(step) == conventions.position_of(step, "seed") == seed
    assert conventions.position_of(step, "latent") == latent
    assert conventions.step_of(seed, "seed") == step
    if latent is not None:
        assert conventions.step_of(latent, "latent") == step


def test_what_is_not_there() -> None:
    for position, convention, last in ((7, "seed", 6), (-1, "seed", 6), (6, "latent", 5), (-1, "latent", 5)):
        with pytest.raises(UserError, match=f"'{convention}' has 0 to {last}"):
            conventions.step_of(position, convention)
    assert conventions.step_of(7, "latent", n_thoughts=8) == 8
    with pytest.raises(UserError, match="seed or latent"):
        conventions.position_of(1, "published")


def test_titles_and_hidden_states() -> None:
    assert conventions.slice_title(2, 3) == "layer 2, position 3 (z3)"
    assert conventions.slice_title(0, 0) == "layer 0, position 0 (BOT)"
    # transformers counts the embedding as 0, and 16 blocks give 17 states.
    assert [conventions.hidden_states_index(layer) for layer in range(16)] == list(range(1, 17))


def test_lists_of_layers_and_steps() -> None:
    assert parse_steps("0-6") == list(range(7)) and parse_steps("5, 1,3") == [1, 3, 5]
    assert read_steps(None) is read_steps("all") is read_steps(" ") is None
    assert read_steps((2, 1)) == [2, 1] and read_steps("2") == [2]
    assert read_layers(" All") == "all" and read_layers("0-2") == [0, 1, 2] and read_layers([3]) == [3]
    assert chosen_layers("all", 4) == [0, 1, 2, 3] and chosen_layers([1], 4) == [1]
    with pytest.raises(UserError, match=r"steps 'z3' can't be read: give 0 for BOT and 1 to 6"):
        parse_steps("z3")
    with pytest.raises(UserError, match=r"layers 'any'.* or all"):
        read_layers("any")


def test_nothing_heavy_is_imported() -> None:
    code = "import sae.capture.conventions, sys; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
