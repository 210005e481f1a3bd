"""Parquet from strangers: a file of a megabyte may hold a text of a megabyte a million times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae.common.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 256 * 2**20
_ROWS = 65_536


def check_parquet(path: Path, largest: int = LARGEST) -> None:
    """Go through a file once, with repeated texts kept once, and add up what it takes when all is written out.

    Args:
        largest: bytes.

    Raises:
        UserError: if it takes more, or can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, claimed = file.schema_arrow, file.metadata
            sizes = [claimed.row_group(i).total_byte_size for i in range(claimed.num_row_groups)]
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
        if sum(sizes) > largest:
            raise UserError(f"{path.name} holds {sum(sizes):,} bytes: more than the {largest:,} that are read")
        total = 0
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                batch.validate(full=True)  # texts are UTF-8, offsets lie inside
                total += sum(_written_out(column) for column in batch.columns)
                if total > largest:
                    raise UserError(f"{path.name} unpacks to more than the {largest:,} bytes that are read")
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise UserError(f"{path.name} can't be read as parquet ({str(error)[:200]})") from None


def _written_out(column: pa.Array) -> int:
    """Bytes of a column without a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths: Any = pc.binary_length(column.dictionary)
    return 8 * len(column) + int(pc.sum(lengths.cast(pa.int64()).take(column.indices)).as_py() or 0)
