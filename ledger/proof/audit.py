"""Checking a whole store against its own checkpoint, byte by byte, and naming what does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from consent_ledger.ledger.errors import CorruptEntry, NewerEntry
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.log.entry import FORMAT, decode
from consent_ledger.ledger.log.merkle import Frontier
from consent_ledger.ledger.log.verifier import Vkey, encode_base64, leaf_hash, open_checkpoint
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.store.tables.head import Head, read_head

PAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was checked."""

    origin: str
    size: int
    streams: int
    newer: int = 0  # entries of a newer program: their hashes fit, what they say was not looked at

    def __str__(self) -> str:
        newer = f", {self.newer} of a newer program" if self.newer else ""
        return f"holds: {self.size} entries{newer} in {self.streams} streams of log {self.origin}"


class StoreCorrupt(CorruptEntry):
    """The store does not hold what its checkpoint says; the message names the first place."""


def verify_store(app: LedgerApplication, vkey: Vkey, progress: Callable[[int], None] | None = None) -> StoreReport:
    """Check signature, positions, leaf hashes, every stream's versions and chain, subtrees and root.

    An entry of a newer program holds where its hash does. Raises StoreCorrupt naming the first that does not hold.
    """
    newer = 0
    frontier = Frontier()
    tips: dict[str, tuple[int, bytes]] = {}
    completed: list[tuple[int, int, bytes]] = []
    with app.reading() as c:
        head = read_head(c)
        _check_signature(head, vkey)
        expected = 0
        while True:
            rows = entries.whole_page(c, expected, PAGE)
            if not rows:
                break
            leaves = []
            for row in rows:
                leaf, known = _check_row(row, expected, tips)
                leaves.append(leaf)
                newer += not known
                expected += 1
            completed += frontier.extend(leaves)
            if progress:
                progress(expected)
        stored = entries.subtrees(c)
    _check_tree(head, frontier, sorted(completed), stored, expected)
    return StoreReport(app.origin, expected, len(tips), newer)


def _check_signature(head: Head, vkey: Vkey) -> None:
    try:
        checkpoint = open_checkpoint(head.checkpoint, vkey)
    except ValueError as error:
        raise StoreCorrupt(f"checkpoint: {error}") from None
    if (checkpoint.size, checkpoint.root) != (head.size, head.root):
        raise StoreCorrupt(f"checkpoint: says size {checkpoint.size}, the store says {head.size}, or another root")


def _check_row(
    row: tuple[int, str, int, str, bytes, bytes], expected: int, tips: dict[str, tuple[int, bytes]]
) -> tuple[bytes, bool]:
    """(the entry's leaf hash, whether this program knows its type)."""
    position, stream, version, type_name, leaf, state = row
    if position != expected:
        raise StoreCorrupt(f"entry {expected}: is missing, the next one found is {position}")
    if type(state) is not bytes:  # SQLite keeps whatever is written into a column
        raise StoreCorrupt(f"entry {position}: is no bytes (restore a backup)")
    computed = leaf_hash(state)
    if computed != leaf:
        raise StoreCorrupt(f"entry {position}: its bytes are not those that were appended (leaf hash differs)")
    last, tip = tips.get(stream, (0, b""))
    known = True
    try:
        entry = decode(position, state)
        says: tuple[Any, ...] = (entry.stream, entry.version, entry.type, entry.prev)
    except NewerEntry:
        known, says = False, _says(state)
    except CorruptEntry as error:
        raise StoreCorrupt(f"entry {position}: {error}") from None
    if says and says[:3] != (stream, version, type_name):
        raise StoreCorrupt(f"entry {position}: stands under another stream, version or type than it says itself")
    if version != last + 1:
        raise StoreCorrupt(f"entry {position}: version {version} of its stream follows version {last}")
    if says and says[3] != (encode_base64(tip) if last else None):
        raise StoreCorrupt(f"entry {position}: does not follow the entry before it in its stream")
    tips[stream] = (version, computed)
    return computed, known


def _says(state: bytes) -> tuple[Any, ...]:
    """(stream, version, type, prev) by an entry of a newer program; nothing where its format is another one."""
    fields = orjson.loads(state)
    if fields["v"] != FORMAT:
        return ()
    return fields.get("person", fields.get("stream")), fields.get("version"), fields["type"], fields.get("prev")


def _check_tree(
    head: Head,
    frontier: Frontier,
    completed: list[tuple[int, int, bytes]],
    stored: list[tuple[int, int, bytes]],
    size: int,
) -> None:
    if size != head.size:
        raise StoreCorrupt(f"entry {size}: is missing, the checkpoint covers {head.size} entries")
    if frontier.root() != head.root:
        raise StoreCorrupt("the entries do not have the checkpoint's root: some were replaced or swapped")
    if b"".join(frontier.nodes()) != head.edge:
        raise StoreCorrupt("the head's edge is not that of its entries: nothing could be appended to it")
    for (level, number, digest), found in zip(completed, stored, strict=False):
        if (level, number, digest) != found:
            raise StoreCorrupt(f"subtree {level}/{number}: stored hash differs")
    if len(completed) != len(stored):
        raise StoreCorrupt(f"subtrees: {len(stored)} are stored, the tree has {len(completed)}")
