"""Finished batches, a line of JSON each, beside what a capture writes elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Opens `path` to go on; a line that a kill cut off, and lines beyond `keep`, are dropped.

    Attributes:
        finished: what the lines say, those that are added among them.

    Args:
        keep: at most so many lines count.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.finished: list[Any] = []
        whole = 0
        if path.exists():
            with open(path, "rb") as file:
                for line in file:
                    if not line.endswith(b"\n") or (keep is not None and len(self.finished) >= keep):
                        break
                    self.finished.append(json.loads(line))
                    whole += len(line)
            os.truncate(path, whole)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in `close`)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, batch: Any) -> None:
        """One more batch: anything that JSON can hold, and gives back as it was."""
        self.finished.append(batch)
        self._file.write(json.dumps(batch, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """Everything added so far is on the disk afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
