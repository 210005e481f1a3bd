"""One SAE at a glance: its numbers, its curves, its most active features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from sae.figures.style import metric_title
from sae.ui import empty, link, loaded, page, patched_view, reproduce, run_layers, stability_view
from sae.ui.drawn import kept
from sae.ui.panel import figure_panel, toolbar
from sae.ui.self_checks_view import lights
from sae.ui.strongest import strongest_texts
from sae.ui.tables import as_shown
from sae.ui.words import count, number, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace.runs import RunFolder

HEIGHT = 300


def overview(run: RunFolder, split: str) -> None:
    """Headline numbers, learning curves, and the most active features with what they fire on."""
    headline(run, split)
    checked = st.container()
    left, right = st.columns([1, 1.15], gap="medium")
    with left:
        history = run.history()
        if len(history):
            curves(run, history)
        else:
            st.caption("This SAE was not trained here: it has no learning curves.")
    with right:
        most_active(run)
    run_layers.explained(run, split)
    patched_view.show(run)
    with page.errors_shown("looking for its features in other seeds"):
        stability_view.summary(run)
    with checked:  # last: what the page shows must not wait for it
        lights(run)


def headline(run: RunFolder, split: str) -> None:
    """The run's metrics on one split, each with what it has to be read beside."""
    metrics, results = run.metrics[split], run.results
    d_sae = int(run.config["model"]["d_sae"])
    interval = results.get("intervals", {}).get(split, {}).get("ev_total")
    known = interval is not None and all(value is not None for value in interval)
    found = results.get("baselines", {})

    def baseline(name: str) -> str:
        return number(found.get(name, {}).get(split, {}).get("ev_total"))

    k = run.config["model"].get("k")
    with st.container(horizontal=True, gap="medium", key="headline"):
        st.metric(
            "Explained variance", number(metrics["ev_total"]), width="content",
            delta=f"95 % interval {number(interval[0])} to {number(interval[1])}" if known else None,
            delta_color="off", delta_arrow="off",
            help="ev_total: 1 - Σ‖x-x̂‖² / Σ‖x-μ‖², μ the mean of the train rows. The interval is a bootstrap over "
            "examples.",
        )  # fmt: skip
        if "linear" in found:  # a transcoder's
            st.metric(
                "A linear map", baseline("linear"), width="content", delta_color="off",
                delta=f"what is read, as it is {baseline('identity')}", delta_arrow="off",
                help="Explained variance, on the same rows, of what a transcoder has to beat: least squares from what "
                "it reads to what it writes, without features.",
            )  # fmt: skip
        else:
            st.metric(
                f"PCA of {count(k)} components" if k else "PCA", baseline("pca"), width="content", delta_color="off",
                delta=f"random dictionary {baseline('random_dictionary')}", delta_arrow="off",
                help="Explained variance of what an SAE has to beat, on the same rows.",
            )  # fmt: skip
        if "reconstruction_loss" in metrics:
            st.metric(
                "Reconstruction loss", number(metrics["reconstruction_loss"]), width="content", delta_color="off",
                delta=f"mean predictor {number(metrics['mean_predictor_loss'])}", delta_arrow="off",
                help="Mean of 1 - cos(x, x̂) with real rounding, beside what predicting the train rows' mean gives.",
            )  # fmt: skip
        else:
            st.metric(
                "Explained variance, flat", number(metrics["ev_flat"]), width="content", delta_color="off",
                delta=f"mean predictor {number(found.get('mean_predictor', {}).get(split, {}).get('ev_flat'))}",
                delta_arrow="off",
                help="The published report's definition: 1 - Var(x-x̂) / Var(x) over all elements with one grand mean.",
            )  # fmt: skip
        st.metric(
            "Dead features", share(metrics["dead"]), width="content", delta_color="off", delta_arrow="off",
            delta=f"on {split} rows; {share(run.metrics['all']['dead'])} on all" if split != "all" else "on all rows",
            help=f"Features of {count(d_sae)} that are active on no row of the split. A feature that is rare is easily "
            "missed on few rows: the published report counted as dead what fired on neither split.",
        )  # fmt: skip
        st.metric(
            "Active per row (L0)", number(metrics["l0"], 1), width="content", delta_color="off", delta_arrow="off",
            delta=f"K = {count(k)}" if k else None, help="Mean number of active features in a row.",
        )  # fmt: skip


def most_active(run: RunFolder, n: int = 8) -> None:
    """The features active on most rows with their strongest example; a click opens the card."""
    features = loaded.features(run)
    living = features[~features["dead"]].nlargest(n, "n_active")
    texts = strongest_texts(run)
    table = living[["feature", "density", "max_activation"]].assign(text=[texts[j] for j in living["feature"]])
    with link.panel("run_most_active"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**Most active features**", width="stretch")
            toolbar(
                None, table, key="run_most_active_tools", title="Most active features",
                filename=f"{run.id}-most-active",
                reproduce=reproduce.of_run(
                    run, f"run features {run.id} --json",
                    f'run.features.query("not dead").nlargest({n}, "n_active")'
                    '[["feature", "density", "max_activation"]]',
                ),
            )  # fmt: skip
            empty.link("features", "All features", experiment=run.config.get("experiment"), run=run.id)
        st.caption("Active on most rows, with their strongest example; a click on a line opens the feature.")

        def opened() -> None:
            cells = st.session_state["run_most_active"]["selection"]["cells"]
            if cells:
                st.session_state["run_open"] = int(table["feature"].iloc[cells[0][0]])

        shown, config = as_shown(
            table,
            {
                "feature": st.column_config.NumberColumn("Feature", width=65, format="%d"),
                "density": st.column_config.NumberColumn("Density", width=70, format="percent"),
                "max_activation": st.column_config.NumberColumn("Max", width=65, format="%.3g"),
                "text": st.column_config.TextColumn("Strongest example", width=400),
            },
        )
        st.dataframe(
            shown, hide_index=True, key="run_most_active", on_select=opened, selection_mode="single-cell", height=318,
            column_config=config, alt="Most active features",
        )  # fmt: skip
    feature = st.session_state.pop("run_open", None)
    if feature is not None:
        go_to_feature(run, feature)


def go_to_feature(run: RunFolder, feature: int) -> None:
    """Open a feature's card."""
    choices = {"run": run.id, "feature": str(feature)}
    if run.config.get("experiment"):
        choices["experiment"] = run.config["experiment"]
    st.switch_page("pages/features.py", query_params=choices)


def curves(run: RunFolder, history: pd.DataFrame) -> None:
    from sae.figures.curves import learning_curves

    title = run.title
    figure = kept(learning_curves, {title: history}, "validation_ev_total", theme=page.theme(), height=HEIGHT)
    shown = [name for name in history.columns if name not in ("seconds",)]
    figure_panel(
        figure, history[shown], key="run_curve", title="Explained variance in training",
        meaning="On validation rows, at each evaluation.",
        formula="ev_total of the run while it trained; the table has the loss, the share of dead features "
        "and the learning rate at each recorded step.",
        n=f"{int(history['step'].max()):,} steps", filename=f"{run.id}-curves",
        reproduce=None if not run.done else reproduce.of_run(
            run, f"run show {run.id} --json",
            'from sae.figures.curves import learning_curves\nlearning_curves({run.title: run.history}).show()',
        ),
    )  # fmt: skip
    column = "reconstruction_loss" if "reconstruction_loss" in history else "loss"
    loss = kept(learning_curves, {title: history}, column, log_y=True, theme=page.theme(), height=180)
    figure_panel(
        loss, history[["step", column]].dropna(), key="run_loss", title=f"{metric_title(column)} in training",
        meaning="On the rows of each recorded step.", n=f"{int(history['step'].max()):,} steps",
        filename=f"{run.id}-loss",
        reproduce=None if not run.done else reproduce.of_run(
            run, f"run show {run.id} --json",
            "from sae.figures.curves import learning_curves\n"
            f'learning_curves({{run.title: run.history}}, "{column}", log_y=True).show()',
        ),
    )  # fmt: skip
