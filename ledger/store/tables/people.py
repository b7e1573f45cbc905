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


def add_secrets(c: Transaction, rows: Iterable[tuple[int, bytes]]) -> None:
    """Store what is sealed with new entries: (position, sealed)."""
    c.executemany("INSERT INTO secrets VALUES (?,?)", rows)


def wrapped_key(c: Transaction, person: str) -> bytes | None:
    """The wrapped data key of a person, None where there is none."""
    c.execute("SELECT wrapped FROM people WHERE person=?", [person])
    row = c.fetchone()
    return row[0] if row is not None else None


def of_aliases(c: Transaction, aliases: Iterable[bytes]) -> Iterator[tuple[bytes, str, bytes | None]]:
    """(alias, person, the tag that binds them) of those aliases that are known, in no order."""
    return rows_in(c, "SELECT alias, person, bound FROM aliases WHERE alias IN ({marks})", aliases)


def sealed_names(c: Transaction, person: str) -> list[bytes]:
    """The names that lead to a person as they are sealed, in no order; without those that nobody can read any more."""
    c.execute("SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL", [person])
    return [row[0] for row in c.fetchall()]


def secret(c: Transaction, position: int) -> bytes | None:
    """What is sealed with an entry, None for nothing."""
    c.execute("SELECT sealed FROM secrets WHERE position=?", [position])
    row = c.fetchone()
    return row[0] if row is not None else None


def drop_secrets(c: Transaction, positions: Iterable[int]) -> None:
    """Remove what is sealed with entries."""
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


# -- looked at whole


def links(c: Transaction) -> list[tuple[str, str]]:
    """(one, other) of all identifiers that were ever joined directly, each pair both ways, in no order."""
    c.execute("SELECT one, other FROM links")
    return c.fetchall()


def aged(c: Transaction) -> list[str]:
    """The persons whose age was ever told, in no order."""
    c.execute("SELECT person FROM aged")
    return [row[0] for row in c.fetchall()]


def deleted(c: Transaction) -> list[tuple[str, int]]:
    """(person, until when in force their fields are deleted), in no order."""
    c.execute("SELECT person, until FROM deleted")
    return c.fetchall()


def all_with_names(c: Transaction) -> set[str]:
    """The persons that a name leads to."""
    c.execute("SELECT DISTINCT person FROM aliases")
    return {row[0] for row in c.fetchall()}


def with_names_and(c: Transaction, type_name: str) -> list[str]:
    """The persons that a name leads to and who have an entry of a type, in no order."""
    c.execute(
        "SELECT DISTINCT stream FROM entries WHERE type=? AND stream IN (SELECT person FROM aliases)", [type_name]
    )
    return [row[0] for row in c.fetchall()]


def names(c: Transaction) -> list[tuple[bytes, str, bytes | None, bytes | None, bytes | None]]:
    """(alias, person, the tag that binds them, sealed, the word that letters are found by) of all names, by alias."""
    c.execute("SELECT alias, person, bound, sealed, word FROM aliases ORDER BY alias")
    return c.fetchall()


def count_keys(c: Transaction) -> int:
    """How many persons have a key."""
    c.execute("SELECT count(*) FROM people")
    return int(c.fetchone()[0])


def entries_with_secrets(c: Transaction) -> list[tuple[int, bytes]]:
    """(position, state) of the entries with which something is sealed, in order."""
    c.execute("SELECT s.position, e.state FROM secrets s JOIN entries e ON e.position = s.position ORDER BY s.position")
    return c.fetchall()


def places_of_secrets(c: Transaction) -> list[tuple[int, str | None, int | None]]:
    """(position, stream, version) of the entries with which something is sealed, in order; None where there is none."""
    c.execute(
        "SELECT s.position, e.stream, e.version FROM secrets s LEFT JOIN entries e ON e.position = s.position "
        "ORDER BY s.position"
    )
    return c.fetchall()


def first_secret(c: Transaction, person: str) -> int | None:
    """The position of the first entry about a person with which something is sealed, None where there is none."""
    c.execute(
        "SELECT min(s.position) FROM secrets s JOIN entries e ON e.position = s.position WHERE e.stream=?", [person]
    )
    first: int | None = c.fetchone()[0]
    return first
