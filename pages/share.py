"""Share: reports and bundles to send, bundles that came, and findings."""

from __future__ import annotations

from sae.ui import page, pickers, share_findings, share_open, share_send

VIEWS = {"report": "Report", "bundle": "Bundle", "open": "Open a bundle", "findings": "Findings"}

page.head("Share", "What can be sent to somebody else, and what did they send?")

with page.errors_shown("preparing what to share"):
    workspace = page.workspace()
    view = pickers.pick_choice(
        "View", list(VIEWS), name="view", default="report", format=VIEWS.__getitem__, look="buttons", visible=False
    )
    if view == "findings":
        share_findings.show(workspace)
    elif view == "open":
        share_open.show(workspace)
    else:
        share_send.show(workspace, view or "report")
