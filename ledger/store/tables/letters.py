"""Dead letters: events that could not be parsed or validated, sealed; which of them say what; which are a person's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, parts, rows_in


def sealed(c: Transaction, letter: int) -> bytes | None:
    """The sealed bytes of a letter, None where there is none."""
    c.execute("SELECT sealed FROM dead_letters WHERE id=?", [letter])
    row = c.fetchone()
    return row[0] if row is not None else None


def page(c: Transaction, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed) of letters after one, in order."""
    c.execute("SELECT id, sealed FROM dead_letters WHERE id>? ORDER BY id LIMIT ?", [after, limit])
    return c.fetchall()


# -- what letters say, whose they are, how they come and go ------------------------------------------------------------


def add(c: Transaction, columns: Sequence[Any]) -> int | None:
    """Keep a letter and return its id, None where it is there already.

    `columns`: digest, when it came, origin, line, field, reason, how many bytes came, sealed bytes.
    """
    if exists(c, "SELECT 1 FROM dead_letters WHERE digest=?", [columns[0]]):
        return None  # before the INSERT, which in PostgreSQL would use up a number: numbers are the same in all stores
    c.execute(
        "INSERT INTO dead_letters (digest, received_at, origin, line, field, reason, bytes, sealed) "
        "VALUES (?,?,?,?,?,?,?,?) RETURNING id",
        columns,
    )
    letter: int = c.fetchone()[0]
    return letter


def described(c: Transaction) -> list[tuple[int, int, str, int | None, str, str, int]]:
    """(id, when it came, origin, line, field, reason, how many bytes came) of all letters, in order."""
    c.execute("SELECT id, received_at, origin, line, field, reason, bytes FROM dead_letters ORDER BY id")
    return c.fetchall()


def everything(c: Transaction) -> list[tuple[int, bytes]]:
    """(id, sealed) of all letters, in no order."""
    c.execute("SELECT id, sealed FROM dead_letters")
    return c.fetchall()


def those(c: Transaction, letters: Iterable[int]) -> list[tuple[int, bytes]]:
    """(id, sealed) of those among these letters that are there, in no order."""
    return list(rows_in(c, "SELECT id, sealed FROM dead_letters WHERE id IN ({marks})", letters))


def drop(c: Transaction, letter: int) -> list[bytes]:
    """Remove a letter and all that leads to it. Returns its sealed bytes, its digest and its words."""
    c.execute("DELETE FROM dead_letters WHERE id=? RETURNING sealed, digest", [letter])
    gone = [one for row in c.fetchall() for one in row]
    c.execute("DELETE FROM letter_words WHERE letter=? RETURNING word", [letter])
    gone += [row[0] for row in c.fetchall()]
    c.execute("DELETE FROM letter_persons WHERE letter=?", [letter])
    return gone


def note_words(c: Transaction, rows: Iterable[tuple[bytes, int]]) -> None:
    """Have letters found by words: (word, letter)."""
    c.executemany("INSERT INTO letter_words VALUES (?,?) ON CONFLICT DO NOTHING", list(rows))


def saying(c: Transaction, words: Iterable[bytes]) -> set[int]:
    """The letters with one of these words."""
    return {row[0] for row in rows_in(c, "SELECT letter FROM letter_words WHERE word IN ({marks})", words)}


def tie_addresses(c: Transaction, letter: int, tags: Iterable[bytes]) -> None:
    """Tie a letter to the deleted persons with one of these addresses."""
    for marks, some in parts(tags):
        c.execute(
            f"INSERT INTO letter_persons SELECT person, ? FROM addresses WHERE tag IN ({marks}) ON CONFLICT DO NOTHING",
            [letter, *some],
        )


def tie_words(c: Transaction, person: str, words: Iterable[bytes]) -> None:
    """Tie the letters with one of these words to a person."""
    for marks, some in parts(words):
        c.execute(
            f"INSERT INTO letter_persons SELECT ?, letter FROM letter_words WHERE word IN ({marks}) "
            "ON CONFLICT DO NOTHING",
            [person, *some],
        )


def tied_to(c: Transaction, letter: int) -> set[str]:
    """The persons that a letter is tied to."""
    c.execute("SELECT person FROM letter_persons WHERE letter=?", [letter])
    return {row[0] for row in c.fetchall()}


def of_persons(c: Transaction, persons: Iterable[str]) -> set[int]:
    """The letters that are tied to one of these persons."""
    return {row[0] for row in rows_in(c, "SELECT letter FROM letter_persons WHERE person IN ({marks})", persons)}


def note_past(c: Transaction, rows: Iterable[tuple[str, bytes]]) -> None:
    """Remember of letters that are gone whose they were: (person, handle)."""
    c.executemany("INSERT INTO past_letters VALUES (?,?) ON CONFLICT DO NOTHING", list(rows))


def past_of(c: Transaction, persons: Iterable[str]) -> set[bytes]:
    """The handles of letters of these persons that are gone."""
    return {row[0] for row in rows_in(c, "SELECT handle FROM past_letters WHERE person IN ({marks})", persons)}


def drop_past(c: Transaction, person: str) -> None:
    """Forget which letters that are gone were a person's."""
    c.execute("DELETE FROM past_letters WHERE person=?", [person])


# -- looked at whole ---------------------------------------------------------------------------------------------------


def ids(c: Transaction) -> list[int]:
    """The ids of all letters, in order."""
    c.execute("SELECT id FROM dead_letters ORDER BY id")
    return [row[0] for row in c.fetchall()]


def words(c: Transaction, letter: int) -> set[bytes]:
    """The words that a letter is found by."""
    c.execute("SELECT word FROM letter_words WHERE letter=?", [letter])
    return {row[0] for row in c.fetchall()}
