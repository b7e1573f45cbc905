"""Requests: what becomes of one that is answered, taken back, denied or extended, by a slow twin of the contract."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta

import pytest
from conftest import PERSON, accept, assert_whole, event, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.maintenance import erase
from consent_ledger.consumers.opening import memory_ledger
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.proof.derived import problems
from consent_ledger.ledger.times import DAY, format_time, from_datetime, parse_time
from consent_ledger.projections.reports import duties

HOUSE = b"""
format = 1
controller = "house"
title = "House"
purposes = ["news"]
classes = []
[categories]
personal = ["name", "email"]
anonymous = []
[personal_fields]
email = { category = "email" }
[[clause]]
id = "A"
title = "Access"
rule = "Within one month, or three."
[[clause.duty]]
kind = "access"
due_in_months = 1
extended_by_months = 2
[[clause.duty]]
kind = "correction"
due_in_days = 10
[[clause]]
id = "D"
title = "Deletion"
rule = "Within a month of a request with an address; two and three days at most. Holds stop the clock."
[clause.identification]
needs = ["email"]
[clause.hold]
finding = false
[[clause.duty]]
kind = "deletion"
due_in_months = 1
extended_by_months = 1
extended_by_days = 3
[[clause.permit]]
action = ["contact"]
[[clause.forbid]]
action = ["contact"]
when = [{ need = "deletion-requested" }]
"""
PACK = load_pack(HOUSE)
START = datetime(2026, 1, 25, tzinfo=UTC)
DAYS = 140
TOLD = "2027-01-01T00:00:00Z"


def on(day):
    return format_time(from_datetime(START + timedelta(days=day)))


# -- the slow twin -----------------------------------------------------------------------------------------------------


def months_later(day, months):
    """The same day of the month, or its last, as a number of days since the start."""
    moment = START + timedelta(days=day)
    year, month = moment.year, moment.month
    for _ in range(months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    last = monthrange(year, month)[1]
    return (moment.replace(year=year, month=month, day=min(moment.day, last)) - START).days


PERIODS = {  # kind -> (clause, end of the period, end of both): from a day on
    "access": ("A", lambda day: months_later(day, 1), lambda day: months_later(day, 3)),
    "correction": ("A", lambda day: day + 10, None),
    "deletion": ("D", lambda day: months_later(day, 1), lambda day: months_later(day, 2) + 3),
}


def walked(start, days, held, known):
    """The day on which so many days have passed that no hold covers, one after the other, by what is known."""
    day = start
    while days > 0:
        days -= not any(begin <= day < (known if end is None else min(end, known)) for begin, end in held)
        day += 1
    return day


class Twin:
    """One request, as the contract says it in words: told what happened, in order."""

    def __init__(self, kind, name, day):
        self.kind, self.name, self.opened = kind, name, day
        self.started = None if kind == "deletion" else day
        self.ended = self.void = self.withdrawn = False
        self.extended = None

    def ends(self, held, known, period):
        return walked(self.started, period(self.started) - self.started, held, known)

    def due(self, held, known):
        """None: not started."""
        held = held if self.kind == "deletion" else []
        if self.started is None:
            return None
        if self.extended is not None:
            told, until = self.extended
            return walked(told, until - told, held, known) if until > told else until
        return self.ends(held, known, PERIODS[self.kind][1])

    def extend(self, day, until, held):
        """Whether it does anything."""
        _, _, both = PERIODS[self.kind]
        if both is None or self.ended or self.started is None or self.extended is not None:
            return False
        held = held if self.kind == "deletion" else []
        if day >= self.due(held, day) or until > self.ends(held, day, both):
            return False
        self.extended = (day, until)
        return True

    def row(self, held, now):
        standing = any(begin <= now and (end is None or end > now) for begin, end in held)
        due, status = self.due(held, now), "running"
        if self.ended:
            status, due = "done", None if self.kind == "deletion" else due
        elif self.started is None:
            status = "awaiting-identification"
        elif self.kind == "deletion" and standing:
            status, due = "on-hold", None
        elif now >= due:
            status = "overdue"
        return self.kind, self.name, self.opened, status, None if due is None else on(due)


ANSWERS = {"access.answered": "access", "correction.completed": "correction", "deletion.completed": "deletion"}


def twin_of(events, now):
    """(rows, extensions without effect as (id, clause)) after events in force by a day."""
    every, current, holds, vain = [], {}, {}, set()
    for day, number, what, name, more in events:
        held = [span for spans in holds.values() for span in spans]
        if day > now:
            break
        those = [one for (_, key), one in current.items() if key == name]
        if what.endswith(".requested"):
            kind = what.partition(".")[0]
            before = current.get((kind, name))
            if before is None or before.void or before.withdrawn:
                current[kind, name] = Twin(kind, name, day)
                every.append(current[kind, name])
            if more and current[kind, name].started is None:
                current[kind, name].started = day
        elif what == "deletion.identified":
            for one in those:
                one.started = day if one.started is None else one.started
        elif what == "request.taken_back":
            for one in those:
                one.ended = one.void = True
        elif what == "request.denied":
            for one in those:
                one.ended = one.withdrawn = True
        elif what == "request.extended":
            vain |= {(number, PERIODS[one.kind][0]) for one in those if not one.extend(day, more, held)}
            vain |= set() if those else {(number, "A"), (number, "D")}
        elif what in ANSWERS:
            for one in those:
                one.ended = one.ended or one.kind == ANSWERS[what]
        elif what == "hold.placed":
            spans = holds.setdefault(name, [])
            spans += [(day, None)] if not spans or spans[-1][1] is not None else []
        elif what == "hold.released" and name in holds and holds[name][-1][1] is None:
            holds[name][-1] = (holds[name][-1][0], day)
    return [one.row([span for spans in holds.values() for span in spans], now) for one in every], vain


# -- the ledger --------------------------------------------------------------------------------------------------------

DATA = {
    "correction.requested": {"categories": ["name"]},
    "correction.completed": {"categories": ["name"]},
    "request.denied": {"ground": "law", "explained": True},
    "request.extended": {"reason": "complex"},
}


def body_of(number, day, what, name, more):
    data = {**DATA.get(what, {}), "request": name}
    if what.startswith("hold."):
        data = {"hold": name} | ({"ground": "law"} if what == "hold.placed" else {})
    if what == "request.extended":
        data["until"] = on(more)
    if what == "deletion.identified" or (what == "deletion.requested" and more):
        data["personal"] = {"email": "ann@example.com"}
    named = {"specversion": "1.0", "id": f"r{number}", "source": "urn:t", "controller": "house", "subject": "ann"}
    return {**named, "type": what, "time": on(day), "data": data}


def told(events):
    """A ledger that was told these at the end, in this order."""
    ledger = memory_ledger(PACK, lambda: parse_time(TOLD))
    opening = [
        {"type": "policy.published", "data": {"version": "1", "text_sha256": "00", "pack_sha256": "00"}},
        {"type": "subject.registered", "subject": "ann", "data": {"kind": "customer"}},
    ]
    bodies = [
        {"specversion": "1.0", "id": f"o{number}", "source": "urn:t", "controller": "house", "time": on(-900), **one}
        for number, one in enumerate(opening)
    ]
    bodies += [body_of(number, day, *rest) for day, number, *rest in events]
    outcomes = ledger.record(bodies, scenario=[parse_time(TOLD)] * len(bodies))
    assert [one.kind for one in outcomes] == ["accepted"] * len(bodies), outcomes
    return ledger


def listed(ledger, now):
    found = ledger.obligations({"controller": "house", "subject": "ann", "at": on(now)})
    return [(row["kind"], row["request"], row["opened"], row["status"], row["due"]) for row in found]


names = st.sampled_from(["r1", "r1", "r1", "r2"])
near = st.sampled_from([-1, 0, 0, 1])
KINDS = sorted(PERIODS)


@st.composite
def stories(draw):
    """Events about one person's requests, close to where something turns: (day, what, name, more)."""
    events = []
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2))
    starts = [draw(st.integers(0, 10)) for _ in kinds]
    for kind, start in zip(kinds, starts, strict=True):
        events.append((start, f"{kind}.requested", draw(names), draw(st.integers(0, 3)) > 0))
    for _ in range(draw(st.integers(0, 7))):
        kind, start = draw(st.sampled_from(list(zip(kinds, starts, strict=True))))
        _, period, both = PERIODS[kind]
        turns = [start, start + 4, period(start), (both or period)(start)]
        day = max(0, draw(st.sampled_from(turns)) + draw(near))
        what = draw(
            st.sampled_from(["extended", "extended", "extended", "end", "answer", "hold", "again", "identified"])
        )
        if what == "extended":
            until = max(0, draw(st.sampled_from([*turns, turns[-1]])) + draw(near))
            events.append((day, "request.extended", draw(names), until))
        elif what == "end":
            events.append((day, draw(st.sampled_from(["request.taken_back", "request.denied"])), draw(names), None))
        elif what == "answer":
            events.append((day, draw(st.sampled_from(sorted(ANSWERS))), draw(names), None))
        elif what == "hold":
            hold = draw(st.sampled_from(["h1", "h2"]))
            events.append((day, "hold.placed", hold, None))
            events.append((day + draw(st.integers(0, 9)), "hold.released", hold, None))
        elif what == "again":
            events.append((day, f"{kind}.requested", draw(names), draw(st.booleans())))
        else:
            events.append((day, "deletion.identified", draw(names), None))
    return draw(st.permutations(events))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=stories(), moments=st.lists(st.integers(0, DAYS), min_size=3, max_size=5))
def test_what_is_due_is_what_a_slow_twin_of_the_contract_says(story, moments):
    events = [(day, number, *rest) for number, (day, *rest) in enumerate(story)]
    ordered = sorted(events, key=lambda one: one[:2])
    ledger = told(events)
    turns = {day for day, *_ in events} | {parsed(row[4]) for row in listed(ledger, DAYS) if row[4]}
    for now in {*moments, *turns, *(day - 1 for day in turns if day)}:
        expected, _ = twin_of(ordered, now)
        rows_ = [(kind, name, on(opened), status, due) for kind, name, opened, status, due in expected]
        assert sorted(listed(ledger, now), key=str) == sorted(rows_, key=str)
    _, vain = twin_of(ordered, 3 * DAYS)
    found = ledger.findings({"controller": "house", "subject": "ann", "at": on(3 * DAYS)})
    assert {(row["id"], row["clause"]) for row in found if row["event"] == "request.extended"} == {
        (f"r{number}", clause) for number, clause in vain
    }


def parsed(text):
    """A moment as a number of days since the start."""
    return (parse_time(text) - parse_time(on(0))) // DAY


def test_a_hold_after_an_extension_moves_what_is_due():
    events = [
        (0, 0, "deletion.requested", "r1", True),
        (3, 1, "request.extended", "r1", 50),
        (20, 2, "hold.placed", "h1", None),
        (24, 3, "hold.released", "h1", None),
    ]
    assert listed(told(events), 30) == [("deletion", "r1", on(0), "running", on(54))]
    assert twin_of(events, 30)[0] == [("deletion", "r1", 0, "running", on(54))]


def test_each_extension_is_looked_at_once_however_many_there_are(monkeypatch):
    looked_at = []
    inner = duties.extends
    monkeypatch.setattr(duties, "extends", lambda *args: looked_at.append(args) or inner(*args))
    events = [(0, 0, "access.requested", "r1", None)]
    events += [(1 + number // 10, number + 1, "request.extended", "r1", 999) for number in range(100)]
    ledger = told(events)
    assert len(ledger.findings({"controller": "house", "subject": "ann", "at": on(90)})) == 100
    assert listed(ledger, 90)[0][3:] == ("overdue", on(31))
    assert 100 <= len(looked_at) <= 400


# -- what a request closes ---------------------------------------------------------------------------------------------

WW = {"controller": "whereverworks"}
DELETED_AT, LATER, LATE = "2026-02-10T00:00:00Z", "2026-02-11T00:00:00Z", "2026-02-20T00:00:00Z"


def ann(type_name, data=None, *, time="2026-02-01T00:00:00Z", subject=PERSON, email=None):
    personal = {"email": email} if email else None
    return event(type_name, data, personal, subject=subject, time=time, **WW)


def contacted(ledger, subject=PERSON):
    ask = {"action": "contact", "purpose": "newsletter", "channel": "email"}
    return ledger.decide({**WW, **ask, "subject": subject, "at": LATE}).outcome


def ended(how, time=LATER, **more):
    data = {"request": "deletion-1"}
    if how != "taken_back":
        data |= {"ground": how, "explained": True}
    return ann(f"request.{'taken_back' if how == 'taken_back' else 'denied'}", data, time=time, **more)


ENDS = {"taken_back": "permit", "not-identified": "permit", "law": "deny", "unfounded": "deny", "other": "deny"}


@pytest.mark.parametrize("how", ENDS)
def test_what_a_request_closed_reopens_if_it_was_taken_back_or_nobody_proved_to_be_the_person(memory, how):
    accept(memory, ann("subject.registered", {"kind": "customer"}), ann("deletion.requested"))
    assert contacted(memory) == "deny"
    accept(memory, ended(how))
    assert contacted(memory) == ENDS[how]
    (row,) = memory.obligations({**WW, "subject": PERSON, "at": LATE})
    assert (row["request"], row["status"], row["due"]) == ("deletion-1", "done", None)
    accept(memory, ann("deletion.requested", time="2026-02-12T00:00:00Z"))  # the same id, asked again
    assert contacted(memory) == "deny"
    listed_now = memory.obligations({**WW, "subject": PERSON, "at": LATE})
    assert [row["status"] for row in listed_now] == ["done", "running"]


def test_the_first_denial_stands_and_what_never_was_cannot_be_taken_back(memory):
    accept(memory, ended("taken_back", time="2026-01-01T00:00:00Z"), ann("deletion.requested"))
    assert contacted(memory) == "deny"
    accept(memory, ended("law"), ended("not-identified", time="2026-02-12T00:00:00Z"))
    assert contacted(memory) == "deny"


def test_a_request_is_taken_back_under_any_joined_name(memory):
    link = event("subject.linked", None, {"other": "web:ann"}, subject=PERSON, time="2026-01-05T00:00:00Z", **WW)
    accept(memory, ann("subject.registered", {"kind": "customer"}), link, ann("deletion.requested"))
    assert [contacted(memory, one) for one in (PERSON, "web:ann")] == ["deny", "deny"]
    accept(memory, ended("taken_back", subject="web:ann"))
    assert [contacted(memory, one) for one in (PERSON, "web:ann")] == ["permit", "permit"]


def whole(ledger):
    with ledger.app.reading() as c:
        return list(problems(ledger.app, c))


@pytest.mark.parametrize("late", [False, True])
def test_a_deletion_after_its_request_was_taken_back_is_without_effect(store, late):
    """Told late it was carried out meanwhile: what is gone is gone, and what comes later is kept."""
    store.clock.set(LATE)
    accept(store.ledger, ann("subject.registered", {"kind": "customer"}, email="ann@example.com"))
    told_ = [ann("deletion.requested"), ended("taken_back", "2026-02-05T00:00:00Z")]
    done = ann("deletion.completed", time=DELETED_AT)
    accept(store.ledger, *([told_[0], done, told_[1]] if late else [*told_, done]))
    assert whole(store.ledger) == []
    assert len(rows(store.ledger, "SELECT 1 FROM secrets")) == (0 if late else 1)
    assert rows(store.ledger, "SELECT 1 FROM deleted") == []
    accept(store.ledger, ann("service.used", {"service": "desk"}, time="2026-02-06T00:00:00Z", email="a@example.com"))
    assert len(rows(store.ledger, "SELECT 1 FROM secrets")) == (1 if late else 2)
    assert contacted(store.ledger) == "permit"
    assert_whole(store.ledger)


def test_what_was_done_on_a_request_stays_when_it_is_taken_back(store):
    store.clock.set(LATE)
    accept(store.ledger, ann("subject.registered", {"kind": "customer"}, email="ann@example.com"))
    accept(store.ledger, ann("deletion.requested"), ann("deletion.completed", time=DELETED_AT), ended("taken_back"))
    assert rows(store.ledger, "SELECT 1 FROM secrets") == []
    assert len(rows(store.ledger, "SELECT 1 FROM deleted")) == 1
    ask = {"action": "use", "purpose": "support", "categories": ["email"], "subject": PERSON, "at": LATE}
    assert store.ledger.decide({**WW, **ask}).outcome == "deny"
    assert whole(store.ledger) == []


@pytest.mark.parametrize("how", [None, *ENDS])
def test_a_request_that_no_longer_closes_anything_is_not_carried_over_an_erasure(store, how):
    store.clock.set(LATE)
    accept(store.ledger, ann("subject.registered", {"kind": "visitor"}, email="ann@example.com"))
    accept(store.ledger, ann("deletion.requested"), *([ended(how)] if how else []))
    erase(store.ledger, {**WW, "subject": PERSON})
    store.clock.set("2026-03-01T00:00:00Z")
    accept(store.ledger, ann("subject.registered", {"kind": "visitor"}, subject="web:new", email="ann@example.com"))
    carried = rows(store.ledger, "SELECT 1 FROM entries WHERE type='suppression.carried'")
    assert len(carried) == (0 if ENDS.get(how) == "permit" else 1)


def test_a_denial_that_comes_late_is_a_late_answer_and_the_answer_after_it_is_not_the_first():
    body = HOUSE.replace(b"due_in_days = 10", b"due_in_days = 10\nlate_answer_is_finding = true")
    ledger = memory_ledger(load_pack(body), lambda: parse_time(TOLD))
    events = [
        (0, 0, "correction.requested", "r1", None),
        (0, 1, "correction.requested", "r2", None),
        (9, 2, "request.denied", "r1", None),
        (10, 3, "request.denied", "r2", None),
        (11, 4, "correction.completed", "r2", None),
    ]
    data = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
    opening = {"specversion": "1.0", "id": "p", "source": "urn:t", "controller": "house", "type": "policy.published"}
    ledger.record([{**opening, "time": on(-9), "data": data}])
    ledger.record([body_of(number, day, *rest) for day, number, *rest in events])
    found = ledger.findings({"controller": "house", "subject": "ann", "at": on(90)})
    assert [(row["id"], row["clause"]) for row in found] == [("r3", "A")]
