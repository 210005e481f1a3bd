"""What becomes of each feature in another SAE: matched, split, merged, weak or lost; and its family across sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.matching import Matching

FATES = ("matched", "split", "merged", "weak", "lost")
THRESHOLD = 0.7


def fates(found: Matching, threshold: float = THRESHOLD) -> pd.DataFrame:
    """`found.features` with what becomes of each in the other SAE.

    With i's family the features of the other whose most similar feature here is i, with a similarity at or above the
    threshold:
    - split: the family has two features or more;
    - merged: i's most similar feature there is at or above the threshold and is that of another feature here as well
      that is at or above the threshold with it;
    - matched: neither, and its one-to-one partner is at or above the threshold;
    - lost: its largest similarity is not above what chance reaches in 999 of 1,000 cases (`found.floor`);
    - weak: what is left: alike above chance, below the threshold.

    Returns:
        The lines of `found.features` with `fate` and `family` (how many features of the other it has).

    Raises:
        UserError: if the threshold does not lie between 0 and 1.
    """
    _check(threshold)
    table = found.features
    children = _counts(found.others, threshold, table["feature"])
    shared = _counts(table, threshold, found.others["feature"])
    near = table["nearest_similarity"].to_numpy() >= threshold
    place = np.searchsorted(found.others["feature"].to_numpy(), table["nearest"].to_numpy())
    together = np.zeros(len(table), bool)
    together[near] = shared[place[near]] >= 2
    fate = np.select(
        [
            children >= 2,
            together,
            table["similarity"].to_numpy() >= threshold,
            table["nearest_similarity"].to_numpy() <= found.floor,
        ],
        ["split", "merged", "matched", "lost"],
        "weak",
    )
    return table.assign(fate=fate.astype(object), family=children)


def counted(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """How many features of each SAE have which fate: fate, first, second, first_share, second_share (of the living).

    Args:
        first, second: of `fates`, seen from either SAE.
    """
    import pandas as pd

    lines = []
    for fate in FATES:
        one, other = (int((table["fate"] == fate).sum()) for table in (first, second))
        lines.append((fate, one, other, one / max(len(first), 1), other / max(len(second), 1)))
    return pd.DataFrame(lines, columns=["fate", "first", "second", "first_share", "second_share"])


def family_tree(steps: Sequence[Matching], feature: int, threshold: float = THRESHOLD) -> pd.DataFrame:
    """The descendants of a feature of the smallest of several SAEs, size by size.

    A feature of the next larger SAE is the child of the feature of the smaller one that it is most similar to, if that
    is at or above the threshold.

    Args:
        steps: the matchings of each SAE with the next larger one, the smallest first.

    Returns:
        A line a feature: generation (0: the feature itself), feature, parent (-1 for the first), similarity (with the
        parent; 1 for the first), in the order in which a tree is drawn: each parent's children together, the most
        similar first.
    """
    import pandas as pd

    _check(threshold)
    lines = [(0, feature, -1, 1.0)]
    parents = [feature]
    for generation, step in enumerate(steps, start=1):
        near = step.others[step.others["nearest_similarity"] >= threshold]
        found = []
        for parent in parents:
            children = near[near["nearest"] == parent]
            children = children.sort_values(["nearest_similarity", "feature"], ascending=[False, True])
            found += [
                (generation, int(child), parent, float(value))
                for child, value in zip(children["feature"], children["nearest_similarity"], strict=True)
            ]
        lines += found
        parents = [line[1] for line in found]
    return pd.DataFrame(lines, columns=["generation", "feature", "parent", "similarity"])


def family_sizes(steps: Sequence[Matching], threshold: float = THRESHOLD) -> pd.DataFrame:
    """For every living feature of the smallest SAE how many descendants it has in each larger one.

    Returns:
        feature, and `generation_1`, `generation_2`, ... for each of `steps`.
    """
    import pandas as pd

    _check(threshold)
    first = steps[0].features["feature"].to_numpy()
    table = {"feature": first}
    ancestor = {int(feature): place for place, feature in enumerate(first)}
    for generation, step in enumerate(steps, start=1):
        near = step.others[step.others["nearest_similarity"] >= threshold]
        after: dict[int, int] = {}
        for child, parent in zip(near["feature"], near["nearest"], strict=True):
            if int(parent) in ancestor:
                after[int(child)] = ancestor[int(parent)]
        table[f"generation_{generation}"] = np.bincount(
            np.fromiter(after.values(), np.int64, len(after)), minlength=len(first)
        )
        ancestor = after
    return pd.DataFrame(table)


def _counts(near: pd.DataFrame, threshold: float, features: pd.Series) -> np.ndarray:
    """[len(features)]: of how many lines each feature is the nearest, at or above the threshold."""
    kept = near.loc[near["nearest_similarity"] >= threshold, "nearest"]
    return kept.value_counts().reindex(features, fill_value=0).to_numpy(np.int64)


def _check(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise UserError(f"threshold {threshold} must lie above 0 and not above 1")
