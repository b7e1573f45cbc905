"""Tables that follow from the log, checked against it: a row too many or too few is damage, whoever did it.

Nothing here repairs: what is derived decides what is let in and who is found, and a store whose tables do not follow
from its log was altered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from eventsourcing.sqlite import SQLiteCursor

from ledger import events as ev
from ledger.application import LedgerApplication
from ledger.entry import Entry, decode
from ledger.errors import LedgerError
from ledger.upgrade import mentioned
from ledger.verifier import leaf_hash

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
    keys: int = 0


def problems(app: LedgerApplication, c: SQLiteCursor, progress: Callable[[int], None] | None = None) -> Iterator[str]:
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
            expected.streams[entry.stream] = (entry.version, leaf_hash(state))
            entries.append(entry)
            _follow(expected, entry)
        yield from _keys(app, c, [entry for entry in entries if entry.type not in ev.OWN_TYPES])
        start = rows[-1][0] + 1
        if progress:
            progress(start)
    yield from _compared(c, expected)
    yield from _names(app, c)
    yield from _suppression(app, c)


def _entry(position: int, state: bytes) -> Entry:
    """The entry, or as much of it as an older program can read of a newer one's."""
    try:
        return decode(position, state)
    except LedgerError:
        body: dict[str, Any] = orjson.loads(state)
        stream = body.get("person") or body["stream"]
        named = (body["version"], body["type"], body["controller"], body["source"], body["id"])
        return Entry(position, stream, *named, 0, 0, ev.ServiceUsed(service="unknown"), {})


def _follow(expected: _Expected, entry: Entry) -> None:
    data = entry.data
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
        case _:
            pass


def _keys(app: LedgerApplication, c: SQLiteCursor, entries: list[Entry]) -> Iterator[str]:
    wanted = {app.vault.event_key(entry.source, entry.id): entry.position for entry in entries}
    keys, found = list(wanted), {}
    for first in range(0, len(keys), 500):
        some = keys[first : first + 500]
        c.execute(f"SELECT key, position FROM keys WHERE key IN ({','.join('?' * len(some))})", some)
        found.update(c.fetchall())
    for key, position in wanted.items():
        if found.get(key) != position:
            yield f"keys: entry {position} would be recorded again if it was told again"
            return


def _compared(c: SQLiteCursor, expected: _Expected) -> Iterator[str]:
    yield from _differs(c, "streams", "stream, version, leaf", {(s, *tip) for s, tip in expected.streams.items()})
    yield from _differs(c, "links", "one, other", expected.links)
    yield from _differs(c, "aged", "person", {(person,) for person in expected.aged})
    yield from _differs(c, "recipients", "controller, recipient", expected.recipients)
    yield from _differs(c, "mentions", "person, position", expected.mentions)
    yield from _differs(c, "refused", "DISTINCT position", {(position,) for position in expected.refused})
    c.execute("SELECT count(*) FROM keys")
    count = c.fetchone()[0]
    if count != expected.keys:
        yield f"keys: {count} events are known, the log has {expected.keys}"


def _differs(c: SQLiteCursor, table: str, columns: str, expected: set[Any]) -> Iterator[str]:
    c.execute(f"SELECT {columns} FROM {table}")
    found = {tuple(row) for row in c.fetchall()}
    for what, rows in (("lacks", expected - found), ("has besides", found - expected)):
        if rows:
            named = [" ".join(str(one) for one in row if not isinstance(one, bytes)) for row in sorted(rows)[:_SHOWN]]
            yield f"{table}: {what} {len(rows)} rows that the log does not bear out, such as {', '.join(named)}"


def _names(app: LedgerApplication, c: SQLiteCursor) -> Iterator[str]:
    c.execute("SELECT alias, person, bound FROM aliases")
    for row in c.fetchall():
        try:
            app.vault.person_of(*row)
        except LedgerError as error:
            yield f"aliases: {error}"
            return


def _suppression(app: LedgerApplication, c: SQLiteCursor) -> Iterator[str]:
    """What outlives erased persons stands beside the keys, too; what still leads to a person is masked by them."""
    c.execute("SELECT key, CAST(said AS TEXT) FROM suppressed")
    kept = {(key.hex(), said) for key, said in c.fetchall()}
    noted = {(key, said) for key, said, _ in app.keys.outlived()}
    if noted - kept:
        yield f"suppressed: {len(noted - kept)} objections of erased persons are noted beside the keys and not here"
    # of who was deleted, and only where an older copy was made to forget it again
    noted |= {(key, said) for row in app.keys.erasures() for key, said, _ in row.get("suppressed", ())}
    if kept - noted:
        yield f"suppressed: {len(kept - noted)} objections are not noted beside the keys"
    c.execute("SELECT tag, person, masked FROM addresses")
    for tag, person, masked in c.fetchall():
        if app.vault.tag(app.vault.masked(masked, person)) != tag:
            yield f"addresses: an address was made to lead to person {person}"
            return
