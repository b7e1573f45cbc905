"""Persons: their wrapped keys, the names that lead to them, what is sealed, who is joined, what is deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, marks_for, parts, rows_in

# a store whose tables a reader may not all read asks this in a way of its own
OF_ALIASES: Final = "SELECT alias, person, bound FROM aliases WHERE alias IN ({marks})"


def has_names(c: Transaction, person: str) -> bool:
    """Whether any name leads to a person; none does after erasure."""
    return exists(c, "SELECT 1 FROM aliases WHERE person=?", [person])


def joined_with(c: Transaction, person: str) -> list[str]:
    """The identifiers that one was ever joined with directly."""
    c.execute("SELECT other FROM links WHERE one=?", [person])
    return [row[0] for row in c.fetchall()]


# -- what intake asks and writes ---------------------------------------------------------------------------------------


def known(c: Transaction, person: str) -> bool:
    """Whether an identifier has entries or names. Streams about controllers have entries, too."""
    c.execute(
        "SELECT EXISTS (SELECT 1 FROM entries WHERE stream=?) OR EXISTS (SELECT 1 FROM aliases WHERE person=?)",
        [person, person],
    )
    return bool(c.fetchone()[0])


def of_known_age_or_joined(c: Transaction, persons: Iterable[str]) -> set[str]:
    """Those of these persons whose age was ever told, or who were ever joined with another."""
    found: set[str] = set()
    for marks, part in parts(persons):
        c.execute(
            f"SELECT person FROM aged WHERE person IN ({marks}) UNION ALL SELECT one FROM links WHERE one IN ({marks})",
            [*part, *part],
        )
        found.update(row[0] for row in c.fetchall())
    return found


def wrapped_keys(c: Transaction, persons: Iterable[str]) -> dict[str, bytes]:
    """The wrapped data keys of those of these persons who have one."""
    return dict(rows_in(c, "SELECT person, wrapped FROM people WHERE person IN ({marks})", persons))


def note_aged(c: Transaction, persons: Iterable[str]) -> None:
    """Note the persons of whom an age was told."""
    c.executemany("INSERT INTO aged VALUES (?) ON CONFLICT DO NOTHING", [(person,) for person in persons])


def join(c: Transaction, one: str, other: str) -> None:
    """Note that two persons were joined, for both. It is never taken back."""
    c.executemany("INSERT INTO links VALUES (?,?) ON CONFLICT DO NOTHING", [(one, other), (other, one)])


def any_deleted(c: Transaction) -> bool:
    """Whether the fields of any person are deleted up to some moment."""
    return exists(c, "SELECT 1 FROM deleted")


def deleted_after(c: Transaction, persons: Sequence[str], time: int) -> bool:
    """Whether the fields of one of these persons are deleted up to a moment later than that."""
    return exists(c, f"SELECT 1 FROM deleted WHERE person IN ({marks_for(persons)}) AND until>?", [*persons, time])


# -- what is sealed, what a deletion destroys --------------------------------------------------------------------------


def all_with_names(c: Transaction) -> set[str]:
    """The persons that a name leads to."""
    c.execute("SELECT DISTINCT person FROM aliases")
    return {row[0] for row in c.fetchall()}


def names_of(c: Transaction, person: str) -> list[tuple[bytes, bytes | None, bytes | None]]:
    """(name, the tag that binds it, its word) of all names that lead to a person, in no order."""
    c.execute("SELECT alias, bound, word FROM aliases WHERE person=?", [person])
    return c.fetchall()


def sealed_names(c: Transaction, person: str) -> list[bytes]:
    """The names that lead to a person as they are sealed, in no order; without those that nobody can read any more."""
    c.execute("SELECT sealed FROM aliases WHERE person=? AND sealed IS NOT NULL", [person])
    return [row[0] for row in c.fetchall()]


def wrapped_key(c: Transaction, person: str) -> bytes | None:
    """The wrapped data key of a person, None where there is none."""
    c.execute("SELECT wrapped FROM people WHERE person=?", [person])
    row = c.fetchone()
    return row[0] if row is not None else None


def secret(c: Transaction, position: int) -> bytes | None:
    """What is sealed with an entry, None for nothing."""
    c.execute("SELECT sealed FROM secrets WHERE position=?", [position])
    row = c.fetchone()
    return row[0] if row is not None else None


def secrets_of(c: Transaction, person: str) -> list[tuple[int, bytes, bytes]]:
    """(position, sealed, state) of the entries about a person with which something is sealed, by version."""
    c.execute(
        "SELECT s.position, s.sealed, e.state FROM secrets s JOIN entries e ON e.position = s.position "
        "WHERE e.stream=? ORDER BY e.version",
        [person],
    )
    return c.fetchall()


def with_secrets(c: Transaction, person: str) -> list[tuple[int, int]]:
    """(position, version) of the entries about a person with which something is sealed, by version."""
    c.execute(
        "SELECT s.position, e.version FROM secrets s JOIN entries e ON e.position = s.position "
        "WHERE e.stream=? ORDER BY e.version",
        [person],
    )
    return c.fetchall()


def drop_secrets(c: Transaction, positions: Iterable[int]) -> None:
    """Remove what is sealed with entries."""
    c.executemany("DELETE FROM secrets WHERE position=?", [(position,) for position in positions])


def note_deleted(c: Transaction, persons: Iterable[str], until: int) -> None:
    """Note until when, in force, the fields of persons are deleted, whatever was noted before."""
    c.executemany(
        "INSERT INTO deleted VALUES (?,?) ON CONFLICT (person) DO UPDATE SET until=excluded.until",
        [(person, until) for person in persons],
    )


def drop_deleted(c: Transaction, persons: Iterable[str]) -> None:
    """Forget until when the fields of persons are deleted."""
    c.executemany("DELETE FROM deleted WHERE person=?", [(person,) for person in persons])


# -- keys, names and what is sealed ------------------------------------------------------------------------------------


def add_keys(c: Transaction, rows: Iterable[tuple[str, bytes]]) -> None:
    """Store wrapped keys of new persons: (person, wrapped)."""
    c.executemany("INSERT INTO people VALUES (?,?)", rows)


def add_names(c: Transaction, rows: Iterable[tuple[bytes, str, bytes, bytes, bytes]]) -> None:
    """Store new names: (alias, person, sealed, the tag that binds them, the word that letters are found by)."""
    c.executemany("INSERT INTO aliases VALUES (?,?,?,?,?)", rows)


def add_secrets(c: Transaction, rows: Iterable[tuple[int, bytes]]) -> None:
    """Store what is sealed with new entries: (position, sealed)."""
    c.executemany("INSERT INTO secrets VALUES (?,?)", rows)


def of_aliases(c: Transaction, aliases: Iterable[bytes]) -> Iterator[tuple[bytes, str, bytes | None]]:
    """(alias, person, the tag that binds them) of those aliases that are known, in no order."""
    return rows_in(c, OF_ALIASES, aliases)


def drop_key(c: Transaction, person: str) -> None:
    """Remove the key of a person."""
    c.execute("DELETE FROM people WHERE person=?", [person])


def blank_names(c: Transaction, person: str) -> None:
    """Remove what is sealed of a person's names; they still lead to the person."""
    c.execute("UPDATE aliases SET sealed=NULL WHERE person=?", [person])


def drop_names(c: Transaction, person: str) -> None:
    """Remove all names of a person."""
    c.execute("DELETE FROM aliases WHERE person=?", [person])


# -- looked at whole ---------------------------------------------------------------------------------------------------


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


def count_names(c: Transaction, person: str) -> int:
    """How many names lead to a person; none after erasure."""
    c.execute("SELECT count(*) FROM aliases WHERE person=?", [person])
    found: int = c.fetchone()[0]
    return found
