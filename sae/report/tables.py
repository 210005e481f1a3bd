"""Any table as a file: CSV, JSON, Parquet, and LaTeX with numbers written as people write them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from sae.figures.latex import latex_table
from sae.figures.style import metric_kind, metric_title, number_text
from sae.report.visible import visible

if TYPE_CHECKING:
    import pandas as pd

#: Lines of a table in print.
MOST_PRINTED = 200


def csv(table: pd.DataFrame) -> str:
    """CSV with a header line and without the index."""
    return table.to_csv(index=False)


def json(table: pd.DataFrame) -> str:
    """A list of records."""
    return table.to_json(orient="records", indent=1) or "[]"


def parquet(table: pd.DataFrame) -> bytes:
    """As Parquet; a column that mixes kinds of values comes as text, since a Parquet column has one kind."""
    import pandas as pd

    kept = table.copy(deep=False)
    kept.columns = [str(name) for name in table.columns]
    for name in kept.columns:
        if kept[name].dtype == object and pd.api.types.infer_dtype(kept[name], skipna=True).startswith("mixed"):
            kept[name] = [None if value is None else str(value) for value in kept[name]]
    file = io.BytesIO()
    kept.to_parquet(file, index=False)
    return file.getvalue()


def latex(table: pd.DataFrame, caption: str = "") -> str:
    """A `table` environment; numbers as their metric is written: EV with three decimals, shares in per cent."""
    import pandas as pd

    written = {}
    for name in table.columns:
        column, kind = table[name], metric_kind(str(name).rpartition(".")[2])
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            cells = [number_text(value, kind) if pd.notna(value) else "–" for value in column]
        else:
            cells = ["–" if value is None else " ".join(visible(value).split()) for value in column]
        written[metric_title(str(name))] = cells
    return latex_table(pd.DataFrame(written), caption)
