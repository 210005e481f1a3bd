"""What an experiment will cost: training from a probe of its steps, what comes after it from probes of its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from sae.analysis.codes import FeatureActivations
from sae.analysis.features import feature_table
from sae.analysis.pairs import PAIR_ENTRIES, correlated_pairs
from sae.common.lazily import lazily
from sae.evaluation.baselines import PCA_ROWS, RANDOM_ROWS, random_dictionary
from sae.evaluation.reconstruction import INTERVAL_PARTS, encode_rows, ev_interval
from sae.experiments.data import Data
from sae.models.topk import TopK
from sae.training.config import TrainingConfig
from sae.training.probe import Pilot, cell_key, over_k, parameters, run_bytes, total_seconds
from sae.training.streamed_rows import BUFFER_BYTES, chunk_rows_for

if TYPE_CHECKING:
    from sae.capture.store import Slice

PILOT_ROWS, PILOT_DIMENSIONS = 8192, 1024  # of slices that are small enough to be trained on by a probe
PROBE_ROWS = 256  # that are encoded
PROBE_FEATURES = 4096  # of tables; what grows with the square of d_sae is taken from there
PROBE_DIMENSIONS = 256  # of the eigenvectors; they take the cube of d_in


class Cost:
    """Seconds and bytes of runs on one slice, measured here and now on `device`."""

    def __init__(self, configs: Sequence[TrainingConfig], piece: Slice, device: str) -> None:
        import psutil

        self.startup_seconds = time.process_time()  # of a process that imports what a job does
        self.configs, self.device = configs, device
        parts = {"train": piece.train_rows, "validation": piece.validation_rows, "test": piece.test_rows}
        self.splits = {name: len(numbers) for name, numbers in parts.items() if len(numbers)}
        self.rows, self.d_in = len(piece.x), piece.x.shape[1]
        self._itemsize = piece.x.dtype.itemsize
        self._examples = int(piece.rows["example"].nunique())
        n = self.splits.get("train", 0)
        pilot = None
        if n <= PILOT_ROWS and self.d_in <= PILOT_DIMENSIONS and any(n < 2 * config.d_sae for config in configs):
            data = Data(piece, device)
            pilot = Pilot(data.rows(0), data.baselines.pca.components)
        # The first step also compiles the kernels, or reads them from their cache.
        self._training = total_seconds(configs, self.d_in, n, device, pilot)
        self._x = torch.randn(PROBE_ROWS, self.d_in, generator=torch.Generator().manual_seed(0))
        _make(_codes(64, 4, 64), np.eye(64, 8, dtype=np.float32))  # loads what tables need
        self._after = over_k(configs, self._afterwards)
        self._process = psutil.Process().memory_info().rss  # with all that was loaded; what the probes took is freed

    def run(self, config: TrainingConfig) -> float:
        """Seconds of a run, from its first step to its last table."""
        return self._training[cell_key(config)] + self._after[cell_key(config)] + self._intervals

    @lazily
    def slice_seconds(self) -> float:
        """Once for all runs of a slice: covariance, principal directions, and what they keep of each split."""
        x, d_in = self._x.to(self.device), self.d_in
        rows = x.double() if x.device.type != "mps" else x.cpu().double()
        each = _seconds(lambda: rows.T @ rows) / len(rows)
        taken = sum(min(count, PCA_ROWS) for count in self.splits.values())
        taken += min(self.splits["train"], PCA_ROWS)
        at = min(PROBE_DIMENSIONS, d_in)
        square = (rows[:, :at].T @ rows[:, :at]).cpu()
        return each * taken + _seconds(lambda: torch.linalg.eigh(square)) * (d_in / at) ** 3

    @property
    def memory_bytes(self) -> int:
        """The process, the rows or two buffers of them, principal directions, and the largest run: parameters, two
        moments and a batch."""
        n, d_in = self.splits["train"], self.d_in
        largest = max(self.configs, key=lambda config: run_bytes(config, d_in))
        streamed = chunk_rows_for(n, d_in, self.device, largest.chunk_rows)
        width = max(sum(config.widths(d_in)) for config in self.configs)
        rows = min(2 * BUFFER_BYTES * self._itemsize // 4, 2 * n * width * self._itemsize)
        return self._process + (rows if streamed else 4 * n * width) + 8 * d_in**2 + run_bytes(largest, d_in)

    def disk_bytes(self, config: TrainingConfig) -> int:
        """Weights, and feature activations twice."""
        return 4 * parameters(config, self.d_in) + 2 * 8 * self.rows * config.k

    @lazily
    def _intervals(self) -> float:
        n = min(self._examples, INTERVAL_PARTS)
        return 50 * _seconds(lambda: ev_interval(np.ones(n), np.ones(n), np.arange(n), resamples=20))

    def _afterwards(self, config: TrainingConfig) -> float:
        """Encoding all rows, the random dictionary, and the tables of features and pairs: as those of a TopK."""
        n, d_in, x = self.rows, self.d_in, self._x.to(self.device)
        model = TopK(d_in, config.d_sae, config.k).to(self.device)
        with torch.no_grad():
            model.W_dec.copy_(torch.randn(config.d_sae, d_in, generator=torch.Generator().manual_seed(0)) / d_in**0.5)
            model.W_enc.copy_(model.W_dec.T)
        given, mean = x.cpu().numpy(), np.zeros(d_in)
        encoding = _seconds(lambda: encode_rows(model, given, mean, self.device)) / len(x)
        splits = {"train": x}
        guessing = _seconds(lambda: random_dictionary(x, splits, config.d_sae, config.k)) / len(x)
        guessed = sum(min(count, RANDOM_ROWS) for count in self.splits.values())
        seeds = sum(cell_key(other) == cell_key(config) for other in self.configs)  # have it in common
        return encoding * n + guessing * guessed / seeds + self._tables(config, min(n, 4 * PROBE_ROWS))

    def _tables(self, config: TrainingConfig, rows: int) -> float:
        """Features are compared with features, and pairs are counted on rows: measured at few rows and at more."""
        d_sae = min(config.d_sae, PROBE_FEATURES)
        k = min(config.k, d_sae)
        W_dec = torch.randn(d_sae, self.d_in, generator=torch.Generator().manual_seed(0)).numpy()
        some, more = _codes(max(1, rows // 4), k, d_sae), _codes(rows, k, d_sae)
        few, many = _seconds(lambda: _make(some, W_dec)), _seconds(lambda: _make(more, W_dec))
        each = max(0.0, many - few) / max(1, more.n_rows - some.n_rows)
        fixed = max(0.0, few - each * some.n_rows)
        return fixed * (config.d_sae / d_sae) ** 2 + each * min(self.rows, PAIR_ENTRIES // k)


def _codes(rows: int, k: int, d_sae: int) -> FeatureActivations:
    """K of the features on each row: as in trained SAEs, some fire on many rows and most on few."""
    generator = np.random.default_rng(0)
    weights = 1 / (np.arange(d_sae) + 10.0)
    # The K largest of exponential clocks at these rates are a draw without replacement.
    drawn = np.argpartition(generator.exponential(size=(rows, d_sae)) / weights, k - 1, axis=1)[:, :k]
    return FeatureActivations.from_top(drawn, generator.random((rows, k)) + 0.1, d_sae)


def _make(codes: FeatureActivations, W_dec: np.ndarray) -> None:
    feature_table(codes, W_dec=W_dec, W_enc=np.ascontiguousarray(W_dec.T))
    correlated_pairs(codes, W_dec=W_dec)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
