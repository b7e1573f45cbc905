"""Persons: their wrapped keys, the names that lead to them, what is sealed, who is joined, what is deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, rows_in


def has_names(c: Transaction, person: str) -> bool:
    """Whether any name leads to a person; none does after erasure."""
    return exists(c, "SELECT 1 FROM aliases WHERE person=?", [person])


def joined_with(c: Transaction, person: str) -> list[str]:
    """The identifiers that one was ever joined with directly."""
    c.execute("SELECT other FROM links WHERE one=?", [person])
    return [row[0] for row in c.fetchall()]


# -- keys, names and what is sealed


def add_keys(c: Transaction, rows: Iterable[tuple[str, bytes]]) -> None:
    """Store wrapped keys of new persons: (person, wrapped)."""
    c.executemany("INSERT INTO people VALUES (?,?)", rows)


def add_names(c: Transaction, rows: Iterable[tuple[bytes, str, bytes, bytes, bytes]]) -> None:
    """Store new names: (alias, person, sealed, the tag that binds them, the word that letters are found by)."""
    c.executemany("INSERT INTO aliases VALUES (?,?,?,?,?)", rows)


def add_sealed(c: Transaction, rows: Iterable[tuple[int, bytes]]) -> None:
    """Store sealed records of new entries: (position, sealed)."""
    c.executemany("INSERT INTO secrets VALUES (?,?)", rows)


def wrapped_key(c: Transaction, person: str) -> bytes | None:
    """The wrapped key of a person, None where there is none."""
    c.execute("SELECT wrapped FROM people WHERE person=?", [person])
    row = c.fetchone()
    return row[0] if row is not None else None


def of_aliases(c: Transaction, aliases: Iterable[bytes]) -> Iterator[tuple[bytes, str, bytes | None]]:
    """(alias, person, the tag that binds them) of those aliases that are known, in no order."""
    return rows_in(c, "SELECT alias, person, bound FROM aliases WHERE alias IN ({marks})", aliases)


def sealed_names(c: Transaction, person: str) -> list[bytes]:
    """The sealed names of a person, as far as they are kept, in no order."""
    c.execute("SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL", [person])
    return [row[0] for row in c.fetchall()]


def sealed(c: Transaction, position: int) -> bytes | None:
    """The sealed record of an entry, None where there is none."""
    c.execute("SELECT sealed FROM secrets WHERE position=?", [position])
    row = c.fetchone()
    return row[0] if row is not None else None


def drop_sealed(c: Transaction, positions: Iterable[int]) -> None:
    """Remove the sealed records of entries."""
    c.executemany("DELETE FROM secrets WHERE position=?", [(position,) for position in positions])


def drop_key(c: Transaction, person: str) -> None:
    """Remove the key of a person."""
    c.execute("DELETE FROM people WHERE person=?", [person])


def blank_names(c: Transaction, person: str) -> None:
    """Remove what is sealed of a person's names; they still lead to the person."""
    c.execute("UPDATE aliases SET sealed=NULL WHERE person=?", [person])


def drop_names(c: Transaction, person: str) -> None:
    """Remove all names of a person."""
    c.execute("DELETE FROM aliases WHERE person=?", [person])
