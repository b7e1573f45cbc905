"""The embedded store: one SQLite file, or one in memory for as long as the process lives."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from eventsourcing.persistence import ConnectionPoolClosedError

from consent_ledger.ledger.errors import Closed, NewerStore, NotALedger, StoreBusy, StoreError, StoreFull
from consent_ledger.ledger.files.held import Held, Still, chunks, hold, release
from consent_ledger.ledger.store.contract import READER_MILLISECONDS, Moment, Transaction
from consent_ledger.ledger.store.sqlite_pool import LedgerDatastore, LedgerPool, readable_errors
from consent_ledger.ledger.store.sqlite_reader import Reader
from consent_ledger.ledger.store.sqlite_schema import APPLICATION_ID, SCHEMA, STORE_FORMAT
from consent_ledger.ledger.store.watch import Watch

LOCK_SECONDS: Final = 10  # how long a writer waits for another process
PIECE_BYTES: Final = 12  # looked for at both ends of a needle: less than that is left of a nonce, and nothing sealed


class SQLiteStore:
    """A `ledger.store.contract.Store`. `held`: its file, None in memory; `still`: it was opened as unchanging.

    `lasting`: False for a store that nobody misses when the machine loses power.
    """

    def __init__(
        self, name: str, *, where: str, held: Held | None = None, still: Still | None = None, lasting: bool = True
    ) -> None:
        self.where = where
        self.held = held
        self.still = still
        self.datastore = LedgerDatastore(name, lock_timeout=LOCK_SECONDS, lasting=lasting)

    @property
    def pool(self) -> LedgerPool:
        pool = self.datastore.pool
        assert isinstance(pool, LedgerPool)
        return pool

    @property
    def in_memory(self) -> bool:
        return self.pool.is_sqlite_memory_mode

    @property
    def path(self) -> Path:
        """The file. Requires that there is one."""
        assert self.held is not None
        return self.held.path

    @property
    def closed(self) -> bool:
        return self.pool.closed

    @property
    def inherited(self) -> bool:
        return self.held is not None and self.held.inherited

    def errors(self) -> AbstractContextManager[None]:
        return readable_errors(self.where)

    @contextmanager
    def reading(self) -> Iterator[Moment]:
        try:
            with (
                self.errors(),
                self.datastore.get_connection(commit=False) as connection,
                connection.transaction(commit=False),
            ):
                yield connection
        except (ConnectionPoolClosedError, StoreError):
            if self.closed:
                raise Closed from None
            raise

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        if self.closed:
            raise Closed
        with self.errors(), self.datastore.transaction(commit=True) as c:
            yield c

    def reader(self) -> Reader:
        with self.errors():
            return Reader(self.pool)

    def watch(self) -> Watch:
        return Watch(self.reader())

    def is_empty(self) -> bool:
        with self.reading() as moment, moment.cursor() as c:
            c.execute("SELECT count(*) FROM sqlite_master")
            return not c.fetchone()[0]

    def create(self, c: Transaction) -> None:
        for statement in SCHEMA:
            c.execute(statement)
        c.execute(f"PRAGMA application_id={APPLICATION_ID}")
        c.execute(f"PRAGMA user_version={STORE_FORMAT}")

    def settle(self) -> None:
        with self.errors(), self.datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header says whose file it is

    def last_letter(self, c: Transaction) -> int:
        c.execute("SELECT seq FROM sqlite_sequence WHERE name='dead_letters'")
        row = c.fetchone()
        return int(row[0]) if row is not None else 0

    def letters_after(self, c: Transaction, last: int) -> None:
        c.execute("DELETE FROM sqlite_sequence WHERE name='dead_letters'")
        c.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('dead_letters', ?)", [last])

    def check(self) -> int:
        with self.reading() as moment, moment.cursor() as c:
            c.execute("PRAGMA application_id")
            if c.fetchone()[0] != APPLICATION_ID:
                raise NotALedger(
                    f"{self.where}: not a consent-ledger store (name another file, or run init on a new path)"
                )
            c.execute("PRAGMA user_version")
            found = int(c.fetchone()[0])
            if found > STORE_FORMAT:
                raise NewerStore(
                    f"{self.where}: store format {found}, this program knows {STORE_FORMAT} (install a newer "
                    "consent-ledger)"
                )
            return found

    # -- the file ------------------------------------------------------------------------------------------------------

    def remember(self) -> None:
        if self.held is not None and self.still is None:
            self.held.remember()

    def check_process(self) -> None:
        if self.held is not None:
            self.held.check_process()

    def check_to_read(self) -> None:
        if self.held is not None:
            self.held.check_to_read()

    def check_names(self) -> None:
        if self.held is not None:
            self.held.check()

    def check_still(self) -> None:
        if self.still is not None:
            self.still.check()

    def damage(self, c: Transaction, most: int) -> list[str]:
        c.execute(f"PRAGMA integrity_check({most})")
        return [str(row[0]) for row in c.fetchall() if row[0] != "ok"]

    def truncate(self, patience: int = READER_MILLISECONDS) -> None:
        """Write the write-ahead log back into the file. Those who begin to read meanwhile do not matter."""
        with self.errors(), self.datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout")
            usual = cursor.fetchone()[0]
            cursor.execute(f"PRAGMA busy_timeout={min(usual, patience)}")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                busy = cursor.fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout={usual}")
        if busy:
            raise StoreBusy(
                f"{self.where}: the rows are gone, but another reader keeps the write-ahead log: run doctor when it is "
                "done"
            )

    def holds(self, needles: list[bytes]) -> bool:
        """Whether the beginning or end of a needle is in the file: a copy can be cut, a long one is in parts."""
        pieces = {piece for needle in needles for piece in (needle[:PIECE_BYTES], needle[-PIECE_BYTES:])}
        return any(piece in chunk for chunk in chunks(self.path, PIECE_BYTES - 1) for piece in pieces)

    def rebuild(self) -> None:
        try:
            with self.errors(), self.datastore.get_connection(commit=True) as connection:
                connection.cursor().execute("VACUUM")
        except StoreFull:
            with contextlib.suppress(StoreError):
                self.truncate()  # what the attempt took
            raise StoreFull(
                f"{self.where}: the rows are gone, but the disk has no room to rebuild the file, which takes twice its "
                "size: free some and run doctor"
            ) from None
        self.truncate()

    def backup(self, target: Path) -> None:
        """An online copy of the whole store, consistent as of one moment. Requires that `target` is an empty file.

        It is one step, as SQLite begins anew whenever another process has written between two.
        """
        with self.datastore.get_connection(commit=False) as connection:
            source: sqlite3.Connection = connection._sqlite_conn  # noqa: SLF001  sqlite3's own backup
            copy = sqlite3.connect(target)
            try:
                source.backup(copy, pages=-1)
            finally:
                copy.close()

    def close(self) -> None:
        self.datastore.close()
        if self.held is not None:
            release(self.held)
            self.held = None


def in_memory() -> SQLiteStore:
    """A new store in memory, for as long as it is not closed."""
    return SQLiteStore(f"file:{os.urandom(16).hex()}?mode=memory&cache=shared", where="memory")


def passing(path: Path) -> SQLiteStore:
    """A new store in a file that is there for a while: nothing waits for the disk. Requires that there is no file."""
    path.touch()
    name = f"file:{quote(os.fsencode(path))}?mode=rw"
    return SQLiteStore(name, where=str(path), held=hold(path), lasting=False)


def size_of_copy(file: Path) -> int:
    """How many entries are in a copy that nobody has open. Raises StoreError where it is no store."""
    copy = sqlite3.connect(f"file:{quote(os.fsencode(file))}?mode=ro&immutable=1", uri=True)
    try:
        if copy.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StoreError(f"{file}: the copy is no store (look at the disk, run it again)")
        size: int = copy.execute("SELECT size FROM head").fetchone()[0]
    finally:
        copy.close()
    return size
