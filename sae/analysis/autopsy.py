"""Dead and nearly dead features: when they fell silent, how near they came to firing, and who stands next to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sae.common.errors import UserError

#: A feature that is active on so many rows or fewer is nearly dead: the next step may take it.
NEARLY_DEAD_ROWS = 3
#: Rows that pre-activations are read on, evenly spread, where there are more.
ROWS = 4096
_ENTRIES = 16_000_000  # pre-activations held at once: 64 MB
FATES = ("born dead", "died", "dead", "nearly dead")


class Schedule(NamedTuple):
    """What turns rows seen in training into steps."""

    train_rows: int
    batch_size: int

    def step_of(self, rows_seen: np.ndarray) -> np.ndarray:
        """Steps after which so many rows had been seen, int64; an epoch ends with a batch that may be smaller."""
        seen = np.asarray(rows_seen, np.int64)
        epoch, rest = np.divmod(seen, self.train_rows)
        return epoch * -(-self.train_rows // self.batch_size) + -(-rest // self.batch_size)


def autopsy(
    features: pd.DataFrame,
    x: np.ndarray,
    W_enc: np.ndarray,
    b_enc: np.ndarray,
    needed: np.ndarray,
    *,
    b_dec: np.ndarray | None = None,
    signed: bool = True,
    schedule: Schedule | None = None,
) -> pd.DataFrame:
    """One line for each feature that is dead on all rows, or nearly.

    Args:
        features: the feature table; with `last_fired_row` where the SAE was trained here.
        x: [n, d_in], the rows that `needed` is of; a memory map will do.
        W_enc: [d_in, d_sae]. b_enc: [d_sae]. b_dec: [d_in], where the encoder subtracts it.
        needed: [n], what a pre-activation has to reach on each row (`sae.analysis.near.needed_by_row`), or [n, d_sae].
        signed: whether the pre-activation has to reach it, or its size.
        schedule: None for SAEs that were not trained here.

    Returns:
        feature; fate (`born dead`: never active in training; `died`; `dead` where training is not known; `nearly
        dead`); n_active (rows); last_step (of training, at which it was last active; missing where that is not known or
        never); short (the least that it fell short by over the rows, in standard deviations of its own pre-activation;
        at or below 0 it would have fired; infinite for one that never varies); near_row (the row of that, as a number
        in `x`); positive (share of rows with a pre-activation above 0); nearest_feature and max_decoder_cosine (the
        living feature whose decoder direction is nearest; -1 and missing without one).

    Raises:
        UserError: if shapes don't fit.
    """
    if x.ndim != 2 or x.shape[1] != W_enc.shape[0] or len(needed) != len(x) or len(features) != W_enc.shape[1]:
        raise UserError(
            f"rows {x.shape}, what they need {np.shape(needed)}, an encoder {W_enc.shape} and {len(features):,} "
            "features don't belong together"
        )
    chosen = np.flatnonzero(features["n_active"].to_numpy() <= NEARLY_DEAD_ROWS)
    table = features.iloc[chosen][["feature", "n_active", "nearest_feature", "max_decoder_cosine"]].reset_index(
        drop=True
    )
    silent = table["n_active"].to_numpy() == 0
    fate = np.where(silent, "dead", "nearly dead").astype(object)
    last_step = np.full(len(table), np.nan)
    if schedule is not None and "last_fired_row" in features:
        rows_seen = features["last_fired_row"].to_numpy(np.int64)[chosen]
        fate[silent] = np.where(rows_seen[silent] == 0, "born dead", "died")
        last_step[rows_seen > 0] = schedule.step_of(rows_seen[rows_seen > 0])
    short, row, positive = _shortfall(x, W_enc[:, chosen], b_enc[chosen], needed, chosen, b_dec, signed)
    return pd.DataFrame(
        {
            "feature": table["feature"],
            "fate": fate,
            "n_active": table["n_active"],
            "last_step": last_step,
            "short": short,
            "near_row": row,
            "positive": positive,
            "nearest_feature": table["nearest_feature"],
            "max_decoder_cosine": table["max_decoder_cosine"],
        }
    )


def _shortfall(
    x: np.ndarray,
    W_enc: np.ndarray,
    b_enc: np.ndarray,
    needed: np.ndarray,
    chosen: np.ndarray,
    b_dec: np.ndarray | None,
    signed: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, m = len(x), W_enc.shape[1]
    least, row = np.full(m, np.inf), np.full(m, -1, np.int64)
    total, square, positive = np.zeros(m), np.zeros(m), np.zeros(m)
    if not n or not m:
        return least, row, np.full(m, np.nan)
    W = W_enc.astype(np.float32)
    offset = b_enc.astype(np.float32) - (np.float32(0) if b_dec is None else b_dec.astype(np.float32) @ W)
    # Sums of squares around the first row's values: rows with a large mean would leave nothing of their spread.
    around = np.asarray(x[0], np.float32) @ W + offset
    step = max(1, _ENTRIES // m)
    for start in range(0, n, step):
        pre = np.asarray(x[start : start + step], np.float32) @ W + offset
        bar = needed[start : start + step]
        bar = bar[:, None] if bar.ndim == 1 else bar[:, chosen]
        short = bar - (pre if signed else np.abs(pre))
        best = short.argmin(axis=0)
        found = short[best, np.arange(m)]
        better = found < least
        least[better], row[better] = found[better], start + best[better]
        away = (pre - around).astype(np.float64)
        total += away.sum(0)
        square += (away**2).sum(0)
        positive += (pre > 0).sum(0)
    spread = np.sqrt(np.maximum(square / n - (total / n) ** 2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        in_deviations = np.where(spread > 0, least / spread, np.where(least > 0, np.inf, 0.0))
    return in_deviations, row, positive / n


def fates(table: pd.DataFrame) -> dict[str, int]:
    """How many features met each fate, those that occur."""
    counts = table["fate"].value_counts()
    return {fate: int(counts[fate]) for fate in FATES if fate in counts}
