"""A CODI model in plain operations, in float64 and without a cache: every step reads everything from the beginning.

Written from the definitions (LLaMA, GPT-2, LoRA, CODI's `test.py`), not from the code that it is compared with. It
takes a checkpoint's tensors as they are published.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tests.language_models.codi import published as p

SCALE = 32 / p.RANK


class Steps(NamedTuple):
    """`blocks` [steps, n_layers, d] raw; `final` [steps, d] after the final norm; `read` [T, d], all inputs so far."""

    blocks: Tensor
    final: Tensor
    read: Tensor


class Plain:
    """One checkpoint.

    Args:
        state: its tensors.
        scale: of LoRA.
        scaled: with the rotary frequencies of Llama 3.
    """

    def __init__(self, state: dict[str, Tensor], family: str, *, scale: float = SCALE, scaled: bool = True) -> None:
        self.family, self.scaled = family, scaled
        self.weights = {name: tensor.double() for name, tensor in state.items()}
        self.scale = scale
        self.embeddings = self["model.embed_tokens" if family == "llama" else "transformer.wte"]

    def __getitem__(self, name: str) -> Tensor:
        """A weight that maps x to x W^T, with what LoRA adds to it."""
        whole = self.weights.get(f"{p.PREFIX}{name}.weight")
        if whole is not None:
            return whole
        base = self.weights[f"{p.PREFIX}{name}.base_layer.weight"]
        base = base.T if self.family == "gpt2" else base
        a = self.weights[f"{p.PREFIX}{name}.lora_A.default.weight"]
        b = self.weights[f"{p.PREFIX}{name}.lora_B.default.weight"]
        return base + self.scale * torch.einsum("or,ri->oi", b, a)

    def bias(self, name: str) -> Tensor:
        found = self.weights.get(f"{p.PREFIX}{name}.bias")
        return found if found is not None else self.weights[f"{p.PREFIX}{name}.base_layer.bias"]

    # the two families

    def run(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Inputs [T, d] to the output of each block [T, d], and the state after the final norm."""
        blocks = []
        if self.family == "gpt2":
            x = x + self["transformer.wpe"][: len(x)]
        for i in range(p.N_LAYERS):
            x = self._llama_block(x, f"model.layers.{i}") if self.family == "llama" else self._gpt2_block(x, i)
            blocks.append(x)
        final = self._rms(x, "model.norm") if self.family == "llama" else self._layer_norm(x, "transformer.ln_f")
        return blocks, final

    def _llama_block(self, x: Tensor, name: str) -> Tensor:
        h = self._rms(x, f"{name}.input_layernorm")
        q, k, v = (h @ self[f"{name}.self_attn.{part}_proj"].T for part in "qkv")
        width = p.D_MODEL // p.HEADS
        heads = []
        for head in range(p.HEADS):
            shared = head * p.KV_HEADS // p.HEADS
            mine = slice(head * width, (head + 1) * width)
            theirs = slice(shared * width, (shared + 1) * width)
            heads.append(_attend(self._turned(q[:, mine]), self._turned(k[:, theirs]), v[:, theirs]))
        x = x + torch.cat(heads, 1) @ self[f"{name}.self_attn.o_proj"].T
        h = self._rms(x, f"{name}.post_attention_layernorm")
        gate = h @ self[f"{name}.mlp.gate_proj"].T
        inner = gate / (1 + torch.exp(-gate)) * (h @ self[f"{name}.mlp.up_proj"].T)
        return x + inner @ self[f"{name}.mlp.down_proj"].T

    def _gpt2_block(self, x: Tensor, layer: int) -> Tensor:
        def linear(h: Tensor, part: str) -> Tensor:
            return h @ self[f"{name}.{part}"].T + self.bias(f"{name}.{part}")

        name = f"transformer.h.{layer}"
        q, k, v = linear(self._layer_norm(x, f"{name}.ln_1"), "attn.c_attn").split(p.D_MODEL, dim=1)
        width = p.D_MODEL // p.HEADS
        parts = [slice(head * width, (head + 1) * width) for head in range(p.HEADS)]
        x = x + linear(torch.cat([_attend(q[:, s], k[:, s], v[:, s]) for s in parts], 1), "attn.c_proj")
        h = linear(self._layer_norm(x, f"{name}.ln_2"), "mlp.c_fc")
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        return x + linear(h, "mlp.c_proj")

    def _turned(self, x: Tensor) -> Tensor:
        """Rotary embedding of one head [T, width]: place t turns the pair (j, j + width / 2) by t times frequency j."""
        half = x.shape[1] // 2
        turned = torch.empty_like(x)
        for j in range(half):
            frequency = p.THETA ** (-j / half)
            angle = torch.arange(len(x)).double() * (self._llama3(frequency) if self.scaled else frequency)
            turned[:, j] = x[:, j] * angle.cos() - x[:, j + half] * angle.sin()
            turned[:, j + half] = x[:, j + half] * angle.cos() + x[:, j] * angle.sin()
        return turned

    @staticmethod
    def _llama3(frequency: float) -> float:
        """Long waves are stretched by the factor, short ones are left, and those between are mixed."""
        turns = p.SCALING["original_max_position_embeddings"] * frequency / (2 * math.pi)
        low, high = p.SCALING["low_freq_factor"], p.SCALING["high_freq_factor"]
        kept = min(1.0, max(0.0, (turns - low) / (high - low)))
        return kept * frequency + (1 - kept) * frequency / p.SCALING["factor"]

    def _rms(self, x: Tensor, name: str) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + p.EPSILON).sqrt() * self[name]

    def _layer_norm(self, x: Tensor, name: str) -> Tensor:
        return _normed(x) * self[name] + self.bias(name)

    # CODI

    def project(self, x: Tensor) -> Tensor:
        w = self.weights
        h = w["prj.1.weight"] @ x + w["prj.1.bias"]
        h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        h = w["prj.3.weight"] @ h + w["prj.3.bias"]
        return _normed(h) * w["prj.ln.weight"] + w["prj.ln.bias"] if "prj.ln.weight" in w else h

    def think(self, ids: list[int], n_thoughts: int = 6, zeroed: tuple[int, ...] = ()) -> Steps:
        """Read a question, BOT and the thoughts, each the projection of the state before it."""
        read = self.embeddings[[*ids, p.V + 1]]
        blocks: list[Tensor] = []
        final: list[Tensor] = []
        for step in range(n_thoughts + 1):
            if step:
                thought = self.project(final[-1])
                read = torch.cat([read, (0 * thought if step in zeroed else thought)[None]])
            found, last = self.run(read)
            blocks.append(torch.stack([block[-1] for block in found]))
            final.append(last[-1])
        return Steps(torch.stack(blocks), torch.stack(final), read)

    def logits(self, steps: Steps, ids: list[int]) -> Tensor:
        """[T + 1, V + 2] after EOT and each of `ids`."""
        _, final = self.run(torch.cat([steps.read, self.embeddings[[p.V + 2, *ids]]]))
        return (final @ self.embeddings.T)[-len(ids) - 1 :, : p.V + 2]

    def answer(self, steps: Steps, end: int, most: int) -> tuple[list[int], float]:
        """Greedy tokens and their log-probability."""
        ids: list[int] = []
        score = 0.0
        while len(ids) < most and (not ids or ids[-1] != end):
            shares = self.logits(steps, ids)[-1].log_softmax(-1)
            ids.append(int(shares.argmax()))
            score += float(shares.max())
        return ids, score


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.T / math.sqrt(q.shape[1])
    hidden = torch.ones(len(q), len(q)).triu(1).bool()
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v


def _normed(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + p.EPSILON).sqrt()
