"""TPP: whether features can be switched off that one class's probe needs and the others' don't."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.labelled import Labelled, labelled_of, saebench_notes
from sae.experiments.measurement import Case, Measured, Measurement
from sae.experiments.sparse_probing import SPARSE_PROBING, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sae.common.progress import Progress
    from sae.evaluation.probing.tasks import Hits, Task

_SHARED = (
    "labels", "table", "pooling", "classes", "families", "least_examples", "most_train", "most_test", "context",
    "saebench", "draws", "seed",
)  # fmt: skip
TPP = Measurement(
    name="tpp",
    title="Targeted probe perturbation",
    question="Can features be switched off that one label's probe needs and the others' don't?",
    settings={
        **{name: SPARSE_PROBING.settings[name] for name in _SHARED},
        "n": "2,5,10,20,50,100,500",
        "random_draws": 5,
    },
    meanings={
        **{name: SPARSE_PROBING.meanings[name] for name in _SHARED},
        "n": "how many features are switched off, with commas between",
        "random_draws": "so many sets of random living features, as large, are switched off for comparison",
    },
    measure="sae.experiments.tpp:measure",
)


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """TPP of one run on the labels that come in families of two or more (`sae.evaluation.probing.erasure`).

    Results: `tpp_threshold_N_total_metric`, and its parts `_intended_diff_only` and `_unintended_diff_only`, means over
    classes, then over families; `_random` behind: random living features; `_saebench` behind: with SAEBench's probes,
    which stop on the test set. Intervals by bootstrap over groups. Table `classes`: a line a class and N.

    Raises:
        UserError: if no kind of label has two labels with enough examples, or as `labelled_of`.
    """
    from sae.evaluation.probing.tasks import intervals

    ns = numbers(settings["n"], "n")
    check(settings)
    data = in_families(labelled_of(case, settings, progress))
    codes = data.units.pooled(data.codes(case))
    W_dec = case.model.W_dec.detach().cpu().numpy().astype(np.float64)
    generator = np.random.default_rng(settings["seed"])
    metrics: dict[str, float] = {}
    interval: dict[str, tuple[float, float]] = {}
    lines: list[dict[str, Any]] = []
    for behind in ("", "_saebench") if settings["saebench"] else ("",):
        probes = raw_probes(data, bool(behind))
        hits = _hits(data, codes, W_dec, probes, ns, settings["random_draws"] if not behind else 0, generator)
        for part in ("", "_random") if settings["random_draws"] and not behind else ("",):
            scored = partial(_metrics, tasks=data.tasks, ns=ns, part=part)
            now = scored({name: hits.accuracy(name)[None] for name in hits.names})
            drawn = hits.drawn(scored, settings["draws"], settings["seed"])
            metrics |= {f"{name}{part}{behind}": float(values[0]) for name, values in now.items()}
            interval |= {f"{name}{part}{behind}": value for name, value in intervals(drawn).items()}
        lines += _lines(hits, data, ns, behind)
        progress.update(0.5 if not behind else 1, 1, "tpp")
    metrics |= {"labels": len(data.tasks), "families": len({task.family for task in data.tasks})}
    import pandas as pd

    notes = {**data.notes, "layer": case.slice.layer, "position": case.slice.position, "settings": settings}
    behind = "_saebench" if settings["saebench"] else ""
    notes |= saebench_notes(metrics, _details(lines, ns, behind), config(settings, ns, scr=False))
    result = {"split": data.units.split, "metrics": metrics, "interval": interval, "n": hits.n_units}
    progress.update(1, 1, "tpp")
    return Measured([result], {"classes": pd.DataFrame(lines)}, notes)


def config(settings: dict[str, Any], ns: tuple[int, ...], *, scr: bool) -> dict[str, Any]:
    """The settings under SAEBench's names."""
    return {
        "random_seed": settings["seed"],
        "perform_scr": scr,
        "train_set_size": settings["most_train"],
        "test_set_size": settings["most_test"],
        "context_length": settings["context"],
        "n_values": list(ns),
        "probe_train_batch_size": 16,
        "probe_epochs": 20,
        "probe_lr": 1e-3,
        "probe_l1_penalty": 1e-3,
        "early_stopping_patience": 20,
    }


def check(settings: dict[str, Any]) -> None:
    """Raises UserError for numbers out of range."""
    for name, least in (("draws", 1), ("random_draws", 0)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]} must be at least {least}")


@lru_cache(maxsize=2)
def in_families(data: Labelled) -> Labelled:
    """Without labels that are alone in their family.

    Raises:
        UserError: if none is left.
    """
    count: dict[str, int] = {}
    for task in data.tasks:
        count[task.family] = count.get(task.family, 0) + 1
    tasks = [task for task in data.tasks if count[task.family] > 1]
    if not tasks:
        raise UserError("no kind of label has two labels with enough examples: TPP compares classes of one kind")
    families = {family: n for family, n in count.items() if n > 1}
    return Labelled(data.units, tasks, data.codes, {**data.notes, "families": families})


@lru_cache(maxsize=4)
def raw_probes(data: Labelled, saebench: bool) -> list[np.ndarray]:
    """Weights and intercept [d_in + 1] of a probe on the activations for each task, the same for all runs."""
    x = data.units.x.astype(np.float64)
    return [probe_of(x, task, saebench) for task in data.tasks]


def probe_of(x: np.ndarray, task: Task, saebench: bool) -> np.ndarray:
    """A linear probe [d_in + 1] of one task on the activations."""
    from sae.evaluation.probing.logistic import chosen_fit
    from sae.evaluation.probing.saebench_probe import saebench_probe

    train = x[task.train]
    if saebench:
        how: dict[str, Any] = {"rate": 1e-3, "epochs": 20, "batch": 16, "l1": 1e-3, "patience": 20}
        return saebench_probe(train, task.y, x[task.test], task.y_test, **how)[0]
    return chosen_fit(train, task.y, task.folds[:1])[0]


def _hits(
    data: Labelled,
    codes: Any,
    W_dec: np.ndarray,
    probes: list[np.ndarray],
    ns: tuple[int, ...],
    random_draws: int,
    generator: np.random.Generator,
) -> Hits:
    """By `clean`, and by `p|N|c` with p empty or `_random`: every task's hits after class c of its family lost N
    features; a task is asked about the place c that a class has in its own family."""
    from sae.evaluation.probing.erasure import ablated, effects, ranked
    from sae.evaluation.probing.logistic import predict
    from sae.evaluation.probing.tasks import Hits

    tasks, x = data.tasks, data.units.x.astype(np.float64)
    hits = Hits(tasks, data.units.group)
    eta = [predict(x[task.test], w) for task, w in zip(tasks, probes, strict=True)]
    along = [W_dec @ w[:-1] for w in probes]
    hits.add("clean", [(line > 0) == task.y_test for line, task in zip(eta, tasks, strict=True)])
    members = _members(tasks)
    tests = [codes[task.test] for task in tasks]
    living = np.flatnonzero(np.asarray((codes != 0).sum(axis=0)).reshape(-1))
    found: dict[str, list[np.ndarray]] = {}
    for chosen in members.values():
        for place, ablating in enumerate(chosen):
            task = tasks[ablating]
            order = ranked(effects(codes[task.train], task.y, along[ablating], both_signs=False), max(ns))
            drawn = [generator.permutation(living)[: max(ns)] for _ in range(random_draws)]
            for asked in chosen:
                truth = tasks[asked].y_test
                after = ablated(eta[asked], tests[asked], along[asked], order, ns)
                by_chance = [ablated(eta[asked], tests[asked], along[asked], one, ns) > 0 for one in drawn]
                for at, n in enumerate(ns):
                    nothing = [np.full(len(one.test), np.nan) for one in tasks]
                    found.setdefault(f"|{n}|{place}", list(nothing))[asked] = (after[at] > 0) == truth
                    if drawn:
                        shares = np.mean([one[at] == truth for one in by_chance], axis=0)
                        found.setdefault(f"_random|{n}|{place}", list(nothing))[asked] = shares
    for name, one in found.items():
        hits.add(name, one)
    return hits


def _members(tasks: list[Task]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for place, task in enumerate(tasks):
        members.setdefault(task.family, []).append(place)
    return members


def _by_class(
    accuracies: Mapping[str, np.ndarray], tasks: list[Task], n: int, part: str
) -> tuple[np.ndarray, np.ndarray]:
    """(intended, unintended) falls [b, n_tasks] of accuracy when each class loses its features."""
    clean = accuracies["clean"]
    intended, unintended = np.full(clean.shape, np.nan), np.full(clean.shape, np.nan)
    for chosen in _members(tasks).values():
        for place, ablating in enumerate(chosen):
            fall = (clean - accuracies[f"{part}|{n}|{place}"])[:, chosen]
            intended[:, ablating] = fall[:, place]
            unintended[:, ablating] = np.delete(fall, place, axis=1).mean(axis=1)
    return intended, unintended


def _metrics(
    accuracies: Mapping[str, np.ndarray], tasks: list[Task], ns: tuple[int, ...], part: str
) -> dict[str, np.ndarray]:
    from sae.evaluation.probing.tasks import family_means

    found = {}
    for n in ns:
        intended, unintended = _by_class(accuracies, tasks, n, part)
        found[f"tpp_threshold_{n}_total_metric"] = family_means(intended - unintended, tasks)
        found[f"tpp_threshold_{n}_intended_diff_only"] = family_means(intended, tasks)
        found[f"tpp_threshold_{n}_unintended_diff_only"] = family_means(unintended, tasks)
    return found


def _lines(hits: Hits, data: Labelled, ns: tuple[int, ...], behind: str) -> list[dict[str, Any]]:
    accuracies = {name: hits.accuracy(name)[None] for name in hits.names}
    lines = []
    for n in ns:
        intended, unintended = (part[0] for part in _by_class(accuracies, data.tasks, n, ""))
        for place, task in enumerate(data.tasks):
            lines.append(
                {
                    "family": task.family,
                    "label": task.label,
                    "probe": behind.removeprefix("_") or "ours",
                    "n": n,
                    "clean_accuracy": float(accuracies["clean"][0, place]),
                    "intended": float(intended[place]),
                    "unintended": float(unintended[place]),
                    "total": float(intended[place] - unintended[place]),
                }
            )
    return lines


def _details(lines: list[dict[str, Any]], ns: tuple[int, ...], behind: str) -> list[dict[str, Any]]:
    """A line a family under the names of SAEBench's details."""
    found = []
    probe = behind.removeprefix("_") or "ours"
    for family in dict.fromkeys(line["family"] for line in lines):
        one: dict[str, Any] = {"dataset_name": family}
        for n in ns:
            chosen = [line for line in lines if line["family"] == family and line["n"] == n and line["probe"] == probe]
            for key, name in (
                ("total", "total_metric"),
                ("intended", "intended_diff_only"),
                ("unintended", "unintended_diff_only"),
            ):
                one[f"tpp_threshold_{n}_{name}"] = float(np.mean([line[key] for line in chosen]))
        found.append(one)
    return found
