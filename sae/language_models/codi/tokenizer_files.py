"""The tokenizer of a CODI model: from its folder, or from its base on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.language_models.hub import hub_folder
from sae.language_models.quiet import quiet

if TYPE_CHECKING:
    from .bases import Base

_WANTED = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json"]


def base_tokenizer(folder: Path, base: Base | None, n_words: int) -> Any:
    """The tokenizer of a checkpoint, from `folder` if it has a tokenizer.json, else from its base on the hub.

    Args:
        n_words: V; one more token is allowed, since CODI's scripts give the padding row a name.

    Raises:
        UserError: if there is none, the hub does not give it, or it has more words than the model.
    """
    where = folder
    if not (folder / "tokenizer.json").is_file():
        if base is None:
            raise UserError(
                f"{folder} has no tokenizer.json, and its base model is not one that is known here: "
                "put the base's tokenizer.json and tokenizer_config.json there"
            )
        try:
            where = hub_folder(base.hub, complete=_complete, wanted=_wanted).folder
        except UserError as error:
            raise UserError(
                f"{folder} has no tokenizer.json, and the hub did not give that of its base: {error}; "
                "or put the base's tokenizer.json into that folder"
            ) from None
    tokenizer = read_tokenizer(where, base.end if base else None)
    if len(tokenizer) > n_words + 1:
        raise UserError(
            f"the tokenizer in {where} has {len(tokenizer):,} words, the model in {folder} {n_words:,} and three extra "
            "rows: it is another model's tokenizer, or the checkpoint lacks CODI's extra rows"
        )
    return tokenizer


def read_tokenizer(folder: Path, end: str | None = None) -> Any:
    """The tokenizer.json of a folder.

    Args:
        end: the token that ends a text, for a folder that does not say.

    Raises:
        UserError: if it can't be read, or nobody says what ends a text.
    """
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path} is missing")
    try:
        with quiet():
            # Not by the class that a folder names: every class reads the same tokenizer.json.
            if (folder / "tokenizer_config.json").is_file():
                tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
            else:
                tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:
        # The Rust library behind it raises plain exceptions.
        raise UserError(f"{path} can't be read as a tokenizer ({type(error).__name__}: {error})") from None
    if tokenizer.eos_token_id is None and end is not None and tokenizer.convert_tokens_to_ids(end) is not None:
        tokenizer.eos_token = end
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer in {folder} has no eos_token: name it in tokenizer_config.json")
    return tokenizer


def _complete(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file()


def _wanted(name: str, files: list[str]) -> list[str]:
    if "tokenizer.json" not in files:
        raise UserError(f"model {name!r} has no tokenizer.json on the hub")
    return _WANTED
