"""What the Run page shows of one SAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from sae.common.errors import UserError
from sae.figures.style import metric_title
from sae.ui import autopsy_view, empty, evaluations_view, loaded, page, patched_view, reproduce, stability_view
from sae.ui.panel import chart, figure_panel, table_panel
from sae.ui.tables import as_shown
from sae.ui.thought_words import trained_on
from sae.ui.words import bytes_text, count, number, plain, share

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

HEIGHT = 300
EVERY = 2.0  # s between looks at a run in training


def show(view: str, run: RunFolder, split: str) -> None:
    """Draw one view of a finished run."""
    if view in ("evaluations", "autopsy"):
        {"evaluations": evaluations_view, "autopsy": autopsy_view}[view].show(page.workspace(), run)
        return
    views = {"overview": overview, "activity": activity, "geometry": geometry, "configuration": configuration}
    views[view](run, split)


def place(workspace: Workspace, run: RunFolder) -> None:
    """One line on the thought that a run was trained on; nothing for other activations."""
    data = run.config["data"]
    try:
        manifest = workspace.open_activations(data["activations"]).manifest
    except UserError:
        return  # an SAE outlives its activations
    if said := trained_on(manifest, data["layer"], data["position"]):
        st.caption(plain(said))


def unfinished(workspace: Workspace, run: RunFolder) -> None:
    """A run that waits, trains, stopped or failed: what is known, its curve so far, and where to go on."""
    experiment = run.config.get("experiment")

    @st.fragment(run_every=EVERY if run.error is None else None)
    def live() -> None:
        if run.done:
            st.rerun()
        line: dict[str, Any] = {}
        if experiment:
            table = workspace.experiment(experiment).runs_table()
            line = next((one for one in table.to_dict("records") if one["id"] == run.id), {})
        state = str(line.get("status", "failed" if run.error else "unfinished"))
        if run.error:
            page.show_error(f"This run failed: {run.error}")
        elif state == "running":
            st.progress(float(line["fraction"]), text=f"Training: {share(float(line['fraction']))}")
        else:
            st.info(f"This run is {plain(state)}; what it will show appears when it has been trained and measured.")
        history = run.history()
        if len(history):
            _curves(run, history)
        if experiment:
            empty.link("train", "Watch, resume or retry", experiment=experiment, show="watch")

    live()
    with st.expander("Configuration"):
        _configuration_tables(run)


def overview(run: RunFolder, split: str) -> None:
    """Headline numbers, learning curves, and the most active features with what they fire on."""
    headline(run, split)
    checked = st.container()
    left, right = st.columns([1, 1.15], gap="medium")
    with left:
        history = run.history()
        if len(history):
            _curves(run, history)
        else:
            st.caption("This SAE was not trained here: it has no learning curves.")
    with right:
        most_active(run)
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
    try:
        texts = loaded.top_texts(run)
    except Exception as error:  # examples are an extra here: say what is missing and show the rest
        st.caption(plain(error))
        texts = [()] * len(features)
    table = living[["feature", "density", "max_activation"]].assign(
        text=[texts[feature][0] if texts[feature] else "" for feature in living["feature"]]
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Most active features**", width="stretch")
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


def _curves(run: RunFolder, history: pd.DataFrame) -> None:
    from sae.figures.curves import learning_curves

    title = run.title
    figure = learning_curves({title: history}, "validation_ev_total", theme=page.theme(), height=HEIGHT)
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
    loss = learning_curves({title: history}, column, log_y=True, theme=page.theme(), height=180)
    chart(loss, key="run_loss", alt=f"{metric_title(column)} by training step")


def activity(run: RunFolder, split: str) -> None:
    """How often features are active: by row, by feature, by rank, by band."""
    from sae.analysis import distributions
    from sae.figures import activity as figures

    codes = loaded.codes(run)
    k = run.config["model"].get("k")
    rows = None if split == "all" else np.flatnonzero(loaded.splits_by_row(run) == split)
    theme = page.theme()
    by_row = distributions.active_per_row(codes, rows)
    by_feature = distributions.rows_per_feature(codes)
    top, bottom = st.columns(2, gap="medium"), st.columns(2, gap="medium")
    opened = "from sae.analysis import distributions\nfrom sae.figures import activity\n\ncodes = run.codes\n"
    with top[0]:
        figure_panel(
            figures.active_per_row(
                by_row.table, mean=by_row.mean, sd=by_row.sd, quartiles=(by_row.q25, by_row.median, by_row.q75), k=k,
                theme=theme, height=HEIGHT,
            ),
            by_row.table, key="active_per_row", meaning=f"How many features are active on a row ({split} rows).",
            formula="L0 of a row: the number of features with an activation that is not 0. Signed top-K can have fewer "
            "than K where fewer pre-activations are positive; where a threshold decides, K is only aimed at.",
            filename=f"{run.id}-active-per-row",
            reproduce=reproduce.of_run(
                run, f"run show {run.id} --json", opened + "found = distributions.active_per_row(codes)\n"
                "activity.active_per_row(found.table, mean=found.mean, sd=found.sd, "
                "quartiles=(found.q25, found.median, found.q75)).show()"),
        )  # fmt: skip
    with top[1]:
        figure_panel(
            figures.rows_per_feature(
                by_feature.table, n_rows=by_feature.n_rows, n_features=by_feature.n_features, n_dead=by_feature.n_dead,
                theme=theme, height=HEIGHT,
            ),
            by_feature.table, key="rows_per_feature",
            meaning="Features by the number of rows they are active on (all rows).",
            formula="Bins widen with the number of rows; both axes are logarithmic, so dead features have no bar.",
            filename=f"{run.id}-rows-per-feature",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened + "found = distributions.rows_per_feature(codes)\n"
                "activity.rows_per_feature(found.table, n_rows=found.n_rows, n_features=found.n_features, "
                "n_dead=found.n_dead).show()"),
        )  # fmt: skip
    with bottom[0]:
        frequency = loaded.features(run)[["feature", "n_active", "density"]].sort_values("n_active", ascending=False)
        figure_panel(
            figures.feature_frequency(
                by_feature.ranked, n_rows=by_feature.n_rows, n_features=by_feature.n_features, k=k, theme=theme,
                height=HEIGHT,
            ),
            frequency, key="feature_frequency", meaning="How often each feature is active, the most frequent first.",
            formula=r"$$n_j / n$$ for feature j, by rank. The dashed level, $K / d_{sae}$, is where every feature "
            "would lie if all were used equally.", filename=f"{run.id}-feature-frequency",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened + "found = distributions.rows_per_feature(codes)\n"
                "activity.feature_frequency(found.ranked, n_rows=found.n_rows, n_features=found.n_features).show()"),
        )  # fmt: skip
    with bottom[1]:
        bands = distributions.density_bands(codes.n_active, codes.n_rows)
        figure_panel(
            figures.density_bands(bands, n_rows=codes.n_rows, theme=theme, height=HEIGHT), bands, key="density_bands",
            meaning="Features by the share of rows on which they are active (all rows).",
            formula="Dead: never. Ultra-low: below 1 row in 10,000. Rare: below 1 %. Normal: up to 50 %. Dense: above.",
            filename=f"{run.id}-density-bands",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", opened +
                "bands = distributions.density_bands(codes.n_active, codes.n_rows)\n"
                "activity.density_bands(bands, n_rows=codes.n_rows).show()"),
        )  # fmt: skip


def geometry(run: RunFolder, split: str) -> None:
    """Where decoder directions point."""
    from sae.figures import activity as figures
    from sae.figures.columns import binned, column_histogram

    features = loaded.features(run)
    theme = page.theme()
    cosines = _cosines(str(run.folder), (run.folder / "weights.safetensors").stat().st_mtime_ns)
    top = st.columns(2, gap="medium")
    binning = "from sae.figures.columns import binned, column_histogram\n\n"
    with top[0]:
        figure_panel(
            figures.cosine_histogram(
                cosines.table, n_features=cosines.n_features, d_in=cosines.d_in, sampled=cosines.sampled, theme=theme,
                height=HEIGHT,
            ),
            cosines.table, key="cosines", meaning="All pairs of living features, beside random directions.",
            formula=r"$$\cos(d_i, d_j) = \frac{d_i \cdot d_j}{\lVert d_i \rVert \lVert d_j \rVert}$$ of decoder "
            "rows. The dotted line is what independent uniform directions in as many dimensions would give.",
            filename=f"{run.id}-decoder-cosines",
            reproduce=reproduce.of_run(
                run, f"run features {run.id} --json", "from sae.analysis.distributions import decoder_cosines\n"
                "from sae.figures.activity import cosine_histogram\n\n"
                'found = decoder_cosines(run.weights["W_dec"])\n'
                "cosine_histogram(found.table, n_features=found.n_features, d_in=found.d_in).show()"),
        )  # fmt: skip
    living = features[~features["dead"]]
    with top[1]:
        table = binned(living["max_decoder_cosine"].to_numpy())
        figure_panel(
            column_histogram(
                table, "max_decoder_cosine", title="Nearest decoder direction", theme=theme, height=HEIGHT
            ),
            table, key="nearest", meaning="For each living feature the cosine with the living one nearest to it.",
            formula="The largest |cosine| with another living decoder row, with its sign. Near 1: two features that "
            "write the same.", n=f"{len(living):,} living features", filename=f"{run.id}-nearest-cosine",
            reproduce=reproduce.of_run(run, f"run features {run.id} --json", binning +
                'values = run.features.query("not dead")["max_decoder_cosine"]\n'
                'column_histogram(binned(values), "max_decoder_cosine").show()'),
        )  # fmt: skip
    columns = ["decoder_norm", "encoder_decoder_cosine", "max_decoder_cosine", "mean_activation", "max_activation"]
    summary = living[columns].describe(percentiles=[0.05, 0.5, 0.95]).T.reset_index(names="column")
    summary = summary.drop(columns=["count", "std"]).rename(columns={"50%": "median"})
    summary["column"] = [metric_title(name) for name in summary["column"]]
    table_panel(
        summary, key="norms", title="Living features in numbers", n=f"{len(living):,} living features",
        meaning="Length of decoder vectors, agreement of encoder and decoder, and activations.",
        filename=f"{run.id}-feature-summary", height=215,
        columns={"column": st.column_config.TextColumn("Of each feature", width=230)} | {
            name: st.column_config.NumberColumn(title, format="%.3g", width=65) for name, title in (
                ("mean", "Mean"), ("min", "Least"), ("5%", "5 %"), ("median", "Median"), ("95%", "95 %"),
                ("max", "Most"))},
        reproduce=reproduce.of_run(
            run, f"run features {run.id} --json", 'run.features.query("not dead").describe()'
        ),
    )  # fmt: skip


@st.cache_resource(max_entries=16, show_spinner="Comparing decoder directions")
def _cosines(folder: str, modified: int) -> Any:
    from pathlib import Path

    from sae.analysis.distributions import decoder_cosines
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    return decoder_cosines(loaded.weights(run)["W_dec"], ~loaded.features(run)["dead"].to_numpy(bool))


def configuration(run: RunFolder, split: str) -> None:
    """How it was made, on what, which files hold it, and how to open it elsewhere."""
    _self_checks(run)
    st.markdown("**Open it in a notebook**")
    st.code(f'import sae\n\nrun = sae.open("{run.id}")\nrun.features, run.metrics', language=None)
    _configuration_tables(run)
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
    st.markdown("**All metrics**")
    import pandas as pd

    table = pd.DataFrame(run.metrics)
    table.insert(0, "metric", [f"{metric_title(name)} ({name})" for name in table.index])
    st.dataframe(
        table, hide_index=True, alt="Metrics by split",
        column_config={name: st.column_config.NumberColumn(name, format="%.6g") for name in run.metrics},
    )  # fmt: skip


_LIGHTS = {
    True: (":green[:material/check_circle:]", "holds"),
    False: (":red[:material/error:]", "does not hold"),
    None: (":gray[:material/circle:]", "does not apply"),
}


def lights(run: RunFolder) -> None:
    """What must hold for the numbers of this run to mean what they say: one light for all, and each behind it."""
    with page.errors_shown("checking the run"):
        found = _checked(str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns)
        failed = sum(check.holds is False for check in found)
        said = f"{failed} of {len(found)} self-checks do not hold" if failed else "All self-checks hold"
        with st.popover(f"{_LIGHTS[not failed][0]} {said}", width="content"):
            for check in found:
                light, word = _LIGHTS[check.holds]
                st.markdown(f"{light} **{plain(check.name)}**: {word}  \n{plain(check.found)}")


def _self_checks(run: RunFolder) -> None:
    """The same as a table."""
    with page.errors_shown("checking the run"):
        found = _checked(str(run.folder), (run.folder / "metrics.json").stat().st_mtime_ns)
        failed = sum(check.holds is False for check in found)
        st.markdown(f"**Self-checks**: {f'{failed} of {len(found)} do not hold' if failed else 'all hold'}")
        st.dataframe(
            [{"check": check.name, "result": _LIGHTS[check.holds][1], "found": check.found} for check in found],
            hide_index=True, alt="Self-checks of the run",
            column_config={
                "check": "Check", "result": st.column_config.TextColumn("Result", width=110), "found": "Found",
            },
        )  # fmt: skip


@st.cache_resource(max_entries=32, show_spinner="Checking the run")
def _checked(folder: str, modified: int) -> list[Any]:
    from pathlib import Path

    from sae.workspace.checks import run_checks
    from sae.workspace.runs import RunFolder

    return run_checks(page.workspace(), RunFolder(Path(folder)))


def _configuration_tables(run: RunFolder) -> None:
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
