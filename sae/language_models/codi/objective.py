"""CODI's training objective: a teacher that reasons in words, a student that thinks, and what ties them together.

Source: arXiv 2502.21074, section 3, and the authors' code. Its teacher runs twice; here it runs once and is detached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from .batches import Batch
    from .model import Codi

#: Weight of the answer's fixed words in the student's loss; its number has 1.
WORDS_WEIGHT = 0.1


class Losses(NamedTuple):
    """The parts of the objective, each a mean over the batch; 0 where a part is left out."""

    teacher: Tensor
    student: Tensor
    distillation: Tensor
    supervision: Tensor


def losses(
    codi: Codi, batch: Batch, *, n_thoughts: int | None, supervise: bool, teacher: bool = True, student: bool = True
) -> Losses:
    """Teacher and student on one batch; the question is read once for both.

    - teacher: cross-entropy of the tokens of reasoning and answer.
    - student: cross-entropy of the answer after the thoughts, the number with weight 1, its words with 0.1.
    - distillation: mean over all hidden states (the embedding among them) of |student - teacher| at the token that
      predicts the number, divided by the teacher's standard deviation over the batch; the teacher is detached.
    - supervision: cross-entropy of the k-th value on the way, read through the head at step 2 k.

    Args:
        n_thoughts: None for the model's own number; 0 makes the control without thoughts.
        supervise: compute the supervision of thoughts.
    """
    zero = torch.zeros((), device=codi.device)
    cache, mask, position, last = codi.read(batch.question, batch.question_mask)
    by_teacher = zero
    target: list[Tensor] = []
    if teacher:
        own = _copy(cache) if student else cache
        length = batch.tail.shape[1]
        positions = position.unsqueeze(1) + torch.arange(length, device=mask.device)
        hidden = codi.run_all(codi.embeddings(batch.tail), torch.cat([mask, batch.tail_mask], 1), positions, own)
        before = torch.cat([last.unsqueeze(1), hidden[-1][:, :-1]], dim=1)
        chosen = batch.tail_mask.bool()
        by_teacher = F.cross_entropy(codi.head(before[chosen]), batch.tail[chosen])
        at = batch.teacher_at
        target = [h[torch.arange(len(at), device=at.device), at].detach() for h in hidden]
    if not student:
        return Losses(by_teacher, zero, zero, zero)
    thinking = codi.think_from(cache, mask, position, n_thoughts=n_thoughts)
    rows = torch.cat([batch.answer.new_full((len(batch), 1), codi.eot_id), batch.answer[:, :-1]], dim=1)
    length = rows.shape[1]
    positions = thinking.position.unsqueeze(1) + torch.arange(length, device=mask.device)
    seen = torch.cat([thinking.mask, thinking.mask.new_ones(len(batch), length)], dim=1)
    hidden = codi.run_all(codi.embeddings(rows), seen, positions, thinking.cache)
    each = F.cross_entropy(codi.head(hidden[-1]).flatten(0, 1), batch.answer.flatten(), reduction="none")
    weight = torch.full((length,), WORDS_WEIGHT, device=each.device)
    weight[batch.student_at + 1] = 1.0
    by_student = (each.view(len(batch), length) * weight).sum() / (weight.sum() * len(batch))
    distillation = zero
    if target:
        at_number = [h[:, batch.student_at + 1] for h in hidden]
        parts = [(s - t).abs().mean() / t.std().clamp_min(1e-6) for s, t in zip(at_number, target, strict=True)]
        distillation = torch.stack(parts).mean()
    supervision = zero
    if supervise:
        steps = range(0, min(2 * batch.intermediates.shape[1], thinking.final.shape[0]), 2)
        read = codi.head(thinking.final[list(steps)])
        wanted = batch.intermediates[:, : len(steps)].T
        if (wanted >= 0).any():
            supervision = F.cross_entropy(read.flatten(0, 1), wanted.flatten(), ignore_index=-100)
    return Losses(by_teacher, by_student, distillation, supervision)


def _copy(cache: Any) -> Any:
    """A cache that grows on its own from here; what both have read stays shared, gradients included."""
    from transformers import DynamicCache

    copied = DynamicCache()
    for number, layer in enumerate(cache.layers):
        copied.update(layer.keys, layer.values, number)
    return copied
