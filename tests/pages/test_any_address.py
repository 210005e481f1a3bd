"""An address may hold anything: somebody typed it, cut it, or kept it since another version. Every page still opens."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
#: Every word in quotes of the pages that could be a name in the address or a value of one.
WORDS = sorted(
    {
        word
        for folder in ("pages", "sae/ui")
        for path in (ROOT / folder).glob("*.py")
        for word in re.findall(r'"([a-z][a-z_-]{0,24})"', path.read_text(encoding="utf-8"))
    }
)
NAMES = sorted(
    {
        name
        for folder in ("pages", "sae/ui")
        for path in (ROOT / folder).glob("*.py")
        for name in re.findall(r'(?:name=|address\.\w+\()"([a-z_]+)"', path.read_text(encoding="utf-8"))
    }
)
ODD = (
    "", " ", "-1", "0", "3.5", "nan", "1e308", "9" * 40, "None", "[]", "../../etc/passwd",
    "<script>alert(1)</script>", "\u202eabc", "\x00", "a" * 3000, "%s{0}", "$x$ **b**",
)  # fmt: skip


def anything(chance: random.Random, runs: list[str]) -> dict[str, str | list[str]]:
    """Up to a dozen names, each with what is odd, what is a word of the app's own, or a run, once or twice."""
    values = (*ODD, *chance.sample(WORDS, 12), *runs, "both")
    found: dict[str, str | list[str]] = {}
    for name in chance.sample(NAMES, chance.randint(1, 12)):
        found[name] = chance.choice(values) if chance.random() < 0.8 else chance.choices(values, k=2)
    return found


@pytest.mark.parametrize("stem", PAGES)
def test_any_address_opens(open_page, results, stem, n=3):
    assert len(NAMES) > 50
    chance = random.Random(stem)
    for _ in range(n):
        address = anything(chance, results.run_ids()[:2])
        at = open_page(stem, results, **address)
        assert not at.exception, (address, [error.message for error in at.exception])
        shown = [element.value for kind in (at.error, at.warning, at.info) for element in kind]
        assert not any("Something went wrong" in text for text in shown), (address, shown)
