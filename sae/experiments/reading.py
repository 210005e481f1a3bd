"""What evaluations share that let a language model read texts: the model, token ids, whether it is the captured one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    from sae.common.progress import Progress
    from sae.evaluation.behaviour import Group, Text
    from sae.experiments.measurement import Case
    from sae.language_models.model import LanguageModel

#: States that are read anew may differ from those stored by so much of their length, in the median over texts.
TOLERANCE = 0.05


def language_model_of(case: Case, name: str, progress: Progress) -> LanguageModel:
    """The language model of that name, or for an empty name the one that the activations come from.

    Raises:
        UserError: if it can't be loaded.
    """
    told = case.activations.manifest.get("model") or {}
    own = name in ("", told.get("name"))
    name = name or str(told["name"])
    progress.update(0, 1, f"loading {name}")
    return loaded(name, case.device, str(told.get("dtype", "float32")) if own else "float32")


@lru_cache(maxsize=1)
def loaded(name: str, device: str, dtype: str) -> LanguageModel:
    """A language model, the same for all runs and evaluations of a process."""
    from sae.language_models.loading import load

    return load(name, device=device, dtype=dtype)


def model_notes(source: dict[str, Any]) -> dict[str, Any]:
    """What a result says of the model that was in the loop."""
    return {name: source.get(name) for name in ("name", "kind", "title", "sha256", "revision", "dtype")}


def tokens_of(model: LanguageModel, texts: Sequence[str], tokens: str, context: int) -> tuple[list[Text], int]:
    """Token ids of each text and which are replaced; and how many texts were cut off."""
    from sae.evaluation.behaviour import Text

    limits = [limit for limit in (context, model.context) if limit]
    most = min(limits, default=None)
    found, cut = [], 0
    for read in model.tokenize(texts):
        ids = read.ids[:most]
        kept = [index for index in read.kept if index < len(ids)]
        cut += len(ids) < len(read.ids)
        found.append(Text(ids, kept[-1:] if tokens == "last" else kept))
    return found, cut


def last_states(case: Case, examples: np.ndarray | None, read: list[Text]) -> dict[int, np.ndarray]:
    """What is stored of the last token of each text of the capture, where that token was read."""
    if examples is None:
        return {}
    rows = case.slice.rows
    last = rows.groupby("example", sort=False).tail(1)
    counts = rows["example"].value_counts()
    every = case.activations.manifest.get("positions") == "all"
    by_example = dict(zip(last["example"], last.index, strict=True))
    found = {}
    for place, (example, text) in enumerate(zip(examples.tolist(), read, strict=True)):
        # A text that was cut off ends with another token.
        if example in by_example and text.measured and (not every or counts[example] == len(text.measured)):
            found[place] = case.slice.x[by_example[example]].astype(np.float32)
    return found


def check_states(case: Case, group: Group, stored: dict[int, np.ndarray]) -> None:
    """Raises UserError if the states of a group are not what is stored of them (`last_states`)."""
    apart = []
    for text, row in {int(text): row for row, text in enumerate(group.text)}.items():
        if text in stored:
            length = max(float(np.linalg.norm(stored[text])), 1e-12)
            apart.append(float(np.linalg.norm(group.x[row].cpu().numpy() - stored[text])) / length)
    if apart and not np.median(apart) <= TOLERANCE:
        raise UserError(
            f"the model's states at {case.slice.title} differ from those stored in {case.activations.name!r} by "
            f"{np.median(apart):.0%}: they come from another model, other weights or other texts; capture them again"
        )
