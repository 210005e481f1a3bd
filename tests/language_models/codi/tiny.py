"""Tiny CODI models over the generator's words: random weights, made in a moment, the same every time."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from sae.language_models.codi import folders
from sae.language_models.codi.config import CodiConfig
from sae.language_models.codi.model import Codi
from sae.language_models.codi.start import untrained
from sae.language_models.codi.vocabulary import words_of
from sae.problems import generate


@functools.cache
def words() -> tuple[str, ...]:
    """All words of the generator, which as many problems as these use."""
    sample = generate(3000, 0, phrasings="all", templates="all", numbers="all")
    return tuple(words_of(example.question for example in sample.examples))


def codi(
    n_layers: int = 2,
    d_model: int = 32,
    *,
    n_heads: int = 4,
    d_mlp: int = 48,
    d_projection: int = 24,
    kind: str = "pure",
    seed: int = 0,
    name: str = "tiny",
) -> Codi:
    """A model that has learnt nothing. Most questions get an answer of their own, some of them a number.

    Its sizes are chosen so that rounding does not grow from thought to thought (it stays below 1e-4), and a wrong
    state still shows.
    """
    config = CodiConfig(kind, d_model, n_layers, n_heads, d_mlp, d_projection, seed=seed)
    made = untrained(config, words())
    with torch.no_grad():
        made.embeddings.weight.mul_(0.5 * d_model**0.5)
        for block in made.language_model.base_model.layers:
            for weight in block.parameters():
                if weight.ndim > 1:
                    weight.mul_(1.2)
        made.projection.get_parameter("ln.weight").fill_(1)
    for weight in made.parameters():
        weight.requires_grad_(False)
    made.source |= {"name": name, "title": f"tiny {kind} CODI", "licence": "MIT"}
    return made


def save(folder: Path, kind: str = "pure", *, dtype: str = "float32") -> Path:
    """A tiny model as a folder of our own format."""
    folders.save(codi(kind=kind, name=folder.name), folder, card=f"# tiny {kind} CODI\n", dtype=dtype)
    return folder
