"""Compiled loops over the K winners of each row: decoding them, and the update of each feature in one visit.

A feature's gradient needs only the rows in which it won. So its encoder and decoder rows are visited once: gradients
are summed in cache, Adam's moments and the weights are updated, the decoder row is normalised, and nothing else is
written. A feature that was never touched has zero gradient and zero moments; Adam's update of it is exactly nothing,
and it is skipped.

The functions release the interpreter's lock and work on a range of rows or features; `sae.common.threads`
spreads ranges over threads. Sums may be reassociated to be vectorised; nothing else departs from float32. NumPy's error
model leaves out Python's check for a division by zero: with it the loop of Adam is not vectorised and takes thrice as
long. No divisor here can be 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_MATH = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True)
def by_feature(indices, d_sae):
    """Winners sorted by feature: (start [d_sae + 1], entry [B·K]); an entry is row·K + slot, ascending in a feature."""
    B, K = indices.shape
    start = np.zeros(d_sae + 1, np.int64)
    for i in range(B):
        for s in range(K):
            start[indices[i, s] + 1] += 1
    for j in range(d_sae):
        start[j + 1] += start[j]
    entry = np.empty(B * K, np.int32)
    following = start[:-1].copy()
    for i in range(B):
        for s in range(K):
            j = indices[i, s]
            entry[following[j]] = i * K + s
            following[j] += 1
    return start, entry


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def decode_error(first, last, x, indices, values, W_dec, b_dec, error):
    """`error[i] = Σ_s values[i, s] W_dec[indices[i, s]] + b_dec - x[i]` for rows first..last; returns Σ error²."""
    K, D = indices.shape[1], x.shape[1]
    total = 0.0
    for i in range(first, last):
        e = error[i]
        for t in range(D):
            e[t] = b_dec[t] - x[i, t]
        for s in range(K):
            v = values[i, s]
            if v != 0:
                w = W_dec[indices[i, s]]
                for t in range(D):
                    e[t] += v * w[t]
        square = np.float32(0)
        for t in range(D):
            square += e[t] * e[t]
        total += float(square)
    return total


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _adam(p, g, m, v, rate, correction, beta1, beta2, epsilon):
    """Adam's update of the vector p, in place, with `rate` already divided by the first moment's bias correction."""
    one = np.float32(1)
    for t in range(len(p)):
        slope = g[t]
        mean = beta1 * m[t] + (one - beta1) * slope
        square = beta2 * v[t] + (one - beta2) * slope * slope
        m[t] = mean
        v[t] = square
        p[t] -= rate * mean / (np.sqrt(square) * correction + epsilon)


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def update_features(
    first,
    last,
    start,
    entry,
    values,
    x,
    error,
    scale,
    extra_row,
    extra,
    touched,
    weights,
    moments,
    adam,
    switches,
    b_dec,
):
    """One optimizer step of features first..last.

    Args:
        start, entry: of `by_feature`.
        values: [B, K], the winners' activations.
        x: [B, d_in], what the encoder saw; error: [B, d_in], reconstruction - x.
        scale: d loss / d reconstruction = scale · error.
        extra_row: int64 [d_sae], where in `extra` a feature has gradients from other terms of the loss, or -1.
        extra: (d W_enc [m, d_in], d b_enc [m], d W_dec [m, d_in]).
        touched: uint8 [d_sae], whether a feature ever had a gradient; set here.
        weights: (W_enc [d_sae, d_in], b_enc [d_sae], W_dec [d_sae, d_in]); moments: the same shapes, first and second
            of each in turn.
        adam: (rate, correction of the second moment, beta1, beta2, epsilon), float32.
        switches: (whether a value of 0 has no gradient, whether the decoder's radial gradient is removed, whether its
            rows are normalised, whether b_dec is subtracted from what the encoder sees).
        b_dec: [d_in]; what the encoder's side adds to the gradient of b_dec is added here.
    """
    W_enc, b_enc, W_dec = weights
    m_W_enc, v_W_enc, m_b_enc, v_b_enc, m_W_dec, v_W_dec = moments
    extra_W_enc, extra_b_enc, extra_W_dec = extra
    rate, correction, beta1, beta2, epsilon = adam
    relu, project, normalise, subtract = switches
    K, D = values.shape[1], x.shape[1]
    one = np.float32(1)
    g_dec, g_enc = np.empty(D, np.float32), np.empty(D, np.float32)
    for j in range(first, last):
        extra_at = extra_row[j]
        if start[j] == start[j + 1] and touched[j] == 0 and extra_at < 0:
            continue
        w_dec, w_enc = W_dec[j], W_enc[j]
        g_bias, radial = np.float32(0), np.float32(0)
        if extra_at >= 0:
            touched[j] = 1
            g_bias += extra_b_enc[extra_at]
            for t in range(D):
                g_dec[t] = extra_W_dec[extra_at, t]
                g_enc[t] = extra_W_enc[extra_at, t]
                radial += g_dec[t] * w_dec[t]
        else:
            for t in range(D):
                g_dec[t] = np.float32(0)
                g_enc[t] = np.float32(0)
        for at in range(start[j], start[j + 1]):
            i = entry[at] // K
            v = values[i, entry[at] - i * K]
            if v == 0 and relu:
                continue
            touched[j] = 1
            e = error[i]
            a, dot = scale * v, np.float32(0)
            for t in range(D):
                g_dec[t] += a * e[t]
                dot += e[t] * w_dec[t]
            g = scale * dot
            radial += v * g
            g_bias += g
            row = x[i]
            for t in range(D):
                g_enc[t] += g * row[t]
        if touched[j] == 0:
            continue
        if subtract and g_bias != 0:
            for t in range(D):
                b_dec[t] -= g_bias * w_enc[t]
        _adam(w_enc, g_enc, m_W_enc[j], v_W_enc[j], rate, correction, beta1, beta2, epsilon)
        m_b_enc[j] = beta1 * m_b_enc[j] + (one - beta1) * g_bias
        v_b_enc[j] = beta2 * v_b_enc[j] + (one - beta2) * g_bias * g_bias
        b_enc[j] -= rate * m_b_enc[j] / (np.sqrt(v_b_enc[j]) * correction + epsilon)
        if project:
            for t in range(D):
                g_dec[t] -= radial * w_dec[t]
        _adam(w_dec, g_dec, m_W_dec[j], v_W_dec[j], rate, correction, beta1, beta2, epsilon)
        if normalise:
            square = np.float32(0)
            for t in range(D):
                square += w_dec[t] * w_dec[t]
            factor = one / max(np.sqrt(square), np.float32(1e-12))
            for t in range(D):
                w_dec[t] *= factor
