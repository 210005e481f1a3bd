"""What a reconstruction is worth to the model: a thought's state is replaced, and the thinking goes on from there.

A problem is read and thought about once; at one layer and step the state h is then replaced, and the later thoughts and
the answer are thought anew. What is measured is the answer's number, and KL(clean || patched) in nats per answer token:
teacher-forced on the clean model's own greedy answer (the end of text among its tokens), the mean over its tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.language_models.codi.forks import Thought, some_of

if TYPE_CHECKING:
    from sae.language_models.codi.model import Codi

BATCH = 128
#: Log-probabilities of a batch stay below so many numbers; a large vocabulary then has smaller batches.
_LARGEST = 2**26


class Effect(NamedTuple):
    """What a replacement did to each of m problems: `numbers` float64 [m], NaN where there is none; `kl` [m]."""

    numbers: np.ndarray
    kl: np.ndarray


@dataclass(frozen=True)
class Site:
    """Which state: after block `layer` at `step` (0 is BOT). The layer `n_layers` is the state after the final norm."""

    layer: int
    step: int

    def check(self, codi: Codi) -> None:
        """Raises UserError if the model has no such state."""
        if not 0 <= self.layer <= codi.n_layers or not 0 <= self.step <= codi.n_thoughts:
            raise UserError(
                f"layer {self.layer}, step {self.step}: this model has layers 0 to {codi.n_layers - 1} and steps 0 to "
                f"{codi.n_thoughts}"
            )

    def is_read(self, codi: Codi) -> bool:
        """Whether anything reads the state: after the last block of the last thought nothing does."""
        return self.step < codi.n_thoughts or self.layer < codi.n_layers - 1


class CleanBatch:
    """A batch of problems, thought about and answered as the model does.

    Attributes:
        state: [B, d_model], at the site.
        numbers: float64 [B], of the answers; NaN where there is none.
    """

    def __init__(self, codi: Codi, ids: Sequence[Sequence[int]], site: Site) -> None:
        self._codi, self._site = codi, site
        inside = site.layer < codi.n_layers
        self._thought = Thought.about(codi, ids, layers=[site.layer] if inside else [])
        thinking = self._thought.thinking
        self.state = (thinking.states[site.layer] if inside else thinking.final)[site.step]
        answers = codi.answer(self._thought.stopped())
        self.numbers = _numbers([answer.number for answer in answers])
        longest = max(len(answer.ids) for answer in answers)
        # What stands behind an answer's end can't be seen from before it, and is not counted.
        rows = [[*answer.ids, *[codi.pad_id] * (longest - len(answer.ids))] for answer in answers]
        self._answer = torch.tensor(rows, device=self.state.device)
        lengths = torch.tensor([len(answer.ids) for answer in answers], device=self.state.device)
        self._counted = torch.arange(longest, device=self.state.device) < lengths.unsqueeze(1)
        # The last token predicts nothing that is counted.
        logits = codi.continue_with(self._thought.stopped(), [row[:-1] for row in rows])
        self._log_probs = logits.float().log_softmax(-1)

    def patched(self, state: Tensor, rows: Tensor | None = None) -> Effect:
        """What comes of thinking on from `state` [m, d_model] at the site.

        Args:
            rows: int64 [m], the problem of each state, in any order and as often as wanted; all in order by default.
        """
        if rows is None:
            rows = torch.arange(len(self.state), device=self.state.device)
        size = max(1, min(BATCH, _LARGEST // self._log_probs[0].numel()))
        parts = [self._patched(*part) for part in zip(state.split(size), rows.split(size), strict=True)]
        return Effect(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _patched(self, state: Tensor, rows: Tensor) -> Effect:
        codi, site = self._codi, self._site

        def edit(step: int, layer: int, h: Tensor) -> Tensor:
            return state if step == site.step else h

        thinking = self._thought.again(site.step, edit=edit, edited_layers=[site.layer], rows=rows)
        before = replace(thinking)
        answer, counted, clean = self._answer[rows], self._counted[rows], self._log_probs[rows]
        found = codi.continue_with(thinking, answer[:, :-1].tolist()).float().log_softmax(-1)
        kl = ((clean.exp() * (clean - found)).sum(-1) * counted).sum(-1) / counted.sum(-1)
        numbers = self.numbers[rows.cpu().numpy()].copy()
        # Where every token of the clean answer is still the likeliest, the greedy answer is the same one.
        other = ((found.argmax(-1) != answer) & counted).any(-1).nonzero().squeeze(1)
        if len(other):
            numbers[other.cpu().numpy()] = _numbers([a.number for a in codi.answer(some_of(before, other))])
        return Effect(numbers, kl.double().cpu().numpy())


def clean_batches(codi: Codi, ids: Sequence[Sequence[int]], site: Site) -> Iterator[tuple[np.ndarray, CleanBatch]]:
    """The problems in batches of similar length: (their places in `ids`, the batch). Gradients must be off.

    Raises:
        UserError: if the model has no such site.
    """
    site.check(codi)
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        yield np.array(places), CleanBatch(codi, [ids[place] for place in places], site)


def random_error(state: Tensor, reconstruction: Tensor, seed: int) -> Tensor:
    """The state with an error as long as the reconstruction's, in a random direction; all [n, d_model]."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(state.shape, generator=generator).to(state)
    direction = direction / direction.norm(dim=1, keepdim=True)
    return state + (state - reconstruction).norm(dim=1, keepdim=True) * direction


def _numbers(found: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if number is None else number for number in found], np.float64)
