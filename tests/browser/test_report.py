"""A report in Chromium with the network cut: its own policy lets it draw, search, switch its theme and save."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sae.figures.curves import learning_curves
from sae.report.document import Panel, Report
from sae.report.render import write_html

HOSTILE = "<img src=x onerror=\"document.title='run'\">"


def test_opens_without_a_network(browser, tmp_path: Path) -> None:
    table = pd.DataFrame({"step": [1, 2, 3], "validation_ev_total": [0.1, 0.5, 0.6], "by": ["a", HOSTILE, "c"]})
    panel = Panel("curves", HOSTILE, HOSTILE, table, learning_curves({"one": table}))
    path = write_html(Report(HOSTILE, "panel", "", [(HOSTILE, HOSTILE)], [panel]), tmp_path / "report.html")
    context = browser.new_context(offline=True, color_scheme="light", accept_downloads=True)
    try:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        page.locator(".figure .scatterlayer .trace").wait_for(state="attached")
        background = "getComputedStyle(document.querySelector('.figure .main-svg')).backgroundColor"
        assert page.evaluate(background) == "rgb(252, 251, 248)"
        page.select_option("#theme", "dark")
        assert page.evaluate(background) == "rgb(20, 23, 26)"
        page.fill("#search", "onerror")
        assert "Found: 1 line of tables" in page.inner_text("#found")
        with page.expect_download() as kept:
            page.click("button:text-is('JSON')")
        assert json.loads(Path(kept.value.path()).read_text())[2] == {"step": 3, "validation_ev_total": 0.6, "by": "c"}
        with page.expect_download() as kept:
            page.click("button:text-is('PNG')")
        assert Path(kept.value.path()).read_bytes().startswith(b"\x89PNG")
        with page.expect_download() as kept:
            page.click("button:text-is('SVG')")
        assert "<svg" in Path(kept.value.path()).read_text()[:200]
        assert page.locator("img").count() == 0 and "SAE Workbench" in page.title()
        assert said == []
    finally:
        context.close()
