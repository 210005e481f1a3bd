"""What strangers may send: pickles that run something, JSON that is deep, huge or doubled, names that lead astray."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

#: Set before pickles are made: a file whose being there says that one of them was run.
CANARY = "SAE_TORTURE_CANARY"

NAMES = (
    "", "..", "../../escaped", "/tmp/escaped", "a/b", "x" * 5000, "W_enc", "k", "__proto__", "\u202egnp.exe", "a\nb",
    "\x1b[2J", "C:\\escaped", "manifest.json", "runs/../../escaped/config.json", "d_in", "\ud800",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, 2**31, 2**53 + 1, 2**63, 10**300, 1e308, float("nan"), float("inf"), "", "5",
    "topk", "x" * 100_000, "../../escaped", "/etc/passwd", "\u202e", "<script>", "\ud800", [], {}, [[]], [1, 2],
    {"k": 5}, ["topk"], [0] * 1000, [None, {}], {"": {"": {"": []}}}, [2**60, 2**60], [-1, 4], "F32", "I64", [0, 2**40],
)  # fmt: skip
JSON_TEXTS = (
    b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"1e999999", b"{}", b"[]", b"null", b'"text"', b"\xff\xfe{}",
    b"\xef\xbb\xbf{}", b"NaN", b'{"k": Infinity}', b'{"k": 1, "k": 2}', b"", b" " * 1000, b'{"a": "\\ud800"}',
)  # fmt: skip


class _Runs:
    """Pickled, it asks whoever opens it to call something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@cache
def pickles() -> list[bytes]:
    """Pickles that do harm where they are run: most would make the canary's file."""
    canary = os.environ.get(CANARY, "/nonexistent/canary")
    touch = f"open({canary!r}, 'w').close()"
    asked = [
        _Runs(os.system, f"touch {canary}"),
        _Runs(eval, touch),
        _Runs(exec, touch),
        _Runs(open, canary, "w"),
        _Runs(Path.touch, Path(canary)),
        _Runs(os.mkdir, canary),
        _Runs(torch.load, canary),
        _Runs(torch.zeros, 2**40),
        _Runs(bytearray, 2**40),
        _Runs(bytes, 2**36),
        {"encoder.weight": _Runs(eval, touch)},
        OrderedDict(encoder=_Runs(os.system, f"touch {canary}")),
    ]
    found = [pickle.dumps(one, protocol) for one in asked for protocol in (0, 2, 4)]
    # A tuple of itself twice, 40 times over: small in a pickle, 2^40 things for whoever goes through it.
    deep: Any = ("encoder.weight",)
    for _ in range(40):
        deep = (deep, deep)
    key = io.BytesIO()
    key.write(b"\x80\x02}" + pickle.dumps(deep, 2)[2:-1] + b"K\x01s.")
    lists: Any = ["k"]
    for _ in range(40):
        lists = [lists, lists]
    found += [key.getvalue(), pickle.dumps({"config": {"k": lists}, "model_state_dict": {}}, 2)]
    found += [b"\x80\x02" + b"(" * 100_000 + b".", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", b"\x80\x02N.",
              b"cposix\nsystem\n(S'touch " + canary.encode() + b"'\ntR."]  # fmt: skip
    return found


@cache
def tables() -> list[bytes]:
    """Parquet files that are in order and not what is expected; the last unpacks to gigabytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 60
    one_text = pa.DictionaryArray.from_arrays(np.zeros(4000, np.int32), ["x" * 1_000_000])
    found = [
        {"text": [None] * rows},
        {"text": [b"bytes"] * rows},
        {"text": [1.5] * rows, "label": ["a"] * rows},
        {"c": [[1.0, 2.0]] * 30 + [[1.0]] * 30},
        {"c": [[None, 1.0]] * rows},
        {"c": [None] + [[1.0]] * 59},
        {"c": [[]] * rows},
        {"c": [[["nested"]]] * rows},
        {"c": [{"a": 1}] * rows},
        {"a\u202e": [float("nan")] * rows, "b": [float("inf")] * rows},
        {"step": ["a"] * rows, "loss": [None] * rows},
        {"feature": [2**62] * rows, "n_active": [-1] * rows},
        {"x": pa.array([], pa.float32())},
        {"x": pa.array([2**63] * rows, pa.uint64())},
        {"x": pa.array([0] * rows, pa.timestamp("ns"))},
        {},
        {"x": pa.DictionaryArray.from_arrays(np.zeros(2**20, np.int32), pa.array([1.0]))},
        {"text": one_text, "step": one_text, "loss": one_text},
    ]
    made = []
    for columns in found:
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, store_schema=False)
        made.append(file.getvalue())
    return made
