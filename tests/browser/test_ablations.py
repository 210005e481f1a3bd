"""Ablations in a real browser: every view is drawn, a line of the table opens its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.app import App
from tests.browser.driving import serious_violations, visit
from tests.browser.test_results import click_line
from tests.workspace import ablations
from tests.workspace.made import copy_of

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def app(start_app: Callable, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The app over finished ablations."""
    root = tmp_path_factory.mktemp("ablations") / "workspace"
    copy_of(ablations.make, root)
    return start_app(root)


def test_the_views_are_drawn_and_a_line_opens_its_run(app: App, page: Page) -> None:
    visit(page, f"{app.url}/ablations?experiment=clipped")
    page.wait_for_selector(".st-key-ablation_forest path.point")
    assert not serious_violations(page)
    page.get_by_role("radio", name="Codes").click()
    page.wait_for_selector(".st-key-ablation_counts .scatterlayer path")
    assert "view=codes" in page.url
    page.get_by_role("radio", name="Table").click()
    page.wait_for_selector(".st-key-panel_ablation_cells canvas")
    click_line(page, "panel_ablation_cells", 1)
    page.wait_for_url("**/run?**")
    first = app_run(app, rounding="pass_through", k=8)
    assert f"run={first}" in page.url


def app_run(app: App, **factors: object) -> str:
    from sae.workspace import Workspace

    runs = Workspace(app.workspace).experiment("clipped").content["runs"]
    return next(run["id"] for run in runs if factors.items() <= run["factors"].items())
