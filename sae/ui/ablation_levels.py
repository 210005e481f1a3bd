"""What stands behind the levels of an ablation, and what came out of runs that no verdict is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from sae.analysis.ablations import cells
from sae.figures.ablations import level_bars
from sae.figures.style import metric_title, number_text
from sae.ui import grid_data, grid_views, page
from sae.ui.ablation_data import Shown, drawn, level_name
from sae.ui.ablation_recipes import recipe, runs_recipe
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import plain, plural

if TYPE_CHECKING:
    from sae.workspace.runs import RunFolder

#: What a run counts of its mechanisms' deeds, in words.
DEEDS = {
    "orthogonality_steps": "steps with a pair that cost something",
    "tau_changes": "changes of tau",
    "ortsae_steps": "steps of OrtSAE",
    "prune_checks": "checks for pruning",
    "pruned": "features pruned",
    "l1_changes": "changes of L1's weight",
    "damped_activations": "activations damped",
    "neighbourhood_changes": "changes of neighbourhoods",
    "reallocation_checks": "checks for reallocation",
    "reallocated": "features reallocated",
}


def outcome(shown: Shown, done: pd.DataFrame) -> None:
    """What came out of every level, without a verdict: the metric, and the L0 beside it."""
    st.markdown(f"**No verdict comes from here.** {plain(shown.kind.unjudged)}")
    metrics = list(dict.fromkeys([shown.metric, *(["l0"] if "l0" in done else [])]))
    found = cells(done, shown.factors, metrics)
    varied = [name for name in shown.varied if name in found] or list(shown.baseline)
    for metric, column in zip(metrics, st.columns(len(metrics), gap="medium"), strict=True):
        table = found[found["metric"] == metric]
        table = table.assign(name=[level_name(line) for line in table[varied].to_dict("records")])
        with column:
            figure_panel(
                level_bars(table, metric, theme=page.theme(), height=max(240, 90 + 26 * len(table))), table,
                key=f"ablation_outcome_{metric}", title=metric_title(metric),
                meaning="Means over seeds with 95 % intervals.", formula=grid_data.METRICS[metric][1],
                n=f"{grid_views.n_words(shown.experiment, shown.split) or 'no rows yet'}, "
                f"{shown.seeds} {plural(shown.seeds, 'seed')}",
                filename=f"{shown.experiment.name}-{metric}-{shown.split}",
                reproduce=recipe(shown, "from sae.analysis.ablations import cells\n",
                                 f"cells(done, {shown.factors!r}, {[metric]!r})"),
            )  # fmt: skip


def levels(shown: Shown) -> None:
    """What stands behind the names of the levels, where they are recipes, beside what their runs did."""
    runs, _ = drawn(shown)
    for factor, recipes in shown.kind.recipes.items():
        if factor not in shown.baseline:
            continue
        lines = []
        for name in shown.experiment.factors[factor]:
            one = recipes[name]
            deeds = did(runs.get(level_name({factor: name}), []))
            line = {"level": name, "text": one.text, "meaning": one.meaning, "did": deeds}
            lines.append({**line, "settings": _said(one.settings)})
        table = pd.DataFrame(lines)
        if not table["text"].any():
            table = table.drop(columns="text")
        table_panel(
            table, key=f"ablation_levels_{factor}", title="What each level is, and what it did",
            meaning="Settings beside the defaults; counts are means over seeds, of the whole training.",
            formula="Every setting and mechanism: docs/orthogonality.md.", n=f"{len(table)} levels", height=300,
            columns={"level": "Level", "text": st.column_config.TextColumn("In the document's words", width="large"),
                     "meaning": st.column_config.TextColumn("What it is here", width="large"),
                     "did": st.column_config.TextColumn("What it did", width="large"),
                     "settings": st.column_config.TextColumn("Settings", width="large")},
            filename=f"{shown.experiment.name}-levels",
            reproduce=runs_recipe(
                shown, "from sae.experiments import kind_of\nfrom sae.ui.ablation_levels import did\n",
                f'kind_of("{shown.kind.name}").recipes["{factor}"], '
                "{name: did(found) for name, found in runs.items()}",
            ),
        )  # fmt: skip


def did(runs: list[RunFolder]) -> str:
    """How often the mechanisms of some runs acted, means over those that are finished: `3 features pruned, ...`."""
    done = [run.results.get("training") or {} for run in runs if run.done]
    found = []
    for name, words in DEEDS.items():
        values = [one[name] for one in done if name in one]
        if values:
            found.append(f"{number_text(sum(values) / len(values), 'count')} {words}")
    return ", ".join(found) or ("no mechanism" if done else "not finished yet")


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "the defaults"
