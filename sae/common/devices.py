"""The device that work runs on, chosen by name and described for people."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from sae.common.errors import UserError

NAMES = ("auto", "cuda", "mps", "cpu")


@dataclass(frozen=True)
class Device:
    """`name` is what torch takes; memory in bytes, free at the time of asking (None where it can't be known)."""

    name: str
    title: str
    free_memory: int | None
    total_memory: int | None


def available() -> list[Device]:
    """Every device here, the fastest first. Imports torch."""
    import psutil
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), free, total))
    memory = psutil.virtual_memory()
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", memory.available, memory.total))
    found.append(Device("cpu", f"{_cpu_name()}, {os.cpu_count()} cores", memory.available, memory.total))
    return found


def choose(name: str = "auto") -> str:
    """The torch device for `name` (`auto`, `cuda`, `cuda:1`, `mps`, `cpu`): for `auto` the fastest that is here.

    Raises:
        UserError: if that device is not on this machine.
    """
    names = [device.name for device in available()]
    if name == "auto":
        return names[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in names:
        raise UserError(f"device {name!r} is not on this machine; here are: {', '.join(names)}")
    return wanted


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"
