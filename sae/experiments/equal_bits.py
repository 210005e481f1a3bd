"""Equal bits: what a vector's bits buy as a binary code, as sparse values, and as product quantisation."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    from sae.capture.store import Slice
    from sae.common.progress import Progress
    from sae.evaluation.equal_bits import HeldOut

EQUAL_BITS = Measurement(
    name="equal-bits",
    title="Equal bits",
    question="At equal bits per vector, which code keeps more: a binary one, sparse values, or product quantisation?",
    settings={"rows": 5000, "queries": 1000, "neighbours": 10, "pq_rows": 8192, "seed": 0},
    meanings={
        "rows": "at most so many held-out rows, drawn with the seed; 0 takes all",
        "queries": "how many of them look for their nearest among the others",
        "neighbours": "how many nearest rows they look for",
        "pq_rows": "at most so many training rows that product quantisation is fitted on",
        "seed": "of the rows drawn and of k-means",
    },
    measure="sae.experiments.equal_bits:measure",
)
#: A run's own codes under plain names, then what else is measured of it with a name behind.
_SUFFIXES = {"bits": "", "float32": "", "int8": "_int8"}


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """One run's codes beside product quantisation of as many bits, on its test rows, or validation rows without a test.

    Results (`sae.evaluation.equal_bits`): `bits`, `reconstruction_loss`, `ev_total`, `recall`, `recall_decoded` of the
    code (of a binary one `recall_hamming` too), of values in 8 bits with `_int8` behind, and of product quantisation of
    as many bits with `_pq` and `_pq_int8` behind; `dense_bits`. Table `methods`: a line each.

    Raises:
        UserError: if there are too few rows, or a setting is out of range.
    """
    from sae.evaluation import equal_bits

    for name, least in (("rows", 0), ("queries", 1), ("neighbours", 1), ("pq_rows", 2)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]} must be at least {least}")
    drawing = tuple(settings[name] for name in ("rows", "queries", "neighbours", "seed"))
    split, rows, held = _held_out(case.slice, *drawing)
    codes = case.codes.csr()
    weights = {name: getattr(case.model, name).detach().cpu().numpy() for name in ("W_dec", "b_dec")}
    lines = equal_bits.of_code(held, codes[rows], codes[case.slice.train_rows], equal_bits.Decoder(**weights))
    table = []
    d_in = case.slice.x.shape[1]
    for number, line in enumerate(lines):
        progress.update(number, len(lines), "equal bits")
        m = equal_bits.sub_quantisers(line["bits"], d_in)
        table += [line, {**_quantised(case.slice, *drawing, settings["pq_rows"], m), "beside": line["method"]}]
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for line in table:
        suffix = _SUFFIXES[line["method"]] if "beside" not in line else "_pq" + _SUFFIXES[line["beside"]]
        metrics[f"bits{suffix}"] = line["bits"]
        for name in equal_bits.MEASURES:
            if np.isfinite(line[name]):
                metrics[f"{name}{suffix}"] = line[name]
                intervals[f"{name}{suffix}"] = (line[f"{name}_low"], line[f"{name}_high"])
    metrics["dense_bits"] = 32.0 * d_in
    progress.update(1, 1, "equal bits")
    import pandas as pd

    methods = pd.DataFrame([{"beside": "", **line} for line in table])
    notes = {
        "layer": case.slice.layer,
        "position": case.slice.position,
        "architecture": case.model.architecture,
        "dense_bits": 32 * d_in,
        "queries": len(held.queries),
        "settings": settings,
    }
    found = {"split": split, "metrics": metrics, "interval": intervals, "n": len(rows)}
    return Measured([found], {"methods": methods}, notes)


@lru_cache(maxsize=2)
def _held_out(piece: Slice, most: int, queries: int, count: int, seed: int) -> tuple[str, np.ndarray, HeldOut]:
    """Split, rows of the slice and what stands of them, the same for all runs over it."""
    from sae.analysis.active_examples import group_numbers
    from sae.evaluation.equal_bits import HeldOut

    split = "test" if len(piece.test_rows) else "validation"
    rows = piece.test_rows if split == "test" else piece.validation_rows
    if len(rows) <= count or not len(piece.train_rows):
        raise UserError(
            f"{piece.title} of {piece.activations.name!r} has {len(rows):,} {split} rows: more than {count} are needed "
            f"to look for {count} neighbours among, and training rows beside them"
        )
    # Queries are the first rows, so they are drawn here in any case.
    rows = np.random.default_rng(seed).permutation(rows)[: most or None]
    if len(rows) <= count:
        raise UserError(f"rows {most} must be more than the {count} neighbours that are looked for")
    examples = piece.activations.examples
    group = examples["group"].to_numpy(object) if "group" in examples else None
    numbers = group_numbers(len(examples), group)[piece.rows["example"].to_numpy()[rows]]
    x = np.asarray(piece.x)
    mean = x[piece.train_rows].mean(axis=0, dtype=np.float64)
    return split, rows, HeldOut.of(x[rows].astype(np.float32), mean, numbers, queries, count)


@lru_cache(maxsize=64)
def _quantised(piece: Slice, most: int, queries: int, count: int, seed: int, pq_rows: int, m: int) -> dict[str, Any]:
    """Product quantisation, the same for all runs that come near the same bits."""
    from sae.evaluation.equal_bits import of_product_quantisation

    _, _, held = _held_out(piece, most, queries, count, seed)
    train = piece.train_rows
    if len(train) > pq_rows:
        train = np.sort(np.random.default_rng(seed).choice(train, pq_rows, replace=False))
    return of_product_quantisation(held, np.asarray(piece.x)[train].astype(np.float32), m, seed)
