"""Concept purity on planted concepts: features that are known concepts, and the same with shuffled labels."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from sae.analysis.active_examples import halves
from sae.analysis.codes import FeatureActivations
from sae.analysis.concept_purity import _shuffled, concept_purity
from sae.analysis.label_columns import labels_of
from sae.common.errors import UserError

TOPICS = 6


def planted(seed=0, n_groups=240):
    """Groups (concepts) of one to three terms, each with some topics as a JSON list; features 0 to 5 are the topics."""
    rng = np.random.default_rng(seed)
    topics = rng.random((n_groups, TOPICS)) < 0.2
    sizes = rng.integers(1, 4, n_groups)
    group = np.repeat(np.arange(n_groups), sizes)
    examples = pd.DataFrame(
        {
            "question": [f"term {i}" for i in range(len(group))],
            "group": [f"C{g}" for g in group],
            "concept": [f"C{g}" for g in group],
            "topics": [json.dumps([f"T{t}" for t in np.flatnonzero(topics[g])]) for g in group],
        }
    )
    x = rng.gamma(2, 1, (len(group), 20)) * (rng.random((len(group), 20)) < 0.2)
    x[:, :TOPICS] = topics[group] * (1 + rng.random((len(group), TOPICS)))
    return x.astype(np.float32), examples, group


def purity(x, examples, **changes):
    found = FeatureActivations.from_dense(x)
    return concept_purity(found, examples, np.arange(len(x)), **{"permutations": 4, "columns": ["topics"], **changes})


def test_features_that_are_concepts_are_pure():
    x, examples, _ = planted()
    found = purity(x, examples)
    labels = found.labels[found.labels["used"]]
    assert sorted(zip(labels["label"], labels["feature"], strict=True)) == [(f"topics T{t}", t) for t in range(TOPICS)]
    assert (labels[["heldout_f1", "heldout_auroc", "heldout_precision", "heldout_recall"]] == 1).all(axis=None)
    assert found.summary["label_f1"] == found.summary["label_auroc"] == 1
    features = found.features
    assert features.loc[features["confirmed"], "feature"].tolist() == list(range(TOPICS))
    assert found.summary["confirmed"] == pytest.approx(TOPICS / 20)
    assert (found.null["label_f1"] < 0.5).all() and (labels["null_f1"] < 0.5).all()
    assert (found.null["confirmed"] <= 0.05).all()


def test_labels_that_belong_to_nothing_have_nothing():
    x, examples, _ = planted()
    x[:, :TOPICS] = planted(seed=5, n_groups=260)[0][: len(x), :TOPICS]  # the topics of other concepts
    found = purity(x, examples, permutations=20)
    assert not found.features["confirmed"].any()
    low, high = found.null["label_f1"].min(), found.null["label_f1"].max()
    assert low - 0.05 < found.summary["label_f1"] < high + 0.05


def test_best_features_against_a_plain_loop():
    x, examples, _ = planted(seed=2)
    rng = np.random.default_rng(0)
    x[:, :TOPICS] *= rng.random((len(x), TOPICS)) < 0.6  # no topic is a feature exactly
    found = purity(x, examples, seed=7, permutations=1)
    first, second = halves(np.ones(len(x), bool), examples["group"].to_numpy(), 7)
    for line in found.labels[found.labels["used"]].itertuples():
        topic = line.label.removeprefix("topics ")
        has = np.array([topic in json.loads(text) for text in examples["topics"]])
        scores = [f1_score(has[first], x[first, j] != 0) for j in range(20)]
        assert line.feature == int(np.argmax(scores)) and line.discovery_f1 == pytest.approx(max(scores))
        assert line.heldout_f1 == pytest.approx(f1_score(has[second], x[second, line.feature] != 0))
        assert line.heldout_auroc == pytest.approx(roc_auc_score(has[second], x[second, line.feature]))
    used = found.labels[found.labels["used"]]
    assert found.summary["label_f1"] == pytest.approx(used["heldout_f1"].mean())


def test_groups_swap_labels_as_a_whole():
    _, examples, group = planted()
    labels = labels_of(examples[["topics"]])
    shuffled = _shuffled(labels, group, np.random.default_rng(0))
    before, after = (part.having.toarray() for part in (labels, shuffled))
    assert (before.sum(0) == after.sum(0)).all() and (before != after).any()
    sets = sorted((len(part), tuple(part[0])) for part in (before[group == g] for g in np.unique(group)))
    again = [after[group == g] for g in np.unique(group)]
    assert all((part == part[0]).all() for part in again)
    assert sorted((len(part), tuple(part[0])) for part in again) == sets


def test_a_label_of_one_group_is_not_used():
    x, examples, _ = planted()
    many = pd.DataFrame({"group": "one", "question": "q", "concept": "one", "topics": '["only"]'}, index=range(30))
    more = np.zeros((30, x.shape[1]), np.float32)
    found = purity(np.vstack([x, more]), pd.concat([examples, many], ignore_index=True), permutations=0)
    line = found.labels.set_index("label").loc["topics only"]
    assert not line["used"] and "on one half" in line["reason"] and line["feature"] == -1


def test_rare_features_are_no_ones_best():
    x, examples, _ = planted()
    found = purity(x, examples, permutations=0, least_active=len(x))
    assert not found.features["tested"].any()
    assert (found.labels["feature"] == -1).all() and found.summary["label_f1"] == 0
    assert found.labels["null_f1"].isna().all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": ["nothing"]}, "no column 'nothing'"),
        ({"columns": ["concept"]}, "no concept to compare"),
        ({"permutations": -1}, "must not be below 0"),
    ],
)
def test_what_is_refused(changes, said):
    x, examples, _ = planted()
    with pytest.raises(UserError, match=said):
        purity(x, examples, **changes)
