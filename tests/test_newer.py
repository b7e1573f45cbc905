"""Entries of a newer program: told apart from damage, in the way of nobody who has none."""

from __future__ import annotations

import orjson
import pytest
from conftest import PERSON, accept, event, rows, size
from test_threads import ASK, WHO

from consent_ledger.consumers import maintenance
from consent_ledger.ledger.errors import CorruptEntry, NewerEntry
from consent_ledger.ledger.intake import batch
from consent_ledger.ledger.intake.batch import Batch
from consent_ledger.ledger.log.entry import controller_stream, decode, encode
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.proof.audit import verify_store

KINDS = ["type", "dataschema", "format"]
OTHER = {**ASK, "subject": "crm:2"}


def written_by_a_newer_program(store, monkeypatch, kind, stream=None):
    """One entry more, of a person or a stream, as a program that knows more would write it."""
    app = store.open().app
    stream = stream or app.person("parature", PERSON)
    fields = {"source": "urn:app:test", "id": f"newer-{kind}", "time": "2026-01-05T00:00:00Z"}
    with monkeypatch.context() as patch:
        if kind == "dataschema":
            patch.setattr(batch, "SCHEMA_VERSION", 2)
        if kind == "format":
            patch.setattr(batch, "FORMAT", 2)
        with app._lock, app.writing() as c:
            one = Batch(app, c)
            one.clock(store.clock.now)
            type_name = "subject.astonished" if kind == "type" else "service.used"
            position = one._append(stream, "parature", type_name, fields, {"service": "site"})
            one.finish()
    one.committed()
    return position


@pytest.fixture(params=KINDS)
def newer(request, store, monkeypatch):
    """A store with two people, of one of whom a newer program wrote. Gives (ledger, position)."""
    accept(store.ledger, event("consent.granted"), event("consent.granted", subject="crm:2"))
    return store.ledger, written_by_a_newer_program(store, monkeypatch, request.param)


def test_whoever_has_none_is_answered_and_recorded(newer, clock):
    ledger, position = newer
    for turn in range(2):
        assert ledger.decide(OTHER).outcome == "permit"
        assert ledger.decide({**OTHER, "known_at": clock.text}).outcome == "permit"
        for name in ("state", "history", "recipients", "obligations", "findings"):
            getattr(ledger, name)({**WHO, "subject": "crm:2"})
        assert ledger.projector.catch_up() == (0 if turn else position + 1)
    assert ledger.projector.person(ledger.app.person("parature", "crm:2")) is not None
    accept(ledger, event(), event(subject="crm:2"))  # of the one who has one too
    assert ledger.projector.catch_up() == 2
    assert ledger.projector.person(ledger.app.person("parature", PERSON)) is None
    assert ledger.decide(OTHER).size == position + 3


@pytest.mark.parametrize("folded", [False, True])
def test_whoever_has_one_is_not_and_no_report_leaves_them_out(newer, folded):
    ledger, position = newer
    if folded:
        ledger.projector.catch_up()
    for call in (lambda: ledger.decide(ASK), lambda: ledger.state(WHO), lambda: ledger.obligations({}), lambda:
                 ledger.findings({"controller": "parature"})):  # fmt: skip
        with pytest.raises(NewerEntry, match=rf"entry {position} has .* install that; others are still answered") as no:
            call()
        assert no.value.position == position
        assert "restore" not in str(no.value)


@pytest.mark.parametrize("kind", KINDS)
def test_one_about_a_controller_is_in_the_way_of_all_its_questions_only(store, monkeypatch, kind):
    accept(store.ledger, event("consent.granted"), event(controller="whereverworks"))
    position = written_by_a_newer_program(store, monkeypatch, kind, controller_stream("parature"))
    with pytest.raises(NewerEntry, match=f"entry {position} "):
        store.ledger.decide(ASK)
    assert store.ledger.decide({**ASK, "controller": "whereverworks"}).permitted
    assert store.ledger.projector.catch_up() == size(store.ledger)


def test_they_hold_where_their_hashes_do(newer):
    ledger, position = newer
    report = verify_store(ledger.app, parse_vkey(ledger.app.signer.vkey))
    assert (report.size, report.newer) == (position + 1, 1)
    assert ", 1 of a newer program in" in str(maintenance.check_store(ledger, None))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"v": 2}, NewerEntry),
        ({"v": "2"}, CorruptEntry),
        ({"v": 0}, CorruptEntry),
        ({"type": "subject.astonished"}, NewerEntry),
        ({"type": 7}, CorruptEntry),
        ({"dataschema": 2}, NewerEntry),
        ({"dataschema": 0}, CorruptEntry),
        ({"dataschema": "2"}, CorruptEntry),
        ({"data": {"astonished": True}}, CorruptEntry),
    ],
    ids=str,
)
def test_what_only_a_newer_program_writes_is_no_damage_and_the_rest_is(store, changes, error):
    accept(store.ledger, event())
    fields = orjson.loads(rows(store.ledger, "SELECT state FROM entries WHERE type='service.used'")[0])
    assert decode(7, encode(fields)).type == "service.used"
    with pytest.raises(error, match="entry 7 "):
        decode(7, encode({**fields, **changes}))
