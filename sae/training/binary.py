"""Sparse binary codes in training: the cosine losses, their switches, and their curves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae.models.binary import Binary
from sae.objectives.cosine_alignment import (
    code_in_training,
    cosine_distance,
    reconstruction_loss,
    sparsity_loss,
    topk_mask,
)
from sae.training.autograd import AutogradTrainer, Outcome
from sae.training.binary_config import BinaryConfig
from sae.training.rows import Rows
from sae.training.start import FIT_ROWS, unit_rows

PROBE_ROWS = 256  # whose bits are compared between two points of the curve


class BinaryTrainer(AutogradTrainer):
    """Trains one binary autoencoder; see `sae.objectives.cosine_alignment`."""

    def __init__(self, config: BinaryConfig, rows: Rows, principal: Tensor | None = None) -> None:
        super().__init__(config, rows, initial_model(config, rows), config.clip_norm)
        self.config: BinaryConfig = config
        self._first = self.scaled(rows.take(torch.arange(min(FIT_ROWS, rows.n))).to(self.device))
        #: what the losses are multiplied by so that they start with a cosine's gradient
        self.weights = self._matched() if config.match_gradients else {"reconstruction": 1.0, "sparsity": 1.0}
        self._probe = self._bits()
        self._parts: dict[str, Tensor] = {}

    def outcome(self, x: Tensor) -> Outcome:
        config = self.config
        logits = self.model.pre_activations(x)
        mask = topk_mask(logits, config.k)
        fallen = config.final_temperature ** (self.step_number / self.total_steps)
        code = code_in_training(config.rounding, logits, mask, config.temperature, fallen, self._noise(logits))
        guess = self.model.decode(code)
        reconstruction = reconstruction_loss(config.reconstruction_objective, x, guess)
        loss = self.weights["reconstruction"] * reconstruction
        strengths = torch.sigmoid(logits / config.temperature)
        if config.alpha and not config.hard_topk:
            sparsity = sparsity_loss(config.sparsity_objective, strengths, mask, config.k, config.target)
            loss = loss + config.alpha * self.weights["sparsity"] * sparsity
        with torch.no_grad():
            self._parts = {
                "objective": loss.detach(),
                "reconstruction_loss": cosine_distance(x, guess).mean(),
                "sparsity_alignment": 1 - cosine_distance(strengths, mask).mean(),
                "average_activation_count": (strengths > 0.5).sum(1).float().mean(),
            }
        return Outcome(loss, guess, code)

    def figures(self, member: int) -> dict[str, float]:
        """Of the last batch, and `bit_flips`: bits of fixed rows that changed since the last point of the curve, as a
        share of those that were on in either.
        """
        bits = self._bits()
        changed, either = (bits != self._probe).sum(), (bits | self._probe).sum().clamp_min(1)
        self._probe.copy_(bits)
        flips = float(changed / either)
        return {
            **{name: float(value) for name, value in self._parts.items()},
            **super().figures(member),
            "bit_flips": flips,
        }

    def summary(self, member: int) -> dict[str, float]:
        weights = {f"{name}_weight": value for name, value in self.weights.items()}
        return {**super().summary(member), **weights}

    @torch.no_grad()
    def finished_model(self, member: int = 0) -> Binary:
        """For raw rows. A cosine leaves the scale of the reconstruction open: it is fitted by least squares on training
        rows, so that explained variance means something; no code and no cosine changes with it.
        """
        config = self.config
        stored = Binary(self.d_in, **config.model()).to(self.device)
        trained = self.model.state_dict()
        guess = self.model.decode(self.model.encode(self._first))
        square = float(guess.square().sum())
        fit = float((guess * self._first).sum()) / square if square > 0 else 1.0
        fit = fit if fit > 0 else 1.0
        stored.W_enc.copy_(trained["W_enc"] * self.scale)
        stored.b_enc.copy_(trained["b_enc"])
        stored.W_dec.copy_(trained["W_dec"] * (fit / self.scale))
        stored.b_dec.copy_(trained["b_dec"] * (fit / self.scale))
        return stored

    def held(self) -> dict[str, Tensor]:
        return {**super().held(), "probe": self._probe[None]}

    @torch.no_grad()
    def _bits(self) -> Tensor:
        return self.model.encode(self._first[:PROBE_ROWS]) != 0

    def _noise(self, logits: Tensor) -> Tensor | None:
        """Logistic noise of this step, from the seed and the step alone; for `gumbel`."""
        if self.config.rounding != "gumbel":
            return None
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step_number)
        uniform = torch.rand(logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
        return uniform.logit().to(logits.device)

    def _matched(self) -> dict[str, float]:
        """Weights with which the gradient of each loss starts with the norm that its cosine's would have."""
        config = self.config
        logits = self.model.pre_activations(self._first)
        mask = topk_mask(logits, config.k)
        code = code_in_training(config.rounding, logits, mask, config.temperature, 1.0, self._noise(logits))
        guess = self.model.decode(code)
        strengths = torch.sigmoid(logits / config.temperature)
        by_reconstruction = [
            self._gradient_norm(reconstruction_loss(kind, self._first, guess))
            for kind in ("cosine", config.reconstruction_objective)
        ]
        by_sparsity = [
            self._gradient_norm(sparsity_loss(kind, strengths, mask, config.k, config.target))
            for kind in ("cosine", config.sparsity_objective)
        ]
        pairs = {"reconstruction": by_reconstruction, "sparsity": by_sparsity}
        return {name: wanted / found if found > 0 else 1.0 for name, (wanted, found) in pairs.items()}

    def _gradient_norm(self, loss: Tensor) -> float:
        gradients = torch.autograd.grad(loss, list(self.parameters.values()), retain_graph=True, allow_unused=True)
        return float(sum(g.square().sum() for g in gradients if g is not None)) ** 0.5


def initial_model(config: BinaryConfig, rows: Rows) -> Binary:
    """Encoder weights as PyTorch's linear layer starts, random decoder rows of length 1 / sqrt(K), b_dec at the mean.

    b_dec is the answer where no bit is on: at 0 there its cosine would not exist.
    """
    generator = torch.Generator().manual_seed(config.seed)
    model = Binary(rows.d_in, **config.model())
    bound = 1 / math.sqrt(rows.d_in)
    norm = math.sqrt(rows.centred_norm**2 + float(rows.mean.double().square().sum()))
    with torch.no_grad():
        model.W_enc.copy_((torch.rand(model.W_enc.shape, generator=generator) * 2 - 1) * bound)
        directions = unit_rows(torch.randn(model.W_dec.shape, generator=generator))
        model.W_dec.copy_(directions / math.sqrt(config.k))
        model.b_dec.copy_(rows.mean.cpu() / norm if config.input_scaling and norm > 0 else rows.mean.cpu())
        if config.b_enc_init == "logit" and config.k < config.d_sae:
            share = config.k / config.d_sae
            model.b_enc.fill_(config.temperature * math.log(share / (1 - share)))
    return model
