"""Top-k orthogonality: the documents' runs as they are written, and each mechanism alone at equal L0.

The documents add one mechanism to the last run's and never compare at equal sparsity; one of them trained for 0 steps
and the other had no baseline. Verdicts come from the mechanisms alone.
"""

from __future__ import annotations

from typing import Any

from sae.experiments.orthogonality_texts import TEXTS
from sae.experiments.plan import Factor, Kind
from sae.experiments.published import Published
from sae.experiments.recipes import Recipe

METRICS = (
    "ev_total",
    "l0",
    "mean_abs_correlation",
    "max_decoder_cosine_mean",
    "dead",
    "dense",
    "mse",
    "perplexity",
)
SIZE = Factor("d_sae", (2304,), "dictionary size (features)")
SEED = Factor("seed", (0,), "seed")
BASE = {"epochs": 10, "batch_size": 2048, "lr": 3e-4}
#: The second note's own setting, for a machine that has the model; what its code would have trained on.
PUBLISHED = Published(
    factors={"d_sae": 2304},
    settings={"batch_size": 2048, "lr": 3e-4, "l1_coefficient": 0.04},
    model="gemma-2-2b",
    layer=19,
    context=128,
    capture="python -m sae capture --model google/gemma-2-2b --problems hub:monology/pile-uncopyrighted --context 128 "
    "--tokens 3000000 --layers 19 --positions all --dtype float16 --name gemma-2-2b-l19",
)
_PRESETS = {"published": PUBLISHED}
_STANDARD = {"architecture": "standard", "l1_coefficient": 0.04}

# What each mechanism is alone, as it was meant (docs/orthogonality.md).
_PAIRS = {"orthogonality": "hinge"}
_MECHANISMS: dict[str, tuple[dict[str, Any], str]] = {
    "baseline": ({}, "a ReLU SAE with L1, no mechanism"),
    "pairs": (_PAIRS, "the 0.1 % of pairs with the most alike activations, hinge at tau 0.1"),
    "pairs-tau-momentum": ({**_PAIRS, "tau_rule": "momentum"}, "the same, tau following the pairs' mean"),
    "pairs-tau-mean-std": (
        {**_PAIRS, "tau_rule": "mean_std"},
        "the same, tau the mean + std of all pairs",
    ),
    "pairs-linear": ({**_PAIRS, "pair_fraction_schedule": "linear"}, "0.1 % rising to 0.5 % of pairs in a line"),
    "pairs-exponential": (
        {**_PAIRS, "pair_fraction_schedule": "exponential_to_end"},
        "0.1 % rising to 0.5 % of pairs, fast at first",
    ),
    "pairs-threshold": ({**_PAIRS, "pair_selection": "threshold"}, "pairs above mean + 2 standard deviations"),
    "decoder-pairs": ({**_PAIRS, "pair_similarity": "dec_cos"}, "the 0.1 % of pairs with the most alike decoder rows"),
    "pruning": ({"prune": True}, "of two features that fire alike one starts anew"),
    "pruning-protected": ({"prune": True, "importance_protection": True}, "the same, important ones protected"),
    "adaptive-l1": (
        {"adaptive_l1": True, "adaptive_l1_target": 0.0},
        "the penalty follows the share that is active",
    ),
    "inhibition": ({"inhibition": "fixed"}, "neighbours by number damp each other"),
    "inhibition-permuted": ({"inhibition": "permuted"}, "its control: neighbours by a random permutation"),
    "inhibition-adaptive": ({"inhibition": "adaptive"}, "neighbours are who fires with whom"),
    "reallocation": ({"reallocation": True}, "features that hardly fire start anew"),
    "ortsae": ({"ortsae_weight": 0.25}, "OrtSAE: decoder rows apart, in random chunks"),
}
_MATRYOSHKA = Recipe(
    {"architecture": "matryoshka", "l1_coefficient": 0.0}, "Matryoshka TopK: nested prefixes reconstruct by themselves"
)
ALONE = {
    **{name: Recipe({**_STANDARD, **settings}, words) for name, (settings, words) in _MECHANISMS.items()},
    "matryoshka": _MATRYOSHKA,
}
MATCHED = {
    **{
        name: Recipe({**_STANDARD, "calibrated": True, **settings}, words)
        for name, (settings, words) in _MECHANISMS.items()
    },
    "matryoshka": _MATRYOSHKA,
}

# The documents' runs: each adds to the one before.
_LITERAL = {
    "architecture": "standard",
    "mechanism_mode": "literal",
    "loss": "norm",
    "l1_coefficient": 0.04,
    "input_scaling": False,
    "lr_schedule": "constant",
    "lr_warmup_steps": 0,
    "l1_warmup_steps": -1,
}
_THIRD: dict[str, tuple[dict[str, Any], str]] = {
    "003-1": (
        {"orthogonality": "plain", "orthogonality_weight": 0.1},
        "top 0.1 % of pairs, mean of C², tau unused",
    ),
    "003-2": (
        {"orthogonality": "linear", "orthogonality_weight": 1.0, "tau_rule": "mean_std"},
        "tau = mean + std of all pairs, linear hinge",
    ),
    "003-3": ({"orthogonality_weight": 0.1, "pair_fraction_schedule": "linear"}, "0.1 % to 0.5 % of pairs in a line"),
    "003-4": ({"pair_fraction_schedule": "exponential"}, "0.1 % towards 0.5 % of pairs as 1 - exp(-5x)"),
}
_FOURTH: dict[str, tuple[dict[str, Any], str]] = {
    "004-1": (
        {"orthogonality": "tau_weight", "orthogonality_weight": 1.0, "pair_similarity": "act_dot"},
        "top 0.1 % of |f_i · f_j|, weighted by tau 0.1",
    ),
    "004-2": ({"tau_rule": "momentum"}, "tau by momentum"),
    "004-3": ({"pair_selection": "threshold"}, "pairs above mean + 2 std"),
    "004-4": ({"prune": True}, "pruning of features that fire alike"),
    "004-5": ({"importance_protection": True}, "importance protects from it"),
    "004-6": ({"adaptive_l1": True}, "L1 that grows where codes are sparse already, as coded"),
    "004-7": ({"inhibition": "fixed"}, "lateral inhibition"),
    "004-8": ({"inhibition": "adaptive"}, "adaptive neighbourhoods"),
    "004-9": ({"reallocation": True}, "reallocation below 1 % of rows"),
}


def _cumulative(runs: dict[str, tuple[dict[str, Any], str]]) -> dict[str, Recipe]:
    found: dict[str, Recipe] = {}
    settings = dict(_LITERAL)
    for name, (added, words) in runs.items():
        settings |= added
        found[name] = Recipe(dict(settings), words, TEXTS[name])
    return found


AS_WRITTEN = {
    "baseline": Recipe(_LITERAL, "the documents' ReLU SAE: mean norm of the error + 0.04 mean L1"),
    **_cumulative(_THIRD),
    **_cumulative(_FOURTH),
    "ortsae": Recipe({**_LITERAL, "ortsae_weight": 0.25}, "OrtSAE's penalty on the same baseline"),
    "matryoshka": _MATRYOSHKA,
}
_KNOWN = (
    "Of the two documents, one trained nothing (0 steps) and the other has no baseline; the mechanisms' code is partly "
    "missing. What each run is here, and what was wrong in the original: docs/orthogonality.md."
)

ORTHOGONALITY = Kind(
    name="orthogonality",
    title="Top-k orthogonality, each mechanism alone",
    question="What does each mechanism change beside the same SAE without it, and at what price?",
    factors=(Factor("mechanism", tuple(ALONE), "mechanism"), SIZE, Factor("k", (64,), "K (Matryoshka's)"), SEED),
    settings=BASE,
    metrics=METRICS,
    presets=_PRESETS,
    baseline={"mechanism": "baseline"},
    recipes={"mechanism": ALONE},
    known=_KNOWN,
)
MATCHED_ORTHOGONALITY = Kind(
    name="orthogonality-matched",
    title="Top-k orthogonality at equal L0",
    question="What does each mechanism change when the penalty is calibrated so that as many features are active?",
    factors=(Factor("mechanism", tuple(MATCHED), "mechanism"), SIZE, Factor("k", (64,), "L0 aimed at"), SEED),
    settings=BASE,
    metrics=METRICS,
    presets=_PRESETS,
    baseline={"mechanism": "baseline"},
    equal="l0",
    recipes={"mechanism": MATCHED},
    known=_KNOWN,
)
WRITTEN_ORTHOGONALITY = Kind(
    name="orthogonality-as-written",
    title="Top-k orthogonality, the documents' runs",
    question="What comes out of the two documents' runs as they are written, each on top of the last?",
    factors=(Factor("mechanism", tuple(AS_WRITTEN), "run"), SIZE, Factor("k", (64,), "K (Matryoshka's)"), SEED),
    settings=BASE,
    metrics=METRICS,
    presets=_PRESETS,
    baseline={"mechanism": "baseline"},
    recipes={"mechanism": AS_WRITTEN},
    unjudged="Each run has the mechanisms of the one before, too, and another L0: what comes out is reported. What a "
    "mechanism does by itself is asked by orthogonality and orthogonality-matched.",
    known=_KNOWN,
)
THRESHOLD = Kind(
    name="orthogonality-threshold",
    title="Top-k orthogonality: how many pairs",
    question="Does it matter which share of all pairs is pushed apart?",
    factors=(
        Factor("pair_fraction", (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.05), "share of pairs"),
        SIZE,
        Factor("k", (64,), "L0 aimed at"),
        SEED,
    ),
    settings={**BASE, **_STANDARD, **_PAIRS, "calibrated": True},
    metrics=METRICS,
    presets=_PRESETS,
    baseline={"pair_fraction": 0.001},
    equal="l0",
    known=_KNOWN,
)
_TAUS = {
    **{f"fixed-{tau:g}": Recipe({**_PAIRS, "tau": tau}, f"tau {tau:g}") for tau in (0.01, 0.05, 0.1, 0.2, 0.5)},
    "momentum": Recipe({**_PAIRS, "tau_rule": "momentum"}, "tau follows the selected pairs' mean"),
    "mean-std": Recipe({**_PAIRS, "tau_rule": "mean_std"}, "tau is the mean + standard deviation of all pairs"),
}
TAU = Kind(
    name="orthogonality-tau",
    title="Top-k orthogonality: tau",
    question="Is an adaptive tau better than a fixed one?",
    factors=(Factor("margin", tuple(_TAUS), "tau"), SIZE, Factor("k", (64,), "L0 aimed at"), SEED),
    settings={**BASE, **_STANDARD, "calibrated": True},
    metrics=METRICS,
    presets=_PRESETS,
    baseline={"margin": "fixed-0.1"},
    equal="l0",
    recipes={"margin": _TAUS},
    known=_KNOWN,
)
ORTHOGONALITY_KINDS = (ORTHOGONALITY, MATCHED_ORTHOGONALITY, WRITTEN_ORTHOGONALITY, THRESHOLD, TAU)
