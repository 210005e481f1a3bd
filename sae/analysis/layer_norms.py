"""How much a crosscoder's features write into each of its layers, and its weights in units in which layers compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

SPREAD = "layer_spread"  # of the weights of a crosscoder, and of no other SAE's
COLUMN = "norm_layer_"  # of the table of features


def directions(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Decoder rows [d_sae, d_in] as they can be compared: `W_dec`; of a crosscoder with each layer in units of its
    spread, or the layer with the largest rows would decide alone.
    """
    W_dec = weights["W_dec"]
    return W_dec if SPREAD not in weights else (W_dec / _units(weights)).astype(W_dec.dtype)


def readings(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Encoder columns [d_in, d_sae] in the units of `directions`."""
    W_enc = weights["W_enc"]
    return W_enc if SPREAD not in weights else (W_enc * _units(weights)[:, None]).astype(W_enc.dtype)


def layer_norms(directions: np.ndarray, layers: int) -> np.ndarray:
    """float64 [d_sae, layers]: the norm of what each feature writes into each layer.

    Args:
        directions: [d_sae, layers · d], of the function of that name.
    """
    blocks = directions.reshape(len(directions), layers, -1)
    return np.linalg.norm(blocks.astype(np.float64), axis=2)


def layer_shares(norms: np.ndarray) -> np.ndarray:
    """float64 [d_sae, layers]: each layer's share of a feature's norms, which sum to 1 (of two layers, the relative
    decoder norm of Lindsey et al. 2024); NaN for a feature that writes nothing.
    """
    total = norms.sum(axis=1, keepdims=True)
    return np.divide(norms, total, out=np.full(norms.shape, np.nan), where=total > 0)


def layer_columns(weights: Mapping[str, np.ndarray], layers: Sequence[int]) -> pd.DataFrame:
    """`norm_layer_L` for each layer L, a line a feature."""
    names = [f"{COLUMN}{layer}" for layer in layers]
    return pd.DataFrame(layer_norms(directions(weights), len(layers)), columns=names)


def norms_of(features: pd.DataFrame) -> tuple[list[int], np.ndarray]:
    """The layers, and norms [features, layers], from a table of features; no layers for an SAE of one slice."""
    names = [name for name in features.columns if name.startswith(COLUMN)]
    return [int(name.removeprefix(COLUMN)) for name in names], features[names].to_numpy(float)


def relative_norms(features: pd.DataFrame, one: int, other: int) -> np.ndarray:
    """[features]: the share of `other` in the norms of what a feature writes into two layers; NaN for nothing."""
    first, second = (features[f"{COLUMN}{layer}"].to_numpy(float) for layer in (one, other))
    total = first + second
    return np.divide(second, total, out=np.full(len(total), np.nan), where=total > 0)


def by_layer(
    metrics: Mapping[str, float], features: pd.DataFrame, alone: Mapping[int, Mapping[str, float]]
) -> pd.DataFrame:
    """A line a layer: layer, ev, ev_alone, norm_share (mean over living features), features (that have more than half
    of their norm there).

    Args:
        metrics: of the crosscoder, on one split.
        features: its table of features.
        alone: by layer, the metrics of an SAE of that layer by itself; ev_alone is NaN where there is none.
    """
    layers, norms = norms_of(features[~features["dead"].astype(bool)])
    shares = layer_shares(norms)
    return pd.DataFrame(
        {
            "layer": layers,
            "ev": [metrics.get(f"ev_layer_{layer}", np.nan) for layer in layers],
            "ev_alone": [alone.get(layer, {}).get("ev_total", np.nan) for layer in layers],
            "norm_share": np.nanmean(shares, axis=0) if len(shares) else np.nan,
            "features": (shares > 0.5).sum(axis=0),
        }
    )


def _units(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """float64 [layers · d]: each layer's spread over what it is where all layers spread alike, which training sees."""
    spread = weights[SPREAD].astype(np.float64)
    spreading = spread[spread > 0]
    common = np.sqrt((spreading**2).mean()) if len(spreading) else 1.0
    units = np.where(spread > 0, spread / common, 1.0)
    return np.repeat(units, weights["W_dec"].shape[1] // len(spread))
