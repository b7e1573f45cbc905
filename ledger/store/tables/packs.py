"""Packs by their digest, who is registered with which, recipients, texts that were shown."""

from __future__ import annotations

from consent_ledger.ledger.store.contract import Transaction


def body(c: Transaction, sha256: str) -> bytes | None:
    """The bytes of a pack, None where it is not stored."""
    c.execute("SELECT body FROM packs WHERE sha256=?", [sha256])
    row = c.fetchone()
    return row[0] if row is not None else None


def registered(c: Transaction) -> list[tuple[str, str, bytes | None]]:
    """(controller, digest of its pack, the tag that binds them)."""
    c.execute("SELECT controller, pack_sha256, bound FROM controllers")
    return c.fetchall()


# -- what intake writes


def add_recipient(c: Transaction, controller: str, recipient: str) -> None:
    """Store a recipient of a controller that was not known before."""
    c.execute("INSERT INTO recipients VALUES (?,?)", [controller, recipient])
