"""Recipes for the TopK grid. A preset is a set of training settings, and a factor like any other."""

from __future__ import annotations

from typing import Any

from sae.experiments.recipes import Recipe

PRESETS: dict[str, dict[str, Any]] = {
    # The default; docs/corrected.md shows what each part brings.
    "corrected": {},
    # The published grid as its code did it (its report says otherwise in two places, see `report`): PyTorch's default
    # weights for both layers, decoder columns normalised once, no centring, top-K by magnitude, a decoder bias.
    "published": {
        "selection": "magnitude",
        "loss": "mse",
        "input_scaling": False,
        "decoder_init": "linear",
        "encoder_init": "linear",
        "fit_encoder_scale": False,
        "b_dec_init": "linear",
        "decoder_bias": True,
        "subtract_b_dec": False,
        "decoder_norm": "initial",
        "project_gradient": False,
        "auxk_coefficient": 0.0,
        "lr_schedule": "constant",
    },
    # The published grid as its report describes it: no decoder bias, unit-norm decoder at every step, MSE alone.
    "report": {
        "selection": "magnitude",
        "loss": "mse",
        "input_scaling": False,
        "decoder_init": "linear",
        "encoder_init": "linear",
        "fit_encoder_scale": False,
        "b_dec_init": "zero",
        "decoder_bias": False,
        "subtract_b_dec": False,
        "decoder_norm": "every_step",
        "project_gradient": False,
        "auxk_coefficient": 0.0,
        "lr_schedule": "constant",
    },
}

DESCRIPTIONS = {
    "corrected": "signed top-K, tied start, centred, unit-norm decoder, AuxK: our default",
    "published": "the published grid as its code did it, quirk for quirk",
    "report": "the published grid as its report describes it",
}


RECIPES = {name: Recipe(settings, DESCRIPTIONS[name]) for name, settings in PRESETS.items()}
