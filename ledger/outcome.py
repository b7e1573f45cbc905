"""What became of an event."""

from __future__ import annotations

from typing import Literal, NamedTuple, NoReturn

OutcomeKind = Literal["accepted", "refused", "conflict", "invalid"]


class Outcome(NamedTuple):
    """What became of one event.

    accepted   it is entry `position`; `duplicate` if it was there before
    refused    `clause` of the pack refuses it; entry `position` says so
    conflict   another event with the same source and id is there; entry `position` says so
    invalid    it is no event: `field` and `reason` say what to mend; nothing was kept

    It is neither true nor false: `if outcome:` would be a yes to what was refused, and raises TypeError.
    """

    kind: OutcomeKind
    position: int | None = None
    duplicate: bool = False
    clause: str | None = None
    field: str | None = None
    reason: str | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError("an outcome is neither true nor false: compare outcome.kind with 'accepted'")

    def __str__(self) -> str:
        """`invalid (time): wants an RFC 3339 time with an offset`."""
        what = self.clause or self.field
        return f"{self.kind}{f' ({what})' if what else ''}{f': {self.reason}' if self.reason else ''}"
