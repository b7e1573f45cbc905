"""Raising the tables of a SQLite store from one format to the next, a step a function over the writing transaction.

What a step needs keys for stands in `ledger.intake.upgrade`, which says the order of the steps and what each format is.
"""

from __future__ import annotations

from collections.abc import Iterable

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.sqlite_schema import (
    ADDRESSES,
    DELETED,
    DOCUMENTS,
    LETTERS,
    MENTIONS,
    REFUSED_NAMES,
    STORE_FORMAT,
    STREAMS,
    SUPPRESSION,
)


def found(c: Transaction) -> int:
    """The format of a store."""
    c.execute("PRAGMA user_version")
    return int(c.fetchone()[0])


def raised(c: Transaction) -> None:
    """Note that a store has today's format."""
    c.execute(f"PRAGMA user_version={STORE_FORMAT}")


# -- 1 -> 2 ------------------------------------------------------------------------------------------------------------


def suppression(c: Transaction) -> None:
    """Make the tables of what outlives erasure."""
    for statement in SUPPRESSION:
        c.execute(statement)


# -- 2 -> 3 ------------------------------------------------------------------------------------------------------------


def streams(c: Transaction) -> None:
    """Make the table of the newest entry of every stream, and fill it."""
    c.execute(STREAMS)
    # NOT INDEXED: from the table itself, as an index may have lost a row
    c.execute("INSERT INTO streams SELECT stream, max(version), leaf FROM entries NOT INDEXED GROUP BY stream")


def mentions(c: Transaction) -> None:
    """Make the table of entries that name another person."""
    for statement in MENTIONS:
        c.execute(statement)


def bindable_names(c: Transaction) -> list[tuple[bytes, str, bytes | None]]:
    """Make room for what binds a name and finds letters by it. Returns (name, person, sealed) of all names."""
    c.execute("ALTER TABLE aliases ADD COLUMN bound BLOB")
    c.execute("ALTER TABLE aliases ADD COLUMN word BLOB")
    c.execute("SELECT alias, person, sealed FROM aliases")
    return c.fetchall()


def bind_names(c: Transaction, rows: Iterable[tuple[bytes, bytes | None, bytes]]) -> None:
    """Bind names: (tag, word, name)."""
    c.executemany("UPDATE aliases SET bound=?, word=? WHERE alias=?", list(rows))


def bindable_packs(c: Transaction) -> list[tuple[str, str]]:
    """Make room for what binds controllers to their packs. Returns (controller, digest of its pack) of all."""
    c.execute("ALTER TABLE controllers ADD COLUMN bound BLOB")
    c.execute("SELECT controller, pack_sha256 FROM controllers")
    return c.fetchall()


def bind_packs(c: Transaction, rows: Iterable[tuple[bytes, str]]) -> None:
    """Bind controllers to their packs: (tag, controller)."""
    c.executemany("UPDATE controllers SET bound=? WHERE controller=?", list(rows))


def refused_names(c: Transaction) -> None:
    """Make the table of whom refused events name besides their subjects."""
    c.execute(REFUSED_NAMES)


def letters(c: Transaction) -> None:
    """Make the tables of what letters say and whose they are, and move to them what stood with each letter."""
    for statement in LETTERS:
        c.execute(statement)
    c.execute(  # a name that nobody can read any more has no word to be found by
        "INSERT INTO letter_persons SELECT person, id FROM dead_letters JOIN aliases ON alias = person_key"
    )
    c.execute("ALTER TABLE dead_letters DROP COLUMN person_key")


def deleted(c: Transaction) -> None:
    """Make the table of until when fields are deleted."""
    c.execute(DELETED)


# -- 3 -> 4 ------------------------------------------------------------------------------------------------------------


def documents(c: Transaction) -> None:
    """Make the table of texts that were shown."""
    c.execute(DOCUMENTS)


def addresses(c: Transaction) -> None:
    """Make the tables of the addresses of those who are there."""
    for statement in ADDRESSES:
        c.execute(statement)


def readable_names(c: Transaction) -> list[tuple[bytes, str, bytes, bytes | None]]:
    """(name, person, sealed, word) of all names that can be read, by person: older ones first."""
    c.execute("SELECT alias, person, sealed, word FROM aliases WHERE sealed IS NOT NULL ORDER BY person")
    return c.fetchall()


def add_name(c: Transaction, alias: bytes, person: str, sealed: bytes, bound: bytes, word: bytes | None) -> None:
    """Have a name lead to a person, unless it leads to somebody already."""
    c.execute("INSERT INTO aliases VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING", [alias, person, sealed, bound, word])


def replace_recipients(c: Transaction, rows: Iterable[tuple[str, str]]) -> None:
    """Have these recipients, (controller, recipient), in place of those that there are."""
    c.execute("DELETE FROM recipients")
    c.executemany("INSERT INTO recipients VALUES (?,?)", list(rows))
