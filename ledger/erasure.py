"""Real deletion beside an immutable log.

Two steps, as statements promise them. `deletion.completed` destroys the person's sealed fields and data key (under a
hold, at the last release); names still lead to the history, so that the person can be answered. `erase` removes the
names too and appends the fact: from then on the log proves what happened and when, no longer to whom. What the person
opted out of outlives both: see `ledger.suppression`.

SQLite must not keep the bytes either: `secure_delete` zeroes what is freed, the write-ahead log is truncated, and
`scrub` looks into the files for what must be gone (moved b-tree cells can leave copies, mostly cut off at their end)
and rebuilds the file if it finds any. What is destroyed is noted in `meta` by the same transaction and the note removed
by the scrub: where that was cut short, the next one no longer knows what to look for, and rebuilds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventsourcing.sqlite import SQLiteCursor

from ledger import points
from ledger.entry import Entry, decode
from ledger.errors import HoldStanding, InvalidQuestion, StoreBusy, StoreError, StoreFull
from ledger.held import chunks
from ledger.keys import Outlived
from ledger.person import connected, effective_deletions, standing_holds, stream_entries
from ledger.recorder import readable_errors
from ledger.suppression import Kept, address_keys, keep, name_keys, note_addresses, standing_noes, take_addresses
from ledger.times import DAY, FOREVER

if TYPE_CHECKING:
    from ledger.application import LedgerApplication

METHOD: Final = "keys-and-names-destroyed"
SCAN_LIMIT: Final = 200  # needles looked for one by one; with more the file is rebuilt without looking
RETRY_BATCHES: Final = 256
READER_MILLISECONDS: Final = 250  # how long a scrub waits for readers of the write-ahead log
PIECE_BYTES: Final = 12  # looked for at both ends of a needle: less than that is left of a nonce, and nothing sealed
_NOTE: Final = "unscrubbed:"


def after_deletion(app: LedgerApplication, c: SQLiteCursor, person: str) -> list[bytes]:
    """Destroy what a completed deletion covers, unless a hold stands. Returns the bytes that must be gone."""
    group = connected(c, person)
    relevant = ("deletion.requested", "deletion.completed", "hold.placed", "hold.released")
    entries = [entry for entry in stream_entries(c, group, relevant) if entry.role == "controller"]
    deletions = effective_deletions(entries)
    if not deletions or standing_holds(entries):
        return []
    last = max(deletions)
    doomed = _doomed(app, c, group, until=last)
    if doomed.bytes:
        kept = _outliving(app, c, group, doomed.keys)
        app.keys.note_erasure(sorted(group), "deletion", last[0], _journalled(kept))
        _destroy(app, c, doomed)
    _note_unscrubbed(c, doomed.bytes)
    return doomed.bytes


def delete_again(app: LedgerApplication, persons: set[str], until: int, suppressed: Iterable[Outlived]) -> int:
    """Destroy again what a deletion destroyed after a backup was made. Returns how many records and keys."""
    with app.writing() as c:
        app.refresh(c)
        entries = [entry for entry in stream_entries(c, persons) if entry.role == "controller"]
        if until not in (time for time, _ in effective_deletions(entries)):  # else the copy knows, and what came since
            keep(c, _kept(suppressed))
        doomed = _doomed(app, c, persons, until=(until, FOREVER))
        _destroy(app, c, doomed)
        _note_unscrubbed(c, doomed.bytes)
    scrub(app, doomed.bytes)
    return len(doomed.bytes)


@dataclass(slots=True)
class _Doomed:
    """What is about to be destroyed."""

    positions: dict[str, list[int]] = field(default_factory=dict)  # person -> entries whose sealed record goes
    whole: set[str] = field(default_factory=set)  # persons of whom nothing is left: their key goes too
    keys: dict[str, set[bytes]] = field(default_factory=dict)  # person -> hashes of the addresses among it
    bytes: list[bytes] = field(default_factory=list)


def _doomed(app: LedgerApplication, c: SQLiteCursor, group: set[str], until: tuple[int, int] | None) -> _Doomed:
    """Sealed records of entries up to `until` in force (None: all), and keys of which nothing else hangs."""
    doomed = _Doomed()
    controller = _controller(c, group)
    for name in sorted(group):
        c.execute(
            "SELECT s.position, s.sealed, e.state FROM secrets s JOIN entries e ON e.position = s.position "
            "WHERE e.stream=?",
            [name],
        )
        rows = [(decode(position, state), sealed) for position, sealed, state in c.fetchall()]
        going = [(entry, sealed) for entry, sealed in rows if until is None or entry.order <= until]
        doomed.positions[name] = [entry.position for entry, _ in going]
        doomed.keys[name] = {key for entry, _ in going for key in _address_keys(app, c, entry)}
        doomed.bytes += [sealed for _, sealed in going]
        if len(going) == len(rows):
            doomed.whole.add(name)
            doomed.keys[name] |= name_keys(app.vault, controller, app.vault.names(c, name))
            for statement in (
                "SELECT wrapped FROM people WHERE person=?",
                "SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL",
            ):
                c.execute(statement, [name])
                doomed.bytes += [row[0] for row in c.fetchall()]
    return doomed


def _controller(c: SQLiteCursor, group: set[str]) -> str:
    """Whose persons these are; they have no entry at all where they were only ever mentioned."""
    marks = ",".join("?" * len(group))
    c.execute(f"SELECT position, state FROM entries WHERE stream IN ({marks}) LIMIT 1", sorted(group))
    row = c.fetchone()
    return decode(*row).controller if row else ""


def _address_keys(app: LedgerApplication, c: SQLiteCursor, entry: Entry) -> set[bytes]:
    pack = app.registered(entry.controller)
    opened = app.vault.open_fields(c, entry.stream, entry.version, entry.position)
    if pack is None or opened is None or entry.role == "processor":
        return set()
    return address_keys(app.vault, entry.controller, pack, opened[1])


def _destroy(app: LedgerApplication, c: SQLiteCursor, doomed: _Doomed) -> None:
    """Destroy it; the hashes of addresses stay, leading to their persons until these are erased."""
    for name, positions in doomed.positions.items():
        note_addresses(c, app.vault, name, doomed.keys[name])
        app.vault.destroy(c, name, positions, whole=name in doomed.whole)


def _outliving(app: LedgerApplication, c: SQLiteCursor, group: set[str], keys: dict[str, set[bytes]]) -> list[Kept]:
    """What outlives these persons: every no of theirs, under every address."""
    every = {key for some in keys.values() for key in some}
    if not every:
        return []
    entries = [entry for entry in stream_entries(c, group) if entry.role == "controller"]
    pack = app.registered(entries[0].controller) if entries else None
    noes = standing_noes(entries, pack) if pack is not None else {}
    return [Kept(key, said, since // DAY * DAY) for key in sorted(every) for said, since in sorted(noes.items())]


def _journalled(kept: list[Kept]) -> list[Outlived]:
    return [(one.key.hex(), one.said.decode(), one.since) for one in kept]


def _kept(suppressed: Iterable[Outlived]) -> list[Kept]:
    return [Kept(bytes.fromhex(key), said.encode(), since) for key, said, since in suppressed]


def suppress_again(app: LedgerApplication) -> None:
    """Take over what outlived those who were erased after a backup was made."""
    with app.writing() as c:
        keep(c, _kept(app.keys.outlived()))


def erase(app: LedgerApplication, controller: str, name: str, now: int) -> list[int]:
    """Erase a person: all joined names, fields, keys, digests. Returns the positions of the entries that say so.

    Raises InvalidQuestion for a name that leads to nobody, HoldStanding while a hold stands. Nothing is half done:
    the journal of erasures is written first, the rest is one transaction.
    """
    person = app.person(controller, name)
    if person is None:
        raise InvalidQuestion("subject", f"no person by that name at {controller}")
    return erase_persons(app, {person}, now, journal=True)


def erase_persons(app: LedgerApplication, persons: set[str], now: int, *, journal: bool) -> list[int]:
    """Erase by identifier (see `erase`). `journal` False: again, in an older copy, whatever stood when it was made."""
    from ledger.append import Batch

    with app._lock:  # noqa: SLF001  one writer in this process
        with app.writing() as c:
            group = {name for person in persons for name in connected(c, person)}
            entries = stream_entries(c, group, ("hold.placed", "hold.released"))
            holds = standing_holds(entry for entry in entries if entry.role == "controller")
            if holds and journal:
                raise HoldStanding(holds[0])
            batch = Batch(app, c)
            batch.clock(now)
            doomed = _doomed(app, c, group, until=None)
            _destroy(app, c, doomed)
            keys, traces = take_addresses(c, app.vault, sorted(group))
            kept = _outliving(app, c, group, {"": keys})
            if journal:
                app.keys.note_erasure(sorted(group), "erase", None, _journalled(kept))
            points.reached("erasure noted")
            appended = [batch.append_erased(name, METHOD) for name in sorted(group)]
            keep(c, kept)
            gone = doomed.bytes + traces + _forget(app, c, group)
            _note_unscrubbed(c, gone)
            batch.destroyed += gone
            batch.finish()
            points.reached("before erasure commit")
        points.reached("after erasure commit")
        batch.committed()
    return [position for position in appended if position >= 0]  # none for a name that was only ever mentioned


def _forget(app: LedgerApplication, c: SQLiteCursor, group: set[str]) -> list[bytes]:
    """Remove names, content digests and letters of erased persons. Returns the bytes that must be gone."""
    gone: list[bytes] = []
    for name in sorted(group):
        c.execute("SELECT alias, bound FROM aliases WHERE person=?", [name])
        rows = c.fetchall()
        aliases = [row[0] for row in rows]
        gone += [row[1] for row in rows]
        for entry in stream_entries(c, [name]):
            key = app.vault.event_key(entry.source, entry.id)
            c.execute("SELECT digest FROM keys WHERE key=? AND digest IS NOT NULL", [key])
            gone += [row[0] for row in c.fetchall()]
            c.execute("UPDATE keys SET digest=NULL WHERE key=?", [key])
        for alias in aliases:
            # a refused event keeps its key, so that it is refused again, under a digest that compares with nothing
            c.execute("SELECT digest FROM refused WHERE person_key=?", [alias])
            gone += [row[0] for row in c.fetchall()]
            c.execute("UPDATE OR REPLACE refused SET digest=zeroblob(0), person_key=NULL WHERE person_key=?", [alias])
            c.execute("SELECT sealed, digest FROM dead_letters WHERE person_key=?", [alias])
            gone += [one for row in c.fetchall() for one in row]
            c.execute("DELETE FROM dead_letters WHERE person_key=?", [alias])
            app.persons.pop(alias, None)
        gone += aliases
        app.vault.forget_names(c, name)
    return gone


# -- the files ---------------------------------------------------------------------------------------------------------


def scrub(app: LedgerApplication, gone: list[bytes]) -> bool:
    """Make sure that none of these bytes is in any file of the store. Returns whether the file had to be rebuilt.

    It is also rebuilt for what another scrub left undone. Raises StoreBusy where another reader keeps the write-ahead
    log from being truncated, StoreFull where there is no room to rebuild: the rows are gone all the same.
    """
    if app.held is None:
        return False
    points.reached("before scrub")
    with app.keys.turn():  # nobody writes meanwhile
        _truncate_wal(app)
        with app.reading() as c:
            c.execute("SELECT name FROM meta WHERE name GLOB ?", [_NOTE + "*"])
            notes = [row[0] for row in c.fetchall()]
        left_undone = set(notes) - {_note_of(needle) for needle in gone}
        rebuilt = bool(left_undone) or len(gone) > SCAN_LIMIT or _found(app.held.path, gone)
        if rebuilt:
            _rebuild(app)
    points.reached("scrubbed")
    if notes:
        with app.writing(guarded=False) as c:
            c.executemany("DELETE FROM meta WHERE name=?", [(name,) for name in notes])
        with app.keys.turn():
            _truncate_wal(app)
    points.reached("after scrub")
    return rebuilt


def scrub_or_wait(app: LedgerApplication, gone: list[bytes]) -> None:
    """Scrub; where that cannot be done now, say why in `app.unscrubbed` and leave it for the next time.

    What was destroyed is destroyed, and what was accepted stays accepted, whatever becomes of the files.
    """
    try:
        scrub(app, gone)
    except StoreError as error:
        app.unscrubbed = Unscrubbed(str(error), app.unscrubbed)
    else:
        app.unscrubbed = None


class Unscrubbed:
    """Why files still hold what was destroyed, and after how many batches that is tried again: 1, 2, 4 ... 256."""

    def __init__(self, why: str, before: Unscrubbed | None) -> None:
        self.why = why
        self.pause: int = min(before.pause * 2, RETRY_BATCHES) if before is not None else 1
        self._left = self.pause

    def is_due(self) -> bool:
        """Whether it is time. To be asked once a batch."""
        self._left -= 1
        return self._left < 0


def finish_scrub(app: LedgerApplication) -> None:
    """Finish a scrub that was interrupted or had to wait, if there is one."""
    if app.how != "rw":
        return
    with app.reading() as c:
        c.execute("SELECT 1 FROM meta WHERE name GLOB ? LIMIT 1", [_NOTE + "*"])
        waiting = c.fetchone() is not None
    if waiting:
        scrub_or_wait(app, [])


def _note_unscrubbed(c: SQLiteCursor, gone: list[bytes]) -> None:
    """Note that the files are to be scrubbed, in the transaction that destroys."""
    if gone:
        c.execute("INSERT OR IGNORE INTO meta VALUES (?, x'')", [_note_of(gone[0])])


def _note_of(needle: bytes) -> str:
    return _NOTE + sha256(needle).hexdigest()


def _truncate_wal(app: LedgerApplication) -> None:
    with readable_errors(app.where), app.store.datastore.get_connection(commit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout")
        usual = cursor.fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout={min(usual, READER_MILLISECONDS)}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy = cursor.fetchone()[0]
        finally:
            cursor.execute(f"PRAGMA busy_timeout={usual}")
    if busy:
        raise StoreBusy(
            f"{app.where}: the rows are gone, but another reader keeps the write-ahead log: run doctor when it is done"
        )


def _rebuild(app: LedgerApplication) -> None:
    try:
        with readable_errors(app.where), app.store.datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("VACUUM")
    except StoreFull:
        with contextlib.suppress(StoreError):
            _truncate_wal(app)  # what the attempt took
        raise StoreFull(
            f"{app.where}: the rows are gone, but the disk has no room to rebuild the file, which takes twice its "
            "size: free some and run doctor"
        ) from None
    _truncate_wal(app)


def _found(path: Path, needles: list[bytes]) -> bool:
    """Whether the beginning or end of a needle is in the store's file: a copy can be cut, a long one is in parts."""
    pieces = {piece for needle in needles for piece in (needle[:PIECE_BYTES], needle[-PIECE_BYTES:])}
    return any(piece in chunk for chunk in chunks(path, PIECE_BYTES - 1) for piece in pieces)


def backup(app: LedgerApplication, target: Path) -> None:
    """An online copy of the whole store, consistent as of one moment. Requires that `target` is an empty file.

    It is one step, as SQLite begins anew whenever another process has written between two.
    """
    with app.store.datastore.get_connection(commit=False) as connection:
        source: sqlite3.Connection = connection._sqlite_conn  # noqa: SLF001  sqlite3's own backup
        copy = sqlite3.connect(target)
        try:
            source.backup(copy, pages=-1)
        finally:
            copy.close()
