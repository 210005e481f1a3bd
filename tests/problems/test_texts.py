"""Texts that are no problems: files, tables, and text sets on a hub that is made here."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from sae.common.errors import UserError
from sae.problems import load, names_texts, open_texts
from sae.problems.texts import documents_table


def write(path: Path, lines: list[object]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_what_texts_are(tmp_path: Path) -> None:
    assert names_texts("hub:a/b") and names_texts("book.txt") and names_texts("BOOK.TXT")
    assert names_texts(write(tmp_path / "t.jsonl", [["no object"], {"text": "a", "label": 1}]))
    assert not names_texts(write(tmp_path / "p.jsonl", [{"question": "a", "answer": "#### 1", "text": "b"}]))
    assert not any(map(names_texts, ("gsm8k", "generated:5", "hpo", "missing.jsonl", write(tmp_path / "e.jsonl", []))))


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffOne.\r\n\r\nTwo — 日本.".encode())
    texts = open_texts(tmp_path / "a.txt")
    (document,) = texts
    assert document.text == "One.\r\n\r\nTwo — 日本." and document.line is None
    assert texts.provenance() == {"kind": "text", "path": str(tmp_path / "a.txt")}
    assert documents_table([document]).to_dict("list") == {"question": [document.text], "document": [0]}


def test_a_table_of_texts(tmp_path: Path) -> None:
    lines = [
        {"text": "one", "tone": 3, "document": "d"},
        {"text": " "},
        {"text": "two", "tone": "low", "tags": ["x"], "split": "test"},
        [1],
        {"text": "three"},
    ]
    path = write(tmp_path / "t.jsonl", lines)
    texts = open_texts(path)
    found = documents_table(list(texts))
    assert found["question"].tolist() == ["one", "two", "three"] and found["line"].tolist() == [0, 2, 4]
    assert found["document"].tolist() == [0, 1, 2] and found["document_label"].tolist()[0] == "d"
    assert found["tone"].tolist()[:2] == ["3", "low"] and found["tags"][1] == '["x"]' and found["split"][1] == "test"
    found.to_parquet(tmp_path / "t.parquet")
    assert [str(line).split()[1] for line in texts.skipped] == ["1", "3"]
    assert len(texts.provenance()["unread"]) == 2
    limited = open_texts(path, limit=1)
    assert [one.text for one in limited] == ["one"] and "unread" not in limited.provenance()
    with pytest.raises(UserError, match="has texts and no problems"):
        load(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n", "its text is empty"),
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.txt", b"a\0b", "NUL"),
        ("a.txt", None, "No such file"),
        ("a.jsonl", b'{"text": ""}\n', "no text could be read .*line 0"),
    ],
)
def test_texts_that_can_not_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_texts(tmp_path / name)
    assert "\n" not in str(caught.value)


class Hub:
    """A hub of parquet files in a folder for each revision; says what was downloaded."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        self.folder = folder
        self.downloaded: list[str] = []
        self.asked: list[str | None] = []
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", self.info)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)

    def put(self, revision: str, file: str, **columns: object) -> None:
        path = self.folder / revision.replace("/", "_") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_parquet(path)

    def info(self, repository: str, revision: str | None = None, timeout: float | None = None) -> SimpleNamespace:
        from huggingface_hub.errors import RevisionNotFoundError

        assert timeout == 5
        self.asked.append(revision)
        commit = (revision or "main").replace("/", "_")
        if not (self.folder / commit).is_dir():
            response: Any = SimpleNamespace(headers={}, request=None)
            raise RevisionNotFoundError("no", response=response)
        files = [path.relative_to(self.folder / commit).as_posix() for path in (self.folder / commit).rglob("*.*")]
        return SimpleNamespace(sha=commit, siblings=[SimpleNamespace(rfilename=file) for file in files])

    def download(self, repository: str, file: str, *, revision: str, **how: object) -> str:
        assert how["repo_type"] == "dataset"
        self.downloaded.append(file)
        return str(self.folder / revision / file)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path / "hub", monkeypatch)


def test_no_more_files_are_downloaded_than_are_needed(hub: Hub) -> None:
    for number in range(3):
        hub.put("main", f"data/train-0000{number}-of-00003.parquet", text=[f"{number}a", "", f"{number}b"], n=[1, 2, 3])
    hub.put("main", "data/test-00000-of-00001.parquet", text=["t"], n=[0])
    with pytest.raises(UserError, match="has 3 files: say how much"):
        open_texts("hub:some/set")
    texts = open_texts("hub:some/set", limit=3)
    assert hub.downloaded == []
    found = documents_table(list(texts))
    assert found["question"].tolist() == ["0a", "0b", "1a"] and found["n"].tolist() == [1, 3, 1]
    assert found["line"].tolist() == [0, 2, 3]
    assert [file[-22:] for file in hub.downloaded] == ["00000-of-00003.parquet", "00001-of-00003.parquet"]
    said = texts.provenance()
    assert said["files"] == hub.downloaded and said["blank"] == 1
    names = ("kind", "repository", "config", "split", "revision")
    assert [said[name] for name in names] == ["hub", "some/set", "default", "train", "main"]
    assert [one.text for one in open_texts("hub:some/set:default:test")] == ["t"]


def test_the_hubs_conversion_is_taken_where_there_are_no_parquet_files(hub: Hub) -> None:
    (hub.folder / "main").mkdir(parents=True)
    (hub.folder / "main" / "train.jsonl.zst").write_bytes(b"")
    for config in ("one", "two"):
        hub.put("refs/convert/parquet", f"{config}/partial-train/0000.parquet", story=[f"{config} text"], tags=[[1]])
    texts = open_texts("hub:some/set:two")
    assert [(one.text, one.labels) for one in texts] == [("two text", {})]
    assert texts.source["revision"] == "refs_convert_parquet" and hub.asked == [None, "refs/convert/parquet"]
    with pytest.raises(UserError, match="has one:train, two:train: choose one as hub:OWNER/NAME"):
        open_texts("hub:some/set")


def test_text_sets_that_can_not_be_had(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("main", "train.parquet", title=["a"], body=["b"])
    with pytest.raises(UserError, match="has no column 'text', but title, body"):
        list(open_texts("hub:some/set", limit=1))
    with pytest.raises(UserError, match="has default:train: choose one"):
        open_texts("hub:some/set:default:dev")
    for spec in ("hub:", "hub:set", "hub:a/b:c:d:e", "hub:/b"):
        with pytest.raises(UserError, match="write it as hub:OWNER/NAME"):
            open_texts(spec)

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", offline)
    with pytest.raises(UserError, match=r"'some/set' cannot be asked for .*ConnectionError.*\.txt file") as caught:
        open_texts("hub:some/set")
    assert "\n" not in str(caught.value)
