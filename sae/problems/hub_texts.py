"""Texts of a data set on the Hugging Face hub, from its parquet files; one file after the other, as far as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PREFIX = "hub:"
#: Where the hub keeps its own conversion of data sets whose files are no parquet.
_CONVERTED = "refs/convert/parquet"
_HUB_TIMEOUT_SECONDS = 5
_ROWS_AT_ONCE = 1000
_FORM = "hub:OWNER/NAME, hub:OWNER/NAME:CONFIG or hub:OWNER/NAME:CONFIG:SPLIT"


@dataclass(frozen=True)
class HubTexts:
    """The parquet files of one configuration and split at one commit.

    Attributes:
        used: names of the files that were read so far.
    """

    repository: str
    config: str
    split: str
    revision: str
    files: tuple[str, ...]
    used: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, Any]]:
        """`text` and the other plain columns of each row; a file is downloaded when its first row is asked for.

        Raises:
            UserError: if a file can't be had or read, or has no column of texts.
        """
        for file in self.files:
            path = self._download(file)
            self.used.append(file)
            yield from _read(path, self.repository)

    def _download(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            found = hf_hub_download(
                self.repository,
                file,
                repo_type="dataset",
                revision=self.revision,
                etag_timeout=_HUB_TIMEOUT_SECONDS,
            )
        except Exception as error:
            raise UserError(
                f"{file!r} of data set {self.repository!r} could not be downloaded ({type(error).__name__})"
            ) from None
        return Path(found)


def find(spec: str) -> HubTexts:
    """Ask the hub for the files that `hub:OWNER/NAME[:CONFIG[:SPLIT]]` means; nothing is downloaded.

    Without a configuration the only one or `default` is taken, without a split the only one or `train`; the data
    set's own parquet files, or else the hub's conversion of it.

    Raises:
        UserError: for another form, a data set that isn't reached, or one without such files, naming what there is.
    """
    repository, *parts = spec.removeprefix(PREFIX).split(":")
    if len(parts) > 2 or repository.count("/") != 1 or not all(repository.split("/")):
        raise UserError(f"text set {spec!r} can't be read: write it as {_FORM}")
    config, split = ((part or None) for part in (parts + ["", ""])[:2])
    there: list[str] = []
    for revision in (None, _CONVERTED):
        commit, files = _ask(repository, revision)
        places = _places(files)
        chosen = _choose(list(places), config, split)
        if chosen is not None:
            return HubTexts(repository, *chosen, commit, tuple(places[chosen]))
        there += [":".join(place) for place in places]
    named = ", ".join(dict.fromkeys(there)) if there else "no parquet files"
    raise UserError(f"data set {repository!r} has {named}: choose one as {_FORM}")


def _ask(repository: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit of a revision and its parquet files, sorted; no files where a data set was not converted."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        # Asked once first: a download tries again and again, and takes half a minute to find no network.
        info = HfApi().dataset_info(repository, revision=revision, timeout=_HUB_TIMEOUT_SECONDS)
    except RevisionNotFoundError:
        return "", []
    except Exception as error:
        raise UserError(
            f"data set {repository!r} cannot be asked for on the Hugging Face hub ({type(error).__name__}): "
            "look at its name and the network, or give a .txt file or a .jsonl file with text"
        ) from None
    return str(info.sha), sorted(one.rfilename for one in info.siblings or [] if one.rfilename.endswith(".parquet"))


def _places(files: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """Files by configuration and split.

    Data sets are laid out as `CONFIG/train-00000-of-00002.parquet`, with `data` or nothing for the only configuration;
    the hub's conversion as `CONFIG/train/0000.parquet`, `partial-train` where it holds the beginning alone.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for file in files:
        *folders, name = file.removesuffix(".parquet").split("/")
        converted = name.isdecimal() and folders
        split = folders.pop().removeprefix("partial-") if converted else name.split("-")[0]
        config = "/".join(folder for folder in folders if folder != "data") or "default"
        found.setdefault((config, split), []).append(file)
    return found


def _choose(there: Sequence[tuple[str, str]], config: str | None, split: str | None) -> tuple[str, str] | None:
    """The configuration and split that are meant, if they are there and no others could be."""
    configs = list(dict.fromkeys(one for one, _ in there))
    config = config or (configs[0] if len(configs) == 1 else "default")
    splits = [other for one, other in there if one == config]
    split = split or (splits[0] if len(splits) == 1 else "train")
    return (config, split) if split in splits else None


def _read(path: Path, repository: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        column, others = _columns(file, repository)
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column, *others]):
            for row in batch.to_pylist():
                yield {"text": row.pop(column), **row}
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path.name!r} of data set {repository!r} can't be read ({error}): delete it") from None


def _columns(file: pq.ParquetFile, repository: str) -> tuple[str, list[str]]:
    """The column of texts (`text`, or the only one that holds strings), and the others that are plain values."""
    from pyarrow import types

    schema = file.schema_arrow
    strings = [one.name for one in schema if types.is_string(one.type) or types.is_large_string(one.type)]
    if "text" not in strings and len(strings) != 1:
        raise UserError(
            f"data set {repository!r} has no column 'text', but {', '.join(schema.names)}: write its texts into a "
            ".jsonl file with text"
        )
    column = "text" if "text" in strings else strings[0]
    checks = (types.is_boolean, types.is_integer, types.is_floating)
    plain = [one.name for one in schema if one.name in strings or any(check(one.type) for check in checks)]
    return column, [name for name in plain if name != column]
