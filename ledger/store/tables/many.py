"""Statements over many values: in parts, as a database takes only so many in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Final

from consent_ledger.ledger.store.contract import Transaction

PART: Final = 1_000


def parts(values: Iterable[Any]) -> Iterator[tuple[str, list[Any]]]:
    """(`?,?,...`, as many values) for all of them in their order, at most PART at once; nothing for none."""
    some = list(values)
    for start in range(0, len(some), PART):
        part = some[start : start + PART]
        yield marks_for(part), part


def rows_in(c: Transaction, statement: str, values: Iterable[Any]) -> Iterator[Any]:
    """The rows of a statement with `{marks}` in place of many values."""
    for marks, part in parts(values):
        c.execute(statement.format(marks=marks), part)
        yield from c.fetchall()


def exists(c: Transaction, statement: str, params: Sequence[Any] = ()) -> bool:
    """Whether a statement has a row."""
    c.execute(f"{statement} LIMIT 1", params)
    return c.fetchone() is not None


# -- one statement over few values -------------------------------------------------------------------------------------


def marks_for(values: Sized) -> str:
    """`?,?,...`, as many as there are values: for a statement that takes them all at once."""
    return ",".join("?" * len(values))
