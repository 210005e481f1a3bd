"""SCR: whether a probe that learned two labels together keeps one when the features of the other are switched off."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.labelled import Labelled, labelled_of, saebench_notes
from sae.experiments.measurement import Case, Measured, Measurement
from sae.experiments.sparse_probing import numbers
from sae.experiments.tpp import TPP, check, config, probe_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sae.common.progress import Progress
    from sae.evaluation.probing.pairs import Pair
    from sae.evaluation.probing.tasks import Hits

SCR = Measurement(
    name="scr",
    title="Spurious correlation removal",
    question="Does a probe that learned two labels together keep one when the features of the other are switched off?",
    settings={**TPP.settings, "pairs": 6, "least_gap": 0.1},
    meanings={
        **TPP.meanings,
        "pairs": "at most so many pairs of labels of different kinds, those whose rarest combination is most frequent",
        "least_gap": "only labels that the biased probe is worse at than a clean one by so much, on training examples",
    },
    measure="sae.experiments.scr:measure",
)
_LEAST_CELL = 20  # training units of each combination; half of that for testing
_LEAST_GAP_SAEBENCH = 0.001


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """SCR of one run on pairs of labels made to come together (`sae.evaluation.probing.erasure`).

    Results: `scr_metric_threshold_N`, mean over pairs of the score in the direction in which the biased probe is worse
    on training examples; `scr_dir1_threshold_N` asks for a pair's first label with the features of the second switched
    off, `scr_dir2_threshold_N` the other way round, each over the pairs that are biased that way. `_random` behind:
    random living features; `_saebench` behind: SAEBench's probes, and its choice of the direction on the test set.
    Intervals by bootstrap over groups. Table `pairs`: a line a pair, direction and N.

    Raises:
        UserError: if no two labels of different kinds have examples of all four combinations, the biased probe of none
            is biased, or as `labelled_of`.
    """
    from sae.evaluation.probing.tasks import intervals

    ns = numbers(settings["n"], "n")
    check(settings)
    if settings["pairs"] < 1:
        raise UserError(f"pairs {settings['pairs']} must be at least 1")
    data = labelled_of(case, settings, progress)
    pairs = pairs_of(data, *(settings[name] for name in ("pairs", "most_train", "most_test", "seed")))
    codes = data.units.pooled(data.codes(case))
    W_dec = case.model.W_dec.detach().cpu().numpy().astype(np.float64)
    generator = np.random.default_rng(settings["seed"])
    metrics: dict[str, float] = {}
    interval: dict[str, tuple[float, float]] = {}
    lines: list[dict[str, Any]] = []
    for behind in ("", "_saebench") if settings["saebench"] else ("",):
        probes = _probes(data, pairs, bool(behind))
        draws = settings["random_draws"] if not behind else 0
        hits = _hits(data, pairs, codes, W_dec, probes, ns, draws, generator)
        gaps = -hits.accuracy("base").reshape(-1, 2) if behind else _gaps(data, pairs)
        worse, biased = gaps.argmax(axis=1), gaps >= (-np.inf if behind else settings["least_gap"])
        if not biased.any():
            raise UserError(
                f"no probe of two labels at once is worse than a clean one by {settings['least_gap']}: there is no "
                "spurious correlation to remove; lower least_gap, or name other columns with labels="
            )
        for part in ("", "_random") if draws else ("",):
            scored = partial(_metrics, ns=ns, part=part, worse=worse, biased=biased, saebench=bool(behind))
            now = scored({name: hits.accuracy(name)[None] for name in hits.names})
            drawn = hits.drawn(scored, settings["draws"], settings["seed"])
            metrics |= {f"{name}{part}{behind}": float(values[0]) for name, values in now.items()}
            interval |= {f"{name}{part}{behind}": value for name, value in intervals(drawn).items()}
        lines += _lines(hits, pairs, ns, worse, biased, behind)
        progress.update(0.5 if not behind else 1, 1, "scr")
    import pandas as pd

    table = pd.DataFrame(lines)
    scored_pairs = table.query("probe == 'ours' and scored")["pair"]
    metrics |= {"pairs": len(pairs), "pairs_scored": int(scored_pairs.nunique())}
    notes = {**data.notes, "layer": case.slice.layer, "position": case.slice.position, "settings": settings}
    details = _details(table, ns, "saebench" if settings["saebench"] else "ours")
    notes |= saebench_notes(metrics, details, config(settings, ns, scr=True))
    result = {"split": data.units.split, "metrics": metrics, "interval": interval, "n": hits.n_units}
    progress.update(1, 1, "scr")
    return Measured([result], {"pairs": table}, notes)


@lru_cache(maxsize=2)
def pairs_of(data: Labelled, most: int, most_train: int, most_test: int, seed: int) -> tuple[Pair, ...]:
    """Pairs of labels of different families, one of each two families, those of the largest rarest combination.

    Raises:
        UserError: if there is none.
    """
    from sae.evaluation.probing.pairs import make_pair, smallest_cell

    units, table = data.units, data.units.labels.table
    line = {(family, label): at for at, (family, label) in enumerate(zip(table["family"], table["label"], strict=True))}
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for place, one in enumerate(data.tasks):
        for other in data.tasks[place + 1 :]:
            if one.family == other.family:
                continue
            a, b = line[one.family, one.label], line[other.family, other.label]
            known = units.known(a) & units.known(b)
            having = units.having(a), units.having(b)
            cells = [smallest_cell(*having, known & part) for part in (units.train, units.test)]
            if cells[0] < _LEAST_CELL or cells[1] < _LEAST_CELL // 2:
                continue
            if cells[0] > found.get((one.family, other.family), (0, 0, 0))[0]:
                found[one.family, other.family] = cells[0], a, b
    if not found:
        raise UserError(
            f"no two labels of different kinds have {_LEAST_CELL} training examples of all four combinations, and "
            f"{_LEAST_CELL // 2} for testing: SCR needs two that can come apart"
        )
    chosen = sorted(found.values(), key=lambda one: (-one[0], one[1:]))[:most]
    return tuple(
        make_pair(
            (str(table["label"][a]), str(table["label"][b])),
            units.having(a),
            units.having(b),
            units.known(a) & units.known(b),
            units.train,
            units.test,
            units.group,
            most_train=most_train,
            most_test=most_test,
            seed=seed,
        )
        for _, a, b in chosen
    )


@lru_cache(maxsize=4)
def _probes(data: Labelled, pairs: tuple[Pair, ...], saebench: bool) -> list[tuple[np.ndarray, ...]]:
    """Of each pair the probes of both together, of the one and of the other, the same for all runs."""
    x = data.units.x.astype(np.float64)
    return [tuple(probe_of(x, task, saebench) for task in (pair.biased, pair.a, pair.b)) for pair in pairs]


def _hits(
    data: Labelled,
    pairs: tuple[Pair, ...],
    codes: Any,
    W_dec: np.ndarray,
    probes: list[tuple[np.ndarray, ...]],
    ns: tuple[int, ...],
    random_draws: int,
    generator: np.random.Generator,
) -> Hits:
    """For both labels of every pair in turn: by `clean` the hits of its own probe, by `base` of the biased one, and by
    `p|N` of that one after the other label lost N features (p empty), or random ones (`_random`)."""
    from sae.evaluation.probing.erasure import ablated, effects, ranked
    from sae.evaluation.probing.logistic import predict
    from sae.evaluation.probing.tasks import Hits

    x = data.units.x.astype(np.float64)
    hits = Hits([task for pair in pairs for task in (pair.a, pair.b)], data.units.group)
    living = np.flatnonzero(np.asarray((codes != 0).sum(axis=0)).reshape(-1))
    found: dict[str, list[np.ndarray]] = {}
    for pair, (biased, w_a, w_b) in zip(pairs, probes, strict=True):
        tests, along = codes[pair.a.test], W_dec @ biased[:-1]
        eta = predict(x[pair.a.test], biased)
        drawn = [generator.permutation(living)[: max(ns)] for _ in range(random_draws)]
        by_chance = [ablated(eta, tests, along, one, ns) > 0 for one in drawn]
        for asked, other, w, w_other in ((pair.a, pair.b, w_a, w_b), (pair.b, pair.a, w_b, w_a)):
            order = ranked(effects(codes[other.train], other.y, W_dec @ w_other[:-1], both_signs=True), max(ns))
            after = ablated(eta, tests, along, order, ns) > 0
            found.setdefault("clean", []).append((predict(x[asked.test], w) > 0) == asked.y_test)
            found.setdefault("base", []).append((eta > 0) == asked.y_test)
            for at, n in enumerate(ns):
                found.setdefault(f"|{n}", []).append(after[at] == asked.y_test)
                if drawn:
                    shares = np.mean([one[at] == asked.y_test for one in by_chance], axis=0)
                    found.setdefault(f"_random|{n}", []).append(shares)
    for name, one in found.items():
        hits.add(name, one)
    return hits


@lru_cache(maxsize=4)
def _gaps(data: Labelled, pairs: tuple[Pair, ...]) -> np.ndarray:
    """[pairs, 2]: by how much the biased probe is worse than a clean one at either label, on training units.

    The clean accuracy is that of a fold which its probe did not see.
    """
    from sae.evaluation.probing.logistic import chosen_fit, predict

    x = data.units.x.astype(np.float64)
    gaps = np.zeros((len(pairs), 2))
    for place, (pair, (biased, *_)) in enumerate(zip(pairs, _probes(data, pairs, False), strict=True)):
        for at, task in enumerate((pair.a, pair.b)):
            held, rows = task.folds[0], x[task.train]
            w, _ = chosen_fit(rows[~held], task.y[~held], [task.folds[1][~held]])
            clean = float(((predict(rows[held], w) > 0) == task.y[held]).mean())
            gaps[place, at] = clean - float(((predict(rows, biased) > 0) == task.y).mean())
    return gaps


def _scores(accuracies: Mapping[str, np.ndarray], name: str, saebench: bool) -> np.ndarray:
    """[b, pairs, 2]: (ablated - base) / (clean - base)."""
    base, clean = accuracies["base"], accuracies["clean"]
    gap = clean - base
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (accuracies[name] - base) / gap
    score = np.where(gap < _LEAST_GAP_SAEBENCH, 0.0 if saebench else np.nan, score)
    return score.reshape(len(score), -1, 2)


def _metrics(
    accuracies: Mapping[str, np.ndarray],
    ns: tuple[int, ...],
    part: str,
    worse: np.ndarray,
    biased: np.ndarray,
    saebench: bool,
) -> dict[str, np.ndarray]:
    """`worse`: [pairs], the label that the biased probe is worse at; `biased`: [pairs, 2], where it is bad enough."""
    from sae.evaluation.probing.tasks import mean_of_finite

    found = {}
    every = np.arange(len(worse))
    for n in ns:
        score = np.where(biased, _scores(accuracies, f"{part}|{n}", saebench), np.nan)
        for at in (0, 1):
            found[f"scr_dir{at + 1}_threshold_{n}"] = mean_of_finite(score[:, :, at])
        found[f"scr_metric_threshold_{n}"] = mean_of_finite(score[:, every, worse])
    return found


def _lines(
    hits: Hits, pairs: tuple[Pair, ...], ns: tuple[int, ...], worse: np.ndarray, biased: np.ndarray, behind: str
) -> list[dict[str, Any]]:
    accuracies = {name: hits.accuracy(name) for name in hits.names}
    lines = []
    for n in ns:
        score = _scores({name: values[None] for name, values in accuracies.items()}, f"|{n}", bool(behind))[0]
        for place, pair in enumerate(pairs):
            for at, (asked, other) in enumerate(((pair.a, pair.b), (pair.b, pair.a))):
                column = 2 * place + at
                lines.append(
                    {
                        "pair": asked.family,
                        "probe": behind.removeprefix("_") or "ours",
                        "asked": asked.label,
                        "switched_off": other.label,
                        "n": n,
                        "n_test": len(asked.test),
                        "base_accuracy": float(accuracies["base"][column]),
                        "clean_accuracy": float(accuracies["clean"][column]),
                        "ablated_accuracy": float(accuracies[f"|{n}"][column]),
                        "scr": float(score[place, at]),
                        "scored": bool(worse[place] == at and biased[place, at]),
                    }
                )
    return lines


def _details(table: Any, ns: tuple[int, ...], probe: str) -> list[dict[str, Any]]:
    """A line a pair under the names of SAEBench's details."""
    found = []
    for pair, part in table[table["probe"] == probe].groupby("pair", sort=False):
        one: dict[str, Any] = {"dataset_name": pair}
        for n in ns:
            lines = part[part["n"] == n]
            scored = lines.loc[lines["scored"], "scr"]
            one |= {f"scr_dir{at + 1}_threshold_{n}": float(lines["scr"].iloc[at]) for at in (0, 1)}
            one[f"scr_metric_threshold_{n}"] = float(scored.iloc[0]) if len(scored) else float("nan")
        found.append(one)
    return found
