"""Our own run folders: `config.json` and `weights.safetensors`, copied from another workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.formats import checks, safetensors_file
from sae.formats.loaded import Loaded
from sae.models import architecture_class, build

TITLE = "a run folder of SAE Workbench (config.json, weights.safetensors)"


def matches(path: Path) -> bool:
    """Whether a path looks like this format, by the names of files alone."""
    return checks.has_file(path, "config.json") and checks.has_file(path, "weights.safetensors")


def read(path: Path, k: int | None = None) -> Loaded:
    """The SAE of a run folder. Raises UserError in one line for whatever is wrong with it."""
    import torch

    config = checks.read_object(path / "config.json")
    if config.get("format") != 1:
        said = str(config.get("format"))[:20]
        raise UserError(f"config.json in {path.name!r} has format {said!r}: this version reads 1")
    described = config.get("model")
    if not isinstance(described, dict) or not isinstance(described.get("architecture"), str):
        raise UserError(f"config.json in {path.name!r} does not say which model it is")
    sizes = {name: checks.whole_number(described.get(name), f"{name} in config.json") for name in ("d_in", "d_sae")}
    file = path / "weights.safetensors"
    shapes = safetensors_file.header(file)
    if shapes.get("W_enc") != (sizes["d_in"], sizes["d_sae"]):
        raise UserError(
            f"weights.safetensors: W_enc has shape {shapes.get('W_enc')}, config.json says "
            f"{(sizes['d_in'], sizes['d_sae'])}"
        )
    architecture_class(described["architecture"])
    with torch.device("meta"):  # shapes alone: nothing is allocated before the file has shown that it holds them
        expected = _build(described, path).state_dict()
    checks.exact_shapes(shapes, {name: tuple(value.shape) for name, value in expected.items()}, file.name)
    model = _build(described, path)
    model.load_state_dict(checks.as_float32(safetensors_file.tensors(file), file.name))
    checks.agreed_k(k, getattr(model, "k", k), "config.json")
    files = {name: file_sha256(path / name) for name in ("config.json", file.name)}
    return Loaded(model, "run", path, files, {"config": config})


def _build(described: dict[str, Any], path: Path) -> Any:
    try:
        return build(**described)
    except (TypeError, ValueError) as error:
        raise UserError(f"config.json in {path.name!r} describes no model: {str(error)[:120]}") from None
