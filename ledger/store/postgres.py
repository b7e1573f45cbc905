"""A store in PostgreSQL: one schema for each ledger, any number of writers and readers on any number of machines.

`postgresql://user@host:5432/database?schema=shop`, everything else as libpq has it. The row of `turn` is the sequencer:
a writing transaction locks it first, so that writers stand in line and a rollback leaves no gap. Readers read one
snapshot (REPEATABLE READ). Nothing is kept in a session, so that it works behind PgBouncer in transaction mode: no
prepared statement, no advisory lock, no setting outlasts its transaction.

A writing transaction is a pipeline: what it writes is sent and not waited for, and what failed is raised at the next
question or at the end, before anything is committed. Many values, and many rows, are one array for each column, in
binary. COPY, which a pipeline cannot have, is faster only from about a thousand rows on.
"""

from __future__ import annotations

import logging
import os
import re
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from consent_ledger.ledger.errors import (
    Closed,
    Forked,
    LedgerError,
    NewerStore,
    NotALedger,
    StoreBusy,
    StoreReadOnly,
)
from consent_ledger.ledger.files.held import FORKED
from consent_ledger.ledger.store import postgres_roles as roles
from consent_ledger.ledger.store.contract import READER_MILLISECONDS, Moment, Moved, Transaction
from consent_ledger.ledger.store.postgres_errors import translate
from consent_ledger.ledger.store.postgres_schema import ERASABLE, FORMAT, statements
from consent_ledger.ledger.store.postgres_transaction import PostgresTransaction, pipelined
from consent_ledger.ledger.store.sqlite_schema import STORE_FORMAT
from consent_ledger.ledger.store.watch import Watch

_log = logging.getLogger("consent_ledger")
SCHEMA: Final = "consent_ledger"
CONNECTIONS: Final = 16
PATIENCE_SECONDS: Final = 30.0  # for the server, before an error says that it is away
LOCK_SECONDS: Final = 10  # for another writer
# Where the address says nothing else: who hears nothing from the server, or is not heard, is told so within a minute.
NETWORK: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
REBUILD_TRIES: Final = 3  # most of those who read an older moment are done meanwhile
REBUILD_SECONDS: Final = 2  # for readers of a table that is to be written anew: who comes after waits as long


def parse_address(address: str) -> tuple[str, str, str]:
    """(connection string, schema, how it is called in messages: without its password). Raises NotALedger."""
    parts = urlsplit(address)
    schema = next((value for name, value in parse_qsl(parts.query) if name == "schema"), SCHEMA)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema):
        raise NotALedger(f"schema {schema!r}: wants at most 48 small letters, digits and underscores")
    where = urlunsplit(("postgresql", parts.netloc.rpartition("@")[2], parts.path, f"schema={schema}", ""))
    return with_schema(address), schema, where


def with_schema(address: str, *schema: str) -> str:
    """The same address with another schema, or with none."""
    parts = urlsplit(address)
    pairs = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "schema"]
    return urlunsplit(parts._replace(query=urlencode([*pairs, *(("schema", one) for one in schema)]), fragment=""))


def channel(schema: str) -> str:
    """On which those who wait for news of a ledger are told of them."""
    return f"consent_ledger_{schema}"  # 63 bytes at most, as the server has it


class PostgresMoment:
    """A connection with a transaction under way."""

    def __init__(self, connection: psycopg.Connection[Any], *, only_read: bool) -> None:
        self.connection = connection
        self._only_read = only_read

    @contextmanager
    def cursor(self) -> Iterator[Transaction]:
        """A cursor on it."""
        yield PostgresTransaction(self.connection, only_read=self._only_read)


def _is_stale(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has closed a connection that nobody used meanwhile; asks the server only on suspicion."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        connection.close()
        return True
    return False


class PostgresReader:
    """One moment at a time, over a connection of its own. Knows whether the store may have changed since the last."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._connection: psycopg.Connection[Any] | None = None
        self._number: int | None = None
        self._open = False

    def _connected(self) -> psycopg.Connection[Any]:
        if self._store.closed:
            raise Closed
        if self._connection is None or _is_stale(self._connection):
            self._connection = self._store.connect()
        return self._connection

    def moved(self) -> bool:
        with self._store.errors():
            connection = self._connected()
            number = connection.execute(f"SELECT number FROM {self._store.schema}.turn".encode()).fetchone()
            return number is None or number[0] != self._number

    def begin(self) -> None:
        assert not self._open
        with self._store.errors():
            connection = self._connected()
            connection.execute(self._store.begin_reading)
            self._open = True
            try:
                row = connection.execute(b"SELECT number FROM turn").fetchone()  # the first thing read fixes the moment
            except BaseException:
                self.end()
                raise
            self._number = row[0] if row is not None else None

    @contextmanager
    def cursor(self) -> Iterator[Transaction]:
        if not self._open:
            before = self._number
            self.begin()
            if self._number != before:
                self.end()
                self._number = before
                raise Moved
        assert self._connection is not None
        if self._store.closed:
            raise Closed
        with PostgresMoment(self._connection, only_read=self._store.only_read).cursor() as c:
            yield c

    def end(self) -> None:
        if not self._open:
            return
        self._open = False
        connection = self._connection
        assert connection is not None
        try:
            connection.execute(b"ROLLBACK")
        except psycopg.Error:
            connection.close()
            self._connection = None

    def doubt(self) -> None:
        self._number = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class PostgresStore:
    """A `ledger.store.contract.Store`."""

    in_memory = False

    def __init__(self, address: str, *, only_read: bool = False) -> None:
        address, self.schema, self.where = parse_address(address)
        self.only_read = only_read
        search = f'SET LOCAL search_path TO "{self.schema}"'
        self.begin_reading = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {search}".encode()
        self._begin_making = f"BEGIN; {search}; SET LOCAL lock_timeout TO '{LOCK_SECONDS}s'".encode()
        # One message: whoever comes now waits until whoever writes is done, and those who wait for news hear of it
        # when this is committed.
        turn = f'UPDATE turn SET number=number+1; NOTIFY "{channel(self.schema)}"'
        self._begin_writing = self._begin_making + f"; {turn}".encode()
        self._pid = os.getpid()
        self._made = False  # whether its tables are known to be there
        with self.errors():
            self._address = make_conninfo(address, **(NETWORK | conninfo_to_dict(address)))
        self._pool: ConnectionPool[psycopg.Connection[Any]] = ConnectionPool(
            self._address,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=PATIENCE_SECONDS,
            reconnect_timeout=PATIENCE_SECONDS / 2,  # tries grow rarer: who waits is to see one
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": None},
            name="consent-ledger",
        )
        self.connect().close()  # a pool would try until its patience ends, and not say why
        self._pool.open()

    @property
    def closed(self) -> bool:
        return self._pool.closed

    @property
    def inherited(self) -> bool:
        return os.getpid() != self._pid

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of the server and of the pool into ours, which say what to do."""
        try:
            yield
        except LedgerError:
            raise
        except PoolClosed:
            raise Closed from None
        except PoolTimeout as error:
            self.connect().close()  # says why, where that is the server's
            raise StoreBusy(f"{self.where}: all connections are in use, by others of this process (retry)") from error
        except psycopg.Error as error:
            raise translate(error, self.where) from error

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of its own, outside of the pool."""
        self.check_process()
        with self.errors():
            return psycopg.connect(self._address, autocommit=True, prepare_threshold=None)

    @contextmanager
    def lent(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the pool, in no transaction."""
        self.check_process()
        if self.closed:
            raise Closed
        with self.errors():
            connection = self._pool.getconn()
            while _is_stale(connection):  # as all are after the server was started again: each is replaced
                self._pool.putconn(connection)
                connection = self._pool.getconn()
            try:
                yield connection
            finally:
                self._pool.putconn(connection)

    @contextmanager
    def _begun(self, begin: bytes, *, commit: bool) -> Iterator[psycopg.Connection[Any]]:
        with self.lent() as connection:
            try:
                connection.execute(begin)
                yield connection
                connection.execute(b"COMMIT" if commit else b"ROLLBACK")
            except BaseException:
                with suppress(psycopg.Error):
                    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                        connection.execute(b"ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[Moment]:
        with self._begun(self.begin_reading, commit=False) as connection:
            yield PostgresMoment(connection, only_read=self.only_read)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        if self.only_read:
            raise StoreReadOnly(f"{self.where}: is open for reading only")
        begin = self._begin_writing if self._made else self._begin_making
        with self._begun(begin, commit=True) as connection, pipelined(connection):
            yield PostgresTransaction(connection)

    def reader(self) -> PostgresReader:
        return PostgresReader(self)

    def watch(self) -> Watch:
        """What waits for news: it is told of them by NOTIFY within milliseconds.

        Where none comes through, as behind PgBouncer in transaction mode, it looks at the row of `turn` now and then.
        """
        heard = _Listening(self)
        try:
            return Watch(self.reader(), heard.pause, heard.close)
        except BaseException:
            heard.close()
            raise

    def is_empty(self) -> bool:
        with self.lent() as connection:
            found = connection.execute(
                b"SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                b"WHERE n.nspname = %s)",
                [self.schema],
            ).fetchone()
            return found is not None and not found[0]

    def may_write(self) -> bool:
        """Whether this role may record here, and this server is no replica. True where there is no store yet."""
        with self.lent() as connection:
            row = connection.execute(
                b"SELECT NOT pg_is_in_recovery() AND NOT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n "
                b"ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = 'entries' "
                b"AND NOT has_table_privilege(c.oid, 'INSERT'))",
                [self.schema],
            ).fetchone()
        return row is not None and bool(row[0])

    def create(self, c: Transaction) -> None:
        """Make schema and tables; its roles as well where this role may make any, or where they are there.

        Else only the owner may anything, until somebody runs `postgres_roles.script`.
        """
        c.execute(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"')
        for statement in (*statements(), *roles.functions(self.schema), *roles.locked(self.schema)):
            c.execute(statement)
        if roles.may_be_made(c, self.schema):
            for statement in (*roles.made_roles(self.schema), *roles.granted(self.schema)):
                c.execute(statement)
        else:
            _log.warning("%s: this role may make no others (run what consent-ledger grants prints)", self.where)
        c.execute("INSERT INTO meta VALUES (?,?)", [FORMAT, str(STORE_FORMAT).encode()])
        self._made = True

    def settle(self) -> None:
        """Nothing is to be done."""

    def last_letter(self, c: Transaction) -> int:
        c.execute("SELECT last_value, is_called FROM dead_letters_id_seq")
        last, used = c.fetchone()
        return int(last) if used else 0

    def letters_after(self, c: Transaction, last: int) -> None:
        if last:
            c.execute("SELECT setval('dead_letters_id_seq', ?)", [last])

    def check(self) -> int:
        with self.lent() as connection:
            there = connection.execute(b"SELECT to_regclass(%s) IS NOT NULL", [f"{self.schema}.meta"]).fetchone()
            if there is None or not there[0]:
                raise NotALedger(f"{self.where}: there is no such store (make one with: consent-ledger init)")
            row = connection.execute(
                f"SELECT value FROM {self.schema}.meta WHERE name=%s".encode(), [FORMAT]
            ).fetchone()
        if row is None or not bytes(row[0]).isdigit():
            raise NotALedger(f"{self.where}: not a consent-ledger store (name another schema)")
        found = int(bytes(row[0]))
        if found > STORE_FORMAT:
            raise NewerStore(
                f"{self.where}: store format {found}, this program knows {STORE_FORMAT} (install a newer "
                "consent-ledger)"
            )
        self._made = True
        return found

    def remember(self) -> None:
        """Nothing: a server is no file."""

    def check_process(self) -> None:
        if self.inherited:
            raise Forked(f"{self.where}: {FORKED}")

    def check_to_read(self) -> None:
        self.check_process()

    def check_names(self) -> None:
        self.check_process()

    def check_still(self) -> None:
        """Nothing: whoever writes is seen."""

    def damage(self, c: Transaction, most: int) -> list[str]:  # noqa: ARG002
        """Nothing: the server finds a damaged page when it reads it, and only where it has checksums."""
        return []

    def truncate(self, patience: int = READER_MILLISECONDS) -> None:
        """Nothing: how long the server's own log keeps what was destroyed is for its settings."""

    def holds(self, needles: list[bytes]) -> bool:
        """True for any: what rows were is in their pages until these are written anew."""
        return bool(needles)

    def rebuild(self) -> None:
        """Write the tables anew in which rows were destroyed, one by one: who uses one waits meanwhile.

        Raises StoreBusy where somebody uses one for too long, or reads a moment at which rows were still there.
        """
        left = dict.fromkeys(ERASABLE, 1)
        with self.lent() as connection:
            for _ in range(REBUILD_TRIES):
                left = {table: kept for table in left if (kept := self._write_anew(connection, table))}
        if left:
            raise StoreBusy(
                f"{self.where}: {', '.join(left)}: {sum(left.values())} rows that were destroyed or changed are kept "
                "for an older transaction, a replica or a slot (end it, look into pg_stat_activity; doctor tries again)"
            )

    def _write_anew(self, connection: psycopg.Connection[Any], table: str) -> int:
        """Write a table anew. Returns how many rows the server had to keep though they were destroyed."""
        said: list[str] = []

        def listen(notice: psycopg.errors.Diagnostic) -> None:
            said.append(notice.message_detail or "")

        connection.add_notice_handler(listen)
        try:
            connection.execute(
                f"BEGIN; SET LOCAL lock_timeout TO '{REBUILD_SECONDS}s'; "
                f"SELECT \"{self.schema}\".write_anew('{table}'); COMMIT".encode()
            )
        except pg.LockNotAvailable:
            raise StoreBusy(
                f"{self.where}: {table} is in use, and still keeps rows that were destroyed (doctor tries again)"
            ) from None
        finally:
            connection.remove_notice_handler(listen)
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
                connection.execute(b"ROLLBACK")
        # "3 dead row versions cannot be removed yet.", in whatever language the server speaks
        return sum(int(number[0]) for one in said if (number := re.search(r"\d+", one)))

    def close(self) -> None:
        if not self.inherited:
            self._pool.close()


class _Listening:
    """A connection that hears of news."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._connection = self._listen()  # before the first look: none is missed

    def _listen(self) -> psycopg.Connection[Any]:
        connection = self._store.connect()
        try:
            with self._store.errors():
                connection.execute(f'LISTEN "{channel(self._store.schema)}"'.encode())
        except BaseException:
            connection.close()
            raise
        return connection

    def pause(self, seconds: float) -> None:
        """Wait for news, or that long. Over at once where it had to listen anew: there may have been some meanwhile."""
        if self._connection.closed:
            self._connection = self._listen()
            return
        with self._store.errors():
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                pass

    def close(self) -> None:
        self._connection.close()
