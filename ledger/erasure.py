"""Real deletion beside an immutable log.

Two steps, as statements promise them. `deletion.completed` destroys the person's sealed fields and data key (under a
hold, at the last release); names still lead to the history, so that the person can be answered. `erase` removes the
names too and appends the fact: from then on the log proves what happened and when, no longer to whom.

SQLite must not keep the bytes either: `secure_delete` zeroes what is freed, the write-ahead log is truncated, and
`scrub` looks into the files for what must be gone (moved b-tree cells can leave copies) and rebuilds the file if it
finds any.
"""

from __future__ import annotations

import mmap
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from eventsourcing.sqlite import SQLiteCursor

from ledger import events as ev
from ledger import points
from ledger.entry import Entry, decode
from ledger.errors import HoldStanding, InvalidQuestion, StoreBusy
from ledger.pack import Minor
from ledger.recorder import readable_errors

if TYPE_CHECKING:
    from ledger.application import LedgerApplication

METHOD: Final = "keys-and-names-destroyed"
SCAN_LIMIT: Final = 200  # needles looked for one by one; with more the file is rebuilt without looking


def stream_entries(c: SQLiteCursor, streams: Iterable[str], types: tuple[str, ...] | None = None) -> list[Entry]:
    """Entries of some streams, in the order in which they are in force."""
    found = []
    for stream in streams:
        statement, params = "SELECT position, state FROM entries WHERE stream=?", [stream]
        if types is not None:
            statement += f" AND type IN ({','.join('?' * len(types))})"
            params += types
        c.execute(statement, params)
        found += [decode(position, state) for position, state in c.fetchall()]
    return sorted(found, key=lambda entry: entry.order)


def connected(c: SQLiteCursor, person: str, at: int | None = None) -> set[str]:
    """The identifiers joined with this one at a moment (default: by all that is recorded), itself included."""
    from ledger.application import linked

    candidates = linked(c, person)
    edges: set[frozenset[str]] = set()
    for entry in stream_entries(c, candidates, ("subject.linked", "subject.unlinked")):
        if at is not None and entry.time > at:
            break
        assert isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked)
        pair = frozenset((entry.stream, entry.data.other or ""))
        (edges.add if isinstance(entry.data, ev.SubjectLinked) else edges.discard)(pair)
    group, todo = {person}, [person]
    while todo:
        here = todo.pop()
        new = {name for edge in edges if here in edge for name in edge} - group
        group |= new
        todo += new
    return group


def is_minor(c: SQLiteCursor, person: str, need: Minor, at: int) -> bool:
    """Whether the person, under any joined name, is known at `at` to be a minor in the pack's sense."""
    for name in connected(c, person, at):
        young = False
        for entry in stream_entries(c, [name], ("subject.age.learned", "subject.registered")):
            data = entry.data
            if entry.time > at or entry.role == "processor":
                continue
            if isinstance(data, ev.SubjectRegistered) and data.age is not None:
                young = data.age < need.under
            elif isinstance(data, ev.SubjectAgeLearned):
                young = (data.age is not None and data.age < need.under) or (
                    data.under is not None and data.under <= need.under
                )
                young = young or (need.guardian and bool(data.needs_guardian))
        if young:
            return True
    return False


def standing_holds(entries: Iterable[Entry]) -> list[str]:
    """The holds that stand after these entries."""
    standing: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry.data, ev.HoldPlaced):
            standing[entry.data.hold] = None
        elif isinstance(entry.data, ev.HoldReleased):
            standing.pop(entry.data.hold, None)
    return list(standing)


def after_deletion(app: LedgerApplication, c: SQLiteCursor, person: str) -> list[bytes]:
    """Destroy what a completed deletion covers, unless a hold stands. Returns the bytes that must be gone."""
    group = connected(c, person)
    relevant = ("deletion.completed", "hold.placed", "hold.released")
    entries = [entry for entry in stream_entries(c, group, relevant) if entry.role == "controller"]
    deletions = [entry.order for entry in entries if isinstance(entry.data, ev.DeletionCompleted)]
    if not deletions or standing_holds(entries):
        return []
    return _destroy(app, c, group, until=max(deletions))


def _destroy(app: LedgerApplication, c: SQLiteCursor, group: set[str], until: tuple[int, int] | None) -> list[bytes]:
    """Destroy sealed records of entries up to `until` in force (None: all), and the key where nothing is left."""
    gone: list[bytes] = []
    for name in sorted(group):
        c.execute(
            "SELECT s.position, s.sealed, e.state FROM secrets s JOIN entries e ON e.position = s.position "
            "WHERE e.stream=?",
            [name],
        )
        rows = c.fetchall()
        doomed = [row for row in rows if until is None or decode(row[0], row[2]).order <= until]
        whole = len(doomed) == len(rows)
        gone += [row[1] for row in doomed]
        if whole:
            c.execute("SELECT wrapped FROM people WHERE person=?", [name])
            gone += [row[0] for row in c.fetchall()]
            c.execute("SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL", [name])
            gone += [row[0] for row in c.fetchall()]
        app.vault.destroy(c, name, [row[0] for row in doomed], whole=whole)
    return gone


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
    """Erase by identifier (see `erase`)."""
    from ledger.append import Batch

    with app._lock:  # noqa: SLF001  one writer in this process
        with app.writing() as c:
            group = {name for person in persons for name in connected(c, person)}
            holds = standing_holds(stream_entries(c, group, ("hold.placed", "hold.released")))
            if holds:
                raise HoldStanding(holds[0])
            if journal:
                app.keys.note_erasure(sorted(group), "erase")
            points.reached("erasure noted")
            batch = Batch(app, c)
            batch._clock(now)  # noqa: SLF001
            positions = [batch.append_erased(name, METHOD) for name in sorted(group)]
            gone = _destroy(app, c, group, until=None) + _forget(app, c, group)
            batch.destroyed += gone
            batch.finish()
            points.reached("before erasure commit")
        points.reached("after erasure commit")
        batch.committed()
    return positions


def _forget(app: LedgerApplication, c: SQLiteCursor, group: set[str]) -> list[bytes]:
    """Remove names, content digests and letters of erased persons. Returns the bytes that must be gone."""
    gone: list[bytes] = []
    for name in sorted(group):
        c.execute("SELECT alias FROM aliases WHERE person=?", [name])
        aliases = [row[0] for row in c.fetchall()]
        for entry in stream_entries(c, [name]):
            key = app.vault.digest(f"{entry.source}\0{entry.id}".encode())
            c.execute("UPDATE keys SET digest=NULL WHERE key=?", [key])
        for alias in aliases:
            # a refused event keeps its key, so that it is refused again, under a digest that compares with nothing
            c.execute("SELECT digest FROM refused WHERE person_key=?", [alias])
            gone += [row[0] for row in c.fetchall()]
            c.execute("UPDATE OR REPLACE refused SET digest=zeroblob(0), person_key=NULL WHERE person_key=?", [alias])
            c.execute("SELECT sealed FROM dead_letters WHERE person_key=?", [alias])
            gone += [row[0] for row in c.fetchall()]
            c.execute("DELETE FROM dead_letters WHERE person_key=?", [alias])
            app.persons.pop(alias, None)
        gone += aliases
        app.vault.forget_names(c, name)
    return gone


# -- the files ---------------------------------------------------------------------------------------------------------


def scrub(app: LedgerApplication, gone: list[bytes]) -> bool:
    """Make sure that none of these bytes is in any file of the store. Returns whether the file had to be rebuilt.

    Raises StoreBusy where another reader keeps the write-ahead log from being truncated: the rows are gone, run
    `doctor` when that reader is done.
    """
    datastore = app.store.datastore
    if datastore.pool.is_sqlite_memory_mode:
        return False
    path = Path(unquote(datastore.pool.db_name.removeprefix("file:")))
    points.reached("before scrub")
    _truncate_wal(app, path)
    rebuilt = False
    if len(gone) > SCAN_LIMIT or any(_found(path, needle) for needle in gone):
        with readable_errors(app.where), datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("VACUUM")
        _truncate_wal(app, path)
        rebuilt = True
    points.reached("after scrub")
    return rebuilt


def _truncate_wal(app: LedgerApplication, path: Path) -> None:
    with readable_errors(app.where), app.store.datastore.get_connection(commit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy = cursor.fetchone()[0]
    if busy:
        raise StoreBusy(
            f"{path}: the rows are erased, but another reader keeps the write-ahead log: run doctor when it is done"
        )


def _found(path: Path, needle: bytes) -> bool:
    for suffix in ("", "-wal"):
        file = path.with_name(path.name + suffix)
        if file.exists() and file.stat().st_size:
            with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
                if view.find(needle) >= 0:
                    return True
    return False


def backup(app: LedgerApplication, target: Path) -> None:
    """An online copy of the whole store, consistent as of one moment. Requires that `target` does not exist."""
    with app.store.datastore.get_connection(commit=False) as connection:
        source: sqlite3.Connection = connection._sqlite_conn  # noqa: SLF001  sqlite3's own backup
        with sqlite3.connect(target) as copy:
            source.backup(copy, pages=1024)
        copy.close()
