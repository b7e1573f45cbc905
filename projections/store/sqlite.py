"""The projections' file: rows of persons, what was judged of them, and up to where they are folded from the log.

One connection writes and another one reads, so that nobody waits for a page; in memory there is one for both. Rows go
in and come out as they are: what they say and whether they are genuine is for `projections.read.projector` to know.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

from consent_ledger.ledger.errors import Closed
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.files.held import guard
from consent_ledger.ledger.log.verifier import EMPTY_ROOT
from consent_ledger.ledger.store.sqlite_pool import LOG_BYTES, readable_errors
from consent_ledger.projections.store.contract import JUDGED, PAGE, PERSON, TIMEOUT_SECONDS, Columns

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


class SQLiteProjections:
    """A `projections.store.contract.ProjectionStore` in one file. `path` None: in memory.

    `kind`: a number of how rows are written; tables of another one are made anew, empty. `check_process` raises Forked
    in a child of the process that opened the file. Any thread may use it.
    """

    def __init__(self, path: Path | None, kind: int, check_process: Callable[[], None]) -> None:
        self._path = path
        self._kind = kind
        self._check_process = check_process
        self._where = (
            f"{path}: the projections can't be used (delete that file, it is folded anew)" if path else "memory"
        )
        self._closed = False
        self._writing = threading.RLock()  # of `db`: for a page, or a batch of judgements
        with self.errors():
            if path is not None:
                _create_private(path)
            self.db = self._connect()
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            self.db.execute("PRAGMA synchronous=NORMAL")  # what is lost in a power cut is folded again
            with self.transaction():
                self.require_kind()
            # in memory there is one connection: reading waits for a page there
            self._reads, self._reading = (self._connect(), threading.RLock()) if path else (self.db, self._writing)
        if path is not None:
            guard(self, "db")
            guard(self, "_reads")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            str(self._path) if self._path else ":memory:",
            isolation_level=None,
            timeout=TIMEOUT_SECONDS,
            check_same_thread=False,
        )

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of SQLite into ours, which say what to do."""
        with readable_errors(self._where, ""):
            yield

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, self._reading:
            self._closed = True
            self._reads.close()
            self.db.close()

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """One consistent read, or several statements that need not be."""
        self._check_process()
        with self._reading, self.errors():
            if self._closed:
                raise Closed
            yield self._reads

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write, or nothing. Waits for another process that does; raises StoreBusy where that goes on too long."""
        self._check_process()
        with self._writing:
            if self._closed:
                raise Closed
            try:
                with self.errors():
                    self.db.execute("BEGIN IMMEDIATE")  # which waits, and may be stopped as it returns
                    yield
                    self.db.execute("COMMIT")
            except BaseException:
                self.db.rollback()
                raise

    # -- reading -------------------------------------------------------------------------------------------------------

    def cursor(self) -> tuple[int, bytes]:
        """(the next position to fold, the log's root there)."""
        with self._read() as db:
            next_position, root = db.execute("SELECT next, root FROM cursor").fetchone()
        return next_position, root

    def person(self, person: str) -> Columns | None:
        """A person's row, None where there is none."""
        with self._read() as db:
            return _person(db, person)

    def persons(self, controller: str) -> tuple[int, bytes, list[str]]:
        """(cursor, root there, the persons of a controller and of nobody, in order), of one moment."""
        listing = (
            "SELECT next, root, person FROM cursor LEFT JOIN people ON controller=? OR controller='' ORDER BY person"
        )
        with self._read() as db:
            rows = db.execute(listing, [controller]).fetchall()
        return rows[0][0], rows[0][1], [row[2] for row in rows if row[2] is not None]

    def judged(self, person: str, tip: bytes, about: bytes) -> Columns | None:
        """What was judged of a person at exactly these last entries, None where that is not there."""
        with self._read() as db:
            found: Columns | None = db.execute(
                f"SELECT {JUDGED} FROM judged WHERE person=? AND tip=? AND about=?", [person, tip, about]
            ).fetchone()
        return found

    def pages(self, table: Literal["people", "judged"]) -> Iterator[list[Columns]]:
        """All rows of a table, in order of the persons, a page at a time."""
        return self._pages(PERSON if table == "people" else JUDGED, table)

    def snapshots(self) -> Iterator[list[tuple[str, int, bytes]]]:
        """(person, entries, snapshot) of all persons, in order, a page at a time."""
        return self._pages("person, entries, snapshot", "people")

    def _pages(self, columns: str, table: str) -> Iterator[list[Any]]:
        last: Any = ""
        while True:
            with self._read() as db:
                rows = db.execute(
                    f"SELECT {columns} FROM {table} WHERE person>? ORDER BY person LIMIT {PAGE}", [last]
                ).fetchall()
            if not rows:
                return
            yield rows
            last = rows[-1][0]

    # -- inside a transaction ------------------------------------------------------------------------------------------

    def require_kind(self) -> bool:
        """Make the tables where they are not of this kind. Requires a transaction. Returns whether it did."""
        if self.db.execute("PRAGMA user_version").fetchone()[0] == self._kind:
            return False
        for table in ("cursor", "people", "judged"):
            self.db.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _SCHEMA:
            self.db.execute(statement)
        self.db.execute("INSERT INTO cursor VALUES (1, 0, ?)", [EMPTY_ROOT])
        self.db.execute(f"PRAGMA user_version={self._kind}")
        return True

    def start_anew(self) -> None:
        """Remove all rows, and begin at the beginning of the log. Requires a transaction."""
        self.db.execute("DELETE FROM people")
        self.db.execute("DELETE FROM judged")
        self.db.execute("UPDATE cursor SET next=0, root=?", [EMPTY_ROOT])

    def cursor_inside(self) -> tuple[int, bytes]:
        """As `cursor`, by what the transaction sees. Requires one."""
        next_position, root = self.db.execute("SELECT next, root FROM cursor").fetchone()
        return next_position, root

    def person_inside(self, person: str) -> Columns | None:
        """As `person`, by what the transaction sees. Requires one."""
        return _person(self.db, person)

    def save_page(self, rows: Sequence[Columns], following: int, root: bytes) -> None:
        """Save rows of persons in place of older ones, and up to where they are folded. Requires a transaction."""
        with self.errors():
            self.db.executemany(f"INSERT OR REPLACE INTO people ({PERSON}) VALUES (?,?,?,?,?,?,?,?,?)", rows)
            self.db.execute("UPDATE cursor SET next=?, root=?", [following, root])

    def save_judged(self, rows: Sequence[Columns]) -> None:
        """Save what was judged in place of what was before. Requires a transaction."""
        self.db.executemany(f"INSERT OR REPLACE INTO judged ({JUDGED}) VALUES (?,?,?,?,?,?)", rows)

    # -- another file beside it ----------------------------------------------------------------------------------------

    @property
    def _fresh_path(self) -> Path:
        assert self._path is not None
        return self._path.with_name(self._path.name + ".rebuilding")

    def beside(self) -> SQLiteProjections:
        """A file beside this one, at hand for `take_over` until this one is closed. Requires that this is a file."""
        self.remove_beside()
        fresh = SQLiteProjections(self._fresh_path, self._kind, self._check_process)
        with self.errors():
            self.db.execute("ATTACH DATABASE ? AS fresh", [str(self._fresh_path)])
        return fresh

    def remove_beside(self) -> None:
        """Remove the file beside this one."""
        discard(self._fresh_path)

    def take_over(self) -> None:
        """Put all that is in the other file in place of all that is here. Requires a transaction."""
        for table in ("people", "judged", "cursor"):
            self.db.execute(f"DELETE FROM main.{table}")
            self.db.execute(f"INSERT INTO main.{table} SELECT * FROM fresh.{table}")


def discard(path: Path) -> None:
    """Remove a file of projections, and what SQLite keeps beside it. Requires that nobody has it open."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _create_private(path: Path) -> None:
    """Make the file for its owner alone, whatever the umask; SQLite gives those beside it the same mode."""
    with suppress(OSError):  # it is there, or SQLite will say what is wrong with the path
        durable.create(path)


def _person(db: sqlite3.Connection, person: str) -> Columns | None:
    found: Columns | None = db.execute(f"SELECT {PERSON} FROM people WHERE person=?", [person]).fetchone()
    return found
