"""What is closed stays closed: by ways that lead round it, each of which once let something through."""

from __future__ import annotations

import pytest
from conftest import accept, event, outcome_of, rows

from consent_ledger.consumers.maintenance import erase
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.projections.decision.decide import turning_points
from consent_ledger.projections.decision.question import Question

WW = {"controller": "whereverworks"}
DAY = "2026-02-01"
NEWS = {"purpose": "newsletter", "list": None}
YES = {**NEWS, "basis": "express"}


def told(type_name, data=None, personal=None, *, who="A", at="00", **more):
    """An event of the opt-out house at an hour of the day."""
    return event(type_name, data, personal, **{"subject": who, "time": f"{DAY}T{at}:00:00Z", **WW, **more})


def joined(*names, at="01"):
    """A with others."""
    return [told("subject.linked", {}, {"other": name}, at=at) for name in names]


def parted(*names, at="06"):
    return [told("subject.unlinked", {}, {"other": name}, at=at) for name in names]


def outcome(ledger, who="A", **question):
    asked = {**WW, "action": "contact", "purpose": "newsletter", "channel": "email", "subject": who, **question}
    return ledger.decide(asked).outcome


def outcomes(ledger, names):
    return [outcome(ledger, who) for who in names]


# -- joined and parted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "after", "parts"),
    [
        ({}, [], ["deny", "permit", "permit"]),  # it did not stand at the parting
        ({"actor": "guardian"}, [("guardian.ended", {})], ["deny", "deny", "deny"]),
        ({"actor": "guardian"}, [], ["deny", "permit", "permit"]),
    ],
)
def test_a_no_that_an_ended_yes_had_overcome_stays_with_all_who_part(memory, yes, after, parts):
    accept(
        memory,
        *(told("subject.registered", who=who) for who in "ABC"),
        *joined("B", "C"),
        told("consent.refused", NEWS, at="02"),
        told("consent.granted", YES, who="B", at="03", **yes),
        *(told(name, data, who="B", at="04") for name, data in after),
        *parted("C", "B"),
    )
    assert outcomes(memory, "ABC") == parts


def test_door_and_decision_know_the_same_age_after_a_third_name_parted(memory):
    accept(
        memory,
        *(told("subject.registered", who=who) for who in "ABC"),
        *joined("B"),
        told("subject.linked", {}, {"other": "C"}, who="B", at="01"),
        told("subject.age.learned", {"age": 10}, who="B", at="02"),
        told("subject.age.learned", {"age": 30}, at="03"),
        told("subject.unlinked", {}, {"other": "C"}, who="B", at="04"),
    )
    assert outcome(memory) == "deny"
    assert outcome_of(memory, told("information.collected", at="05")).clause == "WW-CHILD-1"


# -- it outlives an erasure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "after", "stands"),
    [
        ({}, [], "permit"),
        ({"actor": "guardian"}, [], "permit"),
        ({"actor": "guardian"}, [("guardian.ended", {})], "deny"),
        ({}, [("deletion.completed", {"request": None})], "deny"),
        ({"time": f"{DAY}T05:00:00Z"}, [("deletion.completed", {"request": None})], "permit"),
    ],
)
def test_a_refusal_that_stands_again_outlives_its_person(store, yes, after, stands):
    her = {"email": "ann.closed@example.com"}
    accept(
        store.ledger,
        told("subject.registered", None, her),
        told("consent.refused", NEWS, at="02"),
        told("consent.granted", YES, at="03", **yes),
        *(told(name, data, at="04") for name, data in after),
    )
    assert outcome(store.ledger) == stands
    erase(store.ledger, {**WW, "subject": "A"})
    accept(store.ledger, told("subject.registered", None, her, who="new", time="2026-02-20T00:00:00Z"))
    assert outcome(store.ledger, "new") == stands


@pytest.mark.parametrize(("day", "hour", "opens"), [("2026-02-01", "10", "deny"), ("2026-02-02", "10", "permit")])
def test_of_the_day_of_a_no_whose_hour_is_erased_only_a_yes_told_as_it_happens_is_later(store, day, hour, opens):
    her = {"email": "ann.closed@example.com"}
    accept(store.ledger, told("subject.registered", None, her), told("optout.recorded", {"scope": "general"}, at="15"))
    erase(store.ledger, {**WW, "subject": "A"})
    accept(store.ledger, told("consent.granted", YES, her, who="new", time=f"{day}T{hour}:00:00Z"))
    assert outcome(store.ledger, "new") == opens


def test_a_yes_on_the_very_day_counts_when_it_is_told_at_once(store):
    her = {"email": "ann.closed@example.com"}
    store.clock.set("2026-03-02T15:00:00Z")
    accept(store.ledger, told("subject.registered", None, her))
    accept(store.ledger, told("optout.recorded", {"scope": "general"}, time=store.clock.text))
    erase(store.ledger, {**WW, "subject": "A"})
    store.clock.set("2026-03-02T16:00:00Z")
    accept(store.ledger, told("consent.granted", YES, her, who="new", time=store.clock.text))
    assert outcome(store.ledger, "new") == "permit"
    assert outcome(store.ledger, "new", at="2026-03-03T00:00:00Z") == "permit"


# -- times and fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minute", "opens"), [("07", "deny"), ("10", "deny"), ("11", "permit")])
def test_a_bounce_ahead_of_its_recording_counts_after_every_yes_up_to_the_time_it_claims(memory, clock, minute, opens):
    day = "2026-03-02"
    clock.set(f"{day}T10:05:00Z")
    accept(memory, told("subject.registered", None, {"email": "a@example.com"}))
    accept(memory, told("message.bounced", {"channel": "email", "permanent": True}, time=f"{day}T10:10:00Z"))
    clock.set(f"{day}T10:12:00Z")
    accept(memory, told("consent.granted", YES, time=f"{day}T10:{minute}:00Z"))
    assert outcome(memory) == opens


def test_a_message_by_whatever_channel_is_stopped_with_one_of_them(memory):
    accept(
        memory, told("subject.registered"), told("message.bounced", {"channel": "email", "permanent": True}, at="01")
    )
    asked = {channel: outcome(memory, channel=channel) for channel in ("email", "post", None)}
    assert asked == {"email": "deny", "post": "permit", None: "deny"}


@pytest.mark.parametrize("action", ["collect", "use", "contact"])
@pytest.mark.parametrize("purpose", ["newsletter", None])
def test_a_yes_that_names_no_category_opens_no_refusal_that_is_about_one(memory, action, purpose):
    accept(
        memory,
        told("subject.registered"),
        told("consent.refused", {"purpose": None, "list": None, "categories": ["email"]}, at="01"),
        told("consent.granted", YES, at="02"),
    )
    channel = "email" if action == "contact" else None
    asked = {"action": action, "purpose": purpose, "categories": ["email"], "channel": channel}
    assert outcome(memory, **asked) == "deny"


# -- the name of an answer ---------------------------------------------------------------------------------------------


def test_an_answer_from_before_a_deletion_is_not_called_forged_when_the_person_came_back(memory, clock):
    accept(memory, told("subject.registered", None, {"email": "a@example.com"}))
    clock.set("2026-03-02T00:00:00Z")
    question = {**WW, "subject": "A", "action": "contact", "purpose": "newsletter", "channel": "email"}
    named = memory.decide({**question, "at": clock.text}).id
    sent = {**NEWS, "channel": "email"}

    def wrong():
        return [row["reason"] for row in memory.findings({**WW, "subject": "A"})]

    accept(memory, told("message.sent", {**sent, "decision": named}, time=clock.text))
    clock.set("2026-03-03T00:00:00Z")
    accept(memory, told("deletion.completed", {"request": None}, time=clock.text))
    clock.set("2026-03-04T00:00:00Z")
    accept(memory, told("subject.registered", None, {"email": "b@example.com"}, time=clock.text))
    assert wrong() == []
    accept(memory, told("message.sent", {**sent, "decision": memory.decide(question).id}, time=clock.text))
    assert wrong() == []
    forged = memory.decide(question).id[:-32] + "0" * 32
    accept(memory, told("message.sent", {**sent, "decision": forged}, time=clock.text))
    assert wrong() == ["names a decision that was not given, or not about this"]


# -- much of it --------------------------------------------------------------------------------------------------------


def many_noes(times):
    """Refusals that end one after the other, each about other categories besides."""
    more = ["name", "telephone", "company", "job-title", "login", "profile", "interests", "attendance", "browser"]
    for number in range(times):
        categories = ["email", *(one for bit, one in enumerate(more) if number >> bit & 1)]
        until = f"2026-06-{number // 20 + 1:02}T{number % 20:02}:00:00Z"
        yield told("consent.refused", {**NEWS, "categories": categories, "expires_at": until}, at="02")


@pytest.mark.parametrize("step", [1, -1])
def test_when_an_answer_changes_is_found_without_deciding_at_every_end_of_a_no(memory, monkeypatch, step):
    import consent_ledger.projections.decision.decide as module

    decided = [0]
    decide = module.decide

    def counted(*args):
        decided[0] += 1
        return decide(*args)

    monkeypatch.setattr(module, "decide", counted)
    accept(memory, told("subject.registered"), *list(many_noes(200))[::step])
    asked = {**WW, "subject": "A", "action": "contact", "purpose": "newsletter", "channel": "email"}
    answer = memory.decide(asked).to_dict()
    assert (answer["outcome"], answer["changes_at"]) == ("deny", "2026-06-10T19:00:00Z")
    assert decided[0] <= 3


@pytest.mark.parametrize(
    ("field", "names"),
    [("item", "abcdefgh"), ("list", "abcdefgh"), ("purpose", ("newsletter", "promotion", "support", "lead-followup"))],
)
def test_ends_of_what_a_question_is_not_about_are_not_looked_at(memory, field, names):
    said = [
        told("consent.granted", {**YES, field: name, "expires_at": f"2026-06-01T00:{minute:02}:00Z"}, at="02")
        for minute, name in enumerate(names)
    ]
    accept(memory, told("subject.registered"), *said)
    view, person = memory.found({**WW, "subject": "A"})
    case = view.case(person, memory.clock())
    asked = Question("contact", **{"purpose": "newsletter", "channel": "email", field: names[0]})
    pack = view.newest_pack
    assert len(turning_points(pack, case, [asked], memory.clock())) == 1
    assert len(turning_points(pack, case, [asked, asked], memory.clock())) == len(names)


def test_requests_and_holds_are_read_once_at_intake(store, monkeypatch):
    from consent_ledger.ledger.intake import ends

    read = [0]
    decode = ends.decode

    def counted(*args):
        read[0] += 1
        return decode(*args)

    monkeypatch.setattr(ends, "decode", counted)
    for number in range(30):
        accept(store.ledger, told("deletion.requested", {"request": f"r{number}"}))
    assert read[0] <= 60


@pytest.mark.parametrize("late", [False, True])
def test_a_request_told_late_makes_the_deletion_that_was_told_before_it(store, late):
    her = {"email": "ann.closed@example.com"}
    accept(
        store.ledger, told("subject.registered", None, her), told("deletion.requested", {"request": "other"}, at="01")
    )
    asked, done = told("deletion.requested", at="02"), told("deletion.completed", at="03")
    accept(store.ledger, *((done, asked) if late else (asked, done)))
    assert rows(store.ledger, "SELECT count(*) FROM secrets") == [0]
    accept(store.ledger, told("subject.registered", None, her, at="02"))  # of a time before it: not kept
    assert rows(store.ledger, "SELECT count(*) FROM secrets") == [0]


def test_who_was_never_joined_and_only_mentioned_can_be_parted_and_stays_unknown_as_of_then(memory, clock):
    then = clock.text
    accept(memory, told("subject.registered"), *parted("B"))
    assert outcome(memory) == "permit"
    clock.forward(60)
    for later in ([], [told("subject.registered", who="B"), *joined("B")]):
        accept(memory, *later)
        with pytest.raises(InvalidQuestion, match="no person 'B' is known"):
            outcome(memory, "B", known_at=then)
    assert outcome(memory, "B") == "permit"
