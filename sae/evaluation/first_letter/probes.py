"""Probes for the first letter: on a model's states, and on a few of an SAE's features each.

As SAEBench 0.6.0 trains them: one logistic probe a letter, by Adam on minibatches, positives weighted; features are
taken in the order of the weights of an L1 probe, and fitted anew, k of them at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sae.evaluation.first_letter.prompts import LETTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from scipy.sparse import csr_matrix
    from torch import Tensor

_LAST_RATE = 1e-5
_STEPS = 8  # an epoch, at least


class Probe(NamedTuple):
    """One direction a letter: float32 [26, d] and [26]; a letter without training words has zeros and -1."""

    weights: np.ndarray
    bias: np.ndarray

    def scores(self, x: np.ndarray) -> np.ndarray:
        """[n, 26]; above 0 is a letter that the probe sees."""
        return x @ self.weights.T + self.bias


def train(
    rows: Callable[[np.ndarray], Tensor],
    width: int,
    letters: np.ndarray,
    *,
    batch: int,
    epochs: int = 50,
    rate: float = 0.01,
    weight_decay: float,
    l1: float = 0.0,
    seed: int,
) -> Probe:
    """One logistic probe a letter, all at once.

    Args:
        rows: gives the rows of some numbers as float [m, width].
        letters: int [n], of each row.
        l1: times the mean over letters of the sum of |weight|, added to the loss.
    """
    import torch

    torch_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        probe = torch.nn.Linear(width, len(LETTERS))
        order = torch.Generator().manual_seed(seed)
        wanted = torch.from_numpy(np.eye(len(LETTERS), dtype=np.float32)[letters])
        positives = wanted.sum(0)
        weight = (len(letters) - positives) / positives.clamp_min(1)
        device = rows(np.arange(1)).device
        probe, wanted = probe.to(device), wanted.to(device)
        loss_of = torch.nn.BCEWithLogitsLoss(pos_weight=weight.to(device))
        optimizer = torch.optim.Adam(probe.parameters(), lr=rate, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (_LAST_RATE / rate) ** (1 / epochs))
        for _ in range(epochs):
            for numbers in torch.randperm(len(letters), generator=order).split(batch):
                optimizer.zero_grad()
                loss = loss_of(probe(rows(numbers.numpy())), wanted[numbers])
                if l1:
                    loss = loss + l1 * probe.weight.abs().sum(-1).mean()
                loss.backward()
                optimizer.step()
            schedule.step()
    finally:
        torch.random.set_rng_state(torch_state)
    weights, bias = probe.weight.detach().cpu().numpy().copy(), probe.bias.detach().cpu().numpy().copy()
    lacking = positives.numpy() == 0
    weights[lacking], bias[lacking] = 0, -1
    return Probe(weights, bias)


def f1_of(letters: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """F1 of each letter, [26]: scores [n, 26] above 0 say that it is the one; 0 where nothing is found."""
    found, true = scores > 0, letters[:, None] == np.arange(len(LETTERS))
    both = (found & true).sum(0)
    total = found.sum(0) + true.sum(0)
    return np.divide(2 * both, total, out=np.zeros(len(LETTERS)), where=total > 0)


def main_features(
    train_codes: csr_matrix,
    train_letters: np.ndarray,
    test_codes: csr_matrix,
    test_letters: np.ndarray,
    *,
    most: int = 10,
    jump: float = 0.03,
    l1: float = 0.01,
    batch: int = 4096,
    seed: int,
    tick: Callable[[int], None] = lambda letter: None,
) -> tuple[list[list[int]], np.ndarray]:
    """The features that stand for each letter.

    Of the features with the largest weights in an L1 probe, one more is taken as long as the F1 of a logistic fit on
    them, on the test words, rises by more than `jump`.

    Returns:
        Features by letter, and F1 by letter with these features, [26].
    """
    import torch

    def rows(numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(train_codes[numbers].toarray().astype(np.float32))

    width = train_codes.shape[1]
    # With fewer words than SAEBench takes, batches of its size would leave too few steps to learn anything.
    batch = min(batch, max(1, len(train_letters) // _STEPS))
    probe = train(rows, width, train_letters, batch=batch, weight_decay=1e-6, l1=l1, seed=seed)
    by_feature = {"train": train_codes.tocsc(), "test": test_codes.tocsc()}
    chosen, reached = [], np.zeros(len(LETTERS))
    for letter in range(len(LETTERS)):
        tick(letter)
        order = np.argsort(-probe.weights[letter], kind="stable")[:most]
        best, kept = -np.inf, 0
        for k in range(1, len(order) + 1):
            f1 = _f1_with(by_feature, order[:k], train_letters == letter, test_letters == letter)
            if not f1 > best + jump:
                break
            best, kept = f1, k
        chosen.append(order[:kept].tolist())
        reached[letter] = max(best, 0.0)
    return chosen, reached


def _f1_with(codes: dict[str, Any], features: np.ndarray, train_true: np.ndarray, test_true: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    if train_true.all() or not train_true.any():
        return 0.0
    fitted = LogisticRegression(max_iter=500, class_weight="balanced").fit(
        codes["train"][:, features].toarray(), train_true
    )
    scores = fitted.decision_function(codes["test"][:, features].toarray())
    return float(f1_score(test_true, scores > 0, zero_division=0.0))
