"""Unicode's normal forms in a time that grows with the text.

Sorting a run of combining marks takes the square of its length, and nobody's text has long runs: UAX 15, section 13,
allows thirty (the stream-safe format). What stands beyond these is left out.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal

RUN: Final = 30


def normalised(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """The text in a normal form, without marks beyond thirty in a row."""
    return unicodedata.normalize(form, text if text.isascii() else _stream_safe(text))


def _stream_safe(text: str) -> str:
    if len(text) <= RUN:
        return text
    kept: list[str] = []
    run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= RUN:
            kept.append(char)
    return "".join(kept)


def normal(text: str) -> str:
    """One form for all ways to write the same text: composed, no case, nothing invisible, single blanks."""
    if text.isascii():
        return " ".join(text.lower().split())
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf")
    folded = normalised("NFKC", seen).casefold()
    return " ".join(normalised("NFKC", folded).split())
