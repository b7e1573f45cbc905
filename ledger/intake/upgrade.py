"""Raising a store of an older format to today's, in one transaction. Entries are never rewritten.

1 -> 2  suppression: what somebody opted out of outlives erasure
2 -> 3  the newest entry of every stream, entries that name another person, names bound to their persons; whom refused
        events and letters name; until when fields are deleted
3 -> 4  documents: the texts that persons were shown. The addresses of those who are there. Names are found in one form
        for all spellings, beside that in which they were written: where two persons were recorded under two spellings
        of one name, each keeps their own, and a third spelling leads to the older person. What outlived erased persons
        is looked up in the older form of an address, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from consent_ledger.ledger.identifiers.spellings import composed
from consent_ledger.ledger.intake.addresses import Writes, field_forms, head_of, named_name
from consent_ledger.ledger.intake.destroy import note_deleted
from consent_ledger.ledger.intake.letter_words import strings
from consent_ledger.ledger.intake.named import Named
from consent_ledger.ledger.intake.persons import connected
from consent_ledger.ledger.intake.traces import index_letter
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.recorder import (
    ADDRESSES,
    DELETED,
    DOCUMENTS,
    LETTERS,
    MENTIONS,
    REFUSED_NAMES,
    STORE_FORMAT,
    STREAMS,
    SUPPRESSION,
)
from consent_ledger.ledger.vault.vault import Vault

_PAGE: Final = 5_000


def upgrade(c: Transaction, vault: Vault) -> None:
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
        for statement in ADDRESSES:
            c.execute(statement)
        _names(c, vault)
        _recipients(c)
        _addresses(c, vault)
    c.execute(f"PRAGMA user_version={STORE_FORMAT}")


def _streams(c: Transaction) -> None:
    c.execute(STREAMS)
    # NOT INDEXED: from the table itself, as an index may have lost a row
    c.execute("INSERT INTO streams SELECT stream, max(version), leaf FROM entries NOT INDEXED GROUP BY stream")


def _pages(c: Transaction) -> Iterator[list[tuple[int, bytes]]]:
    """The entries, (position, bytes), page by page. The cursor is free between pages."""
    start = 0
    while True:
        c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, _PAGE])
        rows = c.fetchall()
        if not rows:
            return
        start = rows[-1][0] + 1
        yield rows


def _from_log(c: Transaction) -> None:
    """Who is named by whose entries; and the ages of those under one, which were passed over."""
    for statement in MENTIONS:
        c.execute(statement)
    for rows in _pages(c):
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


def _bound(c: Transaction, vault: Vault) -> None:
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


def _letters(c: Transaction, vault: Vault) -> None:
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


def _deleted(c: Transaction) -> None:
    c.execute(DELETED)
    c.execute("SELECT DISTINCT stream FROM entries WHERE type='deletion.completed'")
    for (person,) in c.fetchall():
        note_deleted(c, connected(c, person))


def _names(c: Transaction, vault: Vault) -> None:
    """Have every name that can be read found by all its spellings; of two persons the older one."""
    c.execute("SELECT alias, person, sealed, word FROM aliases WHERE sealed IS NOT NULL ORDER BY person")
    for alias, person, sealed, word in c.fetchall():
        controller = _controller_of(c, person)
        name = vault.open_name(c, person, sealed)
        form = vault.alias(controller, name) if controller is not None else alias
        if form != alias:
            row = [form, person, sealed, vault.bound_name(form, person), word]
            c.execute("INSERT OR IGNORE INTO aliases VALUES (?,?,?,?,?)", row)


def _controller_of(c: Transaction, person: str) -> str | None:
    """Whose person this is, by an entry about them, or one that names them."""
    about = "SELECT position, state FROM entries WHERE stream=? AND version=1"
    naming = "SELECT position, state FROM mentions JOIN entries USING (position) WHERE person=? LIMIT 1"
    for statement in (about, naming):
        c.execute(statement, [person])
        row = c.fetchone()
        if row is not None:
            return decode(*row).controller
    return None


def _recipients(c: Transaction) -> None:
    c.execute("SELECT controller, recipient FROM recipients")
    rows = {(controller, composed(recipient)) for controller, recipient in c.fetchall()}
    c.execute("DELETE FROM recipients")
    c.executemany("INSERT INTO recipients VALUES (?,?)", sorted(rows))


def _addresses(c: Transaction, vault: Vault) -> None:
    """The addresses of those who are there, as far as they can be read, and which entries may bind them."""
    packs = _packs(c)
    c.execute("SELECT DISTINCT person FROM aliases")
    persons = {row[0] for row in c.fetchall()}
    for rows in _pages(c):
        writes = Writes()
        for entry in (decode(position, state) for position, state in rows):
            if entry.stream in persons and entry.role == "controller":
                writes.add(vault, head_of(entry), _named(c, vault, entry, packs.get(entry.controller)), frozenset())
        writes.flush(c)


def _packs(c: Transaction) -> dict[str, Pack]:
    c.execute("SELECT c.controller, p.body FROM controllers c JOIN packs p ON p.sha256 = c.pack_sha256")
    return {controller: load_pack(body) for controller, body in c.fetchall()}


def _named(c: Transaction, vault: Vault, entry: Entry, pack: Pack | None) -> Named:
    """The addresses of an entry that can still be read."""
    found = Named("")
    if pack is not None and entry.personal:
        opened = vault.open_fields(c, entry.stream, entry.version, entry.position)
        if opened is not None:
            found.fields = field_forms(pack, opened[1])
    if entry.version == 1:
        named_name(found, vault.names(c, entry.stream))
    return found
