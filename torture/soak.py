"""1,176 runs in one workspace: how long Home and Grid take to open.

    python -m torture.soak --out soak.json

The thoughts of a tiny model at 14 layers and steps, three K, four sizes and seven seeds at each, trained as one sweep
(more than the 1,152 of every layer and position of a large one). Timed is what Chromium sees: from the request to the
page at rest, in a new browser context, the second time that the page is opened (caches of the server warm) and the
first.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace import thoughts
from torture.shared import answers, report, start_app, until

PORT = 8995
FACTORS = {"d_sae": [8, 16, 24, 32], "k": [1, 2, 4], "preset": ["corrected"], "seed": list(range(7))}
AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"
PAGES = {"home": "", "grid": "grid?experiment=many", "thoughts": "thoughts?experiment=many", "run": "run"}


def make(root: Path) -> int:
    """Returns how many runs there are."""
    workspace = Workspace(root)
    thoughts.put_thoughts(workspace, thoughts.tiny_codi(root.parent / "codi"))
    scratch = root.parent / "scratch"
    scratch.mkdir()
    spec = {
        "kind": "layer-position-sweep", "name": "many", "activations": "thoughts", "factors": FACTORS,
        "settings": {"epochs": 1, "batch_size": 64},
    }  # fmt: skip
    run_experiment(workspace, spec, "cpu", JobProgress(scratch))
    for job in workspace.jobs.active():
        workspace.jobs.cancel(job.id)
    return len(workspace.runs_table())


def opened(browser: Browser, path: str) -> float:
    """Seconds until the page stands still with its title on it."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page = context.new_page()
    began = time.monotonic()
    page.goto(f"http://127.0.0.1:{PORT}/{path}")
    page.wait_for_selector("h1", timeout=120_000)
    page.wait_for_selector(AT_REST, timeout=120_000)
    seconds = time.monotonic() - began
    context.close()
    return round(seconds, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        began = time.monotonic()
        result: dict[str, Any] = {"runs": make(root), "trained_in_seconds": round(time.monotonic() - began)}
        app = start_app(Workspace(root), PORT)
        try:
            until(lambda: answers(PORT), "the app answers")
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                opened(browser, "claims")  # what every first page of a server loads is not these pages' time
                for name, path in PAGES.items():
                    result[name] = {"first": opened(browser, path), "again": [opened(browser, path) for _ in range(3)]}
                browser.close()
        finally:
            app.terminate()
            app.wait()
    report("soak", result, arguments.out)


if __name__ == "__main__":
    main()
