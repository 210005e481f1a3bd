"""Words of a tokenizer, prompts that ask for their first letters, and the states where the words stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    from threading import Event

    from sae.language_models.model import LanguageModel

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEMPLATE = "{word} has the first letter:"
#: Padded tokens read at once.
_CPU_TOKENS, _GPU_TOKENS = 1024, 32768
_BATCH = 64


class Prompt(NamedTuple):
    """A text that ends with a word and the question for its letter; the word's last character is `text[at]`."""

    text: str
    at: int


def words_of(tokenizer: Any) -> list[str]:
    """The tokens of a fast tokenizer that are letters a to z alone, with or without a space before them; sorted."""
    found = set()
    for token in tokenizer.get_vocab():
        word = tokenizer.convert_tokens_to_string([token])
        if token[:1] == "▁" and word[:1] != " ":  # SentencePiece's mark of a space, which some tokenizers drop
            word = " " + word
        bare = word.removeprefix(" ")
        if bare and all(letter in LETTERS for letter in bare.lower()) and bare.isascii():
            found.add(word)
    return sorted(found)


def letter_of(word: str) -> int:
    """The place of a word's first letter in `LETTERS`."""
    return LETTERS.index(word.strip()[0].lower())


def prompts(words: Sequence[str], pool: Sequence[str], n_examples: int, template: str, seed: int) -> list[Prompt]:
    """For each word `n_examples` lines about other words of `pool`, answered, and one about the word, unanswered.

    Raises:
        UserError: if the template has no `{word}`, or the pool has too few words.
    """
    if template.count("{word}") != 1:
        raise UserError(f"template {template!r} must have {{word}} once")
    if len(pool) <= n_examples:
        raise UserError(f"{len(pool)} words are too few for {n_examples} examples in each prompt")
    generator = np.random.default_rng(seed)
    before = template.index("{word}")
    found = []
    for word in words:
        drawn = [pool[place] for place in generator.choice(len(pool), n_examples + 1, replace=False)]
        shown = [other for other in drawn if other != word][:n_examples]
        lines = [f"{template.format(word=other)} {other.strip()[0].upper()}" for other in shown]
        start = "\n" + "".join(f"{line}\n" for line in lines)
        found.append(Prompt(start + template.format(word=word), len(start) + before + len(word) - 1))
    return found


def states(
    model: LanguageModel, layer: int, asked: Sequence[Prompt], tick: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """The state after block `layer` at the token that holds each prompt's word's last character, float32 [n, d_model].

    Raises:
        UserError: if the model has no such layer, or a prompt does not fit its context.
    """
    import torch

    from sae.language_models.cores import in_order

    read = model.tokenize([prompt.text for prompt in asked])
    longest = max((len(tokens.ids) for tokens in read), default=0)
    if model.context is not None and longest > model.context:
        raise UserError(f"a prompt has {longest:,} tokens, the model's context {model.context:,}: take fewer examples")
    places = [_token_at(tokens, prompt.at) for tokens, prompt in zip(read, asked, strict=True)]
    # Nothing behind the word is looked at by it.
    ids = [tokens.ids[: place + 1] for tokens, place in zip(read, places, strict=True)]
    order = sorted(range(len(ids)), key=lambda index: (-len(ids[index]), index))
    most = max(1, (_CPU_TOKENS if model.device.type == "cpu" else _GPU_TOKENS) // max(longest, 1))
    size = min(_BATCH, most)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    found = np.empty((len(ids), model.d_model), np.float32)
    done = 0
    with model.reader([layer]) as reader:

        def work(batch: list[int], stop: Event) -> np.ndarray:
            if stop.is_set():
                return np.empty((0, model.d_model), np.float32)
            hidden = reader(*model.pad([ids[index] for index in batch]))[layer]
            rows = torch.arange(len(batch), device=hidden.device)
            last = torch.tensor([places[index] for index in batch], device=hidden.device)
            return hidden[rows, last].float().cpu().numpy()

        results = in_order(work, batches, workers=model.workers, tick=lambda: tick(done))
        for batch, rows in zip(batches, results, strict=True):
            found[batch] = rows
            done += len(batch)
            tick(done)
    return found


def _token_at(tokens: Any, character: int) -> int:
    for index, start, end in zip(
        reversed(tokens.kept), reversed(tokens.starts), reversed(tokens.ends), strict=True
    ):  # fmt: skip
        if start <= character < end:
            return index
    raise UserError("the tokenizer does not say which token a word stands in: this model can't be asked for letters")
