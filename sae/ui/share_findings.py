"""Findings: claims with the links that carry them, objections, and who signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from sae.report.visible import visible
from sae.ui import address, page, role
from sae.ui import link as panels
from sae.ui.panel import toolbar
from sae.ui.reproduce import Reproduce
from sae.ui.share_open import link
from sae.ui.words import count, plain, plural
from sae.workspace.findings import CLAIM_LENGTH, Finding, Findings
from sae.workspace.findings_file import to_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from sae.workspace import Workspace

_WHO = "share_who"


def show(workspace: Workspace) -> None:
    """The list, one of them, and a form for another."""
    findings = Findings(workspace)
    here = findings.all()
    for line in findings.unreadable():
        page.note(line)
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        _list(here)
        if role.may_change():
            _new(findings)
    with right:
        chosen = next((one for one in here if one.id == address.get("finding")), here[0] if here else None)
        if chosen is not None:
            _one(findings, chosen)


def listed(here: list[Finding]) -> pd.DataFrame:
    """A line a finding, with how many links carry it."""
    return pd.DataFrame(
        [[visible(one.claim), one.status, visible(one.by), len(one.evidence), one.created[:10]] for one in here],
        columns=["claim", "status", "by", "links", "written"],
    )


def _list(here: list[Finding]) -> None:
    if not here:
        st.markdown("**No findings yet**")
        st.caption(
            "A finding is a claim with the pages that carry it. Copy the address of what shows it, and write the claim "
            "below." if role.may_change() else "A finding is a claim with the pages that carry it."
        )  # fmt: skip
        return
    table = listed(here)
    with panels.panel("findings"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{count(len(here))} {plural(len(here), 'finding')}**", width="stretch")
            recipe = Reproduce(
                "python -m sae findings --json",
                "from sae.ui.share_findings import listed\nfrom sae.workspace import Workspace\n"
                "from sae.workspace.findings import Findings\n\nlisted(Findings(Workspace.at()).all())",
            )
            toolbar(None, table, key="findings", title="Findings", filename="findings", reproduce=recipe)
            for kind, title, mime in (("md", "Markdown", "text/markdown"), ("json", "Whole, JSON", "application/json")):
                st.download_button(
                    title, to_file(here, kind), file_name=f"findings.{kind}", mime=mime, type="tertiary",
                    on_click="ignore", key=f"findings_whole_{kind}",
                )  # fmt: skip

        def opened() -> None:
            cells = st.session_state["findings_list"]["selection"]["cells"]
            if cells:
                address.choose(finding=here[cells[0][0]].id)

        column = st.column_config.TextColumn
        st.dataframe(
            table, hide_index=True, key="findings_list", on_select=opened, selection_mode="single-cell", alt="Findings",
            column_config={
                "claim": column("Claim", width=250),
                "status": column("Status", width=70),
                "by": column("By", width=60),
                "links": st.column_config.NumberColumn("Links", width=50),
                "written": column("Written", width=85),
            },
        )  # fmt: skip


def _one(findings: Findings, finding: Finding) -> None:
    with st.container(border=True, key="finding_card"):
        st.markdown(f"**{plain(finding.claim)}**")
        st.caption(f"{finding.status.capitalize()}. By {plain(finding.by)}, {finding.created[:10]}.")
        st.markdown("**Evidence**" if finding.evidence else "No evidence yet.")
        for one in finding.evidence:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                if not one.inside or not link(one.link, _named(one.link)):
                    st.text(visible(one.link))  # elsewhere: shown, to be judged before it is followed
                if one.note:
                    st.caption(plain(one.note))
        if finding.objections:
            st.markdown("**Objections**")
        for said in finding.objections:
            st.markdown(f"{plain(said.text)} :gray[{plain(said.by)}, {said.when[:10]}]")
        if finding.signatures:
            st.markdown("**Signed**")
        for said in finding.signatures:
            before = "" if said.of == finding.wording else ", before it changed"
            st.markdown(f"{plain(said.by)} :gray[{said.when[:10]}{before}]")
        if role.may_change():
            _actions(findings, finding)


def _named(view: str) -> str:
    """A link's words: its page, and what it is about."""
    stem, _, query = view.partition("?")
    return f"{stem.capitalize()}: {query[:60]}" if query else stem.capitalize()


def _actions(findings: Findings, finding: Finding) -> None:
    who = _who()
    with st.container(horizontal=True, gap="small"):
        with st.popover("Add evidence"), st.form("finding_evidence", clear_on_submit=True, border=False):
            place = st.text_input("Link", placeholder="features?run=...&feature=3", key="finding_link")
            note = st.text_input("What it shows", key="finding_note")
            if st.form_submit_button("Add"):
                _do("adding evidence", lambda: findings.support(finding.id, place, note))
        with st.popover("Object"), st.form("finding_objection", clear_on_submit=True, border=False):
            text = st.text_area("What speaks against it", key="finding_text")
            if st.form_submit_button("Object"):
                _do("keeping the objection", lambda: findings.object(finding.id, who, text))
        if st.button("Sign", help="Sign the claim and its links as they stand", key="finding_sign"):
            _do("signing", lambda: findings.sign(finding.id, who))
        with st.popover("Delete"):
            st.caption("The file goes; copies in bundles stay.")
            if st.button("Delete this finding", key="finding_delete"):
                _do("deleting the finding", lambda: findings.delete(finding.id))


def _new(findings: Findings) -> None:
    with (
        st.expander("New finding", expanded=not findings.all()),
        st.form("finding_new", clear_on_submit=True, border=False),
    ):
        claim = st.text_area("Claim", max_chars=CLAIM_LENGTH, key="finding_claim", height=80)
        place = st.text_input("Link that carries it", placeholder="run?run=...&view=activity", key="finding_first")
        note = st.text_input("What it shows", key="finding_first_note")
        by = role.visitor() or st.text_input("Your name", value=_who_is(), key="finding_by")
        if st.form_submit_button("Write it down", type="primary"):
            links = [(place, note)] if place.strip() else []
            _do("writing the finding", lambda: address.choose(finding=findings.add(claim, by, links).id))


def _who() -> str:
    """Who speaks: as the server knows the visitor, else as they call themselves."""
    if role.visitor() is None:
        with st.container(width=220):
            st.text_input("Your name", key=_WHO, placeholder="for objections and signatures")
    return _who_is()


def _who_is() -> str:
    return role.visitor() or str(st.session_state.get(_WHO) or "")


def _do(doing: str, action: Callable[[], object]) -> None:
    with page.errors_shown(doing):
        role.require_change(doing)
        action()
        st.rerun()
