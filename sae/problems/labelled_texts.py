"""Texts with labels: a user's table, or one of the data sets that SAEBench probes, from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.json_lines import json_lines

if TYPE_CHECKING:
    import pandas as pd

TRAIN_PER_CLASS, TEST_PER_CLASS = 2000, 500
_ROWS_READ = 200_000
_HUB_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Source:
    """Where one of SAEBench's data sets stands on the hub and what it has.

    Attributes:
        repository: a data set there.
        text, label: columns; `translation.` before a name: a language of that column's pairs.
        classes: the values of `label` that are kept, as text.
        folders: of the files; empty: all parquet files by the split in their name.
    """

    repository: str
    text: str
    label: str
    classes: tuple[str, ...]
    folders: tuple[str, ...] = ()


#: By SAEBench's names (sae_bench_utils/dataset_info.py); the class sets divide one data set.
SOURCES: dict[str, Source] = {
    **{
        f"LabHC/bias_in_bios_class_set{number}": Source("LabHC/bias_in_bios", "hard_text", "profession", classes)
        for number, classes in (
            (1, ("0", "1", "2", "6", "9")),
            (2, ("11", "13", "14", "18", "19")),
            (3, ("20", "21", "22", "25", "26")),
        )
    },
    "canrager/amazon_reviews_mcauley_1and5": Source(
        "canrager/amazon_reviews_mcauley_1and5", "text", "category", ("1", "2", "3", "5", "6")
    ),
    "canrager/amazon_reviews_mcauley_1and5_sentiment": Source(
        "canrager/amazon_reviews_mcauley_1and5", "text", "rating", ("1.0", "5.0")
    ),
    "codeparrot/github-code": Source(
        "codeparrot/github-code", "code", "language", ("C", "Python", "HTML", "Java", "PHP"), ("data",)
    ),
    "fancyzhx/ag_news": Source("fancyzhx/ag_news", "text", "label", ("0", "1", "2", "3")),
    "Helsinki-NLP/europarl": Source(
        "Helsinki-NLP/europarl",
        "translation.",
        "language",
        ("en", "fr", "de", "es", "nl"),
        ("en-fr", "de-en", "en-es", "en-nl"),
    ),
}


def load_labelled(name: str, seed: int = 0) -> pd.DataFrame:
    """A table with `question` (the text), one column a label, and `split` and `group` where they are known.

    Args:
        name: the path of a `.jsonl` file with `text` and `label` (further keys are labels too, but for `split` and
            `group`), or one of SAEBench's names (`SOURCES`).
        seed: of the texts drawn from a data set of SAEBench: 2,000 of a class for training and 500 for testing.

    Raises:
        UserError: if it is neither, a line can't be read (lines count from 0), or the hub is needed and not reached.
    """
    if name in SOURCES:
        return read_source(name, fetch(name), seed)
    path = Path(name).expanduser()
    if not path.is_file() or path.suffix.lower() != ".jsonl":
        raise UserError(
            f"table {name!r} is neither a .jsonl file that is here nor one of SAEBench's data sets: "
            + ", ".join(SOURCES)
        )
    return _read_jsonl(path)


def _read_jsonl(path: Path) -> pd.DataFrame:
    import pandas as pd

    records = []
    for where, record in json_lines(path):
        if not isinstance(record, dict) or not isinstance(record.get("text"), str) or not record["text"].strip():
            raise UserError(f"{where} has no 'text' that is a text")
        if record.get("label") is None:
            raise UserError(f"{where} has no 'label'")
        records.append({_name(key): value for key, value in record.items()})
    if not records:
        raise UserError(f"table {path.name!r} holds no text")
    return pd.DataFrame(records)


def _name(key: str) -> str:
    return "question" if key == "text" else key


def read_source(name: str, files: Mapping[str, Sequence[Path]], seed: int = 0) -> pd.DataFrame:
    """The table of one of SAEBench's data sets from its parquet files.

    Args:
        files: by split, `train` and where there is one `test`; without it a fifth of each class is for testing.

    Raises:
        UserError: if a file has other columns or can't be read, or a class has no texts.
    """
    import pandas as pd

    source = SOURCES[name]
    parts = []
    for split, most in (("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS)):
        if not files.get(split):
            continue
        whole = pd.concat([_read_parquet(path, source) for path in files[split]], ignore_index=True)
        for label in source.classes:
            texts = whole.loc[whole["label"] == label, "question"].drop_duplicates()
            if not len(texts):
                raise UserError(f"data set {name!r} has no {split} texts of class {label!r}")
            if "test" in files and files["test"]:
                drawn = texts.sample(min(most, len(texts)), random_state=seed)
                parts.append(pd.DataFrame({"question": drawn, "label": label, "split": split}))
            else:
                drawn = texts.sample(min(TRAIN_PER_CLASS + TEST_PER_CLASS, len(texts)), random_state=seed)
                held = len(drawn) // 5
                splits = ["test"] * held + ["train"] * (len(drawn) - held)
                parts.append(pd.DataFrame({"question": drawn, "label": label, "split": splits}))
    return pd.concat(parts, ignore_index=True)


def _read_parquet(path: Path, source: Source) -> pd.DataFrame:
    """`question` and `label` of the first 200,000 rows."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = source.text.endswith(".")
    columns = [source.text.rstrip(".")] if pairs else [source.text, source.label]
    found, n = [], 0
    try:
        file = pq.ParquetFile(path)
        if lacking := [column for column in columns if column not in file.schema_arrow.names]:
            raise UserError(f"{path.name} has no column {lacking[0]!r}: {source.repository!r} has changed")
        for batch in file.iter_batches(batch_size=10_000, columns=columns):
            found.append(batch.to_pandas())
            n += batch.num_rows
            if n >= _ROWS_READ:
                break
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path.name} can't be read ({error})") from None
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame({column: [] for column in columns})
    if pairs:
        return pd.DataFrame(list(_languages(table[columns[0]])), columns=["question", "label"])
    return pd.DataFrame({"question": table[source.text].astype(str), "label": table[source.label].astype(str)})


def _languages(cells: Any) -> Iterator[tuple[str, str]]:
    for cell in cells:
        for language, text in cell.items():
            yield str(text), str(language)


def fetch(name: str) -> dict[str, list[Path]]:
    """The parquet files of one of SAEBench's data sets by split, from the hub or its cache on this machine.

    Raises:
        UserError: if they are not cached and the hub isn't reached, or has none.
    """
    from huggingface_hub import HfApi, hf_hub_download

    source = SOURCES[name]
    try:
        # Asked once first: a download tries again and again, and takes half a minute to find no network.
        info = HfApi().dataset_info(source.repository, timeout=_HUB_TIMEOUT_SECONDS)
    except Exception as error:
        raise UserError(
            f"data set {source.repository!r} cannot be asked for on the Hugging Face hub ({type(error).__name__}): "
            "connect to the network, or give a .jsonl file with text and label"
        ) from None
    every = sorted(one.rfilename for one in info.siblings or [] if one.rfilename.endswith(".parquet"))
    chosen = _chosen(every, source)
    if not chosen.get("train"):
        raise UserError(f"data set {source.repository!r} has no parquet files for training on the hub")
    try:
        return {
            split: [
                Path(hf_hub_download(source.repository, file, repo_type="dataset", etag_timeout=_HUB_TIMEOUT_SECONDS))
                for file in files
            ]
            for split, files in chosen.items()
        }
    except Exception as error:
        raise UserError(f"data set {source.repository!r} could not be downloaded ({type(error).__name__})") from None


def _chosen(files: Sequence[str], source: Source) -> dict[str, list[str]]:
    """The first file of each folder that is named; else all, by the split in the file's name."""
    if source.folders:
        firsts = [next((file for file in files if file.startswith(f"{one}/")), None) for one in source.folders]
        return {"train": [file for file in firsts if file is not None]}
    names = {file: file.rpartition("/")[2] for file in files}
    return {split: [file for file in files if names[file].startswith(split)] for split in ("train", "test")}
