"""Rows on disk for the benchmarks of scale, and a limit on the memory of this process."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import psutil


def random_rows(path: Path, n: int, d_in: int, dtype: str = "float16") -> np.ndarray:
    """`path`, an npy file of n random rows [n, d_in], written if it is not there, out of the page cache; mapped."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(0)
        # Different everywhere, at the speed of the disk: a block of normal numbers, turned a little further each time.
        block = generator.standard_normal((4096, d_in), dtype=np.float32).astype(dtype)
        partial = path.with_suffix(".part")
        with open(partial, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": f"<{np.dtype(dtype).str[1:]}", "fortran_order": False, "shape": (n, d_in)}
            )
            for start in range(0, n, len(block)):
                count = min(len(block), n - start)
                file.write(np.ascontiguousarray(np.roll(block, 1 + start // len(block), axis=1)[:count]).data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    forget(path)
    return np.load(path, mmap_mode="r")


def forget(path: Path) -> None:
    """Take a file out of the page cache, so that it is read from the disk."""
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def limit_memory(gigabytes: float) -> None:
    """Refuse this process more private memory (`RLIMIT_DATA`: heap and private maps, not the page cache)."""
    most = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def private_bytes() -> int:
    """What counts against `limit_memory` now."""
    return psutil.Process().memory_info().data
