"""The words of packs about deadlines, ages, countries and what a deletion leaves, in the shop of the how-to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import accept, event, outcome_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent_ledger.consumers.opening import memory_ledger
from consent_ledger.consumers.packs.prose import pack_as_prose
from consent_ledger.ledger.policy.load import load_pack, parse_pack
from consent_ledger.ledger.times import DAY, after_months, format_time, parse_time
from consent_ledger.projections.analysis.packcheck import check_pack

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "deadlines-and-leaving.md"
SHOP = re.search(r"```toml\n(# bookclub\.toml\n.*?)```", PAGE.read_text(), re.DOTALL)[1]
CLUB = {"controller": "bookclub"}
PRESS = "good-press"


def club(text=SHOP, at="2030-01-01T00:00:00Z"):
    """A ledger in memory that goes by the pack, with a recipient."""
    ledger = memory_ledger(load_pack(text.encode()), lambda: parse_time(at))
    data = {"version": "1", "text_sha256": "00", "pack_sha256": "00"}
    tell(ledger, "policy.published", data, time="2000-01-01T00:00:00Z")
    tell(ledger, "recipient.registered", {"recipient": PRESS, "class": "printer", "service": None})
    return ledger


OF_CONTROLLER = ("policy.", "recipient.", "breach.discovered", "breach.delay", "authority.")


def body(type_name, data=None, *, time="2026-01-01T00:00:00Z", subject="ann", **more):
    who = {"subject": None if type_name.startswith(OF_CONTROLLER) else subject}
    return event(type_name, data if data is not None else {}, time=time, **who, **CLUB, **more)


def tell(ledger, *args, **more):
    accept(ledger, body(*args, **more))


def ask(ledger, at="2026-06-01T00:00:00Z", *, subject="ann", **question):
    return ledger.decide({**CLUB, "subject": subject, "at": at, **question})


# -- words of events ---------------------------------------------------------------------------------------------------

SHOWN = {"text_sha256": "00" * 32}
AGREED = {"purpose": "newsletter", "basis": "express", "list": None}
UNKNOWN = {
    "kind": ("recipient.agreement.signed", {"recipient": PRESS, "kind": "handshake"}, "confidentiality, processing"),
    "kind of what ended": ("recipient.agreement.ended", {"recipient": PRESS, "kind": "handshake"}, "confidentiality"),
    "kept": ("deletion.completed", {"request": None, "kept": ["transaction", "email"]}, "it knows transaction"),
    "reason": ("request.extended", {"request": "r", "until": "2026-02-01T00:00:00Z", "reason": "lazy"}, "complex"),
    "form": ("consent.granted", {**AGREED, "shown": {**SHOWN, "form": "stand"}}, "it knows desk, website"),
    "form of a question": ("consent.requested", {**AGREED, "shown": {**SHOWN, "form": "stand"}}, "desk, website"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_word_that_the_pack_does_not_know_is_invalid_and_what_it_knows_is_said(case):
    type_name, data, said = UNKNOWN[case]
    outcome = outcome_of(club(), body(type_name, data))
    assert (outcome.kind, outcome.field) == ("invalid", case.partition(" ")[0])
    assert said in outcome.reason


@pytest.mark.parametrize("name", ["forms", "reasons"])
def test_where_a_pack_lists_no_words_any_goes(name):
    ledger = club(re.sub(rf"^{name} = .*\n", "", SHOP, flags=re.MULTILINE))
    for case, (type_name, data, _) in UNKNOWN.items():
        listed = {"forms": "form", "reasons": "reason"}[name] not in case
        assert outcome_of(ledger, body(type_name, data)).kind == ("invalid" if listed else "accepted")


def test_a_no_counts_whatever_form_it_was_said_by():
    ledger = club()
    tell(ledger, "consent.granted", {**AGREED, "shown": {**SHOWN, "form": "desk"}})
    assert ask(ledger, action="contact", purpose="newsletter", channel="email").outcome == "permit"
    tell(ledger, "consent.withdrawn", {**AGREED, "basis": None, "shown": {**SHOWN, "form": "stand"}})
    assert ask(ledger, action="contact", purpose="newsletter", channel="email").outcome == "deny"


def test_an_agreement_of_a_kind_that_a_later_pack_does_not_know_can_end():
    ledger = club()
    signed = {"recipient": PRESS, "kind": "processing"}
    tell(ledger, "recipient.agreement.signed", signed)
    tell(ledger, "subject.registered", {"kind": "customer", "of": None, "age": None})
    question = {"action": "disclose", "recipient": PRESS, "purpose": "printing", "categories": ["name"]}
    assert ask(ledger, **question).outcome == "permit"
    before, later = ledger.app.any_pack, SHOP.replace('"processing", ', "").replace('"processing"', '"confidentiality"')
    ledger.app.any_pack = load_pack(later.encode())
    assert outcome_of(ledger, body("recipient.agreement.signed", signed)).kind == "invalid"
    tell(ledger, "recipient.agreement.ended", signed, time="2026-02-01T00:00:00Z")
    ledger.app.any_pack = before
    assert ask(ledger, **question).outcome == "deny"


# -- facts -------------------------------------------------------------------------------------------------------------


def test_all_that_a_pattern_names_must_be_in_one_event():
    ledger = club()
    tell(ledger, "consent.granted", {**AGREED, "basis": "use", "shown": {**SHOWN, "form": "desk"}})
    tell(ledger, "consent.granted", {**AGREED, "purpose": "printing", "shown": {**SHOWN, "form": "desk"}})
    tell(ledger, "consent.granted", {**AGREED, "shown": {**SHOWN, "form": "website"}})
    question = {"action": "contact", "purpose": "newsletter", "channel": "email"}
    assert ask(ledger, **question).outcome == "deny"
    tell(ledger, "consent.granted", {**AGREED, "shown": {**SHOWN, "form": "desk"}}, time="2026-03-01T00:00:00Z")
    answer = ask(ledger, **question)
    assert (answer.outcome, answer.reason.count("agreed at the desk on 2026-03-01")) == ("permit", 1)
    tell(ledger, "deletion.completed", {"request": None}, time="2026-04-01T00:00:00Z")
    tell(ledger, "consent.granted", {**AGREED, "shown": {**SHOWN, "form": "website"}}, time="2026-05-01T00:00:00Z")
    assert ask(ledger, **question).outcome == "deny"  # a deletion ends the fact, and the same must come again


@pytest.mark.parametrize("where", ['where = { kind = "customer" }', 'where = { kind = "customer", service = "club" }'])
def test_a_pattern_with_fields_finds_the_first_that_has_them(where):
    ledger = club(SHOP.replace('where = { kind = "customer" }', where))
    for day, kind, service in ((1, "visitor", "club"), (2, "customer", None), (3, "customer", "club")):
        data = {"kind": kind, "service": service, "of": None, "age": None}
        tell(ledger, "subject.registered", data, time=f"2026-01-0{day}T00:00:00Z")
    answer = ask(ledger, action="use", purpose="membership", categories=["name"])
    assert f"on 2026-01-0{3 if 'service' in where else 2}" in answer.reason


# -- ages --------------------------------------------------------------------------------------------------------------

BORN = parse_time("2024-02-29T12:00:00Z")
ages = st.one_of(
    st.tuples(st.just("subject.registered"), st.fixed_dictionaries({"age": st.integers(10, 18)})),
    st.tuples(st.just("subject.age.learned"), st.fixed_dictionaries({"age": st.integers(10, 18)})),
    st.tuples(st.just("subject.age.learned"), st.fixed_dictionaries({"under": st.sampled_from([13, 16, 18])})),
    st.tuples(st.sampled_from(["subject.linked", "subject.linked", "subject.unlinked"]), st.just({})),
)


def young(since, data, at):
    """Whether somebody of whom that was told is under sixteen, birthday by birthday."""
    if "under" in data:
        return data["under"] <= 16
    years = 0
    while after_months(since, 12 * (years + 1)) <= at:
        years += 1
    return data["age"] + years < 16


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    told=st.lists(st.tuples(ages, st.integers(0, 900), st.sampled_from(["ann", "bob"])), min_size=1, max_size=5),
    moments=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-1, 1)), min_size=1, max_size=4),
)
def test_the_door_and_decisions_go_by_one_age_that_grows(told, moments):
    ledger = club(at="2040-01-01T00:00:00Z")
    told = sorted(told, key=lambda one: one[1])
    for subject in ("ann", "bob"):
        tell(ledger, "service.used", {"service": "x"}, time="2024-01-01T00:00:00Z", subject=subject)
    for (type_name, data), day, subject in told:
        more = {"kind": "customer", "of": None} if type_name == "subject.registered" else {"under": None, "age": None}
        other = {"personal": {"other": "bob"}} if "linked" in type_name else {}
        data_ = {} if other else {**more, **data}
        tell(ledger, type_name, data_, time=format_time(BORN + day * DAY), subject="ann" if other else subject, **other)
    for number, years, more in moments:
        at = after_months(BORN + told[number % len(told)][1] * DAY, 12 * years) + more
        minor = {name: is_young(told, name, at) for name in ("ann", "bob")}
        for name, expected in minor.items():
            answer = ask(ledger, format_time(at), subject=name, action="use", purpose="membership", categories=["name"])
            assert ("BOOK-CHILD-1" in answer.clauses) is expected
            collected = {"categories": ["name"], "origin": "subject", "service": None}
            outcome = outcome_of(ledger, body("information.collected", collected, time=format_time(at), subject=name))
            assert (outcome.kind == "refused") is expected


def is_young(told, name, at):
    """By hand: what is said of one of joined names is said of both; taken apart, each keeps its own."""
    own, counts, joined = {}, {}, False
    for (type_name, data), day, subject in told:
        since = BORN + day * DAY
        if since > at:
            break
        if "linked" in type_name:
            parted, joined = joined and type_name == "subject.unlinked", type_name == "subject.linked"
            counts = dict(own) if parted else counts
        else:
            own[subject] = counts[subject] = (since, data)
            counts = dict.fromkeys(("ann", "bob"), (since, data)) if joined else counts
    names = ("ann", "bob") if joined else (name,)
    return any(young(*counts[one], at) for one in names if one in counts)


@pytest.mark.parametrize(
    ("at", "young_ones"),
    [("2024-06-01", ["ann"]), ("2024-09-01", []), ("2024-12-01", ["ann"]), ("2025-02-01", ["ann", "bob"])],
)
def test_an_age_that_was_said_of_both_is_nobodys_when_they_are_taken_apart(at, young_ones):
    ledger = club(at="2040-01-01T00:00:00Z")
    for subject in ("ann", "bob"):
        tell(ledger, "service.used", {"service": "x"}, time="2024-01-01T00:00:00Z", subject=subject)
    tell(ledger, "subject.age.learned", {"age": 14, "under": None}, time="2024-02-01T00:00:00Z", subject="ann")
    tell(ledger, "subject.linked", time="2024-07-01T00:00:00Z", personal={"other": "bob"})
    tell(ledger, "subject.age.learned", {"age": 30, "under": None}, time="2024-08-01T00:00:00Z", subject="bob")
    tell(ledger, "subject.unlinked", time="2024-10-01T00:00:00Z", personal={"other": "bob"})
    tell(ledger, "subject.linked", time="2025-01-01T00:00:00Z", personal={"other": "bob"})  # the younger counts
    at = f"{at}T00:00:00Z"
    collected = {"categories": ["name"], "origin": "subject", "service": None}
    for name in ("ann", "bob"):
        answer = ask(ledger, at, subject=name, action="use", purpose="membership", categories=["name"])
        assert ("BOOK-CHILD-1" in answer.clauses) is (name in young_ones)
        outcome = outcome_of(ledger, body("information.collected", collected, time=at, subject=name))
        assert (outcome.kind == "refused") is (name in young_ones)


@pytest.mark.parametrize(("told", "birthdays"), [(14, 2), (15, 1), (10, 6)])
def test_the_answer_says_when_somebody_stops_to_be_a_minor(told, birthdays):
    ledger = club(at="2040-01-01T00:00:00Z")
    data = {"kind": "customer", "of": None, "age": told}
    tell(ledger, "subject.registered", data, time=format_time(BORN))
    answer = ask(ledger, format_time(BORN), action="use", purpose="membership", categories=["name"])
    assert answer.changes_at == after_months(BORN, 12 * birthdays)


def test_without_growth_an_age_stays():
    ledger = club(SHOP.replace("grow = true", "grow = false"))
    tell(ledger, "subject.registered", {"kind": "customer", "of": None, "age": 14})
    answer = ask(ledger, "2029-01-01T00:00:00Z", action="use", purpose="membership", categories=["name"])
    assert (answer.clauses, answer.changes_at) == (["BOOK-CHILD-1"], None)


# -- owed without a request --------------------------------------------------------------------------------------------


def owed(ledger, at, **who):
    found = ledger.obligations({**CLUB, "at": at, **who})
    return [(row["kind"], row["status"], row["due"]) for row in found]


def test_a_hold_stops_the_clock_that_inactivity_started():
    ledger = club()
    tell(ledger, "service.used", {"service": "library"})
    tell(ledger, "hold.placed", {"hold": "h", "ground": "law"}, time="2027-12-31T00:00:00Z")
    assert owed(ledger, "2028-03-01T00:00:00Z", subject="ann") == [("deletion", "on-hold", None)]
    tell(ledger, "hold.released", {"hold": "h", "ground": None}, time="2028-03-01T00:00:00Z")
    assert owed(ledger, "2028-03-01T23:59:59Z", subject="ann") == [("deletion", "running", "2028-03-02T00:00:00Z")]
    tell(ledger, "deletion.completed", {"request": None}, time="2028-03-02T00:00:00Z")
    assert owed(ledger, "2029-01-01T00:00:00Z", subject="ann") == [("deletion", "done", None)]
    tell(ledger, "service.used", {"service": "library"}, time="2028-06-01T00:00:00Z")
    assert owed(ledger, "2029-01-01T00:00:00Z", subject="ann") == [("deletion", "running", "2030-06-01T00:00:00Z")]


def test_activity_under_any_joined_name_begins_the_clock_again():
    ledger = club()
    tell(ledger, "service.used", {"service": "library"})
    tell(ledger, "subject.linked", time="2026-01-05T00:00:00Z", personal={"other": "ann:2"})
    tell(ledger, "service.used", {"service": "library"}, time="2026-05-01T00:00:00Z", subject="ann:2")
    assert owed(ledger, "2026-06-01T00:00:00Z", subject="ann") == [("deletion", "running", "2028-05-01T00:00:00Z")]


def test_what_was_owed_to_a_minor_and_done_stays_done_when_they_are_grown_up():
    duty = '[[clause.duty]]\nkind = "deletion"\nowed_when = { need = "minor", under = 16 }\ndue_in_days = 10\n'
    ledger = club(SHOP.replace('[[clause]]\nid = "BOOK-BREACH-1"', duty + '[[clause]]\nid = "BOOK-BREACH-1"'))
    tell(ledger, "subject.age.learned", {"age": 15, "under": None})
    assert owed(ledger, "2026-02-01T00:00:00Z", subject="ann") == [("deletion", "overdue", "2026-01-11T00:00:00Z")]
    assert owed(ledger, "2027-01-01T00:00:00Z", subject="ann") == []
    tell(ledger, "deletion.completed", {"request": None}, time="2026-02-02T00:00:00Z")
    assert [owed(ledger, f"{year}-02-03T00:00:00Z", subject="ann") for year in (2026, 2029)] == [
        [("deletion", "done", None)]
    ] * 2


DISCOVERED = {"breach": "b", "categories": ["email"]}


@pytest.mark.parametrize("every", [False, True])
def test_a_breach_of_which_nobody_need_be_told_is_told_to_the_authority_only_if_the_pack_says_so(every):
    more = "due_in_hours = 72\n" + ("every_breach = true\n" if every else "")
    ledger = club(SHOP.replace("due_in_hours = 72\n", more))
    tell(ledger, "breach.discovered", {**DISCOVERED, "notice_required": False})
    wanted = [("authority-notice", "overdue", "2026-01-04T00:00:00Z")]
    assert owed(ledger, "2026-01-04T00:00:00Z") == (wanted if every else [])


def test_a_notice_in_time_is_no_finding_and_an_ordered_delay_moves_nothing():
    ledger = club()
    tell(ledger, "breach.discovered", DISCOVERED)
    tell(ledger, "breach.delay.ordered", {"breach": "b", "authority": "police", "reason": "x"})
    told = {"breach": "b", "authority": "data-protection"}
    tell(ledger, "authority.notified", {**told, "breach": "another"}, time="2026-01-02T00:00:00Z")
    assert owed(ledger, "2026-01-04T00:00:00Z") == [("authority-notice", "overdue", "2026-01-04T00:00:00Z")]
    tell(ledger, "authority.notified", told, time="2026-01-03T23:59:59Z")
    tell(ledger, "authority.notified", told, time="2026-01-05T00:00:00Z")
    assert owed(ledger, "2026-02-01T00:00:00Z") == [("authority-notice", "done", "2026-01-04T00:00:00Z")]
    assert ledger.findings({**CLUB, "at": "2026-02-01T00:00:00Z"}) == []


# -- what a deletion leaves --------------------------------------------------------------------------------------------


def test_what_is_kept_ends_with_a_deletion_that_keeps_nothing_and_begins_anew_with_what_comes_since():
    ledger = club()
    tell(ledger, "subject.registered", {"kind": "customer", "of": None, "age": None})
    collected = {"categories": ["transaction"], "origin": "subject", "service": None}
    question = {"action": "use", "purpose": "accounting", "categories": ["transaction"]}
    keep = {"request": None, "kept": ["transaction"]}
    tell(ledger, "information.collected", collected)
    tell(ledger, "deletion.completed", keep, time="2026-02-01T00:00:00Z")
    tell(ledger, "deletion.completed", keep, time="2026-03-01T00:00:00Z")  # nothing came in between
    assert format_time(ask(ledger, **question).changes_at) == "2036-02-01T00:00:00Z"
    tell(ledger, "information.collected", collected, time="2026-04-01T00:00:00Z")
    tell(ledger, "deletion.completed", keep, time="2026-05-01T00:00:00Z")
    assert format_time(ask(ledger, **question).changes_at) == "2036-05-01T00:00:00Z"
    assert ledger.state({**CLUB, "subject": "ann", "at": "2026-06-01T00:00:00Z"})["kept"] == {
        "transaction": "2026-05-01T00:00:00Z"
    }
    tell(ledger, "deletion.completed", {"request": None}, time="2026-05-02T00:00:00Z")
    assert ask(ledger, **question).outcome == "deny"


def test_use_of_what_was_kept_after_its_time_is_a_finding():
    ledger = club(at="2037-01-01T00:00:00Z")
    tell(ledger, "subject.registered", {"kind": "customer", "of": None, "age": None})
    tell(ledger, "deletion.completed", {"request": None, "kept": ["transaction"]})
    used = {"purpose": "accounting", "categories": ["transaction"], "country": None}
    for time in ("2035-12-31T00:00:00Z", "2036-01-01T00:00:00Z"):
        tell(ledger, "information.used", used, time=time)
    (finding,) = ledger.findings({**CLUB, "subject": "ann", "at": "2036-06-01T00:00:00Z"})
    assert (finding["clause"], finding["time"]) == ("BOOK-LEAVE-1", "2036-01-01T00:00:00Z")


def test_what_is_kept_for_a_purpose_that_nothing_permits_is_found_by_pack_check():
    text = SHOP.replace('purpose = ["accounting"]', 'purpose = ["printing", "accounting"]')
    text = text.replace('class = ["authority"]', 'class = ["authority"]\npurpose = ["accounting"]')
    (problem,) = check_pack(parse_pack(text.encode()))
    assert problem.clause == "BOOK-LEAVE-1"
    assert problem.message.startswith("nothing is permitted for 'printing' with what is kept")


# -- prose -------------------------------------------------------------------------------------------------------------

SHOWN_IN_PROSE = [  # an edit that a lawyer must be able to see
    ('zone = "Europe/Berlin"', 'zone = "Asia/Tokyo"'),
    ("grow = true", "grow = false"),
    ('"processing", "standard-clauses"]', '"processing", "standard-clauses", "escrow"]'),
    ('forms = ["desk", "website"] ', 'forms = ["desk"] '),
    ('reasons = ["complex", "many-requests"]', 'reasons = ["complex"]'),
    ('adequate = ["CH", "JP"]', 'adequate = ["CH"]'),
    ('country_not_in = ["adequate"]', 'country_not_in = ["adequate", "embargoed"]'),
    ('country_in = ["embargoed"]', 'country_in = ["adequate"]'),
    ('where = { form = "desk", basis = "express" }', 'where = { form = "desk" }'),
    ("due_in_months = 1\nextended_by_months = 2", "due_in_months = 1"),
    ("extended_by_days = 14", "extended_by_days = 15"),
    ("due_in_hours = 72", "due_in_hours = 71"),
    ("due_in_hours = 72", "due_in_hours = 72\nevery_breach = true"),
    ('activity = ["service.used", ', "activity = ["),
    ("for_months = 120", "for_days = 120"),
    ('purpose = ["accounting"]\nfor', "for"),
]


@pytest.mark.parametrize(("before", "after"), SHOWN_IN_PROSE, ids=lambda text: re.sub(r"\W+", "-", text)[:24])
def test_prose_shows_what_each_word_says(before, after):
    assert before in SHOP
    shown = [pack_as_prose(load_pack(text.encode())) for text in (SHOP, SHOP.replace(before, after, 1))]
    one, other = ([line for line in text.splitlines() if not line.startswith("Controller:")] for text in shown)
    assert one != other
