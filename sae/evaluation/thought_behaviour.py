"""What a reconstruction does to a thinking model's answer: KL and cross-entropy of the reference answer's tokens.

One state of the thoughts is replaced, as in `sae.evaluation.patching`, and the model thinks on; the reference answer is
then given to it token by token. Conditions and units are those of `sae.evaluation.behaviour`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sae.evaluation.behaviour import Effects, Group
from sae.evaluation.saebench_core import kl_of_probabilities
from sae.language_models.codi.forks import Thought

if TYPE_CHECKING:
    from sae.evaluation.patching import Site
    from sae.language_models.codi.model import Codi, Edit
    from sae.models.base import SAE


def of_thoughts(
    codi: Codi,
    site: Site,
    sae: SAE,
    mean: np.ndarray,
    groups: Sequence[Sequence[int]],
    questions: Sequence[list[int]],
    answers: Sequence[list[int]],
) -> Iterator[Group]:
    """Think about each group of problems (places in `questions`) clean and under every condition.

    Args:
        mean: float [d_model], of the train rows.
        questions, answers: token ids of each problem; an answer ends with the end of text.

    Raises:
        UserError: if the model has no such site.
    """
    site.check(codi)
    centre = torch.as_tensor(mean, dtype=torch.float32, device=codi.device)
    for group in groups:
        with torch.inference_mode():
            yield _of_group(codi, site, sae, centre, group, [questions[p] for p in group], [answers[p] for p in group])


def _of_group(
    codi: Codi,
    site: Site,
    sae: SAE,
    mean: Tensor,
    group: Sequence[int],
    questions: list[list[int]],
    answers: list[list[int]],
) -> Group:
    inside = site.layer < codi.n_layers
    thought = Thought.about(codi, questions, layers=[site.layer] if inside else [])
    thinking = thought.thinking
    x = (thinking.states[site.layer] if inside else thinking.final)[site.step].float()
    longest = max(map(len, answers))
    rows = [[*answer, *[codi.pad_id] * (longest - len(answer))] for answer in answers]
    wanted = torch.tensor(rows, device=x.device)
    lengths = torch.tensor([len(answer) for answer in answers], device=x.device)
    counted = torch.arange(longest, device=x.device) < lengths.unsqueeze(1)

    def predictions(state: Tensor | None) -> Tensor:
        """Log-probabilities [m, V] at the counted places."""
        if state is None:
            going_on = thought.stopped()
        else:
            going_on = thought.again(site.step, edit=_put(site.step, state), edited_layers=[site.layer])
        # The last token predicts nothing that is counted.
        logits = codi.continue_with(going_on, [row[:-1] for row in rows])
        return logits[counted].float().log_softmax(-1)

    def cross_entropy(log_probs: Tensor) -> np.ndarray:
        return -log_probs.gather(1, wanted[counted].unsqueeze(1)).squeeze(1).double().cpu().numpy()

    clean = predictions(None)
    kl, theirs, ce = {}, {}, {"clean": cross_entropy(clean)}
    states = {"sae": sae(x), "mean": mean.expand_as(x), "zero": torch.zeros_like(x)}
    for name, state in states.items():
        found = predictions(state)
        kl[name] = (clean.exp() * (clean - found)).sum(-1).double().cpu().numpy()
        ce[name] = cross_entropy(found)
        if name != "mean":
            theirs["zero_all" if name == "zero" else name] = kl_of_probabilities(clean, found).double().cpu().numpy()
    ce["zero_all"] = ce["zero"]
    owner = np.repeat(np.asarray(group), lengths.cpu().numpy())
    return Group(x, np.asarray(group), Effects(kl, theirs, owner, ce, owner))


def _put(at: int, state: Tensor) -> Edit:
    def edit(step: int, layer: int, h: Tensor) -> Tensor:
        return state.to(h.dtype) if step == at else h

    return edit
