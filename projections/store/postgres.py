"""Projections in the schema of a ledger in PostgreSQL: the tables `projection_*`, which may be dropped at any time.

Who folds holds a lock on the cursor's row to the end of the transaction: of two processes one waits, and goes on where
the other one ended. Each statement names the schema, so that a read is one statement and no transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Literal, TypeVar

import psycopg
from psycopg import errors as pg

from consent_ledger.ledger.errors import Closed, StoreReadOnly
from consent_ledger.ledger.log.verifier import EMPTY_ROOT
from consent_ledger.ledger.store.postgres import PostgresStore
from consent_ledger.ledger.store.postgres_roles import granted_on_projections
from consent_ledger.ledger.store.postgres_schema import definition, types_of
from consent_ledger.projections.store.contract import JUDGED, PAGE, PERSON, TIMEOUT_SECONDS, Columns

PREFIX: Final = "projection_"
FRESH: Final = "projection_fresh_"
# A change of these columns wants other names: programs of two versions may be at work at once.
_TABLES: Final = {
    "cursor": (
        "one bigint PRIMARY KEY CHECK (one = 1)",
        "kind bigint NOT NULL",
        "next bigint NOT NULL",
        "root bytea NOT NULL",
    ),
    "people": (
        "person text PRIMARY KEY",
        "controller text NOT NULL",
        "entries bigint NOT NULL",
        "last_time bigint NOT NULL",
        "last_recorded bigint NOT NULL",
        "linked bigint NOT NULL",
        "tip bytea NOT NULL",
        "snapshot bytea NOT NULL",
        "tag bytea NOT NULL",
    ),
    "judged": (
        "person text PRIMARY KEY",
        "tip bytea NOT NULL",
        "about bytea NOT NULL",
        "findings bytea NOT NULL",
        "permitted_by bytea NOT NULL",
        "tag bytea NOT NULL",
    ),
}
_T = TypeVar("_T")


class PostgresProjections:
    """A `projections.store.contract.ProjectionStore`. Raises StoreReadOnly where this role may not keep any here."""

    def __init__(self, store: PostgresStore, kind: int, prefix: str = PREFIX) -> None:
        self._store = store
        self._kind = kind
        self._prefix = prefix
        self._closed = False
        self._turn = threading.RLock()  # threads of this process stand in line here, processes at the cursor's row
        self._inside: psycopg.Connection[Any] | None = None  # whose transaction is under way; of who has the turn
        self._require_rights()

    def _table(self, name: str) -> str:
        return f'"{self._store.schema}".{self._prefix}{name}'

    def _require_rights(self) -> None:
        """Make the tables where they are not. Raises StoreReadOnly where this role may not write them."""
        wanted = ", ".join(f"to_regclass('{self._table(name)}')" for name in _TABLES)
        with self._lent() as connection:
            found = connection.execute(
                "SELECT bool_and(one IS NOT NULL), pg_is_in_recovery() OR NOT coalesce(bool_and("
                "has_table_privilege(one, 'SELECT') AND has_table_privilege(one, 'INSERT') AND "
                "has_table_privilege(one, 'UPDATE') AND has_table_privilege(one, 'DELETE')), true) "
                f"FROM unnest(ARRAY[{wanted}]) AS one"
            ).fetchone()
            assert found is not None
            there, refused = found
        if refused:
            raise StoreReadOnly(f"{self._store.where}: this role may not write the tables {self._prefix}*")
        if not there:
            self._make()

    def _make(self) -> None:
        """Make what is missing, and begin anew: what is folded was in all of them. Of two who do, one waits."""
        with self._lent() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._table("cursor")])
            if self._all_there(connection):
                return
            for name, columns in _TABLES.items():
                connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table(name)} ({definition(columns)})".encode())
            connection.execute(
                f"CREATE INDEX IF NOT EXISTS {self._prefix}people_by_controller ON {self._table('people')} "
                "(controller)".encode()
            )
            for name in _TABLES:
                connection.execute(f"DELETE FROM {self._table(name)}".encode())
            connection.execute(granted_on_projections(self._store.schema).encode())

    def _all_there(self, connection: psycopg.Connection[Any]) -> bool:
        wanted = " AND ".join(f"to_regclass('{self._table(name)}') IS NOT NULL" for name in _TABLES)
        found = connection.execute(f"SELECT {wanted}".encode()).fetchone()
        return found == (True,)

    @contextmanager
    def _lent(self) -> Iterator[psycopg.Connection[Any]]:
        if self._closed:
            raise Closed
        with self._store.lent() as connection:
            yield connection

    def _there(self, work: Callable[[], _T]) -> _T:
        """Do something, and once more if somebody has dropped the tables."""
        try:
            with self._store.errors():
                return work()
        except Exception as error:
            if not isinstance(error.__cause__, pg.UndefinedTable) or self._inside is not None:
                raise
        self._make()
        return work()

    def _rows(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        """The rows of a statement, of one moment: what is committed."""

        def ask() -> list[Any]:
            with self._lent() as connection:
                return connection.execute(statement.encode(), params, binary=True).fetchall()

        return self._there(ask)

    def errors(self) -> AbstractContextManager[None]:
        return self._store.errors()

    def close(self) -> None:
        with self._turn:
            self._closed = True

    # -- reading -------------------------------------------------------------------------------------------------------

    def cursor(self) -> tuple[int, bytes]:
        rows = self._rows(f"SELECT next, root FROM {self._table('cursor')} WHERE kind=%s", [self._kind])
        return (rows[0][0], rows[0][1]) if rows else (0, EMPTY_ROOT)

    def person(self, person: str) -> Columns | None:
        rows = self._rows(f"SELECT {PERSON} FROM {self._table('people')} WHERE person=%s", [person])
        return rows[0] if rows else None

    def persons(self, controller: str) -> tuple[int, bytes, list[str]]:
        rows = self._rows(
            f"SELECT next, root, person FROM {self._table('cursor')} LEFT JOIN {self._table('people')} "
            "ON controller=%s OR controller='' WHERE kind=%s ORDER BY person",
            [controller, self._kind],
        )
        if not rows:
            return 0, EMPTY_ROOT, []
        return rows[0][0], rows[0][1], [row[2] for row in rows if row[2] is not None]

    def judged(self, person: str, tip: bytes, about: bytes) -> Columns | None:
        rows = self._rows(
            f"SELECT {JUDGED} FROM {self._table('judged')} WHERE person=%s AND tip=%s AND about=%s",
            [person, tip, about],
        )
        return rows[0] if rows else None

    def pages(self, table: Literal["people", "judged"]) -> Iterator[list[Columns]]:
        return self._pages(PERSON if table == "people" else JUDGED, table)

    def snapshots(self) -> Iterator[list[tuple[str, int, bytes]]]:
        return self._pages("person, entries, snapshot", "people")

    def _pages(self, columns: str, table: str) -> Iterator[list[Any]]:
        last = ""
        while rows := self._rows(
            f"SELECT {columns} FROM {self._table(table)} WHERE person>%s ORDER BY person LIMIT {PAGE}", [last]
        ):
            yield rows
            last = rows[-1][0]

    # -- inside a transaction ------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._store.check_process()  # before a lock that another thread of a parent had when this child was forked
        with self._turn:
            self._there(self._require_cursor)
            with self._store.errors(), self._lent() as connection:
                # What a server loses that is killed is folded again: nobody waits for its disk.
                begin = f"BEGIN; SET LOCAL lock_timeout TO '{TIMEOUT_SECONDS}s'; SET LOCAL synchronous_commit TO off"
                try:
                    connection.execute(begin.encode())
                    connection.execute(f"SELECT 1 FROM {self._table('cursor')} FOR UPDATE".encode())
                    self._inside = connection
                    yield
                    connection.execute(b"COMMIT")
                except BaseException:
                    with suppress(psycopg.Error):
                        connection.execute(b"ROLLBACK")
                    raise
                finally:
                    self._inside = None

    def _require_cursor(self) -> None:
        """See to it that there is a row to lock."""
        with self._lent() as connection:
            if connection.execute(f"SELECT 1 FROM {self._table('cursor')}".encode()).fetchone() is None:
                connection.execute(
                    f"INSERT INTO {self._table('cursor')} VALUES (1, %s, 0, %s) ON CONFLICT DO NOTHING".encode(),
                    [self._kind, EMPTY_ROOT],
                )

    def _do(self, statement: str, params: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        assert self._inside is not None
        with self._store.errors():
            return self._inside.execute(statement.encode(), params, binary=True)

    def require_kind(self) -> bool:
        found = self._do(f"SELECT kind FROM {self._table('cursor')}").fetchone()
        if found == (self._kind,):
            return False
        self.start_anew()
        return True

    def start_anew(self) -> None:
        for table in ("people", "judged"):
            self._do(f"DELETE FROM {self._table(table)}")
        self._do(f"UPDATE {self._table('cursor')} SET kind=%s, next=0, root=%s", [self._kind, EMPTY_ROOT])

    def cursor_inside(self) -> tuple[int, bytes]:
        found = self._do(f"SELECT next, root FROM {self._table('cursor')}").fetchone()
        assert found is not None
        return found[0], found[1]

    def person_inside(self, person: str) -> Columns | None:
        return self._do(f"SELECT {PERSON} FROM {self._table('people')} WHERE person=%s", [person]).fetchone()

    def save_page(self, rows: Sequence[Columns], following: int, root: bytes) -> None:
        self._save("people", PERSON, rows)
        self._do(f"UPDATE {self._table('cursor')} SET next=%s, root=%s", [following, root])

    def save_judged(self, rows: Sequence[Columns]) -> None:
        self._save("judged", JUDGED, list({row[0]: row for row in rows}.values()))  # the last one of a person counts

    def _save(self, table: str, columns: str, rows: Sequence[Columns]) -> None:
        """Rows in place of older ones, each column as an array. Requires that no person comes twice."""
        if not rows:
            return
        arrays = ", ".join(f"%b::{kind}[]" for _, kind in types_of(_TABLES[table]))
        names = columns.split(", ")[1:]
        self._do(
            f"INSERT INTO {self._table(table)} ({columns}) SELECT * FROM unnest({arrays}) "
            f"ON CONFLICT (person) DO UPDATE SET {', '.join(f'{name}=excluded.{name}' for name in names)}",
            [list(column) for column in zip(*rows, strict=True)],
        )

    # -- another one beside it -----------------------------------------------------------------------------------------

    def beside(self) -> PostgresProjections:
        self.remove_beside()
        return PostgresProjections(self._store, self._kind, FRESH)

    def take_over(self) -> None:
        for table, columns in (("people", PERSON), ("judged", JUDGED), ("cursor", "one, kind, next, root")):
            self._do(f"DELETE FROM {self._table(table)}")
            other = f'"{self._store.schema}".{FRESH}{table}'
            self._do(f"INSERT INTO {self._table(table)} ({columns}) SELECT {columns} FROM {other}")

    def remove_beside(self) -> None:
        with self._store.lent() as connection:
            for table in _TABLES:
                connection.execute(f'DROP TABLE IF EXISTS "{self._store.schema}".{FRESH}{table}'.encode())
