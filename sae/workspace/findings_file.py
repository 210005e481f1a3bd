"""A list of findings as a file to send or to keep beside a paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sae.common.files import to_json

if TYPE_CHECKING:
    from sae.workspace.findings import Finding


def to_file(findings: list[Finding], kind: str) -> str:
    """A list of findings as `json` or as `md`, Markdown in which what people wrote is text."""
    if kind == "json":
        return to_json([{**finding.as_dict(), "status": finding.status} for finding in findings]) + "\n"
    lines = ["# Findings", ""]
    for finding in findings:
        lines += [f"## {_markdown(finding.claim)}", "", f"{finding.status.capitalize()}. By {_markdown(finding.by)}, "
                  f"{finding.created[:10]}. `{finding.id}`", ""]  # fmt: skip
        for heading, said in (
            ("Evidence", [f"{_code(one.link)} {_markdown(one.note)}".strip() for one in finding.evidence]),
            ("Objections", [f"{_markdown(o.by)}, {o.when[:10]}: {_markdown(o.text)}" for o in finding.objections]),
            ("Signed", [f"{_markdown(s.by)}, {s.when[:10]}" + ("" if s.of == finding.wording else ", before it changed")
                        for s in finding.signatures]),
        ):  # fmt: skip
            lines += [f"{heading}:", "", *(f"- {one}" for one in said), ""] if said else []
    return "\n".join(lines).rstrip() + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]()#+!|~<>$&])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return "`" + text.replace("`", "%60") + "`"
