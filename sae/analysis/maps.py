"""A map of an SAE's features: decoder directions laid out in the plane."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import numpy as np
import pandas as pd

from sae.common.errors import UserError

METHODS = ("umap", "pca")
FEWEST_FOR_UMAP = 10
_AXES = 50


def decoder_map(
    W_dec: np.ndarray,
    alive: np.ndarray | None = None,
    *,
    method: str = "umap",
    seed: int = 0,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    metric: str = "cosine",
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Place living features so that similar decoder directions lie together. Distances on a UMAP are not
    metric.

    Directions of length 1 are first projected on their 50 principal axes through the origin (the projection
    that keeps the cosines best) where d_in is larger. UMAP (McInnes et al. 2018) falls back to the first
    two principal axes below 10 features or where umap-learn is not installed. One seed gives one map.

    Args:
        W_dec: [d_sae, d_in]. alive: bool [d_sae]; None: all. A zero row has no direction and is left out.

    Returns:
        feature, x, y (float32); and the parameters: method (the one used), requested, why (of a fallback,
        or None), seed, n_neighbors, min_dist, metric, axes, n_features, d_in, versions.

    Raises:
        UserError: for an unknown method, or shapes that don't fit.
    """
    W_dec = np.asarray(W_dec, np.float32)
    if method not in METHODS:
        raise UserError(f"a map is made by {' or '.join(METHODS)}, not {method!r}")
    if W_dec.ndim != 2 or (alive is not None and np.shape(alive) != (len(W_dec),)):
        raise UserError(f"a map needs W_dec [d_sae, d_in] and one mark a feature, not {W_dec.shape}")
    norms = np.linalg.norm(W_dec, axis=1)
    kept = np.flatnonzero((norms > 0) if alive is None else (norms > 0) & np.asarray(alive, bool))
    unit = W_dec[kept] / norms[kept, None]
    used, why = method, None
    if method == "umap" and len(kept) < FEWEST_FOR_UMAP:
        used, why = "pca", f"fewer than {FEWEST_FOR_UMAP} living features"
    reducer: Any = None
    if used == "umap":
        try:
            import umap  # several seconds: only where a map is made

            reducer = umap.UMAP
            _keep_compiled("umap.")
        except ImportError:
            used, why = "pca", "umap-learn is not installed"
    versions = {"numpy": np.__version__}
    if used == "umap":
        points = _principal(unit, _AXES) if unit.shape[1] > _AXES else unit
        places = _umap(reducer, points, seed, min(n_neighbors, len(kept) - 1), min_dist, metric)
        versions["umap-learn"] = _version("umap-learn")
    else:
        points = places = _principal(unit, 2, centre=True)
    table = pd.DataFrame({"feature": kept.astype(np.int32), "x": places[:, 0], "y": places[:, 1]}).astype(
        {"x": np.float32, "y": np.float32}
    )
    parameters = {
        "method": used,
        "requested": method,
        "why": why,
        "seed": seed,
        "n_neighbors": min(n_neighbors, max(len(kept) - 1, 0)) if used == "umap" else None,
        "min_dist": min_dist if used == "umap" else None,
        "metric": metric if used == "umap" else None,
        "axes": points.shape[1],
        "n_features": len(kept),
        "d_in": W_dec.shape[1],
        "versions": versions,
    }
    return table, parameters


def _principal(rows: np.ndarray, axes: int, centre: bool = False) -> np.ndarray:
    """float32 [n, axes]: coordinates along the axes of largest sum of squares, zeros where there are fewer.

    Through the [d_in, d_in] product, so that any number of rows costs one pass; each axis points to where its
    largest weight is positive, which makes the result unique.
    """
    result = np.zeros((len(rows), axes), np.float32)
    if not len(rows):
        return result
    rows = rows - rows.mean(axis=0) if centre else rows
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    vectors = vectors[:, np.argsort(-values, kind="stable")[:axes]]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    result[:, : vectors.shape[1]] = rows @ vectors
    return result


def _keep_compiled(prefix: str) -> None:
    """Let numba keep on the disk what it compiles of these modules, as it does with our own loops: umap-learn doesn't
    ask for it, and compiling takes each process a hundred times as long as a small map."""
    from numba.core.dispatcher import Dispatcher

    for name, module in list(sys.modules.items()):
        if name.startswith(prefix):
            for function in vars(module).values():
                if isinstance(function, Dispatcher) and function.py_func.__module__ == name:
                    with contextlib.suppress(RuntimeError):  # nowhere to keep it
                        function.enable_caching()


def _umap(reducer: Any, points: np.ndarray, seed: int, neighbours: int, min_dist: float, metric: str) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed means one thread, and small sets an approximate start
        made = reducer(
            n_neighbors=neighbours, min_dist=min_dist, metric=metric, random_state=seed, n_jobs=1
        ).fit_transform(points)
    return np.nan_to_num(np.asarray(made), nan=0.0)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
