"""Findings on disk: what is kept, what a signature covers, joining two people's, files for others."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from sae.common.errors import UserError
from sae.workspace import Workspace, access
from sae.workspace.findings import Evidence, Finding, Findings, read_finding
from sae.workspace.findings_file import to_file


@pytest.fixture
def findings(tmp_path) -> Findings:
    return Findings(Workspace(tmp_path))


def test_a_finding_from_claim_to_signature(findings: Findings) -> None:
    made = findings.add(
        "  Thoughts hold\nsums ", "Ada", [("http://127.0.0.1:8501/run?run=a&view=activity", "the curve")]
    )
    assert made.claim == "Thoughts hold\nsums" and made.status == "open"
    assert made.evidence == (Evidence("run?run=a&view=activity", "the curve"),) and made.mentions() == {"a", "activity"}
    signed = findings.sign(made.id, "Ben")
    content = "Thoughts hold\nsums\nrun?run=a&view=activity the curve"
    assert signed.status == "signed" and signed.signatures[0].of == hashlib.sha256(content.encode()).hexdigest()
    assert findings.sign(made.id, "Ben").signatures[0].by == "Ben" and len(findings.get(made.id).signatures) == 1
    assert findings.support(made.id, "https://arxiv.org/abs/1").status == "signed before it changed"
    assert findings.object(made.id, "", "no null").objections[0].by == "somebody"
    assert findings.get(made.id).status == "objected"
    assert json.loads(findings.path(made.id).read_text())["claim"] == "Thoughts hold\nsums"
    assert findings.all() == [findings.get(made.id)]
    findings.delete(made.id)
    assert findings.all() == []


def test_links_copied_here_are_pages_of_the_app(findings: Findings, tmp_path, monkeypatch) -> None:
    path = tmp_path / "server.toml"
    path.write_text('public_address = "https://x.org/sae/"\nidentity = "none"\n')
    monkeypatch.setenv("SAE_SERVER", str(path))
    monkeypatch.setattr(access, "_ask", None)
    copied = {
        "https://x.org/sae/run?run=a&view=activity&from=ann%40x.org": "run?run=a&view=activity",
        "https://x.org/sae/?experiment=demo": "home?experiment=demo",
        "https://x.org/sae": "home",
        "https://x.org/saemore/run?run=a": "https://x.org/saemore/run?run=a",
        "https://arxiv.org/abs/1?from=x": "https://arxiv.org/abs/1?from=x",
        "http://127.0.0.1:8501/?experiment=demo": "home?experiment=demo",
        "http://localhost:8501/features?run=a&panel=map&embed=true": "features?run=a&panel=map",
        "data?search=two%20words": "data?search=two%20words",
    }
    for link, kept in copied.items():
        (evidence,) = findings.add("x", "Ada", [(link, "")]).evidence
        assert evidence.link == kept and evidence.inside == (not kept.startswith("https"))
    made = findings.add("y", "Ada")
    assert findings.support(made.id, "https://x.org/sae/run?run=a").evidence == (Evidence("run?run=a"),)


def test_what_is_refused(findings: Findings) -> None:
    made = findings.add("x", "Ada")
    for action, said in (
        (lambda: findings.add(" ", "Ada"), "needs words"),
        (lambda: findings.add("x" * 501, "Ada"), "500 characters"),
        (lambda: findings.support(made.id, "javascript:alert(1)"), "no link"),
        (lambda: findings.support(made.id, "file:///etc/passwd"), "no link"),
        (lambda: findings.sign(made.id, "Ada"), "without evidence"),
        (lambda: findings.get("../../x"), "not the id"),
        (lambda: findings.get("f-000000000000"), "there is no finding"),
    ):
        with pytest.raises(UserError, match=said):
            action()
    before = access._ask, access._refusal
    access.decide_by(lambda: "viewer")
    try:
        with pytest.raises(UserError, match="for trainers"):
            findings.add("x", "")
        with pytest.raises(UserError, match="for trainers"):
            findings.sign(made.id, "")
        with pytest.raises(UserError, match="for trainers"):
            findings.delete(made.id)
    finally:
        access.decide_by(*before)


def test_a_file_that_is_none_is_named_and_the_others_show(findings: Findings) -> None:
    findings.add("x", "Ada")
    (findings.folder / "f-aaaaaaaaaaaa.json").write_text('{"format": 1, "id": "f-bbbbbbbbbbbb"}')
    assert len(findings.all()) == 1
    (said,) = findings.unreadable()
    assert "f-aaaaaaaaaaaa.json" in said


def test_two_people_s_are_joined(findings: Findings, tmp_path) -> None:
    ours = findings.add("x", "Ada", [("run?run=a", "")])
    theirs = Findings(Workspace(tmp_path / "other"))
    assert theirs.take(ours) == "new" and theirs.get(ours.id) == ours
    theirs.object(ours.id, "Ben", "no seed")
    findings.support(ours.id, "run?run=b")
    assert findings.take(theirs.get(ours.id)) == "joined"
    joined = findings.get(ours.id)
    assert [one.link for one in joined.evidence] == ["run?run=a", "run?run=b"] and len(joined.objections) == 1
    assert findings.take(theirs.get(ours.id)) == "same"
    assert findings.take(replace(ours, claim="y")) == "kept beside ours"
    assert findings.take(replace(ours, claim="y")) == "same"
    assert {finding.claim for finding in findings.all()} == {"x", "y"}
    assert read_finding(findings.path(ours.id)) == joined


def test_as_a_file(findings: Findings) -> None:
    finding = Finding(
        "f-000000000000", "<b>x</b> [a](http://e.vil)", "Ada", "2026-01-01", (Evidence("run?run=a", "see `it`"),)
    )
    text = to_file([finding], "md")
    assert "<b>" not in text.replace("\\<b\\>", "") and "](http" not in text and "- `run?run=a` see \\`it\\`" in text
    assert json.loads(to_file([finding], "json"))[0]["status"] == "open"
