"""Words and tables of strangers: one printable line, and no more memory than a file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae.common.errors import UserError
from sae.common.parquet import check_parquet


def test_a_line_for_people_holds_nothing_that_turns_or_moves_text_and_ends_somewhere() -> None:
    assert str(UserError("a\nb \x1b[2J \u202egnp.exe \ud800 é 日本")) == r"a b \x1b[2J \u202egnp.exe \ud800 é 日本"
    assert len(str(UserError("x" * 10_000))) == 1000


def test_a_table_that_unpacks_to_gigabytes_is_refused_and_a_plain_one_is_not(tmp_path: Path) -> None:
    repeated = pa.DictionaryArray.from_arrays(np.zeros(4000, np.int32), ["x" * 1_000_000])
    pq.write_table(pa.table({"text": repeated}), tmp_path / "bomb.parquet", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 2_000_000
    with pytest.raises(UserError, match="bomb.parquet unpacks to more than the 268,435,456 bytes"):
        check_parquet(tmp_path / "bomb.parquet")
    pq.write_table(pa.table({"text": ["a", None, "bc"], "n": [1, 2, 3]}), tmp_path / "plain.parquet")
    check_parquet(tmp_path / "plain.parquet")
    with pytest.raises(UserError, match="more than the 10 that are read"):
        check_parquet(tmp_path / "plain.parquet", largest=10)
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(UserError, match="can't be read as parquet"):
        check_parquet(tmp_path / "noise.parquet")
