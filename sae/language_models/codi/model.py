"""A CODI model: a causal language model that thinks in hidden vectors between a question and its answer."""

from __future__ import annotations

import inspect
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sae.common.errors import UserError
from sae.language_models.blocks import decoder_blocks, text_config

#: `edit(step, layer, h)`: h [B, d_model] is the block's output at that step; what is returned takes its place.
Edit = Callable[[int, int, Tensor], Tensor]

N_THOUGHTS = 6
MAX_NEW_TOKENS = 32
_NUMBER = re.compile(r"-?\d+\.?\d*")


class Projection(nn.Sequential):
    """From a state after the final norm to the next thought's input: Linear, GELU, Linear, LayerNorm.

    The parts have the names that CODI's checkpoints give them: `1`, `3` and `ln` (`0` is a dropout, which does
    nothing here).

    Args:
        d_model: the width of the residual stream.
        d_hidden: the width between the two linear maps (CODI's `prj_dim`).
        norm: with the final LayerNorm; some checkpoints have none.
    """

    def __init__(self, d_model: int, d_hidden: int, *, norm: bool = True) -> None:
        parts: list[tuple[str, nn.Module]] = [
            ("0", nn.Dropout(0.0)),
            ("1", nn.Linear(d_model, d_hidden)),
            ("2", nn.GELU()),
            ("3", nn.Linear(d_hidden, d_model)),
        ]
        if norm:
            parts.append(("ln", nn.LayerNorm(d_model)))
        super().__init__(OrderedDict(parts))


@dataclass
class Thinking:
    """What a model has thought about a batch of questions, and from where it can answer.

    Attributes:
        states: for each layer asked for, [steps, B, d_model]: the block's output at BOT (step 0) and at each thought.
        final: [steps, B, d_model], after the final norm: what is projected, and what the head reads.
        cache: keys and values up to here; `answer` and `continue_with` use it up.
        mask: [B, length], 1 where the cache holds something.
        position: [B], of the next token.
    """

    states: dict[int, Tensor]
    final: Tensor
    cache: Any
    mask: Tensor
    position: Tensor


@dataclass(frozen=True)
class Answer:
    """One answer, decoded greedily.

    Attributes:
        text: what it wrote.
        number: the last number in it, None if there is none.
        ids: its tokens, the end of text among them where it came.
        log_prob: of these tokens, in nats.
    """

    text: str
    number: float | None
    ids: tuple[int, ...]
    log_prob: float


class Codi:
    """A Hugging Face causal language model with CODI's projection and its three extra embedding rows.

    The rows behind the vocabulary of V words are padding (V), BOT (V + 1) and EOT (V + 2). A question is read, then
    BOT; its last state, projected, is the input of the first thought, and so on; after the last thought EOT opens
    the answer. Step 0 is BOT, steps 1 to 6 are the thoughts.

    Source: arXiv 2502.21074 and its code (github.com/zhenyi4/codi, `test.py`). Unlike there, padding is masked and
    positions are counted without it, so that a row does not depend on its batch.

    Args:
        language_model: with V + 3 embedding rows.
        projection: d_model to d_model.
        tokenizer: of the V words.
        source: where it came from.
        first_extra: V.

    Raises:
        UserError: if the decoder blocks can't be found.
    """

    def __init__(
        self, language_model: Any, projection: nn.Module, tokenizer: Any, source: dict[str, Any], first_extra: int
    ) -> None:
        self.language_model = language_model.eval()
        self.projection = projection.eval()
        self.tokenizer = tokenizer
        self.source = source
        self.pad_id, self.bot_id, self.eot_id = first_extra, first_extra + 1, first_extra + 2
        self.n_thoughts: int = source.get("n_thoughts", N_THOUGHTS)
        config = text_config(language_model)
        self.d_model: int = config.hidden_size
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        self.context: int | None = min((limit for limit in limits if limit), default=None)
        self._blocks = decoder_blocks(language_model)
        self.n_layers = len(self._blocks)
        for block in self._blocks:
            if _listen not in block._forward_hooks.values():
                block.register_forward_hook(_listen)
        self._norm = _final_norm(language_model)
        self._takes_positions = "position_ids" in inspect.signature(language_model.forward).parameters

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights, each once."""
        yield from self.language_model.parameters()
        yield from self.projection.parameters()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def embeddings(self) -> nn.Embedding:
        return self.language_model.get_input_embeddings()

    def head(self, final: Tensor) -> Tensor:
        """Logits [..., V + 2] of states after the final norm; EOT can never be written, and is left out."""
        return self.language_model.get_output_embeddings()(final)[..., : self.eot_id]

    @property
    def room(self) -> int | None:
        """The most tokens that a question may have, so that its thoughts and an answer fit the context as well."""
        return None if self.context is None else self.context - self.n_thoughts - 2 - MAX_NEW_TOKENS

    def tokens(self, questions: Sequence[str]) -> list[list[int]]:
        """Token ids of each question, with what the tokenizer puts before it; BOT comes by itself.

        A question is stripped and double spaces become one, as in CODI's own evaluation.
        """
        if not questions:
            return []
        cleaned = [question.strip().replace("  ", " ") for question in questions]
        ids = [list(row) for row in self.tokenizer(cleaned, add_special_tokens=True)["input_ids"]]
        return [row[:-1] if row and row[-1] == self.tokenizer.eos_token_id else row for row in ids]

    def encode(self, questions: Sequence[str]) -> list[list[int]]:
        """As `tokens`, for questions that can be read.

        Raises:
            UserError: if a question has no tokens, or with its thoughts and an answer does not fit the context.
        """
        ids = self.tokens(questions)
        for number, row in enumerate(ids):
            # A tokenizer may put a first token before nothing as well.
            if not row or not questions[number].strip():
                raise UserError(f"question {number} (counted from 0) has no words that this model reads")
            if self.room is not None and len(row) > self.room:
                raise UserError(
                    f"question {number} (counted from 0) has {len(row):,} tokens; with its thoughts and answer this "
                    f"model takes {self.room:,}"
                )
        return ids

    def unknown_words(self, questions: Sequence[str]) -> list[list[str]]:
        """For each question the words that the tokenizer does not know; a question with any can't be read rightly."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None or not questions:
            return [[] for _ in questions]
        found = []
        encoded = self.tokenizer(list(questions), return_offsets_mapping=True)
        for question, ids, spans in zip(questions, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            found.append([question[a:b] for token, (a, b) in zip(ids, spans, strict=True) if token == unknown])
        return found

    def pad(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids and mask [B, T], padded on the left, on the model's device."""
        length = max(len(row) for row in ids)
        tokens = torch.full((len(ids), length), self.pad_id, dtype=torch.long)
        mask = torch.zeros((len(ids), length), dtype=torch.long)
        for number, row in enumerate(ids):
            tokens[number, length - len(row) :] = torch.as_tensor(row, dtype=torch.long)
            mask[number, length - len(row) :] = 1
        return tokens.to(self.device), mask.to(self.device)

    def think(
        self,
        ids: Sequence[Sequence[int]],
        *,
        layers: Collection[int] = (),
        n_thoughts: int | None = None,
        zeroed: Collection[int] = (),
        edit: Edit | None = None,
        edited_layers: Collection[int] = (),
    ) -> Thinking:
        """Read questions and think about them. The caller decides on gradients.

        Args:
            ids: token ids of each question, without BOT.
            layers: blocks whose outputs are kept. The last one is taken before the final norm.
            n_thoughts: how many, the model's own number by default.
            zeroed: thoughts (1 to 6) whose input is a vector of zeros.
            edit: changes the output of the blocks of `edited_layers`, at every step; the layer `n_layers` stands for
                the state after the final norm, which is projected and read by the head.
        """
        cache, mask, position, _ = self.read(*self.pad(ids))
        return self.think_from(
            cache,
            mask,
            position,
            layers=layers,
            n_thoughts=n_thoughts,
            zeroed=zeroed,
            edit=edit,
            edited_layers=edited_layers,
        )

    def think_from(
        self,
        cache: Any,
        mask: Tensor,
        position: Tensor,
        *,
        layers: Collection[int] = (),
        n_thoughts: int | None = None,
        zeroed: Collection[int] = (),
        edit: Edit | None = None,
        edited_layers: Collection[int] = (),
        last: Tensor | None = None,
        first: int = 0,
    ) -> Thinking:
        """As `think`, from what `read` returned; the cache grows.

        Args:
            last, first: go on at step `first` after the steps before it, the last of which had the state `last`
                [B, d_model] after the final norm; what is returned then begins at `first`.
        """
        steps = self.n_thoughts if n_thoughts is None else n_thoughts
        states: dict[int, list[Tensor]] = {layer: [] for layer in sorted(set(layers))}
        final: list[Tensor] = []
        n = len(mask)
        entering = self.embed([[self.bot_id]] * n)
        with self._hooks(states, edit, edited_layers) as hooks:
            for step in range(first, steps + 1):
                if step:
                    before = final[-1] if final else last
                    projected = self.projection(before).unsqueeze(1).to(entering.dtype)
                    entering = torch.zeros_like(projected) if step in zeroed else projected
                hooks.step = step
                mask = torch.cat([mask, mask.new_ones(n, 1)], dim=1)
                state = self.run(entering, mask, position.unsqueeze(1), cache)[:, -1]
                if edit is not None and self.n_layers in edited_layers:
                    state = edit(step, self.n_layers, state).to(state.dtype)
                final.append(state)
                position = position + 1
        kept = {layer: torch.stack(found) for layer, found in states.items()}
        return Thinking(kept, torch.stack(final), cache, mask, position)

    def read(self, tokens: Tensor, mask: Tensor) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Read tokens [B, T], padded on the left.

        Returns:
            The cache, the mask, the position [B] of the next token, and the last state after the final norm
            [B, d_model].
        """
        from transformers import DynamicCache

        cache = DynamicCache()
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        last = self.run(self.embeddings(tokens), mask, positions, cache)[:, -1]
        return cache, mask, mask.sum(-1), last

    def embed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Input embeddings [B, T, d_model] of rows of equal length."""
        return self.embeddings(torch.tensor(ids, dtype=torch.long, device=self.device))

    def run(self, entering: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """States after the final norm [B, T, d_model] of further inputs [B, T, d_model]; the cache grows."""
        return self.run_all(entering, mask, positions, cache)[-1]

    def run_all(self, entering: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> tuple[Tensor, ...]:
        """As `run`: transformers' `hidden_states`, n_layers + 1 of them, the last one after the final norm."""
        further = {"position_ids": positions} if self._takes_positions else {}
        return self.language_model.base_model(
            inputs_embeds=entering,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
            **further,
        ).hidden_states

    def continue_with(self, thinking: Thinking, ids: Sequence[Sequence[int]]) -> Tensor:
        """Logits [B, T + 1, V + 2] after EOT and after each of the tokens `ids` (rows of equal length)."""
        rows = [[self.eot_id, *row] for row in ids]
        length = len(rows[0])
        mask = torch.cat([thinking.mask, thinking.mask.new_ones(len(rows), length)], dim=1)
        positions = thinking.position.unsqueeze(1) + torch.arange(length, device=self.device)
        thinking.mask, thinking.position = mask, thinking.position + length
        return self.head(self.run(self.embed(rows), mask, positions, thinking.cache))

    def answer(self, thinking: Thinking, max_new_tokens: int = MAX_NEW_TOKENS) -> list[Answer]:
        """Answer greedily; the cache of `thinking` is used up."""
        logits = self.continue_with(thinking, [[]] * len(thinking.mask))[:, -1]
        return self._write(logits, thinking.cache, thinking.mask, thinking.position, max_new_tokens)

    def reason(self, ids: Sequence[Sequence[int]], max_new_tokens: int = 2 * MAX_NEW_TOKENS) -> list[Answer]:
        """Answer as the teacher does, reasoning in words right after the question."""
        cache, mask, position, last = self.read(*self.pad(ids))
        return self._write(self.head(last), cache, mask, position, max_new_tokens)

    def _write(self, logits: Tensor, cache: Any, mask: Tensor, position: Tensor, max_new_tokens: int) -> list[Answer]:
        """Go on greedily from the logits [B, V + 2] of the next token."""
        n = len(mask)
        end = self.tokenizer.eos_token_id
        written: list[list[int]] = [[] for _ in range(n)]
        log_prob = [0.0] * n
        open_rows = set(range(n))
        for number in range(max_new_tokens):
            scores = logits.float().log_softmax(-1)
            values, chosen = scores.max(-1)
            for row, token, value in zip(range(n), chosen.tolist(), values.tolist(), strict=True):
                if row in open_rows:
                    written[row].append(token)
                    log_prob[row] += value
                    if token == end:
                        open_rows.discard(row)
            if self.context is not None:
                # A model may have no embedding for a place behind its context, not even for a row that is done.
                open_rows -= {row for row, place in enumerate(position.tolist()) if place >= self.context}
                position = position.clamp_max(self.context - 1)
            if not open_rows or number == max_new_tokens - 1:
                break
            mask = torch.cat([mask, mask.new_ones(n, 1)], dim=1)
            states = self.run(self.embeddings(chosen.unsqueeze(1)), mask, position.unsqueeze(1), cache)
            position = position + 1
            logits = self.head(states[:, -1])
        found = []
        for tokens, score in zip(written, log_prob, strict=True):
            text = self.tokenizer.decode([token for token in tokens if token != end and token < self.pad_id])
            found.append(Answer(text.strip(), last_number(text), tuple(tokens), score))
        return found

    def reads_as(self, final: Tensor, top: int = 5) -> tuple[list[list[str]], Tensor]:
        """The words that states after the final norm [n, d_model] are nearest to: top words and their probabilities."""
        shares, ids = self.head(final).float().softmax(-1).topk(top, dim=-1)
        words = [[self._word(token) for token in row] for row in ids.tolist()]
        return words, shares

    def _word(self, token: int) -> str:
        if token >= self.pad_id:
            return {self.pad_id: "<pad>", self.bot_id: "<bot>"}.get(token, "<eot>")
        return self.tokenizer.decode([token])

    @contextmanager
    def _hooks(self, states: dict[int, list[Tensor]], edit: Edit | None, edited: Collection[int]) -> Iterator[_At]:
        """Collect the outputs of blocks while this thread thinks, and change those that are edited."""
        at = _At(states, edit, edited, {id(block): layer for layer, block in enumerate(self._blocks)})
        before = getattr(_HERE, "at", None)
        _HERE.at = at
        try:
            yield at
        finally:
            _HERE.at = before

    def final_norm(self, states: Tensor) -> Tensor:
        """The model's final norm, which `hidden_states` of transformers has already applied to the last block."""
        return self._norm(states)


#: What each thread is thinking: several may think with one model at once.
_HERE = threading.local()


@dataclass
class _At:
    """What is collected and changed on this thread, and which step it is at."""

    states: dict[int, list[Tensor]]
    edit: Edit | None
    edited: Collection[int]
    layers: dict[int, int]
    step: int = 0


def _listen(block: nn.Module, arguments: Any, output: Any) -> Any:
    """The forward hook of every block; it stays there, since hooks that come and go are seen by all threads."""
    at: _At | None = getattr(_HERE, "at", None)
    layer = None if at is None else at.layers.get(id(block))
    if at is None or layer is None:
        return None
    hidden = output[0] if isinstance(output, tuple) else output
    changed = hidden
    if at.edit is not None and layer in at.edited:
        changed = at.edit(at.step, layer, hidden[:, -1]).to(hidden.dtype).unsqueeze(1)
    if layer in at.states:
        at.states[layer].append(changed[:, -1])
    if changed is hidden:
        return None
    return (changed, *output[1:]) if isinstance(output, tuple) else changed


def last_number(text: str) -> float | None:
    """The last number in a text, thousands separators removed, as CODI's own evaluation reads it."""
    found = _NUMBER.findall(text.replace(",", ""))
    return float(found[-1]) if found else None


def _final_norm(model: Any) -> nn.Module:
    base = model.base_model
    for name in ("norm", "ln_f", "final_layernorm", "final_layer_norm"):
        if isinstance(found := getattr(base, name, None), nn.Module):
            return found
    raise UserError(f"the final norm of a {type(model).__name__} can't be found")
