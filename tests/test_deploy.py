"""What stands in front of a shared server fits the versions and names that it was written for."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from pathlib import Path

import streamlit
import yaml

from sae.workspace.server_config import SECRET_HEADER, checked

ROOT = Path(__file__).resolve().parents[1]
CADDY = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")


def test_the_policy_allows_streamlits_inline_script_by_hash_and_no_other():
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline}
    (policy,) = re.findall(r'Content-Security-Policy "(.*)"', CADDY)
    script = next(d for d in policy.split("; ") if d.startswith("script-src "))
    assert set(script.split()[1:]) == hashes | {"'self'", "blob:"}
    assert "unsafe-eval" not in policy and policy.startswith("default-src 'none'")
    # Nothing but this server and what a page makes itself.
    assert not re.search(r"https?:|\*", policy)


def test_the_example_configuration_is_one_and_the_names_agree():
    content = tomllib.loads((ROOT / "deploy" / "server.toml").read_text(encoding="utf-8"))
    assert checked(content, trainer_token="x" * 24).identity == "token"
    assert f"header_up {SECRET_HEADER} {{$SAE_PROXY_SECRET}}" in CADDY
    app = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["app"]
    assert "ports" not in app  # nothing leads past the proxy
    mounted = [volume.split(":")[1] for volume in app["volumes"]]
    assert app["environment"]["SAE_SERVER"] in mounted and "/workspace" in mounted


def test_the_images_hold_what_they_copy():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY"):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists() and any(k == name or k.startswith(f"{name}/") for k in kept), name
