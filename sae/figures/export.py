"""Figures as images, through kaleido with a Chromium that is there. `sae.report` makes pages that need none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from sae.common.errors import UserError
from sae.common.files import replacing

FORMATS = ("png", "svg", "pdf", "webp", "jpeg")


def to_png(figure: go.Figure, path: Path, *, width: int = 700, height: int | None = None, scale: float = 2) -> Path:
    """Write one figure as an image of the kind that `path` ends in. See `to_images`."""
    return to_images({Path(path): figure}, width=width, height=height, scale=scale)[0]


def to_images(
    figures: Mapping[Path, go.Figure], *, width: int = 700, height: int | None = None, scale: float = 2
) -> list[Path]:
    """Write figures as images (.png, .svg, .pdf, .webp, .jpeg), one browser for all of them.

    Args:
        width, height: of the figure in CSS pixels; height None is the figure's own. `scale` image pixels
            for each.

    Raises:
        UserError: for another ending, or if no Chromium or kaleido is there or it fails.
    """
    options: list[dict[str, Any]] = []
    for path in figures:
        ending = Path(path).suffix.lstrip(".").lower().replace("jpg", "jpeg")
        if ending not in FORMATS:
            raise UserError(f"{path} must end in one of {', '.join('.' + name for name in FORMATS)}")
        options.append({"format": ending, "width": width, "height": height, "scale": scale})
    for figure, option in zip(figures.values(), options, strict=True):
        option["height"] = option["height"] or figure.layout.height or 420
    images = _render(list(figures.values()), options) if figures else []
    for path, image in zip(figures, images, strict=True):
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(image)
    return [Path(path) for path in figures]


def _render(figures: list[go.Figure], options: list[dict[str, Any]]) -> list[bytes]:
    """In a thread with an event loop of its own: the caller (a page, a notebook) may be running one
    already.
    """
    images: list[bytes] = []
    failures: list[BaseException] = []

    def work() -> None:
        import asyncio

        try:
            images.extend(asyncio.run(_render_all(figures, options)))
        except BaseException as error:  # handed to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=work, name="figure export")
    thread.start()
    thread.join()
    if not failures:
        return images
    error = failures[0]
    if isinstance(error, ImportError):
        raise UserError("images need kaleido: pip install 'kaleido>=1', or export the figure as HTML")
    if type(error).__name__ in ("ChromeNotFoundError", "BrowserFailedError", "FileNotFoundError"):
        raise UserError(
            "images need Chromium or Chrome: install one, or set BROWSER_PATH to it, or export the figure as HTML"
        ) from error
    if isinstance(error, Exception):
        raise UserError(f"the browser could not draw the image ({type(error).__name__}: {error})") from error
    raise error


async def _render_all(figures: list[go.Figure], options: list[dict[str, Any]]) -> list[bytes]:
    from kaleido import Kaleido, PageGenerator

    # plotly's own script from its package, no MathJax from a CDN: works without a network
    async with Kaleido(n=1, timeout=90, page_generator=PageGenerator(mathjax=False)) as browser:
        return [await browser.calc_fig(figure, opts=option) for figure, option in zip(figures, options, strict=True)]
