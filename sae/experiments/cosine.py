"""Sparse binary codes with the cosine loss: the paper's N x K grid, and the ablations that two plans ask for."""

from sae.experiments.plan import Factor, Kind

BASE = {"architecture": "binary", "epochs": 20, "lr": 1e-3}
METRICS = (
    "reconstruction_loss",
    "fixed_topk_reconstruction_loss",
    "average_activation_count",
    "activation_count_standard_deviation",
    "sparsity_deviation",
    "sparsity_alignment",
    "dead",
    "dense",
    "index_bits",
    "compression",
)
KNOWN = (
    "The paper was withdrawn and its full text is not public. Known from its abstract and reviews: linear encoder, "
    "sigmoid, pass-through rounding, linear decoder, the two cosine losses, alpha 1, that N and K were varied, storage "
    "14 times smaller. Its values of N and K, data, optimiser and every other constant are our reading: docs/cosine.md."
)
N = Factor("d_sae", (2048,), "N (bits)")
K = Factor("k", (32,), "K (bits aimed at)")
SEED = Factor("seed", (0,), "seed")

COSINE_NK = Kind(
    name="cosine-nk",
    title="Cosine loss: N x K",
    question="How many bits N and how many of them on, K, does a sparse binary code need?",
    factors=(
        Factor("d_sae", (1024, 2048, 4096, 8192), N.title),
        Factor("k", (16, 32, 64, 128), K.title),
        SEED,
    ),
    settings=BASE,
    known=KNOWN,
    metrics=METRICS,
)

COSINE_TOPK = Kind(
    name="cosine-ablation-topk",
    title="Cosine loss against hard TopK",
    question="Does aligning strengths softly with the K strongest give better codes than clipping to K, at equal bits?",
    factors=(
        N,
        Factor("rounding", ("pass_through", "topk", "topk_values"), "sparsity by"),
        Factor("k", (16, 32, 64, 128), K.title),
        SEED,
    ),
    settings=BASE,
    known=KNOWN,
    metrics=METRICS,
    baseline={"rounding": "topk"},
    matched="average_activation_count",
)

COSINE_ALPHA = Kind(
    name="cosine-ablation-alpha",
    title="Cosine loss: alpha",
    question="What does the weight of the sparsity alignment buy, and what does it cost?",
    factors=(N, K, Factor("alpha", (0.0, 0.1, 0.5, 1.0, 5.0, 10.0), "alpha"), SEED),
    settings=BASE,
    known=KNOWN,
    metrics=METRICS,
    baseline={"alpha": 1.0},
)

COSINE_LOSS = Kind(
    name="cosine-ablation-loss",
    title="Cosine loss against MSE and L1",
    question="Is it the cosine? MSE or L1 in its place: for the reconstruction, for the sparsity, for both.",
    factors=(
        N,
        K,
        Factor("reconstruction_objective", ("cosine", "mse", "l1"), "reconstruction objective"),
        Factor("sparsity_objective", ("cosine", "mse", "l1"), "sparsity objective"),
        SEED,
    ),
    settings=BASE,
    known=KNOWN,
    metrics=METRICS,
    baseline={"reconstruction_objective": "cosine", "sparsity_objective": "cosine"},
    matched="average_activation_count",
)

COSINE_ROUND = Kind(
    name="cosine-ablation-round",
    title="Cosine loss: the rounding",
    question="Is the pass-through rounding needed? It is taken away, left without gradient, or replaced.",
    factors=(
        N,
        K,
        Factor("rounding", ("pass_through", "soft", "zero_gradient", "gumbel", "annealed"), "rounding"),
        SEED,
    ),
    settings=BASE,
    known=KNOWN,
    metrics=(*METRICS, "rounding_gap"),
    baseline={"rounding": "pass_through"},
)

COSINE = (COSINE_NK, COSINE_TOPK, COSINE_ALPHA, COSINE_LOSS, COSINE_ROUND)
