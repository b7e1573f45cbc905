"""Refused events by key, and whom they name."""

from __future__ import annotations

from consent_ledger.ledger.store.contract import Transaction

# -- looked at whole


def positions(c: Transaction) -> set[int]:
    """The positions of the entries that say refusals."""
    c.execute("SELECT DISTINCT position FROM refused")
    return {row[0] for row in c.fetchall()}
