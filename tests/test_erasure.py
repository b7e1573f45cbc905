"""Erasure looked at from outside: the bytes of every file beside the store, before and after."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections import defaultdict

import orjson
import pytest
from conftest import PERSON, accept, decoded, event, outcome_of, rows
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent_ledger.consumers import maintenance
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import HoldStanding, InvalidQuestion, KeyFileError
from consent_ledger.ledger.intake import erasure
from consent_ledger.ledger.intake import scrub as scrubbing
from consent_ledger.ledger.intake.dead_letters import drop, listed, text
from consent_ledger.ledger.intake.traces import forget_refusals
from consent_ledger.ledger.log.verifier import parse_vkey, verify_evidence
from consent_ledger.ledger.proof.audit import StoreCorrupt, verify_store
from consent_ledger.ledger.store.sqlite_pool import LedgerPool

SUBJECT, OTHER = "crm:quillfeather-ann", "web:quillfeather-anna"
FIELDS = {
    "full_name": "Ann Quillfeather",
    "email": "ann.quillfeather@example.com",
    "postal_address": "7 Quillfeather Lane, Northford",
    "telephone": "+1 212 555 0147 quillfeather",
    "company": "quillfeather & daughters",
    "form_ip": "203.0.113.77 quillfeather",
    "friend_email": "friend.of.quillfeather@example.org",  # the pack drops it
}
MARKERS = [b"uillfeather", b"212 555 0147", b"203.0.113.77"]
WHO = {"controller": "parature", "subject": SUBJECT}
WINDOW = 12  # bytes: a remnant as long as a nonce is found wherever its cell was cut


# -- builders and checks -----------------------------------------------------------------------------------------------


def ann(type_name="service.used", data=None, personal=None, **attributes):
    return event(type_name, data, personal, **{"subject": SUBJECT} | attributes)


def her_events():
    """Everything that can be stored of a person: fields, two names, a refusal and a conflict."""
    first = ann("subject.registered", personal=FIELDS, id="ann-1")
    return [
        first,
        ann("information.collected", personal={"email": FIELDS["email"]}),
        ann("subject.linked", personal={"other": OTHER}),
        ann("information.collected", personal={"words": "written as quillfeather"}, subject=OTHER),
        ann("information.collected", {"categories": ["national-id"]}, {"email": FIELDS["email"]}),
        {**first, "data": {"kind": "customer", "personal": {"full_name": "another quillfeather"}}},
    ]


def tell(store):
    """Ann's events, dead letters of both her names, and a bystander. Returns the events."""
    events = her_events()
    outcomes = store.ledger.record(events)
    assert [one.kind for one in outcomes] == ["accepted"] * 4 + ["refused", "conflict"]
    lost = [
        ann("message.sent", {"purpose": "telepathy"}, {"email": FIELDS["email"]}, subject=s) for s in (SUBJECT, OTHER)
    ]
    assert store.ingest(*lost).invalid == 2
    accept(store.ledger, event("subject.registered", personal={"full_name": "Bob Bystander"}))
    return events


def traces(ledger, *subjects):
    """Every random-looking byte string that the store holds of a person, by what it is."""
    vault, found = ledger.app.vault, defaultdict(list)
    for subject in subjects:
        person, alias = ledger.app.person("parature", subject), vault.alias("parature", subject)
        of_stream = "FROM {} JOIN entries e USING (position) WHERE e.stream=?"
        found["fields"] += rows(ledger, "SELECT sealed " + of_stream.format("secrets"), person)
        found["digest"] += rows(ledger, "SELECT digest " + of_stream.format("keys"), person)
        found["key"] += rows(ledger, "SELECT wrapped FROM people WHERE person=?", person)
        found["name"] += rows(ledger, "SELECT sealed FROM aliases WHERE person=?", person)
        found["alias"] += rows(ledger, "SELECT alias FROM aliases WHERE person=?", person)
        found["refused"] += rows(ledger, "SELECT digest FROM refused WHERE person_key=?", alias)
        saying = "FROM dead_letters JOIN letter_words ON letter = id WHERE word=?"
        found["letter"] += rows(ledger, "SELECT sealed " + saying, vault.word(subject))
        found["letter digest"] += rows(ledger, "SELECT digest " + saying, vault.word(subject))
        found["word"] += rows(ledger, "SELECT word FROM aliases WHERE person=?", person)
    return dict(found)


def secrets(ledger, subject):
    """(version, position, sealed bytes, random bytes) of every record of a person that still opens."""
    person = ledger.app.person("parature", subject)
    found = []
    with ledger.app.reading() as c:
        c.execute(
            "SELECT e.version, position, sealed FROM secrets JOIN entries e USING (position) WHERE stream=?", [person]
        )
        for version, position, sealed in c.fetchall():
            secret, _ = ledger.app.vault.open_fields(c, person, version, position)
            found.append((version, position, sealed, secret))
    assert found
    return person, found


def files(store):
    """The bytes of every file in the store's folder, the keys' included, by name."""
    folder = store.path.parent
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"ledger.db", "ledger.db.projections", "ledger.db.keys/kek"} <= found.keys()
    return found


def remains(store, found):
    """What is left of those byte strings in any file, even a piece of one: (file, what it is)."""
    windows = {}
    for what, strings in found.items():
        for one in strings:
            windows |= {one[n : n + WINDOW]: what for n in range(len(one) - WINDOW + 1)}
    seen = set()
    for name, body in files(store).items():
        seen |= {(name, windows[w]) for n in range(len(body)) if (w := body[n : n + WINDOW]) in windows}
    return seen


def assert_nobody_named(store):
    assert [(name, one) for name, body in files(store).items() for one in MARKERS if one in body] == []


def assert_holds(ledger):
    verify_store(ledger.app, parse_vkey(ledger.app.signer.vkey))


def dump(store):
    """The content of every table, and the journal of erasures."""
    with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as db:
        lines = list(db.iterdump())
    db.close()
    journal = store.keys / "erasures.ndjson"
    return lines, journal.exists() and journal.read_bytes()


def plant(store, needle):
    """Leave bytes where a moved cell would leave them: in the unallocated middle of a page of `secrets`."""
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name='secrets'").fetchone()
    db.close()
    with store.path.open("r+b") as file:
        file.seek(4096 * (root - 1))
        page = file.read(4096)
        assert page[0] == 13, "wants a page that is root and leaf"
        gap, used = 8 + 2 * int.from_bytes(page[3:5], "big"), int.from_bytes(page[5:7], "big")
        assert used - gap > len(needle) + 100
        file.seek(4096 * (root - 1) + used - len(needle) - 50)
        file.write(needle)
    store.ledger = store.open()


# -- erase -------------------------------------------------------------------------------------------------------------


def test_erase_leaves_no_byte_of_the_person(store):
    tell(store)
    store.ledger.projector.catch_up()
    before = traces(store.ledger, SUBJECT, OTHER)
    assert {what: len(found) for what, found in before.items()} == {
        "fields": 4, "digest": 4, "key": 2, "name": 2, "alias": 2, "refused": 2, "letter": 2, "letter digest": 2,
        "word": 2,
    }  # fmt: skip
    opened = {subject: secrets(store.ledger, subject) for subject in (SUBJECT, OTHER)}
    assert {what for _, what in remains(store, before)} == before.keys()
    assert all(any(one in body for body in files(store).values()) for found in before.values() for one in found)
    assert_nobody_named(store)
    positions = maintenance.erase(store.ledger, WHO)
    assert len(positions) == 2
    before["random"] = [secret for _, found in opened.values() for *_, secret in found]
    assert remains(store, before) == set()
    assert_nobody_named(store)
    assert_holds(store.ledger)
    assert_nothing_opens(store.reopen(), opened)
    assert secrets(store.ledger, PERSON)


def assert_nothing_opens(ledger, opened):
    """What somebody kept of the sealed bytes opens with no key that is left."""
    keys, vault = ledger.app.keys, ledger.app.vault
    left = [(person.encode(), wrapped) for person, wrapped in rows(ledger, "SELECT person, wrapped FROM people")]
    left += [(b"index", value) for value in rows(ledger, "SELECT value FROM meta WHERE name='index_key'")]
    unwrapped = [keys.unwrap(wrapped, context) for context, wrapped in left]
    assert len(unwrapped) >= 2
    for person, found in opened.values():
        assert rows(ledger, "SELECT person FROM people WHERE person=?", person) == []
        with pytest.raises(KeyFileError):
            keys.unwrap(left[0][1], person.encode())
        for version, position, sealed, _ in found:
            with ledger.app.reading() as c:
                assert vault.open_fields(c, person, version, position) is None
            for key in unwrapped:
                with pytest.raises(InvalidTag):
                    AESGCM(key).decrypt(sealed[:12], sealed[12:], f"{person}:{version}".encode())


def test_evidence_of_the_erased_is_had_by_identifier_and_opens_no_field(store):
    tell(store)
    person = store.ledger.app.person("parature", SUBJECT)
    vkey = parse_vkey(store.ledger.app.signer.vkey)
    told = verify_evidence(maintenance.evidence_for(store.ledger, WHO, ["all"], auditor=False), [vkey])
    assert {name for _, name in told.fields} == FIELDS.keys() - {"friend_email"} | {
        "other",
        "words",
    }  # and of the joined name
    maintenance.erase(store.ledger, WHO)
    with pytest.raises(InvalidQuestion, match="no person"):
        maintenance.evidence_for(store.ledger, WHO, ["all"], auditor=False)
    body = maintenance.evidence_for(store.ledger, {**WHO, "subject": person}, ["all"], auditor=False)
    report = verify_evidence(body, [vkey])
    assert (report.person, report.fields, report.entries) == (person, (), told.entries + 1)


def test_letters_and_refusals_of_the_erased_are_gone_and_those_of_others_stay(store):
    tell(store)
    assert store.ingest(event("message.sent", {"purpose": "telepathy"})).invalid == 1
    assert len(listed(store.ledger.app)) == 3
    maintenance.erase(store.ledger, WHO)
    assert [one.reason for one in listed(store.ledger.app)] == ["is no purpose of this pack"]
    assert rows(store.ledger, "SELECT count(*) FROM refused WHERE person_key IS NOT NULL OR digest<>x''") == [0]


def test_a_replay_of_the_erased_adds_and_seals_nothing(store):
    events = tell(store)
    positions = [outcome_of(store.ledger, one).position for one in events]
    maintenance.erase(store.ledger, WHO)
    before = dump(store)
    for again in (lambda: store.ledger, store.reopen):
        outcomes = again().record(events)
        assert [one.kind for one in outcomes[:5]] == ["accepted"] * 4 + ["refused"]
        assert [one.position for one in outcomes[:5]] == positions[:5]
        assert all(one.duplicate for one in outcomes)  # the conflict too: nothing is left to tell it by
        assert dump(store) == before


def test_the_same_name_after_erasure_is_a_new_person(store):
    tell(store)
    old = store.ledger.app.person("parature", SUBJECT)
    maintenance.erase(store.ledger, WHO)
    accept(store.ledger, ann(personal={"email": FIELDS["email"]}))
    new, _ = secrets(store.ledger, SUBJECT)
    assert new != old
    assert [row["version"] for row in store.ledger.history(WHO)] == [1]
    assert store.ledger.app.known_names(old) == 0


def test_erase_under_a_hold_is_refused_and_changes_nothing(store):
    tell(store)
    accept(store.ledger, ann("hold.placed", {"hold": "hold-of-the-other-name"}, subject=OTHER))
    before = dump(store)
    with pytest.raises(HoldStanding, match="'hold-of-the-other-name' stands"):
        maintenance.erase(store.ledger, WHO)
    assert dump(store) == before
    accept(store.ledger, ann("hold.released", {"hold": "hold-of-the-other-name"}, subject=OTHER))
    assert len(maintenance.erase(store.ledger, WHO)) == 2


def test_a_joined_name_of_which_nothing_else_is_known_goes_too(store):
    accept(store.ledger, ann(personal=FIELDS), ann("subject.linked", personal={"other": OTHER}))
    before = traces(store.ledger, SUBJECT, OTHER)
    assert len(before["key"]) == 2
    assert maintenance.erase(store.ledger, WHO) == [store.ledger.app.current_head().size - 1]
    assert remains(store, before) == set()


# -- somebody who is only named ----------------------------------------------------------------------------------------


REFUSED = ("information.collected", {"categories": ["national-id"]}, {"email": "dora@quill.example"})
LETTER = {"controller": "parature", "subject": "crm:dora", "data": {"service": "site"}, "colour": "blue"}


def journal(store):
    """The journal of erasures."""
    path = store.keys / "erasures.ndjson"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_somebody_known_by_a_letter_and_a_refusal_only_is_erased_by_name(store, cli):
    assert store.ingest(LETTER, event(*REFUSED, subject="crm:dora")).invalid == 1
    store.close()
    told = cli("erase", "crm:dora", "--controller", "parature", "--yes").stdout
    assert told == (
        "erased; no entry was about them, so none says so\n"
        "  with it: dead letters 1, names and digests of refused events 1\n"
    )
    assert [(row["kind"], len(row["traces"])) for row in journal(store)] == [("traces", 2)]
    again = cli.fails("erase", "crm:dora", "--controller", "parature", "--yes")
    assert again == "subject: no person 'crm:dora' is known to 'parature'"
    store.reopen()
    assert listed(store.ledger.app) == []
    assert rows(store.ledger, "SELECT digest, person_key FROM refused") == [(b"", None)]


def test_two_refusals_of_one_event_are_forgotten_as_one_that_stays_refused(store):
    told = event(*REFUSED, subject="crm:dora", id="dora-1")
    other = {**told, "data": {**told["data"], "personal": {"email": "dora@elsewhere.example"}}}
    assert [one.kind for one in store.ledger.record([told, other])] == ["refused", "conflict"]
    positions = rows(store.ledger, "SELECT position FROM refused ORDER BY position")
    assert len(positions) == 2
    app = store.ledger.app
    for some in (positions, positions[:1]):  # of the first one nothing is left to forget, the second time
        with app.writing() as c:
            forget_refusals(c, app.vault, some)
        assert rows(store.ledger, "SELECT digest, person_key, position FROM refused") == [(b"", None, positions[1])]
    again = store.ledger.record([told])[0]
    assert (again.kind, again.duplicate, again.position) == ("conflict", True, positions[1])


def test_a_name_of_nobody_is_an_error_and_changes_nothing(store):
    tell(store)
    before = dump(store)
    for name in ("crm:nobody", "0" * 32, "n" * 32):
        with pytest.raises(InvalidQuestion, match="no person"):
            maintenance.erase(store.ledger, {**WHO, "subject": name})
    assert dump(store) == before


@pytest.mark.parametrize("by", ["name", "identifier"])
@pytest.mark.parametrize("how", ["joined and taken apart", "a customer"])
def test_somebody_who_is_named_in_entries_about_others_only_is_erased(store, by, how):
    if how == "a customer":
        accept(store.ledger, ann("subject.registered", {"kind": "employee", "of": OTHER}, {"full_name": "Ann"}))
    else:
        accept(store.ledger, *(ann(f"subject.{one}linked", personal={"other": OTHER}) for one in ("", "un")))
    person = store.ledger.app.person("parature", OTHER)
    who = {**WHO, "subject": OTHER if by == "name" else person}
    before = {"alias": traces(store.ledger, OTHER)["alias"]}
    digests = rows(store.ledger, "SELECT digest FROM keys JOIN mentions USING (position)")
    assert len(digests) == len(rows(store.ledger, "SELECT position FROM mentions")) > 0
    (position,) = maintenance.erase(store.ledger, who)
    assert [(row["type"], row["position"]) for row in store.ledger.history({**who, "subject": person})] == [
        ("subject.erased", position)
    ]
    assert remains(store, {**before, "digest": digests}) == set()
    left = rows(store.ledger, "SELECT count(*) FROM secrets")[0]
    assert left == (how == "a customer")  # what is sealed with it is Ann's
    with pytest.raises(InvalidQuestion, match="is erased already"):
        maintenance.erase(store.ledger, {**who, "subject": person})
    assert_holds(store.ledger)


def test_a_link_of_the_erased_told_again_is_a_duplicate(store):
    link = ann("subject.linked", personal={"other": OTHER})
    (position,) = accept(store.ledger, link)
    accept(store.ledger, ann("subject.unlinked", personal={"other": OTHER}))
    maintenance.erase(store.ledger, {**WHO, "subject": OTHER})
    for again in (link, {**link, "data": {"personal": {"other": "web:somebody"}}}):
        outcome = outcome_of(store.ledger, again)
        assert (outcome.kind, outcome.position, outcome.duplicate) == ("accepted", position, True)
    assert store.ledger.app.person("parature", OTHER) is None


# -- letters -----------------------------------------------------------------------------------------------------------


OTHERS_LETTERS = {
    "a longer name": b'{"subject": "crm:quillfeather-ann-2"}',
    "a name that ends in it": b'{"subject": "old.crm:quillfeather-ann"}',
    "the rest of a name": b'{"subject": "quillfeather"}',
    "a plain word that is a value": b'{"subject": "crm:9", "town": "Northford"}',
    "a short value": b'{"subject": "crm:9", "house": "12 B"}',
}


def test_letters_of_others_stay(store):
    accept(store.ledger, ann(personal={**FIELDS, "town": "Northford", "house": "12 B"}))
    assert store.ingest(*OTHERS_LETTERS.values()).invalid == len(OTHERS_LETTERS)
    maintenance.erase(store.ledger, WHO)
    assert len(listed(store.ledger.app)) == len(OTHERS_LETTERS)


def test_a_short_name_is_found_where_a_name_belongs_only(store):
    accept(store.ledger, event(subject="7"))
    named = [b'{"subject": "7"}', b'{"Subject":7,"id":1}', b'{"data": {"personal": {"other": "7"']
    others = [b'{"id": "7", "subject": "8"}', b'{"subject": "77"}']
    assert store.ingest(*named, *others).invalid == 5
    maintenance.erase(store.ledger, {**WHO, "subject": "7"})
    assert {text(store.ledger.app, one.id) for one in listed(store.ledger.app)} == set(others)


def test_a_letter_that_comes_while_letters_are_read_goes_too(store, monkeypatch):
    tell(store)
    read = erasure._read_before

    def then(*args):
        found = read(*args)
        far = "no name " * 200 + "x" * 66_000  # behind what a letter is looked up by
        assert store.ingest({"note": f"{far} {SUBJECT}"}, {"mail": FIELDS["email"]}).invalid == 2
        accept(store.ledger, ann(personal={"words": "written meanwhile by quillfeather"}))
        assert store.ingest({"note": "written meanwhile by quillfeather"}).invalid == 1
        return found

    monkeypatch.setattr(erasure, "_read_before", then)
    maintenance.erase(store.ledger, WHO)
    assert listed(store.ledger.app) == []


def test_letters_with_an_address_of_somebody_deleted_go_with_their_erasure(store):
    accept(store.ledger, ann(personal=FIELDS), ann("deletion.completed", {"request": None}))
    assert store.ingest({"mail": FIELDS["email"].upper()}, {"call": "+1 (212) 555-0147"}).invalid == 2
    assert store.ingest({"mail": "somebody@example.com"}).invalid == 1
    maintenance.erase(store.ledger, WHO)
    assert len(listed(store.ledger.app)) == 1


def test_all_that_leads_to_a_letter_goes_with_it(store):
    tell(store)
    for one in listed(store.ledger.app):
        drop(store.ledger.app, one.id)
    assert rows(store.ledger, "SELECT count(*) FROM letter_words") == [0]
    assert rows(store.ledger, "SELECT count(DISTINCT person), count(*) FROM past_letters") == [(2, 2)]
    maintenance.erase(store.ledger, WHO)
    assert rows(store.ledger, "SELECT count(*) FROM past_letters") == [0]
    assert [len(row["traces"]) for row in journal(store) if row["kind"] == "traces"] == [4]


def test_the_journal_says_in_one_sorted_row_what_was_destroyed_and_not_of_whom(store):
    for name in ("crm:dora", "crm:emil", "crm:fritz"):
        accept(store.ledger, event(subject=name))
        assert store.ingest({**LETTER, "subject": name}).invalid == 1
        maintenance.erase(store.ledger, {**WHO, "subject": name})
    (first, *others) = journal(store)
    assert first.keys() == {"kind", "traces"}
    assert first["traces"] == sorted(set(first["traces"]))
    assert len(first["traces"]) == len(others) == 3
    assert {row["kind"] for row in others} == {"erase"}


def test_a_large_letter_is_looked_through_in_one_go(store):
    """Work in proportion to the size, whatever is in it: far less than its square."""
    accept(store.ledger, ann(personal=FIELDS))
    hostile = [
        b'"' * 500_000,
        b"\\" * 500_000,
        b'"\\u00' * 100_000,
        b"a:" * 250_000,
        b"(" + b"x " * 250_000,
        "é".encode() * 250_000,
    ]
    assert store.ingest(*hostile, f'{{"note": "{"word " * 100_000} {SUBJECT}'.encode()).invalid == 7
    maintenance.erase(store.ledger, WHO)
    assert len(listed(store.ledger.app)) == 6


# -- told late ---------------------------------------------------------------------------------------------------------


EARLY, DELETED_AT, LATER = "2026-01-05T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z"


def sealed_of(ledger, subject=SUBJECT):
    """The personal fields of somebody that open, the names told by links aside."""
    person = ledger.app.person("parature", subject)
    with ledger.app.reading() as c:
        c.execute("SELECT version, position FROM secrets JOIN entries USING (position) WHERE stream=?", [person])
        found = [ledger.app.vault.open_fields(c, person, *row)[1] for row in c.fetchall()]
    return [fields for fields in found if "other" not in fields]


def deleted(store):
    accept(store.ledger, ann(personal=FIELDS), ann("subject.linked", personal={"other": OTHER}))
    accept(store.ledger, ann("deletion.completed", {"request": None}, time=DELETED_AT))
    assert sealed_of(store.ledger) == []


@pytest.mark.parametrize("subject", [SUBJECT, OTHER])
def test_what_is_told_late_of_a_time_before_a_deletion_is_committed_and_not_kept(store, subject):
    deleted(store)
    (early,) = accept(store.reopen(), ann(personal=FIELDS, time=EARLY, subject=subject))
    (entry,) = [one for one in decoded(store.ledger) if one.position == early]
    assert entry.personal.keys() == FIELDS.keys()
    assert sealed_of(store.ledger, subject) == []
    accept(store.ledger, ann(personal={"words": "back again"}, time=LATER, subject=subject))
    assert sealed_of(store.ledger, subject) == [{"words": "back again"}]


def test_under_a_hold_placed_since_what_is_told_late_is_kept_until_its_release(store):
    deleted(store)
    accept(store.ledger, ann("hold.placed", {"hold": "late"}, subject=OTHER, time=LATER))
    accept(store.ledger, ann(personal={"words": "held"}, time=EARLY))
    assert sealed_of(store.ledger) == [{"words": "held"}]
    accept(store.ledger, ann("hold.released", {"hold": "late"}, subject=OTHER, time=LATER))
    assert sealed_of(store.ledger) == []
    accept(store.ledger, ann(personal={"words": "again"}, time=EARLY))
    assert sealed_of(store.ledger) == []


def test_joined_with_somebody_held_nothing_told_late_is_dropped(store):
    deleted(store)
    held = "web:somebody-held"
    accept(store.ledger, event("hold.placed", {"hold": "theirs"}, subject=held, time=LATER))
    accept(store.ledger, ann("subject.linked", personal={"other": held}, time=LATER))
    accept(store.ledger, ann(personal={"words": "held"}, time=EARLY))
    assert sealed_of(store.ledger) == [{"words": "held"}]
    accept(store.ledger, ann("subject.unlinked", personal={"other": held}, time="2026-02-04T00:00:00Z"))
    assert sealed_of(store.ledger) == []


def test_taken_apart_from_the_deleted_somebody_keeps_what_is_told_late(store):
    deleted(store)
    accept(store.ledger, ann("subject.unlinked", personal={"other": OTHER}, time=LATER))
    accept(store.ledger, ann(personal={"words": "theirs"}, time=EARLY, subject=OTHER))
    accept(store.ledger, ann(personal={"words": "hers"}, time=EARLY))
    assert (sealed_of(store.ledger, OTHER), sealed_of(store.ledger)) == ([{"words": "theirs"}], [])


@pytest.mark.parametrize(("time", "left"), [(EARLY, []), (LATER, [{"words": "theirs"}])])
def test_a_name_joined_before_the_deletion_is_deleted_with_it_and_one_joined_since_is_not(store, time, left):
    third = "web:quillfeather-third"
    accept(store.ledger, ann(personal={"words": "theirs"}, subject=third))
    deleted(store)
    accept(store.ledger, ann("subject.linked", personal={"other": SUBJECT}, subject=third, time=time))
    assert sealed_of(store.ledger, third) == left


def test_an_address_told_late_carries_the_noes_of_the_erased(store):
    deleted(store)
    accept(store.ledger, ann("optout.recorded", time=LATER))
    accept(store.ledger, ann(personal={"email": "late@quill.example"}, time=EARLY))
    maintenance.erase(store.ledger, WHO)
    accept(store.ledger, event(personal={"email": "LATE@quill.example"}, subject="crm:new", time=LATER))
    assert [one.type for one in decoded(store.ledger)].count("suppression.carried") == 1


# -- deletion.completed and holds --------------------------------------------------------------------------------------


def test_a_completed_deletion_destroys_fields_and_key_and_keeps_the_names(store):
    tell(store)
    before = traces(store.ledger, SUBJECT, OTHER)
    opened = {subject: secrets(store.ledger, subject) for subject in (SUBJECT, OTHER)}
    accept(store.ledger, ann("deletion.completed", {"request": None}))
    kept = {what: before.pop(what) for what in ("digest", "alias", "refused", "letter", "letter digest", "word")}
    assert remains(store, before) == set()
    assert {what for _, what in remains(store, kept)} == kept.keys()
    assert_nothing_opens(store.ledger, opened)
    assert [row["type"] for row in store.ledger.history(WHO)][-1] == "deletion.completed"
    assert_nobody_named(store)
    assert_holds(store.ledger)


def test_under_holds_nothing_is_destroyed_until_the_last_release(store):
    tell(store)
    holds = [ann("hold.placed", {"hold": "one"}), ann("hold.placed", {"hold": "two"}, subject=OTHER)]
    accept(store.ledger, *holds, ann("deletion.completed", {"request": None}))
    before = {what: found for what, found in traces(store.ledger, SUBJECT, OTHER).items() if what in ("fields", "key")}
    opened = {subject: secrets(store.ledger, subject) for subject in (SUBJECT, OTHER)}
    accept(store.ledger, ann("hold.released", {"hold": "one"}), ann("hold.released", {"hold": "never placed"}))
    assert [secrets(store.ledger, subject) for subject in opened] == list(opened.values())
    accept(store.ledger, ann("hold.released", {"hold": "two"}, subject=OTHER))
    assert remains(store, before) == set()
    assert_nothing_opens(store.ledger, opened)


def test_a_deletion_told_late_spares_what_was_collected_after_it(store):
    days = [ann(personal={"words": f"day {day}"}, time=f"2026-01-{day:02}T00:00:00Z") for day in (10, 20, 30)]
    accept(store.ledger, *days)
    _, found = secrets(store.ledger, SUBJECT)
    accept(store.ledger, ann("deletion.completed", {"request": None}, time="2026-01-20T00:00:00Z"))
    _, left = secrets(store.ledger, SUBJECT)
    assert left == found[2:]
    assert remains(store, {"early": [sealed for _, _, sealed, _ in found[:2]]}) == set()


def test_what_comes_after_a_completed_deletion_is_under_a_new_key(store):
    accept(store.ledger, ann(personal=FIELDS))
    (old,) = traces(store.ledger, SUBJECT)["key"]
    accept(store.ledger, ann("deletion.completed", {"request": None}), ann(personal={"words": "back again"}))
    (new,) = traces(store.reopen(), SUBJECT)["key"]
    assert new != old
    assert len(secrets(store.ledger, SUBJECT)[1]) == 1


# -- the files ---------------------------------------------------------------------------------------------------------


def test_a_reader_keeps_the_log_and_doctor_truncates_it_afterwards(store, monkeypatch):
    tell(store)
    before = traces(store.ledger, SUBJECT, OTHER)
    create = LedgerPool._create_connection

    def impatient(pool):
        connection = create(pool)
        connection._sqlite_conn.execute("PRAGMA busy_timeout=1")
        return connection

    monkeypatch.setattr(LedgerPool, "_create_connection", impatient)
    ledger = store.open()
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    assert len(maintenance.erase(ledger, WHO)) == 2
    assert "another reader keeps the write-ahead log: run doctor" in ledger.app.unscrubbed.why
    assert [row["says"] for row in maintenance.examine(ledger) if not row["ok"]] == [ledger.app.unscrubbed.why]
    assert ledger.app.person("parature", SUBJECT) is None
    assert {what for _, what in remains(store, before)} == before.keys()
    reader.close()
    assert all(check["ok"] for check in maintenance.examine(ledger))
    assert files(store)["ledger.db-wal"] == b""
    assert remains(store, before) == set()


def test_doctor_waits_for_readers_longer_than_intake_does(store):
    tell(store)
    before = traces(store.ledger, SUBJECT, OTHER)
    reader = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    assert len(maintenance.erase(store.ledger, WHO)) == 2
    assert store.ledger.app.unscrubbed is not None
    end = threading.Timer(3 * scrubbing.READER_MILLISECONDS / 1_000, reader.close)
    end.start()
    assert all(check["ok"] for check in maintenance.examine(store.ledger))
    end.join()
    assert remains(store, before) == set()


@pytest.mark.parametrize("part", [slice(None), slice(20), slice(-20, None)], ids=["whole", "beginning", "end"])
@pytest.mark.parametrize("what", ["key", "fields", "letter"])
def test_a_copy_left_by_a_moved_cell_is_found_and_removed(store, what, part):
    tell(store)
    before = traces(store.ledger, SUBJECT, OTHER)
    plant(store, before[what][0][part])
    maintenance.erase(store.ledger, WHO)
    assert remains(store, before) == set()
    assert_holds(store.ledger)


@pytest.mark.parametrize(
    "how",
    [
        lambda ledger: maintenance.erase(ledger, WHO),
        lambda ledger: ledger.record([ann("deletion.completed", {"request": None})]),
    ],
    ids=["erased", "deleted"],
)
def test_what_an_interrupted_erasure_left_in_the_files_is_removed_on_opening(store, how, monkeypatch):
    tell(store)
    found = traces(store.ledger, SUBJECT, OTHER)
    before = {what: found[what] for what in ("key", "fields", "name")}
    plant(store, before["fields"][0])

    def die(name):
        if name == "before scrub":
            raise SystemExit

    monkeypatch.setattr(crashpoints, "hook", die)
    with pytest.raises(SystemExit):
        how(store.ledger)
    monkeypatch.setattr(crashpoints, "hook", None)
    assert remains(store, before)
    ledger = store.reopen()
    assert remains(store, before) == set()
    assert all(check["ok"] for check in maintenance.examine(ledger))
    assert scrubbing.scrub(ledger.app, []) is False  # once is enough
    assert_holds(ledger)


def test_a_backup_made_under_a_hold_brings_nobody_back(store, tmp_path):
    tell(store)
    accept(store.ledger, ann("hold.placed"))
    before = traces(store.ledger, SUBJECT, OTHER)
    backup, again = tmp_path / "backup.db", tmp_path / "again" / "ledger.db"
    maintenance.back_up(store.ledger, backup)
    accept(store.ledger, ann("hold.released"))
    maintenance.erase(store.ledger, WHO)
    again.parent.mkdir()
    assert maintenance.restore(backup, again, store.keys)[1] == 2
    backup.unlink()
    assert remains(store, before) == set()


@pytest.mark.parametrize("how", ["deleted", "emptied", "torn", "put back to an older one"])
def test_a_journal_that_lacks_who_was_erased_is_seen_and_mended(store, tmp_path, how):
    """Without that an old backup would bring them back, and nobody would know."""
    tell(store)
    bob = {**WHO, "subject": PERSON}
    maintenance.erase(store.ledger, bob)
    path, older = store.keys / "erasures.ndjson", (store.keys / "erasures.ndjson").read_bytes()
    backup, again = tmp_path / "backup.db", tmp_path / "again.db"
    maintenance.back_up(store.ledger, backup)
    before = traces(store.ledger, SUBJECT, OTHER)
    maintenance.erase(store.ledger, WHO)
    match how:
        case "deleted":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case "torn":
            path.write_bytes(path.read_bytes()[:-20])
        case _:
            path.write_bytes(older)
    with pytest.raises(StoreCorrupt, match=r"erasures.ndjson: lacks [23] persons whom the log tells erased"):
        maintenance.check_store(store.ledger, None)
    bad = [check["says"] for check in maintenance.examine(store.ledger) if not check["ok"]]
    assert any("whom the log tells erased: noted again" in says for says in bad), bad
    assert all(check["ok"] for check in maintenance.examine(store.ledger))
    assert maintenance.restore(backup, again, store.keys).erased == 2
    backup.unlink()
    assert {what for what in remains(store, before) if "letter" not in str(what)} == set()


def test_twenty_of_three_hundred_leave_no_byte_and_the_others_still_open(store, monkeypatch):
    rng, scrub, rebuilt = random.Random(4711), scrubbing.scrub, []
    monkeypatch.setattr(scrubbing, "scrub", lambda *args, **more: rebuilt.append(scrub(*args, **more)))
    people = [f"crm:{number}" for number in range(300)]
    told = [
        event("information.collected", personal={"words": f"{subject} " + "x" * rng.randrange(400)}, subject=subject)
        for _ in range(6)
        for subject in rng.sample(people, len(people))
    ]
    for start in range(0, len(told), 150):
        accept(store.ledger, *told[start : start + 150])
    erased = rng.sample(people, 20)
    everything = defaultdict(list)
    for number, subject in enumerate(erased):
        for what, found in traces(store.ledger, subject).items():
            everything[what] += found
        maintenance.erase(store.ledger, {**WHO, "subject": subject})
        if number % 5 == 4:
            assert remains(store, everything) == set()
    assert len(everything["fields"]) == 120
    assert rebuilt.count(False) >= 15  # what is freed is zeroed, so that a rebuild is the exception
    for subject in set(people) - set(erased):
        assert len(secrets(store.ledger, subject)[1]) == 6
    assert_holds(store.ledger)


def test_an_erasure_cut_short_and_finished_after_more_was_said_keeps_all_that_was_noted(store):
    """What stood when it was noted is noted for good: the store and the journal say the same afterwards."""
    accept(store.ledger, event("optout.recorded", personal={"email": "ann@example.com"}))
    said = {"controller": "parature", "subject": event()["subject"]}

    def die(name):
        if name == "erasure noted":
            raise KeyboardInterrupt

    crashpoints.hook = die
    try:
        with pytest.raises(KeyboardInterrupt):
            maintenance.erase(store.ledger, said)
    finally:
        crashpoints.hook = None
    accept(
        store.ledger,
        event("optout.lifted", {"scope": "all"}, time="2026-01-03T00:00:00Z"),
        event("consent.refused", {"list": "other"}, time="2026-01-04T00:00:00Z"),
    )
    store.ledger = store.reopen()  # which finishes it
    assert store.ledger.app.person("parature", said["subject"]) is None
    assert all(check["ok"] for check in maintenance.examine(store.ledger)), maintenance.examine(store.ledger)
