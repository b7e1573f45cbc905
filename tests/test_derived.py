"""What follows from the log is checked against it: each table altered behind its back is seen."""

from __future__ import annotations

import sqlite3

import pytest
from conftest import PACKS, Cli, accept, event, published

from consent_ledger.consumers import opening
from consent_ledger.consumers.maintenance import erase, examine
from consent_ledger.ledger.proof.checkup import derived

FIELDS = {"email": "ann@example.com"}
LETTER = b'{"controller":"parature","subject":"crm:4711","x":1}'
# what is done to a table -> how the finding begins
DAMAGE = {
    "DELETE FROM streams WHERE stream=(SELECT max(stream) FROM streams)": "streams: lacks 1",
    "UPDATE streams SET version=version+1 WHERE stream=(SELECT max(stream) FROM streams)": "streams: lacks 1",
    "DELETE FROM links": "links: lacks 2",
    "INSERT INTO links VALUES ('a', 'b')": "links: has besides 1",
    "DELETE FROM aged": "aged: lacks 2",
    "INSERT INTO aged VALUES ('a')": "aged: has besides 1",
    "DELETE FROM recipients": "recipients: lacks 1",
    "INSERT INTO recipients VALUES ('parature', 'other')": "recipients: has besides 1",
    "DELETE FROM mentions": "mentions: lacks 1",
    "INSERT INTO mentions VALUES ('a', 1)": "mentions: has besides 1",
    "DELETE FROM refused": "refused: lacks 1",
    "DELETE FROM keys WHERE position=3": "keys: entry 3 would be recorded again",
    "UPDATE keys SET position=position+1 WHERE position=3": "keys: entry 3 would be recorded again",
    "INSERT INTO keys VALUES (x'00', 99, NULL)": "keys: ",
    "DELETE FROM suppressed": "suppressed: 1 objections of erased persons are noted beside the keys and not here",
    "INSERT INTO suppressed VALUES (x'00', x'7b7d', 0)": "suppressed: 1 objections are not noted",
    "DELETE FROM deleted": "deleted: 1 rows",
    "UPDATE deleted SET until=until+1": "deleted: 2 rows",
    "INSERT INTO deleted SELECT max(person), 0 FROM aged": "deleted: ",
    "UPDATE addresses SET person=(SELECT max(person) FROM aliases WHERE person<>addresses.person)": "addresses: ",
    "UPDATE aliases SET person=(SELECT max(person) FROM aliases)": "aliases: ",
    "UPDATE aliases SET bound=NULL WHERE person=(SELECT min(person) FROM aliases)": "aliases: ",
    "DELETE FROM aliases WHERE person=(SELECT min(person) FROM aged)": "aliases: 1 persons have lost their names",
    "UPDATE aliases SET sealed=zeroblob(length(sealed)) WHERE sealed IS NOT NULL": "aliases: the sealed record of a",
    "UPDATE aliases SET word=zeroblob(length(word)) WHERE sealed IS NOT NULL": "aliases: letters are not found by",
    "DELETE FROM people": "aliases: the key of person",
    "UPDATE addresses SET masked=x''": "addresses: ",
    "UPDATE controllers SET pack_sha256=(SELECT max(sha256) FROM packs WHERE sha256<>pack_sha256)": "packs: ",
    "UPDATE packs SET body=CAST(body || x'0a' AS BLOB)": "packs: ",
    "DELETE FROM packs": "packs: ",
    "DELETE FROM letter_words WHERE word=(SELECT max(word) FROM letter_words)": "letter_words: dead letter 1",
    "DELETE FROM noes": "noes: ",
    "INSERT INTO noes SELECT person, position+1 FROM noes": "noes: ",
    "DELETE FROM beside": "beside: ",
    "DELETE FROM shared": "shared: ",
    "INSERT INTO shared VALUES (x'00')": "shared: ",
    "DELETE FROM living WHERE how='said'": "living: lacks",
    "UPDATE living SET person=(SELECT max(person) FROM aged)": "living: an address was made to lead to person",
    "UPDATE living SET tag=x'00'": "living: an address was made to lead to person",
    "UPDATE living SET how='name' WHERE how='said'": "living: an address was made to lead to person",
    "UPDATE dead_letters SET sealed=zeroblob(length(sealed))": "dead_letters: 1 does not open",
}


@pytest.fixture
def damaged(store):
    """A store with something in every table."""
    accept(
        store.ledger,
        event("recipient.registered"),
        event(personal=FIELDS),
        event("subject.age.learned", {"age": 9}, subject="crm:kid"),
        event("subject.registered", {"kind": "visitor", "age": 0}, subject="crm:baby"),
        event("subject.linked", subject="web:1", personal={"other": "web:2"}),
        event("optout.recorded", subject="crm:gone", personal={"email": "gone@example.com"}),
        event("service.used", subject="crm:left", personal={"email": "left@example.com"}),
        event("deletion.completed", {"request": None}, subject="crm:left"),
        event("service.used", subject="crm:shares", personal=FIELDS),
        event("optout.recorded", {"signal": "link"}, subject="crm:shares"),
        event("message.bounced", {"channel": "email", "permanent": True}, subject="crm:shares"),
    )
    refused = event("information.collected", {"categories": ["national-id"]})
    assert store.ledger.record([refused])[0].kind == "refused"
    erase(store.ledger, {"controller": "parature", "subject": "crm:gone"})
    store.ingest(LETTER)
    assert derived(store.ledger.app) == []
    store.shut()
    return store


@pytest.mark.parametrize("statement", DAMAGE)
def test_a_table_that_does_not_follow_from_the_log_is_named(damaged, statement):
    db = sqlite3.connect(damaged.path)
    assert db.execute(statement).rowcount > 0
    db.commit()
    db.close()
    damaged.ledger = damaged.open()
    found = derived(damaged.ledger.app)
    assert any(one.startswith(DAMAGE[statement]) for one in found), found
    assert not all(row["ok"] for row in examine(damaged.ledger) if row["check"] == "derived")
    said = Cli(damaged.name).fails("verify", code=1)
    assert said in found


def test_every_derived_table_is_damaged_here(damaged):
    db = sqlite3.connect(damaged.path)
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    db.close()
    seen = {word for statement in DAMAGE for word in statement.replace("(", " ").split()}
    others = {"entries", "subtrees", "head", "meta"}  # the log itself, and what a store does not open without
    sealed = {"secrets"}  # bound to their person by the seal
    hints = {"letter_persons", "past_letters", "refused_names", "sqlite_sequence"}  # what only an erasure looks at
    texts = {"documents"}  # each by the digest of its bytes
    assert tables - seen == others | sealed | hints | texts


def test_sealed_records_whose_key_is_gone_are_named(damaged):
    db = sqlite3.connect(damaged.path)
    db.execute("DELETE FROM people")
    db.commit()
    db.close()
    damaged.ledger = damaged.open()
    bad = [row["says"] for row in examine(damaged.ledger) if row["check"] == "vault" and not row["ok"]]
    assert any(says.endswith("the key of its person is missing (restore a backup)") for says in bad), bad


def test_a_pack_that_was_exchanged_lets_nobody_in(damaged):
    db = sqlite3.connect(damaged.path)
    db.execute("UPDATE controllers SET pack_sha256=(SELECT max(sha256) FROM packs WHERE sha256<>pack_sha256)")
    db.commit()
    db.close()
    damaged.ledger = damaged.open()
    with pytest.raises(Exception, match="was exchanged"):
        damaged.ledger.record([event()])
    for pack in PACKS.values():
        damaged.ledger.app.add_pack(pack)
    accept(damaged.ledger, event())


def test_nobodys_age_is_too_low_to_be_looked_at(store):
    accept(store.ledger, event("subject.registered", {"kind": "visitor", "age": 0}))
    collected = event("information.collected", {"categories": ["name"]})
    assert store.ledger.record([collected])[0].kind == "refused"


def test_a_published_pack_that_is_gone_is_missed(store):
    accept(store.ledger, event())
    store.shut()
    db = sqlite3.connect(store.path)
    gone = published("parature")["data"]["pack_sha256"]
    assert db.execute("DELETE FROM packs WHERE sha256=?", [gone]).rowcount == 1
    assert db.execute("DELETE FROM controllers WHERE pack_sha256=?", [gone]).rowcount == 1
    db.commit()
    db.close()
    ledger = opening.open_ledger(store.name)
    assert [one for one in derived(ledger.app) if gone[:16] in one]
    ledger.close()
