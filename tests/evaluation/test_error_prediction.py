"""Error prediction against what is known beforehand: planted features, noise, twins, and scikit-learn's numbers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix
from scipy.special import expit
from scipy.stats import fisher_exact, hypergeom, mannwhitneyu, norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from sae.common.errors import UserError
from sae.common.false_discovery import benjamini_hochberg
from sae.evaluation.bootstrap import interval
from sae.evaluation.error_prediction import metrics, probes
from sae.evaluation.error_prediction.baselines import principal_components, random_sae_features
from sae.evaluation.error_prediction.effects import feature_effects, hypergeometric_p
from sae.evaluation.error_prediction.folds import grouped_folds, permuted_by_group, splits
from sae.evaluation.error_prediction.logistic_l1 import fit as fit_l1
from sae.evaluation.error_prediction.logistic_l2 import Axes
from sae.evaluation.error_prediction.logistic_l2 import fit as fit_l2
from sae.evaluation.error_prediction.nested import cross_validate, differences, inner_folds, measured
from sae.evaluation.error_prediction.one_pass import early_detection, label_permutations, one_pass
from sae.evaluation.error_prediction.problems import Problems, predicted_problems
from sae.evaluation.error_prediction.protocol import Inputs, full, quick


def codes(n=400, d=60, k=6, seed=0):
    """Random sparse features [n, d]."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, d), np.float32)
    for row in x:
        row[rng.choice(d, k, replace=False)] = rng.gamma(2, 1, k)
    return x


# --- the solvers


@pytest.mark.parametrize("C", [0.01, 0.3, 3.0])
def test_l1_meets_the_conditions_of_the_minimum(C):
    x = codes(300, 40) / 5
    rng = np.random.default_rng(1)
    wrong = rng.random(300) < expit(3 * x[:, 0] - 3 * x[:, 1] - 0.5)
    weight = np.where(wrong, 1.4, 0.8)
    weight[::7] = 0  # rows that take no part
    sparse = csc_matrix(x.astype(float))
    w, eta = fit_l1(sparse.indptr.astype(np.int64), sparse.indices, sparse.data, wrong, weight, C, np.zeros(41), 1e-6)
    np.testing.assert_allclose(eta, x @ w[:-1] + w[-1], atol=1e-6)
    # the problem is convex: where the slopes fit, the minimum is
    slope = C * weight * (expit(eta) - wrong)
    assert abs(slope.sum()) < 1e-3
    each, on = x.T @ slope, w[:-1] != 0
    np.testing.assert_allclose(each[on], -np.sign(w[:-1][on]), atol=1e-3)
    assert (np.abs(each[~on]) <= 1 + 1e-3).all()
    assert {0.01: 0, 0.3: 1, 3.0: 10}[C] <= on.sum() <= (40 if C > 0.01 else 0)


@pytest.mark.parametrize("shape", [(300, 8), (80, 120)])
def test_l2_fits_many_at_once_as_scikit_learn_fits_each(shape):
    n, d = shape
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d)
    wrong = rng.random(n) < expit(x[:, 0] - 1)
    train = np.arange(n) % 5 != 0
    Cs = np.array([1e-3, 0.05, 1.0])
    weights = np.repeat((np.where(wrong, 2.0, 0.7) * train)[:, None], 3, axis=1)
    weights[1::5, 1] = 0
    _, eta = fit_l2(Axes(x, train), wrong, weights, Cs, tolerance=1e-7, most_steps=20_000)
    for place, C in enumerate(Cs):
        kept = weights[:, place] > 0
        other = LogisticRegression(C=C, tol=1e-10, max_iter=20_000)
        other.fit(x[kept], wrong[kept], sample_weight=weights[kept, place])
        np.testing.assert_allclose(eta[:, place], other.decision_function(x), atol=2e-3 * max(1, np.abs(eta).max()))


def test_k_sparse_chooses_by_the_training_rows_alone():
    x = codes(200, 30)
    wrong = np.random.default_rng(0).random(200) < 0.4
    train = np.arange(200) < 150
    x[:, 3] = wrong * train  # tells everything, on training rows
    x[:, 4] = wrong * ~train * 9  # tells everything where it may not be looked at
    chosen = probes.largest_differences(x, wrong, train, 5)
    gap = np.abs(x[wrong & train].mean(0) - x[~wrong & train].mean(0))
    assert set(chosen) == set(np.argsort(-gap)[:5]) and 3 in chosen and 4 not in chosen


def test_chances_undo_the_class_weights():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(20_000, 1))
    truth = expit(1.2 * x[:, 0] - 2)
    wrong = rng.random(20_000) < truth
    train = np.ones(20_000, bool)
    eta = probes.predict(probes.DenseL2(x).on(train, wrong), wrong, train, 10.0)
    # a weighted fit is not the unweighted one exactly; of a true logistic model both find the same slope
    np.testing.assert_allclose(probes.chances(eta, wrong, train), truth, atol=0.03)


# --- metrics


def test_metrics_against_scikit_learn_with_ties_and_weights():
    rng = np.random.default_rng(5)
    wrong = rng.random(120) < 0.3
    scores = rng.normal(size=(3, 120)).round(1) + wrong * 0.7
    weights = rng.integers(0, 4, size=(4, 120)).astype(float)
    for place, weight in enumerate(weights):
        expected = np.mean([roc_auc_score(wrong, line, sample_weight=weight) for line in scores])
        assert metrics.auroc(scores, wrong, weights)[place] == pytest.approx(expected, abs=1e-6)
        expected = np.mean([average_precision_score(wrong, line, sample_weight=weight) for line in scores])
        assert metrics.average_precision(scores, wrong, weights)[place] == pytest.approx(expected)
        chances = expit(scores)
        expected = np.mean([brier_score_loss(wrong, line, sample_weight=weight) for line in chances])
        assert metrics.brier(chances, wrong, weights)[place] == pytest.approx(expected)


def test_metrics_by_hand():
    wrong = np.array([True, False, True, False])
    chances = np.array([[0.95, 0.85, 0.15, 0.05]])
    # pairs: .95 beats both, .15 beats one of two
    assert metrics.auroc(chances, wrong)[0] == pytest.approx(3 / 4)
    # precision 1 at the first error, 2 of 3 at the second
    assert metrics.average_precision(chances, wrong)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.brier(chances, wrong)[0] == pytest.approx((0.05**2 + 0.85**2 + 0.85**2 + 0.05**2) / 4)
    assert metrics.accuracy(chances, wrong)[0] == 0.5
    # four bins of one prediction each
    assert metrics.calibration_error(chances, wrong) == pytest.approx((0.05 + 0.85 + 0.85 + 0.05) / 4)
    assert [line["n"] for line in metrics.calibration(np.array([[0.0, 1.0, 0.31, 0.39]]), wrong)] == [1, 2, 1]
    assert metrics.auroc(np.zeros(4), wrong)[0] == 0.5
    assert interval(np.arange(1001.0), 0.9) == pytest.approx((50, 950))


def test_bootstrap_draws_whole_groups():
    group = np.array([0, 0, 0, 1, 2, 2])
    weights = metrics.bootstrap_weights(group, 50, 0)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 4] == weights[:, 5]).all()
    assert (weights[:, [0, 3, 4]].sum(1) == 3).all()


# --- folds


def test_folds_keep_groups_together_and_shares_even():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(150), rng.integers(1, 6, 150))
    wrong = rng.random(len(group)) < 0.25
    fold = grouped_folds(wrong, group, 5, rng)
    assert all(len(np.unique(fold[group == one])) == 1 for one in range(150))
    for number in range(5):
        inside = fold == number
        assert abs(wrong[inside].sum() - wrong.sum() / 5) <= 2 and abs(inside.sum() - len(group) / 5) <= 4
    assert sum(held.sum() for _, held in splits(fold)) == len(group)
    alone = grouped_folds(wrong, np.arange(len(group)), 5, rng)
    assert np.ptp(np.bincount(alone[wrong])) <= 1 and np.ptp(np.bincount(alone[~wrong])) <= 1


def test_permutations_keep_what_belongs_together():
    rng = np.random.default_rng(7)
    group = rng.permutation(np.repeat(np.arange(40), 3))
    wrong = (group % 4 == 0).copy()
    for _ in range(5):
        permuted = permuted_by_group(wrong, group, rng)
        assert permuted.sum() == wrong.sum()
        assert all(len(np.unique(permuted[group == one])) == 1 for one in range(40))


# --- the protocol


def test_a_planted_feature_is_predicted_as_well_as_it_can_be():
    n = 800
    x = codes(n, 60, seed=8)
    rng = np.random.default_rng(8)
    wrong = rng.random(n) < 0.35
    x[:, 0] = np.where(wrong, rng.normal(4, 1, n), rng.normal(2.5, 1, n))  # AUROC of N(1.5, 2): Φ(1.5 / √2)
    group = np.arange(n)
    known = norm.cdf(1.5 / np.sqrt(2))
    found = cross_validate(
        {"sae": probes.SparseL1(csc_matrix(x)), "one": probes.KSparse(x, 1), "noise": probes.DenseL2(x[:, 1:4])},
        wrong, group, repeats=2,
    )  # fmt: skip
    table, draws = measured(found, wrong, group, draws=500)
    lines = table.set_index("probe")
    alone = roc_auc_score(wrong, x[:, 0])
    assert lines["auroc"]["one"] == pytest.approx(alone, abs=0.01) and alone == pytest.approx(known, abs=0.04)
    assert lines["auroc_low"]["sae"] < known < lines["auroc_high"]["sae"] + 0.02
    assert lines["auroc_low"]["noise"] < 0.5 < lines["auroc_high"]["noise"]
    assert lines["auroc"]["majority"] == 0.5 and lines["auroc_high"]["majority"] == 0.5
    assert lines["accuracy"]["majority"] == pytest.approx(1 - wrong.mean())
    assert lines["ece"]["one"] < 0.06 and lines["brier"]["one"] < lines["brier"]["majority"]
    for name, one in found.items():
        expected = np.mean([roc_auc_score(wrong, line) for line in one.scores])
        assert lines["auroc"][name] == pytest.approx(expected, abs=1e-6)
    compared = differences(table, draws, "sae").set_index("against")
    assert compared["low"]["noise"] > 0.2 and compared["low"]["one"] < 0.02
    assert compared["difference"]["noise"] == pytest.approx(lines["auroc"]["sae"] - lines["auroc"]["noise"])


def test_noise_is_found_to_be_noise_and_permutation_p_is_spread():
    features = probes.SparseL1(csc_matrix(codes(150, 20, 4, seed=9)))
    ps, covered = [], 0
    for seed in range(30):
        wrong = np.random.default_rng(100 + seed).random(150) < 0.4
        null = label_permutations(features, wrong, np.arange(150), 1.0, n=19, seed=seed)
        ps.append(null.p)
        found = one_pass({"noise": features}, wrong, np.arange(150), draws=200, seed=seed)
        low, high = interval(found.draws["noise"])
        covered += low <= 0.5 <= high
    assert covered >= 26
    assert {round(20 * p) for p in ps} <= set(range(1, 21))
    assert 0.3 < np.mean(ps) < 0.72 and min(ps) <= 0.3 and max(ps) >= 0.7


def test_twins_across_folds_would_leak_and_do_not():
    """Each text stands ten times with one label and features of its own text alone: nothing to learn between texts."""
    rng = np.random.default_rng(10)
    texts, copies = 60, 10
    group = np.repeat(np.arange(texts), copies)
    wrong = (rng.random(texts) < 0.5)[group]
    x = rng.normal(size=(texts, 90))[group] + 0.01 * rng.normal(size=(texts * copies, 90))
    features = {"raw": probes.DenseL2(x)}
    leaking = one_pass(features, wrong, np.arange(len(group)), draws=10)
    grouped = one_pass(features, wrong, group, draws=300)
    assert leaking.auroc["raw"] > 0.97
    low, high = interval(grouped.draws["raw"])
    assert low <= 0.55 and grouped.auroc["raw"] < 0.7
    inner = inner_folds(wrong, group, group % 2 == 0, 5, rng)
    assert all(len(np.unique(inner[group == one])) == 1 for one in range(texts))
    assert (inner[group % 2 == 1] == -1).all()


def test_early_detection_takes_the_first_step_above_with_all_intervals_together():
    rng = np.random.default_rng(11)
    question = {step: rng.normal(0.55, 0.01, 4000) for step in range(3)}
    above = {0: 0.0, 1: 0.022, 2: 0.1}
    features = {step: question[step] + rng.normal(lead, 0.01, 4000) for step, lead in above.items()}
    found = early_detection(features, question)
    assert found.level == pytest.approx(1 - 0.05 / 3)
    # step 1 alone would stand out at 95 % (0.022 - 1.96 * 0.01 > 0); beside two others it does not
    assert interval(features[1] - question[1])[0] > 0 and found.differences[1][0] < 0 and found.step == 2
    assert early_detection({0: features[0]}, question).step is None
    # a question that tells less than chance makes no detection
    low = {step: draws - 0.15 for step, draws in question.items()}
    assert early_detection({2: features[2] - 0.15}, low).step is None


# --- effects


def test_effects_of_each_feature_against_scipy():
    n = 300
    x = codes(n, 25, 5, seed=12)
    x[:, 7] *= np.where(np.arange(n) % 2, -1, 1)  # signed values
    x[:, 8] = 0
    x[20:, 9] = 0
    rng = np.random.default_rng(12)
    wrong = rng.random(n) < np.where(x[:, 0] > 0, 0.7, 0.25)
    group = np.arange(n)
    found = feature_effects(csc_matrix(x), wrong, group, permutations=199)
    table = found.table
    tested = (x != 0).sum(0) >= 20
    assert found.n_tested == tested.sum() and not tested[8]
    assert table["p_hypergeometric"].notna().to_numpy().tolist() == tested.tolist()
    for j in range(25):
        line, on = table.iloc[j], x[:, j] != 0
        assert line["n_active"] == on.sum() and line["n_active_wrong"] == (on & wrong).sum()
        assert line["difference"] == pytest.approx(on[wrong].mean() - on[~wrong].mean())
        assert line["mean_wrong"] == pytest.approx(x[wrong, j].mean(), abs=1e-6)
        assert line["auroc"] == pytest.approx(roc_auc_score(wrong, x[:, j]))
        a, b = (on & wrong).sum() + 0.5, (~on & wrong).sum() + 0.5
        c, d = (on & ~wrong).sum() + 0.5, (~on & ~wrong).sum() + 0.5
        assert line["log_odds_ratio"] == pytest.approx(np.log(a * d / (b * c)))
        pooled = np.sqrt(
            ((wrong.sum() - 1) * x[wrong, j].var(ddof=1) + ((~wrong).sum() - 1) * x[~wrong, j].var(ddof=1)) / (n - 2)
        )
        if pooled > 0:
            assert line["cohens_d"] == pytest.approx((x[wrong, j].mean() - x[~wrong, j].mean()) / pooled, rel=1e-4)
        if tested[j]:
            expected = mannwhitneyu(x[wrong, j], x[~wrong, j], method="asymptotic").pvalue
            assert line["p_mann_whitney"] == pytest.approx(expected, rel=1e-6)
            one_sided = [
                fisher_exact([[int(a), int(b)], [int(c), int(d)]], alternative=side).pvalue
                for side in ("less", "greater")
            ]
            assert line["p_hypergeometric"] == pytest.approx(min(1, 2 * min(one_sided)))
    assert table["q_hypergeometric"][0] < 0.01 and table["p_largest"][0] == 1 / 200
    assert abs(table["difference"][0]) > found.difference_band and table["auroc"][0] - 0.5 > found.auroc_band
    assert (table["p_largest"][tested] >= table["p_permutation"][tested]).all()
    within = table[tested & (np.arange(25) != 0)]
    assert (within["difference"].abs() <= found.difference_band).mean() > 0.9


def test_adjusted_p_by_hand():
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.04, 0.01, 0.03])), [0.04, 0.03, 0.04])
    # 3 of 4 wrong among 10 problems with 4 wrong
    upper = hypergeom.sf(2, 10, 4, 4)
    assert hypergeometric_p(10, 4, np.array([4]), np.array([3]))[0] == pytest.approx(2 * upper)
    assert hypergeometric_p(10, 4, np.array([5]), np.array([2]))[0] == 1


def test_effects_of_features_that_hardly_fire():
    x = np.zeros((60, 3), np.float32)
    x[:4, 0] = 1
    found = feature_effects(csc_matrix(x), np.arange(60) < 25, np.arange(60), permutations=9)
    assert found.n_tested == 0 and np.isnan(found.difference_band)
    assert found.table["p_largest"].isna().all() and found.table["difference"][0] == pytest.approx(4 / 25)


# --- what is predicted


def examples(n=120, **columns):
    steps = [json.dumps([{"operands": [i % 9, 2], "operations": "+", "value": i % 9 + 2}]) for i in range(n)]
    given = {
        "question": [f"Ann has {i} apples and 1,250 pears. How many?" for i in range(n)],
        "steps": steps,
        "correct": list(np.random.default_rng(3).random(n) < 0.6),
    }
    return pd.DataFrame(given | columns)


def rows(n=120, split=None):
    return pd.DataFrame({"example": np.arange(n), "split": split or ["test" if i >= 20 else "train" for i in range(n)]})


def test_problems_are_those_of_the_test_split():
    found = predicted_problems(rows(), examples(answer_log_prob=np.linspace(-2, -1, 120)))
    assert found.split == "test" and list(found.examples) == list(range(20, 120))
    np.testing.assert_array_equal(found.wrong, ~examples()["correct"].to_numpy()[20:])
    np.testing.assert_allclose(found.question[0], [9, 2, np.log10(1251), 1])
    assert found.log_prob is not None and found.log_prob[0] == pytest.approx(-2 + 20 / 119)
    validation = predicted_problems(rows(split=["train", "validation"] * 60), examples())
    assert validation.split == "validation" and validation.log_prob is None and len(validation.wrong) == 60


def test_groups_are_taken_from_the_best_that_is_known():
    text = predicted_problems(rows(), examples(question=[f"same {i % 40}" for i in range(120)]))
    assert text.n_groups == 40 and text.grouped_by == "question"
    pairs = predicted_problems(rows(), examples(template=["a", "b"] * 60))
    assert pairs.n_groups == 18 and pairs.grouped_by == "template and operands"
    given = predicted_problems(rows(), examples(group=[i // 4 for i in range(120)], template=["a", "b"] * 60))
    assert given.n_groups == 25 and given.grouped_by == "group"
    assert len({given.group[i] for i in range(4)}) == 1


@pytest.mark.parametrize(
    ("table", "lines", "said"),
    [
        (examples().drop(columns="correct"), rows(), "don't say which answers were right"),
        (examples(correct=[i != 30 for i in range(120)]), rows(), "99.0 % of 100 test problems right: 1 wrong"),
        (examples(), pd.concat([rows(), rows()]), "several rows a problem"),
        (examples(group=[i % 3 + 3 * (i % 2) for i in range(120)]), rows(), "groups only"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(table, lines, said):
    with pytest.raises(UserError, match=said) as error:
        predicted_problems(lines, table)
    assert "\n" not in str(error.value)


# --- baselines and the whole


def test_components_and_random_sae_come_from_training_rows():
    import torch

    from sae.models import build

    rng = np.random.default_rng(13)
    train, x = rng.normal(size=(500, 12)) * np.arange(1, 13) + 3, rng.normal(size=(40, 12))
    found = principal_components(train, x, 3)
    _, _, axes = np.linalg.svd(train - train.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs((x - train.mean(0)) @ axes[:3].T), atol=1e-8)
    model = build("topk", d_in=12, d_sae=64, k=5)
    active = random_sae_features(model, train, x, 5.0)
    assert active.shape == (40, 64) and (np.diff(active.tocsr().indptr) <= 5).all() and active.nnz > 150
    ReLU = build("standard", d_in=12, d_sae=64)
    assert random_sae_features(ReLU, train, train, 6.0).nnz / 500 == pytest.approx(6, abs=0.5)
    assert torch.count_nonzero(model.W_dec) == 0  # the model itself is left alone


def problems_of(wrong, group=None):
    n = len(wrong)
    rng = np.random.default_rng(14)
    return Problems(
        rows=np.arange(n), examples=np.arange(n) + 5, wrong=wrong, group=np.arange(n) if group is None else group,
        grouped_by="question", question=rng.normal(size=(n, 4)), log_prob=-np.abs(rng.normal(size=n)), split="test",
    )  # fmt: skip


def test_the_whole_protocol():
    n = 260
    x = codes(n, 40, 5, seed=15)
    rng = np.random.default_rng(15)
    wrong = rng.random(n) < expit(2.0 * (x[:, 0] > 0) + 1.5 * (x[:, 1] > 0) - 1)
    dense = x @ rng.normal(size=(40, 10))
    random = codes(n, 40, 5, seed=16)
    shares: list[float] = []
    found = full(
        Inputs(problems_of(wrong), csc_matrix(x), dense, dense[:, :3], csc_matrix(random)),
        repeats=1, draws=100, permutations=19, null_permutations=9, watch=shares.append,
    )  # fmt: skip
    lines = found.tables["probes"].set_index("probe")
    assert set(lines.index) == {
        "sae", "sae_l2", *(f"sae_k{k}" for k in (1, 2, 5, 10, 20)), "raw", "pca", "question", "random_sae", "log_prob",
        "majority",
    }  # fmt: skip
    assert lines["title"]["pca"] == "3 principal components, L2" and lines["baseline"].sum() == 6
    assert found.metrics["auroc"] == lines["auroc"]["sae"] > 0.65
    assert found.metrics["difference_random_sae"] > 0 and found.intervals["auroc_raw"][0] < found.metrics["auroc_raw"]
    assert found.metrics["null_p"] == 0.1 and found.notes["null"]["observed"] > found.notes["null"]["band"][1]
    assert list(found.tables["predictions"]["example"][:2]) == [5, 6]
    cells = found.tables["calibration"].groupby("probe")["n"].sum()
    assert (cells == n).all()
    assert set(found.tables["draws"]) >= {"sae", "raw", "sae_one_pass", "question_one_pass"}
    assert shares == sorted(shares) and shares[-1] == 1
    short = quick(csc_matrix(x), problems_of(wrong), draws=100, permutations=19)
    assert short.metrics["auroc_one_pass"] == found.metrics["auroc_one_pass"]
    pd.testing.assert_frame_equal(short.tables["features"], found.tables["features"])
    assert short.notes["protocol"] == "quick" and found.notes["protocol"] == "full"


def test_settings_name_the_runs_with_the_full_protocol():
    from sae.experiments.error_prediction import wants_full

    place = {"layer": 2, "position": 3, "k": 20, "d_sae": 1024}
    assert wants_full("all", place) and not wants_full("none", place)
    assert wants_full("layer=2, position=3", place) and not wants_full("layer=2,k=10", place)
    with pytest.raises(UserError, match="can't be read"):
        wants_full("step=3", place)
