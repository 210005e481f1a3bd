"""The app starts, answers, and looks like itself in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.app import ROOT, App
from tests.browser.driving import serious_violations, visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.skipif(not (ROOT / "app.py").exists(), reason="there is no app.py yet")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_on_an_empty_workspace(empty_app: App, new_page: Callable[..., Page], scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    visit(page, empty_app.url)
    assert page.locator("h1").count() == 1
    background = page.locator("[data-testid=stApp]").evaluate("e => getComputedStyle(e).backgroundColor")
    assert background == {"light": "rgb(252, 251, 248)", "dark": "rgb(20, 23, 26)"}[scheme]
    assert serious_violations(page) == []


def test_asks_nobody_else(empty_app: App, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, empty_app.url)
    page.wait_for_timeout(1000)
    own = (empty_app.url, empty_app.url.replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
