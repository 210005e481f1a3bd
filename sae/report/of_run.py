"""The report of a run: its numbers, curves, activity, map and pairs, and cards of its features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import place_words
from sae.common.errors import UserError
from sae.figures.style import number_text
from sae.report import features as cards
from sae.report.document import Panel, Report
from sae.report.recipes import hashes, of_run
from sae.report.render import factor_title, plotly_text
from sae.workspace.notes import Notes

if TYPE_CHECKING:
    import pandas as pd

    from sae.workspace import Workspace
    from sae.workspace.runs import RunFolder

_HEIGHT = 300
_PAIRS = 200


def run_report(workspace: Workspace, run: RunFolder) -> Report:
    """The run's panels and the cards of its features: those written about first, then the most active, 200 in all.

    Raises:
        UserError: if its files can't be read.
    """
    shown = cards.cards(workspace, run, cards.choose(run))
    panels = list(_panels(run))
    return Report(run.title, "run", f"One sparse autoencoder: {run.id}.", _facts(run), panels, shown, hashes(run))


def features_report(workspace: Workspace, run: RunFolder, asked: str) -> Report:
    """Cards of the features asked for (`sae.report.features.choose`), and nothing else of the run.

    Raises:
        UserError: if there is no such feature or list, or the run's files can't be read.
    """
    shown = cards.cards(workspace, run, cards.choose(run, asked))
    title = f"{asked.removeprefix('list:')}, {run.title}" if asked.startswith("list:") else f"Features of {run.title}"
    return Report(title, "features", f"Of the run {run.id}.", _facts(run), (), shown, hashes(run))


def _facts(run: RunFolder) -> list[tuple[str, str]]:
    model, data = run.config["model"], run.config["data"]
    split = "validation" if "validation" in run.metrics else next(iter(run.metrics))
    metrics = run.metrics[split]
    facts = [
        ("Architecture", f"{model['architecture']}, {model['d_in']:,} to {model['d_sae']:,}"),
        ("Trained on", ", ".join([data["activations"], *place_words(data)])),
        (f"Explained variance, {split}", number_text(metrics["ev_total"], "ev")),
        (f"Dead features, {split}", number_text(metrics["dead"], "share")),
        ("Active per row (L0)", number_text(metrics["l0"], "decimal")),
    ]
    facts += [("Experiment", str(run.config["experiment"]))] if run.config.get("experiment") else []
    return facts + [(factor_title(name), str(value)) for name, value in run.factors.items()]


def _panels(run: RunFolder) -> Iterator[Panel]:
    from sae.analysis import distributions
    from sae.figures import activity

    yield Panel("metrics", "Metrics", "A line for each split.", _metrics(run), reproduce=of_run(
        run, f"run show {run.id} --json", "run.metrics"))  # fmt: skip
    yield from _curves(run)
    codes = run.codes()
    opened = "from sae.analysis import distributions\nfrom sae.figures import activity\n\n"
    features = f"run features {run.id} --json"
    row = distributions.active_per_row(codes)
    k = run.config["model"].get("k")
    yield Panel(
        "active-per-row", "Active features on a row", "How many features are active on a row, over all rows.",
        row.table, activity.active_per_row(row.table, mean=row.mean, sd=row.sd,
                                           quartiles=(row.q25, row.median, row.q75), k=k, height=_HEIGHT),
        f"{row.n_rows:,} rows",
        of_run(run, f"run show {run.id} --json", opened + "distributions.active_per_row(run.codes).table"),
    )  # fmt: skip
    by_feature = distributions.rows_per_feature(codes)
    numbers: dict[str, Any] = {"n_rows": by_feature.n_rows, "n_features": by_feature.n_features}
    yield Panel(
        "rows-per-feature", "Rows per feature", "Features by the number of rows that they are active on.",
        by_feature.table, activity.rows_per_feature(by_feature.table, n_dead=by_feature.n_dead, height=_HEIGHT,
                                                    **numbers),
        f"{by_feature.n_features:,} features",
        of_run(run, features, opened + "distributions.rows_per_feature(run.codes).table"),
    )  # fmt: skip
    bands = distributions.density_bands(codes.n_active, codes.n_rows)
    yield Panel(
        "density-bands", "Density bands", "Features by the share of rows on which they are active.", bands,
        activity.density_bands(bands, n_rows=codes.n_rows, height=_HEIGHT), f"{codes.d_sae:,} features",
        of_run(run, features, opened + "distributions.density_bands(run.codes.n_active, run.codes.n_rows)"),
    )  # fmt: skip
    yield from _map(run)
    pairs = run.pairs().head(_PAIRS)
    if len(pairs):
        yield Panel(
            "pairs", "Correlated features", f"The {len(pairs):,} pairs of features most correlated over all rows.",
            pairs, reproduce=of_run(run, f"run pairs {run.id} --json", f"run.pairs.head({_PAIRS})"),
        )  # fmt: skip


def _metrics(run: RunFolder) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{"split": split, **metrics} for split, metrics in run.metrics.items()])


def _curves(run: RunFolder) -> Iterator[Panel]:
    from sae.figures.curves import learning_curves

    history = run.history()
    if not {"step", "validation_ev_total"} <= set(history):
        return
    figure = learning_curves({plotly_text(run.title): history}, "validation_ev_total", height=_HEIGHT)
    yield Panel(
        "curves", "Explained variance in training", "On validation rows, at each evaluation.",
        history.drop(columns=["seconds"], errors="ignore"), figure, f"{int(history['step'].max()):,} steps",
        of_run(run, f"run show {run.id} --json", "run.history"),
    )  # fmt: skip


def _map(run: RunFolder) -> Iterator[Panel]:
    """The UMAP, where it was made; a click on a point opens the feature's card."""
    from sae.figures.map import feature_map

    try:
        place = run.map()
    except UserError:
        place = None
    if place is None or place.empty:
        return
    table = place.merge(run.features()[["feature", "density"]], on="feature", how="left")
    written = Notes(run.folder, len(run.features())).all()
    table["label"] = [written[feature].label if feature in written else "" for feature in table["feature"]]
    figure = feature_map(
        table.assign(said=[plotly_text(label) for label in table["label"]]), color="density", log_color=True,
        text="said", height=420,
    )  # fmt: skip
    yield Panel(
        "map", "Feature map", "UMAP of decoder directions; distances are not metric. A click opens the feature's card.",
        table, figure, f"{len(table):,} living features", of_run(run, f"run features {run.id} --json", "run.map"),
    )  # fmt: skip
