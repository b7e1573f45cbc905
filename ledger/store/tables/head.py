"""The log's newest signed state, and the hashes that roots and proofs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consent_ledger.ledger.errors import CorruptEntry, StoreError
from consent_ledger.ledger.log.merkle import HASH_BYTES, ReadLeaves, ReadSubtree
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.times import EARLIEST, LATEST


@dataclass(frozen=True, slots=True)
class Head:
    """The log's newest signed state."""

    size: int
    root: bytes
    recorded_at: int  # of the last entry, microseconds; never decreases
    checkpoint: str
    edge: bytes  # hashes of the frontier, largest subtree first


def read_head(c: Transaction) -> Head:
    """The head row. Raises StoreError where there is none, CorruptEntry where it is none: only damage does that."""
    c.execute("SELECT size, root, recorded_at, checkpoint, edge FROM head")
    row = c.fetchone()
    if row is None:
        raise StoreError("head: the store has lost its newest checkpoint (restore a backup)")
    head = Head(*row)
    kinds = [type(one) for one in row] == [int, bytes, int, str, bytes]
    if not kinds or head.size < 0 or len(head.root) != HASH_BYTES:
        raise CorruptEntry("head: the newest checkpoint is damaged (restore a backup)")
    if head.size and not EARLIEST <= head.recorded_at <= LATEST:
        raise CorruptEntry("head: the newest checkpoint is damaged (restore a backup)")
    return head


def marked(c: Transaction) -> tuple[bool, bool, bool]:
    """Whether any event was refused, an address of anybody deleted or erased stays, any person's fields are deleted."""
    c.execute(
        "SELECT EXISTS (SELECT 1 FROM refused), EXISTS (SELECT 1 FROM suppressed) OR EXISTS (SELECT 1 FROM addresses), "
        "EXISTS (SELECT 1 FROM deleted)"
    )
    refused, stays, deleted = c.fetchone()
    return bool(refused), bool(stays), bool(deleted)


def readers(c: Transaction) -> tuple[ReadSubtree, ReadLeaves]:
    """How roots and proofs read the store's hashes. They raise CorruptEntry for one that is not there, or is none."""

    def checked(found: list[Any], wanted: int, where: str) -> list[bytes]:
        if len(found) != wanted or not all(type(one) is bytes and len(one) == HASH_BYTES for one in found):
            raise CorruptEntry(f"{where}: a hash is missing or damaged (run verify, restore a backup)")
        return found

    def subtree(level: int, number: int) -> bytes:
        c.execute("SELECT hash FROM subtrees WHERE level=? AND number=?", [level, number])
        return checked([row[0] for row in c.fetchall()], 1, f"subtrees: level {level}, number {number}")[0]

    def leaves(start: int, stop: int) -> list[bytes]:
        c.execute("SELECT leaf FROM entries WHERE position>=? AND position<? ORDER BY position", [start, stop])
        return checked([row[0] for row in c.fetchall()], stop - start, f"entries {start} to {stop - 1}")

    return subtree, leaves


def make_head(c: Transaction, root: bytes, recorded_at: int, checkpoint: str) -> None:
    """Store the head of an empty log."""
    c.execute("INSERT INTO head VALUES (1,0,?,?,?,?)", [root, recorded_at, checkpoint, b""])


def move_head(c: Transaction, before: tuple[int, bytes], size: int, root: bytes, recorded_at: int, edge: bytes) -> bool:
    """Move the head if its (size, root) is still `before`. Returns whether it was. The checkpoint stays the old one."""
    c.execute(
        "UPDATE head SET size=?, root=?, recorded_at=?, edge=? WHERE size=? AND root=? RETURNING size",
        [size, root, recorded_at, edge, *before],
    )
    return c.fetchone() is not None


def sign_head(c: Transaction, checkpoint: str) -> None:
    """Store the signed checkpoint of the head."""
    c.execute("UPDATE head SET checkpoint=?", [checkpoint])
