"""Labelled units for probes: examples of the run's own activations, their rows pooled, on both sides of the split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

    from sae.analysis.label_columns import Labels, Limits
    from sae.capture.store import Activations, Slice
    from sae.common.progress import Progress
    from sae.evaluation.probing.tasks import Task
    from sae.experiments.measurement import Case

POOLINGS = ("mean", "last")
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, eq=False)
class Units:
    """n examples that have rows in a slice, in their order.

    Attributes:
        x: float32 [n, d_in], pooled over an example's rows.
        pool: CSR [n, n_rows], by which codes are pooled in the same way.
        group: int [n], from 0 on; what stays on one side of any split.
        train, test: bool [n]. No group is in both.
        split: which split `test` is.
        labels: of the n examples.
        dropped: training examples that were left out because the test split has their group.
    """

    x: np.ndarray
    pool: csr_matrix
    group: np.ndarray
    train: np.ndarray
    test: np.ndarray
    split: str
    labels: Labels
    dropped: int

    def pooled(self, codes: csr_matrix) -> csr_matrix:
        """[n, d_sae] of codes [n_rows, d_sae], float64."""
        return (self.pool @ codes).tocsr()

    def having(self, label: int) -> np.ndarray:
        """bool [n]: which units have the label (a line of `labels.table`)."""
        return np.asarray(self.labels.having[:, [label]].todense(), bool).reshape(-1)

    def known(self, label: int) -> np.ndarray:
        """bool [n]: of which units the label's question has an answer."""
        return self.labels.masks[self.labels.mask_of[label]]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Units with their tasks, the same for all runs over them.

    Attributes:
        units: the examples.
        tasks: one class against the rest each, ordered by family.
        codes: feature activations CSR [n_rows, d_sae] of a run over the rows that `units` pools.
        notes: what they are, as JSON.
    """

    units: Units
    tasks: list[Task]
    codes: Callable[[Case], csr_matrix]
    notes: dict[str, Any] = field(default_factory=dict)


def labelled_of(case: Case, settings: dict[str, Any], progress: Progress) -> Labelled:
    """The labelled examples that the settings name: the run's own, or those of a table.

    Args:
        settings: `labels`, `table`, `pooling`, `classes`, `families`, `least_examples`, `most_train`, `most_test`,
            `context`, `seed`.

    Raises:
        UserError: if no label has enough examples on both sides of the split, or a setting is out of range.
    """
    for name in ("classes", "families", "least_examples"):
        if settings[name] < 1:
            raise UserError(f"{name} {settings[name]} must be at least 1")
    for name in ("most_train", "most_test"):
        if settings[name] < 2:
            raise UserError(f"{name} {settings[name]} must be at least 2: examples with the label and without")
    if settings["context"] < 0:
        raise UserError(f"context {settings['context']} must not be below 0")
    columns = tuple(name.strip() for name in settings["labels"].split(",") if name.strip())
    if settings["pooling"] not in POOLINGS:
        raise UserError(f"pooling {settings['pooling']!r} is not known: take one of {', '.join(POOLINGS)}")
    names = ("pooling", "classes", "families", "least_examples", "most_train", "most_test", "seed")
    chosen = tuple(settings[name] for name in names)
    if not settings["table"]:
        return _labelled(case.slice, columns, "", chosen)
    from sae.experiments.tables import captured

    piece, labels = captured(case, settings["table"], settings["pooling"], settings["context"], progress)
    return _labelled(piece, columns or labels, settings["table"], chosen)


@lru_cache(maxsize=2)
def _labelled(piece: Slice, columns: tuple[str, ...], table: str, chosen: tuple[Any, ...]) -> Labelled:
    from sae.experiments.tables import encoded

    pooling, *sizes = chosen
    units = units_of(piece, columns, pooling, None)
    tasks = tasks_of(units, *sizes)
    made = {"data": table or piece.activations.name, "model": model_of(piece.activations), "pooling": pooling}
    notes = {**made, **facts(units, tasks)}
    if table:
        skipped = piece.activations.manifest["skipped"]
        notes |= {"skipped": len(skipped), "first_skipped": skipped[0]["reason"] if skipped else ""}
        return Labelled(units, tasks, lambda case: encoded(case, piece), notes)
    return Labelled(units, tasks, lambda case: case.codes.csr(), notes)


def saebench_notes(metrics: dict[str, float], details: list[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    """What goes into SAEBench's file: numbers taken in its way where there are some, under its own names.

    Args:
        details: a line a data set. config: of the evaluation, by SAEBench's names.
    """
    mark = "_saebench"

    def theirs(found: dict[str, Any]) -> dict[str, Any]:
        plain = {name: value for name, value in found.items() if not name.endswith((mark, "_shuffled", "_random"))}
        own = {name.removesuffix(mark): value for name, value in found.items() if name.endswith(mark)}
        return plain | own

    names = [line["dataset_name"] for line in details if "dataset_name" in line]
    return {
        "saebench": theirs(metrics),
        "saebench_details": [theirs(line) for line in details],
        "saebench_config": {**({"dataset_names": names} if names else {}), **config},
    }


def model_of(activations: Activations) -> dict[str, Any]:
    """The name of the model that activations come from, where they come from one."""
    return {"name": (activations.manifest.get("model") or {}).get("name", "")}


def facts(units: Units, tasks: list[Task]) -> dict[str, Any]:
    """What the units are, as JSON."""
    return {
        "n_train": int(units.train.sum()),
        "n_test": int(units.test.sum()),
        "n_groups": int(units.group.max()) + 1,
        "dropped_for_their_group": units.dropped,
        "families": {
            family: sum(t.family == family for t in tasks) for family in dict.fromkeys(t.family for t in tasks)
        },
    }


def tasks_of(
    units: Units, classes: int, families: int, least: int, most_train: int, most_test: int, seed: int
) -> list[Task]:
    """A task a label that has `least` training units with it and without it, and a quarter of that for testing.

    Of a family the `classes` labels that divide the training units most evenly are kept, of one with two classes that
    exclude each other the first: the second is its mirror image.

    Raises:
        UserError: if there is none.
    """
    from sae.evaluation.probing.tasks import make_task

    table = units.labels.table
    found: dict[str, list[tuple[int, int]]] = {}
    for line in np.flatnonzero(table["used"].to_numpy(bool)).tolist():
        having, known = units.having(line), units.known(line)
        smaller = [
            min(int((having & known & part).sum()), int((~having & known & part).sum()))
            for part in (units.train, units.test)
        ]
        if smaller[0] >= least and smaller[1] >= -(-least // 4):
            found.setdefault(str(table["family"][line]), []).append((smaller[0], line))
    tasks = []
    for family in list(found)[:families]:
        lines = [line for _, line in sorted(found[family], key=lambda one: (-one[0], one[1]))[:classes]]
        if len(lines) == 2 and table["exclusive"][lines[0]] and (table["family"] == family).sum() == 2:
            lines = lines[:1]
        for line in sorted(lines):
            tasks.append(
                make_task(
                    family,
                    str(table["label"][line]),
                    units.having(line),
                    units.known(line),
                    units.train,
                    units.test,
                    units.group,
                    most_train=most_train,
                    most_test=most_test,
                    seed=seed,
                )
            )
    if not tasks:
        raise UserError(
            f"no label has {least} training examples with it and without it, and {-(-least // 4)} for testing: lower "
            "least_examples, name columns with labels=, or give a table"
        )
    return tasks


def units_of(piece: Slice, columns: tuple[str, ...], pooling: str, limits: Limits | None) -> Units:
    """The examples of a slice with their labels.

    Args:
        columns: of the examples, the only ones that labels are made from; empty: all that `labels_of` reads.
        pooling: `mean` over an example's rows, or its `last` row.
        limits: which labels are used.

    Raises:
        UserError: for an unknown column or pooling, or without examples on both sides of the split.
    """
    from sae.analysis.label_columns import labels_of

    if pooling not in POOLINGS:
        raise UserError(f"pooling {pooling!r} is not known: take one of {', '.join(POOLINGS)}")
    examples, owner = piece.activations.examples, piece.rows["example"].to_numpy()
    if unknown := [name for name in columns if name not in examples]:
        raise UserError(f"the examples have no column {unknown[0]!r}; they have {', '.join(examples.columns)}")
    chosen, first, unit = np.unique(owner, return_index=True, return_inverse=True)
    table = examples.iloc[chosen].reset_index(drop=True)
    pool = _pooling(unit, len(chosen), pooling)
    group = groups_of(table)
    parts = piece.rows["split"].to_numpy().astype(str)[first]
    split = "test" if (parts == "test").any() else "validation"
    train, test = parts == "train", parts == split
    if not train.any() or not test.any():
        raise UserError(
            f"{piece.title} of {piece.activations.name!r} has {int(train.sum()):,} training and {int(test.sum()):,} "
            f"{split} examples: probes need both"
        )
    kept = train & ~np.isin(group, group[test])
    labels = labels_of(table[list(columns)] if columns else table, None, limits)
    dropped = int(train.sum() - kept.sum())
    return Units(_pooled_rows(piece.x, pool), pool, group, kept, test, split, labels, dropped)


def groups_of(examples: pd.DataFrame) -> np.ndarray:
    """int [n]: by the column `group` where it says something, else by the text: one text twice is one group."""
    n = len(examples)
    keys = [f"text {text}" for text in examples["question"]] if "question" in examples else list(map(str, range(n)))
    if "group" in examples:
        given = examples["group"]
        keys = [k if lacks else f"group {g}" for k, g, lacks in zip(keys, given, given.isna(), strict=True)]
    return np.unique(np.array(keys, object).astype(str), return_inverse=True)[1]


def _pooling(unit: np.ndarray, n: int, pooling: str) -> csr_matrix:
    from scipy.sparse import csr_matrix

    rows = np.arange(len(unit))
    if pooling == "last":
        last = np.zeros(n, np.int64)
        np.maximum.at(last, unit, rows)
        return csr_matrix((np.ones(n), (np.arange(n), last)), shape=(n, len(unit)))
    return csr_matrix((1 / np.bincount(unit, minlength=n)[unit], (unit, rows)), shape=(n, len(unit)))


def _pooled_rows(x: np.ndarray, pool: csr_matrix) -> np.ndarray:
    total = np.zeros((pool.shape[0], x.shape[1]))
    by_row = pool.tocsc()
    for start in range(0, len(x), _ROWS_AT_ONCE):
        block = np.asarray(x[start : start + _ROWS_AT_ONCE], np.float32)
        total += by_row[:, start : start + len(block)] @ block
    return total.astype(np.float32)
