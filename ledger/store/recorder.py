"""The embedded store: eventsourcing's recorder on SQLite, with one sequence without gaps that nobody can rewrite.

What the stock recorder lacks and this one has: an explicit integer primary key as position (an implicit rowid can be
reused), `BEGIN IMMEDIATE` (a writer that read first must not be overtaken), `synchronous=FULL`, `secure_delete`,
triggers that forbid UPDATE and DELETE, and one transaction for entries, vault, idempotency keys and checkpoint.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    CorruptEntry,
    Forked,
    LedgerError,
    NotALedger,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from consent_ledger.ledger.files.held import FORKED, guard
from consent_ledger.ledger.log.merkle import HASH_BYTES, ReadLeaves, ReadSubtree
from consent_ledger.ledger.log.verifier import ProofError
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.times import EARLIEST, LATEST

APPLICATION_ID: Final = 0x434C4544  # "CLED", in the file's header
STORE_FORMAT: Final = 4  # the file's user_version; older ones are raised when they are opened for writing

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

# Addresses of persons whose fields were deleted, and, once erased, what stays of them: a hash and a no.
SUPPRESSION: Final = (
    "CREATE TABLE addresses (tag BLOB, person TEXT, masked BLOB NOT NULL, PRIMARY KEY (tag, person)) WITHOUT ROWID",
    "CREATE INDEX addresses_by_person ON addresses (person)",
    "CREATE TABLE suppressed (key BLOB, said BLOB, since INTEGER NOT NULL, PRIMARY KEY (key, said)) WITHOUT ROWID",
)
# The addresses of those who are there, and entries that an answer looks at beside a person's state:
# `ledger.intake.addresses`.
ADDRESSES: Final = (
    """CREATE TABLE living (
        person TEXT, position INTEGER, tag BLOB, kind TEXT NOT NULL, how TEXT NOT NULL, bound BLOB NOT NULL,
        PRIMARY KEY (person, position, tag)) WITHOUT ROWID""",
    "CREATE INDEX living_by_tag ON living (tag, person)",
    "CREATE TABLE shared (tag BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE noes (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
    "CREATE TABLE beside (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
)
# The newest entry of every stream: what an index of entries has lost is missed, and a tip is found at once.
STREAMS: Final = (
    "CREATE TABLE streams (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, leaf BLOB NOT NULL) WITHOUT ROWID"
)
# Entries that name another person than the one they are about, by that person.
MENTIONS: Final = (
    "CREATE TABLE mentions (person TEXT, position INTEGER, PRIMARY KEY (person, position)) WITHOUT ROWID",
)
# Whom a refused event names besides its subject: another name, a customer.
REFUSED_NAMES: Final = (
    "CREATE TABLE refused_names (alias BLOB, position INTEGER, PRIMARY KEY (alias, position)) WITHOUT ROWID"
)
# What letters say, by keyed hash; of persons, the letters with a value that nobody can read any more, and past letters.
LETTERS: Final = (
    "CREATE TABLE letter_words (word BLOB, letter INTEGER, PRIMARY KEY (word, letter)) WITHOUT ROWID",
    "CREATE INDEX letter_words_by_letter ON letter_words (letter)",
    "CREATE TABLE letter_persons (person TEXT, letter INTEGER, PRIMARY KEY (person, letter)) WITHOUT ROWID",
    "CREATE TABLE past_letters (person TEXT, handle BLOB, PRIMARY KEY (person, handle)) WITHOUT ROWID",
)
# Until when, in force, the fields of a person are deleted: what is told late of a time before is not kept.
DELETED: Final = "CREATE TABLE deleted (person TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID"
# Texts as persons were shown them, exact bytes.
DOCUMENTS: Final = (
    "CREATE TABLE documents (sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID"
)
SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # The log. `leaf` is the RFC 6962 leaf hash of `state`, kept so that a flipped byte can be named.
    """CREATE TABLE entries (
        position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
        type TEXT NOT NULL, leaf BLOB NOT NULL, state BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX entries_by_stream ON entries (stream, version)",
    STREAMS,
    """CREATE TABLE subtrees (
        level INTEGER, number INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, number)) WITHOUT ROWID""",
    """CREATE TABLE head (
        one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL,
        recorded_at INTEGER NOT NULL, checkpoint TEXT NOT NULL, edge BLOB NOT NULL)""",
    # Idempotency: the key outlives erasure, the content digest does not.
    "CREATE TABLE keys (key BLOB PRIMARY KEY, position INTEGER NOT NULL, digest BLOB) WITHOUT ROWID",
    """CREATE TABLE refused (
        key BLOB, digest BLOB, person_key BLOB, position INTEGER NOT NULL, PRIMARY KEY (key, digest)) WITHOUT ROWID""",
    "CREATE INDEX refused_by_person ON refused (person_key) WHERE person_key IS NOT NULL",
    REFUSED_NAMES,
    # The vault.
    "CREATE TABLE people (person TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID",
    # `bound`: a keyed tag over alias and person, so that no name can be made to lead to another person.
    # `word`: by which letters that say the name are found, also once nobody can read it any more.
    """CREATE TABLE aliases (
        alias BLOB PRIMARY KEY, person TEXT NOT NULL, sealed BLOB, bound BLOB, word BLOB) WITHOUT ROWID""",
    "CREATE INDEX aliases_by_person ON aliases (person)",
    "CREATE TABLE secrets (position INTEGER PRIMARY KEY, sealed BLOB NOT NULL)",
    *MENTIONS,
    *SUPPRESSION,
    *ADDRESSES,
    # What the door looks at.
    "CREATE TABLE packs (sha256 TEXT PRIMARY KEY, controller TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE controllers (controller TEXT PRIMARY KEY, pack_sha256 TEXT NOT NULL, bound BLOB) WITHOUT ROWID",
    "CREATE TABLE recipients (controller TEXT, recipient TEXT, PRIMARY KEY (controller, recipient)) WITHOUT ROWID",
    "CREATE TABLE aged (person TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE links (one TEXT, other TEXT, PRIMARY KEY (one, other)) WITHOUT ROWID",
    """CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, received_at INTEGER NOT NULL,
        origin TEXT NOT NULL, line INTEGER, field TEXT NOT NULL, reason TEXT NOT NULL, bytes INTEGER NOT NULL,
        sealed BLOB NOT NULL)""",
    *LETTERS,
    DELETED,
    DOCUMENTS,
    *(
        f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are never changed'); END"
        for table in ("entries", "subtrees")
        for verb in ("UPDATE", "DELETE")
    ),
)


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

    def __init__(self, **how: Any) -> None:
        self._process = os.getpid()
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
        ours = LedgerConnection(raw, max_age=self.max_age)
        if not self.is_sqlite_memory_mode:
            guard(ours, "_sqlite_conn")
        return ours


class LedgerDatastore(SQLiteDatastore):
    """The library's datastore over our pool."""

    def __init__(self, db_name: str, *, lock_timeout: int | None = None) -> None:
        super().__init__(db_name, lock_timeout=lock_timeout, originator_id_type="text")
        self.pool.close()
        self.pool = LedgerPool(db_name=db_name, lock_timeout=lock_timeout, pool_timeout=PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class Head:
    """The log's newest signed state."""

    size: int
    root: bytes
    recorded_at: int  # of the last entry, microseconds; never decreases
    checkpoint: str
    edge: bytes  # hashes of the frontier, largest subtree first


Row = tuple[int, bytes]  # position, state


def read_head(c: Transaction) -> Head:
    """The head row. Raises StoreError where there is none, CorruptEntry where it is none: only damage does that."""
    c.execute("SELECT size, root, recorded_at, checkpoint, edge FROM head")
    row = c.fetchone()
    if row is None:
        raise StoreError("head: the store has lost its newest checkpoint (restore a backup)")
    head = Head(*row)
    kinds = [type(one) for one in row] == [int, bytes, int, str, bytes]
    if not kinds or head.size < 0 or len(head.root) != HASH_BYTES:
        raise CorruptEntry("head: the newest checkpoint is damaged (restore a backup)")
    if head.size and not EARLIEST <= head.recorded_at <= LATEST:
        raise CorruptEntry("head: the newest checkpoint is damaged (restore a backup)")
    return head


def readers(c: Transaction) -> tuple[ReadSubtree, ReadLeaves]:
    """How roots and proofs read the store's hashes. They raise CorruptEntry for one that is not there, or is none."""

    def checked(found: list[Any], wanted: int, where: str) -> list[bytes]:
        if len(found) != wanted or not all(type(one) is bytes and len(one) == HASH_BYTES for one in found):
            raise CorruptEntry(f"{where}: a hash is missing or damaged (run verify, restore a backup)")
        return found

    def subtree(level: int, number: int) -> bytes:
        c.execute("SELECT hash FROM subtrees WHERE level=? AND number=?", [level, number])
        return checked([row[0] for row in c.fetchall()], 1, f"subtrees: level {level}, number {number}")[0]

    def leaves(start: int, stop: int) -> list[bytes]:
        c.execute("SELECT leaf FROM entries WHERE position>=? AND position<? ORDER BY position", [start, stop])
        return checked([row[0] for row in c.fetchall()], stop - start, f"entries {start} to {stop - 1}")

    return subtree, leaves
