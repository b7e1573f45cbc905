"""What the rest asks of a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol


class Transaction(Protocol):
    """One moment of a store that is read, or its one writing transaction: all of what is read is of that moment.

    SQL is spoken to it only under `ledger.store`, in the part of the language that all stores share: `?` for a value,
    `ON CONFLICT`, no more. Everybody else hands it to the functions of `ledger.store.tables`.
    """

    def execute(self, statement: str, params: Sequence[Any] = ..., /) -> Any:
        """Run a statement. Its rows are fetched before the next one."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement once for each row of values."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...
