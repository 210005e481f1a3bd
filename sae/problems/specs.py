"""Problems by a short spec, as the command line and the pages take it."""

from __future__ import annotations

import os
from typing import Any

from sae.common.errors import UserError

from .examples import ProblemSet
from .generator import generate
from .gsm8k import load_hub, read_jsonl
from .texts import names_texts

#: How many problems `generated` makes if nothing else is said.
DEFAULT_GENERATED = 1_000

#: The third part of `generated:N:PART`.
GENERATED_PARTS: dict[str, dict[str, Any]] = {
    "seen": {},
    "unseen-numbers": {"numbers": "unseen"},
    "unseen-phrasings": {"phrasings": "unseen"},
    "unseen-templates": {"templates": "unseen", "phrasings": "all", "numbers": "all"},
    "all": {"templates": "all", "phrasings": "all", "numbers": "all"},
}


def load(spec: str | os.PathLike[str], *, limit: int | None = None, seed: int = 0) -> ProblemSet:
    """Problems from a file, the hub or the generator.

    Args:
        spec: the path of a `.jsonl` file; `gsm8k` or `gsm8k:test` (the hub; `gsm8k` is the training split);
            or `generated`, `generated:1500` or `generated:1500:PART` with a part of `GENERATED_PARTS` (`seen`
            if none is given: nothing that is held out).
        limit: at most so many problems.
        seed: of the generator; the others do not use it.

    Raises:
        UserError: an unknown spec, a source that cannot be read, or one without a single readable problem.
    """
    text = os.fspath(spec)
    kind, *rest = text.split(":")
    if kind == "generated" and len(rest) <= 2:
        return _generated(rest, limit, seed)
    if kind == "gsm8k" and len(rest) <= 1:
        return load_hub(rest[0] if rest else "train", limit=limit)
    if text.endswith((".jsonl", ".JSONL")) or os.path.isfile(text):
        return _file(text, limit)
    raise UserError(
        f"unknown problems {text!r}: give the path of a .jsonl file, 'gsm8k', 'gsm8k:test', 'generated' or "
        "'generated:1500'; a capture takes texts, too: a .txt file, a .jsonl file with text, or hub:OWNER/NAME"
    )


def _file(path: str, limit: int | None) -> ProblemSet:
    if names_texts(path):
        raise UserError(f"{path!r} has texts and no problems with question and answer: only a capture can take it")
    problems = read_jsonl(path, limit)
    if not problems.examples:
        reason = f"the first: {problems.skipped[0]}" if problems.skipped else "it is empty"
        raise UserError(f"no problem could be read from {path!r} ({reason})")
    return problems


def _generated(rest: list[str], limit: int | None, seed: int) -> ProblemSet:
    if limit is not None and limit < 1:
        raise UserError(f"the number of problems must be at least 1, not {limit!r}")
    count, part = (rest + ["", ""])[:2]
    if count and not (count.isascii() and count.isdecimal() and len(count) <= 9):
        raise UserError(f"'generated:' needs a number of problems after it, such as generated:1500, not {count!r}")
    part = part or "seen"
    if part not in GENERATED_PARTS:
        raise UserError(f"generated problems have the parts {', '.join(GENERATED_PARTS)}, not {part!r}")
    n = int(count) if count else DEFAULT_GENERATED
    return generate(n if limit is None else min(n, limit), seed, **GENERATED_PARTS[part])
