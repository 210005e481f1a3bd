"""What browser tests do with a page of the app."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATE = "[data-testid=stApp]"
EXCEPTION = "[data-testid=stException]"


def settle(page: Page, timeout: float = 60.0) -> None:
    """Wait until the script has run and nothing is to come: idle for a third of a second, no placeholders.

    Raises:
        TimeoutError: if that takes more than `timeout` seconds.
        AssertionError: if an uncaught exception is on the screen.
    """
    idle = f"""() => {{
        const app = document.querySelector('{STATE}');
        return app?.dataset.testScriptState === 'notRunning'
            && app.dataset.testConnectionState === 'CONNECTED'
            && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]');
    }}"""
    limit = time.monotonic() + timeout
    quiet = 0
    while quiet < 4:
        if time.monotonic() > limit:
            raise TimeoutError(f"{page.url} was still running after {timeout:.0f} s")
        page.wait_for_timeout(90)
        quiet = quiet + 1 if page.evaluate(idle) else 0
    assert_no_exception(page)


def visit(page: Page, url: str) -> None:
    """Open `url`, wait for its heading, and settle."""
    page.goto(url)
    page.wait_for_selector(f"{STATE} h1, {EXCEPTION}", timeout=60_000)
    settle(page)


def press_for(page: Page, key: str, selector: str) -> None:
    """Press `key` and wait for `selector`; once more after ten seconds, as somebody would whose key was not heard.

    Raises:
        TimeoutError: Playwright's, if the second press brings nothing either.
    """
    from playwright.sync_api import TimeoutError as PressedInVain

    page.keyboard.press(key)
    try:
        page.wait_for_selector(selector, timeout=10_000)
    except PressedInVain:
        page.keyboard.press(key)
        page.wait_for_selector(selector)


def assert_no_exception(page: Page) -> None:
    """Raises AssertionError with what the page says where the script ended in an exception."""
    shown = page.locator(EXCEPTION)
    assert shown.count() == 0, f"{page.url}: {shown.first.inner_text()}"


def serious_violations(page: Page) -> list[str]:
    """What axe finds of impact serious or critical, as `rule: help (selector)`, one line an element."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']} ({node['target']}) {node['html'][:120]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
