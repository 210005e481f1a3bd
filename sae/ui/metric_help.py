"""What metrics of codes, concepts and evaluations mean: a line and a formula each, for the help of figures."""

from __future__ import annotations

_WHERE = (
    "\n\n$n_i$: bits on in row i ($s_{ij} > 0.5$), $b_i$ that code, $m_i$ the code of exactly the K strongest, $s_i$ "
    "the strengths before rounding, dec the decoder."
)
BINARY: dict[str, tuple[str, str]] = {
    "reconstruction_loss": (
        "Cosine distance of a row and what its code decodes to, with real rounding; lower is better.",
        r"$$R = \frac{1}{n}\sum_i 1 - \cos(x_i, dec(b_i))$$" + _WHERE,
    ),
    "fixed_topk_reconstruction_loss": (
        "The same from the code of exactly the K strongest bits; lower is better.",
        r"$$R_K = \frac{1}{n}\sum_i 1 - \cos(x_i, dec(m_i))$$" + _WHERE,
    ),
    "mean_predictor_loss": (
        "What predicting the mean of the train rows gives: the loss that any code must beat.",
        r"$$\frac{1}{n}\sum_i 1 - \cos(x_i, \mu_{train})$$ It is far from 1 where rows share a direction.",
    ),
    "average_activation_count": ("Mean number of bits that are on in a row.", r"$$\frac{1}{n}\sum_i n_i$$" + _WHERE),
    "activation_count_standard_deviation": (
        "How much the number of bits differs from row to row.",
        r"$$\sqrt{\frac{1}{n}\sum_i (n_i - \bar n)^2}$$ (population)" + _WHERE,
    ),
    "sparsity_deviation": (
        "How far the mean count is from the K that was aimed at, as a share of K.",
        r"$$\frac{|\bar n - K|}{K}$$" + _WHERE,
    ),
    "sparsity_alignment": (
        "Cosine of the strengths with the mask of the K strongest; 1 is a code of exactly K equal bits.",
        r"$$\frac{1}{n}\sum_i \cos(s_i, m_i)$$" + _WHERE,
    ),
    "index_bits": (
        "A code stored as the list of its bits that are on.",
        r"$$\frac{1}{n}\sum_i n_i \lceil \log_2 N \rceil$$ bits a row",
    ),
    "compression": (
        "How many times smaller than float32 a code is stored, as a bitmap or as indices, whichever is smaller.",
        r"$$\frac{32\, d_{in}}{\min(N, \bar n \lceil \log_2 N \rceil)}$$",
    ),
    "rounding_gap": (
        "What rounding costs: the loss of the rounded code less that of the strengths themselves.",
        r"$$R - \frac{1}{n}\sum_i 1 - \cos(x_i, dec(s_i))$$" + _WHERE,
    ),
}

_HELD_OUT = (
    "\n\nExamples are halved by group: what goes with what is chosen on one half and scored on the other. "
    "Of the newest measurement `concepts`, on its rows."
)
CONCEPTS: dict[str, tuple[str, str]] = {
    "label_f1": (
        "For each concept the feature that tells it best, on held-out examples.",
        r"$$F_1 = \frac{2\,TP}{2\,TP + FP + FN}$$, mean over concepts" + _HELD_OUT,
    ),
    "label_f1_null": ("The same with labels shuffled between groups: what searching alone gives.", "Mean of the null."),
    "feature_f1": (
        "For each feature the concept that it tells best, on held-out examples.",
        "F1 as above, mean over features that are active on enough examples" + _HELD_OUT,
    ),
    "feature_f1_null": ("The same with labels shuffled between groups.", "Mean of the null."),
    "confirmed": (
        "Living features whose concept was found on one half and confirmed on the other.",
        "Benjamini and Hochberg on both halves, and a gain over the base rate on each." + _HELD_OUT,
    ),
    "coherence_between": (
        "How much more alike a feature's rows are than rows in general, between groups.",
        r"$$\overline{\cos}(x_i, x_{i'}) - \overline{\cos}_{all}$$ over pairs of rows of different groups, mean over "
        "features",
    ),
    "match_phi": (
        "Features matched one to one with those of a run that differs in the seed alone.",
        "Correlation phi of being active over the same rows, Hungarian assignment, mean over living features.",
    ),
    "match_phi_null": ("The same with the other run's rows permuted.", "Mean of phi."),
}

_NEWEST = "Of the newest measurement of that kind, on its own held-out examples: docs/evaluations.md."
EVALUATIONS: dict[str, tuple[str, str]] = {
    "mean_abs_correlation": (
        "How much features fire together, over all pairs; lower is less redundant.",
        r"$$\overline{|r_{ij}|}$$, Pearson over the split's rows, at most 20,000 rows, zeros included.",
    ),
    "max_decoder_cosine_mean": (
        "How near each living feature's decoder direction has a neighbour.",
        r"$$\frac{1}{n}\sum_i \max_{j \ne i} \cos(d_i, d_j)$$",
    ),
    "kl_score_mean": (
        "What the model does with the reconstruction in place of the state, against the training mean in its place.",
        r"$$1 - KL_{SAE} / KL_{mean}$$ " + _NEWEST,
    ),
    "ce_score_mean": (
        "The same for the cross-entropy of the next token.",
        r"$$(CE_{mean} - CE_{SAE}) / (CE_{mean} - CE_{clean})$$ " + _NEWEST,
    ),
    "sae_top_1_test_accuracy": ("A logistic probe on the one feature that differs most.", "Balanced test. " + _NEWEST),
    "sae_top_5_test_accuracy": ("A logistic probe on the five features that differ most.", "As for one. " + _NEWEST),
    "sae_test_accuracy": ("A logistic probe on all features.", "Balanced test. " + _NEWEST),
    "sae_test_accuracy_shuffled": ("The same with shuffled labels.", "Chance is one half."),
    "absorption_rate": (
        "Share of examples with parent and child where the parent's feature is off.",
        r"$$P(f_{parent} = 0 \mid parent, child)$$, the feature by best F1 on the other half. docs/absorption.md.",
    ),
    "absorption_rate_random": ("The same of random living features.", "What being rare alone gives."),
    "mean_absorption_fraction_score": ("How much of the parent's direction others carry.", "docs/absorption.md"),
    "mean_full_absorption_score": ("Share where another feature carries the parent whole.", "docs/absorption.md"),
    "mean_num_split_features": ("Features that together tell the parent.", "Each adds .03 to F1, ten at most."),
}
