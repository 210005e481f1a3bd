"""Problems, labels, notes and claims written by somebody who means harm: every page shows them as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sae.workspace import Workspace
from sae.workspace.findings import Findings
from sae.workspace.housekeeping import rename_run
from sae.workspace.notes import Notes
from tests.browser.app import App
from tests.browser.driving import visit
from tests.workspace.grids import train_grid
from tests.workspace.results import put_tokens

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

RUNS = "window.harmed = (window.harmed || 0) + 1"
HOSTILE = (
    f"EVE <img src=x onerror='{RUNS}'><script>{RUNS}</script>"
    f"<iframe srcdoc='<script>parent.{RUNS}</script>'></iframe></script></style>\"'&amp; "
    "![x](http://e.vil/a.png) [y](javascript:alert(1)) <http://e.vil> :red[z] $\\href{http://e.vil}{q}$ "
    "\u202eesrever\u202c"
)
#: Text nodes in which a control turns the direction of what stands after it, without an element that keeps it inside.
TURNING = """() => {
    const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const node = walk.currentNode, around = node.parentElement;
        if (/[\\u202a-\\u202e\\u2066-\\u2069]/.test(node.data)
            && !['SCRIPT', 'STYLE', 'TEXTAREA'].includes(around.tagName)
            && !/isolate|plaintext/.test(getComputedStyle(around).unicodeBidi))
            found.push(around.outerHTML.slice(0, 200));
    }
    return found;
}"""


@pytest.fixture(scope="module")
def app(start_app: Callable, tmp_path_factory: pytest.TempPathFactory) -> App:
    """One run whose problems, labels, notes, name and finding are hostile."""
    root = tmp_path_factory.mktemp("hostile") / "workspace"
    workspace = Workspace(root)
    put_tokens(workspace)
    folder = workspace.activations_folder("tokens")
    examples = pd.read_parquet(folder / "examples.parquet")
    examples = examples.assign(answer=HOSTILE, theme=[HOSTILE if i % 2 else "plain" for i in range(len(examples))])
    examples.to_parquet(folder / "examples.parquet", index=False)
    train_grid(workspace, root.parent / "scratch", "tokens", k=(2, 4), d_sae=(16,), activations="tokens")
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    for run in workspace.experiment("tokens").runs():
        notes = Notes(run.folder, 16)
        for feature in range(16):
            notes.write(feature, label=HOSTILE[:200], note=HOSTILE)
        notes.add(HOSTILE[:60], [3, 5])
        rename_run(workspace, run.id, HOSTILE[:80])
    Findings(workspace).add(HOSTILE, HOSTILE[:60], [(f"features?run={run.id}&feature=3", HOSTILE[:60])])
    workspace.database.close()
    return start_app(root)


ADDRESSES = [
    "", "data?show=problems", "data", "train", "grid", "grid?view=runs", "run", "run?view=activity",
    "compare?runs={0}&runs={1}", "features?feature=3", "features?feature=3&search=EVE", "pairs", "claims", "share",
    "share?view=findings",
]  # fmt: skip


def test_hostile_text_is_text_on_every_page(app: App, page: Page) -> None:
    elsewhere: list[str] = []
    own = (app.url, app.url.replace("http", "ws"), "data:", "blob:")
    dialogs: list[str] = []

    def answer(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("request", lambda asked: None if asked.url.startswith(own) else elsewhere.append(asked.url))
    page.on("dialog", answer)
    runs = Workspace(app.workspace).experiment("tokens").run_ids()
    shown = 0
    for address in (one.format(*runs) for one in ADDRESSES):
        visit(page, f"{app.url}/{address}")
        shown += page.get_by_text("<script>").count()
        assert [frame.url for frame in page.frames if frame.evaluate("window.harmed")] == [], address
        assert (dialogs, elsewhere) == ([], []), address
        made = page.locator(
            "[src*='e.vil'], [href*='e.vil'], [href^='javascript'], [onerror], iframe[srcdoc*='harmed']"
        )
        assert [one.evaluate("e => e.outerHTML") for one in made.all()] == [], address
        assert page.evaluate(TURNING) == [], address
    assert shown, "the words are nowhere to be seen as they stand"
