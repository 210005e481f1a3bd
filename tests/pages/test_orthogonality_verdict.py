"""Verdicts of orthogonality experiments: from single mechanisms at equal L0 alone, and with their price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sae.common.files import read_json, write_json
from sae.experiments import KINDS
from sae.ui import ablation_levels, ablation_price, ablation_words
from sae.workspace import Workspace
from sae.workspace.child import JobProgress
from sae.workspace.work import run_experiment
from tests.workspace.helpers import put_activations

SHORT = {"pair_fraction_steps": 10, "lr_warmup_steps": 2}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """The baseline and one run of the documents as written, and three levels at one L0, of which one missed it."""
    root = tmp_path_factory.mktemp("verdicts")
    made = Workspace(root / "w")
    put_activations(made)
    for kind, levels, seeds, more in (
        ("orthogonality-as-written", ["baseline", "003-3"], [0], SHORT),
        ("orthogonality-matched", ["baseline", "pairs", "pruning"], [0, 1], {}),
    ):
        factors = {"mechanism": levels, "d_sae": [80], "k": [4], "seed": seeds}
        spec = {"kind": kind, "name": kind, "activations": "rows", "layer": None, "position": None, "factors": factors,
                "settings": {"epochs": 5, "batch_size": 96, **more}}  # fmt: skip
        run_experiment(made, spec, "cpu", JobProgress(root))
    for run in made.experiment("orthogonality-matched").runs():
        content = read_json(run.folder / "metrics.json")
        wanted = {"baseline": 4.4, "pairs": 4.5, "pruning": 4.8}[run.factors["mechanism"]]
        for split in content["metrics"].values():
            split["l0"] = wanted + 0.01 * run.factors["seed"]
        write_json(run.folder / "metrics.json", content)
    return made


def said(at) -> str:
    return " ".join(one.value for one in (*at.markdown, *at.caption)).replace("\\", "").replace("**", "")


def test_the_documents_runs_get_no_verdict_but_their_texts_and_deeds(workspace, open_page):
    at = open_page("ablations", workspace, experiment="orthogonality-as-written")
    assert not at.exception and not at.error
    text = said(at)
    assert "No verdict comes from here." in text and "another L0: what comes out is reported" in text
    for word in ("tell no level apart", "than baseline", "seeds' spread", "Every metric, each level", "less baseline"):
        assert word not in text, word
    assert "What each level is, and what it did" in text
    assert "L0" in text and "Explained variance" in text


def test_what_a_level_did_is_counted(workspace):
    runs = [run for run in workspace.experiment("orthogonality-as-written").runs()
            if run.factors["mechanism"] == "003-3"]  # fmt: skip
    steps = np.mean([run.results["training"]["orthogonality_steps"] for run in runs])
    assert steps > 0
    assert ablation_levels.did(runs).startswith(f"{steps:,.0f} steps with a pair" if steps == round(steps) else "")
    assert ablation_levels.did([]) == "not finished yet"


def test_every_run_of_the_documents_has_its_text():
    recipes = KINDS["orthogonality-as-written"].recipes["mechanism"]
    with_text = {name for name, one in recipes.items() if one.text}
    assert with_text == {name for name in recipes if name[:3] in ("003", "004")} and len(with_text) == 13
    assert "Linear increase over 10,000 training steps" in recipes["003-3"].text
    assert "activity_threshold parameter (0.01)" in recipes["004-9"].text


def test_a_level_that_missed_the_l0_is_not_judged(workspace, open_page):
    at = open_page("ablations", workspace, experiment="orthogonality-matched")
    assert not at.exception and not at.error
    text = said(at)
    assert "pruning: not judged, active features per row 4.8" in text and "is 9 % above the baseline's 4.4" in text
    assert "pairs: explained variance" in text and "pruning: explained variance" not in text
    assert "Training aims at 4 active features; the baseline came to 4.4" in text and "10 % above that" in text
    assert "What each level moved, and at what price" in text


def test_where_the_aim_is_met_nothing_is_said():
    runs = pd.DataFrame({"k": [4, 4, 8, 8], "l0": [4.1, 4.2, 8.1, 7.9]})
    assert ablation_words.aim_line(runs, "l0") == ""
    assert "aims at 8 active features; the baseline came to 8.8" in ablation_words.aim_line(
        runs.assign(l0=[4.1, 4.1, 8.8, 8.8]), "l0"
    )


def test_a_price_is_the_paired_difference_of_what_is_paid():
    values = {"base": (0.9, 5.0, 10.0, 0.2), "good": (0.88, 5.1, 14.0, 0.1)}
    lines = [
        {"m": level, "seed": s, "ev_total": ev + 0.01 * s * (level == "good"), "l0": l0, "seconds": t + s,
         "dead": dead + 0.2 * s * (level == "base")}
        for level, (ev, l0, t, dead) in values.items() for s in (0, 1, 2)
    ]  # fmt: skip
    found = ablation_price.prices(pd.DataFrame(lines), {"m": "base"}, ["m", "seed"], ["ev_total", "l0", "dead"])
    (line,) = found.to_dict("records")
    assert line["seconds"] == pytest.approx(4) and line["seconds_low"] == pytest.approx(4)
    assert line["ev_total"] == pytest.approx(-0.01) and line["ev_total_low"] < -0.01 < line["ev_total_high"]
    # L0 differs by the same in all seeds; explained variance and dead features by no more than the seeds do.
    assert line["moved"] == "active features per row 0.1 higher" and line["clear"] == "–" and line["seeds"] == 3
    shown = ablation_price.written(found).iloc[0]
    assert shown["Seconds"] == "+4.0 (+4.0 to +4.0)" and shown["Seeds"] == "3"


def test_a_definition_keeps_what_says_how_it_is_judged():
    from sae.experiments.definition import definition_of, kind_from

    for name in ("orthogonality-as-written", "orthogonality-matched"):
        kind = KINDS[name]
        copy = kind_from({**definition_of(kind), "name": "mine"})
        assert (copy.equal, copy.unjudged) == (kind.equal, kind.unjudged)
        assert replace(kind, name="mine").baseline == copy.baseline
