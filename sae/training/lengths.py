"""Windows and schedules in steps: scaled to the run where they are not given, and checked before it starts."""

from __future__ import annotations

from typing import NamedTuple

from sae.common.errors import UserError
from sae.training.config import TrainingConfig
from sae.training.mechanisms_config import MechanismsConfig
from sae.training.penalty_config import PenaltyConfig


class Length(NamedTuple):
    """A length that a setting gives in steps: what 0 stands for is `documents`, or 1 / `parts` of a run if less."""

    setting: str
    documents: int
    parts: int

    def of(self, config: TrainingConfig, total_steps: int) -> int:
        """In steps, at least 1. In the literal mode 0 stands for what the documents had, however short the run is."""
        given = getattr(config, self.setting)
        if given > 0:
            return given
        if getattr(config, "literal", False):
            return self.documents
        return max(1, min(self.documents, total_steps // self.parts))


FRACTION = Length("pair_fraction_steps", 10_000, 2)
PRUNE = Length("prune_window", 100, 20)
NEIGHBOURHOOD = Length("neighbourhood_window", 100, 20)
REALLOCATION = Length("reallocation_window", 1_000, 10)
L1_WARMUP = Length("l1_warmup_steps", 1_000, 20)
LR_WARMUP = Length("lr_warmup_steps", 1_000, 20)
THRESHOLD_START = Length("threshold_start_steps", 1_000, 5)
THRESHOLD_WINDOW = Length("threshold_window_steps", 1_000, 20)
L0_WARMUP = Length("l0_warmup_steps", 2_000, 10)
ANNEAL_START = Length("anneal_start_steps", 15_000, 2)
RESAMPLING = Length("resampling_steps", 25_000, 8)
WARMUPS = {length.setting: length for length in (L1_WARMUP, L0_WARMUP)}
#: those that an architecture which has them always uses, but at -1, which is none
_ALWAYS = (L1_WARMUP, LR_WARMUP, L0_WARMUP, THRESHOLD_START, THRESHOLD_WINDOW, ANNEAL_START)


def lengths(config: TrainingConfig) -> list[Length]:
    """Those that are in use."""
    found = []
    if isinstance(config, MechanismsConfig):
        rising = config.pair_selection == "fraction" and config.pair_fraction_schedule != "constant"
        used = {
            FRACTION: config.orthogonality != "none" and rising,
            PRUNE: config.prune,
            NEIGHBOURHOOD: config.inhibition == "adaptive",
            REALLOCATION: config.reallocation,
        }
        found += [length for length, is_used in used.items() if is_used]
    if isinstance(config, PenaltyConfig) and config.resampling:
        found.append(RESAMPLING)
    found += [length for length in _ALWAYS if getattr(config, length.setting, -1) >= 0]
    return found


def total_steps(config: TrainingConfig, n_rows: int) -> int:
    """Steps of a whole run: batches an epoch, the last one short, times epochs."""
    return config.epochs * -(-n_rows // config.batch_size)


def check_lengths(config: TrainingConfig, n_rows: int) -> None:
    """Raises UserError if a run on so many rows takes no step, or ends before its longest window or schedule does."""
    total = total_steps(config, n_rows)
    if total < 1:
        raise UserError(f"{n_rows} training rows make a run of 0 steps: take activations with more rows")
    used = lengths(config)
    if not used:
        return
    longest = max(used, key=lambda length: length.of(config, total))
    steps = longest.of(config, total)
    if steps > total:
        mode = " in the literal mode" if not getattr(config, longest.setting) else ""
        raise UserError(
            f"a run of {total:,} steps is shorter than {longest.setting}, which is {steps:,} steps{mode}: "
            f"take more epochs, smaller batches, or a smaller {longest.setting}"
        )
    shortest = max(length.parts for length in used if not getattr(config, length.setting)) if _scaled(config) else 0
    if total < shortest:
        raise UserError(
            f"a run of {total:,} steps is too short for its mechanisms: windows are up to 1/{shortest} of it; "
            "take more epochs or smaller batches"
        )


def _scaled(config: TrainingConfig) -> bool:
    """Whether a length in use is scaled to the run."""
    return not getattr(config, "literal", False) and any(not getattr(config, each.setting) for each in lengths(config))
