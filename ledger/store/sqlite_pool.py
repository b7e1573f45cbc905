"""Connections to the embedded store: eventsourcing's pool on SQLite, with what durability and erasure need.

`BEGIN IMMEDIATE` (a writer that read first must not be overtaken), `synchronous=FULL`, `secure_delete`; its errors as
those of `ledger.errors`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import (
    ConnectionPoolClosedError,
)
from eventsourcing.sqlite import (
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from consent_ledger.ledger.errors import (
    Closed,
    Forked,
    LedgerError,
    NotALedger,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from consent_ledger.ledger.files.held import FORKED, guard
from consent_ledger.ledger.log.verifier import ProofError

# A write-ahead log that grew while somebody read for long is cut back to this when it is begun anew.
LOG_BYTES: Final = 16 << 20
PRAGMAS: Final = (
    "synchronous=FULL",
    "secure_delete=ON",
    "trusted_schema=OFF",
    "cache_size=-65536",
    f"journal_size_limit={LOG_BYTES}",
)
# Callers wait for a connection as long as it takes: each has one at a time, so that one always comes back.
PATIENCE_SECONDS: Final = 10 * 365 * 86_400
_REMEDY: Final = " (run doctor; where that finds damage, restore a backup)"


@contextmanager
def readable_errors(where: str, remedy: str = _REMEDY) -> Iterator[None]:
    """Turn the errors of SQLite and of the pool of connections into ours, which say what to do.

    `remedy`: what helps where SQLite says nothing that tells; none where `where` says it already.
    """
    try:
        yield
    except LedgerError:  # said already, perhaps of another file
        raise
    except sqlite3.Error as error:
        raise translate(error, where, remedy) from error
    except ConnectionPoolClosedError:
        raise Closed from None
    except EventSourcingError as error:
        cause = error.__cause__
        if isinstance(cause, sqlite3.Error):
            raise translate(cause, where, remedy) from error
        if isinstance(error, TimeoutError):
            raise StoreBusy(f"{where}: all connections are in use, by others of this process (retry)") from error
        raise StoreError(f"{where}: {type(error).__name__}: {error}{remedy}") from error
    except (UnicodeDecodeError, ProofError) as error:  # text that is none, a tree that lacks a hash
        raise StoreError(f"{where}: damaged: {error}{remedy}") from error
    except Exception as error:
        cause = error.__cause__
        if isinstance(cause, sqlite3.Error):
            raise translate(cause, where, remedy) from error
        raise


def translate(error: sqlite3.Error, where: str, remedy: str = _REMEDY) -> StoreError:
    """The store error that a SQLite error means."""
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"{where}: another process is writing (retry when it is done)")
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"{where}: no space left on the disk; nothing of this batch was kept (free some and run again)"
        )
    if code == sqlite3.SQLITE_CANTOPEN:  # SQLite does not say why
        return StoreReadOnly(
            f"{where}: cannot be opened (check the path, its folder and their permissions; that the whole path has at "
            "most 500 bytes; and how many files a process may open: ulimit -n)"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreReadOnly(
            f"{where}: cannot be opened for writing (check the path, its folder and their permissions)"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return NotALedger(f"{where}: not a consent-ledger store (name another file, or run init on a new path)")
    if code == sqlite3.SQLITE_IOERR:
        return StoreFull(f"{where}: the disk failed or is full; nothing of this batch was kept ({error})")
    return StoreError(f"{where}: {error}{remedy}")


class LedgerConnection(SQLiteConnection):
    """A connection whose writing transactions take the write lock before they read."""

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        cursor = self.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE" if commit else "BEGIN")  # which waits, and may be stopped as it returns
            with cursor:
                yield cursor
            if commit:
                self.commit()
            else:
                self.rollback()
        except BaseException:
            self.rollback()  # nothing where none is open: whoever is next has no use for half a transaction
            raise


class LedgerPool(SQLiteConnectionPool):
    """Connections with the pragmas that durability and erasure need, for the process that made it."""

    def __init__(self, *, lasting: bool = True, **how: Any) -> None:
        self._process = os.getpid()
        self._lasting = lasting
        super().__init__(**how)

    @property
    def inherited(self) -> bool:
        """Whether this is a child of the process that made it: connections and locks are its parent's."""
        return os.getpid() != self._process and not self.is_sqlite_memory_mode

    def check_process(self) -> None:
        """Raise Forked in a child: a new connection, too, would rest on what SQLite believes to have locked."""
        if self.inherited:
            raise Forked(f"{self.db_name.removeprefix('file:').split('?')[0]}: {FORKED}")

    def close(self) -> None:
        """Close all connections. A child closes nothing of its parent's, and waits for none of its threads."""
        if not self.inherited:
            super().close()

    def get_connection(self, timeout: float | None = None, *, is_writer: bool | None = None) -> SQLiteConnection:
        """A connection, which goes back by `put_connection`.

        In a file writers take turns by the keys' lock. The pool's own is left alone there: the pool would keep it for
        ever where the connection cannot be made, as when no descriptors are left.
        """
        self.check_process()
        return super().get_connection(timeout, is_writer=is_writer if self.is_sqlite_memory_mode else None)

    def _create_connection(self) -> SQLiteConnection:
        self.check_process()
        connection = super()._create_connection()
        raw: sqlite3.Connection = connection._sqlite_conn  # noqa: SLF001  the library offers no other way to set pragmas
        raw.row_factory = None
        for pragma in PRAGMAS:
            raw.execute(f"PRAGMA {pragma}")
        if not self._lasting:
            raw.execute("PRAGMA synchronous=OFF")
        ours = LedgerConnection(raw, max_age=self.max_age)
        if not self.is_sqlite_memory_mode:
            guard(ours, "_sqlite_conn")
        return ours


class LedgerDatastore(SQLiteDatastore):
    """The library's datastore over our pool. `lasting`: what was committed outlasts the loss of power."""

    def __init__(self, db_name: str, *, lock_timeout: int | None = None, lasting: bool = True) -> None:
        super().__init__(db_name, lock_timeout=lock_timeout, originator_id_type="text")
        self.pool.close()
        self.pool = LedgerPool(
            lasting=lasting, db_name=db_name, lock_timeout=lock_timeout, pool_timeout=PATIENCE_SECONDS
        )
