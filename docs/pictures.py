"""Makes docs/pictures: each page of the real app with the demo's runs, in headless Chromium at 1,366 x 768.

`make pictures`, or `python -m docs.pictures [--workspace DIR] [--only PAGE ...]`. Without a workspace one is made in a
temporary folder: the demo with all that follows it, some seeds to compare and a small ablation (many minutes).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import app as apps
from tests.browser import chromium, driving
from tests.browser.conftest import FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).with_name("pictures")
WIDTH, HEIGHT = 1366, 768
#: Of the palette of a kept picture: so that all of them stay under 2 MB.
COLOURS = 128
#: What is trained beside the demo, and how.
AT = ["--activations", "demo", "--layer", "2", "--position", "0"]
BESIDE = (
    ["experiment", "run", "topk-grid", *AT, "--name", "seeds", "--k", "20", "--d-sae", "512,1024", "--seeds", "2"],
    ["experiment", "run", "cosine-ablation-alpha", *AT, "--name", "alpha", "--k", "20", "--d-sae", "512", "--seeds",
     "2", "--vary", "alpha=0.1,1,10", "--set", "epochs=10"],
)  # fmt: skip
#: The address of each page's picture: {run} is the demo's of 1,024 features and K 20, {one} and {other} are two seeds
#: of it, {feature} is the strongest of those that fire on 2 % to 20 % of the rows.
PAGES = {
    "home": "?experiment=demo",
    "data": "data?activations=demo&layer=2&position=0",
    "train": "train?show=new&activations=demo&layer=2&position=0",
    "grid": "grid?experiment=demo",
    "run": "run?experiment=demo&run={run}",
    "compare": "compare?runs={one}&runs={other}&view=features",
    "thoughts": "thoughts?experiment=demo-sweep",
    "ablations": "ablations?experiment=alpha",
    "claims": "claims?experiment=demo",
    "features": "features?experiment=demo&run={run}",
    "card": "features?experiment=demo&run={run}&feature={feature}",
    "pairs": "pairs?experiment=demo&run={run}",
    "wrong": "wrong?experiment=demo-errors&run={run}",
    "share": "share?experiment=demo",
}

REPLACE = """([path, shown]) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(path, shown);
}"""


def main() -> None:
    choice = argparse.ArgumentParser(prog="python -m docs.pictures", description=__doc__.splitlines()[0])
    choice.add_argument("--workspace", type=Path, metavar="DIR", help="one that holds what `make_workspace` makes")
    choice.add_argument("--only", nargs="+", choices=tuple(PAGES), metavar="PAGE", help="default: all")
    choice.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    options = choice.parse_args()
    with tempfile.TemporaryDirectory(prefix="sae-pictures-") as scratch:
        workspace = (options.workspace or make_workspace(Path(scratch) / "workspace")).resolve()
        hidden = {str(workspace): "data/workspace", f"{ROOT}/": ""}
        options.out.mkdir(parents=True, exist_ok=True)
        # Read-only would hide what a visitor of his own machine sees; serve() ends the supervisor that may start.
        with apps.serve(workspace, Path(scratch) / "server.log") as app:
            take(app.url, addresses(workspace), options.only or list(PAGES), options.out, hidden)


def make_workspace(folder: Path) -> Path:
    """The demo, what is trained beside it, and then all that waits in the queue."""
    for words in (["demo"], *BESIDE, ["supervisor", "--idle-exit", "5"]):
        command = [sys.executable, "-m", "sae", *words, "--workspace", str(folder)]
        subprocess.run(command, cwd=ROOT, env=dict(os.environ), check=True)
    return folder


def addresses(workspace: Path) -> dict[str, str]:
    """Of each page, with this workspace's ids."""
    import pandas as pd

    from sae.workspace import Workspace

    here = Workspace(workspace)
    run = next(one for one in here.experiment("demo").runs() if one.id.startswith("corrected-d1024-k20-s0"))
    one, other = sorted(found.id for found in here.experiment("seeds").runs() if "-d1024-" in found.id)
    features = pd.read_parquet(run.folder / "features.parquet")
    rare = features[features["density"].between(0.02, 0.2)]
    words = {"run": run.id, "one": one, "other": other, "feature": rare.loc[rare["max_activation"].idxmax(), "feature"]}
    return {name: address.format(**words) for name, address in PAGES.items()}


def take(url: str, found: dict[str, str], names: list[str], folder: Path, hidden: dict[str, str]) -> None:
    """Open each page, wait until all its figures are drawn, and keep what is on the screen.

    Args:
        hidden: folders of this machine, and what the picture shows in their place.
    """
    from playwright.sync_api import sync_playwright

    browser_path = chromium.find()
    if browser_path is None:
        sys.exit("error: no Chromium or Chrome found; install one or set CHROMIUM=/path/to/chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        for name in names:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
            )
            page = context.new_page()
            page.set_default_timeout(120_000)
            driving.visit(page, f"{url}/{found[name]}")
            drawn(page)
            if name == "card":
                page.get_by_text(re.compile(r"^Feature \d+$")).first.evaluate("one => one.scrollIntoView()")
                drawn(page)
            for path, shown in hidden.items():
                page.evaluate(REPLACE, [path, shown])
            keep(page.screenshot(), folder / f"{name}.png")
            print(f"{name}.png {(folder / f'{name}.png').stat().st_size / 1000:.0f} kB", file=sys.stderr)
            context.close()
        browser.close()


def drawn(page: Page) -> None:
    """Wait until figures are drawn, which goes on after the page's script has ended, and the page is still again."""
    charts = "[...document.querySelectorAll('[data-testid=stPlotlyChart]')]"
    page.wait_for_function(f"() => {charts}.every(one => one.querySelector('.main-svg'))")
    page.wait_for_timeout(2500)
    driving.settle(page, timeout=120)


def keep(png: bytes, path: Path) -> None:
    """Write a picture with a palette: smaller, and no difference to the eye in a page of few colours."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
