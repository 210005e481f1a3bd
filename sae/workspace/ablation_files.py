"""The four figures that the notes on top-k orthogonality name, from an experiment of ours, each with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.capture.run_rows import rows_read
from sae.common.errors import UserError
from sae.common.files import write_json
from sae.workspace.results import now

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import plotly.graph_objects as go

    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

README = "README.json"
FIGURES = {
    "training_curves": "total loss of the batch (reconstruction, sparsity and other penalties) over optimizer steps",
    "sparsity_evolution": "share of activations of the batch that are 0, over optimizer steps",
    "feature_correlations": "mean |Pearson r| of the activations of two features, over all pairs of living features",
    "feature_usage": "share of rows on which a feature is active, features sorted by it in each seed by itself",
}

_BANDS = "lines are means over seeds, bands go from the least to the most of them"


def write_ablation_files(
    workspace: Workspace, experiment: str, out: Path, *, split: str = "validation"
) -> dict[str, Any]:
    """Write each figure as PNG and its numbers as CSV into `out`: a line or bar a level, the band of its seeds.

    Where the experiment varies more than its levels (K, dictionary sizes), the first of each is drawn.

    Args:
        out: a folder that is not there, empty, or an earlier output of this function.
        split: whose rows correlations and use are counted on.

    Returns:
        The README: experiment, split, held (what was drawn of other factors), runs, files, figures_left_out (None, or
        why no image is there: they need a Chromium).

    Raises:
        UserError: if there is no such experiment, none of its runs is finished, it does not measure these, or `out`
            holds anything else.
    """
    source = workspace.experiment(experiment)
    kind = source.trains
    if kind is None or not kind.baseline or "mean_abs_correlation" not in kind.metrics:
        raise UserError(f"{experiment!r} is a {source.kind}: these figures are of orthogonality experiments")
    out = Path(out).absolute()
    if out.exists() and any(out.iterdir()) and not (out / README).exists():
        raise UserError(f"{out} is not empty: take another folder")
    factor = next(iter(kind.baseline))
    levels, held = _levels(source, factor)
    if not levels:
        raise UserError(f"no run of {experiment!r} is finished")
    rows = _rows(workspace, next(iter(levels.values()))[0], split)
    tables, figures = _drawn(levels, split, rows)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
    left_out = _write_images({out / f"{name}.png": figure for name, figure in figures.items()})
    document: dict[str, Any] = {
        "made_by": "python -m sae report-files",
        "created": now(),
        "experiment": experiment,
        "kind": source.kind,
        "split": split,
        "held": held,
        "runs": {name: [run.id for run in runs] for name, runs in levels.items()},
        "figures": FIGURES,
        "figures_left_out": left_out,
    }
    document["files"] = sorted({path.name for path in out.iterdir()} - {README})
    write_json(out / README, document)
    return {"folder": str(out), **document}


def _levels(source: ExperimentFolder, factor: str) -> tuple[dict[str, list[RunFolder]], dict[str, Any]]:
    """The finished runs of each level, and what is drawn of every other factor but the seed."""
    held = {n: values[0] for n, values in source.factors.items() if n not in (factor, "seed") and len(values) > 1}
    found: dict[str, list[RunFolder]] = {}
    for run in source.runs():
        if run.done and all(run.factors[name] == value for name, value in held.items()):
            found.setdefault(str(run.factors[factor]), []).append(run)
    return found, held


def _rows(workspace: Workspace, run: RunFolder, split: str) -> np.ndarray:
    """Numbers of the split's rows, which all runs of the experiment share."""
    data = run.config["data"]
    piece = rows_read(workspace.open_activations(data["activations"]), data)
    rows = {"train": piece.train_rows, "validation": piece.validation_rows, "test": piece.test_rows}
    if split not in rows or not len(rows[split]):
        raise UserError(f"{data['activations']!r} has no {split!r} rows")
    return rows[split]


def _drawn(
    levels: dict[str, list[RunFolder]], split: str, rows: np.ndarray
) -> tuple[dict[str, pd.DataFrame], dict[str, go.Figure]]:
    import numpy as np
    import pandas as pd

    from sae.analysis import seed_bands
    from sae.analysis.ablations import over_seeds
    from sae.evaluation.redundancy import ROWS
    from sae.figures.ablations import level_bars
    from sae.figures.ablations import seed_bands as band_figure

    histories = {name: [run.history() for run in runs] for name, runs in levels.items()}
    curves = {
        "training_curves": ("objective", "Total loss"),
        "sparsity_evolution": ("zero_share", "Share of activations that are 0"),
    }
    tables: dict[str, pd.DataFrame] = {}
    figures: dict[str, go.Figure] = {}
    most = max(map(len, levels.values()))
    seeds = f"{most} {'seed' if most == 1 else 'seeds'} a level"
    counted = f"{len(rows):,} {split} rows, {seeds}"
    correlated = f"{min(len(rows), ROWS):,} {split} rows, {seeds}"
    for file, (column, title) in curves.items():
        bands = {name: seed_bands.over_training(found, column) for name, found in histories.items()}
        tables[file] = _long(bands)
        kind = "share" if column == "zero_share" else "number"
        figures[file] = band_figure(bands, x="step", x_title="Training step", y_title=title, kind=kind, height=520)
        _headed(figures[file], f"{title}, batch by batch", f"{seeds}; {_BANDS}")
    name = "mean_abs_correlation"
    lines = {
        level: over_seeds([run.metrics[split].get(name, np.nan) for run in runs]) for level, runs in levels.items()
    }
    tables["feature_correlations"] = pd.DataFrame([{"name": level, **line} for level, line in lines.items()])
    figures["feature_correlations"] = level_bars(tables["feature_correlations"], name, height=520)
    _headed(
        figures["feature_correlations"], "How much features repeat each other",
        f"{correlated}; means over seeds with 95 % intervals",
    )  # fmt: skip
    ranks = {level: seed_bands.by_rank([_densities(run, rows) for run in runs]) for level, runs in levels.items()}
    tables["feature_usage"] = _long(ranks)
    figures["feature_usage"] = band_figure(
        ranks, x="rank", x_title="Rank of the feature (log)", y_title="Share of rows where it is active (log)",
        kind="share", log_x=True, log_y=True, height=520,
    )  # fmt: skip
    _headed(figures["feature_usage"], "How often each feature is active", f"{counted}; {_BANDS}")
    return tables, figures


def _headed(figure: go.Figure, title: str, subtitle: str) -> None:
    """Put a title and what it is counted on over a figure, which stands by itself as a file."""
    from sae.figures.style import new_figure

    head = new_figure(title, subtitle).layout
    figure.update_layout(title=head.title, margin_t=head.margin.t)


def _densities(run: RunFolder, rows: np.ndarray) -> np.ndarray:
    import numpy as np

    codes = run.codes()
    chosen = np.zeros(codes.n_rows, bool)
    chosen[rows] = True
    used = codes.row_features[np.repeat(chosen, np.diff(codes.row_indptr))]
    return np.bincount(used, minlength=codes.d_sae) / max(len(rows), 1)


def _long(bands: dict[str, pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([band.assign(level=name) for name, band in bands.items()], ignore_index=True)


def _write_images(figures: dict[Path, go.Figure]) -> str | None:
    from sae.figures.export import to_images

    try:
        to_images(figures, width=1000)
    except UserError as error:
        return str(error)
    return None
