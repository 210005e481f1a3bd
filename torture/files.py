"""Hostile files: files that are in order are mutated, from a seed, and given to their importer.

    python -m torture.files --n 10000 --seed 0 --out files.json

A trial passes when the importer takes the file, or refuses it by a UserError of one line. It fails when anything
else is raised, something is run or written outside of the workspace, memory grows by more than a file of this size asks
for, or it takes longer than a person waits. Trials run in a process of their own, so that one that dies counts as one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from sae.common.errors import UserError
from sae.workspace import Workspace
from torture import corpus
from torture.guard import Guard
from torture.hostile import CANARY
from torture.mutations import mutated
from torture.shared import report

MOST_MEMORY = 512 << 20  # bytes more than before the trial
LONGEST = 20  # s of computing; three times as long by the clock
ROOM = 4 << 30  # address space beyond what the process has when it begins


class TooLong(BaseException):
    """Raised by the alarm; importers that catch Exception let it pass."""


def trial(number: int, seed: int, workspace: Workspace, entries: list[corpus.Entry], guard: Guard) -> dict[str, Any]:
    """One mutated input, taken. Returns `entry`, `mutation`, `outcome` (`taken`, `refused` or `failed`) and `said`."""
    draw = random.Random(f"{seed}:{number}")
    entry = draw.choice(entries)
    files = dict(entry.files)
    name = draw.choice(sorted(files))
    done: list[str] = []

    def change(member: str, content: bytes) -> bytes:
        content, how = mutated(member, content, draw)
        done.append(f"{member}: {how}")
        return content

    if name.endswith(".zip") and draw.random() < 0.7:
        files[name] = corpus.inside(files[name], change, draw.choice)
    else:
        files[name] = change(name, files[name])
    place = guard.root / "inside" / "input"
    place.mkdir()
    try:
        for file, content in files.items():
            (place / file).write_bytes(content)
        outcome, said = _taken(entry, place, workspace, guard)
    finally:
        shutil.rmtree(place)
    return {"entry": entry.name, "mutation": "; ".join(done), "outcome": outcome, "said": said}


def _taken(entry: corpus.Entry, place: Path, workspace: Workspace, guard: Guard) -> tuple[str, str]:
    before, started = _memory(begin=True), time.process_time()
    outcome, said = "taken", ""
    try:
        with guard:
            entry.take(place, workspace)
    except UserError as error:
        outcome, said = "refused", str(error)
        if wrong := _not_one_line(said):
            outcome = f"failed: its line {wrong}"
    except TooLong:
        outcome = f"failed: it takes longer than {3 * LONGEST} s"
    except BaseException as error:  # whatever it is, it is what the trial is about
        outcome, said = f"failed: {type(error).__name__}", "".join(traceback.format_exception(error))[-3000:]
    if guard.seen:
        outcome, said = "failed: it did what no importer may", "; ".join(guard.seen)[:1000]
    grown = _memory() - before
    if grown > MOST_MEMORY:
        outcome, said = f"failed: {grown >> 20:,} MB more memory", said
    if (took := time.process_time() - started) > LONGEST:
        outcome = f"failed: it took {took:.0f} s"
    return outcome, said


def _not_one_line(text: str) -> str | None:
    if "\n" in text or len(text) > 10 * UserError.LONGEST:
        return f"has {len(text):,} characters"
    hidden = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    return f"holds {hidden[0]!a}" if hidden else None


def _memory(begin: bool = False) -> int:
    """The most memory that this process took since the last `begin`, which gives what it takes then; in bytes."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if begin:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def set_up(folder: Path) -> tuple[Workspace, list[corpus.Entry], Guard]:
    """What trials need, in an empty folder; each entry of the corpus is taken once, as it is in order.

    Raises:
        UserError: if one is not taken, which would make trials of it worthless.
    """
    guard = Guard(folder)
    os.environ[CANARY] = str(guard.canary)
    workspace, entries = corpus.make(folder / "inside")
    for entry in entries:
        place = folder / "inside" / "input"
        place.mkdir()
        for name, content in entry.files.items():
            (place / name).write_bytes(content)
        entry.take(place, workspace)
        shutil.rmtree(place)
    return workspace, entries, guard


def _alarm(*_: Any) -> None:
    raise TooLong


def _work(first: int, n: int, seed: int, out: Path) -> None:
    """The process of its own: one line a trial, the number before, the outcome after."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")  # of the mutations: zipfile writes a name twice when it is told to
    size = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    if size:
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as scratch, open(out, "a", encoding="utf-8") as file:
        workspace, entries, guard = set_up(Path(scratch))
        for number in range(first, n):
            file.write(f"{number}\n")
            file.flush()
            signal.setitimer(signal.ITIMER_REAL, 3 * LONGEST)
            found = trial(number, seed, workspace, entries, guard)
            signal.setitimer(signal.ITIMER_REAL, 0)
            file.write(json.dumps({"number": number, **found}) + "\n")
            file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", nargs=2, metavar=("FIRST", "LINES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        _work(int(options.work[0]), options.n, options.seed, Path(options.work[1]))
        return
    started = time.monotonic()
    done: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "lines"
        while len(done) < options.n:
            first = max(done, default=-1) + 1
            words = [sys.executable, "-m", "torture.files", "--n", str(options.n), "--seed", str(options.seed)]
            ended = subprocess.run([*words, "--work", str(first), str(lines)], check=False)
            last = -1
            for line in lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []:
                if line.startswith("{"):
                    found = json.loads(line)
                    done[found["number"]] = found
                else:
                    last = int(line)
            if ended.returncode and last in done or last < first:
                raise SystemExit(f"the trials could not go on after number {last} (exit code {ended.returncode})")
            if last not in done:
                done[last] = {
                    "entry": "?",
                    "mutation": "?",
                    "outcome": f"failed: exit code {ended.returncode}",
                    "said": "",
                }
    failed = [{"number": number, **found} for number, found in sorted(done.items()) if found["outcome"].startswith("f")]
    by_entry = Counter((found["entry"], found["outcome"].partition(":")[0]) for found in done.values())
    entries = sorted({entry for entry, _ in by_entry})
    result = {
        "n": options.n,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started),
        "outcomes": dict(Counter(found["outcome"].partition(":")[0] for found in done.values())),
        "by_importer": {
            entry: {outcome: by_entry[entry, outcome] for outcome in ("taken", "refused", "failed")}
            for entry in entries
        },
        "failed": failed[:50],
    }
    report("files", result, options.out)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
