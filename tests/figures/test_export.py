import io
import sys

import pytest
from choreographer.browsers.chromium import Chromium
from PIL import Image

from sae.common.errors import UserError
from sae.figures import export
from sae.figures.export import to_images, to_png
from sae.figures.grid import grid_heat_map
from sae.figures.style import THEMES
from tests.analysis.report_grid import REPORT


def browser_is_here():
    try:
        return Chromium.find_browser(skip_local=False) is not None
    except Exception:
        return False


needs_browser = pytest.mark.skipif(not browser_is_here(), reason="no Chromium on this machine")


@needs_browser
def test_images_of_several_kinds_from_one_browser(tmp_path):
    dark = grid_heat_map(REPORT, "dead", theme="dark")
    light = grid_heat_map(REPORT.drop(index=4), "ev_total")
    to_images({tmp_path / "a.png": dark, tmp_path / "b.svg": light}, width=600, scale=1)
    image = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).convert("RGB")
    assert image.size == (600, 420)
    paper = THEMES["dark"].paper
    assert image.getpixel((3, 3)) == tuple(int(paper[i : i + 2], 16) for i in (1, 3, 5))
    drawing = (tmp_path / "b.svg").read_text()
    assert "0.702" in drawing and "Explained variance" in drawing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.svg"]


def test_an_ending_that_is_no_image(tmp_path):
    with pytest.raises(UserError, match=r"must end in one of \.png"):
        to_png(grid_heat_map(REPORT, "dead"), tmp_path / "grid.gif")
    assert to_images({}) == []


def test_without_a_browser_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="Chromium|browser"):
        to_png(grid_heat_map(REPORT, "dead"), tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []


def test_without_kaleido_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(UserError, match="pip install 'kaleido"):
        export.to_png(grid_heat_map(REPORT, "dead"), tmp_path / "grid.png")
