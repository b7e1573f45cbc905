"""The name of an answer: `d1/permit/812/2026-03-01T00:00:00Z/now/…`, without anybody having to keep the answer.

Outcome, size of the log, `at` and `known_at` (`now` where the question named none) can be read; 32 hex digits are a
digest under the person's own key of these and of what was asked. It ends with the person's key: what is not there any
more cannot be checked. Source: contract, section 2, `id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z"
_FORM: Final = re.compile(
    rf"d1/(permit|deny|not-applicable)/(0|[1-9]\d{{0,14}})/({_TIME})/(now|{_TIME})/([0-9a-f]{{32}})"
)


class DecisionId(NamedTuple):
    """The parts of a name; times as RFC 3339."""

    outcome: str
    size: int
    at: str
    known_at: str
    digest: str

    def __str__(self) -> str:
        return f"d1/{self.outcome}/{self.size}/{self.at}/{self.known_at}/{self.digest}"


class Asked(NamedTuple):
    """What an answer is about."""

    controller: str
    person: str
    action: str
    purpose: str | None
    channel: str | None
    list: str | None
    item: str | None
    recipient: str | None
    categories: Iterable[str]

    def content(self, outcome: str, size: int, at: str, known_at: str) -> bytes:
        """What the digest is of."""
        return orjson.dumps([outcome, size, at, known_at, *self[:-1], sorted(self.categories)])


def parse(text: str) -> DecisionId | None:
    """The parts of a name; None for any other form."""
    found = _FORM.fullmatch(text)
    return None if found is None else DecisionId(found[1], int(found[2]), found[3], found[4], found[5])
