"""Tables that follow from the log, checked against it: a row too many or too few is damage, whoever did it.

Nothing here repairs: what is derived decides what is let in and who is found, and a store whose tables do not follow
from its log was altered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
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
from consent_ledger.ledger.vault.vault import ALIAS_BYTES

PAGE: Final = 2_000
_SHOWN: Final = 3  # rows that are named of each table


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
        c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, PAGE])
        rows = c.fetchall()
        if not rows:
            break
        entries = []
        for position, state in rows:
            entry = _entry(position, state)
            if entry is None:
                body: dict[str, Any] = orjson.loads(state)
                expected.streams[body.get("person") or body["stream"]] = (body["version"], leaf_hash(state))
                expected.newer += 1
                continue
            expected.streams[entry.stream] = (entry.version, leaf_hash(state))
            entries.append(entry)
            _follow(expected, entry)
        yield from _keys(app, c, [entry for entry in entries if entry.type not in ev.OWN_TYPES])
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


def _keys(app: LedgerApplication, c: Transaction, entries: list[Entry]) -> Iterator[str]:
    wanted = {app.vault.event_key(entry.source, entry.id): entry.position for entry in entries}
    keys = list(wanted)
    found: dict[bytes, int] = {}
    for first in range(0, len(keys), 500):
        some = keys[first : first + 500]
        c.execute(f"SELECT key, position FROM keys WHERE key IN ({','.join('?' * len(some))})", some)
        found.update(c.fetchall())
    for key, position in wanted.items():
        if found.get(key) != position:
            yield f"keys: entry {position} would be recorded again if it was told again"
            return


def _compared(c: Transaction, expected: _Expected) -> Iterator[str]:
    yield from _differs(c, "streams", "stream, version, leaf", {(s, *tip) for s, tip in expected.streams.items()})
    yield from _differs(c, "links", "one, other", expected.links)
    yield from _differs(c, "aged", "person", {(person,) for person in expected.aged})
    yield from _differs(c, "recipients", "controller, recipient", expected.recipients)
    yield from _differs(c, "mentions", "person, position", expected.mentions)
    yield from _differs(c, "refused", "DISTINCT position", {(position,) for position in expected.refused})
    c.execute("SELECT count(*) FROM keys")
    count = c.fetchone()[0]
    if not expected.keys <= count <= expected.keys + expected.newer:
        yield f"keys: {count} events are known, the log has {expected.keys}"


def _differs(c: Transaction, table: str, columns: str, expected: set[Any]) -> Iterator[str]:
    c.execute(f"SELECT {columns} FROM {table}")
    found = {tuple(row) for row in c.fetchall()}
    for what, rows in (("lacks", expected - found), ("has besides", found - expected)):
        if rows:
            named = [" ".join(str(one) for one in row if not isinstance(one, bytes)) for row in sorted(rows)[:_SHOWN]]
            yield f"{table}: {what} {len(rows)} rows that the log does not bear out, such as {', '.join(named)}"


def _packs(app: LedgerApplication, c: Transaction) -> Iterator[str]:
    """Packs are what their digests say, and those are there that were registered or published."""
    try:
        app._load_controllers(c)  # noqa: SLF001  this package's
        c.execute("SELECT sha256, body FROM packs")
        for sha256, body in c.fetchall():
            if not isinstance(body, bytes) or hashlib.sha256(body).hexdigest() != sha256:
                yield f"packs: {sha256[:16]}… was altered"
        c.execute("SELECT position, state FROM entries WHERE type='policy.published' ORDER BY position")
        for position, state in c.fetchall():
            data = decode(position, state).data
            if isinstance(data, ev.PolicyPublished):
                app.pack(data.pack_sha256, c)
    except LedgerError as error:
        yield f"packs: {error}"


def _deletions(c: Transaction) -> Iterator[str]:
    """Until when fields are deleted, of whoever is not erased and was never joined: there it hangs on the order."""
    c.execute(
        "SELECT DISTINCT stream FROM entries WHERE type='deletion.completed' AND stream IN (SELECT person FROM aliases)"
    )
    persons = [row[0] for row in c.fetchall()]
    c.execute("SELECT one FROM links")
    joined = {row[0] for row in c.fetchall()}
    expected = {(one, last[0]) for one in persons if one not in joined and (last := deleted_until(c, {one}))}
    c.execute("SELECT person, until FROM deleted")
    found = {(person, until) for person, until in c.fetchall() if person not in joined}
    if found != expected:
        person = min(found ^ expected)[0]
        yield f"deleted: {len(found ^ expected)} rows are not as the log has it, such as that of {person}"


def _letters(app: LedgerApplication, c: Transaction) -> Iterator[str]:
    """Dead letters open, and are found by all that they say."""
    c.execute("SELECT id FROM dead_letters ORDER BY id")
    for (letter,) in c.fetchall():
        c.execute("SELECT sealed FROM dead_letters WHERE id=?", [letter])
        try:
            said = strings(app.vault.open_letter(c.fetchone()[0]))
        except LedgerError as error:
            yield f"dead_letters: {letter} does not open, {error}"
            continue
        c.execute("SELECT word FROM letter_words WHERE letter=?", [letter])
        if {row[0] for row in c.fetchall()} != {app.vault.word(one) for one in said}:
            yield f"letter_words: dead letter {letter} is not found by all that it says"


def _names(app: LedgerApplication, c: Transaction, expected: _Expected) -> Iterator[str]:
    """Every name leads where it was made to lead and opens as long as it may; whoever is not erased has one."""
    c.execute("SELECT substr(name, 12) FROM meta WHERE name GLOB 'unrecorded:*'")  # erased again, in a restored copy
    erased = expected.erased | {row[0] for row in c.fetchall()}
    c.execute("SELECT alias, person, bound, sealed, word FROM aliases")
    rows = c.fetchall()
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
    there = _named_persons(c)
    noes, beside = ({one for one in some if one[0] in there} for some in (expected.noes, expected.beside))
    yield from addresses.problems(c, app.vault, noes, beside)
    packs = _all_packs(app, c)
    c.execute("SELECT s.position, e.state FROM secrets s JOIN entries e USING (position) ORDER BY s.position")
    for position, state in c.fetchall():
        entry = _entry(position, state)
        if entry is None or entry.role != "controller" or entry.stream not in there:
            continue
        try:
            opened = app.vault.open_fields(c, entry.stream, entry.version, position)
        except LedgerError:
            continue  # said elsewhere
        tags = [_tags(app, entry, pack, opened[1]) for pack in packs.get(entry.controller, [])] if opened else []
        wanted = set.intersection(*tags) if tags else set()
        if not wanted:
            continue
        c.execute("SELECT tag FROM living WHERE person=? AND position=?", [entry.stream, position])
        if wanted - {row[0] for row in c.fetchall()}:
            yield f"living: lacks an address that entry {position} brought"
            return


def _tags(app: LedgerApplication, entry: Entry, pack: Pack, fields: dict[str, str]) -> set[bytes]:
    found = addresses.field_forms(pack, fields).values()
    return {app.vault.tag(key) for some in found for key in addresses.keys_of(app.vault, entry.controller, some)}


def _named_persons(c: Transaction) -> set[str]:
    c.execute("SELECT DISTINCT person FROM aliases")
    return {row[0] for row in c.fetchall()}


def _all_packs(app: LedgerApplication, c: Transaction) -> dict[str, list[Pack]]:
    """The packs of every controller: which one was registered when an entry came is not on record."""
    found: dict[str, list[Pack]] = {}
    c.execute("SELECT sha256 FROM packs")
    for (sha256,) in c.fetchall():
        try:
            pack = app.pack(sha256, c)
        except LedgerError:
            continue  # said elsewhere
        found.setdefault(pack.controller, []).append(pack)
    return found


def unjournalled(app: LedgerApplication, c: Transaction) -> set[str]:
    """Persons whom the log tells erased and the journal beside the keys does not: an old backup brings them back."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE type='subject.erased'")
    return {row[0] for row in c.fetchall()} - _journalled(app)


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
    c.execute("SELECT key, CAST(said AS TEXT) FROM suppressed")
    kept = {(key.hex(), said) for key, said in c.fetchall()}
    return kept, {(key, said) for key, said, _ in app.keys.outlived()}


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
    c.execute("SELECT tag, person, masked FROM addresses")
    for tag, person, masked in c.fetchall():
        if len(masked) != ALIAS_BYTES or app.vault.tag(app.vault.masked(masked, person)) != tag:
            yield f"addresses: an address was made to lead to person {person}"
            return
