"""Persons: their wrapped keys, the names that lead to them, what is sealed, who is joined, what is deleted."""

from __future__ import annotations

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists


def has_names(c: Transaction, person: str) -> bool:
    """Whether any name leads to a person; none does after erasure."""
    return exists(c, "SELECT 1 FROM aliases WHERE person=?", [person])


def joined_with(c: Transaction, person: str) -> list[str]:
    """The identifiers that one was ever joined with directly."""
    c.execute("SELECT other FROM links WHERE one=?", [person])
    return [row[0] for row in c.fetchall()]
