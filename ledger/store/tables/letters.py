"""Dead letters: events that could not be parsed or validated, sealed; which of them say what; which are a person's."""

from __future__ import annotations

from consent_ledger.ledger.store.contract import Transaction


def sealed(c: Transaction, letter: int) -> bytes | None:
    """The sealed bytes of a letter, None where there is none."""
    c.execute("SELECT sealed FROM dead_letters WHERE id=?", [letter])
    row = c.fetchone()
    return row[0] if row is not None else None


def page(c: Transaction, after: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, sealed) of letters after one, in order."""
    c.execute("SELECT id, sealed FROM dead_letters WHERE id>? ORDER BY id LIMIT ?", [after, limit])
    return c.fetchall()


# -- looked at whole


def ids(c: Transaction) -> list[int]:
    """The ids of all letters, in order."""
    c.execute("SELECT id FROM dead_letters ORDER BY id")
    return [row[0] for row in c.fetchall()]


def words(c: Transaction, letter: int) -> set[bytes]:
    """The words that a letter is found by."""
    c.execute("SELECT word FROM letter_words WHERE letter=?", [letter])
    return {row[0] for row in c.fetchall()}
