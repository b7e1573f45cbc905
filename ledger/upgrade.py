"""Raising a store of an older format to today's, in one transaction. Entries are never rewritten.

1 -> 2  suppression: what somebody opted out of outlives erasure
2 -> 3  the newest entry of every stream, entries that name another person, names bound to their persons; whom refused
        events and letters name; until when fields are deleted
3 -> 4  documents: the texts that persons were shown
"""

from __future__ import annotations

from typing import Final

from eventsourcing.sqlite import SQLiteCursor

from ledger.entry import Entry, decode
from ledger.erasure import note_deleted
from ledger.letterwords import strings
from ledger.person import connected
from ledger.recorder import DELETED, DOCUMENTS, LETTERS, MENTIONS, REFUSED_NAMES, STORE_FORMAT, STREAMS, SUPPRESSION
from ledger.traces import index_letter
from ledger.vault import Vault

_PAGE: Final = 5_000


def upgrade(c: SQLiteCursor, vault: Vault) -> None:
    """Raise a store to today's format. Requires the write lock; another process may have done so already."""
    c.execute("PRAGMA user_version")
    found = c.fetchone()[0]
    if found < 2:
        for statement in SUPPRESSION:
            c.execute(statement)
    if found < 3:
        _streams(c)
        _from_log(c)
        _bound(c, vault)
        c.execute(REFUSED_NAMES)
        _letters(c, vault)
        _deleted(c)
    if found < 4:
        c.execute(DOCUMENTS)
    c.execute(f"PRAGMA user_version={STORE_FORMAT}")


def _streams(c: SQLiteCursor) -> None:
    c.execute(STREAMS)
    # NOT INDEXED: from the table itself, as an index may have lost a row
    c.execute("INSERT INTO streams SELECT stream, max(version), leaf FROM entries NOT INDEXED GROUP BY stream")


def _from_log(c: SQLiteCursor) -> None:
    """Who is named by whose entries; and the ages of those under one, which were passed over."""
    for statement in MENTIONS:
        c.execute(statement)
    start = 0
    while True:
        c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, _PAGE])
        rows = c.fetchall()
        if not rows:
            return
        start = rows[-1][0] + 1
        wanted = (b'"other":', b'"of":', b'"age":0')
        entries = [decode(position, state) for position, state in rows if any(piece in state for piece in wanted)]
        found = [(person, entry.position) for entry in entries for person in mentioned(entry)]
        c.executemany("INSERT INTO mentions VALUES (?,?)", found)
        aged = [(entry.stream,) for entry in entries if getattr(entry.data, "age", None) == 0]
        c.executemany("INSERT OR IGNORE INTO aged VALUES (?)", aged)


def mentioned(entry: Entry) -> list[str]:
    """The other persons that an entry names, by identifier: a joined name, a customer."""
    found = [getattr(entry.data, "other", None)]
    if entry.role == "controller":
        found.append(getattr(entry.data, "of", None))
    return sorted({person for person in found if person is not None and person != entry.stream})


def _bound(c: SQLiteCursor, vault: Vault) -> None:
    c.execute("ALTER TABLE aliases ADD COLUMN bound BLOB")
    c.execute("ALTER TABLE aliases ADD COLUMN word BLOB")
    c.execute("SELECT alias, person, sealed FROM aliases")
    rows = []
    for alias, person, sealed in c.fetchall():
        word = vault.word(vault.open_name(c, person, sealed)) if sealed is not None else None
        rows.append((vault.bound_name(alias, person), word, alias))
    c.executemany("UPDATE aliases SET bound=?, word=? WHERE alias=?", rows)
    c.execute("ALTER TABLE controllers ADD COLUMN bound BLOB")
    c.execute("SELECT controller, pack_sha256 FROM controllers")
    packs = [(vault.bound_pack(controller, sha256), controller) for controller, sha256 in c.fetchall()]
    c.executemany("UPDATE controllers SET bound=? WHERE controller=?", packs)


def _letters(c: SQLiteCursor, vault: Vault) -> None:
    for statement in LETTERS:
        c.execute(statement)
    c.execute(  # a name that nobody can read any more has no word to be found by
        "INSERT INTO letter_persons SELECT person, id FROM dead_letters JOIN aliases ON alias = person_key"
    )
    c.execute("ALTER TABLE dead_letters DROP COLUMN person_key")
    start = 0
    while True:
        c.execute("SELECT id, sealed FROM dead_letters WHERE id>? ORDER BY id LIMIT ?", [start, _PAGE])
        rows = c.fetchall()
        if not rows:
            return
        start = rows[-1][0]
        for letter, sealed in rows:
            index_letter(c, vault, letter, strings(vault.open_letter(sealed)))


def _deleted(c: SQLiteCursor) -> None:
    c.execute(DELETED)
    c.execute("SELECT DISTINCT stream FROM entries WHERE type='deletion.completed'")
    for (person,) in c.fetchall():
        note_deleted(c, connected(c, person))
