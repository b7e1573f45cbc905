"""The API in Python cannot be misread: what is one event, what is a yes, which moment, whose error."""

from __future__ import annotations

import random
import sqlite3
import zipfile
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from io import BytesIO
from typing import get_args, get_type_hints

import pytest
from conftest import PACKS, PERSON, Store, accept, event, outcome_of, rows, size, stored
from eventsourcing.persistence import ConnectionPoolClosedError, ConnectionUnavailableError, ProgrammingError

from consent_ledger.consumers import opening
from consent_ledger.ledger import Erased, NotAccepted, Outcome, StoreReport
from consent_ledger.ledger.errors import (
    Closed,
    HoldStanding,
    InvalidQuestion,
    LedgerError,
    NotALedger,
    NothingToShow,
    PackError,
    StoreBusy,
    StoreError,
)
from consent_ledger.ledger.log.verifier import ProofError, parse_vkey, verify_evidence
from consent_ledger.ledger.proof.audit import StoreCorrupt
from consent_ledger.ledger.store.sqlite_pool import readable_errors
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections import Answer

WHO = {"controller": "parature", "subject": PERSON}
ASK = {**WHO, "action": "contact", "purpose": "newsletter", "list": "product-news", "channel": "email"}
HER = {"email": "ann@example.com", "full_name": "Ann Example"}
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


# -- recording ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [event(), '{"specversion": "1.0"}', b"[]", None, 7, object()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("way", ["record", "record_all", "app"])
def test_what_is_no_list_of_events_is_a_type_error_and_records_nothing(memory, wrong, way):
    before = stored(memory)
    record = {"record": memory.record, "record_all": memory.record_all, "app": lambda one: memory.app.record(one, 0)}
    with pytest.raises(TypeError, match=r"record wants a list of events, .* got"):
        record[way](wrong)
    assert stored(memory) == before


def test_any_collection_of_events_will_do(memory):
    for told in ([event()], (event(),), (event() for _ in range(1)), {1: event()}.values()):
        assert [one.kind for one in memory.record(told)] == ["accepted"]


def test_record_all_returns_the_outcomes_where_all_are_accepted(memory):
    one = event()
    assert [outcome.kind for outcome in memory.record_all([one, event()])] == ["accepted", "accepted"]
    (again,) = memory.record_all([one])
    assert again.duplicate


def test_record_all_raises_after_the_commit_with_every_outcome_in_it(memory):
    before = size(memory)
    refused = event("information.collected", {"categories": ["national-id"]})
    with pytest.raises(NotAccepted) as caught:
        memory.record_all([event(), refused, event(time="yesterday"), event()])
    assert [one.kind for one in caught.value.outcomes] == ["accepted", "refused", "invalid", "accepted"]
    assert size(memory) == before + 3  # the refusal is an entry, too
    said = str(caught.value)
    assert said.startswith("2 of 4 events were not accepted, the others are recorded: event 1: refused (PAR-COLLECT-2)")
    assert "event 2: invalid (time): wants an RFC 3339 time" in said
    assert isinstance(caught.value, LedgerError)
    assert not caught.value.retryable


def test_record_all_names_the_first_few(memory):
    with pytest.raises(NotAccepted, match=r"event 2: .*; and 5 more"):
        memory.record_all([event(time="x") for _ in range(8)])


# -- yes and no --------------------------------------------------------------------------------------------------------


def test_neither_an_answer_nor_an_outcome_is_true_or_false(memory):
    outcome = outcome_of(memory, event("consent.granted"))
    for one, says in ((outcome, "outcome.kind"), (memory.decide(ASK), "answer.permitted")):
        for asked in (bool, lambda one: not one, lambda one: "yes" if one else "no", lambda one: one and True):
            with pytest.raises(TypeError, match=says):
                asked(one)


def test_permitted_is_the_outcome_permit_and_nothing_else(memory):
    before = memory.record([event("subject.registered")])
    assert before[0].kind == "accepted"
    assert not memory.decide(ASK).permitted
    accept(memory, event("consent.granted"))
    assert memory.decide(ASK).permitted
    other = memory.decide({**ASK, "role": "processor", "of": "acme"})
    assert (other.outcome, other.permitted) == ("not-applicable", False)


def test_the_words_for_an_outcome_are_types():
    assert get_args(get_type_hints(Outcome)["kind"]) == ("accepted", "refused", "conflict", "invalid")
    assert get_args(get_type_hints(Answer)["outcome"]) == ("permit", "deny", "not-applicable")


# -- moments -----------------------------------------------------------------------------------------------------------


class Nowhere(tzinfo):
    """A zone that does not say how far it is from UTC: as good as none."""

    def utcoffset(self, _):
        return None


AWARE = {
    "utc": NOON,
    "another zone": NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
    "an offset with seconds": NOON.astimezone(timezone(timedelta(hours=1, seconds=13))),
}
NAIVE = {"naive": NOON.replace(tzinfo=None), "a zone that is none": NOON.replace(tzinfo=Nowhere())}
NO_TIME = {"a day": date(2026, 1, 2), "seconds": 1767355200, "a year 0": datetime.min.replace(tzinfo=AWARE["another zone"].tzinfo)}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("moment", AWARE.values(), ids=AWARE)
def test_an_aware_datetime_is_the_same_moment_as_its_text(memory, moment):
    as_text = event("consent.granted", {"expires_at": "2026-01-02T12:00:00Z"}, time="2026-01-02T12:00:00Z")
    as_datetime = {**as_text, "time": moment, "data": {**as_text["data"], "expires_at": moment}}
    accept(memory, as_datetime)
    (again,) = memory.record([as_text])
    assert (again.kind, again.duplicate) == ("accepted", True)
    for field in ("at", "known_at"):
        said = memory.decide({**ASK, "at": "2026-01-03T00:00:00Z", "known_at": "2026-03-02T00:00:00Z", field: moment + timedelta(days=70)})  # fmt: skip  # noqa: E501
        assert getattr(said, field) == parse_time("2026-03-13T12:00:00Z")
    assert memory.history({**WHO, "at": moment})[0]["time"] == "2026-01-02T12:00:00Z"
    assert memory.history({**WHO, "at": moment - timedelta(microseconds=1)}) == []


@pytest.mark.parametrize("moment", [*NAIVE.values(), *NO_TIME.values()], ids=[*NAIVE, *NO_TIME])
def test_what_is_no_moment_is_refused_with_a_word(memory, moment):
    word = "time zone" if moment in NAIVE.values() else "wants an RFC 3339 time|outside the years"
    told = outcome_of(memory, event(time=moment))
    assert (told.kind, told.field) == ("invalid", "time")
    data = outcome_of(memory, event("consent.granted", {"expires_at": moment}))
    assert (data.kind, data.field) == ("invalid", "expires_at")
    accept(memory, event())
    for field in ("at", "known_at"):
        for ask in (memory.decide, memory.state, memory.refusals):
            body = ASK if ask == memory.decide else WHO
            with pytest.raises(InvalidQuestion, match=f"^{field}: .*({word})"):
                ask({**body, field: moment})
    if moment in NAIVE.values():
        assert (word in told.reason, word in data.reason) == (True, True)


# -- what else a ledger does -------------------------------------------------------------------------------------------


def test_add_pack_takes_the_bytes_of_a_pack(clock):
    ledger = opening.memory_ledger(at=clock)
    assert ledger.add_pack(PACKS["parature"]).controller == "parature"
    with pytest.raises(TypeError, match="wants the bytes"):
        ledger.add_pack(PACKS["parature"].decode())
    with pytest.raises(PackError):
        ledger.add_pack(b"no pack")


def test_evidence_opens_what_is_named_and_nothing_else(store):
    accept(store.ledger, event("subject.registered", personal=HER))
    vkey = parse_vkey(store.ledger.app.signer.vkey)
    opened = {}
    for disclose in ((), ["email"], {"email": 1}.keys(), "all"):
        body = store.ledger.evidence(WHO, disclose=disclose)
        assert verify_evidence(body, [vkey])
        with zipfile.ZipFile(BytesIO(body)) as archive:
            text = b"".join(archive.read(name) for name in archive.namelist())
        opened[str(disclose)] = [name for name, value in HER.items() if value.encode() in text]
    assert list(opened.values()) == [[], ["email"], ["email"], ["email", "full_name"]]
    with pytest.raises(TypeError, match="list of names"):
        store.ledger.evidence(WHO, disclose="email")
    with pytest.raises(InvalidQuestion, match="subject"):
        store.ledger.evidence({"controller": "parature"})


def test_what_is_secret_for_now_is_in_an_auditors_evidence_alone(store):
    told = {"recipient": "court", "categories": ["email"], "ground": "law", "secret_until": "2026-06-01T00:00:00Z"}
    court = event("recipient.registered", {"recipient": "court", "class": "authority", "service": None})
    accept(store.ledger, court, event("disclosure.compelled", told))
    with pytest.raises(NothingToShow, match="no entry that may be shown"):
        store.ledger.evidence(WHO)
    accept(store.ledger, event())
    held = {}
    for auditor in (False, True):
        with zipfile.ZipFile(BytesIO(store.ledger.evidence(WHO, auditor=auditor))) as archive:
            held[auditor] = b"".join(archive.read(name) for name in archive.namelist()).count(b"disclosure.compelled")
    assert (held[False], held[True] > 0) == (0, True)


def test_verify_reports_and_names_what_does_not_hold(store):
    accept(store.ledger, event(personal=HER))
    report = store.ledger.verify()
    assert isinstance(report, StoreReport)
    assert (report.size, str(report)[:6]) == (size(store.ledger), "holds:")
    assert store.ledger.verify(store.ledger.app.signer.vkey) == report
    with pytest.raises(InvalidQuestion, match=r"^key: .*verifier key"):
        store.ledger.verify("no key")
    db = sqlite3.connect(store.path)
    db.execute("DROP TRIGGER entries_update")
    db.execute("UPDATE entries SET state=CAST(state || ' ' AS BLOB) WHERE position=2")
    db.commit()
    db.close()
    with pytest.raises(StoreCorrupt, match="entry 2"):
        store.ledger.verify()


def test_backup_is_a_whole_store(store, tmp_path):
    accept(store.ledger, event(personal=HER))
    for target in (tmp_path / "a.db", str(tmp_path / "b.db")):
        assert store.ledger.backup(target) == size(store.ledger)
        with opening.open_ledger(str(target), str(store.keys)) as copy:
            assert stored(copy) == stored(store.ledger)
        with pytest.raises(NotALedger, match="already"):
            store.ledger.backup(target)


def test_erase_says_what_it_did_and_nothing_is_remembered(store):
    accept(store.ledger, event(personal=HER), event("hold.placed"))
    person = store.ledger.state(WHO)["person"]
    with pytest.raises(HoldStanding):
        store.ledger.erase(WHO)
    accept(store.ledger, event("hold.released"))
    done = store.ledger.erase(WHO)
    assert isinstance(done, Erased)
    assert done.positions == [size(store.ledger) - 1]
    for ask in (store.ledger.erase, store.ledger.state, store.ledger.evidence):
        with pytest.raises(InvalidQuestion, match="subject"):
            ask(WHO)
    assert store.ledger.names(person) == []


def test_names_lead_back_from_an_identifier(store):
    accept(store.ledger, event(), event(controller="whereverworks"), event("subject.linked"))
    person = store.ledger.state(WHO)["person"]
    assert store.ledger.names(person) == [PERSON]
    (other,) = rows(store.ledger, "SELECT other FROM links WHERE one=?", person)
    assert store.ledger.names(other) == ["web:ann"]
    assert store.ledger.names(store.ledger.state({**WHO, "controller": "whereverworks"})["person"]) == [PERSON]
    for wrong in (PERSON, "", "controller:parature", "0" * 32, None, 7, "\udcff"):
        with pytest.raises(InvalidQuestion, match=r"^person: wants the identifier"):
            store.ledger.names(wrong)


def test_closed_is_closed_for_all_of_it(store, tmp_path):
    ledger = store.ledger
    ledger.close()
    calls = (
        lambda: ledger.record([event()]), lambda: ledger.record_all([event()]), lambda: ledger.decide(ASK),
        lambda: ledger.add_pack(PACKS["parature"]), lambda: ledger.erase(WHO), lambda: ledger.evidence(WHO),
        ledger.verify, lambda: ledger.backup(tmp_path / "x.db"), lambda: ledger.names("0" * 32),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(Closed):
            call()


# -- whose error -------------------------------------------------------------------------------------------------------

CALLS = {
    "record": lambda ledger: ledger.record([event()]),
    "record_all": lambda ledger: ledger.record_all([event()]),
    "decide": lambda ledger: ledger.decide(ASK),
    "state": lambda ledger: ledger.state(WHO),
    "history": lambda ledger: ledger.history({"controller": "parature"}),
    "recipients": lambda ledger: ledger.recipients(WHO),
    "obligations": lambda ledger: ledger.obligations(WHO),
    "findings": lambda ledger: ledger.findings(WHO),
    "refusals": lambda ledger: ledger.refusals({}),
    "add_pack": lambda ledger: ledger.add_pack(PACKS["parature"]),
    "erase": lambda ledger: ledger.erase(WHO),
    "evidence": lambda ledger: ledger.evidence(WHO),
    "verify": lambda ledger: ledger.verify(),
    "names": lambda ledger: ledger.names("0" * 32),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("table", ["entries", "head", "aliases", "meta"])
def test_no_error_of_sqlite_gets_out(store, call, table):
    accept(store.ledger, event())
    db = sqlite3.connect(store.path, isolation_level=None)
    db.execute(f"ALTER TABLE {table} RENAME TO gone")
    db.close()
    came = None
    try:
        CALLS[call](store.ledger)
    except LedgerError as error:
        came = error
    assert came is None or "(" in str(came) or isinstance(came, InvalidQuestion)  # in brackets stands what to do


@pytest.mark.parametrize("call", CALLS)
def test_none_gets_out_wherever_it_comes_from(store, monkeypatch, call):
    def fail():
        raise sqlite3.DatabaseError("database disk image is malformed")

    for entrance in ("take", "entered"):  # every method goes through one of them
        monkeypatch.setattr(store.ledger._sessions, entrance, fail)
    with pytest.raises(StoreError, match=r"ledger.db: database disk image is malformed \(run doctor"):
        CALLS[call](store.ledger)


def test_backup_of_a_broken_store_fails_with_an_error_of_ours(store, tmp_path):
    db = sqlite3.connect(store.path, isolation_level=None)
    db.execute("ALTER TABLE head RENAME TO gone")
    db.close()
    with pytest.raises(StoreError, match="no such table: head"):
        store.ledger.backup(tmp_path / "copy.db")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (sqlite3.OperationalError("odd"), StoreError),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), StoreError),
        (ConnectionUnavailableError("timed out"), StoreBusy),
        (ConnectionPoolClosedError(), Closed),
        (ProgrammingError("odd"), StoreError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a damaged page"), StoreError),
        (ProofError("level 0 from 300 to 301: wants 1 hashes, the store has 0"), StoreError),
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_errors_of_sqlite_and_of_the_pool_are_told_as_ours(theirs, ours):
    with pytest.raises(ours) as caught, readable_errors("a.db"):
        raise theirs
    assert type(caught.value) is ours
    assert ours is Closed or str(caught.value).startswith("a.db: ")
    assert ("doctor" in str(caught.value)) == (ours is StoreError)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_damaged_on_the_disk_comes_as_an_error_of_ours(tmp_path, clock, seed):
    store = Store(tmp_path / "ledger.db")
    accept(store.ledger, *(event("consent.granted", personal=HER, subject=f"crm:{number}") for number in range(60)))
    store.ledger.findings({"controller": "parature"})
    store.shut()
    dice = random.Random(seed)
    file = store.path if seed % 3 else store.path.with_name("ledger.db.projections")
    body = bytearray(file.read_bytes())
    for _ in range(dice.choice((1, 5, 30))):
        begin = dice.randrange(100, len(body) - 200)
        body[begin : begin + dice.choice((1, 8, 200))] = dice.randbytes(dice.choice((1, 8, 200)))
    file.write_bytes(body)
    with suppress(LedgerError), opening.open_ledger(store.name) as ledger:
        for call in CALLS.values():
            with suppress(LedgerError):
                call(ledger)
