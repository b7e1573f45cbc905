"""The name of an answer: acts that name one are held to it."""

import pytest

from consent_ledger.consumers import memory_ledger
from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import parse_time

NOW = parse_time("2026-03-01T00:00:00Z")
SENT = {"purpose": "promotion", "channel": "email", "categories": ["email"]}


def event(number, type_name, time, data, subject="crm:ann"):
    named = {"subject": subject} if subject else {}
    return {
        "specversion": "1.0", "source": "urn:app", "id": f"e{number}", "controller": "whereverworks",
        "type": type_name, "time": time, "data": data, **named,
    }  # fmt: skip


@pytest.fixture
def ledger():
    with memory_ledger(load_pack(shipped_packs()["whereverworks"]), lambda: NOW) as ledger:
        policy = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
        outcomes = ledger.record(
            [
                event(0, "policy.published", "2026-01-01T00:00:00Z", policy, None),
                event(1, "subject.registered", "2026-01-01T00:00:00Z", {"kind": "customer"}),
                event(2, "subject.registered", "2026-01-01T00:00:00Z", {"kind": "customer"}, "crm:bob"),
                event(3, "optout.recorded", "2026-01-02T00:00:00Z", {"scope": "list", "list": "offers"}),
            ]
        )
        assert [one.kind for one in outcomes] == ["accepted"] * 4
        yield ledger


def answer(ledger, **more):
    question = {"controller": "whereverworks", "subject": "crm:ann", "action": "contact", **SENT, **more}
    return ledger.decide({name: value for name, value in question.items() if value is not None})


def findings_of(ledger, decision, subject="crm:ann", **more):
    data = {**SENT, "decision": decision, **more}
    assert (
        ledger.record([event(100 + ledger.app.head.size, "message.sent", "2026-02-01T00:00:00Z", data, subject)])[
            0
        ].kind
        == "accepted"
    )
    return [row["reason"] for row in ledger.findings({"controller": "whereverworks", "subject": subject})]


def test_an_answer_says_its_outcome_its_size_and_its_moment(ledger):
    said = answer(ledger, at="2026-02-01T00:00:00Z")
    kind, outcome, size, at, known_at, digest = said.id.split("/")
    assert (kind, outcome, size, at, known_at) == ("d1", "permit", "4", "2026-02-01T00:00:00Z", "now")
    assert len(digest) == 32
    assert said.id == answer(ledger, at="2026-02-01T00:00:00Z").id == said.to_dict()["id"]
    assert said.permitted
    assert not answer(ledger, list="offers").permitted


@pytest.mark.parametrize("left_out", [{}, {"purpose": None}, {"channel": None}, {"categories": None}])
def test_an_act_that_names_the_answer_to_its_question_or_to_a_wider_one_is_no_finding(ledger, left_out):
    known = {} if left_out else {"known_at": "2026-03-01T00:00:00Z"}
    said = answer(ledger, at="2026-02-01T00:00:00Z", **left_out, **known)
    decision = said.id if said.permitted else None
    if decision is not None:
        assert findings_of(ledger, decision) == []
    else:
        assert "said deny" in findings_of(ledger, said.id)[0]


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        ({"subject": "crm:bob"}, {}),
        ({"purpose": "newsletter"}, {}),
        ({"channel": "post"}, {}),
        ({"list": "news"}, {}),
        ({"item": "x"}, {}),
        ({"categories": ["name"]}, {}),
        ({"action": "use", "channel": None}, {}),
        ({}, {"list": "news"}),
    ],
)
def test_an_act_that_names_an_answer_about_something_else_is_a_finding(ledger, asked, done):
    said = answer(ledger, **asked)
    assert said.permitted
    assert findings_of(ledger, said.id, **done) == ["names a decision that was not given, or not about this"]


def test_a_no_does_not_carry_what_was_done_nor_does_a_no_made_into_a_yes(ledger):
    said = answer(ledger, list="offers")
    assert "names a decision that said deny" in findings_of(ledger, said.id, list="offers")
    forged = said.id.replace("/deny/", "/permit/")
    data = {**SENT, "list": "offers", "decision": forged}
    ledger.record([event(10, "message.sent", "2026-02-02T00:00:00Z", data)])
    reasons = [row["reason"] for row in ledger.findings({"controller": "whereverworks", "subject": "crm:ann"})]
    assert "names a decision that was not given, or not about this" in reasons


@pytest.mark.parametrize("decision", ["", "d-17", "d1/permit/4/now/now/0", "d1/permit/04/x", 17])
def test_any_other_form_is_invalid(ledger, decision):
    outcome = ledger.record([event(9, "message.sent", "2026-02-01T00:00:00Z", {**SENT, "decision": decision})])[0]
    assert (outcome.kind, outcome.field) == ("invalid", "decision")


def test_under_joined_names_it_is_one_person(ledger):
    said = answer(ledger)
    ledger.record([event(5, "subject.linked", "2026-01-05T00:00:00Z", {"personal": {"other": "crm:bob"}})])
    assert findings_of(ledger, said.id, "crm:bob") == []
    assert findings_of(ledger, said.id.replace("/4/", "/5/"), "crm:bob") != []


def test_where_the_key_is_gone_there_is_no_name_and_nothing_to_hold_against_an_act(ledger):
    said = answer(ledger)
    named = said.id
    assert findings_of(ledger, named) == []
    ledger.record([event(6, "deletion.completed", "2026-02-10T00:00:00Z", {})])
    assert said.id is answer(ledger).id is None
    assert findings_of(ledger, named) == []
