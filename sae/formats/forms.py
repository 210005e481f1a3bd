"""Which format can hold which architecture, under what name, and why not where it can't. It takes no torch.

What is listed is what was tried with the other package; an architecture or an option that is not listed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sae.common.errors import UserError

#: Formats that are written, and what they are for people.
WRITTEN = {
    "saelens": "SAELens: cfg.json, sae_weights.safetensors",
    "sparsify": "sparsify: cfg.json, sae.safetensors",
    "dictionary_learning": "dictionary_learning: config.json, ae.pt",
}

_BIAS = "b_dec is folded into the encoder's bias, which there sees x and not x - b_dec"
_PREFIXES = "the prefixes of its training are not kept: as an SAE it is a TopK"
_NO_PREFIXES = "the prefixes of its training and k are not kept"
_THRESHOLD = "its one threshold is written for each feature; k is not kept"


@dataclass(frozen=True)
class Form:
    """How a format holds an SAE.

    Attributes:
        format: a name in `WRITTEN`.
        name: what the format calls the architecture.
        changes: what is folded or left out on the way, in words.
    """

    format: str
    name: str
    changes: tuple[str, ...] = ()


#: By format and kind of SAE (`kind_of`): the format's own name and what changes.
_HELD: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "saelens": {
        "topk": ("topk", ()),
        "topk by magnitude": ("abstopk", ()),
        "matryoshka": ("topk", (_PREFIXES,)),
        "matryoshka by magnitude": ("abstopk", (_PREFIXES,)),
        "standard": ("standard", ()),
        "batchtopk": ("jumprelu", (_THRESHOLD,)),
        "matryoshka-batchtopk": ("jumprelu", (_THRESHOLD, _NO_PREFIXES)),
        "jumprelu": ("jumprelu", ()),
        "gated": ("gated", ()),
    },
    "sparsify": {
        "topk": ("topk", ()),
        "matryoshka": ("topk", (_PREFIXES,)),
        "transcoder": ("topk", ()),
    },
    "dictionary_learning": {
        "topk": ("AutoEncoderTopK", ()),
        "matryoshka": ("AutoEncoderTopK", (_PREFIXES,)),
        "standard": ("AutoEncoderNew", (_BIAS,)),
        "batchtopk": ("BatchTopKSAE", ()),
        "matryoshka-batchtopk": ("MatryoshkaBatchTopKSAE", ()),
        "jumprelu": ("JumpReluAutoEncoder", (_BIAS,)),
        "gated": ("GatedAutoEncoder", ()),
    },
}
_KNOWN = tuple(dict.fromkeys(kind for held in _HELD.values() for kind in held))
_OURS_ALONE = {
    "crosscoder": "it reads and writes several layers at once, which no other tool's SAE does",
    "deep-topk": "the further layers of its encoder or decoder have no place in another tool",
    "binary": "a code of bits through a sigmoid is no architecture of another tool",
}
_NO_TRANSCODER = {
    "saelens": "its transcoders are ReLU and JumpReLU, without a K",
    "dictionary_learning": "it has no transcoders",
}
#: Options of a model that don't stand in the way of a format.
_OPTIONS = {"architecture", "d_in", "d_sae", "k", "selection", "prefixes", "apply_b_dec_to_input", "skip"}


def kind_of(described: Mapping[str, Any]) -> str:
    """What tells SAEs apart here: the architecture, and for TopK the rule of selection.

    Args:
        described: `model` of a run's config.json: `architecture` and what builds it.
    """
    by_magnitude = described.get("selection") == "magnitude"
    return f"{described['architecture']}{' by magnitude' if by_magnitude else ''}"


def form_of(name: str, described: Mapping[str, Any]) -> Form:
    """How a format holds an SAE.

    Args:
        name: a format in `WRITTEN`.
        described: as `kind_of` takes it.

    Raises:
        UserError: with the reason, if the format can't hold it, or is not known.
    """
    if name not in WRITTEN:
        raise UserError(f"format {name!r} is not known: take one of {', '.join(WRITTEN)}")
    if reason := _why_not(name, described):
        raise UserError(f"{WRITTEN[name].split(':')[0]} can't hold this SAE: {reason}")
    own, changes = _HELD[name][kind_of(described)]
    return Form(name, own, changes)


def why_not(name: str, described: Mapping[str, Any]) -> str | None:
    """The reason for which a format can't hold an SAE; None if it can."""
    try:
        form_of(name, described)
    except UserError as error:
        return str(error)
    return None


def table() -> list[dict[str, str]]:
    """One line a kind of SAE: what each format calls it, or why it can't hold it."""
    return [{"SAE": kind, **{name: _cell(name, kind) for name in WRITTEN}} for kind in (*_KNOWN, *_OURS_ALONE)]


def _cell(name: str, kind: str) -> str:
    held = _HELD[name].get(kind)
    if held:
        return held[0]
    architecture, _, rule = kind.partition(" by ")
    return f"no: {_why_not(name, {'architecture': architecture, 'selection': rule})}"


def _why_not(name: str, described: Mapping[str, Any]) -> str | None:
    kind = kind_of(described)
    if described.get("inhibition"):
        return "lateral inhibition is part of its encoding, which no other tool has"
    if described["architecture"] in _OURS_ALONE:
        return _OURS_ALONE[described["architecture"]]
    if described["architecture"] == "transcoder" and name in _NO_TRANSCODER:
        return _NO_TRANSCODER[name]
    if kind not in _KNOWN and not kind.endswith("by magnitude"):
        return f"an SAE of architecture {described['architecture']!r} has not been tried there"
    if unknown := sorted(key for key, value in described.items() if key not in _OPTIONS and value is not None):
        return f"it has {unknown[0]}, which the format has no place for"
    if kind in _HELD[name]:
        return None
    if kind.endswith("by magnitude"):
        return "it takes the largest after ReLU, this one by magnitude, signs kept"
    return "it keeps K features of every row, this one has no such K"
