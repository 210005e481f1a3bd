"""Checks of numbers that only an experiment can give. Levels are compared on the document's own activations alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.analysis.claims.documents import Claim, Document
from sae.analysis.claims.finding import DIFFERS, REFUTED, REPRODUCED, Finding, untestable, waiting
from sae.analysis.claims.measured import Measured, t_interval

_SHARES = {"dead"}


def text_of(metric: str, number: float) -> str:
    """A metric as people read it: shares in per cent, counts whole, magnitudes with one decimal, others with three."""
    if metric in _SHARES:
        return f"{100 * number:.1f} %"
    if metric == "active":
        return f"{number:,.0f}"
    if metric in ("mean_activation", "max_activation"):
        return f"{number:,.1f}"
    return f"{number:.3f}" if abs(number) >= 0.01 else f"{number:.3g}"


def other_activations(document: Document, measured: Measured) -> str:
    """Why levels can't be compared; empty if the activations are the document's own, by shape, layer and position."""
    if any(measured.setting.get(name) != expected for name, expected in document.setting.items()):
        return f"a level depends on the activations; these are {measured.about}"
    return ""


def cell(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """`metric` on `split` in the cell `k`, `d_sae`: on the same activations reproduced within `within`, or differs."""
    if measured is None:
        return waiting()
    metric, split, k, d_sae = (claim.arguments[name] for name in ("metric", "split", "k", "d_sae"))
    cells = measured.cells(metric, split)
    hit = cells[(cells["k"] == k) & (cells["d_sae"] == d_sae)]
    if hit.empty:
        return untestable(
            f"experiment {measured.experiment!r} has no finished run with K {k}, d {d_sae:,} under the preset "
            f"{measured.preset!r}"
        )
    number, seeds = float(hit[metric].iloc[0]), int(hit["n"].iloc[0])
    low, high = measured.interval(metric, split, k, d_sae) or (None, None)
    also = ""
    if metric == "ev_flat":  # EV_total is the honest one: told beside, with the interval that one seed has too
        total = measured.cells("ev_total", split)
        total = total[(total["k"] == k) & (total["d_sae"] == d_sae)]["ev_total"]
        if len(total):
            also = f"EV_total {total.iloc[0]:.3f}"
            around = measured.interval("ev_total", split, k, d_sae)
            if around:
                also += f" [{around[0]:.3f}, {around[1]:.3f}]"
    return _level(
        claim,
        document,
        measured,
        text_of(metric, number),
        number,
        low=low,
        high=high,
        n=seeds,
        also=also,
        run=measured.run_of(k, d_sae),
    )


def row(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """`metric` at one `k` over the dictionary sizes: mean and sample standard deviation, as the document's tables have
    it, or with `show` `range` the smallest and the largest."""
    if measured is None:
        return waiting()
    metric, split, k = (claim.arguments[name] for name in ("metric", "split", "k"))
    cells = measured.cells(metric, split)
    values = cells[cells["k"] == k][metric].to_numpy(float)
    if not len(values):
        return untestable(
            f"experiment {measured.experiment!r} has no finished run with K {k} under the preset {measured.preset!r}"
        )
    if claim.arguments.get("show") == "range":
        text = f"{text_of(metric, values.min())} to {text_of(metric, values.max())}"
        return _level(claim, document, measured, text, None, n=len(values))
    spread = f" ± {text_of(metric, values.std(ddof=1))}" if len(values) > 1 else ""
    return _level(
        claim, document, measured, text_of(metric, values.mean()) + spread, float(values.mean()), n=len(values)
    )


def gain(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """The difference of `metric` between the cells `to` and `start` ([k, d_sae] each), in the metric's own unit."""
    if measured is None:
        return waiting()
    metric, split = claim.arguments["metric"], claim.arguments["split"]
    lines = measured.lines(split)
    sides = []
    for k, d_sae in (claim.arguments["start"], claim.arguments["to"]):
        side = lines[(lines["k"] == k) & (lines["d_sae"] == d_sae)]
        if side.empty:
            return untestable(
                f"experiment {measured.experiment!r} has no finished run with K {k}, d {d_sae:,} under the "
                f"preset {measured.preset!r}"
            )
        sides.append(side.set_index("seed")[metric])
    # One seed gives the two cells the same rows in the same order: differences are taken within seeds.
    differences = (sides[1] - sides[0]).dropna().to_numpy(float)
    if not len(differences):
        return untestable("the two cells have no seed in common")
    low, high = t_interval(differences) if len(differences) > 1 else (None, None)
    number = float(differences.mean())
    return _level(claim, document, measured, f"{100 * number:+.1f} pp", number, low=low, high=high, n=len(differences))


def seconds(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Training time: `show` `range` over runs, or `total`. Comparable only on the document's own `hardware`."""
    if measured is None:
        return waiting()
    lines = measured.lines("all")
    times = measured.times[measured.times["id"].isin(lines["id"])] if len(measured.times) else pd.DataFrame()
    if times.empty:
        return untestable(f"experiment {measured.experiment!r} has no finished runs of the preset {measured.preset!r}")
    values = times["train_seconds"].to_numpy(float)
    devices = ", ".join(sorted(set(times["device_name"].astype(str))))
    if claim.arguments["show"] == "total":
        text = (
            f"{values.sum():,.0f} s for {len(values)} SAEs"
            if values.sum() >= 10
            else f"{values.sum():.1f} s for {len(values)} SAEs"
        )
    else:
        text = f"{values.min():.1f} s to {values.max():.1f} s"
    hardware = claim.arguments["hardware"]
    if hardware.lower() not in devices.lower():
        return untestable(
            f"measured on {devices}, not on an {hardware}, and on {measured.about}", value=text, n=len(values)
        )
    return Finding(DIFFERS, text, f"measured on {devices}", n=len(values))


def exact_k(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Whether every row of every run has exactly K active features: mean L0 equal to K on all rows."""
    if measured is None:
        return waiting()
    lines = measured.lines("all")
    if lines.empty or "l0" not in lines:
        return untestable(f"experiment {measured.experiment!r} has no finished runs of the preset {measured.preset!r}")
    gap = (lines["k"] - lines["l0"]).abs()
    worst = lines.loc[gap.idxmax()]
    # A mean over n rows moves by 1 / n if a single row misses one feature.
    exact = gap.max() < 0.5 / max(float(measured.setting.get("n_rows") or 1), 1)
    reason = (
        "" if exact else f"K {worst['k']:g}, d {worst['d_sae']:,.0f} keeps {worst['l0']:.2f}: zeros among the K largest"
    )
    return Finding(
        REPRODUCED if exact else DIFFERS,
        f"off by {gap.max():.2g} at most",
        reason,
        float(gap.max()),
        n=len(lines),
        run=str(worst["id"]),
    )


def mean_predictor(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """What the document's explained variance gives to predicting the mean, which explains nothing."""
    if measured is None:
        return waiting()
    if measured.baselines.empty:
        return untestable("the experiment has no baselines")
    found = measured.baselines
    found = found[(found["baseline"] == "mean_predictor") & (found["split"] == claim.arguments["split"])]
    if found.empty:
        return untestable("the experiment has no baselines on this split")
    flat, total = float(found["ev_flat"].iloc[0]), float(found["ev_total"].iloc[0])
    met = abs(flat) < claim.arguments["within"]
    reason = (
        ""
        if met
        else (
            f"predicting the mean of the training rows scores {flat:.3f} by it: differences between the "
            f"means of dimensions count as variance. EV_total gives it {total:.3f}"
        )
    )
    return Finding(REPRODUCED if met else DIFFERS, f"{flat:.3f} for the mean alone", reason, flat, n=1)


def decoder_norms(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """The norms of the living features' decoder rows after training: reproduced if all within `within` of 1."""
    if measured is None:
        return waiting()
    chosen = measured.lines("all")["id"]
    found = measured.norms[measured.norms["id"].isin(chosen)] if len(measured.norms) else pd.DataFrame()
    if found.empty:
        return untestable(f"experiment {measured.experiment!r} has no finished runs of the preset {measured.preset!r}")
    low, high = float(found["low"].min()), float(found["high"].max())
    met = max(abs(low - 1), abs(high - 1)) <= claim.arguments["within"]
    reason = "" if met else f"under the preset {measured.preset!r} norms leave 1 once training has begun"
    return Finding(REPRODUCED if met else REFUTED, f"{low:.2f} to {high:.2f}", reason, n=len(found))


def other_preset(claim: Claim, document: Document, measured: Measured | None) -> Finding:
    """Whether a property of the grid belongs to the data or to the recipe: `metric` on `split`, at the experiment's
    smallest K, under this preset and under `preset`; refuted if the other takes more than `share` of it away."""
    if measured is None:
        return waiting()
    metric, split, other = (claim.arguments[name] for name in ("metric", "split", "preset"))
    mine, theirs = measured.cells(metric, split), measured.cells(metric, split, other)
    both = mine.merge(theirs, on=["k", "d_sae"], suffixes=("", "_other"))
    if measured.preset == other or both.empty:
        return untestable(
            f"it takes runs of the preset {other!r} beside those of the document's recipe in one experiment"
        )
    both = both[both["k"] == both["k"].min()]
    a, b = float(np.mean(both[metric])), float(np.mean(both[f"{metric}_other"]))
    text = f"{text_of(metric, a)} under {measured.preset}, {text_of(metric, b)} under {other}"
    reason = (
        f"K {both['k'].iloc[0]:g}, the same {measured.setting.get('n_rows') or 0:,.0f} rows, mean over "
        f"{len(both)} dictionary sizes"
    )
    if a <= 0:
        return untestable("nothing dies under this preset", value=text)
    gone = 1 - b / a
    verdict = REFUTED if gone > claim.arguments["share"] else DIFFERS if gone > 0.1 else REPRODUCED
    return Finding(
        verdict, text, reason + ": the recipe decides, not the amount of data" * (verdict == REFUTED), n=len(both)
    )


def _level(
    claim: Claim,
    document: Document,
    measured: Measured,
    text: str,
    number: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int | None = None,
    also: str = "",
    run: str | None = None,
) -> Finding:
    other = other_activations(document, measured)
    if other or number is None or claim.number is None:
        return untestable(
            other or "a range over configurations has no tolerance",
            value=text,
            number=number,
            low=low,
            high=high,
            n=n,
            also=also,
            run=run,
        )
    within = claim.arguments["within"]
    agrees = abs(number - claim.number) <= within or (
        low is not None and high is not None and low <= claim.number <= high
    )
    reason = f"{text} against {claim.says}, compared within {within:g}"
    return Finding(REPRODUCED if agrees else DIFFERS, text, reason, number, low, high, n, also, run)
