"""The mechanisms that a configuration switches on, and trainers that work with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.models.base import SAE
from sae.objectives.adaptive_l1 import AdaptiveL1
from sae.objectives.mechanism import Features, Mechanism, Seen
from sae.objectives.neighbourhoods import Neighbourhoods
from sae.objectives.orthogonality import Orthogonality
from sae.objectives.ortsae import OrtSAE
from sae.objectives.pair_fraction import Taken, fraction_at, literal_pairs_of_fraction, pairs_of_fraction
from sae.objectives.pair_stability import PairStability
from sae.objectives.pair_threshold import PairThreshold
from sae.objectives.pruning import Pruning
from sae.objectives.reallocation import Reallocation
from sae.objectives.tau import Tau
from sae.training.autograd import AutogradTrainer, Outcome
from sae.training.lengths import FRACTION, NEIGHBOURHOOD, PRUNE, REALLOCATION, lengths
from sae.training.mechanisms_config import MechanismsConfig
from sae.training.rows import Sampled

STABILITY_WINDOW = 100  # steps between sets of pairs that are compared, or a fifth of a shorter run


class MechanismsTrainer(AutogradTrainer):
    """One run of any architecture, with the mechanisms that its configuration switches on.

    A subclass says in `forward` what is decoded and lost; the penalties come on top. Products are in float32, whatever
    `precision` says.

    Raises:
        UserError: for mechanisms on a device without float64.
    """

    def __init__(self, config: MechanismsConfig, rows: Sampled, model: SAE, clip_norm: float = 0.0) -> None:
        super().__init__(config, rows, model, clip_norm)
        self.settings = config
        inhibition = model.inhibition
        if inhibition is not None and inhibition.kind == "permuted":
            generator = torch.Generator().manual_seed(config.seed)
            inhibition.order.copy_(torch.randperm(config.d_sae, generator=generator))
        self.mechanisms = mechanisms_of(config, self.total_steps, model, self.device)
        if self.mechanisms and self.device.type == "mps":
            raise UserError("mechanisms of training need float64, which Apple's GPU does not have: take --device cpu")
        starts = {
            name: float(value.detach().flatten()[0])
            for name, value in self.parameters.items()
            if name.split(".")[0] not in ("W_enc", "b_enc", "W_dec", "b_dec", *model.shared)
        }
        names = ("W_enc", "b_enc", "W_dec", *starts)
        states = {name: self._optimizer.state[self.parameters[name]] for name in names}
        self.features = Features(
            {name: self.parameters[name].detach() for name in names},
            {name: (state["exp_avg"], state["exp_avg_sq"]) for name, state in states.items()},
            starts,
        )
        # of the last step: objective, L1 norm, its coefficient, active features a row, share of them that is damped
        self._last = torch.zeros(5, device=self.device)
        self._damped = torch.zeros(1, dtype=torch.int64, device=self.device)

    def forward(self, x: Tensor) -> Outcome:
        """Loss without penalties, reconstruction and code of rows as training sees them [B, d_in]."""
        raise NotImplementedError

    def l1_norms(self, code: Tensor) -> Tensor:
        """What the coefficient of L1 is multiplied with: a mean over rows."""
        return code.abs().sum(1).mean()

    @property
    def l1_coefficient(self) -> float:
        """At the present step."""
        adaptive = self.mechanisms.get("l1")
        return adaptive.value if isinstance(adaptive, AdaptiveL1) else self.settings.l1_coefficient

    def outcome(self, x: Tensor) -> Outcome:
        loss, reconstruction, code = self.forward(x)
        coefficient = self.l1_coefficient
        norms = self.l1_norms(code if coefficient else code.detach())
        if coefficient:
            loss = loss + coefficient * norms
        seen = Seen(self.step_number, self.wanted(x), code, reconstruction)
        for mechanism in self.mechanisms.values():
            penalty = mechanism.penalty(seen, self.model.W_dec)
            if penalty is not None:
                loss = loss + penalty
        with torch.no_grad():
            l0 = torch.count_nonzero(code) / len(code)
            damped = torch.zeros_like(loss)
            if self.model.inhibition is not None:
                count = self.model.inhibition.last_damped
                self._damped += count.long()
                damped = count / torch.count_nonzero(code).clamp_min(1)
            self._last = torch.stack([loss.detach(), norms.detach(), torch.full_like(damped, coefficient), l0, damped])
        return Outcome(loss, reconstruction, code)

    @property
    def unit_norm(self) -> bool:
        """Whether decoder rows go back to unit norm after every step."""
        raise NotImplementedError

    @property
    def projects(self) -> bool:
        """Whether the radial part of their gradient is removed before it."""
        return self.unit_norm

    @torch.no_grad()
    def before_update(self) -> None:
        W_dec = self.model.W_dec
        if self.projects and W_dec.grad is not None:
            W_dec.grad.addcmul_((W_dec.grad * W_dec).sum(1, keepdim=True), W_dec, value=-1)

    def after_update(self, x: Tensor, outcome: Outcome) -> None:
        if self.unit_norm:
            W_dec = self.model.W_dec
            W_dec.div_(W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
        seen = Seen(self.step_number, self.wanted(x), outcome.code.detach(), outcome.reconstruction.detach())
        for mechanism in self.mechanisms.values():
            which = mechanism.act(seen, self.features)
            if which is not None:
                self.last_fired[0, which] = self.rows_seen + len(x)
                for each in self.mechanisms.values():
                    each.redrawn(which)

    def figures(self, member: int) -> dict[str, float]:
        objective, l1, coefficient, l0, damped = self._last.tolist()
        found = {
            "objective": objective,
            "l1": l1,
            "l0": l0,
            "zero_share": 1 - l0 / self.settings.d_sae,
            "l1_coefficient": coefficient,
            **super().figures(member),
        }
        if self.model.inhibition is not None:
            found["damped_share"] = damped
        for mechanism in self.mechanisms.values():
            found |= mechanism.figures()
        return found

    def summary(self, member: int) -> dict[str, float]:
        found = super().summary(member)
        if self.model.inhibition is not None:
            found["damped_activations"] = float(self._damped[0])
        for mechanism in self.mechanisms.values():
            found |= mechanism.summary()
        used = {length.setting: length.of(self.settings, self.total_steps) for length in lengths(self.settings)}
        return found | {name: float(steps) for name, steps in used.items()}

    def held(self) -> dict[str, Tensor]:
        return {**super().held(), "damped": self._damped[None]}

    def state(self, member: int = 0) -> dict[str, Tensor]:
        found = super().state(member)
        for name, mechanism in self.mechanisms.items():
            found |= {f"{name}.{key}": value.clone() for key, value in mechanism.held().items()}
        return found

    def restore(self, member: int, state: dict[str, Tensor]) -> None:
        super().restore(member, state)
        for name, mechanism in self.mechanisms.items():
            prefix = f"{name}."
            mechanism.restore({key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)})


def mechanisms_of(config: MechanismsConfig, total_steps: int, model: SAE, device: torch.device) -> dict[str, Mechanism]:
    """Those that are on, by a name that stands before their state's, in the order in which they act."""
    found: dict[str, Mechanism] = {}
    literal, d_sae, seed = config.literal, config.d_sae, config.seed
    if config.orthogonality != "none":
        found["pairs"] = _orthogonality(config, total_steps)
    if config.ortsae_weight:
        found["ortsae"] = OrtSAE(config.ortsae_weight, config.ortsae_chunk, config.ortsae_every, seed)
    if config.adaptive_l1:
        bounds = (config.adaptive_l1_min, config.adaptive_l1_max)
        target, momentum = config.adaptive_l1_target or config.k / d_sae, config.adaptive_l1_momentum
        found["l1"] = AdaptiveL1(config.l1_coefficient, target, momentum, bounds, literal)
    if config.inhibition == "adaptive":
        assert model.inhibition is not None
        window, radius = NEIGHBOURHOOD.of(config, total_steps), config.inhibition_radius
        neighbours = model.inhibition.neighbours
        found["neighbourhoods"] = Neighbourhoods(neighbours, radius, window, config.neighbourhood_momentum)
    if config.prune:
        momentum_or_none = config.importance_momentum if config.importance_protection else None
        window = PRUNE.of(config, total_steps)
        found["prune"] = Pruning(d_sae, config.prune_threshold, window, momentum_or_none, seed, device, literal)
    if config.reallocation:
        threshold = config.reallocation_threshold or (0.01 if literal else 1e-4)
        window, momentum = REALLOCATION.of(config, total_steps), config.reallocation_momentum
        found["reallocation"] = Reallocation(d_sae, threshold, window, momentum, seed, device, literal)
    return found


def _orthogonality(config: MechanismsConfig, total_steps: int) -> Orthogonality:
    d_sae, literal = config.d_sae, config.literal
    steps = FRACTION.of(config, total_steps)

    def fraction(step: int) -> float:
        ends = config.pair_fraction, config.pair_fraction_end
        return fraction_at(step, *ends, config.pair_fraction_schedule, steps)

    def taken(step: int) -> Taken:
        if literal:
            # The file with the linear hinge took its share of d² entries, the one without a margin of d (d - 1) / 2.
            return literal_pairs_of_fraction(fraction(step), d_sae, config.orthogonality == "linear")
        return pairs_of_fraction(fraction(step), d_sae, config.min_pairs)

    select: Callable[[int], Taken] | PairThreshold = taken
    if config.pair_selection == "threshold":
        most = pairs_of_fraction(config.max_pair_fraction, d_sae, config.min_pairs).pairs
        deviations, momentum = config.pair_threshold_deviations, config.pair_threshold_momentum
        select = PairThreshold(deviations, momentum, config.min_pairs, most, literal)
    bounds = (config.tau_min, config.tau_max)
    tau = Tau(config.tau_rule, config.tau, config.tau_momentum, config.tau_target, bounds, literal)
    stability = PairStability(max(1, min(STABILITY_WINDOW, total_steps // 5)))
    weight, similarity = config.orthogonality_weight, config.pair_similarity
    return Orthogonality(config.orthogonality, weight, similarity, select, fraction, tau, stability)
