"""Times: RFC 3339 with an offset outside, integer microseconds since 1970-01-01T00:00:00Z inside."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = 1_000_000  # microseconds
DAY: Final = 86_400 * SECOND
FOREVER: Final = 2**62  # later than any time that can be written

EARLIEST: Final = -62_135_596_800 * SECOND  # 0001-01-01T00:00:00Z
LATEST: Final = 253_402_300_800 * SECOND - 1  # the last microsecond of 9999

_ONE: Final = timedelta(microseconds=1)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_time(text: str) -> int:
    """Microseconds of an RFC 3339 time; digits beyond the microsecond are cut.

    Raises ValueError for anything else, a time without an offset included.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError("wants an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")
    try:
        micros = (datetime.fromisoformat(text) - EPOCH) // _ONE
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such time: {error}") from None
    if not EARLIEST <= micros <= LATEST:
        raise ValueError("no such time: its offset puts it outside the years 1 to 9999")
    return micros


def parse_stored(text: str) -> int:
    """Microseconds of a time that `format_time` or an accepted event wrote. Raises ValueError for none."""
    return (datetime.fromisoformat(text) - EPOCH) // _ONE


parse_stored_again: Final = lru_cache(maxsize=4_096)(parse_stored)  # a batch shares its moment of recording


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware datetime."""
    if moment.tzinfo is None:
        raise ValueError("wants a time with an offset")
    return (moment - EPOCH) // _ONE


def format_time(micros: int) -> str:
    """RFC 3339 in UTC, as short as it can be: `2026-01-02T03:04:05Z`, `2026-01-02T03:04:05.25Z`."""
    seconds, fraction = divmod(micros, SECOND)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if text[4] != "-":  # strftime does not pad years before 1000
        text = text.rjust(19, "0")
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else text + "Z"


def format_optional(micros: int | None) -> str | None:
    """`format_time`, and None for None."""
    return None if micros is None else format_time(micros)


def end_of_day(micros: int) -> int:
    """The end, in UTC, of the day of a moment: the next midnight, or the moment itself where it is one."""
    return min(-(-micros // DAY) * DAY, LATEST)


def after_months(micros: int, months: int) -> int:
    """The same time of day so many calendar months later, in UTC; the last of the month where it has no such day.

    2024-02-29 and 12 months is 2025-02-28.
    """
    moment = EPOCH + timedelta(microseconds=micros)
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    if year > 9999:
        return FOREVER
    last = monthrange(year, month + 1)[1]
    return from_datetime(moment.replace(year=year, month=month + 1, day=min(moment.day, last)))


def after_business_days(
    micros: int, days: int, holidays: Collection[date], pauses: Iterable[tuple[int, int]] = ()
) -> int:
    """The end, in UTC, of the so-manieth business day after the day of a moment: Saturdays, Sundays, holidays aside.

    A day of which some lies in a pause, [begin, end), is none. Requires days >= 1.

    Said on a Friday, one business day ends with Monday: at Tuesday, 00:00.
    """
    day = (EPOCH + timedelta(microseconds=micros)).date()
    while days:
        if day == date.max:
            return FOREVER
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in holidays:
            start = from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC))
            days -= not any(begin < start + DAY and end > start and end > begin for begin, end in pauses)
    return from_datetime(datetime(day.year, day.month, day.day, tzinfo=UTC)) + DAY
