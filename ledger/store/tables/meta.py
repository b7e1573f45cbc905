"""What a store says of itself, and notes of what is left to do: names and bytes."""

from __future__ import annotations

from collections.abc import Iterable

from consent_ledger.ledger.store.contract import Transaction


def everything(c: Transaction) -> dict[str, bytes]:
    """All names with their values."""
    c.execute("SELECT name, value FROM meta")
    return dict(c.fetchall())


def names(c: Transaction, prefix: str) -> list[str]:
    """The names that begin so, in order. `prefix`: letters, dashes, a colon."""
    c.execute("SELECT name FROM meta WHERE name LIKE ? ORDER BY name", [prefix + "%"])
    return [row[0] for row in c.fetchall()]


def put(c: Transaction, name: str, value: bytes) -> None:
    """Store a value under a name that there was none for."""
    c.execute("INSERT INTO meta VALUES (?,?)", [name, value])


def note(c: Transaction, rows: Iterable[tuple[str, bytes]]) -> None:
    """Store values; one that is there already stays as it is."""
    c.executemany("INSERT INTO meta VALUES (?,?) ON CONFLICT DO NOTHING", list(rows))


def take(c: Transaction, prefix: str) -> list[tuple[str, bytes]]:
    """Remove the names that begin so, and return them with their values, in order."""
    c.execute("DELETE FROM meta WHERE name LIKE ? RETURNING name, value", [prefix + "%"])
    return sorted(c.fetchall())


def drop(c: Transaction, these: Iterable[str]) -> None:
    """Remove names."""
    c.executemany("DELETE FROM meta WHERE name=?", [(name,) for name in these])


def change(c: Transaction, name: str, value: bytes) -> None:
    """Store another value under a name that there is one for."""
    c.execute("UPDATE meta SET value=? WHERE name=?", [value, name])
