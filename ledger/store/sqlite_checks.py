"""What SQLite itself finds wrong with a store."""

from __future__ import annotations

from consent_ledger.ledger.store.contract import Transaction


def integrity(c: Transaction, most: int) -> list[str]:
    """What is wrong with pages, cells and indexes, as SQLite says it, at most so much; nothing where all is sound."""
    c.execute(f"PRAGMA integrity_check({most})")
    return [str(row[0]) for row in c.fetchall() if row[0] != "ok"]
