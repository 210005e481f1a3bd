"""CODI models and their tokenizers from a hub: fetched once, found without a network afterwards, or one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sae.common.files import file_sha256
from tests.language_models import tiny as language_models
from tests.language_models.codi import published, tiny

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks: what is in a repository, and its files, unless they are for some only."""

    def __init__(self, root: Path, *arguments: object) -> None:
        self.root = root
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        owner_name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        repository = self.root / owner_name
        if not repository.is_dir():
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        if "tree" in parts:
            listed = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": file_sha256(path)[:40]}
                for path in sorted(repository.iterdir())
            ]
            return self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        if parts[0] == "api":
            files = [{"rfilename": path.name} for path in sorted(repository.iterdir())]
            about = {"id": owner_name, "sha": REVISION, "siblings": files, "cardData": {"license": "mit"}}
            return self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})
        if (repository / "gated").exists():
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        content = (repository / parts[-1]).read_bytes()
        return self._send(200, content, {"ETag": f'"{parts[-1]}"', "X-Repo-Commit": REVISION})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder that a small hub serves, and the environment that sends a process there."""
    root = tmp_path / "served"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    env = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    yield root, {key: value for key, value in env.items() if key.lower() not in ("http_proxy", "all_proxy")}
    server.shutdown()


# Every process imports transformers, which takes seconds: each says several things, one a line.
LOAD = """
import sys
from sae.common.errors import UserError
from sae.language_models.codi.loading import load
for name in sys.argv[1:]:
    try:
        codi = load(name)
        print(codi.source["licence"], codi.source["revision"], codi.source["from"], codi.source["kind"], codi.n_layers)
    except UserError as error:
        print(error)
"""
TOKENIZE = """
import sys
from pathlib import Path
from sae.common.errors import UserError
from sae.language_models.codi.bases import BASES
from sae.language_models.codi.tokenizer_files import base_tokenizer
for folder, title in zip(sys.argv[1::2], sys.argv[2::2]):
    base = next(base for base in BASES if base.title == title)
    try:
        tokenizer = base_tokenizer(Path(folder), base, base.n_words)
        print(tokenizer.eos_token, tokenizer("One.")["input_ids"][0])
    except UserError as error:
        print(error)
"""


def said(code: str, env: dict[str, str], *arguments: str) -> list[str]:
    """The lines that a process prints; it prints nothing else, not even where it fails."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=280)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_models_come_from_the_hub_and_then_from_its_cache(hub: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, env = hub
    published.write(root / "zen-E" / "CODI-x", "gpt2", published.state("gpt2"), "bin files")
    (root / "zen-E" / "CODI-x" / "training_args.bin").write_bytes(b"a pickle that nobody needs")
    published.write(root / "zen-E" / "CODI-y", "llama", published.state("llama"))
    (root / "zen-E" / "CODI-y" / "pytorch_model.bin").write_bytes(b"the same weights once more")
    tiny.save(root / "someone" / "codi-small")
    (root / "zen-E" / "empty").mkdir(parents=True)
    (root / "zen-E" / "empty" / "README.md").write_text("soon")
    names = ("zen-E/CODI-x", "zen-E/CODI-y", "someone/codi-small", "zen-E/nothing", "zen-E/empty")
    at = f"{REVISION} https://huggingface.co"
    x, y, small, nothing, empty = said(LOAD, env, *names)
    assert x == f"mit {at}/zen-E/CODI-x published 3" and y == f"mit {at}/zen-E/CODI-y published 3"
    assert small == f"MIT {at}/someone/codi-small pure 2"
    assert nothing == "there is no model 'zen-E/nothing' on the hub (or it is private and HF_TOKEN is not set)"
    assert empty == "model 'zen-E/empty' has neither model.safetensors nor pytorch_model.bin on the hub"
    fetched = {path.name for path in (tmp_path / "home").rglob("snapshots/*/*")}
    assert fetched >= {"config.json", "tokenizer.json", "codi.json", "pytorch_model-00001-of-00002.bin"}
    assert not {"training_args.bin", "pytorch_model.bin"} & fetched
    x, y, small, nothing, _ = said(LOAD, {**env, "HF_ENDPOINT": "http://127.0.0.1:9"}, *names)
    assert x == f"None {at}/zen-E/CODI-x published 3" and y == f"None {at}/zen-E/CODI-y published 3"
    assert small == f"MIT {at}/someone/codi-small pure 2"
    assert nothing.startswith("model 'zen-E/nothing' is not in the local hub cache and the hub was not reached")


def test_a_tokenizer_comes_from_the_base_or_says_how_to_get_it(
    hub: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    root, env = hub
    for name in ("openai-community/gpt2", "meta-llama/Llama-3.2-1B-Instruct"):
        (root / name).mkdir(parents=True)
        language_models.save_tokenizer(root / name, first_token=True)
    (root / "meta-llama" / "Llama-3.2-1B-Instruct" / "gated").write_text("")
    none, alone = tmp_path / "none", tmp_path / "alone"
    none.mkdir()
    alone.mkdir()
    # A tokenizer.json alone is enough: the base says what ends a text.
    content = json.loads((root / "openai-community" / "gpt2" / "tokenizer.json").read_text())
    content["added_tokens"][1]["content"] = "<|eot_id|>"
    content["model"]["vocab"]["<|eot_id|>"] = content["model"]["vocab"].pop("</s>")
    (alone / "tokenizer.json").write_text(json.dumps(content))
    llama = "Llama-3.2-1B"
    fetched, gated, kept, other = said(
        TOKENIZE, env, str(none), "GPT-2", str(none), llama, str(alone), llama, str(alone), "GPT-2"
    )
    assert fetched == "</s> 0" and kept == "<|eot_id|> 0"
    assert gated.startswith(f"{none} has no tokenizer.json") and gated.endswith(
        "accept its licence at https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct, then set HF_TOKEN; "
        "or put the base's tokenizer.json into that folder"
    )
    assert "has no eos_token" in other
