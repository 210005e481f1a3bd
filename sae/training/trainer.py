"""One run in training: a model, its optimizer, and the step. The state can be saved and restored exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sae.common.precision import exact
from sae.models.topk import TopK
from sae.objectives.auxk import auxk_loss
from sae.training.config import TrainingConfig
from sae.training.start import initial_model


def scaling(config: TrainingConfig, x: Tensor) -> tuple[Tensor, float]:
    """(mean [d_in], scale) with which training sees `(x - mean) * scale`: rows of root mean squared norm 1."""
    mean = exact(x).mean(0).float().to(x.device)
    if not config.input_scaling:
        return mean, 1.0
    norm = float(exact(x - mean).square().sum(1).mean().sqrt())
    return mean, 1 / norm if norm > 0 else 1.0


class Trainer:
    """Trains one TopK SAE batch by batch.

    Args:
        config: the run's configuration.
        x: training rows [n, d_in], on the device to train on.
        principal: see `sae.training.start.initial_model`.
    """

    def __init__(self, config: TrainingConfig, x: Tensor, principal: Tensor | None = None) -> None:
        self.config = config
        n_rows, d_in = x.shape
        device = x.device
        self.mean, self.scale = scaling(config, x)
        # per element, of the rows as training sees them
        self.variance = float(exact(x - self.mean).square().mean()) * self.scale**2 or 1.0
        self.steps_per_epoch = -(-n_rows // config.batch_size)
        self.total_steps = config.epochs * self.steps_per_epoch
        self.model: TopK = initial_model(config, self.scaled(x), principal).to(device)
        self.parameters = {
            name: p for name, p in self.model.named_parameters() if name != "b_dec" or config.decoder_bias
        }
        if not config.decoder_bias:
            self.model.b_dec.requires_grad_(False)
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(
            self.parameters.values(), lr=torch.tensor(config.lr) if fused else config.lr, fused=fused
        )
        self.step_number = 0
        self.rows_seen = 0
        # rows_seen when each feature last fired: the AuxK window, and later the autopsy of the dead
        self.last_fired = torch.zeros(config.d_sae, dtype=torch.int64, device=device)
        self._auxk_k = config.auxk_k or max(1, d_in // 2)
        self._auxk_window = config.auxk_window or 2 * n_rows

    def learning_rate(self, step: int) -> float:
        """Adam's rate at a step counted from 0: constant, or decaying to 0."""
        done = step / self.total_steps
        if self.config.lr_schedule == "linear":
            return self.config.lr * (1 - done)
        if self.config.lr_schedule == "cosine":
            return self.config.lr * 0.5 * (1 + math.cos(done * math.pi))
        return self.config.lr

    def step(self, x: Tensor) -> Tensor:
        """One optimizer step on raw rows x [B, d_in]; returns their mean squared error per element, detached."""
        config, model = self.config, self.model
        x = self.scaled(x)
        pre = torch.addmm(model.b_enc, x - model.b_dec if config.subtract_b_dec else x, model.W_enc)
        indices, values = model.select(pre)
        reconstruction = model.decode_selected(indices, values)
        residual = x - reconstruction
        mse = residual.square().mean()
        unit = self.variance if config.loss == "normalised" else 1.0
        loss = mse / unit
        if config.auxk_coefficient:
            dead = self.rows_seen - self.last_fired >= self._auxk_window
            # Asking whether any feature is dead waits for a GPU; there the term is computed and comes out as 0.
            if dead.is_cuda or bool(dead.any()):
                aux = auxk_loss(pre, residual, model.W_dec, dead, self._auxk_k)
                loss = loss + config.auxk_coefficient * self.variance / unit * aux
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            self._update(indices, values, len(x))
        return mse.detach() / self.scale**2

    def scaled(self, x: Tensor) -> Tensor:
        """Rows as training sees them."""
        return (x - self.mean) * self.scale if self.config.input_scaling else x

    def _update(self, indices: Tensor, values: Tensor, n: int) -> None:
        W_dec = self.model.W_dec
        if self.config.decoder_norm == "every_step" and self.config.project_gradient and W_dec.grad is not None:
            radial = (W_dec.grad * W_dec).sum(1, keepdim=True)
            W_dec.grad.addcmul_(radial, W_dec, value=-1)
        rate = self.learning_rate(self.step_number)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.optimizer.step()
        if self.config.decoder_norm == "every_step":
            W_dec.div_(W_dec.norm(dim=1, keepdim=True).clamp_min(1e-12))
        self.step_number += 1
        self.rows_seen += n
        # A slot whose value is 0 did not fire.
        fired = torch.where(values != 0, self.rows_seen, 0).flatten()
        self.last_fired.scatter_reduce_(0, indices.flatten(), fired, "amax")

    def finished_model(self) -> TopK:
        """The trained model as it is stored: for raw rows, encoding `(x - b_dec) @ W_enc + b_enc`.

        With x' = (x - mean) * scale in training, features that are smaller by `scale` and biases taken out of the
        scaling reconstruct x just as the trained weights reconstruct x'; who wins top-K does not change. Where training
        did not subtract b_dec, `b_dec @ W_enc` is folded into b_enc.
        """
        trained = self.model
        stored = TopK(trained.d_in, trained.d_sae, trained.k, trained.selection).to(trained.W_enc.device)
        with torch.no_grad():
            stored.load_state_dict(trained.state_dict())
            if self.config.input_scaling:
                stored.b_dec.copy_(self.mean + trained.b_dec / self.scale)
                stored.b_enc.div_(self.scale)
            if not self.config.subtract_b_dec:
                unsubtracted = stored.b_dec - (self.mean if self.config.input_scaling else 0)
                stored.b_enc.add_((exact(unsubtracted) @ exact(trained.W_enc)).float().to(stored.b_enc.device))
        return stored

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                state[f"adam.{name}.{key}"] = value
        counters = torch.tensor([self.step_number, self.rows_seen])
        return {**state, "last_fired": self.last_fired, "counters": counters}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The opposite of `state`."""
        device = self.last_fired.device
        self.model.load_state_dict({key[6:]: value for key, value in state.items() if key.startswith("model.")})
        for name, parameter in self.parameters.items():
            prefix = f"adam.{name}."
            found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            if found:
                self.optimizer.state[parameter] = {key: value.to(device) for key, value in found.items()}
        self.last_fired = state["last_fired"].to(device)
        self.step_number, self.rows_seen = (int(value) for value in state["counters"])
