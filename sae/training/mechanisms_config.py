"""Settings of the mechanisms (`sae.objectives`) that can be switched on for any architecture but binary codes.

All are off by default, and then nothing of them is in a run. Lengths are in optimizer steps. Where 0 stands for a share
of the run, that is for short runs: it is never longer than what the documents had (docs/orthogonality.md).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from sae.common.errors import UserError
from sae.training.config import TrainingConfig

LOSSES = ("none", "hinge", "linear", "plain", "tau_weight")


@dataclass(frozen=True)
class MechanismsConfig(TrainingConfig):
    """Settings of an architecture that mechanisms work on come after these."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **TrainingConfig.choices,
        "mechanism_mode": ("corrected", "literal"),
        "orthogonality": LOSSES,
        "pair_similarity": ("act_cos", "act_pearson", "act_dot", "dec_cos"),
        "pair_selection": ("fraction", "threshold"),
        "pair_fraction_schedule": ("constant", "linear", "exponential", "exponential_to_end"),
        "tau_rule": ("fixed", "momentum", "mean_std"),
        "inhibition": ("none", "fixed", "permuted", "adaptive"),
    }

    mechanism_mode: str = "corrected"
    """`literal`: mechanisms act as they were coded or, where no code is known, as the text has them, mistakes and the
    documents' numbers of steps included. `corrected`: as they were meant."""
    orthogonality: str = "none"
    """What selected pairs of features cost, by their similarity C: `hinge` relu(C - tau)^2, `linear` relu(C - tau),
    `plain` C^2, `tau_weight` tau C; each a mean over the pairs."""
    orthogonality_weight: float = 0.1
    """Weight of that mean in the loss."""
    pair_similarity: str = "act_cos"
    """Of two features over a batch: cosine of their activations, Pearson's r, their dot product (a sum over the
    batch); or the cosine of their decoder rows."""
    pair_selection: str = "fraction"
    """Which pairs: the most alike `fraction` of all pairs, or those above a `threshold` that follows the batches: mean
    plus `pair_threshold_deviations` standard deviations."""
    pair_fraction: float = 0.001
    """Share of all pairs that is selected; with a schedule, at the start."""
    pair_fraction_end: float = 0.005
    """Where a schedule ends."""
    pair_fraction_schedule: str = "constant"
    """`exponential` rises as start + range (1 - exp(-5x)), as it was written, and stops short of the end by 0.7 % of
    the range; `exponential_to_end` ends there."""
    pair_fraction_steps: int = 0
    """Steps of the schedule; 0 stands for 10,000, or half of the run where that is less."""
    min_pairs: int = 10
    """Pairs that are selected at least."""
    max_pair_fraction: float = 0.01
    """Share of all pairs that a threshold selects at most; the literal mode has no such bound."""
    pair_threshold_deviations: float = 2.0
    """Standard deviations above the mean."""
    pair_threshold_momentum: float = 0.9
    """How much of the threshold is kept from step to step."""
    tau_rule: str = "fixed"
    """`momentum`: tau follows the mean similarity of selected pairs, within bounds. `mean_std`: mean plus standard
    deviation of all pairs of the batch."""
    tau: float = 0.1
    """Tau, or where it starts."""
    tau_momentum: float = 0.9
    """How much of tau is kept from step to step."""
    tau_target: float = 0.1
    """Mean similarity at which the literal `momentum` leaves tau as it is."""
    tau_min: float = 0.01
    """Lower bound of tau under `momentum`."""
    tau_max: float = 0.5
    """Upper bound of tau under `momentum`."""
    ortsae_weight: float = 0.0
    """Weight of OrtSAE's penalty on decoder rows in random chunks; 0 switches it off, the paper's is 0.25."""
    ortsae_chunk: int = 8192
    """Features of a chunk."""
    ortsae_every: int = 5
    """Steps from one penalty to the next."""
    prune: bool = False
    """Whether one of two features that fire alike is started anew."""
    prune_threshold: float = 0.8
    """Pearson's r above which features count as alike."""
    prune_window: int = 0
    """Steps between checks; 0 stands for 100, or a twentieth of the run where that is less."""
    importance_protection: bool = False
    """Whether a running mean of activations says which feature is pruned, and protects important ones. For `prune`."""
    importance_momentum: float = 0.99
    """How much of it is kept from step to step."""
    l1_coefficient: float = 0.0
    """Weight of the mean L1 norm of the activations; 0 switches it off."""
    adaptive_l1: bool = False
    """Whether that weight moves so that `adaptive_l1_target` of the features are active."""
    adaptive_l1_target: float = 0.1
    """Share of the features that is to be active on a row; 0 stands for k / d_sae."""
    adaptive_l1_momentum: float = 0.99
    """How much of the running share is kept from step to step."""
    adaptive_l1_min: float = 0.01
    """Lower bound of the weight."""
    adaptive_l1_max: float = 0.2
    """Upper bound of the weight."""
    inhibition: str = "none"
    """Lateral inhibition among neighbours: by number (`fixed`), by number after a random permutation (`permuted`, its
    control), or by who fires with whom (`adaptive`). The trained model encodes with it."""
    inhibition_radius: int = 32
    """Neighbours on either side; with `adaptive`, where neighbourhoods start and what their sizes vary around."""
    inhibition_strength: float = 0.3
    """Share of its activation that a damped feature loses."""
    inhibition_threshold: float = 0.5
    """Share of the strongest neighbour below which a feature is damped."""
    neighbourhood_momentum: float = 0.99
    """How much of the running co-activation is kept from step to step. For `adaptive`."""
    neighbourhood_window: int = 0
    """Steps between changes of neighbourhoods; 0 stands for 100, or a twentieth of the run where that is less."""
    reallocation: bool = False
    """Whether features that hardly fire are started anew where the reconstruction is worst."""
    reallocation_threshold: float = 0.0
    """Share of rows that a feature has to fire on; 0 stands for 0.0001, in the literal mode for 0.01."""
    reallocation_momentum: float = 0.99
    """How much of the running share is kept from step to step."""
    reallocation_window: int = 0
    """Steps between checks; 0 stands for 1,000, or a tenth of the run where that is less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)} must lie between 0 and 1")
        for name in _MOMENTA:
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 0 and below 1")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} {getattr(self, name)} must be at least 0")
        for name in ("ortsae_chunk", "ortsae_every", "inhibition_radius"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)} must be at least 1")
        for low, high in (("tau_min", "tau_max"), ("adaptive_l1_min", "adaptive_l1_max")):
            if getattr(self, low) > getattr(self, high):
                raise UserError(f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}")
        if not self.tau_target > 0:
            raise UserError(f"tau_target {self.tau_target} must be above 0")
        if self.importance_protection and not self.prune:
            raise UserError("importance_protection protects from pruning: set prune=true, or leave it")
        if self.inhibition != "none":
            if 2 * self.inhibition_radius >= self.d_sae:
                raise UserError(
                    f"inhibition_radius {self.inhibition_radius} takes in all of d_sae {self.d_sae}: "
                    "take less than half of it"
                )
            if self.inhibition == "adaptive" and self.inhibition_radius > 64:
                raise UserError(f"inhibition_radius {self.inhibition_radius} must be at most 64 with adaptive")

    @property
    def literal(self) -> bool:
        return self.mechanism_mode == "literal"

    @property
    def has_mechanisms(self) -> bool:
        """Whether any is on."""
        return (
            self.orthogonality != "none"
            or self.inhibition != "none"
            or self.ortsae_weight > 0
            or self.l1_coefficient > 0
            or self.prune
            or self.adaptive_l1
            or self.reallocation
        )

    def inhibition_of_model(self) -> dict[str, Any]:
        """What the model is built with for it: nothing where it is off."""
        if self.inhibition == "none":
            return {}
        return {
            "inhibition": {
                "kind": self.inhibition,
                "radius": self.inhibition_radius,
                "strength": self.inhibition_strength,
                "threshold": self.inhibition_threshold,
            }
        }


_SHARES = (
    "pair_fraction",
    "pair_fraction_end",
    "max_pair_fraction",
    "prune_threshold",
    "adaptive_l1_target",
    "inhibition_strength",
    "inhibition_threshold",
    "reallocation_threshold",
)
_MOMENTA = (
    "pair_threshold_momentum",
    "tau_momentum",
    "importance_momentum",
    "adaptive_l1_momentum",
    "neighbourhood_momentum",
    "reallocation_momentum",
)
_NOT_NEGATIVE = (
    "orthogonality_weight",
    "pair_fraction_steps",
    "min_pairs",
    "pair_threshold_deviations",
    "tau",
    "tau_min",
    "ortsae_weight",
    "prune_window",
    "l1_coefficient",
    "adaptive_l1_min",
    "neighbourhood_window",
    "reallocation_window",
)

#: Every setting of mechanisms, with the value at which it is off or, where others switch it on, without use.
OFF = {
    field.name: field.default
    for field in dataclasses.fields(MechanismsConfig)
    if field.name not in TrainingConfig.__dataclass_fields__
}
