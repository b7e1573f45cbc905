"""Properties of folding and deciding over generated histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.opening import memory_ledger, shipped_packs
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import FOREVER, parse_time
from consent_ledger.projections.fold.record import new_state
from consent_ledger.projections.fold.state import evolve
from consent_ledger.projections.read.people import fold_person
from consent_ledger.projections.read.snapshot import dump, load

START = datetime(2026, 1, 1, tzinfo=UTC)
PACKS = {controller: load_pack(body) for controller, body in shipped_packs().items()}
PURPOSES = ("newsletter", "promotion", "support", "quality-survey", "service-message", "patch")
LISTS = ("news", "offers", None)
RECIPIENTS = ("listco", "payco", "goldco")
CLASSES = {"listco": "vendor", "payco": "service-provider", "goldco": "partner"}
settings.register_profile("ledger", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("ledger")


def at(minutes: int) -> str:
    return (START + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


minutes = st.integers(0, 200)
purpose = st.sampled_from(PURPOSES)
lists = st.sampled_from(LISTS)


OF_CONTROLLER = [
    ("recipient.agreement.signed", {"recipient": "goldco", "kind": "confidentiality"}),
    ("recipient.registered", {"recipient": "payco", "class": "service-provider", "service": "promotion"}),
    ("policy.published", {"version": "2", "text_sha256": "00", "pack_sha256": "00", "supersedes": "1"}
     | {"change": {"touches_stored_information": True, "material": True, "new_uses": ["quality-survey"]}}),
    ("policy.notice.posted", {"version": "2", "where": "site"}),
]  # fmt: skip


@st.composite
def acts(draw):
    """Something done to a person, or with what is known of them."""
    about = {"purpose": draw(purpose)}
    kind = draw(st.sampled_from(["message.sent", "information.used", "disclosure.made"]))
    if kind == "message.sent":
        about |= {"channel": draw(st.sampled_from(["email", "post"]))}
    elif kind == "disclosure.made":
        about |= {"recipient": draw(st.sampled_from(RECIPIENTS)), "categories": ["email"]}
    return kind, about


@st.composite
def facts(draw):
    """One event about a person: type and data."""
    kind = draw(st.integers(0, 15))
    if kind > 11:
        return draw(acts()) if kind > 12 else draw(st.sampled_from(OF_CONTROLLER))
    named = {"purpose": draw(purpose)}
    if (name := draw(lists)) is not None:
        named["list"] = name
    if kind in (0, 1):
        data = {**named, "basis": draw(st.sampled_from(["express", "use"]))}
        if draw(st.booleans()):
            data["expires_at"] = at(draw(minutes))
        if draw(st.integers(0, 3)) == 0:
            data["recipients"] = [draw(st.sampled_from(RECIPIENTS))]
        return "consent.granted", data
    if kind in (2, 3):
        if draw(st.integers(0, 2)) == 0:
            named["expires_at"] = at(draw(minutes))
        return draw(st.sampled_from(["consent.refused", "consent.withdrawn"])), named
    if kind in (4, 5, 6):
        scope = draw(st.sampled_from(["all", "general", "purpose", "list", "recipient"]))
        data = {"scope": scope}
        if scope == "purpose":
            data["purpose"] = named["purpose"]
        elif scope == "list":
            data["list"] = draw(st.sampled_from(["news", "offers"]))
        elif scope == "recipient":
            data["recipient"] = draw(st.sampled_from(RECIPIENTS))
        return draw(st.sampled_from(["optout.recorded", "optout.recorded", "optout.lifted"])), data
    if kind == 7:
        return "service.used", {"service": "desk"}
    if kind == 8:
        return draw(st.sampled_from(["agreement.started", "agreement.ended"])), {"service": "desk"}
    if kind == 9:
        return "information.collected", {"categories": ["name", "email"], "origin": "subject"}
    if kind == 10:
        return "partner.notified", {"recipient": draw(st.sampled_from(RECIPIENTS))}
    return draw(
        st.sampled_from(
            [
                ("subject.age.learned", {"age": 11}),
                ("subject.age.learned", {"age": 40}),
                ("account.deactivated", {}),
                ("deletion.requested", {"request": "r1"}),
                ("deletion.completed", {"request": "r1"}),
                ("access.requested", {"request": "r1"}),
                ("request.taken_back", {"request": "r1"}),
                ("request.denied", {"request": "r1", "ground": "not-identified", "explained": False}),
                ("request.denied", {"request": "r1", "ground": "law", "explained": True}),
                ("request.extended", {"request": "r1", "until": "2026-02-10T00:00:00Z", "reason": "complex"}),
                ("hold.placed", {"hold": "h1", "ground": "law"}),
                ("hold.released", {"hold": "h1"}),
            ]
        )
    )


@st.composite
def histories(draw, subjects=("ann",), most=14):
    """(subject, minute it happened, minute it was told, type, data), in order of telling."""
    rows = []
    told = 0
    for _ in range(draw(st.integers(0, most))):
        told += draw(st.integers(0, 15))
        happened = max(told - draw(st.sampled_from([0, 0, 0, 5, 40, 90])), 0)
        type_name, data = draw(facts())
        who = None if any(type_name == one for one, _ in OF_CONTROLLER) else draw(st.sampled_from(subjects))
        rows.append((who, happened, told, type_name, data))
    return rows


@st.composite
def questions(draw):
    action = draw(st.sampled_from(["contact", "use", "disclose"]))
    body = {"action": action, "purpose": draw(purpose)}
    if action == "contact":
        body["channel"] = draw(st.sampled_from(["email", "post"]))
        if (name := draw(lists)) is not None:
            body["list"] = name
    elif action == "disclose":
        body |= {"recipient": draw(st.sampled_from(RECIPIENTS)), "categories": ["email"]}
    return body


def given_ledger(controller, rows, subjects=("ann",), keep=lambda _: True):
    """A ledger that was told those of the rows which are kept."""
    now = [parse_time(at(0))]
    ledger = memory_ledger(PACKS[controller], lambda: now[0])
    opening = [
        {"type": "policy.published", "data": {"version": "1", "text_sha256": "00", "pack_sha256": "00"}},
        *({"type": "recipient.registered", "data": {"recipient": one, "class": CLASSES[one]}} for one in RECIPIENTS),
        *({"type": "subject.registered", "subject": one, "data": {"kind": "customer"}} for one in subjects),
    ]
    for number, body in enumerate(opening):
        tell(ledger, controller, f"o{number}", "2020-01-01T00:00:00Z", at(0), body)
    for number, row in enumerate(rows):
        if not keep(row):
            continue
        subject, happened, told, type_name, data = row
        now[0] = parse_time(at(told))
        tell(
            ledger,
            controller,
            f"r{number}",
            at(happened),
            at(told),
            {"type": type_name, "data": data} | ({"subject": subject} if subject else {}),
        )
    return ledger


def tell(ledger, controller, event_id, time, recorded, body):
    event = {"specversion": "1.0", "source": "urn:t", "id": event_id, "time": time, "controller": controller, **body}
    (outcome,) = ledger.record([event], scenario=[parse_time(recorded)])
    return outcome


def answer(ledger, controller, body):
    found = ledger.decide({"controller": controller, "subject": "ann", **body})
    return found.outcome, sorted(found.clauses), sorted((ref.type, ref.id) for ref in found.because)


CONTROLLERS = pytest.mark.parametrize("controller", sorted(PACKS))


@CONTROLLERS
@settings(max_examples=60)
@given(rows=histories(), question=questions(), moment=minutes, known=minutes)
def test_an_answer_at_two_moments_is_that_of_a_ledger_which_was_told_no_more(controller, rows, question, moment, known):
    whole = given_ledger(controller, rows)
    less = given_ledger(controller, rows, keep=lambda row: row[1] <= moment and row[2] <= known)
    body = {**question, "at": at(moment)}
    asked = {**body, "known_at": at(known)}
    accepted_alike = len(less.app.page(0, 1000)) <= len(whole.app.page(0, 1000))
    assert accepted_alike
    assume(no_door_differs(whole, less))
    assert answer(whole, controller, asked) == answer(less, controller, body)


def read_models(ledger, controller, at_, known=None):
    """Everything else that can be asked about ann, without what hangs on positions and random identifiers."""
    body = {"controller": controller, "subject": "ann", "at": at_} | ({"known_at": known} if known else {})
    found = {name: getattr(ledger, name)(body) for name in ("obligations", "findings", "recipients", "history")}
    found["state"] = [ledger.state(body)]
    return {name: [plain(row) for row in rows] for name, rows in found.items()}


def plain(row):
    """A row without positions, versions in the stream and random identifiers."""
    if isinstance(row, dict):
        random = ("position", "version", "person", "identifiers", "recorded_at")
        kept = {name: one for name, one in row.items() if name not in random}
        return {name: plain(one) for name, one in kept.items()}
    return [plain(one) for one in row] if isinstance(row, list) else row


@CONTROLLERS
@settings(max_examples=60)
@given(rows=histories(), moment=minutes, known=minutes, warm=st.booleans())
def test_what_is_read_at_two_moments_is_that_of_a_ledger_which_was_told_no_more(controller, rows, moment, known, warm):
    whole = given_ledger(controller, rows)
    less = given_ledger(controller, rows, keep=lambda row: row[1] <= moment and row[2] <= known)
    assume(no_door_differs(whole, less))
    if warm:  # what was projected and judged before must not show
        whole.projector.catch_up()
        read_models(whole, controller, at(500))
    assert read_models(whole, controller, at(moment), at(known)) == read_models(less, controller, at(moment))


@CONTROLLERS
@settings(max_examples=60)
@given(rows=histories(most=10), order=st.randoms(use_true_random=False), question=questions(), moment=minutes)
def test_the_order_of_arrival_does_not_matter_but_for_equal_times(controller, rows, order, question, moment):
    told = [row for row in rows if row[3] != "subject.age.learned"]  # what is refused hangs on what was known
    arrived = sorted(told, key=lambda _: order.random())
    for happened in {row[1] for row in told}:  # those of one moment keep their order among themselves
        places = [number for number, row in enumerate(arrived) if row[1] == happened]
        for place, row in zip(places, [row for row in told if row[1] == happened], strict=True):
            arrived[place] = row
    late = [(subject, happened, 300, *rest) for subject, happened, _, *rest in arrived]
    early = [(subject, happened, 300, *rest) for subject, happened, _, *rest in told]
    one, other = (given_ledger(controller, some) for some in (early, late))
    body = {**question, "at": at(moment)}
    assert answer(one, controller, body)[:2] == answer(other, controller, body)[:2]
    found, again = (read_models(ledger, controller, at(moment)) for ledger in (one, other))
    for rows_of in (found, again):  # an event's id tells which came first
        for row in (*rows_of["history"], *rows_of["findings"]):
            row.pop("id")
    assert found == again


def no_door_differs(whole, less):
    """What was refused at the door depends on what was known there: leave those histories out."""
    return not whole.refusals({}) and not less.refusals({})


@CONTROLLERS
@settings(max_examples=60)
@given(rows=histories())
def test_folding_step_by_step_is_folding_from_scratch(controller, rows):
    ledger = given_ledger(controller, rows)
    person = ledger.people.person(ledger.app.person(controller, "ann"))
    step_by_step = new_state([person.person])
    for entry in person.entries:
        evolve(step_by_step, entry)
    whole = fold_person(person, FOREVER, FOREVER)
    assert dump(step_by_step) == dump(whole)
    assert dump(load(dump(whole))) == dump(whole)
    ledger.projector.catch_up()
    assert dump(ledger.projector.person(person.person).state) == dump(whole)


@CONTROLLERS
@settings(max_examples=60)
@given(
    rows=histories(), question=questions(), scope=st.sampled_from(["all", "general", "purpose", "list", "recipient"])
)
def test_an_opt_out_never_turns_a_denial_into_a_permission(controller, rows, question, scope):
    before = answer(given_ledger(controller, rows), controller, {**question, "at": at(500)})
    named = {"purpose": "promotion", "list": "news", "recipient": "goldco"}
    data = {"scope": scope} | ({scope: named[scope]} if scope in named else {})
    after = answer(
        given_ledger(controller, [*rows, ("ann", 400, 400, "optout.recorded", data)]),
        controller,
        {**question, "at": at(500)},
    )
    assert not (before[0] == "deny" and after[0] == "permit")


@CONTROLLERS
@settings(max_examples=40)
@given(rows=histories(), other=histories(subjects=("bob",), most=6), question=questions(), moment=minutes)
def test_another_persons_events_change_no_answer(controller, rows, other, question, moment):
    both = sorted([*rows, *(row for row in other if row[0] == "bob")], key=lambda row: row[2])
    body = {**question, "at": at(moment)}
    alone = given_ledger(controller, rows, ("ann", "bob"))
    together = given_ledger(controller, both, ("ann", "bob"))
    assert answer(alone, controller, body)[:2] == answer(together, controller, body)[:2]


@CONTROLLERS
@settings(max_examples=60)
@given(rows=histories(), question=questions(), moment=minutes)
def test_an_answer_changes_by_time_alone_exactly_when_it_says(controller, rows, question, moment):
    told = [row for row in rows if row[1] <= moment]
    ledger = given_ledger(controller, told)
    body = {"controller": controller, "subject": "ann", **question}
    first = ledger.decide({**body, "at": at(moment)})
    changed = [m for m in range(moment + 1, 202) if ledger.decide({**body, "at": at(m)}).outcome != first.outcome]
    expected = parse_time(at(changed[0])) if changed else None
    assert first.changes_at == expected


@CONTROLLERS
@settings(max_examples=40)
@given(rows=histories(subjects=("ann", "bob"), most=10), question=questions())
def test_linking_and_then_unlinking_restores_every_answer(controller, rows, question):
    plain = given_ledger(controller, rows, ("ann", "bob"))
    linked = given_ledger(controller, rows, ("ann", "bob"))
    other = {"personal": {"other": "bob"}}
    for number, type_name in ((600, "subject.linked"), (610, "subject.unlinked")):
        tell(
            linked,
            controller,
            f"l{number}",
            at(number),
            at(number),
            {"type": type_name, "subject": "ann", "data": other},
        )
    for subject in ("ann", "bob"):
        body = {"controller": controller, "subject": subject, **question, "at": at(700)}
        one, two = plain.decide(body), linked.decide(body)
        assert (one.outcome, one.clauses) == (two.outcome, two.clauses)
    joined = linked.decide({"controller": controller, "subject": "ann", **question, "at": at(605)})
    apart = [plain.decide({"controller": controller, "subject": s, **question, "at": at(605)}) for s in ("ann", "bob")]
    if (
        question["action"] == "contact"
        and all(one.outcome == "deny" for one in apart)
        and controller == "whereverworks"
    ):
        assert joined.outcome == "deny"


DELAYED = b"""
format = 1
controller = "house"
title = "House"
purposes = ["news", "notice"]
classes = []
[categories]
personal = ["name"]
anonymous = []
[[clause]]
id = "H-1"
title = "Notices"
rule = "Notices to those who agreed to some message."
[[clause.permit]]
action = ["contact"]
purpose = ["notice"]
needs = [{ need = "any-opt-in" }]
despite_no = true
[[clause.permit]]
action = ["contact"]
purpose = ["news"]
needs = [{ need = "opt-in" }]
[[clause.objection]]
scope = "all"
channels = ["email"]
effective_in_business_days = 1
[[clause.objection]]
scope = "all"
channels = ["post"]
"""


def test_an_opt_out_that_takes_effect_later_for_other_messages_still_says_when_the_answer_changes():
    ledger = memory_ledger(load_pack(DELAYED), lambda: parse_time("2026-01-07T00:00:00Z"))
    published = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
    yes = {"purpose": "news", "basis": "express", "channels": ["email"]}
    for number, (type_name, data) in enumerate(
        [("policy.published", published), ("consent.granted", yes), ("optout.recorded", {"scope": "all"})]
    ):
        who = {} if type_name == "policy.published" else {"subject": "ann"}
        time = f"2026-01-0{5 + number}T00:00:00Z"  # a Monday and the days after
        assert (
            tell(ledger, "house", str(number), time, time, {"type": type_name, "data": data, **who}).kind == "accepted"
        )
    body = {"controller": "house", "subject": "ann", "action": "contact", "purpose": "notice", "channel": "post"}
    answer = ledger.decide(body)
    assert (answer.outcome, answer.changes_at) == ("permit", parse_time("2026-01-09T00:00:00Z"))
    assert ledger.decide({**body, "at": "2026-01-09T00:00:00Z"}).outcome == "deny"
