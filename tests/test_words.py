"""That an answer changes by time alone exactly when it says, over packs with every clock that a word can have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.decision.question import Question

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAIN = shipped_packs()["whereverworks"]
CLOCKS = b"""
[[clause]]
id = "X-LAPSE"
title = "A yes lapses"
rule = "A yes to promotions counts for a month, any other for twenty days."
[[clause.lapse]]
purpose = ["promotion"]
after_months = 1
[[clause.lapse]]
purpose = ["newsletter", "support"]
after_days = 20

[[clause]]
id = "X-LATER"
title = "A no takes a while"
rule = "An opt-out of a purpose or of everything general counts after three business days."
[[clause.objection]]
scope = "purpose"
effective_in_business_days = 3
[[clause.objection]]
scope = "list"
channels = ["post"]
effective_in_business_days = 2
[[clause.objection]]
scope = "list"

[[clause]]
id = "X-ASK"
title = "Asking"
rule = "Who said no is not asked again for a month."
[[clause.permit]]
action = ["request"]
despite_no = true
[[clause.forbid]]
action = ["request"]
when = [{ need = "quiet", months = 1, unanswered = true }]
"""
PACKS = {
    "plain": load_pack(PLAIN),
    "clocks": load_pack(PLAIN + CLOCKS),
    "opt-in": load_pack(shipped_packs()["parature"] + CLOCKS),
}
PURPOSES = ("newsletter", "promotion")
NAMES = ("ann", "web:ann")
DAYS = 40
LONG_BEFORE = "2020-01-01T00:00:00Z"
settings.register_profile("words", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("words")

purposes = st.sampled_from(PURPOSES)
lists = st.sampled_from((None, None, "news"))
channels = st.sampled_from((None, None, None, ["email"], ["post", "sms"]))
days = st.integers(0, DAYS)
moments = st.integers(DAYS // 3, DAYS + 10)


def day(number):
    return (START + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micros(number):
    return parse_time(day(number))


@st.composite
def said(draw):
    """(type, data, actor) of one thing that was said."""
    kind = draw(st.sampled_from(["yes"] * 6 + ["no"] * 2 + ["out"] * 3 + ["lift", "ask", "delete"]))
    named = {"purpose": draw(purposes), "list": draw(lists), "channels": draw(channels)}
    named = {name: value for name, value in named.items() if value is not None}
    if kind in ("yes", "no") and draw(st.booleans()) and draw(st.booleans()):
        named["expires_at"] = day(draw(days))
    if kind == "yes":
        actor = draw(st.sampled_from([None, None, "system", "guardian"]))
        return "consent.granted", {**named, "basis": draw(st.sampled_from(["express", "express", "use"]))}, actor
    if kind == "no":
        return draw(st.sampled_from(["consent.refused", "consent.withdrawn"])), named, None
    if kind == "ask":
        return "consent.requested", {name: named[name] for name in ("purpose", "list") if name in named}, None
    if kind == "delete":
        return "deletion.completed", {}, None
    scope = draw(st.sampled_from(["all", "general", "purpose", "purpose", "list", "list"]))
    about = {"purpose": named["purpose"], "list": "news"}
    data = {"scope": scope, **({scope: about[scope]} if scope in about else {})}
    return ("optout.recorded" if kind == "out" else "optout.lifted"), data, None


@st.composite
def histories(draw):
    """[(day, name, type, data, actor)] in order of telling; told as it happened."""
    rows = [(draw(days), draw(st.sampled_from(NAMES)), *draw(said())) for _ in range(draw(st.integers(2, 14)))]
    if draw(st.booleans()):
        rows.append(
            (draw(st.integers(DAYS // 2, DAYS)), "ann", "subject.linked", {"personal": {"other": "web:ann"}}, None)
        )
    return sorted(rows, key=lambda row: row[0])


@st.composite
def asked(draw):
    channel = draw(st.sampled_from(["email", "email", "post", None]))
    return Question("contact", purpose=draw(purposes), list=draw(lists), channel=channel)


def told(rows, pack):
    ledger = memory_ledger(pack, lambda: micros(DAYS + 11))
    first = [
        ("policy.published", None, LONG_BEFORE, {"version": "1", "text_sha256": "00", "pack_sha256": "00"}, None),
        *(("subject.registered", name, LONG_BEFORE, {"kind": "customer"}, None) for name in NAMES),
    ]
    rest = [(type_name, name, day(when), data, actor) for when, name, type_name, data, actor in rows]
    for number, (type_name, name, time, data, actor) in enumerate([*first, *rest]):
        event = {
            "specversion": "1.0",
            "source": "urn:t",
            "id": str(number),
            "time": time,
            "controller": pack.controller,
        }
        event |= {"type": type_name, "data": data}
        event |= {"subject": name} if name else {}
        event |= {"actor": actor} if actor else {}
        (outcome,) = ledger.record([event], scenario=[parse_time(time)])
        assert outcome.kind == "accepted", outcome
    return ledger


@pytest.mark.parametrize("name", ["clocks", "opt-in"])
@settings(max_examples=250)
@given(rows=histories(), question=asked(), later=st.integers(0, 3), action=st.sampled_from(["request", "contact"]))
def test_with_clocks_too_an_answer_changes_by_time_alone_exactly_when_it_says(name, rows, question, later, action):
    pack = PACKS[name]
    ledger = told(rows, pack)
    moment = max((row[0] for row in rows), default=0) + later
    body = {"controller": pack.controller, "subject": "ann", "action": action, "purpose": question.purpose}
    body |= {name: value for name in ("list", "channel") if (value := getattr(question, name)) is not None}
    first = ledger.decide({**body, "at": day(moment)})
    half_days = [START + timedelta(days=moment, hours=hours) for hours in range(12, 24 * 90, 12)]
    times = (one.strftime("%Y-%m-%dT%H:%M:%SZ") for one in half_days)
    changed = next((one for one in times if ledger.decide({**body, "at": one}).outcome != first.outcome), None)
    assert first.changes_at == (parse_time(changed) if changed else None)
    ledger.app.close()
