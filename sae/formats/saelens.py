"""SAELens folders: `cfg.json` and `sae_weights.safetensors`.

Names and shapes are ours (`W_enc [d_in, d_sae]`, `b_enc`, `W_dec [d_sae, d_in]`, `b_dec`). What SAELens can switch on
around them is either folded into the weights, exactly, or refused with the reason:

- `architecture`: `topk` (the K largest, then ReLU), `abstopk` (the K largest by magnitude, sign kept), `standard`
  (ReLU), `jumprelu` (what SAELens makes of a BatchTopK or Matryoshka BatchTopK, too), `gated`. A folder from before
  version 6 says `standard` with `activation_fn_str: topk`; it is TopK.
- `k`: SAELens takes 100 where a folder doesn't say it. Here it must be said, or given.
- `rescale_acts_by_decoder_norm`: selection and activations in units of the decoder row's norm: folded.
- `apply_b_dec_to_input: false`: folded into the biases; kept as an option of the standard architecture.
- `normalize_activations`, `reshape_activations` other than `none`: the SAE would see other rows than ours: refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, write_json, write_tensors
from sae.formats import checks, folding, safetensors_file
from sae.formats.loaded import Loaded
from sae.models import build

if TYPE_CHECKING:
    from torch import Tensor

    from sae.formats.forms import Form
    from sae.models.base import SAE

TITLE = "a SAELens folder (cfg.json, sae_weights.safetensors)"
CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = ("topk", "abstopk", "standard", "jumprelu", "gated")
_SELECTIONS = {"topk": "signed", "abstopk": "magnitude"}
#: tensors that an architecture has beside W_enc, W_dec and b_dec, each [d_sae]
_VECTORS = {"jumprelu": ("b_enc", "threshold"), "gated": ("b_gate", "b_mag", "r_mag")}
#: whose layout is written
VERSION = "6.54.12"
_TOLD = ("model_name", "hook_name", "hook_layer", "dataset_path", "context_size", "prepend_bos", "sae_lens_version")


def matches(path: Path) -> bool:
    """Whether a path looks like this format, by the names of files alone."""
    return checks.has_file(path, CONFIG) and checks.has_file(path, WEIGHTS)


def read(path: Path, k: int | None = None) -> Loaded:
    """The SAE of a SAELens folder. Raises UserError in one line for whatever can't be held."""
    cfg = checks.read_object(path / CONFIG)
    architecture = _architecture(cfg)
    _refuse_what_changes_the_rows(cfg)
    sizes = {name: checks.whole_number(cfg.get(name), f"{name} in {CONFIG}") for name in ("d_in", "d_sae")}
    told = _k(cfg, k, sizes["d_sae"]) if architecture in _SELECTIONS else None
    weights = _weights(path / WEIGHTS, architecture, **sizes)
    changes = []
    centred = _flag(cfg, "apply_b_dec_to_input", True)
    if str(cfg.get("dtype", "float32")).removeprefix("torch.") != "float32":
        changes.append(f"weights of {str(cfg.get('dtype'))[:20]} are held in float32")
    if architecture == "standard":
        model = build("standard", **sizes, apply_b_dec_to_input=centred)
    else:
        if architecture in _SELECTIONS:
            model = build("topk", **sizes, k=told, selection=_SELECTIONS[architecture])
        else:
            model = build(architecture, **sizes)
        if architecture == "gated":
            weights["b_enc"] = weights.pop("b_gate")
        if not centred:
            if architecture == "gated":  # its projection is rescaled before the other bias comes on top
                rescaled = weights["W_enc"] * weights["r_mag"].double().exp()
                weights["b_mag"] = folding.centred(weights["b_mag"], rescaled, weights["b_dec"])
            weights["b_enc"] = folding.centred(weights["b_enc"], weights["W_enc"], weights["b_dec"])
            changes.append("b_enc holds b_enc + b_dec @ W_enc: the encoder sees x, not x - b_dec")
        if architecture in _SELECTIONS and _flag(cfg, "rescale_acts_by_decoder_norm", False):
            # After the b_enc above: norms scale the whole pre-activation.
            norm = weights["W_dec"].double().norm(dim=1)
            weights["W_enc"] = (weights["W_enc"].double() * norm).float()
            weights["b_enc"] = (weights["b_enc"].double() * norm).float()
            weights["W_dec"] = (weights["W_dec"].double() / norm.clamp_min(1e-30)[:, None]).float()
            changes.append("decoder norms are folded into the encoder (rescale_acts_by_decoder_norm)")
    model.load_state_dict(weights)
    files = {name: file_sha256(path / name) for name in (CONFIG, WEIGHTS)}
    return Loaded(model, "saelens", path, files, _details(cfg), tuple(changes))


def write(model: SAE, form: Form, folder: Path, about: dict[str, Any]) -> None:
    """Write an SAE that `forms.form_of` holds as a SAELens folder.

    Args:
        about: what SAELens calls metadata: `model_name`, `hook_name` and the like.
    """
    weights = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    if form.name == "jumprelu":
        weights["threshold"] = weights["threshold"].expand(model.d_sae).contiguous()
    elif form.name == "gated":
        weights["b_gate"] = weights.pop("b_enc")
    options: dict[str, Any] = {}
    if form.name in _SELECTIONS:
        options = {"k": model.hyperparameters()["k"], "rescale_acts_by_decoder_norm": False}
    write_tensors(folder / WEIGHTS, weights)
    cfg = {
        "d_in": model.d_in,
        "d_sae": model.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": model.hyperparameters().get("apply_b_dec_to_input", True),
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": VERSION, "sae_lens_training_version": None, **about},
        **options,
        "architecture": form.name,
    }
    write_json(folder / CONFIG, cfg)


def _architecture(cfg: dict[str, Any]) -> str:
    name = cfg.get("architecture", "standard")  # folders from before version 5 don't say it
    function = cfg.get("activation_fn", cfg.get("activation_fn_str", "relu" if name == "standard" else None))
    if name == "standard" and function == "topk":
        return "topk"
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UserError(
            f"{CONFIG} says architecture {str(name)[:40]!r}, which can't be held here: known are "
            f"{', '.join(ARCHITECTURES)}"
        )
    if name not in _SELECTIONS and (function or "relu") != "relu":
        raise UserError(f"{CONFIG} says activation_fn {str(function)[:40]!r}: a {name} SAE is read with relu alone")
    return name


def _refuse_what_changes_the_rows(cfg: dict[str, Any]) -> None:
    normalize = cfg.get("normalize_activations", "none")
    if normalize not in ("none", None, False):
        raise UserError(
            f"{CONFIG} says normalize_activations {str(normalize)[:40]!r}: this SAE expects rescaled rows, "
            "ours are raw; fold the scaling into its weights in SAELens and save it again"
        )
    reshape = cfg.get("reshape_activations", "none")
    if reshape not in ("none", None):
        raise UserError(
            f"{CONFIG} says reshape_activations {str(reshape)[:40]!r}: attention heads side by side are "
            "not what our rows are"
        )
    if cfg.get("finetuning_scaling_factor"):
        raise UserError(f"{CONFIG} says finetuning_scaling_factor: an SAE with scaled outputs can't be held here")


def _k(cfg: dict[str, Any], given: int | None, d_sae: int) -> int:
    arguments = cfg.get("activation_fn_kwargs") or {}
    nested = arguments.get("k") if isinstance(arguments, dict) else None
    stated = cfg.get("k", nested)
    if nested is not None and stated != nested:
        raise UserError(f"{CONFIG} says k {str(stated)[:20]} and activation_fn_kwargs k {str(nested)[:20]}: which one?")
    k = checks.agreed_k(given, stated, CONFIG)
    if k is None:
        raise UserError(f"{CONFIG} does not say k (SAELens would silently take 100): write it there, or give k")
    if k > d_sae:
        raise UserError(f"{CONFIG} says k {k:,}, more than its {d_sae:,} features")
    return k


def _flag(cfg: dict[str, Any], name: str, default: bool) -> bool:
    value = cfg.get(name, default)
    if not isinstance(value, bool):
        raise UserError(f"{name} in {CONFIG} must be true or false, not {str(value)[:40]!r}")
    return value


def _weights(path: Path, architecture: str, d_in: int, d_sae: int) -> dict[str, Tensor]:
    expected: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae),
        **dict.fromkeys(_VECTORS.get(architecture, ("b_enc",)), (d_sae,)),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
    }
    shapes = safetensors_file.header(path)
    scaled = "scaling_factor" in shapes  # early folders carry one, of ones where it was never tuned
    checks.exact_shapes(shapes, expected | ({"scaling_factor": (d_sae,)} if scaled else {}), path.name)
    weights = checks.as_float32(safetensors_file.tensors(path), path.name)
    if scaled and bool((weights.pop("scaling_factor") != 1).any()):
        raise UserError(f"{path.name} has a scaling_factor other than 1: an SAE with scaled outputs can't be held here")
    return weights


def _details(cfg: dict[str, Any]) -> dict[str, Any]:
    """What the folder says of its training, from `metadata` or, in older folders, beside the rest."""
    metadata = cfg.get("metadata")
    told = {**cfg, **metadata} if isinstance(metadata, dict) else cfg
    return {
        name: told[name] if isinstance(told[name], int) else str(told[name])[:200]
        for name in _TOLD
        if told.get(name) is not None
    }
