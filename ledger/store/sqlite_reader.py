"""One moment of the store for all that a question reads: a connection of its own, whose transaction begins when needed.

    with the store unchanged since the last question, and everything needed in memory: one PRAGMA, no transaction
    else: one read transaction, from the first thing that is read to the end of the answer

A reader serves one thread at a time. `ledger.intake.application.LedgerApplication.reading` gives what is read
through it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from eventsourcing.sqlite import SQLiteConnection, SQLiteCursor

from consent_ledger.ledger.errors import Closed
from consent_ledger.ledger.store.contract import Moved

if TYPE_CHECKING:
    from consent_ledger.ledger.store.sqlite_pool import LedgerPool


class Reader:
    """Reads one moment at a time. Knows whether the store may have changed since the last one."""

    def __init__(self, pool: LedgerPool) -> None:
        self._pool = pool
        self._own: SQLiteConnection = pool._create_connection()  # noqa: SLF001  outlives any pool slot
        self._raw: sqlite3.Connection = self._own._sqlite_conn  # noqa: SLF001
        self._ask = self._raw.cursor().execute
        self._version: int | None = None  # SQLite's number of the moment that was read last
        self.open: SQLiteConnection | None = None  # whose transaction is under way

    def moved(self) -> bool:
        """Whether the store may have changed since `begin` was last called. Reads no table."""
        try:
            ((version,),) = self._ask("PRAGMA data_version")  # to its end: no transaction stays open
        except sqlite3.OperationalError:  # in memory: somebody is at it
            return True
        except sqlite3.ProgrammingError:
            raise Closed from None
        return bool(version != self._version)

    def begin(self) -> None:
        """Begin to read the newest moment. Waits for who writes a store in memory. Requires that `end` was called."""
        assert self.open is None
        connection = self._own
        if self._pool.is_sqlite_memory_mode:  # there, readers and writer keep each other out
            connection = self._pool.get_connection(is_writer=False)
        self.open = connection
        connection.cursor().execute("BEGIN")
        ((self._version,),) = self._ask("PRAGMA data_version")  # the first thing read: it fixes the moment

    def cursor(self) -> SQLiteCursor:
        """A cursor on the moment that is read. Raises Moved where it is no longer the one that was read last."""
        if self.open is None:
            before = self._version
            self.begin()
            if self._version != before:
                self.end()
                self._version = before
                raise Moved
        assert self.open is not None
        return self.open.cursor()

    def end(self) -> None:
        """End the moment, if one was begun."""
        connection, self.open = self.open, None
        if connection is None:
            return
        try:
            connection.rollback()
        finally:
            if connection is not self._own:
                self._pool.put_connection(connection)

    def doubt(self) -> None:
        """Take the store as moved, whatever SQLite says."""
        self._version = None

    def close(self) -> None:
        """Let go of the store."""
        self._raw.close()
