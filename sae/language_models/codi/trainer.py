"""Trains a small CODI model on the generator's problems; a killed training goes on where it was."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.common.files import read_json, write_json, write_tensors
from sae.common.progress import Progress, Silent

from .batches import Batch, endless
from .evaluation import accuracy, teacher_accuracy
from .objective import losses
from .start import untrained
from .vocabulary import generator_words

if TYPE_CHECKING:
    from .config import CodiConfig
    from .model import Codi

SAVE_SECONDS = 60.0
#: Problems between two looks at the accuracy, and problems looked at.
EVERY, LOOKED_AT = 16_000, 256
_BETAS = (0.9, 0.98)
_FLOOR = 0.05


class Training:
    """One training under way in a folder.

    Args:
        folder: gets `checkpoint.safetensors`, `teacher.safetensors` (the weights after the first phase) and
            `training.json` (configuration, step, learning curves).
        after: the folder of a training whose first phase is taken over, where all but its kind is equal.

    Raises:
        UserError: if the folder holds a training of another configuration.
    """

    def __init__(
        self, config: CodiConfig, folder: Path, *, after: Path | None = None, words: list[str] | None = None
    ) -> None:
        self.config, self.folder = config, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.codi: Codi = untrained(config, words or generator_words())
        self.weights = list(self.codi.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.lr, betas=_BETAS, weight_decay=config.weight_decay, fused=True
        )
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, Any]] = []
        if (folder / "training.json").exists():
            self._restore(folder / "checkpoint.safetensors", read_json(folder / "training.json"))
        elif after is not None:
            self._take_over(after)

    def run(self, progress: Progress | None = None) -> Codi:
        """Train to the end. `progress` may raise `Cancelled`; what is there then is kept."""
        progress = progress or Silent()
        looked = self._examples()
        batches = endless(
            self.codi.tokenizer, self.codi.pad_id, self.config.batch_size, self.config.seed + 1, self.step
        )
        saved = since = time.monotonic()
        try:
            while self.step < self.config.steps:
                parts = self._learn(next(batches))
                self.step += 1
                self.seconds += time.monotonic() - since
                since = time.monotonic()
                if self.step == self.config.teacher_steps:
                    self._write(self.folder / "teacher.safetensors")
                if self.step % max(1, EVERY // self.config.batch_size) == 0 or self.step == self.config.steps:
                    self._look(parts, looked)
                    since = time.monotonic()
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
                progress.update(self.step, self.config.steps, self._said())
        finally:
            self.save()
        return self.codi

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        first = self.config.teacher_steps
        risen = min(1.0, (step + 1) / max(1, self.config.warmup))
        if step < first:
            return self.config.lr * risen
        gone = (step - first) / max(1, self.config.steps - first)
        return self.config.lr * risen * (_FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * gone)))

    def _learn(self, batch: Batch) -> dict[str, float]:
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        with torch.autocast(self.codi.device.type, torch.bfloat16, enabled=config.bf16):
            found = losses(
                self.codi,
                batch,
                n_thoughts=config.n_thoughts,
                supervise=config.kind == "supervised",
                student=self.step >= config.teacher_steps,
            )
        total = found.teacher + found.student + config.distillation * found.distillation
        total = total + config.supervision * found.supervision
        if not bool(torch.isfinite(total)):
            raise UserError(f"training diverged at step {self.step} (lr {config.lr}): take a smaller lr")
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {name: float(value.detach()) for name, value in found._asdict().items()}

    def _examples(self) -> dict[str, Any]:
        from sae.problems import generate

        seed = self.config.seed + 500_000_000
        return {
            "unseen_numbers": generate(LOOKED_AT, seed, numbers="unseen").examples,
            "unseen_phrasings": generate(LOOKED_AT, seed, phrasings="unseen").examples,
        }

    def _look(self, parts: dict[str, float], looked: dict[str, Any]) -> None:
        line: dict[str, Any] = {
            "samples": self.step * self.config.batch_size,
            "seconds": round(self.seconds, 1),
            **parts,
        }
        for name, examples in looked.items():
            if self.step > self.config.teacher_steps:
                line[name] = accuracy(self.codi, examples)
        line["teacher_accuracy"] = teacher_accuracy(self.codi, looked["unseen_numbers"])
        self.history.append(line)

    def _said(self) -> str:
        last = self.history[-1] if self.history else {}
        shown = {"right": "unseen_numbers", "teacher": "teacher_accuracy"}
        words = [f"{word} {last[name]:.0%}" for word, name in shown.items() if name in last]
        return ", ".join(["training", *words])

    # what stands on disk

    def save(self) -> None:
        """Weights and moments, then what says that they are there."""
        self._write(self.folder / "checkpoint.safetensors")
        write_json(
            self.folder / "training.json",
            {
                "format": 1,
                "config": self.config.as_dict(),
                "step": self.step,
                "seconds": round(self.seconds, 1),
                "history": self.history,
            },
        )

    def _write(self, path: Path) -> None:
        tensors: dict[str, Tensor] = {}
        for number, weight in enumerate(self.weights):
            tensors[f"weight.{number}"] = weight.detach()
            for name in ("exp_avg", "exp_avg_sq", "step"):
                if name in (state := self.optimizer.state.get(weight, {})):
                    tensors[f"{name}.{number}"] = state[name]
        write_tensors(path, {**tensors, "at": torch.tensor(self.step)})

    def _read(self, path: Path) -> int:
        from safetensors.torch import load_file

        found = load_file(str(path))
        with torch.no_grad():
            for number, weight in enumerate(self.weights):
                weight.copy_(found[f"weight.{number}"])
                if f"exp_avg.{number}" in found:
                    names = ("exp_avg", "exp_avg_sq", "step")
                    self.optimizer.state[weight] = {name: found[f"{name}.{number}"].clone() for name in names}
        return int(found["at"])

    def _restore(self, path: Path, content: dict[str, Any]) -> None:
        if content["config"] != self.config.as_dict():
            other = [name for name, value in self.config.as_dict().items() if content["config"].get(name) != value]
            raise UserError(f"{self.folder} holds a training with other {', '.join(other)}: take another folder")
        self.step = self._read(path)
        self.seconds, self.history = content["seconds"], content["history"]
        # A kill may fall between the two files: the curves then go on from the weights.
        at = self.step * self.config.batch_size
        self.history = [line for line in self.history if line["samples"] <= at]

    def _take_over(self, folder: Path) -> None:
        content = read_json(folder / "training.json")
        theirs = {**content["config"], "kind": self.config.kind, "samples": self.config.samples}
        if theirs != self.config.as_dict() or not (folder / "teacher.safetensors").exists():
            raise UserError(f"{folder} has no first phase with this configuration: train from the start")
        self.step = self._read(folder / "teacher.safetensors")
        at = self.step * self.config.batch_size
        self.history = [line for line in content["history"] if line["samples"] <= at]
        self.seconds = self.history[-1]["seconds"] if self.history else 0.0


def train(config: CodiConfig, folder: Path, *, after: Path | None = None, progress: Progress | None = None) -> Codi:
    """Train, or go on training, in `folder`. See `Training`."""
    return Training(replace(config), folder, after=after).run(progress)
