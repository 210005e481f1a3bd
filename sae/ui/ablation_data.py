"""What the Ablations page shows an experiment by: its levels and their names, its finished runs, its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from sae.analysis.ablations import ALONG
from sae.common.files import read_parquet
from sae.experiments import MEASUREMENTS
from sae.figures.grid import label
from sae.ui import grid_data, loaded

if TYPE_CHECKING:
    from sae.experiments.plan import Kind
    from sae.workspace import Workspace
    from sae.workspace.experiments import ExperimentFolder
    from sae.workspace.runs import RunFolder

MEAN_PREDICTOR = "mean_predictor_loss"
#: What a trade-off may be drawn over.
COSTS = ("average_activation_count", "index_bits")
_NOT_CURVES = ("step", "epoch", "rows_seen", "seconds", "lr")


def about(experiment: ExperimentFolder) -> bool:
    """Whether the page is about it."""
    return experiment.trains is not None and experiment.trains.ablates


@dataclass(frozen=True)
class Shown:
    """What the page is about. `choices`: a value of each factor that is picked, None for all together; `cost`: the
    metric on the x axis of a trade-off."""

    workspace: Workspace
    experiment: ExperimentFolder
    split: str
    metric: str
    choices: Mapping[str, Any]
    cost: str = COSTS[0]

    @property
    def kind(self) -> Kind:
        kind = self.experiment.trains
        assert kind is not None  # as `about` says
        return kind

    @property
    def factors(self) -> list[str]:
        return list(self.experiment.factors)

    @property
    def baseline(self) -> dict[str, Any]:
        """The baseline cell, where the experiment has it among its values; else {}."""
        found = self.kind.baseline
        here = all(value in self.experiment.factors.get(name, []) for name, value in found.items())
        return dict(found) if here else {}

    @property
    def varied(self) -> list[str]:
        """The factors with several values, without the seed."""
        return [name for name, values in self.experiment.factors.items() if name != "seed" and len(values) > 1]

    @property
    def seeds(self) -> int:
        return len(self.experiment.factors.get("seed", [0]))

    def runs(self) -> pd.DataFrame:
        """A line a run, finished or not, under `choices`; see `grid_data.runs_with_metrics`."""
        return grid_data.matching(grid_data.runs_with_metrics(self.experiment, self.split), self.choices)


def others(kind: Kind, experiment: ExperimentFolder) -> list[str]:
    """The factors that vary and are not what is ablated: what may be picked."""
    return [
        name
        for name, values in experiment.factors.items()
        if len(values) > 1 and name != "seed" and name not in kind.baseline
    ]


def metrics_of(kind: Kind, table: pd.DataFrame) -> list[str]:
    """The kind's metrics that the runs have, the mean predictor's loss beside them, and what was measured of them."""
    measured = (name for measurement in MEASUREMENTS.values() for name in measurement.of_run)
    names = dict.fromkeys((*kind.metrics, MEAN_PREDICTOR, *measured))
    return [name for name in names if name in table and table[name].notna().any()]


_OF_CHANCE = ("_null", "_random", "_shuffled")


def compared(kind: Kind, table: pd.DataFrame) -> list[str]:
    """The metrics that levels are compared by: not those that say what chance or the mean gives."""
    return [name for name in metrics_of(kind, table) if name != MEAN_PREDICTOR and not name.endswith(_OF_CHANCE)]


#: Values of factors that read badly as they stand.
_SAID = {"topk": "hard TopK", "topk_values": "TopK, not rounded", "mse": "MSE", "l1": "L1"}


def level_name(values: Mapping[str, Any]) -> str:
    """A cell or level in words: `alpha 0.1`, `pass through`, `reconstruction mse, sparsity l1`."""
    words = []
    for name, value in values.items():
        if isinstance(value, str):
            said = _SAID.get(value, value.replace("_", " "))
            words.append(said if len(values) == 1 else f"{name.removesuffix('_objective').replace('_', ' ')} {said}")
        else:
            title = {"k": "K", "d_sae": "N"}.get(name, name.replace("_", " "))
            words.append(f"{title} {label(value)}")
    return ", ".join(words)


def points(table: pd.DataFrame, factors: Sequence[str], x: str, y: str) -> pd.DataFrame:
    """The cells for `sae.figures.ablations.trade_off`: a line a cell, its level along which K and alpha vary."""
    varied = [name for name in factors if name != "seed" and table[name].nunique() > 1]
    lines = [name for name in varied if name not in ALONG]
    along = [name for name in varied if name in ALONG]
    found = []
    for cell, part in table.dropna(subset=[x, y]).groupby([n for n in factors if n != "seed"], sort=False):
        values = dict(zip([n for n in factors if n != "seed"], cell, strict=True))
        found.append(
            {
                **values,
                "name": level_name({n: values[n] for n in lines}),
                "point": level_name({n: values[n] for n in along}) or level_name(values),
                "x": part[x].mean(),
                "y": part[y].mean(),
                "least": part[y].min(),
                "most": part[y].max(),
                "n": len(part),
                "runs": ",".join(part["run"]),
            }
        )
    return pd.DataFrame(found, columns=[*(n for n in factors if n != "seed"), "name", "point", "x", "y", "least",
                                        "most", "n", "runs"])  # fmt: skip


def drawn(shown: Shown) -> tuple[dict[str, list[RunFolder]], dict[str, Any]]:
    """The runs that single cells are drawn from, by the name of their level; finished or not.

    Levels are those of the ablated factors, or of the last factor that varies where there is no baseline. Of every
    other factor one value is drawn: what is picked, else the first.

    Returns:
        The seeds' runs by level, and the factors that were held at a value nobody picked.
    """
    ablated = [name for name in shown.kind.baseline if name in shown.factors] or shown.varied[-1:]
    held = {n: shown.experiment.factors[n][0] for n in shown.varied if n not in ablated and not _picked(shown, n)}
    choices = {**{n: v for n, v in shown.choices.items() if v is not None}, **held}
    found: dict[str, list[RunFolder]] = {}
    for run in shown.experiment.runs():
        factors = run.factors
        if all(factors.get(name) == value for name, value in choices.items()):
            name = level_name({n: factors[n] for n in ablated}) or run.title
            found.setdefault(name, []).append(run)
    return found, held


def _picked(shown: Shown, name: str) -> bool:
    return shown.choices.get(name) is not None


def histories(runs: Mapping[str, list[RunFolder]]) -> dict[str, list[pd.DataFrame]]:
    """The learning curves of each level's seeds, as far as they are."""
    found = {}
    for name, seeds in runs.items():
        paths = [run.folder / "history.parquet" for run in seeds]
        found[name] = [_history(str(path), path.stat().st_mtime_ns) for path in paths if path.exists()]
    return found


def curve_columns(curves: Mapping[str, list[pd.DataFrame]]) -> list[str]:
    """What may be drawn over training."""
    tables = [table for seeds in curves.values() for table in seeds]
    names = dict.fromkeys(name for table in tables for name in table.columns if name not in _NOT_CURVES)
    return list(names)


@st.cache_resource(max_entries=1024, show_spinner=False)
def _history(path: str, modified: int) -> pd.DataFrame:
    return read_parquet(Path(path))


def row_counts(run: RunFolder, split: str) -> np.ndarray:
    """[rows of the split]: how many features are active."""
    return _use(str(run.folder), (run.folder / "codes.safetensors").stat().st_mtime_ns, split)[0]


def densities(run: RunFolder, split: str) -> np.ndarray:
    """[d_sae]: the share of the split's rows on which each feature is active."""
    return _use(str(run.folder), (run.folder / "codes.safetensors").stat().st_mtime_ns, split)[1]


@st.cache_resource(max_entries=512, show_spinner="Counting active features")
def _use(folder: str, modified: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    from sae.workspace.runs import RunFolder

    run = RunFolder(Path(folder))
    codes = run.codes()
    counts = np.diff(codes.row_indptr)
    wanted = np.ones(len(counts), bool) if split == "all" else loaded.splits_by_row(run) == split
    used = codes.row_features[np.repeat(wanted, counts)]
    return counts[wanted], np.bincount(used, minlength=codes.d_sae) / max(int(wanted.sum()), 1)
