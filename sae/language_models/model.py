"""A causal language model with its tokenizer: residual streams and greedy answers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sae.common.errors import UserError
from sae.common.progress import Progress, Silent

from .blocks import decoder_blocks, text_config
from .cores import in_order, workers_for
from .kernels import onednn_linear_helps, use_onednn
from .quiet import quiet


class _Enough(Exception):
    """Leaves a forward pass once the last block that was asked for has run."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as the model reads it.

    Attributes:
        ids: token ids, with the special tokens that the tokenizer adds by itself.
        kept: indices into `ids` of the tokens that stand for the text (not special).
        starts, ends: for each kept token, the characters of the text it stands for: `text[start:end]`. Tokens
            that share a character (parts of one emoji, say) have overlapping ranges.
    """

    ids: list[int]
    kept: list[int]
    starts: list[int]
    ends: list[int]


class LanguageModel:
    """Wraps a Hugging Face causal language model and its tokenizer.

    Attributes:
        model, tokenizer: as transformers made them; the model is in evaluation mode.
        source: where it came from: name, kind, files' SHA-256 or revision, quantisation, licence.
        n_layers: the number of decoder blocks.
        d_model: the width of the residual stream.
        context: the most tokens it can read, or None if it has no limit.

    Raises:
        UserError: if the decoder blocks can't be found, or the tokenizer can't say where its tokens stand.
    """

    def __init__(self, model: Any, tokenizer: Any, source: dict[str, Any]) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.source = source
        #: What computes linear layers on the CPU: `onednn` or `default`. It decides the last bits.
        self.kernel = "onednn" if self.device.type == "cpu" and onednn_linear_helps() else "default"
        if self.kernel == "onednn":
            use_onednn(model)
        self._blocks = decoder_blocks(model)
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"the tokenizer of {source.get('name')!r} can't say which characters a token stands for: "
                "a model with a tokenizer.json is needed"
            )
        self.n_layers = len(self._blocks)
        config = text_config(model)
        self.d_model: int = config.hidden_size
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        self.context: int | None = min((limit for limit in limits if limit), default=None)

    @property
    def blocks(self) -> nn.ModuleList:
        """The decoder blocks, in the order in which they run."""
        return self._blocks

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def _takes_positions(self) -> bool:
        return "position_ids" in inspect.signature(self.model.forward).parameters

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text, with the special tokens that the tokenizer adds; nothing is cut off."""
        if not texts:
            return []
        with quiet():
            encoded = self.tokenizer(
                list(texts),
                add_special_tokens=True,
                truncation=False,
                padding=False,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
            )
        found = []
        for ids, special, offsets in zip(
            encoded["input_ids"], encoded["special_tokens_mask"], encoded["offset_mapping"], strict=True
        ):
            kept = [index for index, flag in enumerate(special) if not flag]
            found.append(
                Tokens(list(ids), kept, [offsets[index][0] for index in kept], [offsets[index][1] for index in kept])
            )
        return found

    def pad(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids [B, T] and attention mask [B, T] of a batch, padded on the right, on the model's device."""
        length = max(len(row) for row in ids)
        # Any id will do: the mask hides it, and it stands behind everything that is read.
        tokens = torch.zeros((len(ids), length), dtype=torch.long)
        mask = torch.zeros((len(ids), length), dtype=torch.long)
        for number, row in enumerate(ids):
            tokens[number, : len(row)] = torch.as_tensor(row, dtype=torch.long)
            mask[number, : len(row)] = 1
        return tokens.to(self.device), mask.to(self.device)

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """The residual stream after each block of `layers` (counted from 0), before any final norm.

        The blocks behind the last one asked for do not run. Positions count from 0 at the first token of each row,
        so with right padding a row is the same, up to rounding, in whatever batch it stands.

        Args:
            input_ids: [B, T].
            attention_mask: [B, T], 1 for tokens, 0 for padding on the right.

        Returns:
            For each layer a tensor [B, T, d_model] in the model's precision; what stands at padding means nothing.

        Raises:
            UserError: if `layers` is empty or names a block that isn't there.
        """
        with self.reader(layers) as read:
            return read(input_ids, attention_mask)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """What transformers' model gives for tokens [B, T] padded on the right: `logits` [B, T, V], and more."""
        further: dict[str, Any] = {}
        if self._takes_positions:
            further["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp_min(0)
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **further)

    @contextmanager
    def reader(self, layers: Sequence[int]) -> Iterator[Callable[[Tensor, Tensor], dict[int, Tensor]]]:
        """`hidden_states` of fixed `layers`, for many batches, which may be read on several threads at once.

        Raises:
            UserError: as `hidden_states`.
        """
        wanted = self.check_layers(layers)
        here = threading.local()

        def keep(layer: int) -> Any:
            def hook(module: nn.Module, arguments: Any, output: Any) -> None:
                here.found[layer] = output[0] if isinstance(output, tuple) else output
                if layer == wanted[-1]:
                    raise _Enough

            return hook

        def read(input_ids: Tensor, attention_mask: Tensor) -> dict[int, Tensor]:
            here.found = {}
            with torch.inference_mode(), suppress(_Enough):
                self.forward(input_ids, attention_mask)
            return here.found

        hooks = [self._blocks[layer].register_forward_hook(keep(layer)) for layer in wanted]
        try:
            yield read
        finally:
            for hook in hooks:
                hook.remove()

    @property
    def workers(self) -> int:
        """How many batches are worked on at once (see `cores.workers_for`)."""
        return workers_for(self.model)

    def check_layers(self, layers: Sequence[int]) -> list[int]:
        """`layers` sorted, each once.

        Raises:
            UserError: if there are none, or one is out of range, naming the range.
        """
        wanted = sorted(set(layers))
        if not wanted:
            raise UserError("no layer was asked for")
        if wanted[0] < 0 or wanted[-1] >= self.n_layers:
            wrong = wanted[0] if wanted[0] < 0 else wanted[-1]
            raise UserError(
                f"layer {wrong} is not there: {self.source.get('name')!r} has layers 0 to {self.n_layers - 1}"
            )
        return wanted

    def greedy_answers(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 256,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[str]:
        """What the model writes after each prompt, always taking the likeliest token; the prompt is not part of it.

        Prompts are padded on the left with a mask, so an answer does not depend on its neighbours (but for ties
        within rounding). Special tokens that a prompt needs must stand in it: none are added.

        Args:
            prompts: as `prompt` makes them.

        Raises:
            UserError: if a prompt leaves no room for an answer in the model's context.
        """
        progress = progress or Silent()
        lengths = self.prompt_lengths(prompts)
        # Neighbours of like length waste least on padding.
        order = sorted(range(len(prompts)), key=lambda index: (-lengths[index], index))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        answers, done = [""] * len(prompts), 0
        texts = [[prompts[index] for index in batch] for batch in batches]
        for batch, written in zip(batches, self.answer_batches(texts, max_new_tokens=max_new_tokens), strict=True):
            for index, answer in zip(batch, written, strict=True):
                answers[index] = answer
            done += len(batch)
            progress.update(done, len(order), "answers")
        return answers

    def prompt_lengths(self, prompts: Sequence[str]) -> list[int]:
        """Tokens of each prompt."""
        return [len(ids) for ids in self._encode_prompts(prompts)]

    def answer_batches(
        self,
        batches: Sequence[Sequence[str]],
        *,
        max_new_tokens: int = 256,
        tick: Callable[[], None] = lambda: None,
    ) -> Generator[list[str], None, None]:
        """As `greedy_answers`, for batches of prompts: their answers in order, as they come.

        Args:
            tick: called several times a second while waiting; what it raises ends the generation.
        """
        from transformers import GenerationConfig

        encoded = [self._encode_prompts(batch) for batch in batches]
        longest = max((len(ids) for batch in encoded for ids in batch), default=0)
        if self.context is not None and longest >= self.context:
            raise UserError(f"a prompt has {longest:,} tokens, the model's context {self.context:,}")
        theirs = getattr(self.model, "generation_config", None)
        end = (theirs.eos_token_id if theirs is not None else None) or self.tokenizer.eos_token_id
        first_end = end[0] if isinstance(end, list) else end
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else first_end
        # A model's own generation settings (a penalty on repeats, say) would no longer be its greedy answer.
        config = GenerationConfig(
            do_sample=False, num_beams=1, eos_token_id=end, pad_token_id=0 if pad is None else pad
        )
        self.model.generation_config = config
        try:
            with quiet():
                yield from in_order(
                    lambda batch, stop: self._generate(batch, max_new_tokens, stop),
                    encoded,
                    workers=self.workers,
                    tick=tick,
                )
        finally:
            self.model.generation_config = theirs

    def prompt(self, question: str, chat: str, plain: str) -> str:
        """The text to go on from: `chat` as a user's turn in the tokenizer's template if it has one, else `plain`.

        `{question}` in either is replaced by the question.
        """
        if not self.tokenizer.chat_template:
            text = plain.replace("{question}", question)
            # Models that were trained with a first token expect it.
            first = self.tokenizer("", add_special_tokens=True)["input_ids"]
            return self.tokenizer.decode(first[:1]) + text if first[:1] == [self.tokenizer.bos_token_id] else text
        turn = [{"role": "user", "content": chat.replace("{question}", question)}]
        return self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)

    def _encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        if not prompts:
            return []
        with quiet():
            return [list(ids) for ids in self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]]

    def _generate(self, encoded: Sequence[Sequence[int]], max_new_tokens: int, stop: threading.Event) -> list[str]:
        length = max(len(ids) for ids in encoded)
        room = max_new_tokens if self.context is None else min(max_new_tokens, self.context - length)
        tokens = torch.zeros((len(encoded), length), dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for number, ids in enumerate(encoded):
            tokens[number, length - len(ids) :] = torch.as_tensor(ids, dtype=torch.long)
            mask[number, length - len(ids) :] = 1

        def stopped(written: Tensor, scores: Any, **rest: Any) -> Tensor:
            return torch.full((len(written),), stop.is_set(), dtype=torch.bool, device=written.device)

        with torch.inference_mode():
            written = self.model.generate(
                input_ids=tokens.to(self.device),
                attention_mask=mask.to(self.device),
                max_new_tokens=room,
                stopping_criteria=[stopped],
            )
        texts = self.tokenizer.batch_decode(written[:, length:].cpu(), skip_special_tokens=True)
        return [text.strip() for text in texts]
