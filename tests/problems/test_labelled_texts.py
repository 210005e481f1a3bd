"""Texts with labels: a user's table, and SAEBench's data sets from files of their structure."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from sae.common.errors import UserError
from sae.problems import labelled_texts
from sae.problems.labelled_texts import SOURCES, fetch, load_labelled, read_source


def test_a_users_table(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [{"text": "one", "label": "a", "group": "g", "tone": 3}, {"text": "two", "label": True, "split": "test"}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    table = load_labelled(str(path))
    assert table["question"].tolist() == ["one", "two"] and table["label"].tolist() == ["a", True]
    assert {"group", "tone", "split"} <= set(table.columns)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 0 of 't.jsonl' \\(counted from 0\\) is not JSON"),
        ('{"text": "a", "label": 1}\n{"text": " ", "label": 1}', "line 1 .* has no 'text'"),
        ('{"text": "a"}', "has no 'label'"),
        ("[1]", "has no 'text'"),
        ('{"text": "a", "label": "\\ud800"}', "line 0 .* is not UTF-8 text"),
        ("", "holds no text"),
    ],
)
def test_tables_that_can_not_be_read(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        load_labelled(str(tmp_path / "t.jsonl"))


def test_an_unknown_table() -> None:
    with pytest.raises(UserError, match=r"'nothing' is neither .* fancyzhx/ag_news"):
        load_labelled("nothing")


def test_texts_of_the_kept_classes(tmp_path: Path) -> None:
    for split, n in (("train", 40), ("test", 20)):
        table = {"hard_text": [f"{split} {i}" for i in range(n)], "profession": [i % 4 for i in range(n)]}
        pd.DataFrame({**table, "gender": 0}).to_parquet(tmp_path / f"{split}.parquet")
    files = {split: [tmp_path / f"{split}.parquet"] for split in ("train", "test")}
    with pytest.raises(UserError, match="no train texts of class '6'"):
        read_source("LabHC/bias_in_bios_class_set1", files)
    pd.DataFrame({"text": [f"t{i}" for i in range(4000)], "label": [i % 4 for i in range(4000)]}).to_parquet(
        tmp_path / "news.parquet"
    )
    files = {"train": [tmp_path / "news.parquet"], "test": [tmp_path / "news.parquet"]}
    news = read_source("fancyzhx/ag_news", files)
    assert news.groupby(["split", "label"]).size().to_dict() == {
        **{("test", str(i)): 500 for i in range(4)},
        **{("train", str(i)): 1000 for i in range(4)},
    }
    assert all(int(text[1:]) % 4 == int(label) for text, label in zip(news["question"], news["label"], strict=True))


def test_languages_are_labels(tmp_path: Path) -> None:
    files = []
    for other in ("fr", "de", "es", "nl"):
        files.append(tmp_path / f"{other}.parquet")
        cells = [{"en": f"hello {other} {i}", other: f"{other} text {i}"} for i in range(10)]
        pd.DataFrame({"translation": cells}).to_parquet(files[-1])
    table = read_source("Helsinki-NLP/europarl", {"train": files})
    assert table.groupby("label").size().to_dict() == {"de": 10, "en": 40, "es": 10, "fr": 10, "nl": 10}
    assert table.groupby("split").size().to_dict() == {"test": 16, "train": 64}
    french = table.loc[table["label"] == "fr", "question"]
    assert french.str.startswith("fr text").all()


def test_another_structure_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"words": ["a"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x.parquet has no column 'text'.*has changed"):
        read_source("fancyzhx/ag_news", {"train": [tmp_path / "x.parquet"]})


def test_files_are_chosen_by_split_or_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    names = [
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-0.parquet",
    ]
    names += ["en-fr/train-0.parquet", "en-fr/train-1.parquet", "de-en/train-0.parquet"]
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, repository, timeout: info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, file, **how: f"/hub/{repository}/{file}")
    found = fetch("Helsinki-NLP/europarl")
    assert [path.as_posix() for path in found["train"]] == [
        "/hub/Helsinki-NLP/europarl/en-fr/train-0.parquet",
        "/hub/Helsinki-NLP/europarl/de-en/train-0.parquet",
    ]
    found = fetch("LabHC/bias_in_bios_class_set2")
    assert len(found["test"]) == 1 and len(found["train"]) == 5


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", fail)
    with pytest.raises(UserError, match=r"cannot be asked for .*ConnectionError.*give a .jsonl file"):
        load_labelled("fancyzhx/ag_news")
    assert len(SOURCES) == 8 and labelled_texts.TRAIN_PER_CLASS == 2000
