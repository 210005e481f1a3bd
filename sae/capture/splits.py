"""Which examples are for training and which are held out: decided by example, never by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
SHARE = 0.2
SEED = 42


def split_examples(examples: pd.DataFrame) -> tuple[np.ndarray, dict[str, Any]]:
    """The split of each example, and how it came about (for the manifest).

    Without columns that say otherwise 20 % are held out as `validation` with
    `sklearn.model_selection.train_test_split(np.arange(n), test_size=0.2, random_state=42)`: 7,473 examples
    become 5,978 and 1,495. A column `group` keeps the examples of a group together (`GroupShuffleSplit`, same
    share and seed; an example without a group is a group of its own). A column `split` wins; if it names `train`
    but no `validation`, its `train` examples are divided as above and the others stay where they are.

    Returns:
        An array of `train`, `validation` and `test` [n_examples], and {"method", "seed", "test_size", "counts"}.

    Raises:
        UserError: if `split` holds anything else, or if there are groups but only one.
    """
    n = len(examples)
    how: dict[str, Any] = {"seed": SEED, "test_size": SHARE}
    if "split" in examples:
        split = np.array([str(value) for value in examples["split"]], dtype=object)
        if len(wrong := np.flatnonzero(~np.isin(split, SPLITS))):
            raise UserError(
                f"example {wrong[0]} has split {split[wrong[0]]!r}: the column 'split' takes train, validation and test"
            )
        how["method"] = "given"
        if "train" in split and "validation" not in split:
            trained = np.flatnonzero(split == "train")
            held, method = _held_out(examples.iloc[trained])
            split[trained[held]] = "validation"
            how["method"] = f"given, its train examples divided by {method}"
    else:
        split = np.full(n, "train", dtype=object)
        held, how["method"] = _held_out(examples)
        split[held] = "validation"
    how["counts"] = {name: int((split == name).sum()) for name in SPLITS if (split == name).any()}
    return split, how


def with_test(examples: pd.DataFrame, test: pd.DataFrame) -> pd.DataFrame:
    """`examples`, then `test` with the split `test`: the former get their splits by themselves, as if alone.

    Columns that only one of them has are empty for the other.
    """
    import pandas as pd

    own = examples if "split" in examples else examples.assign(split="train")
    return pd.concat([own, test.assign(split="test")], ignore_index=True)


def _held_out(examples: pd.DataFrame) -> tuple[np.ndarray, str]:
    """The numbers of the examples that are held out, and the method."""
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    n = len(examples)
    if "group" in examples and (known := examples["group"].notna().to_numpy()).any():
        names = [str(g) if k else f"\0{i}" for i, (g, k) in enumerate(zip(examples["group"], known, strict=True))]
        groups = np.unique(np.array(names, dtype=object), return_inverse=True)[1]
        if groups.max() == 0:
            raise UserError("all examples are of one group and can't be split: give a column 'split', or other groups")
        halves = GroupShuffleSplit(n_splits=1, test_size=SHARE, random_state=SEED).split(groups, groups=groups)
        return next(halves)[1], "group"
    if n < 2:
        return np.array([], dtype=np.int64), "example"
    return train_test_split(np.arange(n), test_size=SHARE, random_state=SEED)[1], "example"
