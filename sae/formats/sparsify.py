"""sparsify folders: `cfg.json` and `sae.safetensors` (EleutherAI/sparsify 1.3).

`encoder.weight [d_sae, d_in]`, `encoder.bias [d_sae]`, `W_dec [d_sae, d_in]`, `b_dec [d_in]`. It is TopK: the K largest
of ReLU((x - b_dec) @ encoder.weight.T + encoder.bias). `num_latents` 0 means `expansion_factor` times d_in. With
`transcode` the encoder sees x, and with `skip_connection` there is `W_skip [d_out, d_in]` beside the features; d_out is
d_in. `groupmax`, which takes the largest of each of K groups, is refused, and a skip connection of an autoencoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, write_json, write_tensors
from sae.formats import checks, safetensors_file
from sae.formats.loaded import Loaded
from sae.models import build

if TYPE_CHECKING:
    from sae.formats.forms import Form
    from sae.models.base import SAE

TITLE = "a sparsify folder (cfg.json, sae.safetensors)"
CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"


def matches(path: Path) -> bool:
    """Whether a path looks like this format, by the names of files alone."""
    return checks.has_file(path, CONFIG) and checks.has_file(path, WEIGHTS)


def read(path: Path, k: int | None = None) -> Loaded:
    """The SAE of a sparsify folder. Raises UserError in one line for whatever can't be held."""
    cfg = checks.read_object(path / CONFIG)
    transcodes, skip = _form(cfg)
    d_in = checks.whole_number(cfg.get("d_in"), f"d_in in {CONFIG}")
    d_sae = _d_sae(cfg, d_in)
    told = checks.agreed_k(k, cfg.get("k"), CONFIG)
    if told is None:
        raise UserError(f"{CONFIG} does not say k (sparsify would silently take 32): write it there, or give k")
    file = path / WEIGHTS
    shapes = safetensors_file.header(file)
    expected: dict[str, tuple[int, ...]] = {
        "encoder.weight": (d_sae, d_in),
        "encoder.bias": (d_sae,),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        **({"W_skip": (d_in, d_in)} if skip else {}),
    }
    checks.exact_shapes(shapes, expected, file.name)
    held = safetensors_file.tensors(file)
    changes = () if held["W_dec"].dtype.itemsize == 4 else (f"weights of {held['W_dec'].dtype} are held in float32",)
    weights = checks.as_float32(held, file.name)
    options: dict[str, Any] = {"d_in": d_in, "d_sae": d_sae, "k": told, "selection": "signed"}
    model = build("transcoder", **options, skip=skip) if transcodes else build("topk", **options)
    model.load_state_dict(
        {
            "W_enc": weights["encoder.weight"].T,
            "b_enc": weights["encoder.bias"],
            "W_dec": weights["W_dec"],
            "b_dec": weights["b_dec"],
            **({"W_skip": weights["W_skip"].T} if skip else {}),
        }
    )
    files = {name: file_sha256(path / name) for name in (CONFIG, WEIGHTS)}
    return Loaded(model, "sparsify", path, files, {"hook_name": path.resolve().name[:200]}, changes)


def write(model: SAE, form: Form, folder: Path, about: dict[str, Any]) -> None:
    """Write a TopK SAE or transcoder as a sparsify folder, which has no place for what it was trained on (`about`)."""
    weights = {name: tensor.detach().cpu().float() for name, tensor in model.state_dict().items()}
    weights["encoder.weight"] = weights.pop("W_enc").T
    weights["encoder.bias"] = weights.pop("b_enc")
    if "W_skip" in weights:
        weights["W_skip"] = weights["W_skip"].T
    write_tensors(folder / WEIGHTS, weights)
    cfg = {
        "activation": form.name,
        "expansion_factor": max(1, model.d_sae // model.d_in),
        "normalize_decoder": False,
        "num_latents": model.d_sae,
        "k": model.hyperparameters()["k"],
        "multi_topk": False,
        "skip_connection": "W_skip" in weights,
        "transcode": model.transcodes,
        "d_in": model.d_in,
    }
    write_json(folder / CONFIG, cfg)


def _form(cfg: dict[str, Any]) -> tuple[bool, bool]:
    """Whether it is a transcoder, and whether it has a skip connection. Raises UserError for what can't be held."""
    activation = cfg.get("activation", "topk")
    if activation != "topk":
        raise UserError(f"{CONFIG} says activation {str(activation)[:40]!r}, which can't be held here: known is topk")
    for name in ("transcode", "skip_connection"):
        if not isinstance(cfg.get(name, False), bool):
            raise UserError(f"{name} in {CONFIG} must be true or false, not {str(cfg[name])[:20]!r}")
    transcodes, skip = cfg.get("transcode", False), cfg.get("skip_connection", False)
    if skip and not transcodes:
        raise UserError(
            f"{CONFIG} says skip_connection without transcode: past the features of an SAE there is nothing"
        )
    return transcodes, skip


def _d_sae(cfg: dict[str, Any], d_in: int) -> int:
    if cfg.get("num_latents"):
        return checks.whole_number(cfg["num_latents"], f"num_latents in {CONFIG}")
    factor = checks.whole_number(cfg.get("expansion_factor"), f"expansion_factor in {CONFIG}")
    return checks.whole_number(d_in * factor, f"d_in times expansion_factor in {CONFIG}")
