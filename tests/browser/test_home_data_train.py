"""Home, Data and Train in the browser: the demo by itself, a grid trained, stopped and resumed, an import refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from sae.workspace import Workspace
from tests.browser import app as apps
from tests.browser.driving import serious_violations, settle, visit
from tests.workspace.helpers import put_activations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 120_000  # ms, for a machine that does much else


@pytest.fixture(scope="module")
def app(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[apps.App]:
    """The app over a workspace of its own with 200 rows of activations."""
    folder = tmp_path_factory.mktemp("train")
    workspace = Workspace(folder / "workspace")
    put_activations(workspace, n=200)
    with apps.serve(workspace.root, folder / "server.log", {"SAE_THREADS": "1"}) as running:
        yield running


def chosen(page: Page) -> dict[str, list[str]]:
    """What the address says."""
    return parse_qs(urlsplit(page.url).query)


def cells(page: Page, status: str) -> int:
    return page.locator(f"#cells button.{status}").count()


def wait_for_cells(page: Page, status: str, count: int) -> None:
    page.locator(f"#cells button.{status}").nth(count - 1).wait_for(timeout=PATIENCE)


def test_the_first_visit_of_a_server_enters_through_app(app: apps.App, page: Page) -> None:
    """Must stay the first test over this server: see `sae.ui.entry`."""
    visit(page, f"{app.url}/train?k=2")
    assert page.get_by_text("SAE Workbench", exact=True).count() == 1
    assert page.get_by_label("K (active features a row)").input_value() == "2"
    assert chosen(page) == {"k": ["2"], "show": ["new"], "activations": ["rows"]}


def test_a_grid_is_trained_and_watched(app: apps.App, page: Page) -> None:
    visit(page, f"{app.url}/train?show=new&k=2%2C+4&d_sae=8%2C+16&name=first&change=epochs&set_epochs=2")
    page.get_by_role("button", name="Start 4 runs").click()
    page.wait_for_selector("#cells button", timeout=PATIENCE)
    assert cells(page, "queued") + cells(page, "running") + cells(page, "done") == 4
    wait_for_cells(page, "done", 4)
    page.get_by_text("4 of 4 runs trained").wait_for(timeout=PATIENCE)
    jobs = Workspace(app.workspace).jobs
    for job in jobs.active():  # the maps, which the next test need not wait for
        jobs.cancel(job.id)
    # A click shows the cell's curves and stands in the address, which then opens the same again.
    page.locator("#cells button").nth(1).click()
    page.wait_for_url("**run=*", timeout=PATIENCE)
    settle(page)
    (run,) = chosen(page)["run"]
    assert Workspace(app.workspace).run(run).factors["k"] == 4
    visit(page, page.url)
    assert page.locator("#cells button").nth(1).get_attribute("aria-pressed") == "true"
    assert page.locator(".js-plotly-plot").count() == 1
    assert serious_violations(page) == []


def test_training_is_stopped_and_goes_on(app: apps.App, page: Page) -> None:
    visit(page, f"{app.url}/train?show=new&k=2&d_sae=8%2C+16&name=long&change=epochs&set_epochs=100000")
    page.get_by_role("button", name="Start 2 runs").click()
    wait_for_cells(page, "running", 1)
    page.reload()  # nothing of it lives in the page
    wait_for_cells(page, "running", 1)
    page.get_by_test_id("stMain").get_by_role("button", name="Stop").click()
    wait_for_cells(page, "cancelled", 2)
    jobs = Workspace(app.workspace).jobs
    stopped = jobs.latest("long")
    assert stopped is not None and stopped.status == "cancelled"
    page.get_by_role("button", name="Resume").click()
    wait_for_cells(page, "running", 1)
    page.get_by_test_id("stMain").get_by_role("button", name="Stop").click()
    wait_for_cells(page, "cancelled", 2)
    assert jobs.active() == [] or all(job.kind == "map" for job in jobs.active())


def test_the_address_is_the_link_to_share(app: apps.App, new_page: Callable[..., Page]) -> None:
    first = new_page()
    visit(first, f"{app.url}/data?show=problems")
    first.get_by_role("textbox", name="Search").fill("question 17")
    first.get_by_role("textbox", name="Search").press("Enter")
    first.wait_for_url("**q=question+17*", timeout=PATIENCE)
    second = new_page(color_scheme="dark")
    visit(second, first.url)
    assert second.get_by_role("textbox", name="Search").input_value() == "question 17"
    assert second.get_by_text("12 of 200 problems").count() == 1  # question 17, 117 and 170 to 179
    assert serious_violations(second) == []
    # Back undoes the choice.
    first.go_back()
    settle(first)
    assert first.get_by_role("textbox", name="Search").input_value() == ""
    # A link to something that isn't here says so.
    visit(second, f"{app.url}/data?activations=gone")
    assert second.get_by_text("The address asks for activations 'gone'").count() == 1


def test_a_bad_array_is_refused_in_one_line(app: apps.App, page: Page, tmp_path: Path) -> None:
    x = np.ones((5, 3), np.float32)
    x[2, 1] = np.nan
    np.save(tmp_path / "holes.npy", x)
    visit(page, f"{app.url}/data?show=import")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "holes.npy")
    page.get_by_role("button", name="Import", exact=True).click()
    alert = page.get_by_role("alert")
    alert.wait_for(timeout=PATIENCE)
    assert "NaN" in alert.inner_text() and "\n" not in alert.inner_text().strip()
    assert [manifest["name"] for manifest in Workspace(app.workspace).activations()] == ["rows"]


@pytest.mark.timeout(900)  # it trains the whole grid, on whatever is left of the machine
def test_the_demo_completes_by_itself_without_a_network(page: Page, tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    caches = {name: str(tmp_path / name) for name in ("SAE_CACHE", "HF_HOME")}
    nowhere |= {"SAE_DEMO": "on", "no_proxy": "", **caches}
    workspace = Workspace(tmp_path / "workspace")
    with apps.serve(workspace.root, tmp_path / "server.log", nowhere) as running:
        visit(page, running.url)
        page.get_by_text("The demo", exact=True).first.wait_for(timeout=PATIENCE)
        assert serious_violations(page) == []
        limit = time.monotonic() + 500
        while (job := workspace.jobs.latest("demo")) is None or job.active:
            assert time.monotonic() < limit, "the demo is still at it"
            page.wait_for_timeout(1000)
        assert job.status == "done", job.error
        # What it goes on with is tried elsewhere.
        for further in workspace.jobs.active():
            workspace.jobs.cancel(further.id)
        visit(page, f"{running.url}/grid?experiment=demo")
        page.wait_for_selector(".st-key-heat_ev_total path.point")
        assert page.locator(".st-key-heat_ev_total path.point").count() == 12
        visit(page, f"{running.url}/thoughts?experiment=demo&view=problem")
        assert page.get_by_text("z6", exact=True).count() >= 1
        assert serious_violations(page) == []
