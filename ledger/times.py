"""Times: RFC 3339 with an offset outside, integer microseconds since 1970-01-01T00:00:00Z inside."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = 1_000_000  # microseconds
HOUR: Final = 3_600 * SECOND
DAY: Final = 86_400 * SECOND
FOREVER: Final = 2**62  # later than any time that can be written

EARLIEST: Final = -62_135_596_800 * SECOND  # 0001-01-01T00:00:00Z
LATEST: Final = 253_402_300_800 * SECOND - 1  # the last microsecond of 9999

_ONE: Final = timedelta(microseconds=1)
_HOUR_MINUTE: Final = r"(?:[01]\d|2[0-3]):[0-5]\d"
_RFC3339: Final = re.compile(
    rf"\d{{4}}-\d\d-\d\d[Tt]{_HOUR_MINUTE}:(?:[0-5]\d|(60))(?:\.\d+)?(?:[Zz]|[+-]{_HOUR_MINUTE})", re.ASCII
)
_OLDER: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def parse_time(text: str) -> int:
    """Microseconds of an RFC 3339 time; digits beyond the microsecond are cut.

        2026-01-02T03:04:05Z    2026-01-02t03:04:05.25+01:00    2016-12-31T23:59:60Z

    All of a leap second, which can only be at the end of a month in UTC, is the last microsecond of its day: it stays
    in that day, before whatever the next one brings and not before what its own brought.

    Raises ValueError for anything else: no offset, a blank for the T, hour 24, an offset of 24 hours or 60 minutes, and
    what is outside the years 1 to 9999 as it is written or in UTC. The message does not repeat the text.
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError("wants an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")
    if found[1]:
        return _leap_second(text)
    return _micros(text)


def _micros(text: str) -> int:
    try:
        micros = (datetime.fromisoformat(text.upper()) - EPOCH) // _ONE
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no such time: {error}") from None
    if not EARLIEST <= micros <= LATEST:
        raise ValueError("no such time: its offset puts it outside the years 1 to 9999")
    return micros


def _leap_second(text: str) -> int:
    """The last microsecond of the day of a leap second. Requires that the second of `text` is 60."""
    before = _micros(f"{text[:17]}59{text[19:]}") // SECOND  # the second before it
    day = (EPOCH + timedelta(seconds=before)).date()
    if (before + 1) % 86_400 or day.day != monthrange(day.year, day.month)[1]:
        raise ValueError("no such time: second 60 is only at the end of a month, 23:59:60 in UTC")
    return (before + 1) * SECOND - 1


def parse_held(text: str) -> int:
    """Microseconds of a time inside `data` of an entry: also with an offset of 60 minutes and more.

    Such a time was taken as RFC 3339 once, and what is stored is read for ever: `+05:99` is 6 hours and 39 minutes.
    Raises ValueError for what never was.
    """
    if _RFC3339.fullmatch(text) or not _OLDER.fullmatch(text):
        return parse_time(text)
    return _micros(text)


def as_stored(text: str, micros: int) -> str:
    """What is stored of an event's time that was told as `text`: in UTC, as `format_time` writes it."""
    short = len(text) == 20 and text[10] == "T" and text[19] == "Z" and text[17] != "6"  # it is that already, mostly
    return text if short else format_time(micros)


def as_held(text: str, micros: int) -> str:
    """What is stored of a time inside `data`: as it was told, where every version reads that; else in UTC."""
    return text if _OLDER.fullmatch(text) and text[17] != "6" else format_time(micros)


def parse_stored(text: str) -> int:
    """Microseconds of a time that `format_time` or an accepted event wrote. Raises ValueError for none."""
    return (datetime.fromisoformat(text) - EPOCH) // _ONE


parse_stored_again: Final = lru_cache(maxsize=4_096)(parse_stored)  # a batch shares its moment of recording


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware datetime. Raises ValueError for a naive one, and for one outside the years 1 to 9999."""
    if moment.utcoffset() is None:
        raise ValueError("wants a datetime with a time zone, such as datetime.now(UTC): which moment is this one?")
    micros = (moment - EPOCH) // _ONE
    if not EARLIEST <= micros <= LATEST:
        raise ValueError("no such time: its offset puts it outside the years 1 to 9999")
    return micros


def told(moment: object) -> str:
    """The RFC 3339 text of what an app gives for a time: a text as it is, an aware datetime in UTC.

    Raises ValueError for anything else, a naive datetime among it. What a text says is not looked at.
    """
    if isinstance(moment, datetime):
        return format_time(from_datetime(moment))
    if not isinstance(moment, str):
        raise ValueError("wants an RFC 3339 time with an offset")  # noqa: TRY004  of a value, not of a program
    return moment


def format_time(micros: int) -> str:
    """RFC 3339 in UTC, as short as it can be: `2026-01-02T03:04:05Z`, `2026-01-02T03:04:05.25Z`."""
    seconds, fraction = divmod(micros, SECOND)
    text = (EPOCH + timedelta(seconds=seconds)).isoformat()[:19]  # strftime does not pad years before 1000
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
    if micros > LATEST:
        return FOREVER
    moment = EPOCH + timedelta(microseconds=micros)
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    if year > 9999:
        return FOREVER
    last = monthrange(year, month + 1)[1]
    return from_datetime(moment.replace(year=year, month=month + 1, day=min(moment.day, last)))


def after_business_days(
    micros: int,
    days: int,
    holidays: Collection[date],
    pauses: Iterable[tuple[int, int]] = (),
    zone: tzinfo = UTC,
) -> int:
    """The end of the so-manieth business day after the day of a moment: Saturdays, Sundays, holidays aside.

    Days begin and end by the clocks of the zone. One of which some lies in a pause, [begin, end), is none, nor is one
    that a zone left out when it changed sides of the date line. Requires days >= 1.

    Said on a Friday, one business day ends with Monday: at Tuesday, 00:00.
    """
    if micros >= LATEST - DAY:
        return FOREVER
    day = (EPOCH + timedelta(microseconds=max(micros, EARLIEST + DAY))).astimezone(zone).date()
    end = micros
    while days:
        if day >= _LAST_DAY:
            return FOREVER
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in holidays:
            start, end = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
            free = not any(begin < end and until > start and until > begin for begin, until in pauses)
            days -= free and start < end
    return end


_LAST_DAY: Final = date(9999, 12, 29)  # the midnight after the next day is a time in every zone


def _midnight(day: date, zone: tzinfo) -> int:
    """When a day begins by the clocks of a zone; where they leave midnight out, as they are put forward."""
    return from_datetime(datetime(day.year, day.month, day.day, tzinfo=zone))
