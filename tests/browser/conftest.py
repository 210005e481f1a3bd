"""The real app in a real Chromium. Where there is none, tests skip and say so; under CI=true they fail."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import app as apps
from tests.browser import chromium, driving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers give it 64 MB
]
SCREENSHOTS = Path(__file__).with_name("screenshots")

_CALL_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")
            # A browser beside two test workers on a busy machine misses a deadline now and then; pytest counts it.
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_CALL_FAILED] = report.failed
    return report


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; under CI=true the browser tests must run", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this process."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (requirements-dev.txt)")
    path = chromium.find()
    if path is None:
        _missing("no Chromium or Chrome found; install one or set CHROMIUM=/path/to/chrome")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def start_app(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], apps.App]]:
    """`start_app(workspace)` serves the real app over that workspace, once, until the session ends."""
    with contextlib.ExitStack() as running:
        started: dict[Path, apps.App] = {}

        def start(workspace: Path) -> apps.App:
            if workspace not in started:
                log = tmp_path_factory.mktemp("app") / "server.log"
                started[workspace] = running.enter_context(apps.serve(workspace, log))
            return started[workspace]

        yield start


@pytest.fixture(scope="session")
def empty_app(start_app: Callable[[Path], apps.App], tmp_path_factory: pytest.TempPathFactory) -> apps.App:
    """The app over an empty workspace, the demo switched off. For tests that only look."""
    return start_app(tmp_path_factory.mktemp("empty") / "workspace")


@pytest.fixture
def new_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """`new_page(color_scheme="dark", width=1366, height=768)`: a page in a context of its own.

    When the test ends, an uncaught error in the browser or an exception on the screen fails it. Where it
    failed, a screenshot of every page lies in tests/browser/screenshots.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(color_scheme: Any = "light", width: int = 1366, height: int = 768) -> Page:
        context = browser.new_context(
            color_scheme=color_scheme,
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
        return page

    yield make

    failed = request.node.stash.get(_CALL_FAILED, True)
    try:
        assert errors == [], "errors in the browser"
        for context in contexts:
            for page in context.pages:
                driving.assert_no_exception(page)
    except AssertionError:
        failed = True
        raise
    finally:
        if failed:
            _screenshots(request.node.name, contexts)
        for context in contexts:
            context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A light page of 1366 x 768."""
    return new_page()


def _screenshots(test: str, contexts: list[BrowserContext]) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", test)
    pages = [page for context in contexts for page in context.pages]
    for number, page in enumerate(pages):
        with contextlib.suppress(Exception):  # a page that crashed has no picture, and that must not hide the test
            page.screenshot(path=SCREENSHOTS / f"{name}-{number}.png", full_page=True)
