"""The search benchmark's document, on small sizes; nothing here depends on how fast the machine is."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.search import Size, measure, planted, table


def test_planted_codes_and_their_vectors() -> None:
    codes, x = planted(Size(3_000, 512, 12, 32))
    assert len(codes) == 3_000 and x.shape == (3_000, 32) and np.isfinite(x).all()
    assert 8 < codes.counts.mean() < 13 and codes.counts.min() >= 1
    again, same = planted(Size(3_000, 512, 12, 32))
    np.testing.assert_array_equal(again.indices, codes.indices)
    np.testing.assert_array_equal(same, x)
    # Rows with the same bits point the same way, up to the noise.
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    shared = (np.unpackbits(codes.bits(), axis=1)[:200].astype(int) @ np.unpackbits(codes.bits(), axis=1)[:200].T) > 8
    np.fill_diagonal(shared, False)
    assert (unit[:200] @ unit[:200].T)[shared].mean() > 0.5


def test_the_document() -> None:
    size = measure(Size(2_000, 256, 8, 16), 6, 2, lambda text: None)
    document = json.loads(json.dumps({"threads": 2, "queries": 6, "sizes": [size]}))
    (found,) = document["sizes"]
    assert found["agree"] and found["chosen"] in ("lists", "bitmap")
    assert found["storage"]["bitmap"] == 256 and found["storage"]["dense"] == 512
    assert {"lists_hamming", "lists_jaccard", "bitmap_hamming", "bitmap_jaccard", "cosine_batch"} <= set(found["ms"])
    assert 0.2 < found["recall_at_10"]["hamming"] <= 1
    assert "| 2,000 | 256 |" in table(document)
    document["sizes"][0]["agree"] = False
    assert "did NOT find the same" in table(document)
