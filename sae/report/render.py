"""A report as one HTML file: opens without a network, asks nobody, runs no script but its own two."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae import __version__
from sae.common.files import replacing
from sae.figures.style import THEMES, metric_kind, metric_title
from sae.report.visible import visible

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from jinja2 import Template

    from sae.report.document import Panel, Report

_HTML = Path(__file__).parent / "html"


def write_html(report: Report, path: Path) -> Path:
    """Write `to_html` of the report to `path`, whole or not at all."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(to_html(report), encoding="utf-8", newline="\n")
    return Path(path)


def to_html(report: Report) -> str:
    """The whole file. plotly (4.8 MB) is in it once, whatever the number of figures."""
    plotly, script = _plotly(), _text("report.js")
    return _template().render(
        title=visible(report.title),
        kind=report.kind,
        said=visible(report.said),
        facts=[(visible(term), visible(words)) for term, words in report.facts],
        panels=[
            {
                "key": panel.key,
                "title": visible(panel.title),
                "meaning": visible(panel.meaning),
                "n": visible(panel.n),
                "figure": panel.figure is not None,
                "reproduce": panel.reproduce,
            }
            for panel in report.panels
        ],
        features=report.features is not None,
        reads=report.reads,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        data=embedded(
            {
                "panels": {panel.key: _panel(panel) for panel in report.panels},
                "features": report.features,
                "themes": {name: _colours(name) for name in THEMES},
            }
        ),
        policy=_policy(plotly, script),
        plotly=plotly,
        script=script,
        style=_text("report.css"),
    )


def embedded(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def figure_json(figure: go.Figure) -> dict[str, Any]:
    """`data` and `layout`, without a title (the panel has it), in traces that need no WebGL.

    plotly's WebGL traces compile code from strings, which the file's policy forbids.
    """
    found = json.loads(figure.to_json() or "{}")
    layout = found["layout"]
    layout.pop("title", None)
    layout.setdefault("margin", {})["t"] = 14
    for trace in found["data"]:
        trace["type"] = trace.get("type", "scatter").removesuffix("gl")
    return {"data": found["data"], "layout": layout}


def plotly_text(text: object) -> str:
    """Other people's text for a figure's legend or hover, where plotly would read marks as markup."""
    return html.escape(visible(text), quote=False)


def table_json(table: pd.DataFrame) -> dict[str, Any]:
    """`columns` ([name, title, kind of number]) and `rows`; numbers with seven digits, None where there is none."""
    columns = [[visible(name), _title(str(name)), _kind(table[name], str(name))] for name in table.columns]
    rows = [[_cell(value) for value in line] for line in table.itertuples(index=False, name=None)]
    return {"columns": columns, "rows": rows}


def _panel(panel: Panel) -> dict[str, Any]:
    figure = {} if panel.figure is None else {**figure_json(panel.figure), "theme": panel.theme}
    return {"title": visible(panel.title), "table": table_json(panel.table), **figure}


def factor_title(name: str) -> str:
    """A factor's name as people write it: `K`, `d_sae`, `tau end`."""
    return {"k": "K", "d_sae": "d_sae"}.get(name) or name.replace("_", " ")


def _title(name: str) -> str:
    for prefix in ("validation.", "train.", "test.", "all."):
        if name.startswith(prefix):
            return f"{metric_title(name.removeprefix(prefix))}, {prefix[:-1]}"
    return visible(factor_title(name) if name in ("k", "d_sae") else metric_title(name))


def _kind(column: pd.Series, name: str) -> str:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return "text"
    return metric_kind(name.rpartition(".")[2])


def _cell(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return visible(value)


def _colours(name: str) -> dict[str, str]:
    """The colours of a theme by what they are for, so that a figure of one theme can be shown in the other."""
    theme = THEMES[name]
    single = {part: getattr(theme, part) for part in ("paper", "ink", "muted", "grid", "rule", "accent", "bar")}
    single |= {"panel": theme.panel, "bad": theme.bad}
    many = {f"category {i}": colour for i, colour in enumerate(theme.categories)}
    return many | {f"signed {i}": colour for i, colour in enumerate(theme.signed)} | single


def _policy(*scripts: str) -> str:
    """Nothing is loaded from anywhere, and only scripts with these hashes run. plotly sets styles of elements."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text = get_plotlyjs().replace("\r\n", "\n")  # as a browser reads it before it compares hashes
    if "</script" in text.lower():
        raise RuntimeError("plotly's script can't stand inside of a script element")
    return text


@cache
def _text(name: str) -> str:
    return (_HTML / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _text("report.html")
    )
