"""The log's Merkle tree (RFC 6962): appending fast, and proving from the few hashes that a store keeps.

A store keeps the leaf hashes and, for each level L >= 1, the hash of every complete subtree of 256**L leaves. They are
the hashes in C2SP tlog-tiles' tiles: tile N of level L is the 256 subtrees from 256 * N on. Everything between two
levels is hashed anew when a proof needs it; everything at the right edge, which is not complete, too.

    level 2   |            subtree (2, 0): 65,536 leaves           | ...
    level 1   | (1, 0) 256 leaves | (1, 1) | ...          | (1, 255) |
    level 0   leaf hashes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from typing import Final

from consent_ledger.ledger.log.verifier import EMPTY_ROOT, ProofError, node_hash

HASH_BYTES: Final = 32
# Tests take a smaller height to meet many levels in a small tree.
TILE_HEIGHT = 8
MAX_LEVEL: Final = 63  # of a tile's path (C2SP tlog-tiles)
MAX_HEIGHT: Final = 64  # of a complete subtree: sizes stay below 2**63

Completed = tuple[int, int, bytes]
"""A subtree that will never change again: level (at least 1), index within the level, hash."""

ReadSubtree = Callable[[int, int], bytes]
"""(level, index) -> hash of the complete subtree of 256**level leaves from leaf index * 256**level on; level >= 1."""

ReadLeaves = Callable[[int, int], list[bytes]]
"""(start, stop) -> leaf hashes at positions start <= p < stop."""

Memo = dict[tuple[int, int], bytes]
"""(height, index) -> hash of a complete subtree of 2**height leaves. Never stale: such a subtree does not change."""


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if not set(map(len, hashes)) <= {32}:
        raise ProofError("a hash has 32 bytes, found another length")


class Frontier:
    """Right edge of a growing tree: one hash for each complete subtree that has no complete parent yet.

    A tree of 13 leaves (binary 1101) is three of them: 8, 4 and 1 leaves. Not safe for two threads at once.
    """

    __slots__ = ("_edge", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._edge = [b""] * MAX_HEIGHT  # [height] -> hash, valid where bit `height` of size is set

    @classmethod
    def from_nodes(cls, size: int, nodes: Sequence[bytes]) -> Frontier:
        """Frontier of `size` leaves from what `nodes()` gave. Raises ProofError if their number or length is wrong."""
        if not 0 <= size < 2**63 or len(nodes) != size.bit_count():
            raise ProofError(f"the edge of size {size} has one hash for each bit that is set, found {len(nodes)}")
        _require_hashes(nodes)
        one = cls()
        one._size = size
        smallest_first = iter(reversed(nodes))
        for height in range(size.bit_length()):
            if size >> height & 1:
                one._edge[height] = next(smallest_first)
        return one

    @property
    def size(self) -> int:
        return self._size

    def nodes(self) -> list[bytes]:
        """Hashes of the complete subtrees at the edge, from left (largest) to right."""
        heights = range(self._size.bit_length() - 1, -1, -1)
        return [self._edge[height] for height in heights if self._size >> height & 1]

    def copy(self) -> Frontier:
        """Take an independent frontier of the same tree, to append to before it is known whether a batch commits."""
        one = Frontier()
        one._size, one._edge = self._size, self._edge.copy()
        return one

    def root(self) -> bytes:
        """Root hash of the tree so far; that of the empty tree is SHA-256 of nothing (RFC 6962 section 2.1)."""
        nodes = self.nodes()
        if not nodes:
            return EMPTY_ROOT
        root = nodes.pop()
        while nodes:
            root = node_hash(nodes.pop(), root)
        return root

    def append(self, leaf: bytes) -> list[Completed]:
        """Append one leaf hash; returns and raises what `extend` does. 1.1 us, where `extend` of one takes 2.9."""
        _require_hashes((leaf,))
        completed: list[Completed] = []
        node, height = leaf, 0
        while self._size >> height & 1:
            node = sha256(b"\x01" + self._edge[height] + node).digest()
            height += 1
            if height % TILE_HEIGHT == 0:
                completed.append((height // TILE_HEIGHT, self._size >> height, node))
        self._edge[height] = node
        self._size += 1
        return completed

    def extend(self, leaves: Sequence[bytes]) -> list[Completed]:
        """Append leaf hashes in order; returns every subtree of 256**level leaves (level >= 1) that became complete.

        Raises ProofError, and appends nothing, if a hash is not 32 bytes long.
        """
        # Height by height, not leaf by leaf: each height is one comprehension, 0.5 us a leaf in batches of 1,000.
        _require_hashes(leaves)
        completed: list[Completed] = []
        row: Sequence[bytes] = leaves
        for height in count():
            if not row:
                break
            first = self._size >> height  # index, at this height, of row[0]
            if height % TILE_HEIGHT == 0 and height:
                level = height // TILE_HEIGHT
                completed += [(level, index, one) for index, one in enumerate(row, first)]
            if first & 1:
                row = (self._edge[height], *row)
            if len(row) & 1:
                self._edge[height] = row[-1]
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        self._size += len(leaves)
        return completed


class _Tree:
    """A tree that is read through a store's callables."""

    __slots__ = ("_leaves", "_memo", "_subtree")

    def __init__(self, subtree: ReadSubtree, leaves: ReadLeaves, memo: Memo | None) -> None:
        self._subtree = subtree
        self._leaves = leaves
        self._memo: Memo = {} if memo is None else memo

    def complete(self, height: int, index: int) -> bytes:
        """Hash of the complete subtree of 2**height leaves from leaf index * 2**height on: at most 128 hashes read."""
        known = self._memo.get((height, index))
        if known is not None:
            return known
        level, above = divmod(height, TILE_HEIGHT)
        start, stop = index << above, (index + 1) << above
        row = self._leaves(start, stop) if level == 0 else [self._subtree(level, one) for one in range(start, stop)]
        if len(row) != stop - start:
            raise ProofError(
                f"level {level} from {start} to {stop}: wants {stop - start} hashes, the store has {len(row)}"
            )
        _require_hashes(row)
        while len(row) > 1:
            pairs = iter(row)
            row = [node_hash(left, right) for left, right in zip(pairs, pairs, strict=True)]
        self._memo[height, index] = row[0]
        return row[0]

    def hash(self, start: int, stop: int) -> bytes:
        """MTH(D[start:stop]) of RFC 6962 section 2.1. Requires start to be a multiple of the next power of two."""
        width = stop - start
        height = width.bit_length() - 1
        if width == 1 << height:
            return self.complete(height, start >> height)
        middle = start + (1 << height)
        return node_hash(self.hash(start, middle), self.hash(middle, stop))


def root_at(size: int, subtree: ReadSubtree, leaves: ReadLeaves, *, memo: Memo | None = None) -> bytes:
    """Root of the first `size` leaves (MTH of RFC 6962 section 2.1). Reads at most 255 hashes a level.

    Requires 0 <= size, and that many leaves in the store.
    """
    return _Tree(subtree, leaves, memo).hash(0, size) if size else EMPTY_ROOT


def inclusion_proof(
    index: int, size: int, subtree: ReadSubtree, leaves: ReadLeaves, *, memo: Memo | None = None
) -> list[bytes]:
    """Hashes from the sibling of the leaf at `index` up to a child of the root of `size` (RFC 6962 section 2.1.1).

    Reads at most 510 hashes a level. `memo`, kept over many proofs and dropped when it has grown too large, spares the
    reading and hashing that they share. Raises ProofError for an index outside the tree and for a store that lacks
    hashes. Requires 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"wants 0 <= index < size, found index {index} and size {size}")
    tree = _Tree(subtree, leaves, memo)
    proof: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _largest_power_below(stop - start)
        if index < middle:
            proof.append(tree.hash(middle, stop))
            stop = middle
        else:
            proof.append(tree.hash(start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(
    size1: int, size2: int, subtree: ReadSubtree, leaves: ReadLeaves, *, memo: Memo | None = None
) -> list[bytes]:
    """Hashes that show the tree of `size1` leaves to be the beginning of that of `size2` (RFC 6962 section 2.1.2).

    Reads at most 510 hashes a level. Raises ProofError for other sizes, 0 included since such a proof says nothing, and
    for a store that lacks hashes. Requires 1 <= size1 <= size2.
    """
    if not 1 <= size1 <= size2:
        raise ProofError(f"wants 1 <= size1 <= size2, found {size1} and {size2}")
    tree = _Tree(subtree, leaves, memo)
    proof: list[bytes] = []
    start, stop = 0, size2
    while stop != size1:  # SUBPROOF: narrow [start, stop) until it ends where the smaller tree ends
        middle = start + _largest_power_below(stop - start)
        if size1 <= middle:
            proof.append(tree.hash(middle, stop))
            stop = middle
        else:
            proof.append(tree.hash(start, middle))
            start = middle
    if start:  # otherwise what remains is the smaller tree itself, whose root the verifier has
        proof.append(tree.hash(start, stop))
    return proof[::-1]


def _largest_power_below(width: int) -> int:
    """Largest power of two smaller than `width`: k in RFC 6962. Requires width >= 2."""
    return 1 << (width - 1).bit_length() - 1


def tile_path(level: int, n: int, width: int | None = None) -> str:
    """Path of a tile of hashes: `tile/0/x001/x234/067`, with a width `tile/0/x001/x234/067.p/112` (C2SP tlog-tiles).

    Raises ValueError for a level above 63 or a width that no partial tile has. Requires 0 <= level, 0 <= n and a width
    (in hashes; None for a full tile) of 1 to 255.
    """
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"wants a level of 0 to {MAX_LEVEL}, found {level}")
    return f"tile/{level}/{_number_path(n, width)}"


def entries_path(n: int, width: int | None = None) -> str:
    """Path of a bundle of entries: `tile/entries/000`, `tile/entries/x001/067.p/12` (C2SP tlog-tiles).

    Raises ValueError as `tile_path` does. Requires 0 <= n and a width (in entries; None for a full bundle) of 1 to 255.
    """
    return f"tile/entries/{_number_path(n, width)}"


def _number_path(n: int, width: int | None) -> str:
    if n < 0 or (width is not None and not 1 <= width <= 255):
        raise ValueError(f"wants 0 <= n and a width of 1 to 255 or none, found {n} and {width}")
    groups = f"{n:,}".split(",")  # thousands, from the left
    path = "/".join([*(f"x{group:0>3}" for group in groups[:-1]), f"{groups[-1]:0>3}"])
    return path if width is None else f"{path}.p/{width}"
