"""In how many SAEs of other seeds each feature is found again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sae.analysis.matching_fates import THRESHOLD

if TYPE_CHECKING:
    import pandas as pd

    from sae.analysis.matching import Matching


def stability(matchings: Sequence[Matching], threshold: float = THRESHOLD) -> pd.DataFrame:
    """What several matchings of one SAE with SAEs of other seeds say about each of its living features.

    Returns:
        feature, seeds (how many others), found (in how many its one-to-one match is at or above the threshold),
        median_similarity (of its matches over the others, 0 where it had none).
    """
    import pandas as pd

    similar = np.column_stack([found.features["similarity"].to_numpy() for found in matchings])
    return pd.DataFrame(
        {
            "feature": matchings[0].features["feature"].to_numpy(np.int32),
            "seeds": np.full(len(similar), len(matchings), np.int32),
            "found": (similar >= threshold).sum(axis=1).astype(np.int32),
            "median_similarity": np.median(similar, axis=1),
        }
    )


def found_in(table: pd.DataFrame) -> pd.DataFrame:
    """How many features are found again in how many seeds: found (0 to all), features, share."""
    import pandas as pd

    seeds = int(table["seeds"].iloc[0]) if len(table) else 0
    features = np.bincount(table["found"], minlength=seeds + 1)
    return pd.DataFrame(
        {"found": np.arange(seeds + 1), "features": features, "share": features / max(len(table), 1)}
    )  # fmt: skip
