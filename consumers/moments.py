"""The clock: the wall's time, checked against one that cannot be set.

What is recorded carries the time of this clock for ever, and no later entry carries an earlier one: a clock that is set
to next year for a minute would date everything until then. So while a ledger is open, its clock must go on as fast as
the machine's monotonic one; a jump is refused. When a ledger is opened there is nothing to compare with but the last
entry: a gap is told, and no more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from consent_ledger.ledger.errors import ClockJumped
from consent_ledger.ledger.times import DAY, SECOND, format_time

ALLOWED: Final = 300 * SECOND  # as much as an event's own time may be ahead
LONG: Final = 366 * DAY  # without an entry: told when a ledger is opened
_log = logging.getLogger("consent_ledger")


def _monotonic() -> int:
    """Microseconds since the machine was started, sleep included where the system can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return time.monotonic_ns() // 1000


class Wall:
    """Now, in microseconds since 1970."""

    def __call__(self) -> int:
        return time.time_ns() // 1000

    def steady(self, monotonic: Callable[[], int] = _monotonic) -> Steady:
        """This clock from now on, for one ledger."""
        return Steady(self, monotonic)


class Steady:
    """A clock that may drift, and not jump, beside a monotonic one. Microseconds."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], int]) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._last = wall(), monotonic()

    def __call__(self) -> int:
        """Now. Raises ClockJumped until the clock is back, or the ledger is opened again."""
        now, passed = self._wall(), self._monotonic()
        jump = (now - self._last[0]) - (passed - self._last[1])
        if abs(jump) > ALLOWED:
            way = "ahead" if jump > 0 else "back"
            raise ClockJumped(
                f"the clock was set {way} by {abs(jump) // SECOND} seconds, to {format_time(now)}, while the ledger "
                "was open: nothing is recorded or answered by it (set it right; if it is, open the ledger again)"
            )
        self._last = now, passed
        return now


def gap(now: int, recorded_at: int) -> str | None:
    """What is odd about this clock beside the last entry's time, or None. Both in microseconds."""
    if recorded_at > now + ALLOWED:
        return (
            f"the last entry was recorded at {format_time(recorded_at)}, and this clock says {format_time(now)}: until "
            "then all is recorded as of that time (see the page on backups, on a clock that was wrong)"
        )
    return None


def tell_gap(where: str, now: int, recorded_at: int) -> None:
    """Say when a ledger is opened what is odd about its clock."""
    odd = gap(now, recorded_at)
    if odd is not None:
        _log.warning("%s: %s", where, odd)
    elif 0 < recorded_at < now - LONG:
        days = (now - recorded_at) // DAY
        _log.warning("%s: nothing was recorded for %d days, or this clock is ahead", where, days)
