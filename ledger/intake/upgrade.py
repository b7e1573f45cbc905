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
from consent_ledger.ledger.store import sqlite_formats as formats
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, letters, packs, people
from consent_ledger.ledger.vault.vault import Vault

_PAGE: Final = 5_000


def upgrade(c: Transaction, vault: Vault) -> None:
    """Raise a store to today's format. Requires the write lock; another process may have done so already."""
    found = formats.found(c)
    if found < 2:
        formats.suppression(c)
    if found < 3:
        formats.streams(c)
        _from_log(c)
        _bound(c, vault)
        formats.refused_names(c)
        _letters(c, vault)
        _deleted(c)
    if found < 4:
        formats.documents(c)
        formats.addresses(c)
        _names(c, vault)
        _recipients(c)
        _addresses(c, vault)
    formats.raised(c)


def _pages(c: Transaction) -> Iterator[list[tuple[int, bytes]]]:
    """The entries, (position, bytes), page by page. The cursor is free between pages."""
    start = 0
    while True:
        rows = entries.page(c, start, _PAGE)
        if not rows:
            return
        start = rows[-1][0] + 1
        yield rows


def _from_log(c: Transaction) -> None:
    """Who is named by whose entries; and the ages of those under one, which were passed over."""
    formats.mentions(c)
    for rows in _pages(c):
        wanted = (b'"other":', b'"of":', b'"age":0')
        some = [decode(position, state) for position, state in rows if any(piece in state for piece in wanted)]
        entries.note_mentions(c, [(person, entry.position) for entry in some for person in mentioned(entry)])
        people.note_aged(c, [entry.stream for entry in some if getattr(entry.data, "age", None) == 0])


def mentioned(entry: Entry) -> list[str]:
    """The other persons that an entry names, by identifier: a joined name, a customer."""
    found = [getattr(entry.data, "other", None)]
    if entry.role == "controller":
        found.append(getattr(entry.data, "of", None))
    return sorted({person for person in found if person is not None and person != entry.stream})


def _bound(c: Transaction, vault: Vault) -> None:
    rows = []
    for alias, person, sealed in formats.bindable_names(c):
        word = vault.word(vault.open_name(c, person, sealed)) if sealed is not None else None
        rows.append((vault.bound_name(alias, person), word, alias))
    formats.bind_names(c, rows)
    bound = [(vault.bound_pack(controller, sha256), controller) for controller, sha256 in formats.bindable_packs(c)]
    formats.bind_packs(c, bound)


def _letters(c: Transaction, vault: Vault) -> None:
    formats.letters(c)
    start = 0
    while True:
        rows = letters.page(c, start, _PAGE)
        if not rows:
            return
        start = rows[-1][0]
        for letter, sealed in rows:
            index_letter(c, vault, letter, strings(vault.open_letter(sealed)))


def _deleted(c: Transaction) -> None:
    formats.deleted(c)
    for person in entries.streams_with(c, "deletion.completed"):
        note_deleted(c, connected(c, person))


def _names(c: Transaction, vault: Vault) -> None:
    """Have every name that can be read found by all its spellings; of two persons the older one."""
    for alias, person, sealed, word in formats.readable_names(c):
        controller = _controller_of(c, person)
        name = vault.open_name(c, person, sealed)
        form = vault.alias(controller, name) if controller is not None else alias
        if form != alias:
            formats.add_name(c, form, person, sealed, vault.bound_name(form, person), word)


def _controller_of(c: Transaction, person: str) -> str | None:
    """Whose person this is, by an entry about them, or one that names them."""
    row = entries.first_of_stream(c, person) or entries.first_naming(c, person)
    return decode(*row).controller if row is not None else None


def _recipients(c: Transaction) -> None:
    rows = {(controller, composed(recipient)) for controller, recipient in packs.recipients(c)}
    formats.replace_recipients(c, sorted(rows))


def _addresses(c: Transaction, vault: Vault) -> None:
    """The addresses of those who are there, as far as they can be read, and which entries may bind them."""
    by_controller = {controller: load_pack(body) for controller, body in packs.registered_bodies(c)}
    persons = people.all_with_names(c)
    for rows in _pages(c):
        writes = Writes()
        for entry in (decode(position, state) for position, state in rows):
            if entry.stream in persons and entry.role == "controller":
                writes.add(
                    vault, head_of(entry), _named(c, vault, entry, by_controller.get(entry.controller)), frozenset()
                )
        writes.flush(c)


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
