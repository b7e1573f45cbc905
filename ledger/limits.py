"""How much may come in at most, in one place: whatever is longer, deeper or more is refused by a message that says so.

Nothing here touches what a store holds already: an entry, a pack or a journal from before a limit is read for ever. So
each limit is held to where something comes in: events in `ledger.intake.parse`, packs in `ledger.policy.load`,
scenario files in `consumers.scenarios`, journals and backups where they are opened.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

LINE_LIMIT_BYTES: Final = 1_048_576  # of an event, as a line and as the JSON of what was passed to `record`
VALUE_LIMIT_BYTES: Final = 4_096  # of a personal value, in UTF-8, where the pack says nothing else (limit_bytes)
VALUE_MOST_BYTES: Final = 262_144  # of what a pack can say
PERSONAL_LIMIT: Final = 64  # personal fields of one event
MEMBER_LIMIT: Final = 64  # members of any other object of an event
DEPTH_LIMIT: Final = 8  # objects and lists in one another, below a field of an event's data

PACK_LIMIT_BYTES: Final = 1_048_576
PACK_DEPTH_LIMIT: Final = 16
PACK_CLAUSE_LIMIT: Final = 1_000
PACK_WORD_LIMIT: Final = 1_000  # of each list of words
PACK_BUSINESS_DAYS_LIMIT: Final = 2_600  # ten years: each day is looked at
PACK_PROBLEM_LIMIT: Final = 200  # that are told of one pack

SCENARIO_LIMIT_BYTES: Final = 8_388_608
SCENARIO_DEPTH_LIMIT: Final = 32
SCENARIO_VALUE_LIMIT: Final = 1_000_000  # what anchors repeat counts each time

JOURNAL_LIMIT_BYTES: Final = 1 << 30  # of one file beside the keys

_AT_ONCE: Final = 100_000  # of one depth


def deeper(value: Any, limit: int) -> bool:
    """Whether objects and lists stand in one another more than `limit` deep, or are too many to be looked through."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        if not level:
            return False
        inner = (
            one
            for outer in level
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, dict | list)
        )
        level = list(islice(inner, _AT_ONCE))
        if len(level) == _AT_ONCE:
            return True
    return bool(level)


def too_large(what: str, size: int, limit: int) -> str:
    """`it has 12000000 bytes, the limit is 1048576`: how whatever is over its limit is told."""
    return f"{what} has {size} bytes, the limit is {limit}"
