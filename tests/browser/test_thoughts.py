"""Thoughts and Right or wrong in a real browser: maps, points and problems open what they stand for; a sweep fills."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from sae.common.files import read_json, write_json
from sae.workspace import Workspace
from tests.browser import app as apps
from tests.browser.driving import serious_violations, settle, visit
from tests.workspace import thoughts, wrong_answers
from tests.workspace.made import copy_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 120_000  # ms, for a machine that does much else


@pytest.fixture(scope="module")
def app(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[apps.App]:
    """The app over the thoughts of a tiny model and a sweep over them."""
    folder = tmp_path_factory.mktemp("thoughts")
    workspace = copy_of(thoughts.make, folder / "workspace")
    # The model is in a folder here, not among those that ship.
    path = workspace.activations_folder("thoughts") / "manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, "model": {**manifest["model"], "name": str(folder / "tiny-codi")}})
    with apps.serve(workspace.root, folder / "server.log", {"SAE_THREADS": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def wrong(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[apps.App]:
    """The app over a sweep whose errors were predicted."""
    folder = tmp_path_factory.mktemp("wrong")
    workspace = copy_of(wrong_answers.make, folder / "workspace")
    with apps.serve(workspace.root, folder / "server.log", {"SAE_THREADS": "1"}) as running:
        yield running


def chosen(page: Page) -> dict[str, str]:
    """What the address says."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def click_where(page: Page, chart: str, custom: str) -> None:
    """Click the point of a chart for whose customdata the JavaScript condition `custom` (of `c`) holds."""
    page.wait_for_selector(f".st-key-{chart} .js-plotly-plot path.point", timeout=PATIENCE)
    page.locator(f".st-key-{chart} .js-plotly-plot").scroll_into_view_if_needed()
    x, y = page.evaluate(
        f"""() => {{
            const chart = document.querySelector('.st-key-{chart} .js-plotly-plot')
            const {{ xaxis, yaxis }} = chart._fullLayout
            const rect = chart.getBoundingClientRect()
            for (const trace of chart._fullData) {{
                const i = (trace.customdata || []).findIndex(c => {custom})
                if (i >= 0) return [rect.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                                    rect.top + yaxis._offset + yaxis.d2p(trace.y[i])]
            }}
        }}"""
    )
    page.mouse.move(x, y)
    page.wait_for_timeout(200)
    page.mouse.click(x, y)


def steps(page: Page) -> list[str]:
    """The names of the steps side by side."""
    page.wait_for_selector("#steps section", timeout=PATIENCE)
    return page.locator("#steps section .head b").all_inner_texts()


def test_a_slice_of_the_map_opens_its_grid(app: apps.App, page: Page) -> None:
    visit(page, f"{app.url}/thoughts?experiment=sweep")
    assert page.get_by_text("Near-constant:").count() == 1
    assert page.locator(".st-key-thought_map_ev_total path.point").count() == thoughts.LAYERS * thoughts.STEPS
    click_where(page, "thought_map_ev_total", "c[2] === 1 && c[1] === 3")
    page.wait_for_url("**/grid?**", timeout=PATIENCE)
    settle(page)
    found = chosen(page)
    assert (found["experiment"], found["layer"], found["position"]) == ("sweep", "1", "3")
    assert page.locator(".st-key-heat_ev_total path.point").count() == 2  # K 2 and 4


def test_a_problem_is_opened_and_its_features_open_their_cards(app: apps.App, page: Page) -> None:
    visit(page, f"{app.url}/thoughts?experiment=sweep&view=problem&layer=1&k=4")
    assert steps(page) == ["BOT", *(f"z{step}" for step in range(1, thoughts.STEPS))]
    questions = list(Workspace(app.workspace).open_activations("thoughts").examples["question"])
    assert page.get_by_text(questions[0], exact=True).count() == 1
    page.get_by_role("button", name="Next").click()
    page.get_by_text(questions[1], exact=True).wait_for(timeout=PATIENCE)
    settle(page)
    link = page.locator("#steps section").nth(3).locator("a").first
    feature = link.locator(".what").inner_text()
    link.click()
    page.wait_for_url("**/features?**", timeout=PATIENCE)
    settle(page)
    assert page.locator("h3").first.inner_text() == f"Feature {feature}"


def test_filters_leave_what_fits(app: apps.App, page: Page) -> None:
    examples = Workspace(app.workspace).open_activations("thoughts").examples
    wrong = examples[~examples["correct"].astype(bool)]
    visit(page, f"{app.url}/thoughts?experiment=sweep&view=problem")
    page.locator(".st-key-answered").get_by_role("combobox").click()
    page.get_by_role("option", name="wrong").click()
    page.get_by_text(f"1 of {len(wrong)}").wait_for(timeout=PATIENCE)
    assert page.get_by_text(wrong["question"].iloc[0], exact=True).count() == 1
    assert chosen(page)["answered"] == "wrong"
    field = page.get_by_label("Search")
    field.fill("nothing has these words")
    field.press("Enter")
    page.get_by_text("No problem fits").wait_for(timeout=PATIENCE)


def test_a_pasted_problem_lights_up_features(app: apps.App, page: Page) -> None:
    line = Workspace(app.workspace).open_activations("thoughts").examples.iloc[5]
    visit(page, f"{app.url}/thoughts?experiment=sweep&view=paste&layer=1")
    assert page.locator("#steps section").count() == 0
    page.get_by_label("Problem", exact=True).fill(line["question"])
    page.get_by_role("button", name="Think it through").click()
    assert steps(page) == ["BOT", *(f"z{step}" for step in range(1, thoughts.STEPS))]
    settle(page)
    first = [words[0][0] for words in json.loads(line["thoughts"])]
    assert page.locator("#steps .word").all_inner_texts() == first
    assert page.locator("#steps section").nth(4).locator("a").count() == 2  # K 2


def test_a_feature_is_shown_on_every_slice(app: apps.App, page: Page) -> None:
    visit(page, f"{app.url}/thoughts?experiment=sweep&view=feature&layer=1&position=2&k=4")
    for chart in ("thought_strip", "thought_fit"):
        assert page.locator(f".st-key-{chart} path.point").count() == thoughts.LAYERS * thoughts.STEPS
    field = page.get_by_label("Feature", exact=True)
    field.fill("3")
    field.press("Enter")
    page.get_by_text("Feature 3", exact=False).first.wait_for(timeout=PATIENCE)
    settle(page)
    assert chosen(page)["feature"] == "3"


def test_the_maps_fill_while_the_sweep_trains(app: apps.App, page: Page) -> None:
    address = (
        "show=new&kind=layer-position-sweep&activations=thoughts&k=2&d_sae=8&name=live&change=epochs&set_epochs=40"
    )
    visit(page, f"{app.url}/train?{address}")
    page.get_by_role("button", name=f"Start {thoughts.LAYERS * thoughts.STEPS} runs").click()
    page.wait_for_selector("#cells button", timeout=PATIENCE)
    visit(page, f"{app.url}/thoughts?experiment=live")
    # From here on nobody touches the page.
    page.wait_for_function(
        """() => {
            const chart = document.querySelector('.st-key-thought_map_ev_total .js-plotly-plot')
            return chart && chart.layout.shapes.filter(shape => shape.name === 'missing').length === 1
        }""",
        timeout=PATIENCE,
    )  # all but the near-constant one
    page.get_by_text("14 runs:").wait_for(state="detached", timeout=PATIENCE)
    settle(page)
    assert serious_violations(page) == []


def test_right_or_wrong_in_the_browser(wrong: apps.App, page: Page) -> None:
    visit(page, f"{wrong.url}/wrong")
    experiment = Workspace(wrong.workspace).experiment("errors")
    run = chosen(page)["run"]
    probes = experiment.part(run, "probes")
    # AUROC against baselines
    drawn = page.locator(".st-key-panel_wrong_forest .ytick text").all_text_contents()
    assert sorted(drawn) == sorted(probes["title"])
    assert serious_violations(page) == []
    # the map opens another slice
    click_where(page, "wrong_map", "c[2] === 0 && c[1] === 1")
    page.get_by_text("In one pass features reach").wait_for(timeout=PATIENCE)
    settle(page)
    other = chosen(page)["run"]
    assert other != run
    # the volcano opens a feature
    feature = int(experiment.part(other, "features").dropna(subset="q_hypergeometric")["feature"].iloc[0])
    click_where(page, "wrong_volcano", f"c[0] === {feature}")
    page.wait_for_url("**/features?**", timeout=PATIENCE)
    settle(page)
    found = chosen(page)
    assert found["run"] == other and page.locator("h3").first.inner_text() == f"Feature {found['feature']}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(app: apps.App, new_page: Callable[..., Page], scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    visit(page, f"{app.url}/thoughts?experiment=sweep&view=problem")
    assert serious_violations(page) == []
    visit(page, f"{app.url}/thoughts?experiment=sweep")
    assert serious_violations(page) == []
