"""Tables that follow from the log, checked against it: a row too many or too few is damage, whoever did it.

Nothing here repairs: what is derived decides what is let in and who is found, and a store whose tables do not follow
from its log was altered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from consent_ledger.ledger.errors import LedgerError, NewerEntry
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake import addresses
from consent_ledger.ledger.intake.addresses import head_of
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.destroy import deleted_until
from consent_ledger.ledger.intake.documents import altered
from consent_ledger.ledger.intake.letter_words import strings
from consent_ledger.ledger.intake.upgrade import mentioned
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry, decode
from consent_ledger.ledger.log.verifier import leaf_hash
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import addresses as stored
from consent_ledger.ledger.store.tables import entries, letters, meta, packs, people, refusals
from consent_ledger.ledger.vault.vault import ALIAS_BYTES

PAGE: Final = 2_000
_SHOWN: Final = 3  # rows that are named of each table
_UNRECORDED: Final = "unrecorded:"


@dataclass(slots=True)
class _Expected:
    """What the entries say that the tables hold."""

    streams: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    links: set[tuple[str, str]] = field(default_factory=set)
    aged: set[str] = field(default_factory=set)
    recipients: set[tuple[str, str]] = field(default_factory=set)
    mentions: set[tuple[str, int]] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    noes: set[tuple[str, int]] = field(default_factory=set)
    beside: set[tuple[str, int]] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    keys: int = 0
    newer: int = 0  # entries of a newer program, which may have a key or not


def problems(app: LedgerApplication, c: Transaction, progress: Callable[[int], None] | None = None) -> Iterator[str]:
    """What does not follow from the log, one sentence each. Requires a log that verifies."""
    expected, start = _Expected(), 0
    while True:
        rows = entries.page(c, start, PAGE)
        if not rows:
            break
        known = []
        for position, state in rows:
            entry = _entry(position, state)
            if entry is None:
                body: dict[str, Any] = orjson.loads(state)
                expected.streams[body.get("person") or body["stream"]] = (body["version"], leaf_hash(state))
                expected.newer += 1
                continue
            expected.streams[entry.stream] = (entry.version, leaf_hash(state))
            known.append(entry)
            _follow(expected, entry)
        yield from _keys(app, c, [entry for entry in known if entry.type not in ev.OWN_TYPES])
        start = rows[-1][0] + 1
        if progress:
            progress(start)
    yield from _compared(c, expected)
    yield from _packs(app, c)
    yield from altered(c)
    yield from _deletions(c)
    yield from _letters(app, c)
    yield from _names(app, c, expected)
    yield from _journal(app, expected.erased)
    yield from _suppression(app, c)
    yield from _addresses(app, c, expected)


def _entry(position: int, state: bytes) -> Entry | None:
    """The entry; None for one of a newer program, of which nothing follows here."""
    try:
        return decode(position, state)
    except NewerEntry:
        return None


def _follow(expected: _Expected, entry: Entry) -> None:
    data = entry.data
    head = head_of(entry)
    expected.noes |= {(head.person, head.position)} if head.may_bind else set()
    expected.beside |= {(head.person, head.position)} if head.beside else set()
    expected.keys += entry.type not in ev.OWN_TYPES
    expected.mentions |= {(person, entry.position) for person in mentioned(entry)}
    match data:
        case ev.SubjectLinked():
            expected.links |= {(entry.stream, data.other or ""), (data.other or "", entry.stream)}
        case ev.SubjectAgeLearned():
            expected.aged.add(entry.stream)
        case ev.SubjectRegistered() if data.age is not None:
            expected.aged.add(entry.stream)
        case ev.RecipientRegistered():
            expected.recipients.add((entry.controller, data.recipient))
        case ev.IntakeRefused():
            expected.refused.add(entry.position)
        case ev.SubjectErased():
            expected.erased.add(entry.stream)
        case _:
            pass


def _keys(app: LedgerApplication, c: Transaction, known: list[Entry]) -> Iterator[str]:
    wanted = {app.vault.event_key(entry.source, entry.id): entry.position for entry in known}
    found = {key: position for key, position, _ in entries.known_keys(c, wanted)}
    for key, position in wanted.items():
        if found.get(key) != position:
            yield f"keys: entry {position} would be recorded again if it was told again"
            return


def _compared(c: Transaction, expected: _Expected) -> Iterator[str]:
    yield from _differs("streams", entries.tips(c), {(s, *tip) for s, tip in expected.streams.items()})
    yield from _differs("links", people.links(c), expected.links)
    yield from _differs("aged", zip(people.aged(c)), {(person,) for person in expected.aged})
    yield from _differs("recipients", packs.recipients(c), expected.recipients)
    yield from _differs("mentions", entries.mentions(c), expected.mentions)
    yield from _differs("refused", zip(refusals.positions(c)), {(position,) for position in expected.refused})
    count = entries.count_keys(c)
    if not expected.keys <= count <= expected.keys + expected.newer:
        yield f"keys: {count} events are known, the log has {expected.keys}"


def _differs(table: str, there: Iterable[tuple[Any, ...]], expected: set[Any]) -> Iterator[str]:
    found = {tuple(row) for row in there}
    for what, rows in (("lacks", expected - found), ("has besides", found - expected)):
        if rows:
            named = [" ".join(str(one) for one in row if not isinstance(one, bytes)) for row in sorted(rows)[:_SHOWN]]
            yield f"{table}: {what} {len(rows)} rows that the log does not bear out, such as {', '.join(named)}"


def _packs(app: LedgerApplication, c: Transaction) -> Iterator[str]:
    """Packs are what their digests say, and those are there that were registered or published."""
    try:
        app._load_controllers(c)  # noqa: SLF001  this package's
        for sha256, body in packs.bodies(c):
            if not isinstance(body, bytes) or hashlib.sha256(body).hexdigest() != sha256:
                yield f"packs: {sha256[:16]}… was altered"
        for position, state in entries.of_type(c, "policy.published"):
            data = decode(position, state).data
            if isinstance(data, ev.PolicyPublished):
                app.pack(data.pack_sha256, c)
    except LedgerError as error:
        yield f"packs: {error}"


def _deletions(c: Transaction) -> Iterator[str]:
    """Until when fields are deleted, of whoever is not erased and was never joined: there it hangs on the order."""
    persons = people.with_names_and(c, "deletion.completed")
    joined = {one for one, _ in people.links(c)}
    expected = {(one, last[0]) for one in persons if one not in joined and (last := deleted_until(c, {one}))}
    found = {(person, until) for person, until in people.deleted(c) if person not in joined}
    if found != expected:
        person = min(found ^ expected)[0]
        yield f"deleted: {len(found ^ expected)} rows are not as the log has it, such as that of {person}"


def _letters(app: LedgerApplication, c: Transaction) -> Iterator[str]:
    """Dead letters open, and are found by all that they say."""
    for letter in letters.ids(c):
        sealed = letters.sealed(c, letter)
        assert sealed is not None
        try:
            said = strings(app.vault.open_letter(sealed))
        except LedgerError as error:
            yield f"dead_letters: {letter} does not open, {error}"
            continue
        if letters.words(c, letter) != {app.vault.word(one) for one in said}:
            yield f"letter_words: dead letter {letter} is not found by all that it says"


def _names(app: LedgerApplication, c: Transaction, expected: _Expected) -> Iterator[str]:
    """Every name leads where it was made to lead and opens as long as it may; whoever is not erased has one."""
    again = meta.names(c, _UNRECORDED)  # erased again, in a restored copy
    erased = expected.erased | {name.removeprefix(_UNRECORDED) for name in again}
    rows = people.names(c)
    persons = {stream for stream in expected.streams if not stream.startswith(CONTROLLER_PREFIX)}
    nameless = persons - erased - {row[1] for row in rows}
    if nameless:
        yield f"aliases: {len(nameless)} persons have lost their names, such as {min(nameless)}"
    for alias, person, bound, sealed, word in rows:
        try:
            app.vault.person_of(alias, person, bound)
            if sealed is not None:
                app.vault.check_name(c, person, sealed, word)
        except LedgerError as error:
            yield f"aliases: {error}"
            return


def _addresses(app: LedgerApplication, c: Transaction, expected: _Expected) -> Iterator[str]:
    """The addresses of those who are there: those that can be read, whose field is one by every pack there was."""
    there = people.all_with_names(c)
    noes, beside = ({one for one in some if one[0] in there} for some in (expected.noes, expected.beside))
    yield from addresses.problems(c, app.vault, noes, beside)
    ever = _all_packs(app, c)
    for position, state in people.entries_with_secrets(c):
        entry = _entry(position, state)
        if entry is None or entry.role != "controller" or entry.stream not in there:
            continue
        try:
            opened = app.vault.open_fields(c, entry.stream, entry.version, position)
        except LedgerError:
            continue  # said elsewhere
        tags = [_tags(app, entry, pack, opened[1]) for pack in ever.get(entry.controller, [])] if opened else []
        wanted = set.intersection(*tags) if tags else set()
        if not wanted:
            continue
        if wanted - stored.tags(c, entry.stream, position):
            yield f"living: lacks an address that entry {position} brought"
            return


def _tags(app: LedgerApplication, entry: Entry, pack: Pack, fields: dict[str, str]) -> set[bytes]:
    found = addresses.field_forms(pack, fields).values()
    return {app.vault.tag(key) for some in found for key in addresses.keys_of(app.vault, entry.controller, some)}


def _all_packs(app: LedgerApplication, c: Transaction) -> dict[str, list[Pack]]:
    """The packs of every controller: which one was registered when an entry came is not on record."""
    found: dict[str, list[Pack]] = {}
    for sha256 in packs.digests(c):
        try:
            pack = app.pack(sha256, c)
        except LedgerError:
            continue  # said elsewhere
        found.setdefault(pack.controller, []).append(pack)
    return found


def unjournalled(app: LedgerApplication, c: Transaction) -> set[str]:
    """Persons whom the log tells erased and the journal beside the keys does not: an old backup brings them back."""
    return set(entries.streams_with(c, "subject.erased")) - _journalled(app)


def _journalled(app: LedgerApplication) -> set[str]:
    return {person for row in app.keys.erasures() if row["kind"] == "erase" for person in row["persons"]}


def _journal(app: LedgerApplication, erased: set[str]) -> Iterator[str]:
    missing = len(erased - _journalled(app))
    if missing:
        yield (
            f"erasures.ndjson: lacks {missing} persons whom the log tells erased: a backup made before would bring "
            "them back (put the file back; if it is lost, doctor notes them again)"
        )


def _objections(app: LedgerApplication, c: Transaction) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What outlives erased persons, (in the store, beside the keys): keyed hash of an address, a no as JSON."""
    kept = {(key.hex(), _text(said)) for key, said in stored.suppressed(c)}
    return kept, {(key, said) for key, said, _ in app.keys.outlived()}


def _text(said: object) -> str:
    return said.decode() if isinstance(said, bytes) else str(said)  # SQLite keeps whatever is written into a column


def _suppression(app: LedgerApplication, c: Transaction) -> Iterator[str]:
    """What outlives erased persons stands beside the keys, too; what still leads to a person is masked by them."""
    kept, noted = _objections(app, c)
    if noted - kept and app.how == "rw":  # an erasure that is under way is noted first: once more when nobody writes
        with app.keys.turn(), app.reading_newest() as newest:
            kept, noted = _objections(app, newest)
    if noted - kept:
        yield f"suppressed: {len(noted - kept)} objections of erased persons are noted beside the keys and not here"
    noted |= {(key, said) for row in app.keys.erasures() for key, said, _ in row.get("suppressed", ())}
    if kept - noted:  # a restored copy holds those of deletions, too
        yield f"suppressed: {len(kept - noted)} objections are not noted beside the keys"
    for tag, person, masked in stored.masked(c):
        if len(masked) != ALIAS_BYTES or app.vault.tag(app.vault.masked(masked, person)) != tag:
            yield f"addresses: an address was made to lead to person {person}"
            return
