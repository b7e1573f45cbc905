"""RFC 3339 by a slow twin of its grammar; calendar months and business days, at their edges."""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import orjson
import pytest
from conftest import accept, decoded, event, outcome_of, stored
from hypothesis import example, given
from hypothesis import strategies as st

from consent_ledger.ledger.errors import InvalidEvent, InvalidQuestion
from consent_ledger.ledger.events.catalogue import TIMES
from consent_ledger.ledger.intake.parse import prepare
from consent_ledger.ledger.log.entry import decode
from consent_ledger.ledger.times import (
    DAY,
    EARLIEST,
    FOREVER,
    LATEST,
    SECOND,
    after_business_days,
    after_months,
    format_time,
    parse_stored,
    parse_time,
)
from consent_ledger.projections.decision.question import parse_question

# -- RFC 3339 ----------------------------------------------------------------------------------------------------------


class Twin:
    """RFC 3339 read one character after the other, as its section 5.6 has it, by counting days.

    Raises ValueError for what is no date-time, or outside the years 1 to 9999.
    """

    def __init__(self, text):
        self.text, self.at = text, 0
        year, _, month, _, day = self.digits(4), self.one("-"), self.digits(2), self.one("-"), self.digits(2)
        self.one("Tt")
        hour, _, minute, _, second = self.digits(2), self.one(":"), self.digits(2), self.one(":"), self.digits(2)
        fraction = self.fraction()
        offset = self.offset()
        days = (31, 29 if isleap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # section 5.7
        self.require(1 <= month <= 12 and 1 <= day <= days[month - 1])
        self.require(hour <= 23 and minute <= 59 and second <= 60 and year >= 1)
        minutes = (self.days_before(year, month) + day - 1) * 1440 + hour * 60 + minute - offset
        self.require(0 <= minutes < self.days_before(10_000, 1) * 1440)
        # a leap second: the sixty-first of the last minute of a month, in UTC (section 5.7, appendix D)
        self.require(second < 60 or ((minutes + 1) % 1440 == 0 and (minutes + 1) // 1440 in STARTS))
        self.order = (minutes, second + fraction)  # of two times, exactly
        self.micros = EARLIEST + minutes * 60 * SECOND + int((second + fraction) * SECOND)
        if second == 60:
            self.micros = EARLIEST + (minutes + 1) * 60 * SECOND - 1

    def require(self, holds):
        if not holds:
            raise ValueError(self.text)

    def one(self, characters):
        self.require(self.at < len(self.text) and self.text[self.at] in characters)
        self.at += 1
        return self.text[self.at - 1]

    def digits(self, number):
        return int("".join(self.one("0123456789") for _ in range(number)))

    def fraction(self):  # time-secfrac = "." 1*DIGIT
        if self.text[self.at : self.at + 1] != ".":
            return Fraction(0)
        start = self.at = self.at + 1
        while self.text[self.at : self.at + 1] in tuple("0123456789"):
            self.at += 1
        self.require(self.at > start)
        return Fraction(int(self.text[start : self.at]), 10 ** (self.at - start))

    def offset(self):  # time-offset = "Z" / time-numoffset
        sign = self.one("Zz+-")
        minutes = 0
        if sign in "+-":
            hour, _, minute = self.digits(2), self.one(":"), self.digits(2)
            self.require(hour <= 23 and minute <= 59)
            minutes = hour * 60 + minute
        self.require(self.at == len(self.text))
        return -minutes if sign == "-" else minutes

    @staticmethod
    def days_before(year, month):
        years = year - 1
        in_year = sum(monthrange(year, one)[1] for one in range(1, month)) if month > 1 else 0
        return years * 365 + years // 4 - years // 100 + years // 400 + in_year


STARTS = {Twin.days_before(year, month) for year in range(1, 10_000) for month in range(1, 13)} | {
    Twin.days_before(10_000, 1)
}


def number(width, *corners):
    return st.one_of(st.sampled_from(corners), st.integers(0, 10**width - 1)).map(lambda n: f"{n:0{width}}")


OFFSETS = st.one_of(
    st.sampled_from(["Z", "z", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+05:60", "+05:99", "", "+0100"]),
    st.builds("{}{}:{}".format, st.sampled_from("+-"), number(2, 0, 1, 23, 24), number(2, 0, 30, 59, 60)),
)
NEARLY = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    number(4, 0, 1, 1970, 2016, 2026, 9999),
    number(2, 0, 1, 2, 6, 12, 13),
    number(2, 0, 1, 28, 29, 30, 31, 32),
    st.sampled_from("TTTTTt _"),
    number(2, 0, 23, 24),
    number(2, 0, 59, 60),
    number(2, 0, 59, 60, 61),
    st.one_of(st.just(""), st.text("0123456789", max_size=20).map(lambda digits: "." + digits)),
    OFFSETS,
)
# the last minute of a month in UTC, told with an offset
LEAPING = st.builds(
    lambda year, month, offset, fraction: told_with(year, month, offset) + fraction + sign(offset),
    st.integers(2, 9998),
    st.integers(1, 12),
    st.integers(-1439, 1439),
    st.text("0123456789", max_size=9).map(lambda digits: digits and "." + digits),
)


def sign(offset):
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


def told_with(year, month, offset):
    last = parse_stored(f"{year}-{month:02}-{monthrange(year, month)[1]}T23:59:00Z".rjust(20, "0"))
    return format_time(last + offset * 60 * SECOND)[:17] + "60"


CHANGED = st.builds(
    lambda text, at, character: text[: at % len(text)] + character + text[at % len(text) + 1 :],
    st.one_of(NEARLY, LEAPING),
    st.integers(0, 40),
    st.sampled_from(["", " ", "\n", "\0", "-", ":", "6", "\u0662", "\uff12", "\u2212", "\ud83d", "T", "z"]),
)


@given(st.one_of(NEARLY, LEAPING, CHANGED))
@example("2016-12-31T23:59:60Z")
@example("9999-12-31T23:59:60Z")
@example("0001-01-01T00:00:00+00:01")
@example("9999-12-31T23:59:59-00:01")
@example("0000-12-31T23:59:59-00:01")
def test_a_time_is_what_the_grammar_says(text):
    try:
        wanted = Twin(text).micros
    except ValueError:
        with pytest.raises(ValueError, match=r"RFC 3339|no such time") as caught:
            parse_time(text)
        assert text not in str(caught.value)
    else:
        assert parse_time(text) == wanted


@given(st.one_of(NEARLY, LEAPING), st.one_of(NEARLY, LEAPING))
@example("2016-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60Z")
@example("2016-12-31T23:59:60.9Z", "2017-01-01T00:00:00Z")
def test_order_is_kept(one, other):
    try:
        first, second = sorted((Twin(one).order, parse_time(one)) for one in (one, other))
    except ValueError:
        return
    assert first[1] <= second[1]
    if second[1] % DAY == 0 and first[0] < second[0]:
        assert first[1] < second[1]  # whatever a leap second is counted as, it is of the day that it ends


@given(LEAPING)
def test_the_last_second_of_any_month_may_be_a_leap_second(text):
    assert parse_time(text) == Twin(text).micros
    assert parse_time(text) % DAY == DAY - 1


@given(st.one_of(st.integers(EARLIEST, LATEST), st.integers(EARLIEST, EARLIEST + 10_000 * DAY)))
@example(EARLIEST)
@example(LATEST)
def test_what_is_written_is_read_again(micros):
    text = format_time(micros)
    assert parse_time(text) == parse_stored(text) == Twin(text).micros == micros
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z", text)


GOOD = {  # as told: as stored
    "2016-12-31T23:59:60Z": "2016-12-31T23:59:59.999999Z",
    "2017-01-01T00:59:60.5+01:00": "2016-12-31T23:59:59.999999Z",
    "2025-06-30T16:29:60-07:30": "2025-06-30T23:59:59.999999Z",
    "2026-01-02t03:04:05z": "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05-00:00": "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.1234567890123Z": "2026-01-02T03:04:05.123456Z",
    "2026-01-02T03:04:05." + "9" * 3000 + "Z": "2026-01-02T03:04:05.999999Z",
    "2026-01-02T03:04:05.000Z": "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05+23:59": "2026-01-01T03:05:05Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
    "0009-03-01T00:00:00.25-00:30": "0009-03-01T00:30:00.25Z",
}
BAD = {
    "2026-01-02T03:04:05+24:00": "offset",
    "2026-01-02T03:04:05+05:60": "offset",
    "2026-01-02T24:00:00Z": "RFC 3339",
    "2026-01-02T12:00:60Z": "second 60 is only at the end of a month",
    "2016-12-31T23:59:60+01:00": "second 60 is only at the end of a month",
    "2026-01-02T23:59:60Z": "second 60 is only at the end of a month",
    "2026-01-02T03:04:05": "offset",
    "2026-02-30T00:00:00Z": "no such time",
    "2026-01-02T03:04:05.Z": "RFC 3339",
    "2026-01-02 03:04:05Z": "RFC 3339",
    "\u0662026-01-02T03:04:05Z": "RFC 3339",
    "0001-01-01T00:00:00+00:01": "outside the years 1 to 9999",
    "9999-12-31T23:59:59-23:59": "outside the years 1 to 9999",
    "0000-01-01T00:00:00Z": "no such time",
    "2026-01-02T03:04:05Z\n": "RFC 3339",
}
TIMED = {  # a type and a field of each that holds a time
    ("consent.granted", "expires_at"): {},
    ("disclosure.compelled", "secret_until"): {"recipient": "police", "categories": ["email"], "ground": "law"},
    ("deletion.completed", "archive_until"): {},
    ("breach.delay.ordered", "until"): {"breach": "b", "authority": "police", "reason": "inquiry"},
    ("ownership.transfer.announced", "effective_at"): {
        "transfer": "t", "new_owner": "acme", "kind": "merger", "posted": True,
    },
}  # fmt: skip


def test_every_field_that_is_a_time_is_known():
    fields = {field for fields in TIMES.values() for field in fields}
    assert fields == {field for _, field in TIMED}
    assert all(field in TIMES[type_name] for type_name, field in TIMED)


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text[:40])
def test_an_event_at_any_time_is_recorded_in_utc_and_read_again(memory, text):
    accept(memory, event("consent.withdrawn", time=text))
    entry = decoded(memory)[-1]
    assert orjson.loads(stored(memory)[-1])["time"] == GOOD[text]
    assert (entry.time, entry.type) == (parse_time(text), "consent.withdrawn")
    history = memory.history({"controller": "parature", "subject": "crm:4711", "at": text})
    assert [row["time"] for row in history] == [GOOD[text]]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_time_is_invalid_and_names_the_field(memory, text):
    outcome = outcome_of(memory, event(time=text))
    assert (outcome.kind, outcome.field) == ("invalid", "time")
    assert BAD[text] in outcome.reason
    for name in ("at", "known_at"):
        with pytest.raises(InvalidQuestion, match=re.escape(BAD[text])) as caught:
            parse_question({"action": "use", name: text})
        assert caught.value.field == name


@pytest.mark.parametrize(("type_name", "field"), TIMED)
def test_a_time_inside_data_is_held_to_the_same(type_name, field):
    subject = None if type_name in ("breach.delay.ordered", "ownership.transfer.announced") else "crm:1"

    def told(text):
        return prepare(event(type_name, {**TIMED[type_name, field], field: text}, subject=subject))

    for text, written in GOOD.items():
        held = told(text)
        kept = held.data[field]
        assert kept == getattr(held.model, field)
        assert kept in (text, written)
        assert parse_stored(kept) == parse_time(text)  # what an entry holds, any version has read
    assert told("2027-01-01T00:00:00+02:00").data[field] == "2027-01-01T00:00:00+02:00"  # as it always was
    for text, reason in BAD.items():
        with pytest.raises(InvalidEvent, match=re.escape(reason)) as caught:
            told(text)
        assert caught.value.field == field


def test_a_leap_second_comes_after_its_day_and_before_the_next(memory):
    times = ["2016-12-31T23:59:59.9Z", "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.9Z", "2017-01-01T00:00:00Z"]
    told = ["consent.granted", "consent.withdrawn", "consent.withdrawn", "consent.granted"]
    accept(memory, *(event(name, time=time) for name, time in reversed(list(zip(told, times, strict=True)))))
    rows = memory.history({"controller": "parature", "subject": "crm:4711"})
    assert [row["type"] for row in rows] == told


def test_an_entry_from_before_offsets_were_held_to_the_hour_decodes(memory):
    accept(memory, event("consent.granted", {"expires_at": "2027-01-02T03:04:05+05:00"}))
    raw = stored(memory)[-1].replace(b"+05:00", b"+05:99")
    assert parse_time(decode(1, raw).data.expires_at) == parse_time("2027-01-01T20:25:05Z")


# -- the calendar ------------------------------------------------------------------------------------------------------

HOLIDAYS = [date(2026, 12, 25), date(2027, 1, 1)]


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-02-29T10:00:00Z", 12, "2025-02-28T10:00:00Z"),
        ("2024-02-29T10:00:00Z", 48, "2028-02-29T10:00:00Z"),
        ("2025-12-31T23:59:59.5Z", 2, "2026-02-28T23:59:59.5Z"),
        ("2026-01-31T00:00:00Z", 1, "2026-02-28T00:00:00Z"),
        ("2026-11-30T00:00:00Z", 3, "2027-02-28T00:00:00Z"),
        ("2026-03-31T00:00:00Z", 24, "2028-03-31T00:00:00Z"),
    ],
)
def test_months_are_those_of_the_calendar(start, months, end):
    assert format_time(after_months(parse_time(start), months)) == end


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-11-27T10:00:00Z", 1, "2026-12-01T00:00:00Z"),  # a Friday
        ("2026-11-28T10:00:00Z", 1, "2026-12-01T00:00:00Z"),
        ("2026-11-30T00:00:00Z", 1, "2026-12-02T00:00:00Z"),
        ("2026-12-24T12:00:00Z", 1, "2026-12-29T00:00:00Z"),
        ("2026-12-18T09:00:00Z", 10, "2027-01-06T00:00:00Z"),
    ],
)
def test_business_days(start, days, end):
    assert format_time(after_business_days(parse_time(start), days, HOLIDAYS)) == end


def test_a_business_day_that_is_partly_paused_does_not_count():
    start = parse_time("2026-03-02T10:00:00Z")  # a Monday
    weekend = (parse_time("2026-03-07T00:00:00Z"), parse_time("2026-03-09T00:00:00Z"))
    hour = (parse_time("2026-03-10T08:00:00Z"), parse_time("2026-03-10T09:00:00Z"))
    ends = [format_time(after_business_days(start, 15, [], pauses)) for pauses in ([], [weekend], [hour, hour])]
    assert ends == ["2026-03-24T00:00:00Z", "2026-03-24T00:00:00Z", "2026-03-25T00:00:00Z"]


@given(start=st.integers(0, LATEST), days=st.integers(1, 30))
def test_a_business_day_more_is_later_and_at_a_midnight(start, days):
    one, more = (after_business_days(start, number, HOLIDAYS) for number in (days, days + 1))
    assert start < one < more or more == FOREVER
    assert one % DAY == 0 or one == FOREVER


@pytest.mark.parametrize(
    ("zone", "start", "days", "end"),
    [
        ("Europe/Berlin", "2026-03-27T22:59:59Z", 1, "2026-03-30T22:00:00Z"),  # Friday, and the clocks go forward
        ("Europe/Berlin", "2026-03-27T23:00:00Z", 1, "2026-03-30T22:00:00Z"),  # Saturday there
        ("Europe/Berlin", "2026-10-23T10:00:00Z", 1, "2026-10-26T23:00:00Z"),
        ("Europe/Berlin", "2026-12-23T23:30:00Z", 1, "2026-12-28T23:00:00Z"),  # Christmas Eve there, then a holiday
        ("America/New_York", "2026-11-30T03:00:00Z", 1, "2026-12-01T05:00:00Z"),  # Sunday there
        ("Africa/Cairo", "2026-04-22T10:00:00Z", 1, "2026-04-23T22:00:00Z"),  # whose Friday begins at one
        ("Pacific/Apia", "2011-12-29T12:00:00Z", 1, "2012-01-02T10:00:00Z"),  # had no Friday the 30th
        ("America/Havana", "2026-10-30T12:00:00Z", 1, "2026-11-03T05:00:00Z"),  # has two midnights on the 1st
    ],
)
def test_business_days_are_those_of_the_zone(zone, start, days, end):
    assert format_time(after_business_days(parse_time(start), days, HOLIDAYS, (), ZoneInfo(zone))) == end


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia", "Africa/Cairo"])


@given(start=st.integers(0, 3_000_000_000), days=st.integers(1, 12), name=ZONES)
def test_business_days_by_a_walk_through_the_hours(start, days, name):
    """Quarter of an hour by quarter of an hour: days that are seen are counted when they are over."""
    zone, moment, seen = ZoneInfo(name), start - start % 900, {}
    while True:
        local = datetime.fromtimestamp(moment, UTC).astimezone(zone).date()
        seen.setdefault(local, moment)
        counted = [day for day in list(seen)[1:] if day.weekday() < 5 and day not in HOLIDAYS]
        if len(counted) > days or (len(counted) == days and local != counted[-1]):
            break
        moment += 900
    assert after_business_days(start * 1_000_000, days, HOLIDAYS, (), zone) == seen[local] * 1_000_000


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York"])
def test_at_either_end_of_time_business_days_end(name):
    zone = ZoneInfo(name)
    assert after_business_days(LATEST, 1, [], (), zone) == FOREVER
    assert after_business_days(LATEST - 3 * DAY, 5, [], (), zone) == FOREVER
    assert EARLIEST < after_business_days(EARLIEST, 1, [], (), zone) < EARLIEST + 5 * DAY
    assert after_months(LATEST, 1) == FOREVER
    assert after_months(FOREVER, 1) == FOREVER
