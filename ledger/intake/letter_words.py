"""What a letter may say, and of whom: its strings, however they are written, and whether a name is in it.

A letter is what was no event, so nothing can be relied on: it may be cut, be no JSON, hold several objects, be in
another encoding, have its names escaped or inside longer text. Pure, and linear in the size of the text.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final
from urllib.parse import unquote

from consent_ledger.ledger.events.catalogue import TYPES
from consent_ledger.ledger.identifiers.marks import normal
from consent_ledger.ledger.intake.parse import ENVELOPE

INDEXED: Final = 1_000  # strings of a letter that it is looked up by; what is not among them is found by reading
INDEXED_BYTES: Final = 65_536  # of the beginning of a letter that they are taken from
LENGTH: Final = 256  # of a string that is looked up by; a name has at most 200 characters
LEAST: Final = 4  # a shorter string says who somebody is only where a name belongs
TELLING: Final = 6  # a value that is shorter, or one plain word, is many people's: a town, a size
_LAYERS: Final = 3  # JSON in JSON in JSON
_RUN: Final = 4  # words of a longer text that may be one name
_ESCAPED: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_PLAIN: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*+)', re.DOTALL)
_NAMING: Final = re.compile(
    r'"(?:subject|other|of)"\s*+:\s*+"?((?:[^"\\,}\]\s]|\\.){1,3}+)(?=["\s,}\]])', re.IGNORECASE
)
_BASE64: Final = re.compile(rb'data_base64\\*+"\s*+:\s*+\\*+"((?:[A-Za-z0-9+/=]|\\/)++)', re.IGNORECASE)
_PIECE: Final = re.compile(r"[\w.@+:-]++")
_AROUND: Final = re.compile(r"^[.:+-]+|[.:+-]+$")
_COMMON: Final = frozenset((*ENVELOPE, *TYPES, "personal", "1.0", "controller", "processor"))


def telling(value: str) -> bool:
    """Whether a personal value, in normal form, says who somebody is by itself."""
    return len(value) >= TELLING and not value.isalpha()


def strings(raw: bytes) -> set[str]:
    """What a letter is looked up by, in normal form: its strings, and the parts of them that can be names."""
    found = {normal(one) for one in spellings(raw)}
    return {one for one in found if one not in _COMMON}


def spellings(raw: bytes) -> set[str]:
    """The strings of a letter as they are written, at most INDEXED of them and those shorter than LEAST."""
    found: set[str] = set()
    for text in _texts(raw[:INDEXED_BYTES]):
        found |= {_unescaped(one) for one in islice(_NAMING.findall(text), INDEXED)}
        for one in _strings(text):
            if len(found) >= INDEXED:
                return found
            if LEAST <= len(one) <= LENGTH:
                found.add(one)
    return found


class Reader:
    """Looks for names and values in the text of letters."""

    def __init__(self, sought: Iterable[str]) -> None:
        self._sought = [(one, _alone(one)) for one in sorted(sought) if len(one) >= LEAST]

    def finds(self, raw: bytes) -> bool:
        """Whether one of them is in it, and not as part of a longer word."""
        for text in _texts(raw):
            whole = normal(text)
            if any(one in whole and alone.search(whole) for one, alone in self._sought):
                return True
        return False


def _alone(sought: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?<!\w[.@+-]){re.escape(sought)}(?!\w|[.@+-]\w)")


def _texts(raw: bytes) -> Iterator[str]:
    """The text in every encoding and layer of escapes it may be in, each once."""
    seen = set()
    for body in (raw, *_in_base64(raw)):
        for text in _decoded(body):
            for _ in range(_LAYERS):
                if text not in seen:
                    seen.add(text)
                    yield text
                text = unquote(_unescaped(text), errors="replace")  # noqa: PLW2901  layer by layer


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """What `data_base64` says, also where it is cut or holds what is no base64."""
    for found in _BASE64.finditer(raw):
        told = found[1].replace(b"\\/", b"/")
        with contextlib.suppress(ValueError):
            yield base64.b64decode(told[: len(told) // 4 * 4])


def _decoded(raw: bytes) -> Iterator[str]:
    text = raw.decode(errors="replace")
    yield text
    if "\ufffd" in text:
        yield raw.decode("latin-1")
    elif not text.isascii():
        with contextlib.suppress(UnicodeError):
            yield text.encode("latin-1").decode()  # UTF-8 that somebody took for Latin-1
    if b"\0" in raw:
        yield raw.decode("utf-16-le", errors="replace")
        yield raw.decode("utf-16-be", errors="replace")


def _unescaped(text: str) -> str:
    """JSON's escapes undone, wherever they stand."""
    if "\\" not in text:
        return text
    plain = _ESCAPED.sub(lambda m: chr(int(m[1], 16)) if m[1] else _PLAIN.get(m[2], m[2]), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", errors="replace")


def _strings(text: str) -> Iterator[str]:
    """Quoted strings, their runs of words, then pieces of the whole text."""
    for match in _QUOTED.finditer(text):
        if len(match[1]) > LENGTH * 6:  # every character may be escaped
            continue
        whole = _unescaped(match[1])
        yield whole
        words = [word.strip(",;.!?()<>'") for word in whole.split()]
        if 1 < len(words) <= LENGTH // _RUN:
            for start in range(len(words)):
                for stop in range(start + 2, min(start + _RUN, len(words)) + 1):
                    yield " ".join(words[start:stop])
    for piece in _PIECE.finditer(text):
        one = _AROUND.sub("", piece[0])
        yield one
        parts = one.split(":")
        if 1 < len(parts) <= _RUN + 1:
            for start in range(len(parts)):
                for stop in range(start + 1, len(parts) + 1):
                    yield ":".join(parts[start:stop])
