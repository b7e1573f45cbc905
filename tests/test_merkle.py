"""The Merkle tree against a slow twin transcribed from RFC 6962, and against published vectors."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_ledger.ledger.log import merkle
from consent_ledger.ledger.log.merkle import (
    Frontier,
    consistency_proof,
    entries_path,
    inclusion_proof,
    root_at,
    tile_path,
)
from consent_ledger.ledger.log.verifier import (
    EMPTY_ROOT,
    ProofError,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "merkle"
ALL_SIZES = 300
SMALL_SIZES = 90


# The slow twin. Section 2.1 and below, in the RFC's own words and letters; D[n] is DATA[start:stop].


def DATA(i):  # noqa: N802  the RFC's letter is D
    return i.to_bytes(4, "big")


def largest_power_of_two_smaller_than(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def MTH(start, stop):  # noqa: N802
    n = stop - start
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + DATA(start)).digest()
    k = largest_power_of_two_smaller_than(n)
    return hashlib.sha256(b"\x01" + MTH(start, start + k) + MTH(start + k, stop)).digest()


def PATH(m, start, stop):  # noqa: N802
    n = stop - start
    if n == 1:
        return []
    k = largest_power_of_two_smaller_than(n)
    if m < k:
        return [*PATH(m, start, start + k), MTH(start + k, stop)]
    return [*PATH(m - k, start + k, stop), MTH(start, start + k)]


def PROOF(m, n):  # noqa: N802
    return SUBPROOF(m, 0, n, b=True)


def SUBPROOF(m, start, stop, *, b):  # noqa: N802
    n = stop - start
    if m == n:
        return [] if b else [MTH(start, stop)]
    k = largest_power_of_two_smaller_than(n)
    if m <= k:
        return [*SUBPROOF(m, start, start + k, b=b), MTH(start + k, stop)]
    return [*SUBPROOF(m - k, start + k, stop, b=False), MTH(start, start + k)]


class Store:
    """A fake store: keeps what `extend` reported, counts the hashes that are read, knows nothing beyond its size."""

    def __init__(self, size):
        self.hashes = [MTH(i, i + 1) for i in range(size)]
        self.frontier = Frontier()
        self.subtrees = {(level, index): one for level, index, one in self.frontier.extend(self.hashes)}
        self.read = 0

    def subtree(self, level, index):
        self.read += 1
        return self.subtrees[level, index]

    def leaves(self, start, stop):
        assert stop <= len(self.hashes)
        self.read += stop - start
        return self.hashes[start:stop]


@pytest.fixture(params=[1, 2, 3, 8], ids="radix {}".format)
def height(request, monkeypatch):
    """Tiles of 2, 4, 8 and 256 hashes: with the small ones, small trees have many levels."""
    monkeypatch.setattr(merkle, "TILE_HEIGHT", request.param)
    return request.param


def test_primitives_are_those_of_the_rfc():
    assert MTH(0, 0) == EMPTY_ROOT
    assert root_at(0, None, None) == EMPTY_ROOT
    assert leaf_hash(DATA(7)) == MTH(7, 8)
    assert node_hash(MTH(0, 1), MTH(1, 2)) == MTH(0, 2)


def test_root_of_the_eight_leaves_that_other_logs_test_with():
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    frontier = Frontier()
    frontier.extend([leaf_hash(bytes.fromhex(one)) for one in inputs])
    assert frontier.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_every_root_up_to_300_is_the_twins(height):
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT
    for size in range(1, ALL_SIZES + 1):
        frontier.append(MTH(size - 1, size))
        assert frontier.size == size
        assert frontier.root() == MTH(0, size)


def test_every_inclusion_proof_up_to_300_is_the_twins(height):
    store, memo = Store(ALL_SIZES), {}
    for size in range(1, ALL_SIZES + 1):
        assert root_at(size, store.subtree, store.leaves, memo=memo) == MTH(0, size)
        for index in range(size):
            proof = inclusion_proof(index, size, store.subtree, store.leaves, memo=memo)
            assert proof == PATH(index, 0, size)
            assert root_from_inclusion(MTH(index, index + 1), index, size, proof) == MTH(0, size)


def test_every_consistency_proof_up_to_300_is_the_twins(height):
    store, memo = Store(ALL_SIZES), {}
    for size2 in range(1, ALL_SIZES + 1):
        for size1 in range(1, size2 + 1):
            proof = consistency_proof(size1, size2, store.subtree, store.leaves, memo=memo)
            assert proof == PROOF(size1, size2)
            verify_consistency(size1, size2, MTH(0, size1), MTH(0, size2), proof)


def test_a_memo_changes_nothing(height):
    store = Store(SMALL_SIZES)
    for size in range(1, SMALL_SIZES + 1):
        assert root_at(size, store.subtree, store.leaves) == MTH(0, size)
        for index in range(size):
            assert inclusion_proof(index, size, store.subtree, store.leaves) == PATH(index, 0, size)
            assert consistency_proof(index + 1, size, store.subtree, store.leaves) == PROOF(index + 1, size)


@pytest.fixture(scope="module")
def large():
    return Store(2 * 65_536 + 300)


AROUND = [
    255,
    256,
    257,
    511,
    512,
    513,
    65_279,
    65_280,
    65_281,
    65_535,
    65_536,
    65_537,
    65_792,
    65_793,
    131_072,
    131_372,
]


@pytest.mark.parametrize("size", AROUND)
def test_proofs_around_the_boundaries_of_256_and_65536(large, size):
    assert root_at(size, large.subtree, large.leaves) == MTH(0, size)
    for index in {0, 1, 254, 255, 256, 65_535, 65_536, size // 2, size - 2, size - 1}:
        if index < size:
            proof = inclusion_proof(index, size, large.subtree, large.leaves)
            assert proof == PATH(index, 0, size)
            verify_inclusion(MTH(index, index + 1), index, size, proof, MTH(0, size))
    for size1 in AROUND:
        if size1 <= size:
            proof = consistency_proof(size1, size, large.subtree, large.leaves)
            assert proof == PROOF(size1, size)
            verify_consistency(size1, size, MTH(0, size1), MTH(0, size), proof)


def test_a_proof_reads_a_few_hundred_hashes_of_each_level(large):
    size, levels = len(large.hashes), 3
    for index in (0, 77_777, size - 1):
        large.read = 0
        inclusion_proof(index, size, large.subtree, large.leaves)
        assert large.read <= 510 * levels
        large.read = 0
        consistency_proof(index + 1, size, large.subtree, large.leaves)
        assert large.read <= 510 * levels
    large.read = 0
    root_at(size, large.subtree, large.leaves)
    assert large.read <= 255 * levels


def test_a_memo_spares_reading_what_is_known(large):
    memo = {}
    inclusion_proof(77_777, len(large.hashes), large.subtree, large.leaves, memo=memo)
    large.read = 0
    inclusion_proof(77_777, len(large.hashes), large.subtree, large.leaves, memo=memo)
    assert large.read == 0


def test_completed_subtrees_are_exactly_the_tiles_hashes(height):
    store, radix = Store(ALL_SIZES), 2**height
    expected = {
        (level, index): MTH(index * radix**level, (index + 1) * radix**level)
        for level in range(1, 10)
        for index in range(ALL_SIZES // radix**level)
    }
    assert store.subtrees == expected


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 3))
def test_batches_of_any_size_make_the_same_tree(batches, height):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merkle, "TILE_HEIGHT", height)
        # given a tree appended in batches, and one appended leaf by leaf
        batched, single, by_batch, one_by_one = Frontier(), Frontier(), [], []
        for count in batches:
            start = batched.size
            by_batch += batched.extend([MTH(i, i + 1) for i in range(start, start + count)])
            for i in range(start, start + count):
                one_by_one += single.append(MTH(i, i + 1))
            # then they agree in everything, after each batch
            assert (batched.size, batched.nodes(), batched.root()) == (
                single.size,
                single.nodes(),
                MTH(0, start + count),
            )
        assert len(by_batch) == len(set(by_batch))
        assert sorted(by_batch) == sorted(one_by_one)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 13, 255, 256, 257])
def test_a_frontier_comes_back_from_its_nodes_and_grows_on(size):
    frontier = Frontier()
    frontier.extend([MTH(i, i + 1) for i in range(size)])
    again = Frontier.from_nodes(size, frontier.nodes())
    assert again.root() == MTH(0, size)
    assert again.extend([MTH(i, i + 1) for i in range(size, 600)]) == frontier.extend(
        [MTH(i, i + 1) for i in range(size, 600)]
    )
    assert again.root() == MTH(0, 600)


def test_a_copy_grows_alone():
    frontier = Frontier()
    frontier.extend([MTH(i, i + 1) for i in range(5)])
    copy = frontier.copy()
    copy.extend([MTH(i, i + 1) for i in range(5, 300)])
    assert (frontier.size, frontier.root()) == (5, MTH(0, 5))
    assert (copy.size, copy.root()) == (300, MTH(0, 300))


def test_what_is_no_frontier_is_refused():
    frontier = Frontier()
    frontier.append(MTH(0, 1))
    for leaves in ([MTH(1, 2), b"short"], [b""], [MTH(1, 2) + b"x"]):
        with pytest.raises(ProofError, match="32 bytes"):
            frontier.extend(leaves)
        with pytest.raises(ProofError, match="32 bytes"):
            frontier.append(leaves[-1])
    assert (frontier.size, frontier.root()) == (1, MTH(0, 1))  # nothing of a refused batch was appended
    for size, nodes in ((3, [MTH(0, 1)]), (1, []), (0, [MTH(0, 1)]), (-1, [MTH(0, 1)])):
        with pytest.raises(ProofError, match="one hash for each bit"):
            Frontier.from_nodes(size, nodes)
    with pytest.raises(ProofError, match="32 bytes"):
        Frontier.from_nodes(1, [b"short"])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (5, 3)])
def test_no_proof_for_an_index_outside_the_tree(index, size):
    store = Store(8)
    with pytest.raises(ProofError, match="0 <= index < size"):
        inclusion_proof(index, size, store.subtree, store.leaves)
    with pytest.raises(ProofError, match="0 <= index < size"):
        root_from_inclusion(MTH(0, 1), index, size, [])


@pytest.mark.parametrize(("size1", "size2"), [(0, 0), (0, 3), (4, 3), (-1, 3)])
def test_no_consistency_proof_from_nothing_or_backwards(size1, size2):
    store = Store(8)
    with pytest.raises(ProofError, match="1 <= size1 <= size2"):
        consistency_proof(size1, size2, store.subtree, store.leaves)
    with pytest.raises(ProofError, match="1 <= size1 <= size2"):
        verify_consistency(size1, size2, EMPTY_ROOT, EMPTY_ROOT, [])


def test_a_store_that_lost_hashes_is_named():
    store = Store(8)
    with pytest.raises(ProofError, match="level 0 from 4 to 8: wants 4 hashes, the store has 3"):
        inclusion_proof(0, 8, store.subtree, lambda start, stop: store.hashes[start:stop][:3])
    with pytest.raises(ProofError, match="32 bytes"):
        root_at(8, store.subtree, lambda start, stop: [b"short"] * (stop - start))


@pytest.mark.parametrize("odd", [b"", b"short", bytes(33)])
def test_every_hash_of_a_proof_has_32_bytes_even_where_it_leads_to_the_root(odd):
    leaf = MTH(0, 1)
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(leaf, 0, 2, [odd], node_hash(leaf, odd))
    with pytest.raises(ProofError, match="32 bytes"):
        verify_inclusion(odd, 0, 2, [leaf], node_hash(odd, leaf))
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(1, 2, leaf, node_hash(leaf, odd), [odd])
    with pytest.raises(ProofError, match="32 bytes"):
        verify_consistency(1, 2, odd, node_hash(odd, leaf), [leaf])


@given(st.integers(1, 200), st.data())
def test_a_damaged_inclusion_proof_never_holds(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, root = PATH(index, 0, size), MTH(index, index + 1), MTH(0, size)
    verify_inclusion(leaf, index, size, proof, root)
    damages = [
        (leaf, [*proof, root], root),
        (leaf, [root, *proof], root),
        (bytes(32), proof, root),
        (leaf, proof, leaf * 2),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        damages += [
            (leaf, proof[:-1], root),
            (leaf, proof[1:], root),
            (leaf, [*proof[:at], flipped, *proof[at + 1 :]], root),
            (leaf, [*proof[:at], proof[at][:31], *proof[at + 1 :]], root),
        ]
    for leaf_, proof_, root_ in damages:
        with pytest.raises(ProofError):
            verify_inclusion(leaf_, index, size, proof_, root_)
    for other in range(size):
        if other != index:
            with pytest.raises(ProofError):
                verify_inclusion(leaf, other, size, proof, root)


@given(st.integers(1, 200), st.data())
def test_a_damaged_consistency_proof_never_holds(size2, data):
    size1 = data.draw(st.integers(1, size2))
    proof, root1, root2 = PROOF(size1, size2), MTH(0, size1), MTH(0, size2)
    damages = [
        (bytes(32), root2, proof),
        (root1, bytes(32), proof),
        (root1[:31], root2, proof),
        (root1, root2, [*proof, root2]),
        (root1, root2, [root1, *proof]),
    ]
    damages += [(root1, root2, proof[:at] + proof[at + 1 :]) for at in range(len(proof))]
    damages += [(root1, root2, [*proof[:at], bytes(32), *proof[at + 1 :]]) for at in range(len(proof))]
    for root1_, root2_, proof_ in damages:
        with pytest.raises(ProofError):
            verify_consistency(size1, size2, root1_, root2_, proof_)


def vectors(kind):
    found = sorted((VECTORS / kind).rglob("*.json"))
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(f"the published vectors are not at {VECTORS}"))]
    return [pytest.param(path, id=str(path.relative_to(VECTORS / kind))) for path in found]


def load(path):
    case = json.loads(path.read_text())
    return case, [base64.b64decode(one) for one in case["proof"] or []]


@pytest.mark.parametrize("path", vectors("inclusion"))
def test_published_inclusion_vectors(path):
    case, proof = load(path)
    leaf, root = base64.b64decode(case["leafHash"]), base64.b64decode(case["root"])
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)
    else:
        verify_inclusion(leaf, case["leafIdx"], case["treeSize"], proof, root)


@pytest.mark.parametrize("path", vectors("consistency"))
def test_published_consistency_vectors(path):
    case, proof = load(path)
    roots = base64.b64decode(case["root1"]), base64.b64decode(case["root2"])
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(case["size1"], case["size2"], *roots, proof)
    else:
        verify_consistency(case["size1"], case["size2"], *roots, proof)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tile_path(0, 0), "tile/0/000"),
        (tile_path(0, 1_234_067), "tile/0/x001/x234/067"),
        (tile_path(1, 1000, 255), "tile/1/x001/000.p/255"),
        (tile_path(63, 999, 1), "tile/63/999.p/1"),
        (tile_path(0, 273, 112), "tile/0/273.p/112"),
        (entries_path(0), "tile/entries/000"),
        (entries_path(1_234_067, 7), "tile/entries/x001/x234/067.p/7"),
        (entries_path(1_000_000), "tile/entries/x001/x000/000"),
    ],
)
def test_paths(path, expected):
    assert path == expected


@pytest.mark.parametrize("arguments", [(-1, 0), (64, 0), (0, -1), (0, 0, 0), (0, 0, 256)])
def test_paths_that_no_tile_has(arguments):
    with pytest.raises(ValueError, match="wants"):
        tile_path(*arguments)
    if arguments[0] == 0:
        with pytest.raises(ValueError, match="wants"):
            entries_path(*arguments[1:])
