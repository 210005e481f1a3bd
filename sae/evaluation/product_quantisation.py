"""Product quantisation (Jégou, Douze and Schmid 2011): m sub-vectors, each replaced by one of 256 centroids."""

from __future__ import annotations

import numpy as np

from sae.common.errors import UserError

CENTROIDS = 256
BITS = 8
_ITERATIONS = 25


class ProductQuantiser:
    """A row of d_in numbers becomes m bytes.

    Attributes:
        spans: the dimensions of each sub-quantiser, as even as they can be.
        centroids: float32 [at most 256, width] each.
    """

    def __init__(self, spans: list[slice], centroids: list[np.ndarray]) -> None:
        self.spans, self.centroids = spans, centroids

    @classmethod
    def fit(cls, x: np.ndarray, m: int, seed: int = 0) -> ProductQuantiser:
        """k-means of each sub-vector of the rows x [n, d_in], started by k-means++, at most 25 rounds.

        Raises:
            UserError: if m is below 1 or above d_in, or there are fewer than two rows.
        """
        import warnings

        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        n, d_in = x.shape
        if not 1 <= m <= d_in:
            raise UserError(f"{m} sub-quantisers must be at least 1 and at most the {d_in} dimensions")
        if n < 2:
            raise UserError(f"product quantisation needs two rows to fit at least, not {n}")
        edges = np.linspace(0, d_in, m + 1).round().astype(int)
        spans = [slice(int(low), int(high)) for low, high in zip(edges[:-1], edges[1:], strict=True)]
        centroids = []
        for number, span in enumerate(spans):
            part = np.ascontiguousarray(x[:, span], np.float32)
            count = min(CENTROIDS, n)
            fitted = KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=seed * 1_000_003 + number)
            with warnings.catch_warnings():  # fewer different values than centroids: some are not needed
                warnings.simplefilter("ignore", ConvergenceWarning)
                centroids.append(fitted.fit(part).cluster_centers_.astype(np.float32))
        return cls(spans, centroids)

    @property
    def bits(self) -> int:
        """Of a row; the centroids are kept once."""
        return BITS * len(self.spans)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """uint8 [n, m]: the nearest centroid of each sub-vector of x [n, d_in]."""
        codes = np.empty((len(x), len(self.spans)), np.uint8)
        for at, (span, centroids) in enumerate(zip(self.spans, self.centroids, strict=True)):
            part = np.asarray(x[:, span], np.float32)
            codes[:, at] = (np.square(centroids).sum(1) - 2 * part @ centroids.T).argmin(1)
        return codes

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """float32 [n, d_in] of codes [n, m]."""
        parts = [centroids[codes[:, at]] for at, centroids in enumerate(self.centroids)]
        return np.concatenate(parts, axis=1)

    def similarity(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Asymmetric cosine, float32 [q, n]: of queries as they are with rows as they were quantised.

        It is read off a table of each sub-quantiser's 256 products and never decodes a row.
        """
        dot = np.zeros((len(queries), len(codes)), np.float32)
        square = np.zeros(len(codes), np.float32)
        for at, (span, centroids) in enumerate(zip(self.spans, self.centroids, strict=True)):
            dot += (np.asarray(queries[:, span], np.float32) @ centroids.T)[:, codes[:, at]]
            square += np.square(centroids).sum(1)[codes[:, at]]
        norms = np.linalg.norm(np.asarray(queries, np.float32), axis=1)[:, None] * np.sqrt(square)
        return dot / np.maximum(norms, 1e-12)
