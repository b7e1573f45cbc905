"""Calendar months and business days, at their edges."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.times import DAY, FOREVER, LATEST, after_business_days, after_months, format_time, parse_time

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
