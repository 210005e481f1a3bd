"""The published TopK grid's files: `pos3_d512_k5.pt`, a torch state dict of two linear layers.

`encoder.weight [d_sae, d_in]`, `encoder.bias [d_sae]`, `decoder.weight [d_in, d_sae]`, `decoder.bias [d_in]`: alone, or
as `model_state_dict` beside `config` and `metrics`, as the published training script saved it. The encoder sees x, not
x - b_dec, and K is not in the tensors: it stands in `config`, in the file's name, or is given. Neither is the rule of
selection: the published code takes the K largest by magnitude, and so does this reader, unless a `README.json` that
our own `report-files` put beside the file says otherwise of this very file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, replacing
from sae.formats import checks, folding, torch_file
from sae.formats.loaded import Loaded
from sae.models import build

if TYPE_CHECKING:
    from torch import Tensor

    from sae.models.base import SAE
    from sae.models.topk import TopK

TITLE = "a state dict of the published TopK grid (.pt)"
TENSORS = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias")
README = "README.json"
_NAME = re.compile(r"(?:^|_)(pos|layer|d|k)(\d{1,9})(?=_|$)")


def matches(path: Path) -> bool:
    """Whether a path looks like this format, by the names of files alone."""
    return path.suffix in (".pt", ".pth") and not path.is_dir()


def read(path: Path, k: int | None = None) -> Loaded:
    """A TopK SAE from a grid's `.pt`. Raises UserError in one line for whatever is wrong with it."""
    content = torch_file.read(path)
    config: dict[str, Any] = {}
    state: Any = content
    if "model_state_dict" in content:
        state, config = content["model_state_dict"], content.get("config") or {}
        if not isinstance(state, dict) or not isinstance(config, dict):
            raise UserError(f"{path.name}: model_state_dict and config must be dictionaries")
    weights = _weights(state, path.name)
    sha256 = file_sha256(path)
    said = _readme(path, sha256)
    named = {word: int(number) for word, number in _NAME.findall(path.stem)}
    d_sae, d_in = weights["encoder.weight"].shape
    for name, stated, found in (
        ("d_sae", config.get("latent_dim", named.get("d")), d_sae),
        ("d_in", config.get("input_dim"), d_in),
    ):
        if stated is not None and stated != found:
            raise UserError(f"{path.name} says {name} {stated}, but its encoder has {found}")
    told = checks.agreed_k(k, config.get("k", said.get("k", named.get("k"))), path.name)
    if told is None:
        raise UserError(f"{path.name} does not say its k: rename it like pos3_d512_k5.pt, or give k")
    b_dec = weights["decoder.bias"]
    W_enc = weights["encoder.weight"].T.contiguous()
    model = build("topk", d_in=d_in, d_sae=d_sae, k=told, selection=said.get("selection", "magnitude"))
    model.load_state_dict(
        {
            "W_enc": W_enc,
            "b_enc": folding.centred(weights["encoder.bias"], W_enc, b_dec),
            "W_dec": weights["decoder.weight"].T.contiguous(),
            "b_dec": b_dec,
        }
    )
    details = {name: config.get(name, named.get(short)) for name, short in (("layer", "layer"), ("position", "pos"))}
    details = {name: value for name, value in details.items() if isinstance(value, int)}
    return Loaded(
        model,
        "grid-pt",
        path,
        {path.name: sha256},
        details,
        ("b_enc holds encoder.bias + b_dec @ W_enc: the published encoder sees x, not x - b_dec",),
    )


def state_dict(model: TopK) -> dict[str, Tensor]:
    """The four tensors of the published layout for a TopK SAE; `encoder.bias` is `b_enc - b_dec @ W_enc`."""
    return {
        "encoder.weight": model.W_enc.detach().cpu().float().T.contiguous(),
        "encoder.bias": folding.uncentred(*(p.detach().cpu() for p in (model.b_enc, model.W_enc, model.b_dec))),
        "decoder.weight": model.W_dec.detach().cpu().float().T.contiguous(),
        "decoder.bias": model.b_dec.detach().cpu().float().clone(),
    }


def write_grid_pt(model: SAE, path: Path) -> None:
    """Write a TopK SAE in the published layout, which holds neither K nor the rule of selection.

    Raises:
        UserError: for another architecture, which this layout can't hold.
    """
    import torch

    from sae.models.topk import TopK

    if not isinstance(model, TopK) or model.architecture != "topk":
        raise UserError(f"a {model.architecture} SAE does not fit the published grid's layout, which is TopK alone")
    if model.inhibition:
        raise UserError("an SAE with lateral inhibition does not fit the published grid's layout, which has none")
    with replacing(path) as temporary:
        torch.save(state_dict(model), temporary)


def _weights(state: dict[str, Any], what: str) -> dict[str, Tensor]:
    torch_file.check_claims(state, what)
    if set(state) >= {"encoder.weight"} and state["encoder.weight"].ndim != 2:
        raise UserError(f"{what}: encoder.weight must be [d_sae, d_in], not {tuple(state['encoder.weight'].shape)}")
    d_sae, d_in = state["encoder.weight"].shape if "encoder.weight" in state else (0, 0)
    checks.exact_shapes(
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        {
            "encoder.weight": (d_sae, d_in),
            "encoder.bias": (d_sae,),
            "decoder.weight": (d_in, d_sae),
            "decoder.bias": (d_in,),
        },
        what,
    )
    if not d_sae or not d_in:
        raise UserError(f"{what}: encoder.weight is empty")
    return checks.as_float32(state, what)


def _readme(path: Path, sha256: str) -> dict[str, Any]:
    """What our own README.json says of this very file (by its hash); {} otherwise."""
    readme = path.with_name(README)
    if not os.path.lexists(readme):
        return {}
    try:
        entry = checks.read_object(readme).get("state_dicts", {}).get(path.name, {})
        if entry.get("sha256") != sha256 or entry.get("selection") not in ("signed", "magnitude"):
            return {}
        return {"k": entry.get("k"), "selection": entry["selection"]}
    except (UserError, AttributeError):
        return {}
