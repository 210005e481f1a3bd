"""Results in a real browser: a cell opens its run, a line its feature, a point its card; addresses open again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.app import App
from tests.browser.driving import press_for, serious_violations, settle, visit
from tests.workspace import results
from tests.workspace.made import copy_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

HEADER = ROW = 35  # px of a table's lines


@pytest.fixture(scope="module")
def app(start_app: Callable, tmp_path_factory: pytest.TempPathFactory) -> App:
    """The app over finished runs."""
    root = tmp_path_factory.mktemp("results") / "workspace"
    copy_of(results.make, root)
    return start_app(root)


def heading(page: Page) -> str:
    return page.locator("h3").first.inner_text()


def click_line(page: Page, key: str, line: int, across: int = 120) -> None:
    """Click a line of the table with that key (0-based)."""
    canvas = page.locator(f".st-key-{key} canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + across, box["y"] + HEADER + ROW * line + ROW / 2)


def click_point(page: Page, chart: str, point: int) -> None:
    """Click the middle of one of a chart's SVG points."""
    box = page.locator(f".st-key-{chart} path.point").nth(point).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def first_run(app: App, **factors: object) -> str:
    from sae.workspace import Workspace

    runs = Workspace(app.workspace).experiment("both").content["runs"]
    return next(run["id"] for run in runs if factors.items() <= run["factors"].items())


def test_from_home_to_a_top_example_in_three_clicks(app: App, page: Page) -> None:
    visit(page, f"{app.url}/?experiment=both")
    page.get_by_test_id("stSidebar").get_by_role("link", name="Grid").click()
    page.wait_for_url("**/grid**")
    page.wait_for_selector(".st-key-heat_ev_total path.point")
    visit(page, f"{app.url}/grid?experiment=both&preset=corrected&seed=1")  # of one seed, so that a cell is a run
    page.wait_for_selector(".st-key-heat_ev_total path.point")
    click_point(page, "heat_ev_total", 3)
    page.wait_for_url("**/run?**")
    settle(page)
    run = first_run(app, preset="corrected", k=4, d_sae=32, seed=1)
    assert f"run={run}" in page.url
    click_line(page, "run_most_active", 1)
    page.wait_for_url("**/features?**")
    settle(page)
    assert f"run={run}" in page.url
    asked = re.search(r"feature=(\d+)", page.url)
    assert asked is not None and heading(page) == f"Feature {asked[1]}"
    text = page.locator("section.example .text").first.inner_text()
    assert text.startswith("Ben ") and "<b>and</b>" in text


def test_a_cell_with_two_seeds_offers_both(app: App, page: Page) -> None:
    visit(page, f"{app.url}/grid?experiment=both&preset=published")
    page.wait_for_selector(".st-key-heat_ev_total path.point")
    click_point(page, "heat_ev_total", 0)
    page.wait_for_selector(".st-key-cell_runs")
    links = page.locator(".st-key-cell_runs a")
    assert [re.findall(r"seed \d", text) for text in links.all_inner_texts()] == [["seed 0"], ["seed 1"]]
    links.nth(1).click()
    page.wait_for_url("**/run?**")
    settle(page)
    assert f"run={first_run(app, preset='published', k=2, d_sae=16, seed=1)}" in page.url


def test_table_map_keys_and_address_show_one_feature(app: App, page: Page, new_page: Callable[..., Page]) -> None:
    run = first_run(app, preset="corrected", k=4, d_sae=32, seed=0)
    visit(page, f"{app.url}/features?run={run}&sort=feature-rising")
    assert heading(page) == "Feature 0"
    click_line(page, "feature_table", 2)
    page.wait_for_selector("h3:has-text('Feature 2')")
    settle(page)
    page.keyboard.press("Escape")
    page.locator("h1").click()
    press_for(page, "j", "h3:has-text('Feature 3')")
    settle(page)
    place = page.evaluate(
        """() => {
            const chart = document.querySelector('.st-key-feature_map .js-plotly-plot')
            const points = chart._fullData.find(trace => trace.type === 'scattergl')
            const { xaxis, yaxis } = chart._fullLayout
            const rect = chart.getBoundingClientRect()
            let i = 0
            for (let k = 0; k < points.x.length; k++) if (points.x[k] > points.x[i]) i = k
            return [rect.left + xaxis._offset + xaxis.d2p(points.x[i]),
                    rect.top + yaxis._offset + yaxis.d2p(points.y[i]), points.customdata[i][0]]
        }"""
    )
    page.mouse.move(place[0], place[1])
    page.wait_for_timeout(200)
    page.mouse.click(place[0], place[1])
    page.wait_for_selector(f"h3:has-text('Feature {place[2]}')")
    settle(page)
    assert f"feature={place[2]}" in page.url
    again = new_page()
    visit(again, page.url)
    assert heading(again) == f"Feature {place[2]}"


def test_a_label_is_there_after_a_reload(app: App, page: Page) -> None:
    run = first_run(app, preset="corrected", k=2, d_sae=16, seed=0)
    visit(page, f"{app.url}/features?run={run}&feature=4")
    field = page.get_by_label("Label", exact=True)
    field.fill("rolls, <i>many</i>")
    field.press("Enter")
    page.wait_for_selector("h3:has-text('many')")
    settle(page)
    page.locator("h1").click()
    press_for(page, "b", "button:has-text('Bookmarked')")
    page.reload()
    page.wait_for_selector("h3")
    settle(page)
    assert page.get_by_label("Label", exact=True).input_value() == "rolls, <i>many</i>"
    assert heading(page) == "Feature 4 rolls, <i>many</i>"


def test_token_text_is_shaded(app: App, page: Page) -> None:
    visit(page, f"{app.url}/features?experiment=tokens")
    example = page.locator("section.example").first
    mark = example.locator("mark").first
    assert mark.inner_text() in results.WORDS
    assert mark.evaluate("e => getComputedStyle(e).backgroundColor") != "rgba(0, 0, 0, 0)"
    assert page.locator("section.example mark").count() < page.locator("section.example").count() * 9


def test_pairs_open_from_the_block(app: App, page: Page) -> None:
    run = first_run(app, preset="corrected", k=4, d_sae=16, seed=0)
    visit(page, f"{app.url}/pairs?run={run}&support=5")
    before = heading(page)
    click_line(page, "pair_table", 1)
    page.wait_for_function(f"document.querySelector('h3').innerText !== {before!r}")
    settle(page)
    asked = re.search(r"a=(\d+)&b=(\d+)", page.url)
    assert asked is not None and heading(page) == f"Features {asked[1]} and {asked[2]}"
    page.locator(".st-key-pair_head a").first.click()
    page.wait_for_url("**/features?**")
    settle(page)
    assert heading(page) == f"Feature {asked[1]}"


def test_figures_come_as_files(app: App, page: Page) -> None:
    visit(page, f"{app.url}/grid?experiment=both&preset=published")
    page.locator(".st-key-heat_ev_total_save button").first.click()
    for label, start in (("CSV", "run,state,"), ("JSON", "["), ("LaTeX", "% needs"), ("HTML", "<!doctype html>")):
        with page.expect_download() as download:
            page.get_by_test_id("stPopoverBody").get_by_role("button", name=label).click()
        assert download.value.path().read_text().startswith(start)
        assert download.value.suggested_filename.startswith("both-ev_total-validation.")


@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("grid?experiment=both", "light"),
        ("run?experiment=both", "dark"),
        ("features?experiment=both", "dark"),
        ("pairs?experiment=both&support=5", "light"),
    ],
)
def test_axe_finds_nothing_serious(app: App, new_page: Callable[..., Page], scheme: str, address: str) -> None:
    page = new_page(color_scheme=scheme)
    visit(page, f"{app.url}/{address}")
    assert serious_violations(page) == []
