"""The one way in: what is new, what is there already, what is refused at the door, and what the log keeps of it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import orjson
import pytest
from conftest import NOW, accept, assert_whole, decoded, event, outcome_of, rows, size, stored, together

from consent_ledger.consumers.ingest import ingest
from consent_ledger.ledger.errors import StoreFull
from consent_ledger.ledger.intake import batch
from consent_ledger.ledger.intake.application import Outcome
from consent_ledger.ledger.intake.erasure import erase
from consent_ledger.ledger.log.entry import decode, encode
from consent_ledger.ledger.log.verifier import encode_base64, leaf_hash
from consent_ledger.ledger.times import format_time, parse_time

GOLDEN = Path(__file__).parent / "golden" / "entry-v1.json"
CARD = "4111 1111 1111 1111"
NATIONAL = "PESEL 44051401359"
HER = {"email": "ann@example.com", "full_name": "Ann Example"}
GRANTED = event("consent.granted", personal=HER, id="granted", actor="subject")


def again(ledger, body, first, **expected):
    """Record what was recorded before. The same must come, marked as a duplicate, and nothing be added."""
    before, refused = stored(ledger), rows(ledger, "SELECT * FROM refused")
    outcome = outcome_of(ledger, body)
    assert outcome.duplicate
    assert (outcome.kind, outcome.position, outcome.clause) == (first.kind, first.position, first.clause)
    assert {name: getattr(outcome, name) for name in expected} == expected
    assert (stored(ledger), rows(ledger, "SELECT * FROM refused")) == (before, refused)


def changed(**attributes):
    return {**GRANTED, **attributes}


def data(**fields):
    return {"data": {**GRANTED["data"], **fields}}


# -- the same and not the same -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", ["at once", "in another process", "a year later"])
def test_the_same_event_again_is_the_same_entry(store, clock, later):
    first = outcome_of(store.ledger, GRANTED)
    ledger = store.reopen() if later == "in another process" else store.ledger
    clock.set("2027-03-01T12:00:00Z" if later == "a year later" else NOW)

    again(ledger, GRANTED, first)

    shuffled = {name: GRANTED[name] for name in reversed(GRANTED)}
    again(ledger, {**shuffled, "data": {**GRANTED["data"], "personal": dict(reversed(HER.items()))}}, first)
    again(ledger, changed(time="2026-01-02T04:04:05+01:00"), first)  # the same moment
    assert_whole(ledger)


def test_the_same_event_twice_in_one_batch_is_one_entry(memory):
    other = changed(**data(list="other-news"))
    first, second, third, fourth = memory.record([GRANTED, GRANTED, other, GRANTED])
    assert (first.kind, first.duplicate) == ("accepted", False)
    assert second == fourth == Outcome("accepted", first.position, duplicate=True)
    assert (third.kind, third.position) == ("conflict", first.position + 1)
    assert size(memory) == first.position + 2
    assert_whole(memory)


OTHERS = {
    "type": changed(type="consent.refused"),
    "controller": changed(controller="whereverworks"),
    "subject": changed(subject="crm:4712"),
    "time": changed(time="2026-01-02T03:04:06Z"),
    "actor": changed(actor="guardian"),
    "no-actor": event("consent.granted", personal=HER, id="granted"),
    "role": changed(role="processor", of="acme"),
    "a-fact": changed(**data(list="other-news")),
    "one-fact-more": changed(**data(item="issue-1")),
    "a-personal-value": changed(**data(personal={**HER, "email": "ann@example.org"})),
    "a-personal-name": changed(**data(personal={"e_mail": HER["email"], "full_name": HER["full_name"]})),
    "one-personal-field-less": changed(**data(personal={"email": HER["email"]})),
    "no-personal-field": changed(**data(personal={})),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_content_under_the_same_key_is_a_visible_conflict(memory, name):
    given = outcome_of(memory, GRANTED)

    outcome = outcome_of(memory, OTHERS[name])

    assert (outcome.kind, outcome.clause, outcome.duplicate) == ("conflict", None, False)
    assert outcome.position == size(memory) - 1 == given.position + 1
    (refusal,) = memory.refusals({})
    assert (refusal["clause"], refusal["source"], refusal["event_id"]) == ("conflict", "urn:app:test", "granted")
    assert (refusal["event_type"], refusal["position"]) == (OTHERS[name]["type"], outcome.position)
    again(memory, OTHERS[name], outcome, reason=outcome.reason)
    again(memory, GRANTED, given)
    assert_whole(memory)


def test_a_key_is_source_and_id_together(memory):
    one = event(id="1", source="urn:a:b")
    accept(memory, one, {**one, "source": "urn:a"}, {**one, "id": "2"}, {**one, "id": "b", "source": "urn:a:b1"})


def test_a_field_that_is_not_stored_is_compared_all_the_same(memory):
    told = event("information.collected", {"categories": ["friend-email"]}, {"friend_email": "bob@example.com"})
    other = {**told, "data": {**told["data"], "personal": {"friend_email": "eve@example.com"}}}
    first = outcome_of(memory, told)

    assert (first.kind, outcome_of(memory, other).kind) == ("accepted", "conflict")
    again(memory, told, first)
    assert decoded(memory)[first.position].personal.keys() == {"friend_email"}  # committed
    assert rows(memory, "SELECT count(*) FROM secrets") == [0]  # and dropped


@pytest.mark.parametrize("mended", [False, True], ids=["same", "mended"])
def test_a_refused_event_repeated_is_refused_the_same_way(store, mended):
    wrong = event("information.collected", {"categories": ["national-id"]}, id="wrong")
    first = outcome_of(store.ledger, wrong)
    assert (first.kind, first.clause, first.duplicate) == ("refused", "PAR-COLLECT-2", False)

    ledger = store.reopen()
    again(ledger, wrong, first, reason=first.reason)
    if mended:  # the key is spent: what comes under it now is something else
        other = {**wrong, "data": {**wrong["data"], "categories": ["email"]}}
        conflict = outcome_of(ledger, other)
        assert (conflict.kind, conflict.duplicate) == ("conflict", False)
        again(ledger, other, conflict)
        again(ledger, wrong, first)
    assert [row["clause"] for row in ledger.refusals({})] == ["PAR-COLLECT-2", "conflict"][: 1 + mended]
    assert_whole(ledger)


@pytest.mark.parametrize("line", [b"%s\n", b"\xef\xbb\xbf%s\r\n"], ids=["plain", "marked"])
def test_a_mark_of_byte_order_at_the_beginning_of_a_stream_is_no_part_of_its_first_event(store, line):
    told = orjson.dumps(GRANTED)
    assert ingest(store.ledger, io.BytesIO(line % told + b"\n"), "x").accepted == 1
    tally = ingest(store.ledger, io.BytesIO(told + b"\n\xef\xbb\xbf" + told + b"\n"), "x")
    assert (tally.duplicate, tally.invalid) == (1, 1)  # it stands at the beginning, or it is no JSON


def test_an_erased_persons_events_come_again_to_nothing(store, clock):
    wrong = event("information.collected", {"categories": ["national-id"]}, HER)
    accepted, refused = store.ledger.record([GRANTED, wrong])
    told = {**GRANTED, "id": "letter", "colour": "blue"}
    assert store.ingest(told, orjson.dumps(told)[:-5]).invalid == 2  # one is cut off, and says who it is about
    (erasure,) = erase(store.ledger.app, "parature", GRANTED["subject"], clock()).positions

    again(store.ledger, GRANTED, accepted)
    again(store.ledger, wrong, refused)
    again(store.ledger, changed(**data(list="other-news")), accepted)  # there is nothing left to compare with
    assert size(store.ledger) == erasure + 1
    for table in ("people", "aliases", "secrets", "dead_letters"):
        assert rows(store.ledger, f"SELECT count(*) FROM {table}") == [0], table
    assert_whole(store.ledger)


# -- the door ----------------------------------------------------------------------------------------------------------


def collected(*categories, personal=None, **attributes):
    origin = attributes.pop("origin", "subject")
    return event("information.collected", {"categories": list(categories), "origin": origin}, personal, **attributes)


DOOR = {  # what comes, and the clause that refuses it at parature, at whereverworks
    "national-id": (collected("email", "national-id"), "PAR-COLLECT-2", None),
    "national-number-in-any-field": (event(personal={"note": f"it is {NATIONAL}"}), "PAR-COLLECT-2", None),
    "national-number-in-a-declared-field": (event(personal={"postal_address": NATIONAL}), "PAR-COLLECT-2", None),
    "field-called-ssn": (event(personal={"ssn": "unknown"}), "PAR-COLLECT-2", None),
    "payment-card": (collected("payment-card"), None, "WW-FIN-1"),
    "card-in-any-field": (event(personal={"note": f"card {CARD}, thanks"}), None, "WW-FIN-1"),
    "card-in-a-consent": (event("consent.granted", personal={"words": CARD.replace(" ", "")}), None, "WW-FIN-1"),
    "card-in-a-declared-field": (event(personal={"postal_address": f"c/o {CARD}"}), None, "WW-FIN-1"),
    "field-called-iban": (event(personal={"iban": "unknown"}), None, "WW-FIN-1"),
    "cookie-id": (collected("cookie-id", origin="passive"), None, "WW-COOKIE-1"),
    "religion": (collected("religion"), None, "WW-SENS-1"),
    "other-source": (collected("name", origin="other-source"), "PAR-COLLECT-3", None),
    "employee-of-nobody": (event("subject.registered", {"kind": "employee"}), "PAR-SCOPE-1", None),
    "no-card": (event(personal={"note": "card 4111 1111 1111 1112, thanks"}), None, None),
    "disclosure-that-happened": (event("message.sent", {"categories": ["national-id", "payment-card"]}), None, None),
}


@pytest.mark.parametrize("controller", ["parature", "whereverworks"])
@pytest.mark.parametrize("name", DOOR)
def test_each_pack_has_a_door_of_its_own(store, name, controller):
    body = {**DOOR[name][0], "controller": controller}
    clause = DOOR[name][1 + (controller == "whereverworks")]
    before = size(store.ledger)

    outcome = outcome_of(store.ledger, body)

    assert (outcome.kind, outcome.clause) == (("refused", clause) if clause else ("accepted", None))
    assert size(store.ledger) == before + 1
    refusals = [(row["clause"], row["event_id"], row["controller"]) for row in store.ledger.refusals({})]
    assert refusals == ([(clause, body["id"], controller)] if clause else [])
    if clause:  # it is nowhere, the value least of all
        for value in body["data"].get("personal", {}).values():
            assert value.encode() not in store.files()
            assert value not in f"{outcome} {store.ledger.refusals({})}"
        assert rows(store.ledger, "SELECT count(*) FROM aliases") == [0]
    assert_whole(store.ledger)


@pytest.mark.parametrize("name", [name for name, row in DOOR.items() if row[1]])
def test_what_a_processor_does_is_not_the_doors_business(memory, name):
    body = {**DOOR[name][0], "role": "processor", "of": "the-library"}
    (position,) = accept(memory, body)
    assert (decoded(memory)[position].role, decoded(memory)[position].of) == ("processor", "the-library")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("field-called-ssn", "personal field ssn: national-id is not wanted"),
        ("national-number-in-any-field", "personal field note: national-id is not wanted"),
        ("other-source", "source_name is needed here"),
        ("national-id", "national-id is not wanted"),
    ],
)
def test_a_refusal_names_the_field(memory, name, reason):
    assert outcome_of(memory, DOOR[name][0]).reason == reason


def test_other_source_is_recorded_with_its_source(memory):
    named = collected("name", origin="other-source")
    named["data"]["source_name"] = "the trade register"
    accept(memory, named)


MINORS = {  # what is learned, and whether that is a minor at parature, at whereverworks
    "12": ({"age": 12}, True, True),
    "13": ({"age": 13}, False, True),
    "18": ({"age": 18}, False, False),
    "under-13": ({"age": None, "under": 13}, True, True),
    "under-18": ({"age": None, "under": 18}, False, True),
    "under-21": ({"age": None, "under": 21}, False, False),
    "needs-guardian": ({"age": None, "needs_guardian": True}, False, True),
}


@pytest.mark.parametrize("controller", ["parature", "whereverworks"])
@pytest.mark.parametrize("name", MINORS)
@pytest.mark.parametrize("by", ["own-name", "other-name"])
def test_of_a_known_minor_nothing_is_collected_and_no_consent_taken(memory, name, controller, by):
    learned, *minor = MINORS[name]
    clause = {"parature": "PAR-CHILD-1", "whereverworks": "WW-CHILD-1"}[controller]
    here = {"controller": controller, "time": "2026-01-10T00:00:00Z"}
    accept(memory, event("subject.age.learned", learned, **{**here, "time": "2026-01-09T00:00:00Z"}))
    if by == "other-name":
        accept(memory, event("subject.linked", **{**here, "time": "2026-01-09T00:00:01Z"}))
        here["subject"] = "web:ann"

    outcomes = memory.record([event("information.collected", **here), event("consent.granted", **here)])
    rest = memory.record([event("consent.withdrawn", **here), event("message.sent", **here)])
    before = outcome_of(memory, event("consent.granted", **{**here, "time": "2026-01-08T00:00:00Z"}))

    is_minor = minor[controller == "whereverworks"]
    expected = ("refused", clause) if is_minor else ("accepted", None)
    assert [(one.kind, one.clause) for one in outcomes] == [expected] * 2
    assert {one.kind for one in (*rest, before)} == {"accepted"}  # what happened, and what was before it was known
    grown = event("subject.age.learned", {"age": 18}, **{**here, "time": "2026-01-11T00:00:00Z"})
    accept(
        memory, {**grown, "subject": "crm:4711"}, event("consent.granted", **{**here, "time": "2026-01-12T00:00:00Z"})
    )


CLEAR = {
    "e-mail": "write to ann@example.com",
    "telephone": "+1 212 555 0147",
    "card": CARD.replace(" ", ""),
    "spaced-card": CARD,
    "national-number": NATIONAL,
}
FIELDS = {
    "service": lambda text: event(data={"service": text}),
    "reason": lambda text: event("account.deactivated", {"reason": text}),
    "list": lambda text: event("consent.granted", {"list": text}),
    "recipients": lambda text: event("consent.granted", {"recipients": ["support-desk", text]}),
    "request": lambda text: event("access.requested", {"request": text}),
    "hold": lambda text: event("hold.placed", {"hold": text}),
    "version": lambda text: event("policy.notice.posted", {"version": text, "where": "the front page"}),
    "recipient": lambda text: event("recipient.registered", {"recipient": text}),
    "source": lambda text: event(source=text),
    "id": lambda text: event(id=text),
    "of": lambda text: event(role="processor", of=text),
}


@pytest.mark.parametrize("name", CLEAR)
@pytest.mark.parametrize("field", FIELDS)
def test_clear_text_that_says_who_somebody_is_is_no_event(memory, field, name):
    before = size(memory)
    outcome = outcome_of(memory, FIELDS[field](CLEAR[name]))
    assert (outcome.kind, outcome.field, outcome.position) == ("invalid", field, None)
    assert "goes under data.personal" in outcome.reason
    assert CLEAR[name] not in outcome.reason
    assert size(memory) == before
    assert outcome_of(memory, FIELDS[field]("plain-words")).kind == "accepted"  # it is the text, not the field


# -- times and places --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "kind"), [(0, "accepted"), (300, "accepted"), (300.000001, "invalid"), (9e6, "invalid")]
)
def test_a_time_may_be_five_minutes_ahead(memory, clock, ahead, kind):
    time = format_time(clock() + round(ahead * 1_000_000))
    outcome = outcome_of(memory, event(time=time))
    assert outcome.kind == kind
    assert kind == "accepted" or (outcome.field == "time" and "five minutes ahead" in outcome.reason)


def test_the_time_of_recording_never_decreases(store, clock):
    moments = ["12:00:00", "12:00:05", "11:00:00", "12:00:04.999999", "12:00:06", "09:00:00"]
    places = []
    for number, moment in enumerate(moments):
        clock.set(f"2026-03-01T{moment}Z")
        places += accept(store.reopen() if number % 2 else store.ledger, event())
    told = [format_time(decoded(store.ledger)[place].recorded_at)[11:] for place in places]
    assert told == ["12:00:00Z", "12:00:05Z", "12:00:05Z", "12:00:05Z", "12:00:06Z", "12:00:06Z"]
    assert_whole(store.ledger)


def test_positions_versions_and_chains_have_no_gap(memory):
    bodies = [event(subject=f"crm:{n % 3}", controller=("parature", "whereverworks")[n % 2]) for n in range(30)]
    bodies[7:7] = [{**bodies[0], "colour": "blue"}, bodies[2], collected("national-id")]  # no entry, none, a refusal
    for start in range(0, len(bodies), 4):
        memory.record(bodies[start : start + 4])

    tips = {}
    assert rows(memory, "SELECT position FROM entries ORDER BY position") == list(range(2 + 30 + 1))
    for raw, entry in zip(stored(memory), decoded(memory), strict=True):
        version, leaf = tips.get(entry.stream, (0, None))
        assert (entry.version, entry.prev) == (version + 1, leaf and encode_base64(leaf))
        tips[entry.stream] = (entry.version, leaf_hash(raw))
    assert sorted(version for version, _ in tips.values()) == [1, 2, 5, 5, 5, 5, 5, 5]


def test_no_name_and_no_personal_value_is_ever_in_the_log(store):
    names = ["crm:known-4711", "web:other-4711", "crm:customer-4711", "crm:alone-4711"]
    her = {"email": "ann@example.com", "note": "she likes tulips"}
    accept(
        store.ledger,
        event("subject.registered", {"kind": "employee", "of": names[2]}, her, subject=names[0]),
        event("subject.linked", personal={"other": names[1]}, subject=names[0]),
        event("subject.unlinked", personal={"other": names[1]}, subject=names[0]),
        event("subject.linked", personal={"other": names[1]}, subject=names[3], role="processor", of="the-library"),
        event("consent.granted", personal=her, subject=names[1]),
    )
    refused = outcome_of(
        store.ledger, event("information.collected", {"categories": ["national-id"]}, her, subject=names[0])
    )
    conflict = outcome_of(store.ledger, event(id="policy-parature-1", subject=names[0]))
    assert (refused.kind, conflict.kind) == ("refused", "conflict")

    log, files = b"\n".join(stored(store.ledger)), store.files()
    assert log
    for secret in (*names, *her.values()):
        assert secret.encode() not in log
        assert secret.encode() not in files  # sealed, in the vault too
    first = next(entry for entry in decoded(store.ledger) if entry.type == "subject.registered")
    assert first.data.of == store.ledger.app.person("parature", names[2])  # the identifier of that name
    assert re.fullmatch(r"[0-9a-f]{32}", first.stream)


def test_a_conflict_under_an_unknown_controller_is_no_event(memory):
    accept(memory, GRANTED)
    outcome = outcome_of(memory, changed(controller="ann@example.com"))
    assert (outcome.kind, outcome.field) == ("invalid", "controller")
    assert b"ann@example.com" not in b"".join(stored(memory))


# -- group commit ------------------------------------------------------------------------------------------------------


def test_callers_at_the_same_time_share_one_commit(store, monkeypatch, commits):
    bodies = [event(subject=f"crm:{n % 5}", personal={"email": f"p{n % 5}@example.com"}) for n in range(32)]
    bodies[30] = {**bodies[3]}  # one is another caller's, one is no event: neither is anybody else's business
    bodies[31] = event(colour="blue")
    start = size(store.ledger)

    came = together(store.ledger, bodies, monkeypatch)

    assert len(commits) == 1
    assert sorted(one.position for one in came[:3] + came[4:30]) == sorted(
        set(range(start, start + 30)) - {came[3].position}
    )
    assert {one.kind for one in came[:31]} == {"accepted"}
    assert (came[30].position, came[3].duplicate + came[30].duplicate) == (came[3].position, True)
    assert (came[31].kind, came[31].field) == ("invalid", "colour")
    assert size(store.ledger) == start + 30
    for body, outcome in zip(bodies[:31], came[:31], strict=True):
        again(store.ledger, body, outcome)
    assert_whole(store.reopen())


@pytest.mark.parametrize("point", ["begun", "entries written", "before commit", "after commit"])
def test_when_a_shared_commit_fails_every_caller_hears_of_it(store, monkeypatch, fail_at, point):
    error = StoreFull("ledger.db: no space")
    bodies = [event(subject=f"crm:{n}", personal={"email": "a@example.com"}) for n in range(32)]
    given = stored(store.ledger)
    fail_at(point, error)

    came = together(store.ledger, bodies, monkeypatch)

    assert all(one is error for one in came), came
    applied = 32 if point == "after commit" else 0
    assert size(store.ledger) == len(given) + applied
    assert_whole(store.ledger, given)
    outcomes = store.ledger.record(bodies)  # the same process goes on
    assert sorted(one.position for one in outcomes) == list(range(len(given), len(given) + 32))
    assert sum(one.duplicate for one in outcomes) == applied
    assert_whole(store.reopen(), given)


@pytest.mark.parametrize("point", ["begun", "entries written", "before commit", "after commit"])
def test_a_fault_of_the_program_in_a_shared_commit_takes_nobody_along(store, monkeypatch, fail_at, point):
    """Whose event it was nobody knows: each is written by itself then, and counts once."""
    bodies = [event(subject=f"crm:{n}", personal={"email": "a@example.com"}) for n in range(32)]
    given = stored(store.ledger)
    fail_at(point, RuntimeError("a bug"))

    came = together(store.ledger, bodies, monkeypatch)

    assert {one.kind for one in came} == {"accepted"}, came
    assert sorted(one.position for one in came) == list(range(len(given), len(given) + 32))
    assert sum(one.duplicate for one in came) == (32 if point == "after commit" else 0)
    assert_whole(store.reopen(), given)


def test_small_caches_change_nothing(memory, monkeypatch):
    monkeypatch.setattr(batch, "CACHED", 0)
    bodies = [event(subject="crm:new", personal={"email": "a@example.com"}) for _ in range(8)]
    came = together(memory, bodies, monkeypatch)
    assert [str(getattr(one, "kind", one)) for one in came] == ["accepted"] * 8
    assert rows(memory, "SELECT count(*) FROM aliases") == [1]
    assert_whole(memory)


# -- golden ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("golden", orjson.loads(GOLDEN.read_bytes()), ids=lambda one: one["name"])
def test_an_entry_written_by_version_1_decodes_for_ever(golden):
    raw = golden["bytes"].encode()
    assert encode_base64(leaf_hash(raw)) == golden["leaf"]  # nobody has touched the file

    entry = decode(7, raw)

    fields = {name: getattr(entry, name) for name in golden["entry"]} | {
        "data": entry.data.model_dump(by_alias=True, exclude_none=True)
    }
    assert fields == golden["entry"]
    assert entry.position == 7
    assert entry.recorded_at >= parse_time("2026-01-01T00:00:00Z")
    assert encode(orjson.loads(raw)) == raw


@pytest.mark.parametrize("golden", orjson.loads(GOLDEN.read_bytes()), ids=lambda one: one["name"])
def test_the_same_event_is_still_written_in_the_same_bytes(memory, clock, golden):
    clock.set(golden["told"])
    for body in golden["given"]:
        outcome_of(memory, body)
    assert masked(stored(memory)[-1]) == masked(golden["bytes"].encode())


def masked(raw):
    """An entry without what is random: persons, commitments, leaf hashes of entries that hold them."""
    raw = re.sub(rb'"(0[0-9a-f]{31})"', b'"P"', raw)
    return re.sub(rb'"[A-Za-z0-9+/]{43}="', b'"H"', raw)
