"""Refused events by key, and whom they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, rows_in

# -- what intake asks and writes


def there_are(c: Transaction) -> bool:
    """Whether any event was refused."""
    return exists(c, "SELECT 1 FROM refused")


def of_keys(c: Transaction, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, digest of the content, position of the entry that says it) of refusals of these keys, in no order."""
    return rows_in(c, "SELECT key, digest, position FROM refused WHERE key IN ({marks})", keys)


def add(c: Transaction, key: bytes, digest: bytes, alias: bytes | None, position: int) -> None:
    """Store a refusal. `alias`: of the name that the event is about, None where it is about nobody."""
    c.execute("INSERT INTO refused VALUES (?,?,?,?)", [key, digest, alias, position])


def add_names(c: Transaction, aliases: Iterable[bytes], position: int) -> None:
    """Store whom else a refused event names."""
    c.executemany("INSERT INTO refused_names VALUES (?,?)", [(alias, position) for alias in aliases])
