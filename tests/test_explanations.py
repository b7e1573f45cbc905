"""What an answer says: all that decided, what could have permitted it, and what the question lacks."""

import pytest

from consent_ledger.consumers import memory_ledger
from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.times import format_time, parse_time

NOW = parse_time("2026-03-01T00:00:00Z")
POLICY = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}


def asked(controller, events, question):
    """The answer where these (type, actor, data) were recorded, a day apart."""
    with memory_ledger(load_pack(shipped_packs()[controller]), lambda: NOW) as ledger:
        told = [("policy.published", None, POLICY), ("subject.registered", None, {"kind": "customer"}), *events]
        for day, (type_name, actor, data) in enumerate(told, 1):
            event = {
                "specversion": "1.0", "source": "urn:app", "id": f"e{day}", "controller": controller,
                "type": type_name, "time": f"2026-01-{day:02}T00:00:00Z", "data": data,
                **({"actor": actor} if actor else {}), **({} if "policy" in type_name else {"subject": "crm:ann"}),
            }  # fmt: skip
            if type_name.startswith("recipient."):
                del event["subject"]
            assert ledger.record([event])[0].kind == "accepted", event
        return ledger.decide({"controller": controller, "subject": "crm:ann", **question})


CONTACT = {"action": "contact", "purpose": "newsletter", "list": "camp", "channel": "email"}
YES = {"purpose": "newsletter", "list": "camp", "basis": "express"}


def test_a_yes_over_an_optout_names_both():
    out = {"scope": "all"}
    said = asked("parature", [("optout.recorded", None, out), ("consent.granted", None, YES)], CONTACT)
    assert [ref.id for ref in said.because] == ["e4", "e3"]
    assert (
        said.reason == "Permitted by PAR-MKT-1: opted in to camp on 2026-01-04, after opted out of all on 2026-01-03."
    )


def test_where_no_yes_was_needed_the_one_that_opened_it_again_is_named_with_the_no():
    out = {"scope": "purpose", "purpose": "promotion"}
    yes = {"purpose": "promotion", "basis": "express"}
    question = {"action": "contact", "purpose": "promotion", "channel": "email"}
    said = asked("whereverworks", [("optout.recorded", None, out), ("consent.granted", None, yes)], question)
    assert [ref.id for ref in said.because] == ["e4", "e3"]
    assert asked("whereverworks", [("consent.granted", None, yes)], question).because == []


def test_of_several_noes_that_are_overcome_the_latest_is_named():
    noes = [("consent.refused", None, {"purpose": "newsletter"}), ("optout.recorded", None, {"scope": "general"})]
    said = asked("parature", [*noes, ("consent.granted", None, YES)], CONTACT)
    assert [ref.id for ref in said.because] == ["e5", "e4"]


@pytest.mark.parametrize(
    ("question", "could_have"),
    [
        ({"action": "disclose", "purpose": "testimonial", "categories": ["name"], "recipient": "resell"}, []),
        ({"action": "disclose", "purpose": "payment", "categories": ["name"], "recipient": "paypal"}, ["WW-PAY-1"]),
    ],
)
def test_nothing_permits_it_names_only_rows_that_could_have(question, could_have):
    recipients = [
        ("recipient.registered", None, {"recipient": "resell", "class": "reseller"}),
        ("recipient.registered", None, {"recipient": "paypal", "class": "payment-processor"}),
    ]
    said = asked("whereverworks", recipients, question)
    assert said.outcome == "deny"
    assert said.clauses == could_have
    assert ("could have" in said.reason) is bool(could_have)


def test_a_question_without_a_purpose_says_that_it_lacks_one():
    said = asked("parature", [], {"action": "contact", "channel": "email"})
    assert said.outcome == "deny"
    assert said.reason.startswith("Denied: the question names no purpose; nothing permits it")
    assert "names no purpose" not in asked("parature", [], CONTACT).reason


def test_what_came_under_another_name_is_named_with_what_joins_them():
    """The answer about one name rests on what was said under another, and on the entries that join the two."""
    with memory_ledger(load_pack(shipped_packs()["whereverworks"]), lambda: NOW) as ledger:

        def tell(number, type_name, subject, data):
            event = {
                "specversion": "1.0", "source": "urn:app", "id": f"e{number}", "controller": "whereverworks",
                "type": type_name, "time": f"2026-01-{number:02}T00:00:00Z", "data": data,
                **({"subject": subject} if subject else {}),
            }  # fmt: skip
            assert ledger.record([event])[0].kind == "accepted"

        tell(1, "policy.published", None, POLICY)
        for number, name in enumerate(("crm:1", "web:1", "app:1"), 2):
            tell(number, "subject.registered", name, {"kind": "customer"})
        tell(5, "subject.linked", "crm:1", {"personal": {"other": "web:1"}})
        tell(6, "subject.linked", "app:1", {"personal": {"other": "web:1"}})
        tell(7, "optout.recorded", "app:1", {"scope": "all"})
        question = {"controller": "whereverworks", "action": "contact", "purpose": "newsletter", "channel": "email"}
        said = {name: ledger.decide({**question, "subject": name}) for name in ("crm:1", "web:1", "app:1")}
        named = {name: [ref.id for ref in answer.because] for name, answer in said.items()}
        assert named == {"crm:1": ["e7", "e5", "e6"], "web:1": ["e7", "e6"], "app:1": ["e7"]}


def said_of_ten(controller, said, question):
    """What is said (because of entries of which days) about ten persons of two names.

    Their identifiers are random, and so the names come in any order.

    `said`: (day, type, name, data). An event without data joins or parts the two names.
    """
    told = [*((2, "subject.registered", name, {"kind": "customer"}) for name in ("crm", "web")), *said]
    with memory_ledger(load_pack(shipped_packs()[controller]), lambda: NOW) as ledger:
        events = [(1, "policy.published", None, POLICY)]
        events += [
            (day, type_name, f"{name}:{who}", data or {"personal": {"other": f"web:{who}"}})
            for who in range(10)
            for day, type_name, name, data in told
        ]
        for number, (day, type_name, subject, data) in enumerate(events):
            event = {
                "specversion": "1.0", "source": "urn:app", "id": str(number), "controller": controller,
                "type": type_name, "time": f"2026-01-{day:02}T00:00:00Z", "data": data,
                **({"subject": subject} if subject else {}),
            }  # fmt: skip
            assert ledger.record([event])[0].kind == "accepted", event
        asked = [{"controller": controller, "subject": f"crm:{who}", **question} for who in range(10)]
        answers = [ledger.decide(one) for one in asked]
    return {(answer.reason, tuple(format_time(ref.time)[8:10] for ref in answer.because)) for answer in answers}


@pytest.mark.parametrize("name", ["crm", "web"])
def test_a_yes_that_counts_under_joined_names_is_named_with_the_no_that_it_overcame_under_one(name):
    out, linked = (3, "optout.recorded", "crm", {"scope": "all"}), (4, "subject.linked", "crm", None)
    reason = "Permitted by PAR-MKT-1: opted in to camp on 2026-01-05, after opted out of all on 2026-01-03."
    because = {"crm": ("05", "03"), "web": ("05", "03", "04")}[name]
    found = said_of_ten("parature", [out, linked, (5, "consent.granted", name, YES)], CONTACT)
    assert found == {(reason, because)}


def test_a_no_that_stands_by_itself_under_one_of_the_joined_names_hangs_on_no_yes_that_ended():
    linked = (3, "subject.linked", "crm", None)
    out, parted = (4, "optout.recorded", "crm", {"scope": "general"}), (5, "subject.unlinked", "crm", None)
    yes, ended = YES, {**YES, "expires_at": "2026-01-20T00:00:00Z"}
    apart = [(6, "consent.granted", "crm", yes), (7, "consent.granted", "crm", ended)]
    reason = "Denied by PAR-OPT-1: opted out of general on 2026-01-04."
    both = [linked, out, parted, *apart, (8, *linked[1:])]
    assert said_of_ten("parature", both, CONTACT) == {(reason, ("04",))}
