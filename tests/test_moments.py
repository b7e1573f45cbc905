"""The clock: drift is fine, a jump while a ledger is open is refused, a gap at opening is told."""

from __future__ import annotations

import pytest
from conftest import NOW, accept, event, stored

from consent_ledger.consumers import opening
from consent_ledger.consumers.maintenance import examine
from consent_ledger.consumers.moments import ALLOWED, Steady, Wall
from consent_ledger.ledger.errors import ClockJumped
from consent_ledger.ledger.times import DAY, SECOND, parse_time

MINUTE = 60 * SECOND


class Hands:
    """Two clocks that a test moves."""

    def __init__(self):
        self.wall, self.passed = parse_time(NOW), 0
        self.steady = Steady(lambda: self.wall, lambda: self.passed)

    def go(self, wall, passed=None):
        self.wall += wall
        self.passed += wall if passed is None else passed


@pytest.fixture
def hands():
    return Hands()


@pytest.mark.parametrize("passed", [0, SECOND, MINUTE, DAY, 400 * DAY])
def test_time_goes_by(hands, passed):
    hands.go(passed)
    assert hands.steady() == hands.wall


@pytest.mark.parametrize("drift", [ALLOWED, -ALLOWED, MINUTE, -MINUTE])
def test_a_clock_may_drift_again_and_again(hands, drift):
    for _ in range(100):
        hands.go(DAY + drift, DAY)
        assert hands.steady() == hands.wall


@pytest.mark.parametrize("jump", [ALLOWED + 1, -ALLOWED - 1, 365 * DAY, -365 * DAY])
@pytest.mark.parametrize("passed", [0, DAY])
def test_a_jump_is_refused_until_the_clock_is_back(hands, jump, passed):
    hands.go(passed + jump, passed)
    for _ in range(2):
        with pytest.raises(
            ClockJumped, match=f"set {'ahead' if jump > 0 else 'back'} by {abs(jump) // SECOND} seconds"
        ):
            hands.steady()
        hands.go(SECOND)
    hands.wall -= jump
    assert hands.steady() == hands.wall


def test_what_a_jumped_clock_says_is_neither_recorded_nor_answered(store, hands):
    store.ledger.clock = hands.steady
    accept(store.ledger, event())
    given = stored(store.ledger)
    hands.go(DAY, 0)
    with pytest.raises(ClockJumped):
        store.ledger.record([event()])
    with pytest.raises(ClockJumped):
        store.ledger.findings({"controller": "parature"})
    assert stored(store.ledger) == given
    hands.wall -= DAY
    accept(store.ledger, event())


def test_a_ledger_is_opened_with_a_clock_that_is_watched(store, monkeypatch):
    monkeypatch.setattr(opening, "clock", Wall())
    assert isinstance(store.open().clock, Steady)


def test_a_recorded_future_is_told_when_the_ledger_is_opened_and_by_doctor(store, clock, caplog):
    clock.forward(40 * 86_400)
    accept(store.ledger, event())
    assert all(row["ok"] for row in examine(store.ledger))
    clock.set(NOW)
    store.reopen()
    assert "the last entry was recorded at 2026-04-10" in caplog.text
    (row,) = [row for row in examine(store.ledger) if row["check"] == "clock"]
    assert not row["ok"]
    accept(store.ledger, event())  # and goes on


def test_a_long_silence_is_told_when_the_ledger_is_opened(store, clock, caplog):
    accept(store.ledger, event())
    clock.forward(500 * 86_400)
    store.reopen()
    assert "nothing was recorded for 500 days, or this clock is ahead" in caplog.text
    assert all(row["ok"] for row in examine(store.ledger))
