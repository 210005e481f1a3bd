"""A model's files from the Hugging Face hub: the local cache first, then the network without waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sae.common.errors import UserError
from sae.common.files import read_json

from .quiet import quiet

_CONNECT_SECONDS = 10.0
_SAFETENSORS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
# Other forms of the same weights; the folders of a repository hold only those.
_NOT_WANTED = ["*/*", "consolidated*", "*.index.fp32.json"]


class HubFolder(NamedTuple):
    """A snapshot of a repository on disk; `licence` is None where it isn't stated or couldn't be asked."""

    folder: Path
    revision: str
    licence: str | None


def _safetensors(name: str, files: list[str]) -> list[str]:
    if not any(file.endswith(".safetensors") for file in files):
        raise UserError(f"model {name!r} has no safetensors on the hub, and nothing else is opened here")
    return _SAFETENSORS


def hub_folder(
    name: str,
    *,
    complete: Callable[[Path], bool] | None = None,
    wanted: Callable[[str, list[str]], list[str]] = _safetensors,
) -> HubFolder:
    """The files of `name`, from the local hub cache if all of them are there, else from the hub.

    Args:
        complete: whether a snapshot has all that is needed: configuration, tokenizer and safetensors by default.
        wanted: patterns of the files to fetch, from the name and the repository's files (those in folders left out);
            raises UserError where there is nothing of use. Safetensors and everything small by default.

    Raises:
        UserError: if there is no such repository, it asks for consent or has not what is wanted, or the hub isn't
            reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    with quiet():
        if (cached := _snapshot(name)) and (complete or _complete)(cached):
            return HubFolder(cached, cached.name, None)
        info = _ask(name)
        patterns = wanted(name, [file.rfilename for file in info.siblings or [] if "/" not in file.rfilename])
        try:
            folder = Path(
                # By the branch: only then does the cache know next time which snapshot it is on.
                snapshot_download(name, allow_patterns=patterns, ignore_patterns=_NOT_WANTED, etag_timeout=10)
            )
        except GatedRepoError:
            # Everybody may ask what is in it; the files are for those who agreed.
            raise _asks_for_consent(name) from None
        except Exception as error:
            raise UserError(f"model {name!r} could not be downloaded ({_first_line(error)}): try again") from None
    card = info.card_data
    return HubFolder(folder, folder.name, getattr(card, "license", None) if card else None)


def _snapshot(name: str) -> Path | None:
    """The snapshot in the local hub cache, however much of it is there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        # Newer clients miss the files that were never wanted here, and say where the others are.
        partial = getattr(error, "snapshot_path", None)
        return Path(partial) if partial else None


def _asks_for_consent(name: str) -> UserError:
    return UserError(
        f"model {name!r} asks for consent on the hub: accept its licence at https://huggingface.co/{name}, "
        "then set HF_TOKEN"
    )


def _ask(name: str) -> Any:
    """What the hub says about a repository: one question, one answer, no second try."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        return HfApi().model_info(name, timeout=_CONNECT_SECONDS)
    except GatedRepoError:
        raise _asks_for_consent(name) from None
    except RepositoryNotFoundError:
        raise UserError(f"there is no model {name!r} on the hub (or it is private and HF_TOKEN is not set)") from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"the hub did not give model {name!r} ({_first_line(error)})") from None
    except Exception as error:
        # What is raised without a network belongs to whatever HTTP library this version of the client stands on.
        raise UserError(
            f"model {name!r} is not in the local hub cache and the hub was not reached ({type(error).__name__}): "
            "connect to the network, or give a local folder"
        ) from None


def _complete(folder: Path) -> bool:
    """Whether a snapshot has configuration, tokenizer and every safetensors file that it names."""
    if not (folder / "config.json").exists() or not (folder / "tokenizer.json").exists():
        return False
    if (folder / "model.safetensors").exists():
        return True
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return False
    try:
        return all((folder / Path(file).name).exists() for file in set(read_json(index)["weight_map"].values()))
    except (UserError, KeyError, AttributeError, TypeError):
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
