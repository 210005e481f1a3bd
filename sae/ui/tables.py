"""Tables as Streamlit draws them: shares of one in per cent with one decimal, which its own format can't do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

PERCENT = "percent"


def as_shown(table: pd.DataFrame, columns: Mapping[str, Any] | None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table and its `column_config` with every number column of the format "percent" times 100, as `21.5 %`."""
    config = dict(columns or {})
    shares = [
        name
        for name, column in config.items()
        if name in table and isinstance(column, Mapping) and (column.get("type_config") or {}).get("format") == PERCENT
    ]
    if not shares:
        return table, config
    for name in shares:
        config[name] = {**config[name], "type_config": {**config[name]["type_config"], "format": "%.1f %%"}}
    return table.assign(**{name: table[name].astype(float) * 100 for name in shares}), config
