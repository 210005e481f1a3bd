"""What a slice says of another, what layers have in common, and what depth brings: architectures with an experiment of
their own.
"""

from sae.experiments.plan import LAYERS, Factor, Kind

_SIZES = (
    Factor("d_sae", (512,), "dictionary size (features)"),
    Factor("k", (5, 10, 20, 50), "K (active features a row)"),
    Factor("seed", (0,), "seed"),
)
TRANSCODERS = Kind(
    name="transcoders",
    title="From one slice to another",
    question="How much of a layer or a thought do features of another one write, and how much is a linear map of it?",
    factors=(Factor("skip", (False, True), "skip connection"), *_SIZES),
    settings={"architecture": "transcoder"},
    metrics=("ev_total", "dead", "l0", "mse", "dense", "perplexity"),
    baseline={"skip": False},
    known="The slice is what is read; the settings target_layer and target_position say what is written. Explained "
    "variance is of that, and each run has the mean, the identity and a linear map beside it.",
)
CROSSCODERS = Kind(
    name="crosscoders",
    title="Several layers at once",
    question="Does one dictionary of several layers explain each of them as well as a dictionary of its own?",
    factors=(Factor(LAYERS, (), "layers that are read at once"), *_SIZES),
    settings={"architecture": "crosscoder"},
    known="Without layers named: each layer of the activations by itself, and all at once. By itself a layer's "
    "crosscoder is a TopK. Each run has the explained variance of every layer that it reads.",
)
DEPTH = Kind(
    name="deeper",
    title="Deeper encoders and decoders",
    question="Do more layers before or after the features explain more at the same K?",
    factors=(
        Factor("encoder_layers", (1, 2, 3), "layers of the encoder"),
        Factor("decoder_layers", (1, 2), "layers of the decoder"),
        Factor("nonlinearity", ("gelu",), "non-linearity"),
        *_SIZES,
    ),
    settings={"architecture": "deep-topk"},
    metrics=("ev_total", "dead", "l0", "mse", "dense", "perplexity"),
    baseline={"encoder_layers": 1, "decoder_layers": 1},
    known="The report left depth open. With one layer on either side a run is a TopK; every other one starts there. "
    "The control with identity for the non-linearity has depth and no more to say.",
)
