"""Tables as files: what is read back is what was there."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd

from sae.report import tables

TABLE = pd.DataFrame(
    {
        "run": ["a_1", "b & c"],
        "ev_total": [0.92345678, np.nan],
        "dead": [0.125, 0.5],
        "n": [1, 2],
        "mixed": [1, "x"],
        "confirmed": [True, None],
    }
)


def test_csv_json_and_parquet_hold_the_same_numbers() -> None:
    plain = TABLE.drop(columns=["mixed", "confirmed"])
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(tables.csv(plain))), plain, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(tables.parquet(plain))), plain, check_dtype=False)
    assert [line["n"] for line in json.loads(tables.json(plain))] == [1, 2]
    back = pd.read_parquet(io.BytesIO(tables.parquet(TABLE)))
    assert back["mixed"].tolist() == ["1", "x"] and list(back.columns) == list(TABLE.columns)


def test_latex_prints_numbers_as_people_write_them() -> None:
    text = tables.latex(TABLE.drop(columns="mixed"), "Results of x_1")
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r"\\")]
    assert lines[1] == [r"a\_1", "0.923", r"12.5 \%", "1", "True"]
    assert r"b \& c & -- & 50.0 \% & 2 & --" in text
    assert r"\caption{Results of x\_1}" in text and r"\toprule" in text
