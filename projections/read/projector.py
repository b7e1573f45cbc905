"""The projection on disk: the state of every person, in a file of its own beside the store.

The file can be deleted at any time and is rebuilt from the log alone. Pages of entries are folded, and their rows
saved together with the cursor and the log's root there, in one transaction: whatever happens, each entry counts exactly
once, and a file that belongs to another log is noticed.

A row carries the leaf hash of the person's last entry that is in it, `tip`. Each entry names the leaf hash of the one
before it, so that the tip says all of the person's entries: a row is used where its tip is that of the log that the
answer sees, whoever has folded further since. A tag under a key of the vault binds the row to its person.

Any thread may use a projector. Reading goes through a connection of its own, so that nobody waits for a page.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import Closed, NewerEntry, StoreBusy
from consent_ledger.ledger.events.catalogue import SCHEMA_VERSION, TYPES
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.files.held import guard
from consent_ledger.ledger.gcpause import paused
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry, controller_of, decode
from consent_ledger.ledger.log.entry import FORMAT as ENTRY_FORMAT
from consent_ledger.ledger.log.merkle import root_at
from consent_ledger.ledger.log.verifier import EMPTY_ROOT
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.recorder import LOG_BYTES, Head, read_head, readable_errors, readers
from consent_ledger.projections.fold.record import State, new_state
from consent_ledger.projections.fold.state import evolve, fold
from consent_ledger.projections.read.snapshot import FORMAT, dump, load

# Rows are written anew by a program that folds otherwise, or reads entries that another one could not.
SCHEMA_FORMAT: Final = crc32(repr((502, FORMAT, ENTRY_FORMAT, SCHEMA_VERSION, sorted(TYPES))).encode()) & 0x7FFFFFFF
PAGE: Final = 20_000
KEPT: Final = 50_000  # states remembered between pages
SAVED: Final = 1_000  # judgements gathered before they are written
TIMEOUT_SECONDS: Final = 10  # of waiting for another process that folds
_SCHEMA: Final = (
    "CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL, root BLOB NOT NULL)",
    # An empty snapshot: something of the person was written by a newer program.
    """CREATE TABLE people (
        person TEXT PRIMARY KEY, controller TEXT NOT NULL, entries INTEGER NOT NULL, last_time INTEGER NOT NULL,
        last_recorded INTEGER NOT NULL, linked INTEGER NOT NULL, tip BLOB NOT NULL, snapshot BLOB NOT NULL,
        tag BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX people_by_controller ON people (controller)",
    # What was done to a person and by which clause, judged when it was first asked for; void when the person, whose
    # last entry is `tip`, or the controller, whose last one is `about`, have more since.
    """CREATE TABLE judged (
        person TEXT PRIMARY KEY, tip BLOB NOT NULL, about BLOB NOT NULL, findings BLOB NOT NULL,
        permitted_by BLOB NOT NULL, tag BLOB NOT NULL) WITHOUT ROWID""",
)
_COLUMNS: Final = "person, controller, entries, last_time, last_recorded, linked, tip, snapshot, tag"
_JUDGED: Final = "person, tip, about, findings, permitted_by, tag"


@dataclass(slots=True)
class Row:
    """One person in the projection."""

    controller: str
    last_time: int
    last_recorded: int
    linked: bool
    state: State | None  # None: something of theirs was written by a newer program
    tip: bytes = b""  # leaf hash of the last entry that is in it
    late: bool = False  # news came late: to be folded again at the end of the page


class Listed(NamedTuple):
    """An entry as it is folded; `entry` None: a newer program wrote it."""

    position: int
    stream: str
    leaf: bytes
    entry: Entry | None
    controller: str


class Damage(NamedTuple):
    """What is not as this program wrote it; `person` "all": the file as a whole."""

    person: str
    what: str


Judged = tuple[list[dict[str, Any]], dict[int, str | None]]
"""(findings, clause by position of a disclosure)."""

Save = Callable[[str, bytes, bytes, Judged], None]
"""Saves a judgement: person, leaf hashes of their last entry and of the last about the controller, what was judged."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A person whose rebuilt row is not the old one."""

    person: str
    what: str


class Projector:
    """Keeps the projections of one store. `path` None: in memory."""

    def __init__(self, app: LedgerApplication, path: Path | None) -> None:
        self.app = app
        self.path = path
        self._where = (
            f"{path}: the projections can't be used (delete that file, it is folded anew)" if path else "memory"
        )
        self._in_memory = app.store.in_memory
        self._closed = False
        self._writing = threading.RLock()  # of `db`: for a page, or a batch of judgements
        self._folding = threading.RLock()  # one in this process catches up, the others find it done
        self._rows: dict[str, Row] = {}
        self._folded = 0  # the cursor that `_rows` belong to: another process may have moved it
        with readable_errors(self._where, ""):
            if path is not None:
                _create_private(path)
            self.db = self._connect()
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            self.db.execute("PRAGMA synchronous=NORMAL")  # what is lost in a power cut is folded again
            with self._transaction():
                self._require_format()
            # in memory there is one connection: reading waits for a page there
            self._reads, self._reading = (self._connect(), threading.RLock()) if path else (self.db, self._writing)
        if path is not None:
            guard(self, "db")
            guard(self, "_reads")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            str(self.path) if self.path else ":memory:",
            isolation_level=None,
            timeout=TIMEOUT_SECONDS,
            check_same_thread=False,
        )

    def _require_format(self) -> bool:
        """Make the tables where they are not those of this program. Requires a transaction. Returns whether it did."""
        if self.db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_FORMAT:
            return False
        for table in ("cursor", "people", "judged"):
            self.db.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA:
            self.db.execute(statement)
        self.db.execute("INSERT INTO cursor VALUES (1, 0, ?)", [EMPTY_ROOT])
        self.db.execute(f"PRAGMA user_version={SCHEMA_FORMAT}")
        return True

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, self._reading:
            self._closed = True
            self._reads.close()
            self.db.close()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """One consistent read, or several statements that need not be."""
        self.app.check_process()
        with self._reading, readable_errors(self._where, ""):
            if self._closed:
                raise Closed
            yield self._reads

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write, or nothing. Waits for another process that does; raises StoreBusy where that goes on too long."""
        self.app.check_process()
        with self._writing:
            if self._closed:
                raise Closed
            try:
                with readable_errors(self._where, ""):
                    self.db.execute("BEGIN IMMEDIATE")  # which waits, and may be stopped as it returns
                yield
                with readable_errors(self._where, ""):
                    self.db.execute("COMMIT")
            except BaseException:
                self.db.rollback()
                raise

    @property
    def cursor(self) -> int:
        """The next position to fold."""
        return self._cursor()[0]

    def _cursor(self) -> tuple[int, bytes]:
        with self._read() as db:
            next_position, root = db.execute("SELECT next, root FROM cursor").fetchone()
        return next_position, root

    # -- folding -------------------------------------------------------------------------------------------------------

    def catch_up(self, progress: Callable[[int], None] | None = None) -> int:
        """Fold what is new, inside an answer up to what that sees. Returns the number of entries folded.

        Starts anew where the log is another one. Where another process folds and does not get on, it is left to that:
        answers are folded from the log then.
        """
        self.app.check_process()  # before a lock that another thread of a parent had when this child was forked
        done = 0
        # in memory whoever waits for the one that folds reads already: that one must not wait for a writer, who waits
        # for all that read
        with self.app.reading() if self._in_memory else nullcontext(), self._folding:
            while True:
                before = self._cursor()
                if self._is_done(before):
                    return done
                try:
                    with paused():
                        folded = self._fold_page()
                except StoreBusy:
                    if self._cursor() == before:
                        return done
                    continue
                done += folded
                if progress and folded:
                    progress(done)
                if not folded and self._cursor() == before:  # the log lacks its end
                    return done

    def _is_done(self, cursor: tuple[int, bytes]) -> bool:
        with self.app.reading() as c:
            head = read_head(c)
            return cursor == (head.size, head.root) or (cursor[0] >= head.size and self._fits(c, head, *cursor))

    def _fits(self, c: Transaction, head: Head, size: int, root: bytes) -> bool:
        """Whether the log has that root at that size. It may be longer than what an answer sees of it."""
        if size <= head.size:
            return root == (head.root if size == head.size else root_at(size, *readers(c)))
        if self._in_memory:
            return True  # nobody can put another log there
        with self.app.reading_newest() as newest:
            return size <= read_head(newest).size and root == root_at(size, *readers(newest))

    def _start_anew(self) -> None:
        self.db.execute("DELETE FROM people")
        self.db.execute("DELETE FROM judged")
        self.db.execute("UPDATE cursor SET next=0, root=?", [EMPTY_ROOT])

    def _fold_page(self) -> int:
        """Fold and save the next page. Returns its entries. Others who fold into the same file wait, or were first."""
        try:
            with self._transaction(), self.app.reading() as c:
                anew = self._require_format()
                cursor, root = self.db.execute("SELECT next, root FROM cursor").fetchone()
                head = read_head(c)
                if not self._fits(c, head, cursor, root):
                    self._start_anew()
                    anew, cursor = True, 0
                elif cursor > head.size:
                    return 0  # another process has folded more than is seen here
                if anew or cursor != self._folded:
                    self._rows.clear()
                entries = _page(c, cursor, head.size)
                following = entries[-1].position + 1 if entries else cursor
                touched = self._fold(entries)
                saved = [self._saved(person, row) for person, row in touched.items()]
                root = head.root if following == head.size else root_at(following, *readers(c))
                with readable_errors(self._where, ""):
                    self.db.executemany(f"INSERT OR REPLACE INTO people ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)", saved)
                    self.db.execute("UPDATE cursor SET next=?, root=?", [following, root])
                crashpoints.reached("projection written")
        except BaseException:
            self._rows.clear()
            raise
        crashpoints.reached("projection committed")
        self._folded = following
        self._rows.update(touched)
        if len(self._rows) > KEPT:
            self._rows.clear()
        return len(entries)

    def _fold(self, entries: Sequence[Listed]) -> dict[str, Row]:
        touched: dict[str, Row] = {}
        for listed in entries:
            person, entry = listed.stream, listed.entry
            if person.startswith(CONTROLLER_PREFIX):
                continue
            row = touched.get(person) or self._row(listed)
            touched[person] = row
            row.tip = listed.leaf
            if entry is None:
                row.state = None
            if entry is None or row.state is None:
                continue
            if row.late or (entry.time, entry.position) < row.state.last:
                row.late = True
            else:
                evolve(row.state, entry)
            row.last_time = max(row.last_time, entry.time)
            row.last_recorded = entry.recorded_at
            row.linked |= entry.type in ("subject.linked", "subject.unlinked")
        for person, row in touched.items():
            if row.late and row.state is not None:
                row.state, row.late = self._refold(person, entries[-1].position), False
        return touched

    def _row(self, listed: Listed) -> Row:
        row = self._rows.get(listed.stream)
        if row is None:
            found = self.db.execute(f"SELECT {_COLUMNS} FROM people WHERE person=?", [listed.stream]).fetchone()
            if found is None:
                return Row(listed.controller, -(2**62), 0, linked=False, state=new_state([listed.stream]))
            row = self._loaded(found)
            if row is None:  # altered: nothing is built on it
                row = self._row_from_log(listed)
        return row

    def _row_from_log(self, listed: Listed) -> Row:
        """The person's row before an entry, of the log alone."""
        earlier = self._entries(listed.stream, listed.position - 1)
        if earlier is None:
            return Row(listed.controller, -(2**62), 0, linked=False, state=None)
        return Row(
            listed.controller,
            max((entry.time for entry in earlier), default=-(2**62)),
            max((entry.recorded_at for entry in earlier), default=0),
            linked=any(entry.type in ("subject.linked", "subject.unlinked") for entry in earlier),
            state=fold(earlier, [listed.stream]),
        )

    def _refold(self, person: str, until: int) -> State | None:
        entries = self._entries(person, until)
        return None if entries is None else fold(entries, [person])

    def _entries(self, person: str, until: int) -> list[Entry] | None:
        """The person's entries up to a position; None where a newer program wrote one."""
        with self.app.reading() as c:
            c.execute("SELECT position, state FROM entries WHERE stream=? AND position<=?", [person, until])
            found = c.fetchall()
        try:
            return [decode(position, state) for position, state in found]
        except NewerEntry:
            return None

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _tag(self, kind: bytes, row: Sequence[Any]) -> bytes:
        return self.app.vault.bound(b"projection %d " % SCHEMA_FORMAT + kind, *(_bytes(value) for value in row))

    def _saved(self, person: str, row: Row) -> tuple[Any, ...]:
        entries, snapshot = (row.state.entries, dump(row.state)) if row.state is not None else (0, b"")
        fields = person, row.controller, entries, row.last_time, row.last_recorded, int(row.linked), row.tip, snapshot
        return *fields, self._tag(b"people", fields)

    def _loaded(self, found: Sequence[Any]) -> Row | None:
        """The row, or None where it is not as it was written."""
        *fields, tag = found
        if self._tag(b"people", fields) != tag:
            return None
        _, controller, _, last_time, last_recorded, linked, tip, snapshot = fields
        return Row(controller, last_time, last_recorded, bool(linked), load(snapshot) if snapshot else None, tip)

    def person(self, person: str) -> Row | None:
        """A person's row, if the projection has seen them, nobody altered it, and all of it can be read."""
        with self._read() as db:
            found = db.execute(f"SELECT {_COLUMNS} FROM people WHERE person=?", [person]).fetchone()
        row = self._loaded(found) if found else None
        return row if row is not None and row.state is not None else None

    def persons(self, controller: str) -> list[str]:
        """The persons of a controller that are projected, in order of their identifiers."""
        return self._listed(controller)[2]

    def _listed(self, controller: str) -> tuple[int, bytes, list[str]]:
        """(cursor, root there, the persons): those of nobody's too, of whom a newer program wrote."""
        listing = (
            "SELECT next, root, person FROM cursor LEFT JOIN people ON controller=? OR controller='' ORDER BY person"
        )
        with self._read() as db:
            rows = db.execute(listing, [controller]).fetchall()
        return rows[0][0], rows[0][1], [row[2] for row in rows if row[2] is not None]

    def everybody(self, controller: str) -> list[str]:
        """Everybody who may be of a controller, by what this answer sees, in order; catches up before that.

        Nobody is left out, whatever other threads and processes fold meanwhile; some may be of another controller.
        """
        self.catch_up()
        cursor, root, persons = self._listed(controller)
        with self.app.reading() as c:
            head = read_head(c)
            if not self._fits(c, head, cursor, root):
                cursor, persons = 0, []
            c.execute("SELECT DISTINCT stream FROM entries WHERE position>=?", [cursor])
            since = {row[0] for row in c.fetchall() if not row[0].startswith(CONTROLLER_PREFIX)}
            if cursor > head.size:
                persons = [one for one in persons if _has_entries(c, one)]
        return sorted(since.union(persons))

    # -- what was judged -----------------------------------------------------------------------------------------------

    def judged(self, person: str, tip: bytes, about: bytes) -> Judged | None:
        """What was saved for exactly these last entries of the person and about the controller, or None."""
        with self._read() as db:
            found = db.execute(
                f"SELECT {_JUDGED} FROM judged WHERE person=? AND tip=? AND about=?", [person, tip, about]
            ).fetchone()
        if found is None or self._tag(b"judged", found[:-1]) != found[-1]:
            return None
        return orjson.loads(found[3]), dict(orjson.loads(found[4]))

    @contextmanager
    def saving(self) -> Iterator[Save]:
        """Gives what saves a judgement. It is computed from the log alone: losing it loses nothing."""
        gathered: list[tuple[Any, ...]] = []

        def save(person: str, tip: bytes, about: bytes, judged: Judged) -> None:
            findings, permitted_by = judged
            fields = person, tip, about, orjson.dumps(findings), orjson.dumps(list(permitted_by.items()))
            gathered.append((*fields, self._tag(b"judged", fields)))
            if len(gathered) >= SAVED:
                self._save(gathered)

        yield save
        self._save(gathered)

    def _save(self, gathered: list[tuple[Any, ...]]) -> None:
        if gathered:
            with suppress(StoreBusy), self._transaction():  # another process folds: it is judged again
                self.db.executemany(f"INSERT OR REPLACE INTO judged ({_JUDGED}) VALUES (?,?,?,?,?,?)", gathered)
            gathered.clear()

    # -- looking at all of it ------------------------------------------------------------------------------------------

    def damaged(self) -> list[Damage]:
        """Every row that is not as it was written, or not of this log. Reads all of them, one at a time."""
        damage = []
        cursor, root = self._cursor()
        with self.app.reading() as c:
            if not self._fits(c, read_head(c), cursor, root):
                damage.append(Damage("all", f"folded up to entry {cursor} of another log (run rebuild)"))
        for table, columns, tip in (("people", _COLUMNS, 6), ("judged", _JUDGED, 1)):
            for rows in self._pages(columns, table):
                with self.app.reading() as c:  # after the rows: the log has all that they were folded from
                    for *fields, tag in rows:
                        if self._tag(table.encode(), fields) != tag:
                            damage.append(Damage(str(fields[0]), f"the row in {table} was altered (run rebuild)"))
                        elif not _has_leaf(c, fields[0], fields[tip]):
                            damage.append(Damage(fields[0], f"the row in {table} is of another log (run rebuild)"))
        return damage

    def _pages(self, columns: str, table: str) -> Iterator[list[tuple[Any, ...]]]:
        """All rows, in order of the persons, a page at a time."""
        last: Any = ""
        while True:
            with self._read() as db:
                rows = db.execute(
                    f"SELECT {columns} FROM {table} WHERE person>? ORDER BY person LIMIT {SAVED}", [last]
                ).fetchall()
            if not rows:
                return
            yield rows
            last = rows[-1][0]

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        for page in self._pages("person, entries, snapshot", "people"):
            for person, entries, snapshot in page:
                yield person, b"%d %s" % (entries, snapshot)


def _create_private(path: Path) -> None:
    """Make the file for its owner alone, whatever the umask; SQLite gives those beside it the same mode."""
    with suppress(OSError):  # it is there, or SQLite will say what is wrong with the path
        durable.create(path)


def _page(c: Transaction, start: int, size: int) -> list[Listed]:
    """The next entries of a log of that size. Of what lies behind, which only damage puts there, nothing is folded."""
    c.execute(
        "SELECT position, stream, leaf, state FROM entries WHERE position>=? AND position<? ORDER BY position LIMIT ?",
        [start, size, PAGE],
    )
    page = []
    for position, stream, leaf, state in c.fetchall():
        try:
            entry = decode(position, state)
        except NewerEntry:
            page.append(Listed(position, stream, leaf, None, controller_of(state)))
        else:
            page.append(Listed(position, stream, leaf, entry, entry.controller))
    return page


def _has_entries(c: Transaction, stream: str) -> bool:
    c.execute("SELECT EXISTS (SELECT 1 FROM entries WHERE stream=?)", [stream])
    return bool(c.fetchone()[0])


def _has_leaf(c: Transaction, stream: str, leaf: bytes) -> bool:
    c.execute("SELECT EXISTS (SELECT 1 FROM entries WHERE stream=? AND leaf=?)", [stream, leaf])
    return bool(c.fetchone()[0])


def _bytes(value: Any) -> bytes:
    """A column's value for a tag: other kinds of value, other bytes."""
    if isinstance(value, bytes):
        return b"b" + value
    return (b"i%d" % value) if isinstance(value, int) else b"t" + str(value).encode()


def rebuild(
    app: LedgerApplication, path: Path, progress: Callable[[int], None] | None = None
) -> tuple[int, list[Difference]]:
    """Fold everything anew beside the old rows, compare with them, and put the new ones in their place.

    Returns (entries folded, persons that differ). That is one transaction on the file that is there: others may have it
    open, fold into it and write to the log meanwhile. Until then the old rows stay.
    """
    fresh_path = path.with_name(path.name + ".rebuilding")
    _discard(fresh_path)
    old, fresh = Projector(app, path), Projector(app, fresh_path)
    try:
        folded = fresh.catch_up(progress)
        old.db.execute("ATTACH DATABASE ? AS fresh", [str(fresh_path)])
        while (differences := _exchange(app, old, fresh)) is None:
            pass  # somebody else folded more than was seen here: once more
    finally:
        old.close()
        fresh.close()
        _discard(fresh_path)
    return folded, differences


def _exchange(app: LedgerApplication, old: Projector, fresh: Projector) -> list[Difference] | None:
    """Compare the rows of one moment and exchange them, or None where the old ones are of a later one."""
    with app.reading_newest():  # both fold up to this moment
        fresh.catch_up()
        old.catch_up()
        with old._transaction():  # noqa: SLF001  this module's; nobody folds meanwhile
            if old.cursor != fresh.cursor:
                return None
            differences = list(_compare(old, fresh))
            for table in ("people", "judged", "cursor"):
                old.db.execute(f"DELETE FROM main.{table}")
                old.db.execute(f"INSERT INTO main.{table} SELECT * FROM fresh.{table}")
            crashpoints.reached("before swap")
        crashpoints.reached("after swap")
    return differences


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _compare(old: Projector, fresh: Projector) -> Iterator[Difference]:
    before, after = dict(old._contents()), dict(fresh._contents())  # noqa: SLF001  same class
    for person in sorted(before.keys() | after.keys()):
        if person not in before:
            yield Difference(person, "was missing")
        elif person not in after:
            yield Difference(person, "is not in the log")
        elif before[person] != after[person]:
            yield Difference(person, "state differs")
