"""What a completed deletion destroys: sealed fields and the data key, inside the transaction that says so.

Under a hold it waits for the last release. What the person opted out of outlives it: see `ledger.intake.suppression`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from consent_ledger.ledger.identifiers.spellings import name_forms
from consent_ledger.ledger.intake import traces as tr
from consent_ledger.ledger.intake.addresses import field_forms, keys_of
from consent_ledger.ledger.intake.ends import DECIDES, brought_up
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.persons import connected, effective_deletions, linked, standing_holds, stream_entries
from consent_ledger.ledger.intake.scrub import note_unscrubbed
from consent_ledger.ledger.intake.suppression import Kept, note_addresses, standing_noes
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, people
from consent_ledger.ledger.times import DAY
from consent_ledger.ledger.vault.keys import Outlived


def after_deletion(app: Opened, c: Transaction, person: str) -> list[bytes]:
    """Destroy what a completed deletion covers, unless a hold stands. Returns the bytes that must be gone."""
    if linked(c, person) == {person}:
        group = {person}
        before, ends = brought_up(app.ends, c, person)
        last = ends.until
        _note_until(c, group, last)
        if last == before:
            return []  # nothing ends by it, and what is told of before an end is not kept
    else:
        group = connected(c, person)
        last = note_deleted(c, group)
    if last is None:
        return []
    doomed = doomed_of(app, c, group, until=last)
    if doomed.bytes:
        kept = outliving(app, c, group, doomed.keys)
        app.keys.note_erasure(sorted(group), "deletion", last[0], journalled(kept))
        destroy(app, c, doomed)
    note_unscrubbed(c, doomed.bytes)
    return doomed.bytes


def note_deleted(c: Transaction, group: set[str]) -> tuple[int, int] | None:
    """Note until when the fields of a person are deleted, and return it: None before, and while a hold stands.

    What is told later of a time up to then is not kept.
    """
    last = deleted_until(c, group)
    _note_until(c, group, last)
    return last


def _note_until(c: Transaction, group: set[str], last: tuple[int, int] | None) -> None:
    if last is None:
        people.drop_deleted(c, sorted(group))
    else:
        people.note_deleted(c, sorted(group), last[0])


def deleted_until(c: Transaction, group: set[str]) -> tuple[int, int] | None:
    """The last deletion of a person by all that is recorded: None before, and while a hold stands."""
    entries = [entry for entry in stream_entries(c, group, DECIDES) if entry.role == "controller"]
    deletions = effective_deletions(entries)
    return max(deletions) if deletions and not standing_holds(entries) else None


def spare_held(c: Transaction, person: str) -> None:
    """Under a hold of any name just joined, nothing told late is dropped."""
    group = connected(c, person)
    entries = stream_entries(c, group, ("hold.placed", "hold.released"))
    if standing_holds(entry for entry in entries if entry.role == "controller"):
        people.drop_deleted(c, sorted(group))


@dataclass(slots=True)
class Doomed:
    """What is about to be destroyed."""

    positions: dict[str, list[int]] = field(default_factory=dict)  # person -> entries whose sealed record goes
    whole: set[str] = field(default_factory=set)  # persons of whom nothing is left: their key goes too
    keys: dict[str, set[bytes]] = field(default_factory=dict)  # person -> hashes of the addresses among it
    values: dict[str, set[str]] = field(default_factory=dict)  # person -> what is sealed, as far as it still opens
    elsewhere: list[int] = field(default_factory=list)  # entries of others with whom their name is sealed
    bytes: list[bytes] = field(default_factory=list)


def doomed_of(app: Opened, c: Transaction, group: set[str], until: tuple[int, int] | None) -> Doomed:
    """Sealed records of entries up to `until` in force (None: all), and keys of which nothing else hangs."""
    doomed = Doomed()
    controller = _controller(c, group)
    for name in sorted(group):
        rows = [(decode(position, state), sealed) for position, sealed, state in people.secrets_of(c, name)]
        going = [(entry, sealed) for entry, sealed in rows if until is None or entry.order <= until]
        doomed.positions[name] = [entry.position for entry, _ in going]
        opened = [(entry, _fields(app, c, entry)) for entry, _ in going]
        doomed.keys[name] = {key for entry, fields in opened for key in _address_keys(app, entry, fields)}
        doomed.values[name] = {value for _, fields in opened for value in fields.values()}
        doomed.bytes += [sealed for _, sealed in going]
        if len(going) == len(rows):
            doomed.whole.add(name)
            named = [("email", form) for one in app.vault.names(c, name) for form in name_forms(one)]
            doomed.keys[name] |= keys_of(app.vault, controller, named)
            key = people.wrapped_key(c, name)
            doomed.bytes += [key] if key is not None else []
            doomed.bytes += people.sealed_names(c, name)
    others = [entry for name in sorted(group) for entry in tr.mentioning(c, name) if tr.says_name(entry)]
    for entry in others:
        if entry.stream not in group and (until is None or entry.order <= until):
            secret = people.secret(c, entry.position)
            doomed.bytes += [secret] if secret is not None else []
            doomed.elsewhere.append(entry.position)
    return doomed


def _controller(c: Transaction, group: set[str]) -> str:
    """Whose persons these are; they have no entry at all where they were only ever mentioned."""
    row = entries.any_of_streams(c, sorted(group))
    return decode(*row).controller if row else ""


def _fields(app: Opened, c: Transaction, entry: Entry) -> dict[str, str]:
    opened = app.vault.open_fields(c, entry.stream, entry.version, entry.position)
    return opened[1] if opened is not None else {}


def _address_keys(app: Opened, entry: Entry, fields: dict[str, str]) -> set[bytes]:
    pack = app.registered(entry.controller)
    if pack is None or entry.role == "processor":
        return set()
    said = field_forms(pack, fields)
    return {key for some in said.values() for key in keys_of(app.vault, entry.controller, some)}


def destroy(app: Opened, c: Transaction, doomed: Doomed) -> None:
    """Destroy it; hashes of addresses, and which letters say what, lead to the persons until these are erased."""
    people.drop_secrets(c, doomed.elsewhere)
    for name, positions in doomed.positions.items():
        note_addresses(c, app.vault, name, doomed.keys[name])
        tr.tie_values(c, app.vault, name, doomed.values[name])
        app.vault.destroy(c, name, positions, whole=name in doomed.whole)


def outliving(app: Opened, c: Transaction, group: set[str], keys: dict[str, set[bytes]]) -> list[Kept]:
    """What outlives these persons: every no of theirs, under every address."""
    every = {key for some in keys.values() for key in some}
    if not every:
        return []
    ever = {other for name in group for other in linked(c, name)}
    entries = [entry for entry in stream_entries(c, ever) if entry.role == "controller"]
    pack = app.registered(entries[0].controller) if entries else None
    noes = standing_noes(entries, pack, group) if pack is not None else {}
    return [Kept(key, said, since // DAY * DAY) for key in sorted(every) for said, since in sorted(noes.items())]


def journalled(kept: list[Kept]) -> list[Outlived]:
    """As it stands in the journal beside the keys."""
    return [(one.key.hex(), one.said.decode(), one.since) for one in kept]


def as_kept(suppressed: Iterable[Outlived]) -> list[Kept]:
    """As the store has what stands in the journal."""
    return [Kept(bytes.fromhex(key), said.encode(), since) for key, said, since in suppressed]
