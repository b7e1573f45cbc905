"""All rows of one store into another, of whatever kind: page by page, so that memory does not grow with the store.

The list of tables is `ledger.store.postgres_schema`; the embedded store has the same ones, with the same columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from consent_ledger.ledger.errors import StoreError
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.postgres_schema import FORMAT, OF_SERVER, TABLES, column_types, primary_key

COPIED: Final = tuple(table for table in TABLES if table not in OF_SERVER)
PAGE_ROWS: Final = 500
# Of what can be long in every row: a document has at most 16 MiB, a pack and a letter one.
_FEW: Final = {"documents": 1, "packs": 4, "dead_letters": 16}
_TYPES: Final[dict[str, type]] = {"bigint": int, "text": str, "bytea": bytes}


def pages(c: Transaction, table: str) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a table, by its primary key. Raises StoreError where a value is not of its column's type.

    The cursor is free between pages.
    """
    columns = column_types(table)
    names, key = ", ".join(name for name, _ in columns), primary_key(table)
    places = [[name for name, _ in columns].index(name) for name in key]
    order, marks, limit = ", ".join(key), ", ".join("?" * len(key)), _FEW.get(table, PAGE_ROWS)
    first = f"SELECT {names} FROM {table} ORDER BY {order} LIMIT ?"
    c.execute(first, [limit])
    while rows := c.fetchall():
        for row in rows:
            _check(table, columns, row)
        yield rows if table != "meta" else [row for row in rows if row[0] != FORMAT]
        if len(rows) < limit:
            return
        last = [rows[-1][place] for place in places]
        c.execute(f"SELECT {names} FROM {table} WHERE ({order}) > ({marks}) ORDER BY {order} LIMIT ?", [*last, limit])


def put(c: Transaction, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Add rows to a table that has none of them, inside a writing transaction."""
    c.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(column_types(table)))})", rows)


def _check(table: str, columns: list[tuple[str, str]], row: tuple[Any, ...]) -> None:
    for (name, kind), value in zip(columns, row, strict=True):
        if value is not None and type(value) is not _TYPES[kind]:  # SQLite keeps whatever is written into a column
            raise StoreError(
                f"{table}.{name}: holds {type(value).__name__}, expected {_TYPES[kind].__name__} (run doctor; restore "
                "a backup)"
            )
