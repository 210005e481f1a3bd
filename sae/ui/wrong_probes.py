"""Right or wrong: the probes beside what they have to beat, and how well their chances are calibrated."""

from __future__ import annotations

import shlex

import pandas as pd
import streamlit as st

from sae.ui import page, wrong_data
from sae.ui.panel import figure_panel, table_panel
from sae.ui.words import count
from sae.ui.wrong_shown import Shown, again

HEIGHT = 335


def comparison(shown: Shown) -> None:
    """The forest plot of all probes and baselines, over what permuted labels give."""
    from sae.figures.error_prediction import forest

    table, null = shown.experiment.part(shown.run, "probes"), shown.notes["null"]
    figure_panel(
        forest(table, null=tuple(null["band"]), theme=page.theme(), height=HEIGHT),
        table[["title", "baseline", "auroc", "auroc_low", "auroc_high"]], key="wrong_forest", n=shown.n,
        meaning="How well wrong answers are told from right ones beforehand; 0.5 is chance.",
        formula="The share of (wrong, right) pairs in which the wrong answer gets the higher score. "
        f"{shown.notes['repeats']} repeats of 5 grouped, stratified folds; C from 5 inner folds by log loss; scores of "
        "problems that were held out, pooled over folds, mean over repeats. Bars: 95 % bootstrap over groups "
        f"({count(shown.notes['draws'])} samples). Grey band: 95 % of {count(null['n'])} passes with permuted labels "
        f"at C = {null['C']:.3g}. The bars take the probes as they were trained: for one that knows nothing they miss "
        "0.5 in up to one case of six, where the band does not. All probes share their folds. 1 to 50 features "
        "are those whose means differ most on training rows. The question-only baseline has "
        f"{', '.join(shown.notes['question_features'])}."
        + ("" if not shown.notes.get("left_out") else " These activations have no log-probability of the answers."),
        filename=f"{shown.run}-error-prediction",
        reproduce=again(
            shown, "from sae.figures.error_prediction import forest\n\n"
            f'forest(experiment.part("{shown.run}", "probes"), '
            f'null=tuple(experiment.part_notes("{shown.run}")["null"]["band"])).show()',
        ),
    )  # fmt: skip


def one_pass(shown: Shown) -> None:
    """What a slice without the full protocol has, and the command that runs it."""
    metrics, intervals = shown.results["metrics"], shown.results["interval"]
    lines = [
        {"of": title, "auroc": metrics[name], "low": intervals[name][0], "high": intervals[name][1]}
        for title, name in (
            ("SAE features, L1", "auroc_one_pass"),
            ("Question only", "auroc_question_one_pass"),
            ("SAE features less question", "difference_one_pass"),
        )
    ]
    number = st.column_config.NumberColumn
    table_panel(
        pd.DataFrame(lines), key="wrong_quick", title="One grouped pass", n=shown.n,
        meaning="This slice was not named beforehand: one pass of 5 folds, without the other baselines.",
        formula="Each fold takes C from one split of its training rows. Intervals: 95 % bootstrap over groups. Where "
        "many slices are looked at, the best of them looks better than it is.",
        filename=f"{shown.run}-one-pass", reproduce=again(shown, f'experiment.part("{shown.run}", "draws")'),
        columns={
            "of": "Probe", "auroc": number("AUROC", format="%.3f"), "low": number("from", format="%.3f"),
            "high": number("to", format="%.3f"),
        },
    )  # fmt: skip
    words = ["python", "-m", "sae", "experiment", "run", wrong_data.KIND, "--from", shown.source, "--name"]
    words += [f"{shown.source}-errors-full", "--runs", shown.run]
    st.caption("The full protocol, for this run:")
    st.code(shlex.join(words), language=None, wrap_lines=True)


def table(shown: Shown) -> None:
    """Every metric of every probe."""
    probes = shown.experiment.part(shown.run, "probes")
    compared = shown.experiment.part(shown.run, "differences").drop(columns="probe")
    probes = probes.merge(compared.rename(columns={"against": "probe"}), on="probe", how="left")
    number = st.column_config.NumberColumn
    names = ["title", "auroc", "difference", "low", "high", "auprc", "brier", "ece", "accuracy", "C"]
    table_panel(
        probes[names], key="wrong_probes", title="Probes and baselines", n=shown.n, height=320,
        meaning="Difference: AUROC of the SAE's L1 probe less this one's, with its paired 95 % interval.",
        formula="AUPRC of the errors has the share of wrong answers as its baseline. Brier score, ECE (10 bins) and "
        "accuracy are of the predicted chances, from which the class weights are taken out (prior correction); a "
        "bootstrap of ECE lies above it, so it has no interval. C: median of those chosen.",
        filename=f"{shown.run}-probes", reproduce=again(shown, f'experiment.part("{shown.run}", "probes")'),
        columns={
            "title": st.column_config.TextColumn("Probe", width=210),
            **{name: number(title, format="%.3f", width=width) for name, title, width in (
                ("auroc", "AUROC", 60), ("difference", "SAE less it", 75), ("low", "from", 55), ("high", "to", 55),
                ("auprc", "AUPRC", 60), ("brier", "Brier", 55), ("ece", "ECE", 50),
            )},
            "accuracy": number("Accuracy", format="percent", width=70), "C": number("C", format="%.3g", width=55),
        },
    )  # fmt: skip


def calibration(shown: Shown) -> None:
    """Predicted chances against what happened, for the features and two baselines."""
    from sae.figures.error_prediction import calibration_curve

    table = shown.experiment.part(shown.run, "calibration")
    titles = {"sae": "SAE features", "raw": "Raw activations", "question": "Question only"}
    kept = table[table["probe"].isin(titles)]
    figure_panel(
        calibration_curve(kept, titles, theme=page.theme(), height=320), kept, key="wrong_calibration", n=shown.n,
        meaning="On the dashed line a predicted chance is what it says.",
        formula="Predictions of held-out problems, of all repeats, in ten equal bins of the predicted chance: the mean "
        "chance of each bin against its share of wrong answers.", filename=f"{shown.run}-calibration",
        reproduce=again(
            shown, "from sae.figures.error_prediction import calibration_curve\n\n"
            f'calibration_curve(experiment.part("{shown.run}", "calibration"), {titles!r}).show()',
        ),
    )  # fmt: skip
