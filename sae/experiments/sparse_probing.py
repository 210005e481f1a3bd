"""Sparse probing: how many features it takes to tell a label, beside the activations' own dimensions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError
from sae.experiments.labelled import Labelled, labelled_of, saebench_notes
from sae.experiments.measurement import Case, Measured, Measurement

if TYPE_CHECKING:
    import pandas as pd

    from sae.common.progress import Progress
    from sae.evaluation.probing.sparse import Probed
    from sae.evaluation.probing.tasks import Hits

SPARSE_PROBING = Measurement(
    name="sparse-probing",
    title="Sparse probing",
    question="How well do a few features tell labels apart, and better than the activations' own dimensions?",
    settings={
        "labels": "",
        "table": "",
        "pooling": "mean",
        "k": "1,2,5,10,20,50",
        "classes": 5,
        "families": 12,
        "least_examples": 40,
        "most_train": 4000,
        "most_test": 1000,
        "context": 128,
        "saebench": True,
        "draws": 1000,
        "seed": 0,
    },
    meanings={
        "labels": "columns of the examples that say the labels, with commas between; empty takes all",
        "table": "texts with labels that the activations' model reads: a .jsonl file with text and label, or one of "
        "SAEBench's data sets; empty takes the activations' own examples",
        "pooling": "of an example with several rows: mean over them, or the last",
        "k": "numbers of features, with commas between; all features are probed besides",
        "classes": "at most so many labels of one kind, those that divide the examples most evenly",
        "families": "at most so many kinds of labels, in the order of the columns",
        "least_examples": "of a label in training, with it and without it; a quarter of that for testing",
        "most_train": "training examples of a label, with it and without it together",
        "most_test": "test examples of a label, with it and without it together",
        "context": "only the first so many tokens of a text of the table; 0 for as many as the model takes",
        "saebench": "also as SAEBench does it, to compare with published figures",
        "draws": "bootstrap samples of groups, for intervals",
        "seed": "of the examples drawn, the shuffled labels and the bootstrap",
    },
    measure="sae.experiments.sparse_probing:measure",
    of_codes=True,
    of_run=("sae_top_1_test_accuracy", "sae_top_5_test_accuracy", "sae_test_accuracy", "sae_test_accuracy_shuffled"),
)


def measure(case: Case, settings: dict[str, Any], progress: Progress) -> Measured:
    """Probe one run's features and the activations on the same examples (`sae.evaluation.probing.sparse`).

    Results: accuracies on balanced test examples, means over the labels of a kind and then over kinds:
    `sae_top_K_test_accuracy` and `sae_test_accuracy` (all features), `llm_...` of the activations' own dimensions, each
    with `_shuffled` behind for shuffled labels and with `_saebench` behind for SAEBench's way; intervals by bootstrap
    over groups. Table `labels`: a line a label, source and k. Notes: `details`, the means of each kind of label.

    Raises:
        UserError: if there is no label with enough examples on both sides of the split, the table can't be read, or a
            setting is out of range.
    """
    from sae.evaluation.probing import sparse
    from sae.evaluation.probing.tasks import Hits, family_means, intervals

    ks = numbers(settings["k"], "k")
    if settings["draws"] < 1:
        raise UserError(f"draws {settings['draws']} must be at least 1")
    data = labelled_of(case, settings, progress)
    tasks = data.tasks
    raw = _raw(data, ks, settings["saebench"])
    codes = data.units.pooled(data.codes(case))
    found = sparse.probe(
        codes,
        tasks,
        ks,
        saebench=settings["saebench"],
        watch=lambda done, total: progress.update(0.2 + 0.7 * done / total, 1, "probes"),
    )
    hits = Hits(tasks, data.units.group)
    for source, probed in (("sae", found), ("llm", raw)):
        for name, one in probed.hits.items():
            hits.add(metric_name(source, name), one)
    metrics = {name: float(family_means(hits.accuracy(name), tasks)) for name in hits.names}
    drawn = hits.drawn(
        lambda accuracies: {name: family_means(values, tasks) for name, values in accuracies.items()},
        settings["draws"],
        settings["seed"],
    )
    metrics |= {"labels": len(tasks), "families": len({task.family for task in tasks})}
    table = _table(data, hits, {"sae": found, "llm": raw}, settings)
    notes = {
        **data.notes,
        "layer": case.slice.layer,
        "position": case.slice.position,
        "settings": settings,
        **saebench_notes(metrics, details(data, hits), _config(settings, ks)),
    }
    progress.update(1, 1, "probes")
    result = {"split": data.units.split, "metrics": metrics, "interval": intervals(drawn), "n": hits.n_units}
    return Measured([result], {"labels": table}, notes)


def _config(settings: dict[str, Any], ks: tuple[int, ...]) -> dict[str, Any]:
    """The settings under SAEBench's names."""
    return {
        "random_seed": settings["seed"],
        "probe_train_set_size": settings["most_train"],
        "probe_test_set_size": settings["most_test"],
        "context_length": settings["context"],
        "k_values": list(ks),
    }


def metric_name(source: str, name: str) -> str:
    """SAEBench's name: `sae_top_5_test_accuracy`, `llm_test_accuracy`; what stands behind in ours stays behind."""
    which, _, behind = name.partition("_shuffled") if "_shuffled" in name else name.partition("_saebench")
    mark = name[len(which) :]
    return f"{source}_{'' if which == 'all' else which + '_'}test_accuracy{mark}"


def numbers(text: str, name: str) -> tuple[int, ...]:
    """Whole numbers from 1 on with commas between, ascending. Raises UserError for anything else."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise UserError(f"{name} {text!r}: write whole numbers from 1 on with commas between, e.g. 1,2,5")
    return tuple(found)


@lru_cache(maxsize=4)
def _raw(data: Labelled, ks: tuple[int, ...], saebench: bool) -> Probed:
    """The activations' own dimensions, the same for all runs over the same units."""
    from sae.evaluation.probing import sparse

    return sparse.probe(data.units.x.astype(np.float64), data.tasks, ks, saebench=saebench)


def details(data: Labelled, hits: Hits) -> list[dict[str, Any]]:
    """A line a kind of label under the names of SAEBench's details, the kind in the data set's place."""
    lines = []
    for family in dict.fromkeys(task.family for task in data.tasks):
        chosen = [place for place, task in enumerate(data.tasks) if task.family == family]
        means = {name: float(hits.accuracy(name)[chosen].mean()) for name in hits.names}
        lines.append({"dataset_name": family, **means})
    return lines


def _table(data: Labelled, hits: Hits, probed: dict[str, Probed], settings: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    from sae.evaluation.bootstrap import interval

    every = hits.drawn(lambda accuracies: dict(accuracies), settings["draws"], settings["seed"])
    lines = []
    for source, found in probed.items():
        for name in [one for one in found.hits if one.startswith(("top", "all")) and "_s" not in one]:
            metric = metric_name(source, name)
            for place, task in enumerate(data.tasks):
                low, high = interval(every[metric][:, place])
                k = 0 if name == "all" else int(name.removeprefix("top_"))
                line = {
                    "family": task.family,
                    "label": task.label,
                    "source": source,
                    "k": k,
                    "n_train": len(task.train),
                    "n_test": len(task.test),
                    "accuracy": float(hits.accuracy(metric)[place]),
                    "low": low,
                    "high": high,
                    "shuffled": float(hits.accuracy(f"{metric}_shuffled")[place]),
                    "C": found.Cs[name][place],
                    "features": " ".join(map(str, found.chosen[place][:k])),
                }
                if settings["saebench"]:
                    line["saebench"] = float(hits.accuracy(f"{metric}_saebench")[place])
                lines.append(line)
    return pd.DataFrame(lines)
