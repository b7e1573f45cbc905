"""What is asked of tables, as PostgreSQL has it: many values are one array, many rows one statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import psycopg

from consent_ledger.ledger.store.postgres_schema import column_types
from consent_ledger.ledger.store.tables.people import OF_ALIASES

_INSERT: Final = re.compile(r"INSERT INTO (\w+) VALUES \((?:\?, ?)*\?\)(.*)", re.DOTALL)
_PLACES: Final = re.compile(r"(?P<no>NOT )?IN \(\?(?:,\?)*\)|(?<=AS \()(?P<rows>VALUES \(\?\)(?:,\(\?\))*)|\?")


@lru_cache(maxsize=1024)
def _translated(statement: str) -> tuple[bytes, tuple[int, ...]]:
    """(a statement of `ledger.store.tables` as psycopg takes it, how many values each place takes; 0: one as it is).

    Many values are one array: the server reads and plans one place, however many there are.
    """
    sizes: list[int] = []

    def place(match: re.Match[str]) -> str:
        sizes.append(match[0].count("?") if match[0] != "?" else 0)
        if match[0] == "?":
            return "%s"
        return "SELECT * FROM unnest(%b)" if match["rows"] else "<> ALL(%b)" if match["no"] else "= ANY(%b)"

    return _PLACES.sub(place, statement.replace("%", "%%")).encode(), tuple(sizes)


def _grouped(params: Sequence[Any], sizes: tuple[int, ...]) -> Sequence[Any]:
    """The values for the places of a translated statement."""
    if not any(sizes):
        return params
    values = iter(params)
    return [list(islice(values, size)) if size else next(values) for size in sizes]


_OF_ALIASES: Final = OF_ALIASES.partition("{")[0]


def _through_function(statement: str) -> str:
    """A statement as who may not read names puts it: they lead to persons through a function of the owner's."""
    if not statement.startswith(_OF_ALIASES):
        return statement
    marks = ",".join("?" * statement.count("?"))
    return f"SELECT a, p.person, p.bound FROM unnest(ARRAY[{marks}]::bytea[]) a, person_of(a) p"


class PostgresTransaction:
    """A `Transaction` over a connection, which may be a pipeline: what is asked for no row is not waited for.

    `only_read`: names lead to persons through a function.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, only_read: bool = False) -> None:
        self._connection = connection
        self._only_read = only_read
        self._cursor = connection.cursor(binary=True)

    def execute(self, statement: str, params: Sequence[Any] = (), /) -> PostgresTransaction:
        # another cursor for each: in a pipeline the rows of one may come after the next was sent
        self._cursor = self._connection.cursor(binary=True)
        if self._only_read:
            statement = _through_function(statement)
        if params:
            translated, sizes = _translated(statement)
            self._cursor.execute(translated, _grouped(params, sizes))
        else:
            self._cursor.execute(statement.encode())
        return self

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> PostgresTransaction:
        """Rows of an INSERT go as an array for each column, in one statement."""
        all_rows = list(rows)
        match = _INSERT.fullmatch(statement)
        if not all_rows:
            return self
        self._cursor = self._connection.cursor(binary=True)
        if match is None:
            self._cursor.executemany(_translated(statement)[0], all_rows)
            return self
        arrays = ",".join(f"%b::{kind}[]" for _, kind in column_types(match[1]))
        insert = f"INSERT INTO {match[1]} SELECT * FROM unnest({arrays}){match[2]}"
        self._cursor.execute(insert.encode(), [list(column) for column in zip(*all_rows, strict=True)])
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()


@contextmanager
def pipelined(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Statements go out without waiting for one another. What failed is raised at the end at the latest."""
    with connection.pipeline() as pipeline:
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):
                pipeline.sync()  # what came after the failure
            raise
