"""Absorption made by hand: how often a parent's latent is silent is known, and what takes its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from sae.evaluation.probing.absorption import Absorption, Units, direction_of
from sae.evaluation.probing.absorption import absorption as absorption_of
from sae.evaluation.probing.absorption_scores import of_rows
from sae.evaluation.probing.hierarchy import implications

N = 400


def made(silent: float, *, seed: int = 0) -> tuple[Units, np.ndarray, np.ndarray]:
    """Latent 0 stands for the parent (direction e0), 1 for its child (e1), 2 for something else (e2).

    Of the units with a child, a share of `silent` has latent 0 off; latent 1 then stands for e0 + e1.
    """
    generator = np.random.default_rng(seed)
    parent = generator.random(N) < 0.5
    child = parent & (generator.random(N) < 0.5)
    other = generator.random(N) < 0.3
    quiet = np.zeros(N, bool)
    for half in (np.arange(N) % 2 == 0, np.arange(N) % 2 == 1):
        rows = np.flatnonzero(child & half)
        quiet[rows[: round(silent * len(rows))]] = True
    codes = np.zeros((N, 4))
    codes[:, 0], codes[:, 1], codes[:, 2] = parent & ~quiet, child, other
    W = np.zeros((4, 3))
    W[0, 0] = W[2, 2] = 1
    W[1] = [0, 1, 0] if silent == 0 else [0.7071, 0.7071, 0]
    x = np.stack([parent, child, other], axis=1).astype(np.float32)
    units = Units(
        codes=csr_matrix(codes), x=x, W_dec=W, b_dec=np.zeros(3), having=csc_matrix(np.stack([parent, child], axis=1)),
        names=["parent", "child"], group=np.arange(N) // 2, first=np.arange(N) % 2 == 0, second=np.arange(N) % 2 == 1,
    )  # fmt: skip
    return units, child, quiet


def absorption(units: Units, children: dict, known: dict, **settings: Any) -> Absorption:
    directions = {
        parent: direction_of(units.x, units.has(parent), units.first, units.group, known.get(parent))
        for parent in children
    }
    return absorption_of(units, children, directions, **settings)


@pytest.mark.parametrize("silent", [0.0, 0.5, 1.0])
def test_the_rate_is_the_one_that_was_made(silent: float) -> None:
    units, child, quiet = made(silent)
    found = absorption(units, {0: [1]}, {0: np.array([2.0, 0, 0])}, random_features=3)
    line = found.parents.iloc[0]
    rows = child & units.second
    assert line["absorption_rate"] == (quiet & rows).sum() / rows.sum() == pytest.approx(silent, abs=0.02)
    assert line["off_rate_alone"] == 0 and line["n"] == rows.sum() and line["direction"] == "known"
    assert line["latent"] == 0
    # Latent 1 brings 0.7071 of a projection of 1: above 0.4, so every silent unit is fully absorbed.
    assert line["num_probe_true_positives"] == rows.sum()
    assert line["full_absorption_rate"] == pytest.approx(silent, abs=0.02)
    assert line["mean_absorption_fraction"] == pytest.approx(silent, abs=0.02)
    # The child's latent would mend the parent's, but stands for the child.
    assert line["num_split_features"] == 1
    assert line["num_latents_with_children"] == (1 if silent == 0 else 2)
    pair = found.pairs.iloc[0]
    assert pair["child_latent"] == 1 and pair["child_f1"] == 1 and pair["absorption_rate"] == line["absorption_rate"]
    assert pair["child_cosine"] == pytest.approx(0 if silent == 0 else 0.7071, abs=1e-3)
    for name, rate in (("off", "absorption_rate"), ("full", "full_absorption_rate")):
        whole = found.sums["n" if name == "off" else "true"].sum()
        assert found.sums[name].sum() / whole == pytest.approx(line[rate])


def test_without_a_known_direction_a_probe_finds_it() -> None:
    units, child, quiet = made(0.5)
    line = absorption(units, {0: [1]}, {}).parents.iloc[0]
    assert line["direction"] == "probe" and line["probe_f1"] == 1
    assert line["full_absorption_rate"] == pytest.approx(0.5, abs=0.02)


def test_random_latents_take_the_parents_place() -> None:
    units, child, _ = made(1.0)
    line = absorption(units, {0: [1]}, {}, random_features=3).parents.iloc[0]
    rows = child & units.second
    off = [1 - (units.codes[:, [j]].toarray()[rows] != 0).mean() for j in (0, 1, 2)]
    assert line["absorption_rate_random"] == pytest.approx(np.mean(off))


def test_latents_that_share_a_parent_are_counted() -> None:
    generator = np.random.default_rng(9)
    units, child, _ = made(0.0)
    parent = units.having[:, [0]].toarray()[:, 0].astype(bool)
    which = generator.choice(3, N, p=[0.7, 0.2, 0.1])
    codes = np.zeros((N, 5))
    for part in range(3):
        codes[:, part] = parent & (which == part)
    codes[:, 3] = child
    units = replace(units, codes=csr_matrix(codes), W_dec=np.eye(5, 3))
    line = absorption(units, {0: [1]}, {0: np.array([1.0, 0, 0])}).parents.iloc[0]
    assert line["num_split_features"] == 3 and line["union_f1"] == 1
    assert set(line["split_features"].split()) == {"0", "1", "2"}


def test_a_dead_latent_has_no_rate() -> None:
    units, _, _ = made(0.5)
    line = absorption(replace(units, codes=csr_matrix((N, 4))), {0: [1]}, {}).parents.iloc[0]
    assert line["latent"] == -1 and np.isnan(line["absorption_rate"]) and line["num_split_features"] == 0


def one_by_one(act, along, cosine, total, main):
    """SAEBench's cases for one unit, written from METHODS as loops."""
    own = sum(act[j] * along[j] for j in main)
    others = [act[j] * along[j] for j in range(len(act)) if j not in main and cosine[j] >= 0.1]
    absorbed = sum(sorted((one for one in others if one > 0), reverse=True)[:3])
    if own >= total or absorbed / total < 0.4:
        fraction = 0.0
    elif own <= 0:
        fraction = 1.0
    else:
        a = min(absorbed, total - own)
        fraction = a / (a + own)
    brought = [act[j] * along[j] for j in range(len(act))]
    top = int(np.argmax(brought))
    full = all(abs(act[j]) < 1e-8 for j in main) and cosine[top] >= 0.025 and brought[top] / total >= 0.4
    return fraction, full


def test_scores_are_those_of_each_unit_alone() -> None:
    generator = np.random.default_rng(5)
    act = generator.random((300, 12)) * (generator.random((300, 12)) < 0.4)
    act[generator.random((300, 12)) < 0.05] *= -1  # signed codes
    cosine = generator.uniform(-0.3, 0.9, 12)
    along = cosine * generator.uniform(0.5, 2, 12)
    total = generator.uniform(0.05, 2, 300)
    for main in ([0], [3, 7], []):
        fraction, full = of_rows(csr_matrix(act), along, cosine, total, np.array(main, int))
        for row in range(300):
            expected = one_by_one(act[row], along, cosine, total[row], main)
            assert (fraction[row], bool(full[row])) == pytest.approx(expected)
    assert 0 < full.mean() < 1 and 0 < fraction.mean() < 1


def test_kinds_are_read_off_the_labels() -> None:
    generator = np.random.default_rng(1)
    animal = generator.random(600) < 0.5
    dog = animal & (generator.random(600) < 0.5)
    poodle = dog & (generator.random(600) < 0.5)
    plant = ~animal & (generator.random(600) < 0.6)
    common = np.ones(600, bool)
    common[:12] = False  # holds for nearly everything: nobody's parent
    having = csc_matrix(np.stack([poodle, animal, dog, plant, common, dog], axis=1))
    found = implications(having[:, :5], np.arange(600))
    assert found == {1: [2], 2: [0]}
    # Of two labels that say the same neither is above the other.
    assert implications(having, np.arange(600)) == {1: [2, 5], 2: [0], 5: [0]}
    # Few groups prove nothing, however many units they have.
    assert implications(having[:, :5], np.arange(600) // 200) == {}
