"""What the steps of a thinking model are called, and how published work numbers them.

Step t is the pass at which a state is read: 0 is BOT, t = 1 to 6 are the thoughts z1 to z6. Activations store the step
as `position`; the conventions are views of it.
"""

from __future__ import annotations

from sae.common.errors import UserError

N_THOUGHTS = 6
DEFAULT = "seed"
#: What the numbers 0 to 5 mean in each convention.
CONVENTIONS = {
    "seed": "position 0 is BOT, 1 to 5 are the thoughts z1 to z5; z6, which the published grid left out, is 6",
    "latent": "positions 0 to 5 are the thoughts z1 to z6; BOT has none",
}
#: For manifests: what `position` is in the files.
NOTE = (
    "position is the step: 0 is BOT, t from 1 on is the thought zt (convention 'seed'); "
    "in the convention 'latent' position p is step p + 1 and BOT has none"
)


def step_name(step: int) -> str:
    """`BOT` for step 0, `z3` for step 3."""
    return "BOT" if step == 0 else f"z{step}"


def position_of(step: int, convention: str = DEFAULT) -> int | None:
    """The number of a step in a convention; None where it has none.

    Raises:
        UserError: for an unknown convention.
    """
    _check(convention)
    if convention == "seed":
        return step
    return step - 1 if step else None


def step_of(position: int, convention: str = DEFAULT, n_thoughts: int = N_THOUGHTS) -> int:
    """The step that a convention calls `position`.

    Raises:
        UserError: for an unknown convention, or a position that it does not have.
    """
    _check(convention)
    step = position if convention == "seed" else position + 1
    if position < 0 or step > n_thoughts:
        last = position_of(n_thoughts, convention)
        raise UserError(f"position {position} is not there: the convention {convention!r} has 0 to {last}")
    return step


def slice_title(layer: int, step: int) -> str:
    """`layer 2, position 3 (z3)`, as the convention `seed` counts."""
    return f"layer {layer}, position {step} ({step_name(step)})"


def hidden_states_index(layer: int) -> int:
    """Where transformers' `hidden_states` holds the output of block `layer`: 0 there is the embedding."""
    return layer + 1


def _check(convention: str) -> None:
    if convention not in CONVENTIONS:
        raise UserError(f"convention {convention!r} is not known: take {' or '.join(CONVENTIONS)}")
