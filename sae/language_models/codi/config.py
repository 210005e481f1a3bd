"""What a small CODI model is, and how it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sae.common.errors import UserError

KINDS = {
    "supervised": "the values on the way are training targets of thoughts (BOT, 2 and 4)",
    "pure": "CODI as published: the thoughts are shaped by the answer and the teacher alone",
    "no-thoughts": "the control: EOT right after BOT, everything else as in `pure`",
}


@dataclass(frozen=True)
class CodiConfig:
    """Everything that decides the weights, beside the machine.

    Attributes:
        kind: one of `KINDS`.
        d_model, n_layers, n_heads, d_mlp, d_projection: of a Llama-style decoder and the projection.
        teacher_samples: problems of the first phase, in which only the teacher learns.
        samples: problems of the second phase, in which both learn.
        batch_size, lr, warmup, weight_decay, clip: AdamW (0.9, 0.98); the rate rises over `warmup` steps, stays for the
            first phase, and falls as a cosine to 5 % over the second.
        distillation, supervision: weights of the parts of the objective.
        bf16: multiply in bfloat16 (autocast); weights and moments stay float32.
        seed: of the start and of the problems.
    """

    kind: str = "supervised"
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    d_mlp: int = 512
    d_projection: int = 256
    teacher_samples: int = 96_000
    samples: int = 256_000
    batch_size: int = 64
    lr: float = 1.2e-3
    warmup: int = 150
    weight_decay: float = 0.01
    clip: float = 1.0
    distillation: float = 2.0
    supervision: float = 0.5
    bf16: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"kind {self.kind!r} is not known: take one of {', '.join(KINDS)}")
        whole = ("d_model", "n_layers", "n_heads", "d_mlp", "d_projection", "batch_size")
        for name in whole:
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("teacher_samples", "samples", "warmup", "distillation", "supervision", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.lr <= 0 or self.clip <= 0:
            raise UserError(f"lr {self.lr} and clip {self.clip} must be above 0")
        if self.d_model % self.n_heads or (self.d_model // self.n_heads) % 2:
            raise UserError(f"d_model {self.d_model} must be n_heads {self.n_heads} times an even number")

    @property
    def teacher_steps(self) -> int:
        return self.teacher_samples // self.batch_size

    @property
    def steps(self) -> int:
        """Of both phases."""
        return self.teacher_steps + self.samples // self.batch_size

    @property
    def n_thoughts(self) -> int:
        return 0 if self.kind == "no-thoughts" else 6

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
