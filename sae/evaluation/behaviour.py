"""What a reconstruction does to a language model's predictions: KL and cross-entropy, token by token.

A state is replaced under each of these conditions, and the model reads on:

- `sae`: by the SAE's reconstruction; `mean`: by the mean of the train rows; `zero`: by zeros.
- `zero_all`: zeros in place of every token's state, special tokens too, as SAEBench ablates; taken only where there are
  special tokens, else it is `zero`.

KL(clean || replaced) is in nats, of the prediction made at a replaced token; cross-entropy in nats is of the token
that follows one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae.common.errors import UserError
from sae.evaluation.saebench_core import kl_of_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from sae.language_models.editing import Run
    from sae.language_models.model import LanguageModel
    from sae.models.base import SAE

CONDITIONS = ("sae", "mean", "zero")
#: Logits of a forward pass stay below so many numbers (64 MB), and what is made of them below a quarter.
_LARGEST = 2**24


class Text(NamedTuple):
    """One text as the model reads it: token ids, and the indices of the tokens whose states are replaced."""

    ids: list[int]
    measured: list[int]


@dataclass
class Effects:
    """Numbers by token, one entry a token in each array, with the text that each belongs to.

    Attributes:
        kl: by condition, [n].
        theirs: KL as SAEBench takes it, for `sae` and `zero_all`, [n].
        kl_text: int [n].
        ce: by condition and `clean`, [m].
        ce_text: int [m].
    """

    kl: dict[str, np.ndarray] = field(default_factory=dict)
    theirs: dict[str, np.ndarray] = field(default_factory=dict)
    kl_text: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    ce: dict[str, np.ndarray] = field(default_factory=dict)
    ce_text: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[Effects]) -> Effects:
        """All of them, one after another."""

        def table(name: str) -> dict[str, np.ndarray]:
            keys = getattr(parts[0], name) if parts else {}
            return {key: np.concatenate([getattr(part, name)[key] for part in parts]) for key in keys}

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts]) if parts else np.empty(0, np.int64)

        return cls(table("kl"), table("theirs"), column("kl_text"), table("ce"), column("ce_text"))


class Group(NamedTuple):
    """A group of texts: the states that were replaced [n, d_model] on the device, the text of each, the effects."""

    x: Tensor
    text: np.ndarray
    effects: Effects


def of_texts(
    model: LanguageModel,
    layer: int,
    sae: SAE,
    mean: np.ndarray,
    groups: Sequence[Sequence[int]],
    texts: Sequence[Text],
    tick: Callable[[], None] = lambda: None,
) -> Iterator[Group]:
    """Read each group of texts (places in `texts`) clean and under every condition, after block `layer`.

    Args:
        mean: float [d_model], of the train rows.
        tick: called while a group is waited for.

    Raises:
        UserError: if the SAE's rows are not as wide as the model's states, or the model has no such layer.
    """
    from sae.language_models.cores import in_order
    from sae.language_models.editing import edited

    if sae.d_in != model.d_model:
        raise UserError(
            f"this SAE reads rows of {sae.d_in:,} dimensions, the states of {model.source.get('name')!r} have "
            f"{model.d_model:,}: it was trained on another model"
        )
    centre = torch.as_tensor(mean, dtype=torch.float32, device=model.device)
    with edited(model, layer) as run:

        def work(group: Sequence[int], stop: Event) -> Group:
            with torch.inference_mode():
                return _of_group(model, run, sae, centre, group, texts, stop)

        yield from in_order(work, groups, workers=model.workers, tick=tick)


def _of_group(
    model: LanguageModel, run: Run, sae: SAE, mean: Tensor, group: Sequence[int], texts: Sequence[Text], stop: Event
) -> Group:
    vocabulary = int(model.model.get_output_embeddings().weight.shape[0])
    most = max(1, _LARGEST // vocabulary)
    states: dict[int, Tensor] = {}
    parts: dict[int, Effects] = {}
    for batch in _batches([len(texts[place].ids) for place in group], most):
        if stop.is_set():
            break
        places = [group[index] for index in batch]
        found, effects = _of_batch(model, run, sae, mean, [texts[place] for place in places])
        for place, state, part in zip(places, found, effects, strict=True):
            part.kl_text, part.ce_text = np.full(len(part.kl_text), place), np.full(len(part.ce_text), place)
            states[place], parts[place] = state, part
    done = [place for place in group if place in states]
    owner = np.concatenate([np.full(len(states[place]), place) for place in done]) if done else np.empty(0, np.int64)
    x = torch.cat([states[place] for place in done]) if done else mean.new_empty(0, len(mean))
    return Group(x, owner, Effects.joined([parts[place] for place in done]))


def _batches(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Texts of like length together, the longest first; padded at most `most_tokens` tokens, or one text."""
    found: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if found and (len(found[-1]) + 1) * lengths[found[-1][0]] <= most_tokens:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _of_batch(
    model: LanguageModel, run: Run, sae: SAE, mean: Tensor, texts: Sequence[Text]
) -> tuple[list[Tensor], list[Effects]]:
    """States and effects of each text of one forward pass."""
    ids, mask = model.pad([text.ids for text in texts])
    replaced = torch.zeros_like(mask, dtype=torch.bool)
    for row, text in enumerate(texts):
        replaced[row, text.measured] = True
    # A prediction is compared with the token behind it, where there is one.
    followed = replaced & (torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1) == 1)
    following = ids.roll(-1, dims=1)[followed]
    kept: list[Tensor] = []

    def look(h: Tensor) -> Tensor:
        kept.append(h[replaced].float())
        return h

    clean = _Predictions(run(ids, mask, look)[replaced], followed[replaced])
    x = kept[0]
    states = {"sae": sae(x), "mean": mean.expand_as(x), "zero": torch.zeros_like(x)}
    whole = bool((replaced == (mask == 1)).all())
    kl: dict[str, Tensor] = {}
    theirs: dict[str, Tensor] = {}
    ce = {"clean": clean.cross_entropy(following)}

    def put(state: Tensor) -> Callable[[Tensor], Tensor]:
        def edit(h: Tensor) -> Tensor:
            changed = h.clone()
            changed[replaced] = state.to(h.dtype)
            return changed

        return edit

    def measure(name: str, edit: Callable[[Tensor], Tensor], *, ours: bool, as_saebench: str | None) -> None:
        found = _Predictions(run(ids, mask, edit)[replaced], followed[replaced])
        if ours:
            kl[name] = clean.kl(found)
        if as_saebench:
            theirs[as_saebench] = clean.kl_of_probabilities(found)
        ce[name] = found.cross_entropy(following)

    measure("sae", put(states["sae"]), ours=True, as_saebench="sae")
    measure("mean", put(states["mean"]), ours=True, as_saebench=None)
    measure("zero", put(states["zero"]), ours=True, as_saebench="zero_all" if whole else None)
    if whole:
        ce["zero_all"] = ce["zero"]
    else:
        measure("zero_all", torch.zeros_like, ours=False, as_saebench="zero_all")
    return _by_text(x, replaced, followed, kl, theirs, ce)


def _by_text(
    x: Tensor,
    replaced: Tensor,
    followed: Tensor,
    kl: dict[str, Tensor],
    theirs: dict[str, Tensor],
    ce: dict[str, Tensor],
) -> tuple[list[Tensor], list[Effects]]:
    sizes, pairs = replaced.sum(1).tolist(), followed.sum(1).tolist()

    def split(table: dict[str, Tensor], counts: list[int]) -> list[dict[str, np.ndarray]]:
        cut = {name: values.double().cpu().split(counts) for name, values in table.items()}
        return [{name: parts[row].numpy() for name, parts in cut.items()} for row in range(len(counts))]

    effects = [
        Effects(one, other, np.empty(n, np.int64), losses, np.empty(m, np.int64))
        for one, other, losses, n, m in zip(
            split(kl, sizes), split(theirs, sizes), split(ce, pairs), sizes, pairs, strict=True
        )
    ]
    return list(x.split(sizes)), effects


class _Predictions:
    """Log-probabilities [n, V] of replaced tokens; `followed` says behind which of them a token stands."""

    def __init__(self, logits: Tensor, followed: Tensor) -> None:
        self._log_probs = logits.float().log_softmax(-1)
        self._followed = followed

    def cross_entropy(self, following: Tensor) -> Tensor:
        rows = self._followed.nonzero().squeeze(1)
        return -self._log_probs[rows, following]

    def kl(self, other: _Predictions) -> Tensor:
        return self._in_parts(other, lambda p, q: (p.exp() * (p - q)).sum(-1))

    def kl_of_probabilities(self, other: _Predictions) -> Tensor:
        return self._in_parts(other, kl_of_probabilities)

    def _in_parts(self, other: _Predictions, divergence: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        size = max(1, _LARGEST // 4 // self._log_probs.shape[1])
        parts = zip(self._log_probs.split(size), other._log_probs.split(size), strict=True)
        return torch.cat([divergence(p, q) for p, q in parts])
