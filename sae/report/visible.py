"""Other people's text so that a reader sees what is in it: no character that turns or hides its neighbours."""

from __future__ import annotations

import unicodedata


def visible(text: object) -> str:
    """`text` with control and formatting characters written out, `⟨U+202E⟩`; line ends and tabs stay.

    Bidirectional controls could make a label read as its opposite, and zero-width ones hide in it. Those that join or
    shape letters and emoji (zero-width joiner and non-joiner) stay.
    """
    return "".join(f"⟨U+{ord(c):04X}⟩" if _hidden(c) else c for c in str(text))


def _hidden(character: str) -> bool:
    if character in "\n\t\u200c\u200d":
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
