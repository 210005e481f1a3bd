"""How one SAE was made, on what, which files hold it, and how to open it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from sae.figures.style import metric_title
from sae.ui.panel import table_panel
from sae.ui.reproduce import of_run
from sae.ui.self_checks_view import table as self_checks
from sae.ui.words import bytes_text, plain

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder


def configuration(run: RunFolder) -> None:
    """How it was made, on what, which files hold it, and how to open it elsewhere."""
    self_checks(run)
    st.markdown("**Open it in a notebook**")
    st.code(f'import sae\n\nrun = sae.open("{run.id}")\nrun.features, run.metrics', language=None)
    configuration_tables(run)
    st.markdown("**Files**")
    known = run.results.get("sha256", {})
    lines = [
        {"file": path.name, "size": bytes_text(path.stat().st_size), "sha256": known.get(path.name, "")}
        for path in sorted(run.folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    st.dataframe(
        lines, hide_index=True, alt="Files of the run",
        column_config={"file": "File", "size": st.column_config.TextColumn("Size", width=80), "sha256": "SHA-256"},
    )  # fmt: skip
    st.caption(plain(f"In {run.folder}"))
    import pandas as pd

    table = pd.DataFrame(run.metrics)
    table.insert(0, "metric", [f"{metric_title(name)} ({name})" for name in table.index])
    table_panel(
        table, key="all_metrics", title="All metrics", meaning="By split.", filename=f"{run.id}-metrics",
        reproduce=of_run(run, f"run show {run.id} --json", "import pandas as pd\n\npd.DataFrame(run.metrics)"),
        columns={name: st.column_config.NumberColumn(name, format="%.6g") for name in run.metrics},
    )  # fmt: skip


def configuration_tables(run: RunFolder) -> None:
    config = run.config
    groups = {
        "Model": config["model"],
        "Training": config.get("training") or {"training": "not trained here"},
        "Data": {**config["data"], "rows": ", ".join(f"{k} {v:,}" for k, v in config["data"]["rows"].items())},
        "Environment": config.get("environment") or {},
    }
    for column, (title, values) in zip(st.columns(4, gap="small"), groups.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            lines = [{"name": name, "value": _value_text(value)} for name, value in values.items() if value is not None]
            st.dataframe(
                lines, hide_index=True, height=300, alt=f"{title} configuration",
                column_config={"name": st.column_config.TextColumn("", width=110), "value": ""},
            )  # fmt: skip


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
