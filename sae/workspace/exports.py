"""A run as a folder that another tool opens, with its model card; as a zip; on the Hugging Face hub."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae import __version__
from sae.common.errors import UserError
from sae.common.files import file_sha256
from sae.workspace.model_card import model_card

if TYPE_CHECKING:
    from sae.formats.forms import Form
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """What was written: `files` maps each file's name to its SHA-256, the card's among them."""

    folder: Path
    form: Form
    files: dict[str, str]


def export_run(workspace: Workspace, run: RunFolder, name: str, folder: Path) -> Exported:
    """Write a finished run's SAE in another tool's format, with a model card.

    Args:
        name: a format in `sae.formats.forms.WRITTEN`.
        folder: where the files will stand: new, or empty. It appears when all of them are there.

    Raises:
        UserError: if the format can't hold it (with the reason), the run is not finished, or the folder holds files.
    """
    from sae import formats
    from sae.formats.forms import form_of

    form_of(name, run.config["model"])
    if not run.done:
        raise UserError(f"run {run.id} is not finished: there is nothing to export yet")
    folder = folder.absolute()
    if folder.is_symlink() or folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not an empty folder: give another one")
    manifest = _manifest(workspace, run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        place = Path(scratch) / "sae"
        form = formats.write(run.model(), name, place, _about(name, run, manifest))
        files = {path.name: file_sha256(path) for path in sorted(place.iterdir())}
        (place / CARD).write_text(model_card(run, form, manifest, files), encoding="utf-8")
        files[CARD] = file_sha256(place / CARD)
        for path in place.iterdir():
            path.chmod(0o644)
        if folder.exists():
            folder.rmdir()  # it is empty
        place.rename(folder)
    return Exported(folder, form, files)


def size_of(run: RunFolder) -> int:
    """Bytes that an export takes, about: those of the weights."""
    return (run.folder / "weights.safetensors").stat().st_size


def export_zip(workspace: Workspace, run: RunFolder, name: str) -> bytes:
    """The files of `export_run` as a zip archive with one folder in it. Raises UserError as that does."""
    with tempfile.TemporaryDirectory(prefix="sae-export-") as scratch:
        done = export_run(workspace, run, name, Path(scratch) / f"{run.id}-{name}")
        target = Path(scratch) / "export.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(done.files):
                archive.write(done.folder / file, f"{done.folder.name}/{file}")
        return target.read_bytes()


def hub_token(repository: str) -> str:
    """The token to upload with, from the environment (`HF_TOKEN`, or what `hf auth login` kept). Raises UserError."""
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise UserError(
            f"uploading to {repository!r} needs a token that may write there: set HF_TOKEN (huggingface.co, Settings, "
            "Access Tokens)"
        )
    return token


def push_to_hub(exported: Exported, repository: str, *, private: bool = False) -> str:
    """Upload an exported folder to the Hugging Face hub as a model; the repository is made where there is none.

    Args:
        repository: `owner/name`.
        private: whether a new repository is.

    Returns:
        The repository's address.

    Raises:
        UserError: without a token (`hub_token`), or for what the hub answers. What was exported stays.
    """
    from huggingface_hub import HfApi

    hub = HfApi(token=hub_token(repository))
    try:
        address = hub.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=exported.folder,
            repo_type="model",
            allow_patterns=sorted(exported.files),
            commit_message=f"A sparse autoencoder, exported by SAE Workbench {__version__}",
        )
    except Exception as error:  # the network's, the hub's and the repository's name's, each of a kind of its own
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{repository!r} was not uploaded ({first}): mend that and give the command again with a new --out; "
            f"{exported.folder} is written"
        ) from None
    return str(address)


def _manifest(workspace: Workspace, run: RunFolder) -> dict[str, Any]:
    """Of the run's activations; {} where they are gone, or others have their name."""
    data = run.config["data"]
    try:
        manifest = workspace.open_activations(data["activations"]).manifest
    except UserError:
        return {}
    return manifest if manifest.get("sha256") == data["sha256"] else {}


def _about(name: str, run: RunFolder, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a format keeps of where an SAE comes from, under its own names."""
    data = run.config["data"]
    source = run.config.get("source") or {}
    told = source.get("details") or {}
    model = (manifest.get("model") or {}).get("name") or told.get("model_name")
    # What TransformerLens calls the place that `hidden_states[layer + 1]` is.
    after_block = str(manifest.get("site", "")).startswith("residual stream after the block")
    hook = f"blocks.{data['layer']}.hook_resid_post" if after_block and data.get("layer") is not None else None
    if run.config.get("training") is None:
        hook = told.get("hook_name", hook)
    if name == "saelens":
        found = {
            "model_name": model,
            "hook_name": hook,
            "sae_workbench_version": __version__,
            "run": run.id,
            "activations": data["activations"],
            "activations_sha256": data["sha256"],
            "layer": data.get("layer"),
            "position": data.get("position"),
        }
    elif name == "dictionary_learning":
        found = {"lm_name": model, "layer": data.get("layer"), "submodule_name": hook}
    else:
        found = {}
    return {key: value for key, value in found.items() if value is not None}
