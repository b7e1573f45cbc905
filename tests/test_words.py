"""The person's word against a slow transcription of the rules, over packs with and without clocks.

`slow_word` goes through everything that was said, as the contract's sentences have it: no index, nothing replaced by
the way, nothing folded. The shop is an edit of a shipped pack that has every clock a word can have.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumers.opening import memory_ledger, shipped_packs
from ledger.pack import Objection
from ledger.packfile import load_pack
from ledger.times import DAY, FOREVER, after_business_days, after_months, parse_time
from projections.choices import Terms, Yes, optout_covers, word
from projections.question import Question

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
NO_DELAY = Objection(scope="all")
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


# -- the slow one ------------------------------------------------------------------------------------------------------


def slow_word(rows, question, now, pack, terms):
    """("yes" or "no", number of the row that decides) or None, for the person that goes by all names."""
    in_force = [(number, row) for number, row in enumerate(rows) if micros(row[0]) <= now]
    link = next((number for number, row in in_force if row[2] == "subject.linked"), None)
    names = NAMES if link is not None else ("ann",)
    words = []
    deleted = max((n for n, row in in_force if row[2] == "deletion.completed" and row[1] in names), default=-1)
    for name in names:
        # under a name counts what was said under it, and since they are one, under any
        track = [(n, row) for n, row in in_force if row[1] == name or (link is not None and n > link)]
        words.append(_slow_track(track, question, now, pack, terms, deleted))
    noes = [one for one in words if one is not None and one[0] == "no"]
    yeses = [one for one in words if one is not None and one[0] == "yes"]
    return max(noes or yeses, key=lambda one: one[1], default=None)


def _slow_track(track, question, now, pack, terms, deleted):
    choices = [(n, row) for n, row in track if row[2].startswith("consent.") and row[2] != "consent.requested"]
    choices = [(n, row) for n, row in choices if not _over(row, now, pack)]
    choices = [(n, row) for n, row in choices if not any(m > n and _same(row, other) for m, other in choices)]
    covering = [(n, row) for n, row in choices if _covers(row, question, terms)]
    express = max((n for n, row in covering if _is_yes(row) and _express(row) and n > deleted), default=None)
    by_use = max((n for n, row in covering if _is_yes(row) and not _express(row) and n > deleted), default=None)
    refused = max((n for n, row in covering if not _is_yes(row)), default=None)
    noes = [refused] if refused is not None and (express is None or refused > express) else []
    for n, row in track:
        if row[2] == "optout.recorded" and _stands(n, row, track, question, now, pack):
            scope = row[3]["scope"]
            named = scope != "list" or (express is not None and dict(track)[express][3].get("list") == row[3]["list"])
            if express is None or express < n or not named:
                noes.append(n)
    if noes:
        return "no", max(noes)
    if express is not None:
        return "yes", express
    return ("yes", by_use) if by_use is not None and refused is None else None


def _is_yes(row):
    return row[2] == "consent.granted"


def _express(row):
    return row[3]["basis"] == "express" and row[4] != "system"


def _over(row, now, pack):
    """A choice that has expired counts as never made; so does a yes that lapsed."""
    ends = [parse_time(row[3]["expires_at"])] if "expires_at" in row[3] else []
    if _is_yes(row):
        for _, lapse in pack.lapses:
            if lapse.purpose is None or row[3]["purpose"] in lapse.purpose:
                since = micros(row[0])
                ends.append(
                    since + lapse.after_days * DAY if lapse.after_days else after_months(since, lapse.after_months)
                )
    return any(end <= now for end in ends)


def _same(row, later):
    """Whether the later says something about the very same, in the same way, under the same name."""
    what = [
        (one[1], *(str(one[3].get(name)) for name in ("purpose", "list", "channels")), one[4]) for one in (row, later)
    ]
    mere_use = [_is_yes(one) and one[3]["basis"] == "use" for one in (row, later)]
    return what[0] == what[1] and mere_use[0] == mere_use[1]


def _covers(row, question, terms):
    data = row[3]
    if data["purpose"] != question.purpose:
        return False
    if _is_yes(row):
        if "channels" in data and question.channel not in data["channels"]:
            return False
        if (data.get("list") is not None or terms.per_list) and data.get("list") != question.list:
            return False
        return (data["basis"] == "express" or terms.any_basis) and (terms.actor is None or row[4] == terms.actor)
    if "channels" in data and question.channel is not None and question.channel not in data["channels"]:
        return False
    return data.get("list") is None or data["list"] == question.list


def _stands(n, row, track, question, now, pack):
    """Whether an opt-out was not lifted, has taken effect and is about the question."""
    scope, name = row[3]["scope"], row[3].get(row[3]["scope"])
    lifted = any(m > n and r[2] == "optout.lifted" and r[3] == row[3] for m, r in track)
    if lifted or optout_covers(scope, name, question, pack) is None:
        return False
    carrying = next(
        one
        for _, one in (*pack.objections.get(scope, ()), ("", NO_DELAY))
        if one.channels is None or question.channel is None or question.channel in one.channels
    )
    since, delay = micros(row[0]), carrying.effective_in_business_days
    return (after_business_days(since, delay, pack.calendar.holidays) if delay else since) <= now


# -- they agree --------------------------------------------------------------------------------------------------------

TERMS = (Terms(), Terms(per_list=True), Terms(any_basis=True), Terms(actor="guardian"))


@pytest.mark.parametrize("name", ["plain", "clocks"])
@settings(max_examples=400)
@given(rows=histories(), question=asked(), moment=moments, terms=st.sampled_from(TERMS))
@example(
    rows=[(0, "ann", "consent.refused", {"purpose": "support"}, None),
          (1, "ann", "consent.granted", {"purpose": "support", "basis": "express"}, None)],
    question=Question("contact", purpose="support"), moment=30, terms=Terms(),
)  # fmt: skip
def test_the_word_is_that_of_the_slow_transcription(name, rows, question, moment, terms):
    pack = PACKS[name]
    ledger = told(rows, pack)
    person = ledger.people.person(ledger.app.person("whereverworks", "ann"))
    now = micros(moment)
    state = ledger._view(ledger._session, "whereverworks", FOREVER).case(person, now).state
    found = word(state, question, now, pack, terms)
    came = None if found is None else ("yes" if isinstance(found, Yes) else "no", int(found.ref.id) - 3)
    assert came == slow_word(rows, question, now, pack, terms)
    ledger.app.close()


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
