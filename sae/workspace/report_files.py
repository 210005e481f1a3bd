"""The files that the published grid report lists in its appendix, from an experiment of ours.

One state dict a run in the published layout, the metrics by dictionary size, the Pareto configurations, and the six
figures. `README.json` beside them says what they are of, how each number was computed, and hashes every state dict.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError
from sae.common.files import file_sha256, read_json, write_json
from sae.common.progress import Progress, Silent
from sae.workspace.results import now

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.folder import Workspace
    from sae.workspace.runs import RunFolder

README = "README.json"
MADE_BY = "python -m sae report-files"
REPORT_POSITION = 3  # what the report's own files are called after
FIGURES = {
    "heatmap_explained_variance": "explained_variance",
    "heatmap_feature_death_rate": "feature_death_rate",
    "heatmap_mean_activation": "mean_activation",
    "heatmap_max_activation": "max_activation",
    "heatmap_reconstruction_loss": "reconstruction_loss",
}
LAYOUT = (
    "encoder.weight [d_sae, d_in], encoder.bias, decoder.weight [d_in, d_sae], decoder.bias; the encoder sees x: "
    "encoder.bias is b_enc - b_dec @ W_enc. The layout does not hold how features are selected: see 'selection' of a "
    "state dict here (magnitude: the K largest by absolute value, sign kept; signed: the K largest, then ReLU)"
)
FORMULAS = {
    "explained_variance": "1 - Var(x - x̂) / Var(x) over all elements of the validation rows, one grand mean (EV_flat), "
    "as the report took it: predicting the mean scores above 0",
    "explained_variance_total": "1 - Σ‖x - x̂‖² / Σ‖x - μ_train‖² on validation: 0 for predicting the training mean",
    "feature_death_rate": "share of features without an activation on training and validation rows together",
    "mean_activation": "mean |f| over the active entries of the validation rows",
    "median_activation": "median |f| over the active entries of the validation rows",
    "max_activation": "largest |f| on the validation rows",
    "reconstruction_loss": "mean squared error over all elements of the validation rows",
    "l0_mean": "active features a row, on validation",
}


def write_report_files(
    workspace: Workspace,
    experiment: str,
    out: Path,
    *,
    preset: str | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the appendix of one preset and seed of a grid into `out`, whole or not at all.

    Args:
        out: a folder that is not there, empty, or an earlier output of this function, which is replaced.
        preset: `published` if the experiment has it, else its first.
        seed: the experiment's first.

    Returns:
        The README: experiment, preset, seed, position, state_dicts, files, figures_left_out (None, or why the six
        figures are not there: they need a Chromium).

    Raises:
        UserError: if there is no such experiment, preset or seed, a run of it is not finished, `out` holds anything
            else, or a state dict does not come back as it was written.
    """
    progress = progress or Silent()
    source = workspace.experiment(experiment)
    runs, chosen = _runs(source, preset, seed)
    out = Path(out).absolute()
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        document = _write(source, runs, chosen, building, progress)
        building.chmod(0o755)  # mkdtemp's own is for the owner alone
        if out.exists():
            shutil.rmtree(out)
        os.replace(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return {"folder": str(out), **document}


def _runs(experiment: ExperimentFolder, preset: str | None, seed: int | None) -> tuple[list[RunFolder], dict[str, Any]]:
    """The finished runs of one preset and seed by dictionary size and K, and which preset and seed these are."""
    if experiment.kind != "topk-grid":
        raise UserError(f"experiment {experiment.name!r} is a {experiment.kind}: the report's files are of a topk-grid")
    chosen: dict[str, Any] = {}
    for name, asked, preferred in (("preset", preset, "published"), ("seed", seed, None)):
        there = experiment.factors.get(name, [])
        if asked is not None and asked not in there:
            raise UserError(
                f"experiment {experiment.name!r} has no {name} {asked!r}; it has {', '.join(map(str, there)) or 'none'}"
            )
        chosen[name] = asked if asked is not None else preferred if preferred in there else (there or [None])[0]
    listed = [
        run
        for run in experiment.content["runs"]
        if all(run["factors"].get(name) == value for name, value in chosen.items())
    ]
    runs = {run.id: run for run in experiment.runs()}
    missing = [run["id"] for run in listed if run["id"] not in runs or not runs[run["id"]].done]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(listed)} runs of experiment {experiment.name!r} are not finished, "
            f"the first {missing[0]}: finish or retry them on the Train page"
        )
    found = [runs[run["id"]] for run in listed]
    return sorted(found, key=lambda run: (run.factors["d_sae"], run.factors["k"])), chosen


def _check_free(out: Path) -> None:
    """Raises UserError if `out` is a file, or holds anything that this module did not put there."""
    if out.is_symlink() or out.exists() and not out.is_dir():
        raise UserError(f"{out} is not a folder: name one that is not there yet")
    there = sorted(item.name for item in out.iterdir()) if out.exists() else []
    if not there:
        return
    own: set[str] = set()
    if README in there:
        try:
            said = read_json(out / README)
            own = {README, *said["files"]} if said["made_by"] == MADE_BY else set()
        except (UserError, KeyError, TypeError):
            own = set()
    others = [name for name in there if name not in own]
    if others:
        raise UserError(f"{out} is not empty ({others[0]!r} is not from an earlier report-files): name another folder")


def _write(
    experiment: ExperimentFolder, runs: Sequence[RunFolder], chosen: dict[str, Any], folder: Path, progress: Progress
) -> dict[str, Any]:
    piece = experiment.workspace.open_activations(experiment.activations).slice(
        experiment.spec.get("layer"), experiment.spec.get("position")
    )
    position = REPORT_POSITION if piece.position is None else piece.position
    state_dicts, lines = {}, []
    for number, run in enumerate(runs):
        progress.update(number, len(runs), "state dicts and metrics")
        d_sae, k = run.factors["d_sae"], run.factors["k"]
        file = folder / f"pos{position}_d{d_sae}_k{k}.pt"
        _write_state_dict(run, file)
        state_dicts[file.name] = {
            "run": run.id,
            "k": k,
            "d_sae": d_sae,
            "sha256": file_sha256(file),
            "selection": run.config["model"]["selection"],
        }
        lines.append({"k": k, "d_sae": d_sae, "run": run.id} | _metrics(run, piece.train_rows, piece.validation_rows))
    progress.update(len(runs), len(runs), "state dicts and metrics")
    table = _table(lines)
    metadata = {
        "experiment": experiment.name,
        **chosen,
        "activations": experiment.activations,
        "layer": piece.layer,
        "position": piece.position,
        "n_train": len(piece.train_rows),
        "n_val": len(piece.validation_rows),
        "input_dim": int(piece.x.shape[1]),
        "epochs": runs[0].config["training"]["epochs"],
        "batch_size": runs[0].config["training"]["batch_size"],
    }
    for d_sae in sorted({line["d_sae"] for line in lines}):
        results = {
            str(line["k"]): {name: value for name, value in line.items() if name not in ("k", "d_sae", "run")}
            for line in lines
            if line["d_sae"] == d_sae
        }
        content = {"metadata": metadata, "results": {str(d_sae): results}}
        write_json(folder / f"grid_metrics_latent{d_sae}.json", content)
    write_json(folder / "pareto_optimal_configs.json", _pareto(table))
    progress.update(0, 1, "figures")
    left_out = _write_figures(table, runs, metadata, folder)
    progress.update(1, 1, "figures")
    document = {
        "made_by": MADE_BY,
        "created": now(),
        **metadata,
        "names": f"pos{position} stands for the position of the rows"
        if piece.position is not None
        else f"these rows have no thought position: pos{position} is the report's own name for its files",
        "layout": LAYOUT,
        "formulas": FORMULAS,
        "state_dicts": state_dicts,
        "figures_left_out": left_out,
        "files": sorted(file.name for file in folder.iterdir()),
    }
    write_json(folder / README, document)
    return document


def _write_state_dict(run: RunFolder, file: Path) -> None:
    """Write, open again with weights_only=True, and compare. Raises UserError if anything came back different."""
    import torch

    from sae.formats import grid_pt

    model = run.model()
    grid_pt.write_grid_pt(model, file)
    state = torch.load(file, weights_only=True)
    expected = {"encoder.weight": model.W_enc.T, "decoder.weight": model.W_dec.T, "decoder.bias": model.b_dec}
    bias = (model.b_enc.double() - model.b_dec.double() @ model.W_enc.double()).float()
    good = set(state) == {*expected, "encoder.bias"} and all(torch.equal(state[n], v) for n, v in expected.items())
    if not good or not torch.equal(state["encoder.bias"], bias):
        raise UserError(f"{file.name} did not come back as it was written: is the disk all right?")


def _metrics(run: RunFolder, train: np.ndarray, validation: np.ndarray) -> dict[str, Any]:
    """A run's metrics under the published names. See FORMULAS."""
    import numpy as np

    held_out = run.metrics.get("validation") or run.metrics["all"]
    codes = run.codes()
    rows = validation if len(validation) else train
    counts = np.diff(codes.row_indptr)
    values = np.abs(codes.row_values[np.isin(np.repeat(np.arange(codes.n_rows), counts), rows)])
    features = run.features()
    dead = int(((features["n_active_train"] + features["n_active_validation"]) == 0).sum())
    return {
        "explained_variance": held_out["ev_flat"],
        "explained_variance_total": held_out["ev_total"],
        "reconstruction_loss": held_out["mse"],
        "cosine_similarity": held_out["cosine_similarity"],
        "l0_mean": float(counts[rows].mean()),
        "l0_std": float(counts[rows].std(ddof=1)),
        "mean_activation": held_out["mean_activation"],
        "max_activation": held_out["max_activation"],
        "median_activation": float(np.median(values)) if len(values) else 0.0,
        "feature_death_rate": dead / codes.d_sae,
        "num_dead_features": dead,
        "num_active_features": codes.d_sae - dead,
        "train_time_sec": run.results["train_seconds"],
        "epochs": run.config["training"]["epochs"],
    }


def _table(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """The configurations, with who is on the frontier and, where not, what beats it."""
    import pandas as pd

    from sae.analysis.pareto import dominators

    table = pd.DataFrame(lines)
    names = [f"K {line.k}, d {line.d_sae:,}" for line in table.itertuples()]
    by = dominators(table, ["explained_variance"], ["k"])
    return table.assign(
        on_frontier=[not found for found in by], beaten_by=["; ".join(names[i] for i in found) for found in by]
    )


def _pareto(table: pd.DataFrame) -> dict[str, Any]:
    """Standard dominance, and the report's test, which lets a configuration be beaten in both objectives alone."""
    from sae.analysis.pareto import non_dominated

    shown = [
        "d_sae",
        "k",
        "explained_variance",
        "explained_variance_total",
        "feature_death_rate",
        "reconstruction_loss",
        "mean_activation",
        "run",
    ]

    def of(strict: bool, says: str) -> dict[str, Any]:
        kept = non_dominated(table, ["explained_variance"], ["k"], strict_all=strict)
        configs = table.loc[kept, shown].rename(columns={"d_sae": "latent_dim"}).sort_values(["k", "latent_dim"])
        return {
            "test": says,
            "pareto_optimal": configs.to_dict("records"),
            "num_pareto": int(kept.sum()),
            "num_dominated": int((~kept).sum()),
        }

    return {
        **of(False, "dominated: another is at least as good in both objectives and better in one"),
        "report_test": of(
            True,
            "the report's: dominated only if another has higher explained variance and lower K, "
            "both strictly, so that equal K never dominate each other",
        ),
        "analysis": {
            "quality_metric": "explained_variance",
            "quality_direction": "maximize",
            "sparsity_metric": "k",
            "sparsity_direction": "minimize",
        },
    }


def _write_figures(
    table: pd.DataFrame, runs: Sequence[RunFolder], metadata: dict[str, Any], folder: Path
) -> str | None:
    """The six figures as PNG; the reason in one line if no browser is there to draw them."""
    import pandas as pd

    from sae.figures.export import to_images
    from sae.figures.frontier import frontier
    from sae.figures.grid import grid_heat_map

    where = ", ".join(str(part) for part in (metadata["experiment"], metadata["preset"], f"seed {metadata['seed']}"))
    held_out, both = metadata["n_val"], metadata["n_train"] + metadata["n_val"]
    titles = {
        "explained_variance": ("Explained variance (EV_flat, the report's)", "ev", held_out, "validation rows"),
        "feature_death_rate": ("Dead features", "share", both, "training and validation rows"),
        "mean_activation": ("Mean activation |f|", "number", held_out, "validation rows"),
        "max_activation": ("Largest activation |f|", "number", held_out, "validation rows"),
        "reconstruction_loss": ("Reconstruction loss (MSE)", "number", held_out, "validation rows"),
    }
    figures = {}
    for name, column in FIGURES.items():
        title, kind, n, rows = titles[column]
        figures[folder / f"{name}.png"] = grid_heat_map(
            table, column, title=title, kind=kind, subtitle=f"{where}; n = {n:,} {rows}"
        )
    held = [run.results["baselines"] for run in runs]
    split = "validation" if held_out else "all"
    baselines = {
        label: pd.DataFrame(
            {"k": [run.factors["k"] for run in runs], "explained_variance": [b[name][split]["ev_flat"] for b in held]}
        )
        .drop_duplicates("k")
        .sort_values("k")
        for name, label in (("pca", "PCA of K components"), ("mean_predictor", "mean predictor"))
        if all(split in b.get(name, {}) for b in held)
    }
    kept = int(table["on_frontier"].sum())
    figures[folder / "pareto_frontier.png"] = frontier(
        table,
        y="explained_variance",
        baselines=baselines,
        title="Explained variance (EV_flat) against K",
        subtitle=f"{where}; n = {held_out:,} validation rows; filled: {kept} of {len(table)}, dominated by none",
    )
    try:
        to_images(figures)
    except UserError as error:
        return str(error)
    return None
