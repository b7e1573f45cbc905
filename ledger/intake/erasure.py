"""Real deletion beside an immutable log.

Two steps, as statements promise them. `deletion.completed` destroys the person's sealed fields and data key (under a
hold, at the last release); names still lead to the history, so that the person can be answered. `erase` removes the
names too and appends the fact: from then on the log proves what happened and when, no longer to whom. What the person
opted out of outlives both: see `ledger.intake.suppression`.

SQLite must not keep the bytes either: `secure_delete` zeroes what is freed, the write-ahead log is truncated, and
`scrub` looks into the files for what must be gone (moved b-tree cells can leave copies, mostly cut off at their end)
and rebuilds the file if it finds any. What is destroyed is noted in `meta` by the same transaction and the note removed
by the scrub: where that was cut short, the next one no longer knows what to look for, and rebuilds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from eventsourcing.sqlite import SQLiteCursor

from ledger import crashpoints
from ledger.errors import HoldStanding, InvalidQuestion, StoreBusy, StoreError, StoreFull
from ledger.files.held import chunks
from ledger.identifiers.spellings import name_forms
from ledger.intake import traces as tr
from ledger.intake.addresses import field_forms, forget, keys_of
from ledger.intake.ends import DECIDES, brought_up
from ledger.intake.persons import connected, effective_deletions, linked, standing_holds, stream_entries
from ledger.intake.staying import note_uncarried, record_uncarried, stays_bound
from ledger.intake.suppression import Kept, keep, note_addresses, standing_noes, take_addresses
from ledger.log.entry import Entry, decode
from ledger.store.recorder import readable_errors
from ledger.times import DAY, FOREVER
from ledger.vault.keys import Outlived

if TYPE_CHECKING:
    from ledger.intake.application import LedgerApplication
    from ledger.intake.batch import Batch

METHOD: Final = "keys-and-names-destroyed"
IDENTIFIER_DIGITS: Final = 32  # of a person's random identifier
SCAN_LIMIT: Final = 200  # needles looked for one by one; with more the file is rebuilt without looking
RECENT: Final = 64  # of the newest erasures some may have been cut short: as many as there can be writers
RETRY_BATCHES: Final = 256
READER_MILLISECONDS: Final = 250  # how long a scrub waits for readers of the write-ahead log
PIECE_BYTES: Final = 12  # looked for at both ends of a needle: less than that is left of a nonce, and nothing sealed
_NOTE: Final = "unscrubbed:"
_UNRECORDED: Final = "unrecorded:"


def after_deletion(app: LedgerApplication, c: SQLiteCursor, person: str) -> list[bytes]:
    """Destroy what a completed deletion covers, unless a hold stands. Returns the bytes that must be gone."""
    if linked(c, person) == {person}:
        group = {person}
        before, ends = brought_up(app, c, person)
        last = ends.until
        _note_until(c, group, last)
        if last == before:
            return []  # nothing ends by it, and what is told of before an end is not kept
    else:
        group = connected(c, person)
        last = note_deleted(c, group)
    if last is None:
        return []
    doomed = _doomed(app, c, group, until=last)
    if doomed.bytes:
        kept = _outliving(app, c, group, doomed.keys)
        app.keys.note_erasure(sorted(group), "deletion", last[0], _journalled(kept))
        _destroy(app, c, doomed)
    _note_unscrubbed(c, doomed.bytes)
    return doomed.bytes


def note_deleted(c: SQLiteCursor, group: set[str]) -> tuple[int, int] | None:
    """Note until when the fields of a person are deleted, and return it: None before, and while a hold stands.

    What is told later of a time up to then is not kept.
    """
    last = deleted_until(c, group)
    _note_until(c, group, last)
    return last


def _note_until(c: SQLiteCursor, group: set[str], last: tuple[int, int] | None) -> None:
    if last is None:
        c.executemany("DELETE FROM deleted WHERE person=?", [(name,) for name in sorted(group)])
    else:
        c.executemany("INSERT OR REPLACE INTO deleted VALUES (?,?)", [(name, last[0]) for name in sorted(group)])


def deleted_until(c: SQLiteCursor, group: set[str]) -> tuple[int, int] | None:
    """The last deletion of a person by all that is recorded: None before, and while a hold stands."""
    entries = [entry for entry in stream_entries(c, group, DECIDES) if entry.role == "controller"]
    deletions = effective_deletions(entries)
    return max(deletions) if deletions and not standing_holds(entries) else None


def spare_held(c: SQLiteCursor, person: str) -> None:
    """Under a hold of any name just joined, nothing told late is dropped."""
    group = connected(c, person)
    entries = stream_entries(c, group, ("hold.placed", "hold.released"))
    if standing_holds(entry for entry in entries if entry.role == "controller"):
        c.executemany("DELETE FROM deleted WHERE person=?", [(name,) for name in sorted(group)])


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
    values: dict[str, set[str]] = field(default_factory=dict)  # person -> what is sealed, as far as it still opens
    elsewhere: list[int] = field(default_factory=list)  # entries of others with whom their name is sealed
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
        opened = [(entry, _fields(app, c, entry)) for entry, _ in going]
        doomed.keys[name] = {key for entry, fields in opened for key in _address_keys(app, entry, fields)}
        doomed.values[name] = {value for _, fields in opened for value in fields.values()}
        doomed.bytes += [sealed for _, sealed in going]
        if len(going) == len(rows):
            doomed.whole.add(name)
            named = [("email", form) for one in app.vault.names(c, name) for form in name_forms(one)]
            doomed.keys[name] |= keys_of(app.vault, controller, named)
            for statement in (
                "SELECT wrapped FROM people WHERE person=?",
                "SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL",
            ):
                c.execute(statement, [name])
                doomed.bytes += [row[0] for row in c.fetchall()]
    others = [entry for name in sorted(group) for entry in tr.mentioning(c, name) if tr.says_name(entry)]
    for entry in others:
        if entry.stream not in group and (until is None or entry.order <= until):
            c.execute("SELECT sealed FROM secrets WHERE position=?", [entry.position])
            doomed.bytes += [row[0] for row in c.fetchall()]
            doomed.elsewhere.append(entry.position)
    return doomed


def _controller(c: SQLiteCursor, group: set[str]) -> str:
    """Whose persons these are; they have no entry at all where they were only ever mentioned."""
    marks = ",".join("?" * len(group))
    c.execute(f"SELECT position, state FROM entries WHERE stream IN ({marks}) LIMIT 1", sorted(group))
    row = c.fetchone()
    return decode(*row).controller if row else ""


def _fields(app: LedgerApplication, c: SQLiteCursor, entry: Entry) -> dict[str, str]:
    opened = app.vault.open_fields(c, entry.stream, entry.version, entry.position)
    return opened[1] if opened is not None else {}


def _address_keys(app: LedgerApplication, entry: Entry, fields: dict[str, str]) -> set[bytes]:
    pack = app.registered(entry.controller)
    if pack is None or entry.role == "processor":
        return set()
    said = field_forms(pack, fields)
    return {key for some in said.values() for key in keys_of(app.vault, entry.controller, some)}


def _destroy(app: LedgerApplication, c: SQLiteCursor, doomed: _Doomed) -> None:
    """Destroy it; hashes of addresses, and which letters say what, lead to the persons until these are erased."""
    c.executemany("DELETE FROM secrets WHERE position=?", [(position,) for position in doomed.elsewhere])
    for name, positions in doomed.positions.items():
        note_addresses(c, app.vault, name, doomed.keys[name])
        tr.tie_values(c, app.vault, name, doomed.values[name])
        app.vault.destroy(c, name, positions, whole=name in doomed.whole)


def _outliving(app: LedgerApplication, c: SQLiteCursor, group: set[str], keys: dict[str, set[bytes]]) -> list[Kept]:
    """What outlives these persons: every no of theirs, under every address."""
    every = {key for some in keys.values() for key in some}
    if not every:
        return []
    ever = {other for name in group for other in linked(c, name)}
    entries = [entry for entry in stream_entries(c, ever) if entry.role == "controller"]
    pack = app.registered(entries[0].controller) if entries else None
    noes = standing_noes(entries, pack, group) if pack is not None else {}
    return [Kept(key, said, since // DAY * DAY) for key in sorted(every) for said, since in sorted(noes.items())]


def _journalled(kept: list[Kept]) -> list[Outlived]:
    return [(one.key.hex(), one.said.decode(), one.since) for one in kept]


def _kept(suppressed: Iterable[Outlived]) -> list[Kept]:
    return [Kept(bytes.fromhex(key), said.encode(), since) for key, said, since in suppressed]


def suppress_again(app: LedgerApplication) -> None:
    """Take over what outlived those who were erased after a backup was made."""
    with app.writing() as c:
        keep(c, _kept(app.keys.outlived()))


class Erased(NamedTuple):
    """What an erasure did. `positions`: of the entries that say so, none for who was never in one."""

    positions: list[int]
    letters: int  # dead letters that were destroyed
    refused: int  # refused events whose names and digests were destroyed


def erase(app: LedgerApplication, controller: str, name: str, now: int) -> Erased:
    """Erase whoever a name or identifier leads to: joined names, fields, keys, digests, letters, refused events.

    Also somebody who was only ever named: in entries about others, in refused events, in dead letters. Raises
    InvalidQuestion for a name of nobody, and for who is erased already; HoldStanding while a hold stands. Nothing is
    half done: the journal of erasures is written first, the rest is one transaction.
    """
    person = app.person(controller, name)
    if person is None and len(name) == IDENTIFIER_DIGITS:
        person = _identified(app, controller, name)
    erased = erase_persons(app, {person} if person else set(), now, journal=True, named=[(controller, name)])
    if person is None and not erased.letters and not erased.refused:
        raise InvalidQuestion("subject", f"no person {name!r} is known to {controller!r}")
    return erased


def _identified(app: LedgerApplication, controller: str, person: str) -> str | None:
    """The person of that identifier, if there is one. Raises InvalidQuestion for one who is erased."""
    with app.reading() as c:
        entries = stream_entries(c, [person]) or tr.mentioning(c, person)
        if not entries or entries[0].controller != controller:
            return None
        c.execute("SELECT EXISTS (SELECT 1 FROM aliases WHERE person=?)", [person])
        if not c.fetchone()[0]:
            raise InvalidQuestion("subject", f"{person!r} is erased already")
    return person


def erase_persons(
    app: LedgerApplication, persons: set[str], now: int, *, journal: bool, named: Sequence[tuple[str, str]] = ()
) -> Erased:
    """Erase by identifier (see `erase`). `journal` False: again, in an older copy, whatever stood when it was made.

    `named`: (controller, name) that letters and refused events are searched for besides the names on record.
    """
    from ledger.intake.batch import Batch

    read = _read_before(app, persons, named)
    with app._lock:  # noqa: SLF001  one writer in this process
        with app.writing() as c:
            persons = {person for person in persons if _has_names(c, person)}  # others may have been first
            group = {name for person in persons for name in connected(c, person)}
            entries = stream_entries(c, group, ("hold.placed", "hold.released"))
            holds = standing_holds(entry for entry in entries if entry.role == "controller")
            if holds and journal:
                raise HoldStanding(holds[0])
            batch = Batch(app, c)
            batch.clock(now)
            sought = tr.sought_for(app, c, group, named)
            traces = _traces(app, c, group, sought, read)
            doomed = _doomed(app, c, group, until=None)
            _destroy(app, c, doomed)
            staying = stays_bound(app, c, group, batch.recorded_at)
            keys, tags = take_addresses(c, app.vault, sorted(group))
            kept = _outliving(app, c, group, {"": keys})
            if journal and (group or traces.handles):  # a process that dies behind this leaves it to finish_erasures
                app.keys.note_erasure(sorted(group), "erase", None, _journalled(kept), traces.journalled())
            crashpoints.reached("erasure noted")
            alone = _mentioned_by(c, group)
            appended = []
            if journal:
                appended = [batch.append_erased(name, METHOD, alone) for name in sorted(group)]
                batch.append_carried(staying)
            else:
                _note_unrecorded(c, sorted(group), alone)
                note_uncarried(c, staying)
            if journal:
                # as it is noted, with what an attempt that was cut short has noted; a copy takes over all of it later
                keep(c, _kept(one for one in app.keys.outlived() if bytes.fromhex(one[0]) in keys))
            gone = doomed.bytes + tags + _forget(app, c, group, sought.aliases, traces)
            _note_unscrubbed(c, gone)
            batch.destroyed += gone
            batch.finish()
            crashpoints.reached("before erasure commit")
        crashpoints.reached("after erasure commit")
        batch.committed()
    positions = [position for position in appended if position >= 0]  # none for a name that was only ever mentioned
    return Erased(positions, len(traces.letters), len(traces.refused))


def _has_names(c: SQLiteCursor, person: str) -> bool:
    c.execute("SELECT EXISTS (SELECT 1 FROM aliases WHERE person=?)", [person])
    return bool(c.fetchone()[0])


def finish_erasures(app: LedgerApplication, now: int) -> None:
    """Finish an erasure that was noted beside the keys and went no further, because the process died there."""
    if app.how != "rw":
        return
    if app.keys.note_waits():
        with app.keys.turn():
            app.keys.finish_note()
    newest = [row for row in app.keys.erasures() if row["kind"] == "erase"][-RECENT:]
    with app.reading() as c:
        persons = {person for row in newest for person in row["persons"] if _has_names(c, person)}
    if persons:
        erase_persons(app, persons, now, journal=True)


def _mentioned_by(c: SQLiteCursor, group: set[str]) -> str | None:
    """The controller of somebody who was only ever mentioned, and by whose erasure no other entry would say so."""
    found = tr.mentioning(c, min(group)) if len(group) == 1 else []
    return found[0].controller if found else None


@dataclass(slots=True)
class _Read:
    """What letters were read for before the write lock was taken, which ones said it, and the last one read."""

    texts: set[str]
    letters: set[int]
    last: int


def _read_before(app: LedgerApplication, persons: set[str], named: Sequence[tuple[str, str]]) -> _Read:
    with app.reading() as c:
        group = {name for person in persons for name in connected(c, person)}
        texts = tr.sought_for(app, c, group, named).texts()

    def page(after: int) -> tr.Page:
        with app.reading() as c:  # each by itself: a long read would keep the write-ahead log from being truncated
            return tr.letters_after(c, after)

    return _Read(texts, *tr.read_letters(app.vault, texts, 0, page))


def _traces(app: LedgerApplication, c: SQLiteCursor, group: set[str], sought: tr.Sought, read: _Read) -> tr.Traces:
    """All traces, with the letters that came since they were read, and those that say what is known only since."""
    traces = tr.traces_of(app, c, group, sought)
    texts = sought.texts()

    def page(after: int) -> tr.Page:
        return tr.letters_after(c, after)

    traces.letters |= read.letters | tr.read_letters(app.vault, texts, read.last, page)[0]
    if texts - read.texts:
        traces.letters |= tr.read_letters(app.vault, texts - read.texts, 0, page)[0]
    tr.note_handles(c, app.vault, traces)
    return traces


def _forget(
    app: LedgerApplication, c: SQLiteCursor, group: set[str], aliases: set[bytes], traces: tr.Traces
) -> list[bytes]:
    """Remove names, content digests and letters of erased persons. Returns the bytes that must be gone."""
    gone = tr.remove(app, c, group, aliases, traces) + forget(c, sorted(group))
    for name in sorted(group):
        c.execute("SELECT bound, word FROM aliases WHERE person=?", [name])
        gone += [one for row in c.fetchall() for one in row if one is not None]
        for entry in stream_entries(c, [name]):
            gone += tr.forget_digest(c, app.vault, entry)
        app.vault.forget_names(c, name)
        app.ends.pop(name, None)
    for alias in aliases:
        app.persons.pop(alias, None)
    return gone


def forget_again(app: LedgerApplication, handles: set[bytes]) -> None:
    """Destroy in an older copy the letters and refused events that were destroyed with somebody since."""
    with app.writing() as c:
        traces = tr.handled_again(c, app.vault, handles)
        gone = tr.remove(app, c, set(), tr.aliases_of(c, traces.refused), traces)
        _note_unscrubbed(c, gone)
    scrub(app, gone)


def destroy_again(app: LedgerApplication) -> int:
    """Destroy in an older copy all that the journal beside the keys says was destroyed. Returns how many persons.

    Nothing is signed by it: who was erased again is an entry as soon as the copy is a store that signs. Requires that
    the application has it as a copy.
    """
    assert app.how == "copy"
    recorded_at = app.current_head().recorded_at
    journal = app.keys.erasures()
    forget_again(app, {bytes.fromhex(one) for row in journal for one in row.get("traces", ())})
    persons = {str(one) for row in journal if row["kind"] == "erase" for one in row["persons"]}
    again = {person for person in persons if app.known_names(person)}
    if again:
        erase_persons(app, again, recorded_at, journal=False)
    for row in journal:
        if row["kind"] == "deletion":
            delete_again(app, set(row["persons"]), row["until"], row.get("suppressed", ()))
    suppress_again(app)
    return len(again)


# -- the files ---------------------------------------------------------------------------------------------------------


def scrub(app: LedgerApplication, gone: list[bytes]) -> bool:
    """Make sure that none of these bytes is in any file of the store. Returns whether the file had to be rebuilt.

    It is also rebuilt for what another scrub left undone. Raises StoreBusy where another reader keeps the write-ahead
    log from being truncated, StoreFull where there is no room to rebuild: the rows are gone all the same.
    """
    if app.held is None:
        return False
    crashpoints.reached("before scrub")
    with app.keys.turn():  # nobody writes meanwhile
        truncate_wal(app)
        with app.reading() as c:
            c.execute("SELECT name FROM meta WHERE name GLOB ?", [_NOTE + "*"])
            notes = [row[0] for row in c.fetchall()]
        left_undone = set(notes) - {_note_of(needle) for needle in gone}
        rebuilt = bool(left_undone) or len(gone) > SCAN_LIMIT or _found(app.held.path, gone)
        if rebuilt:
            _rebuild(app)
    crashpoints.reached("scrubbed")
    if notes:
        with app.writing(guarded=False) as c:
            c.executemany("DELETE FROM meta WHERE name=?", [(name,) for name in notes])
        with app.keys.turn():
            truncate_wal(app)
    crashpoints.reached("after scrub")
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


def _note_unrecorded(c: SQLiteCursor, persons: list[str], controller: str | None) -> None:
    """Note who was erased again in a copy: that is an entry as soon as the copy is a store that signs."""
    rows = [(_UNRECORDED + person, (controller or "").encode()) for person in persons]
    c.executemany("INSERT OR IGNORE INTO meta VALUES (?,?)", rows)


def record_erasures(batch: Batch) -> int:
    """Append what `_note_unrecorded` noted. Returns how many persons."""
    batch.c.execute("DELETE FROM meta WHERE name GLOB ? RETURNING name, value", [_UNRECORDED + "*"])
    noted = sorted(batch.c.fetchall())
    for name, controller in noted:
        batch.append_erased(name.removeprefix(_UNRECORDED), METHOD, controller.decode() or None)
    batch.append_carried(record_uncarried(batch.c))
    return len(noted)


def _note_unscrubbed(c: SQLiteCursor, gone: list[bytes]) -> None:
    """Note that the files are to be scrubbed, in the transaction that destroys."""
    if gone:
        c.execute("INSERT OR IGNORE INTO meta VALUES (?, x'')", [_note_of(gone[0])])


def _note_of(needle: bytes) -> str:
    return _NOTE + sha256(needle).hexdigest()


def truncate_wal(app: LedgerApplication) -> None:
    """Write the write-ahead log back into the file, all of it. Raises StoreBusy where a reader keeps it."""
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
            truncate_wal(app)  # what the attempt took
        raise StoreFull(
            f"{app.where}: the rows are gone, but the disk has no room to rebuild the file, which takes twice its "
            "size: free some and run doctor"
        ) from None
    truncate_wal(app)


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
