"""Free memory under the limits that a process may have."""

import subprocess
import sys

import psutil
import pytest

from sae.common import memory


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("kind", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_limits_of_the_process(kind):
    """A process that may have 1 GB more than it has."""
    code = f"""
import resource, psutil, torch
from sae.common.memory import free_memory
used = psutil.Process().memory_info()
taken = used.vms if "{kind}" == "RLIMIT_AS" else used.data
resource.setrlimit(resource.{kind}, (taken + 10**9, taken + 10**9))
print(free_memory("cpu"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.9e9 < int(done.stdout) <= 1e9


def test_without_limits_it_is_what_the_machine_has(monkeypatch):
    monkeypatch.setattr(memory, "_left_to_group", lambda: float("inf"))
    monkeypatch.setattr(memory, "_left_to_process", lambda: float("inf"))
    assert memory.free_memory("cpu") == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize(
    ("line", "folder", "names", "statistics"),
    [
        ("0::/job/step", "job", ("memory.max", "memory.current"), "active_file 30\ninactive_file 20\nanon 5\n"),
        (
            "4:memory:/job/step",
            "memory/job",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "active_file 1\ntotal_active_file 30\ntotal_inactive_file 20\n",
        ),
    ],
)
def test_a_limit_of_the_group_above(tmp_path, monkeypatch, line, folder, names, statistics):
    """1,000 bytes for the group above the own, of which 400 are used, 50 of those by files; no limit for the own."""
    here = tmp_path / folder
    (here / "step").mkdir(parents=True)
    (here / names[0]).write_text("1000\n")
    (here / names[1]).write_text("400\n")
    (here / "memory.stat").write_text(statistics)
    (here / "step" / names[0]).write_text("max\n")
    own = tmp_path / "cgroup"
    own.write_text(f"7:blkio:/\n{line}\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_GROUPS", own)
    assert memory._left_to_group() == 650
