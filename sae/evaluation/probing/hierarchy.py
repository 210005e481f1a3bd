"""Which labels are kinds of others: a child is never there without its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

#: Groups of a child would all have a label of the parent's frequency with at most this chance.
LARGEST_CHANCE = 1e-6


def implications(having: csc_matrix, group: np.ndarray, largest_chance: float = LARGEST_CHANCE) -> dict[int, list[int]]:
    """The direct children of every label that has some, by label, both ascending.

    Label i is a kind of j if every unit with i has j, not the other way round, and r_j^g_i <= `largest_chance`, with
    r_j the share of groups that have j and g_i the number of groups with i: a common label holds for all units of a
    rare one by chance. Of a chain of kinds only neighbours count: not j above i where another stands between them.

    Args:
        having: bool [n_units, n_labels]. group: int [n_units], from 0 on.
    """
    from scipy.sparse import csr_matrix

    n, n_labels = having.shape
    own = having.astype(np.int32)
    together = (own.T @ own).tocsr()
    count = np.asarray(own.sum(axis=0)).reshape(-1)
    of_group = csr_matrix((np.ones(n, np.int32), (group, np.arange(n))), shape=(int(group.max(initial=-1)) + 1, n))
    groups = np.asarray(((of_group @ own) > 0).sum(axis=0)).reshape(-1)
    share = groups / max(of_group.shape[0], 1)
    above: dict[int, set[int]] = {}
    for child in range(n_labels):
        span = slice(together.indptr[child], together.indptr[child + 1])
        other, both = together.indices[span], together.data[span]
        every = (both == count[child]) & (count[other] > count[child])
        with np.errstate(divide="ignore"):
            unlikely = groups[child] * np.log(share[other]) <= np.log(largest_chance)
        above[child] = set(other[every & unlikely].tolist())
    children: dict[int, list[int]] = {}
    for child, parents in above.items():
        between = {further for parent in parents for further in above[parent]}
        for parent in parents - between:
            children.setdefault(parent, []).append(child)
    return {parent: sorted(found) for parent, found in sorted(children.items())}
