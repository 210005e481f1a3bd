import subprocess
import sys

import numpy as np
import pytest

from sae.figures.style import (
    CIVIDIS,
    THEMES,
    category_color,
    color_at,
    contrast,
    metric_kind,
    metric_title,
    new_figure,
    number_text,
    text_on,
)


@pytest.mark.parametrize(
    "value, kind, signed, text",
    [
        (0.8126, "ev", False, "0.813"),
        (0.855, "share", False, "85.5 %"),
        (37365, "count", False, "37,365"),
        (0.01234, "share", True, "+1.2 pp"),
        (-0.0031, "ev", True, "\u22120.003"),
        (-0.0001, "ev", True, "+0.000"),
        (1234.6, "number", False, "1,235"),
        (0.0517, "number", False, "0.0517"),
        (0.0000123, "number", False, "1.23e-05"),
        (0, "number", False, "0"),
        (np.nan, "ev", False, "no value"),
        (None, "count", False, "no value"),
    ],
)
def test_numbers_for_people(value, kind, signed, text):
    assert number_text(value, kind, signed) == text


def test_names_of_metrics():
    assert metric_title("validation_ev_total") == "Explained variance, validation"
    assert metric_title("some_new_thing") == "Some new thing"
    assert metric_kind("train_dead") == "share" and metric_kind("ev_total") == "ev"


@pytest.mark.parametrize("colors", [CIVIDIS, THEMES["light"].signed, THEMES["dark"].signed])
def test_text_is_readable_on_every_colour_of_a_scale(colors):
    for share in np.linspace(0, 1, 201):
        color = color_at(share, colors)
        assert contrast(text_on(color), color) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
def test_contrasts_of_a_theme(name):
    theme = THEMES[name]
    assert contrast(theme.ink, theme.paper) > 12
    for color in (theme.muted, theme.accent, theme.bad):
        assert contrast(color, theme.paper) >= 4.5
    for color in (*theme.categories, theme.bar):  # WCAG's bar for graphics is 3; sky and orange stay near 2 on paper
        assert contrast(color, theme.paper) >= (1.9 if name == "light" else 3)
    assert theme.signed[len(theme.signed) // 2] == theme.paper
    assert len({category_color(i, name) for i in range(8)}) == 8
    assert category_color(8, name) == category_color(0, name)


def test_colours_between_the_stops():
    assert color_at(0) == CIVIDIS[0] and color_at(1) == CIVIDIS[-1] and color_at(7) == CIVIDIS[-1]
    assert color_at(0.5, ("#000000", "#ffffff")) == "#808080"
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_theme_that_is_not_there():
    with pytest.raises(ValueError, match="light or dark"):
        new_figure(theme="sepia")  # type: ignore[arg-type]


def test_figures_import_nothing_heavy():
    code = (
        "import sys, importlib\n"
        "for n in 'style grid frontier curves activity map pairs shares export'.split():\n"
        "    importlib.import_module(f'sae.figures.{n}')\n"
        "print([m for m in ('torch', 'streamlit', 'sae.analysis', 'kaleido', 'scipy', 'umap') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
