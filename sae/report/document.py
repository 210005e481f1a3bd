"""What a report consists of, before it is HTML: facts, panels, feature cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from sae.figures.style import ThemeName
    from sae.report.recipes import Reproduce


@dataclass(frozen=True)
class Panel:
    """A figure with its numbers, or a table alone.

    Attributes:
        key: short name, unique in a report: what `--panel` asks for, and the stem of files kept from it.
        meaning, n: plain text, one line each; `n` as words after the sign, `7,473 rows`.
        table: its numbers; every column a number, a truth or a text.
        theme: the one that the figure was drawn in; the reader's switch changes its colours.
    """

    key: str
    title: str
    meaning: str
    table: pd.DataFrame
    figure: go.Figure | None = None
    n: str = ""
    reproduce: Reproduce | None = None
    theme: ThemeName = "light"


@dataclass(frozen=True)
class Report:
    """One file. All texts are plain: whoever wrote a name, a label or a note, it is shown as it stands.

    Attributes:
        kind: `experiment`, `run`, `features` or `panel`, for the heading.
        facts: terms and words, in order.
        features: cards (`sae.report.features`), JSON; None without.
        reads: SHA-256 by name of what the report was made from.
    """

    title: str
    kind: str
    said: str
    facts: Sequence[tuple[str, str]] = ()
    panels: Sequence[Panel] = ()
    features: Mapping[str, Any] | None = None
    reads: Mapping[str, str] = field(default_factory=dict)
