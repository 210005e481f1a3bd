"""dictionary_learning folders: `ae.pt`, a state dict, and `config.json`, which says of which class (0.1.0).

`trainer.dict_class` in the configuration decides: `AutoEncoderTopK` (the K largest of ReLU), `BatchTopKSAE` and
`MatryoshkaBatchTopKSAE` (all above one threshold), `AutoEncoder` and `AutoEncoderNew` (ReLU), `GatedAutoEncoder`,
`JumpReluAutoEncoder`. The last and `AutoEncoderNew` see x, not x - b_dec: `b_dec @ W_enc` is folded into the bias.
A threshold of -1 was never set; it lets every positive value pass, there and here.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, replacing, write_json
from sae.formats import checks, folding, torch_file
from sae.formats.loaded import Loaded
from sae.models import build

if TYPE_CHECKING:
    from torch import Tensor

    from sae.formats.forms import Form
    from sae.models.base import SAE

TITLE = "a dictionary_learning folder (config.json, ae.pt)"
CONFIG, WEIGHTS = "config.json", "ae.pt"
FOLDED = "b_enc holds b_enc + b_dec @ W_enc: the encoder sees x, not x - b_dec"

_TOPK = {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec", "b_dec": "b_dec"}
_OURS = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
#: By class: our architecture, and our name for each of its tensors.
CLASSES: dict[str, tuple[str, dict[str, str]]] = {
    "AutoEncoderTopK": ("topk", _TOPK),
    "BatchTopKSAE": ("batchtopk", {**_TOPK, "threshold": "threshold"}),
    "MatryoshkaBatchTopKSAE": ("matryoshka-batchtopk", {**_OURS, "threshold": "threshold"}),
    "AutoEncoder": (
        "standard",
        {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec", "bias": "b_dec"},
    ),
    "AutoEncoderNew": (
        "standard",
        {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec", "decoder.bias": "b_dec"},
    ),
    "GatedAutoEncoder": (
        "gated",
        {
            "encoder.weight": "W_enc",
            "gate_bias": "b_enc",
            "r_mag": "r_mag",
            "mag_bias": "b_mag",
            "decoder.weight": "W_dec",
            "decoder_bias": "b_dec",
        },
    ),
    "JumpReluAutoEncoder": ("jumprelu", {**_OURS, "threshold": "threshold"}),
}
_UNCENTRED = ("AutoEncoderNew", "JumpReluAutoEncoder")
#: Their tensors that are linear layers' weights, [out, in] where ours are [in, out].
_TURNED = ("encoder.weight", "decoder.weight")
_TOLD = {"lm_name": "model_name", "layer": "layer", "submodule_name": "hook_name", "trainer_class": "trainer"}


def matches(path: Path) -> bool:
    """Whether a path looks like this format, by the names of files alone."""
    return checks.has_file(path, CONFIG) and checks.has_file(path, WEIGHTS)


def read(path: Path, k: int | None = None) -> Loaded:
    """The SAE of a dictionary_learning folder. Raises UserError in one line for whatever can't be held."""
    trainer = checks.read_object(path / CONFIG).get("trainer")
    if not isinstance(trainer, dict):
        raise UserError(f"{CONFIG} in {path.name!r} has no 'trainer', which says of which class the SAE is")
    told = trainer.get("dict_class")
    if not isinstance(told, str) or told not in CLASSES:
        raise UserError(
            f"{CONFIG} says dict_class {str(told)[:40]!r}, which can't be held here: known are {', '.join(CLASSES)}"
        )
    architecture, names = CLASSES[told]
    file = path / WEIGHTS
    state = torch_file.read(file)
    torch_file.check_claims(state, file.name)
    options = _options(architecture, state, trainer, k)
    d_in, d_sae = _sizes(state, trainer)
    expected = {name: _shape(name, ours, d_in, d_sae) for name, ours in names.items()}
    if architecture in ("batchtopk", "matryoshka-batchtopk"):
        expected["threshold"] = ()
    checks.exact_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, expected, file.name)
    held = checks.as_float32(state, file.name)
    weights = {ours: held[name].T if name in _TURNED else held[name] for name, ours in names.items()}
    changes = []
    if told in _UNCENTRED:
        weights["b_enc"] = folding.centred(weights["b_enc"], weights["W_enc"], weights["b_dec"])
        changes.append(FOLDED)
    if weights.get("threshold") is not None and float(weights["threshold"].max()) < 0:
        changes.append("its threshold was never set: every positive value is active, whatever k says")
    model = build(architecture, d_in=d_in, d_sae=d_sae, **options)
    model.load_state_dict(weights)
    files = {name: file_sha256(path / name) for name in (CONFIG, WEIGHTS)}
    details = {
        ours: trainer[name] if isinstance(trainer[name], int) else str(trainer[name])[:200]
        for name, ours in _TOLD.items()
        if trainer.get(name) is not None
    }
    return Loaded(model, "dictionary_learning", path, files, details, tuple(changes))


def write(model: SAE, form: Form, folder: Path, about: dict[str, Any]) -> None:
    """Write an SAE that `forms.form_of` holds as a dictionary_learning folder.

    Args:
        about: `lm_name`, `layer` and `submodule_name` of its configuration, where they are known.
    """
    import torch

    ours = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    if form.name in _UNCENTRED and model.hyperparameters().get("apply_b_dec_to_input", True):
        ours["b_enc"] = folding.uncentred(ours["b_enc"], ours["W_enc"], ours["b_dec"])
    names = CLASSES[form.name][1]
    state = {theirs: (ours[name].T if theirs in _TURNED else ours[name]).contiguous() for theirs, name in names.items()}
    hyperparameters = model.hyperparameters()
    k = hyperparameters.get("k")
    if k is not None:
        state["k"] = torch.tensor(k, dtype=torch.int32)
        state.setdefault("threshold", torch.tensor(-1.0))
    if form.name == "MatryoshkaBatchTopKSAE":
        ends = hyperparameters["prefixes"]
        state["group_sizes"] = torch.tensor([b - a for a, b in pairwise([0, *ends])])
    with replacing(folder / WEIGHTS) as temporary:
        torch.save(state, temporary)
    trainer = {
        "dict_class": form.name,
        "activation_dim": model.d_in,
        "dict_size": model.d_sae,
        **({} if k is None else {"k": k}),
        **about,
    }
    write_json(folder / CONFIG, {"trainer": trainer, "buffer": None})


def _options(architecture: str, state: dict[str, Any], trainer: dict[str, Any], k: int | None) -> dict[str, Any]:
    """What builds the model beside its sizes; takes what is no weight out of `state`."""
    if architecture not in ("topk", "batchtopk", "matryoshka-batchtopk"):
        return {}
    stated = state.pop("k", None)
    if stated is not None:
        stated = _whole_numbers(stated, "k")[0]
    told = checks.agreed_k(checks.agreed_k(k, trainer.get("k"), CONFIG), stated, WEIGHTS)
    if told is None:
        raise UserError(f"neither {CONFIG} nor {WEIGHTS} says k: write it into {CONFIG}, or give k")
    if architecture == "topk":
        state.pop("threshold", None)  # its own `encode` takes K of each row
        return {"k": told, "selection": "signed"}
    if architecture == "batchtopk":
        return {"k": told}
    if "group_sizes" not in state:
        raise UserError(f"{WEIGHTS} has no tensor 'group_sizes', which a Matryoshka SAE needs")
    total, prefixes = 0, []
    for size in _whole_numbers(state.pop("group_sizes"), "group_sizes"):
        total += size
        prefixes.append(total)
    return {"k": told, "prefixes": prefixes}


def _whole_numbers(tensor: Tensor, name: str) -> list[int]:
    """The values of a small tensor of whole numbers. Raises UserError otherwise."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or not 1 <= tensor.numel() <= 4096 or tensor.ndim > 1:
        raise UserError(f"{WEIGHTS}: {name} must be whole numbers, not {tuple(tensor.shape)} of {tensor.dtype}")
    return [checks.whole_number(value, f"{name} in {WEIGHTS}") for value in tensor.flatten().tolist()]


def _sizes(state: dict[str, Any], trainer: dict[str, Any]) -> tuple[int, int]:
    turned = "encoder.weight" in state
    name = "encoder.weight" if turned else "W_enc"
    if name not in state or state[name].ndim != 2:
        raise UserError(f"{WEIGHTS} has no matrix {name!r}")
    d_in, d_sae = state[name].shape[::-1] if turned else state[name].shape
    for said, found in (("activation_dim", d_in), ("dict_size", d_sae)):
        if trainer.get(said) is not None and trainer[said] != found:
            raise UserError(f"{CONFIG} says {said} {str(trainer[said])[:20]}, but {name} in {WEIGHTS} has {found}")
        checks.whole_number(found, f"{said} of {WEIGHTS}")
    return int(d_in), int(d_sae)


def _shape(name: str, ours: str, d_in: int, d_sae: int) -> tuple[int, ...]:
    if ours in ("W_enc", "W_dec"):
        shape = (d_in, d_sae) if ours == "W_enc" else (d_sae, d_in)
        return shape[::-1] if name in _TURNED else shape
    return (d_in,) if ours == "b_dec" else (d_sae,)
