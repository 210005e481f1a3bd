"""How much memory a process may still take."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def free_memory(device: str) -> int:
    """Bytes that are free on a torch device: on a CPU no more than limits of the process and its control group leave.

    Page cache counts as free.
    """
    import torch

    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return max(0, min(psutil.virtual_memory().available, _left_to_group(), _left_to_process()))


def _left_to_process() -> float:
    """What `ulimit -d` and `ulimit -v` leave."""
    try:
        import resource
    except ImportError:  # Windows
        return float("inf")
    import psutil

    used = psutil.Process().memory_info()
    left = float("inf")
    for name, taken in (("RLIMIT_DATA", getattr(used, "data", used.rss)), ("RLIMIT_AS", used.vms)):
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY:
            left = min(left, limit - taken)
    return left


def _left_to_group() -> float:
    """What the memory limits of the process's control groups leave (containers, SLURM), of version 1 or 2."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("inf")
    left = float("inf")
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            root, limit, usage, cache = _CGROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        elif controllers == "":
            root, limit, usage, cache = _CGROUPS, "memory.max", "memory.current", ""
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            left = min(left, _left(folder / limit, folder / usage, folder / "memory.stat", cache))
            if folder == root:
                break
    return left


def _left(limit: Path, usage: Path, statistics: Path, prefix: str) -> float:
    try:
        most, used = int(limit.read_text()), int(usage.read_text())
        stated = dict(line.split() for line in statistics.read_text().splitlines())
    except (OSError, ValueError):  # no limit (`max`), or none here
        return float("inf")
    cache = sum(int(stated.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return most - used + cache
