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
