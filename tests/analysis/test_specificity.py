"""Which labels features go with: against one loop over features and labels, and on data where the truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import f1_score, roc_auc_score

from sae.analysis.active_examples import active_examples, halves
from sae.analysis.codes import FeatureActivations
from sae.analysis.label_columns import labels_of
from sae.analysis.specificity import specificity
from sae.common.errors import UserError


def tokens(seed=0, n_examples=160, d_sae=12):
    """Rows of two to five tokens an example, not in the order of their examples; signed, sparse values."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.repeat(np.arange(n_examples), rng.integers(2, 6, n_examples)))
    x = rng.choice([-1.0, 1.0, 2.0, 2.5], (len(owner), d_sae)) * (rng.random((len(owner), d_sae)) < 0.12)
    x[:, 0] = 0
    x[:, 1] = 1
    return x.astype(np.float32), owner


def some_labels(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "operations": rng.choice(["+", "-+", "*", "/*"], n),
            "n_steps": rng.integers(1, 4, n),
            "correct": pd.array(np.where(rng.random(n) < 0.2, None, rng.random(n) < 0.4), dtype="boolean"),
            "theme": rng.choice(["shop", "farm", "school"], n),
        }
    )


def noise(seed, n=400, d_sae=60):
    """Features and labels that have nothing to do with each other, each of its own density."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2, 1, (n, d_sae)) * (rng.random((n, d_sae)) < rng.uniform(0.05, 0.9, d_sae))
    return x.astype(np.float32), some_labels(n, seed + 10_000)


def test_every_number_against_a_plain_loop():
    x, owner = tokens()
    n = owner.max() + 1
    examples = some_labels(n)
    labels = labels_of(examples)
    found = specificity(
        FeatureActivations.from_dense(x), labels, example=owner, seed=3, alpha=1.0, least_active=1, least_gain=0.0
    )
    discovery, heldout = halves(np.ones(n, bool), None, 3)
    strongest = np.zeros((n, x.shape[1]))
    for row, i in enumerate(owner):
        for j, value in enumerate(x[row]):
            if abs(value) > abs(strongest[i, j]) or (abs(value) == abs(strongest[i, j]) and value > 0):
                strongest[i, j] = value
    lines = 0
    for line in found.findings.to_dict("records"):
        (at,) = np.flatnonzero(labels.table["label"] == line["label"])
        everywhere = labels.having[:, [at]].toarray().ravel().astype(bool)
        for prefix, half in (("discovery", discovery), ("heldout", heldout)):
            known = labels.masks[labels.mask_of[at]] & half
            value = strongest[known, line["feature"]]
            fires, label = value != 0, everywhere[known]
            cells = [[(fires & label).sum(), (fires & ~label).sum()], [(~fires & label).sum(), (~fires & ~label).sum()]]
            here = {name.removeprefix(f"{prefix}_"): v for name, v in line.items() if name.startswith(prefix)}
            assert (here["n_both"], here["n"]) == (cells[0][0], known.sum())
            assert (here["n_active"], here["n_with"]) == (fires.sum(), label.sum())
            assert here["f1"] == pytest.approx(f1_score(label, fires, zero_division=0))
            assert here["p"] == pytest.approx(fisher_exact(cells, alternative="greater").pvalue, rel=1e-6)
            assert here["auroc"] == pytest.approx(roc_auc_score(label, value))
            a, b = value[label], value[~label]
            pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
            if pooled:
                assert here["cohen_d"] == pytest.approx((a.mean() - b.mean()) / np.sqrt(pooled))
            if line["family"] in ("theme", "number of steps", "first operation") and fires.any():
                column = {"theme": "theme", "number of steps": "n_steps"}.get(line["family"])
                classes = examples[column] if column else examples["operations"].str[0]
                shares = classes[known][fires].value_counts(normalize=True)
                expected = 1 + (shares * np.log(shares)).sum() / np.log(classes.nunique())
                assert here["class_specificity"] == pytest.approx(expected)
            lines += 1
    assert lines > 60


def test_what_is_found_is_what_a_plain_loop_finds():
    x, examples = noise(5)
    x[:, 7] *= (examples["theme"] == "shop").to_numpy() | (np.arange(len(x)) % 9 == 0)
    x[:, 8] *= (examples["n_steps"] == 3).to_numpy() | (np.arange(len(x)) % 5 == 0)
    labels = labels_of(examples)
    found = specificity(FeatureActivations.from_dense(x), labels, seed=1)
    discovery, heldout = halves(np.ones(len(x), bool), None, 1)

    p = []
    for j in range(x.shape[1]):
        for at, label in enumerate(labels.table["label"]):
            known = labels.masks[labels.mask_of[at]]
            having = labels.having[:, [at]].toarray().ravel().astype(bool)
            one = []
            for half in (discovery, heldout):
                fires, has = x[known & half, j] != 0, having[known & half]
                cells = [[(fires & has).sum(), (fires & ~has).sum()], [(~fires & has).sum(), (~fires & ~has).sum()]]
                one.append(fisher_exact(cells, alternative="greater").pvalue)
                precision = has[fires].mean() if fires.any() else 0.0
                if (precision - has.mean()) / (1 - has.mean()) < 0.1:
                    one[-1] = 1.0
            if (x[:, j] != 0).sum() < 20:
                one[0] = 1.0
            p.append((one[0], one[1], j, label))
    ordered = sorted(p)
    passed = [i for i, line in enumerate(ordered, 1) if line[0] <= 0.05 * i / len(p)]
    discovered = ordered[: max(passed, default=0)]
    again = sorted(line[1] for line in discovered)
    limit = max([q for i, q in enumerate(again, 1) if q <= 0.05 * i / len(again)], default=-1)
    expected = {(j, label) for _, second, j, label in discovered if second <= limit}
    table = found.findings
    assert set(zip(table["feature"], table["label"], strict=True)) == {(j, label) for _, _, j, label in discovered}
    confirmed = table[table["confirmed"]]
    assert set(zip(confirmed["feature"], confirmed["label"], strict=True)) == expected
    assert {(7, "theme shop"), (8, "3 steps")} <= expected
    assert found.notes["n_tests"] == len(p) and found.notes["n_found"] == len(discovered)


def test_planted_labels_are_each_features_line():
    x, examples = noise(1, n=800)
    x[:, 3] *= (examples["theme"] == "farm").to_numpy()
    x[:, 4] *= examples["operations"].str.contains("/", regex=False).to_numpy()
    found = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    lines = found.features.set_index("feature")
    assert lines.loc[3, ["label", "confirmed"]].tolist() == ["theme farm", True]
    assert lines.loc[4, "confirmed"] and "uses division" in set(found.findings.query("feature == 4")["label"])
    assert lines.loc[3, "heldout_precision"] == 1.0 and lines.loc[3, "selectivity_label"] == "theme farm"
    assert lines.loc[3, "selectivity"] == pytest.approx(lines.loc[3, "discovery_f1"])
    assert lines.loc[3, "heldout_selectivity"] == pytest.approx(lines.loc[3, "heldout_f1"])
    silent = lines[lines["n_found"] == 0]
    assert len(silent) > 50 and (silent["label"] == "").all() and not silent["confirmed"].any()
    assert lines["n_confirmed"].sum() == found.findings["confirmed"].sum()


def test_the_line_is_the_confirmed_label_of_the_largest_f1():
    x, examples = noise(1, n=800)
    x[:, 3] *= (examples["theme"] == "farm").to_numpy()
    found = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    for feature, part in found.findings.groupby("feature"):
        pool = part[part["confirmed"]] if part["confirmed"].any() else part
        line = found.features.iloc[int(feature)]
        assert line["discovery_f1"] == pool["discovery_f1"].max()
        assert line["confirmed"] == part["confirmed"].any()


def test_a_perfectly_specific_feature_is_kept():
    """No active example without the label and no example with it silent: the table has two zero cells."""
    x, examples = noise(2, n=300)
    shop = (examples["theme"] == "shop").to_numpy()
    x[:, 0], x[:, 1] = shop * 1.5, 0.0
    x[np.flatnonzero(shop)[::4], 1] = 2.0  # precision 1 at a recall of a quarter
    found = specificity(FeatureActivations.from_dense(x.astype(np.float32)), labels_of(examples)).findings
    both = found[(found["label"] == "theme shop") & found["feature"].isin([0, 1])]
    assert both["confirmed"].tolist() == [True, True]
    assert (both["heldout_precision"] == 1).all() and (both["heldout_specificity"] == 1).all()
    assert both["heldout_class_specificity"].tolist() == [1.0, 1.0]
    assert both["heldout_f1"].iloc[0] == 1.0 and both["heldout_phi"].iloc[0] == pytest.approx(1.0)


def test_a_feature_that_fires_nearly_everywhere_goes_with_nothing():
    """Most examples use addition, so nearly all that a dense feature fires on does: F1 0.84, and no finding."""
    rng = np.random.default_rng(0)
    n = 6000
    adds = rng.random(n) < 0.72
    examples = pd.DataFrame({"operations": np.where(adds, "+", "-")})
    x = np.zeros((n, 4), np.float32)
    x[:, 0] = 1
    x[:6, 0] = 0
    x[:, 1] = rng.random(n) < 0.999
    x[:, 2] = rng.random(n) < np.where(adds, 0.97, 0.9)  # significant at any level, and it says nothing
    x[:, 3] = adds & (rng.random(n) < 0.3)
    found = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    assert found.features["selectivity"].iloc[:3].min() > 0.8
    assert set(found.findings.query("label == 'uses addition'")["feature"]) == {3}
    loose = specificity(FeatureActivations.from_dense(x), labels_of(examples), least_gain=0.0)
    assert 2 in set(loose.findings["feature"])  # it is the size of the effect that keeps it out


def test_pure_noise_finds_nothing_more_often_than_its_rate():
    found = [
        specificity(FeatureActivations.from_dense(x), labels_of(examples), seed=seed)
        for seed in range(100)
        for x, examples in [noise(seed)]
    ]
    # at most 5 in 100 are expected; 12 or more of 100 at 5 % have a probability below 0.005
    assert sum(one.notes["n_found"] > 0 for one in found) <= 11
    assert sum(one.notes["n_confirmed"] > 0 for one in found) <= 3


def test_of_what_is_confirmed_beside_true_findings_few_are_false():
    """Every eighth feature is planted on a random third of the examples, which a label of its own marks."""
    shares, true_found = [], 0
    for seed in range(25):
        x, examples = noise(seed + 500, n=600)
        rng = np.random.default_rng(seed)
        for j in range(0, x.shape[1], 8):
            mark = rng.random(len(x)) < 0.3
            examples[f"mark {j}"] = mark
            x[:, j] *= mark | (rng.random(len(x)) < 0.1)
        table = specificity(FeatureActivations.from_dense(x), labels_of(examples), seed=seed).findings
        table = table[table["confirmed"]]
        true = table["label"] == [f"mark {j} yes" for j in table["feature"]]
        shares.append(1 - true.mean())
        true_found += int(true.sum())
    assert np.mean(shares) < 0.05
    assert true_found > 0.8 * 25 * 8


def test_rare_and_dead_features_are_not_tested_but_counted():
    x, examples = noise(3, n=300, d_sae=6)
    x[:, 0] = 0
    x[:, 1] = 0
    x[:19, 1] = 1
    found = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    assert found.features["tested"].tolist() == [False, False, True, True, True, True]
    assert found.features["n_examples"].tolist()[:2] == [0, 19]
    assert np.isnan(found.features["selectivity"].iloc[0]) and found.features["selectivity_label"].iloc[1] == ""
    assert found.notes["n_tests"] == 6 * found.notes["n_labels"]


def test_without_labels_nothing_is_found():
    x, _ = noise(0, n=50)
    found = specificity(FeatureActivations.from_dense(x), labels_of(pd.DataFrame(index=range(50))))
    assert found.findings.empty and len(found.features) == 60 and not found.features["confirmed"].any()
    assert {"heldout_f1", "label", "q"} <= set(found.features.columns)


def test_blocks_change_nothing(monkeypatch):
    x, examples = noise(1, n=800)
    x[:, 3] *= (examples["theme"] == "farm").to_numpy()
    whole = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    monkeypatch.setattr("sae.analysis.specificity._BLOCK_ENTRIES", 100)
    parts = specificity(FeatureActivations.from_dense(x), labels_of(examples))
    pd.testing.assert_frame_equal(whole.features, parts.features)
    pd.testing.assert_frame_equal(whole.findings, parts.findings)


def test_halves_keep_groups_together_and_are_even():
    rng = np.random.default_rng(0)
    group = np.array([f"g{g}" for g in rng.integers(0, 60, 1000)], object)
    group[:40] = None
    present = rng.random(1000) < 0.9
    first, second = halves(present, group, 0)
    assert not (first & second).any() and np.array_equal(first | second, present)
    named = group[40:]
    sides = pd.DataFrame({"group": named, "first": first[40:], "present": present[40:]}).query("present")
    assert (sides.groupby("group")["first"].nunique() == 1).all()
    assert abs(int(first.sum()) - int(second.sum())) <= 2
    assert len({bool(side) for side in first[:40][present[:40]]}) == 2  # those without a group go where they like
    again, other = halves(present, group, 0)[0], halves(present, group, 1)[0]
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_one_group_can_not_be_halved():
    with pytest.raises(UserError, match="can't be halved"):
        halves(np.ones(10, bool), np.full(10, "a", object))


def test_labels_that_dont_fit_are_refused():
    x, examples = noise(0, n=50)
    codes = FeatureActivations.from_dense(x)
    with pytest.raises(UserError, match="don't fit"):
        specificity(codes, labels_of(examples.iloc[:20]), example=np.arange(50))
    with pytest.raises(UserError, match="don't fit"):
        specificity(codes, labels_of(examples), example=np.arange(49))


def test_an_example_counts_by_its_strongest_row():
    x = np.array([[0, 1], [-3, 1], [2, 0], [0, 0], [1, -1], [-1, 0]], np.float32)
    active = active_examples(FeatureActivations.from_dense(x), np.array([2, 0, 0, 1, 1, 1]), 4)
    assert active.matrix(np.array([0, 1]), values=True).toarray().tolist() == [[-3, 1, 0, 0], [1, -1, 1, 0]]
    assert active.n_active.tolist() == [2, 3]
