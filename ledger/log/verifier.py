r"""Checks evidence offline: needs this file, Python 3.11 and `cryptography`, nothing else and no network.

    python verify.py evidence.zip --key example.com/ledger+1f2e3d4c+ASgw... [--witness VKEY ...] [--json]

The key must not come from whoever sent the zip. The rest of the ledger takes its hashing, its proofs and its formats
from here, so that what a regulator runs and what the ledger runs are the same lines.

An evidence zip, version 2, holds exactly these files in this order; any other key, file, byte or order is refused:

    manifest.json            {"format": "consent-ledger/evidence/v2", "origin": "example.com/ledger", "size": 812,
                              "controller": "acme", "person": "<32 hex>",
                              "streams": [{"person": "<32 hex>", "positions": [5, 9]}],
                              "withheld": [{"position": 9, "leaf": "<base64>"}],
                              "elsewhere": [{"person": "<32 hex>", "entries": 3}],
                              "context": {"positions": [0, 2], "left_out": [[2, 4]]},
                              "fields": [{"position": 5, "name": "email", "value": "a@b.c", "salt": "<base64>"}],
                              "documents": [{"sha256": "<64 hex>", "media_type": "text/plain", "bytes": 812}]}
    checkpoint               the signed tree head
    entries/0.ndjson         exact stored bytes of the entries shown among the first 1,024 positions listed, a line each
    proofs/0.tlog-proofs     the inclusion proofs of all of those positions, one after the other, each a tlog-proof that
                             ends in the same checkpoint, byte for byte
    entries/1.ndjson ...     the same for the next 1,024, and so on: all positions together, in the log's order
    documents/<64 hex>       exact bytes of a pack, or of a text that a person was shown, that a shown entry names

`streams` has the person first, then the names joined with it. An entry that must stay secret for now is withheld: its
line is missing and its leaf hash given. `elsewhere` counts the entries of names that a shown entry joins and that are
not here. `context` is the stream about the controller; `left_out` are versions of it that are not here, [first, last]:
refusals, where they are a thousand or more, but for the last.

It proves that these entries stand in the log at these positions, are versions 1 to k of each person without a gap, that
the persons are joined by entries shown, and that opened fields and documents are what was committed. A withheld entry
is bound to the person by the entry after it, which names its hash; where none is shown after it, it only stands in the
log. It cannot prove that no version follows k: map epochs do. Evidence of version 1 is checked as well.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import itertools
import json
import os
import re
import struct
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # RFC 6962 section 2.1
ED25519: Final = 1  # signature types of C2SP signed-note
COSIGNATURE: Final = 4
FORMAT: Final = "consent-ledger/evidence/v2"
FORMAT_1: Final = "consent-ledger/evidence/v1"
LEAST_LEFT_OUT: Final = 1_000  # versions about the controller, refusals: where fewer are left out, it was not for size
BUNDLE: Final = 1024  # positions, whose entries and proofs share a file

# Bounds on what a stranger can make us read; sixteen signatures must be accepted (C2SP signed-note).
MAX_SIGNATURES: Final = 64
MAX_NOTE_BYTES: Final = 512 << 10
MAX_ENTRY_BYTES: Final = 65_535
MAX_MANIFEST_BYTES: Final = 16 << 20
MAX_DIRECTORY_BYTES: Final = 16 << 20
MAX_ZIP_BYTES: Final = 128 << 20
MAX_UNPACKED_BYTES: Final = 1 << 30  # all files together, of which one is in memory at a time
MAX_FILE_BYTES: Final = 96 << 20
MAX_DOCUMENT_BYTES: Final = 16 << 20
MEDIA_TYPE: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}(; ?charset=[A-Za-z0-9_.:-]{1,40})?"
)

_LOCAL: Final = struct.Struct("<4s5H3I2H")  # of a zip: mark, version, flags, method, time, date, crc, sizes, lengths
_ROW: Final = struct.Struct("<4s6H3I5H2I")  # of its directory: the same, and comment, disk, attributes, offset
_END: Final = struct.Struct("<4s4HIIH")  # of a zip: mark, two disks, two numbers of files, directory, offset, comment
_END64: Final = struct.Struct("<4sQ2H2I4Q4sIQI")  # the two records of ZIP64 before it

_NAME_CHAR: Final = r"[^\s+\x00-\x1f\x7f\ud800-\udfff]"
_DECIMAL: Final = "(0|[1-9][0-9]{0,18})"  # below 10^19, so that int() cannot be made to work hard
_HASH: Final = "[A-Za-z0-9+/]{43}="
_NAME: Final = re.compile(f"{_NAME_CHAR}+")
_VKEY: Final = re.compile(f"({_NAME_CHAR}+)\\+([0-9a-f]{{8}})\\+([A-Za-z0-9+/]{{44}})")
_SIGNATURE: Final = re.compile(f"\u2014 ({_NAME_CHAR}+) ([A-Za-z0-9+/]+=*)")
_CHECKPOINT: Final = re.compile(f"({_NAME_CHAR}+)\n{_DECIMAL}\n({_HASH})\n")
_TLOG_PROOF: Final = re.compile(
    f"c2sp\\.org/tlog-proof@v1\n(?:extra [A-Za-z0-9+/]+=*\n)?index {_DECIMAL}\n((?:{_HASH}\n){{0,63}})\n(.*)", re.DOTALL
)


class ProofError(ValueError):
    """A Merkle proof that does not hold or is not one."""


class NoteError(ValueError):
    """A key, a signed note or a checkpoint that is malformed or not signed as wanted."""


class EvidenceError(ValueError):
    """Evidence that does not hold; the message is one line that names the entry, field or file."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(00 || data): the hash of a leaf (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 || left || right): the hash of an inner node (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _require_proof(proof: Sequence[bytes], length: int, *others: bytes) -> None:
    if len(proof) != length:
        raise ProofError(f"wants a proof of {length} hashes, found {len(proof)}")
    if any(len(one) != 32 for one in (*proof, *others)):
        raise ProofError("a hash has 32 bytes, found another length")


def _path_lengths(index: int, size: int) -> tuple[int, int]:
    """How many hashes the path of a leaf has below, and above, the point where it joins the last leaf's path.

    Above it the path follows the ragged right edge of the tree, where every sibling is on the left.
    """
    below = (index ^ (size - 1)).bit_length()
    return below, (index >> below).bit_count()


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Root that `proof` leads to from the leaf hash at `index` in a tree of `size` leaves (RFC 6962 section 2.1.1).

    Raises ProofError for an index outside the tree, for one hash too many or too few, and for a hash not 32 bytes long.
    """
    if not 0 <= index < size:
        raise ProofError(f"wants 0 <= index < size, found index {index} and size {size}")
    below, above = _path_lengths(index, size)
    _require_proof(proof, below + above, leaf)
    root = leaf
    for height, sibling in enumerate(proof):
        on_the_left = height >= below or index >> height & 1
        root = node_hash(sibling, root) if on_the_left else node_hash(root, sibling)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` in the tree of `size` leaves with that root.

    Raises ProofError if it does not, and for what `root_from_inclusion` refuses.
    """
    if root_from_inclusion(leaf, index, size, proof) != root:
        raise ProofError(f"the proof of index {index} does not lead to the root of size {size}")


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `size1` leaves is the beginning of the tree of `size2` (RFC 6962 section 2.1.2).

    Raises ProofError if it is not, for one hash too many or too few, for a hash not 32 bytes long, and for size1 0:
    every tree begins with the empty one, so such a proof says nothing and is refused rather than believed.
    """
    if not 1 <= size1 <= size2:
        raise ProofError(f"wants 1 <= size1 <= size2, found {size1} and {size2}")
    if size1 == size2:  # nothing is hashed, so a published vector may put words in place of the two roots
        _require_proof(proof, 0)
        if root1 != root2:
            raise ProofError(f"two roots of the same size {size1}")
        return
    below, above = _path_lengths(size1 - 1, size2)
    height = (size1 & -size1).bit_length() - 1  # of the smaller tree's last complete subtree, where both paths start
    whole = size1 == 1 << height  # that subtree is the smaller tree itself: its root is known and not in the proof
    _require_proof(proof, below - height + above + (not whole), root1, root2)
    old, *path = [root1, *proof] if whole else proof
    new = old
    for step, sibling in enumerate(path, start=height):
        if step >= below or (size1 - 1) >> step & 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            new = node_hash(new, sibling)
    if old != root1:
        raise ProofError(f"the proof does not lead to the root of size {size1}")
    if new != root2:
        raise ProofError(f"the proof does not lead to the root of size {size2}")


def encode_base64(data: bytes) -> str:
    """Write standard base64 with padding (RFC 4648 section 4), as everywhere in C2SP's formats."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Bytes of exact base64: no white space, no missing padding, no stray bits. Raises ValueError otherwise."""
    data = base64.b64decode(text, validate=True)
    if encode_base64(data) != text:  # one spelling for each value, or two texts could mean the same
        raise ValueError(f"base64 with stray bits: {text[:60]!r}")
    return data


@dataclass(frozen=True, slots=True)
class Vkey:
    """A verifier key: `name`, `key_id` (4 bytes), `alg` (1 Ed25519, 4 cosignature/v1), `public` (32 bytes)."""

    name: str
    key_id: bytes
    alg: int
    public: bytes


def require_name(name: str) -> None:
    """Raise NoteError unless `name` can name a key: not empty, no space, plus or control character (signed-note)."""
    if not _NAME.fullmatch(name):
        raise NoteError(f"a key's name is not empty and holds no space, plus or newline, found {name[:100]!r}")


def key_id(name: str, alg: int, public: bytes) -> bytes:
    """First 4 bytes of SHA-256(name || 0A || alg || public key) (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([alg]) + public).digest()[:4]


def format_vkey(name: str, public: bytes, alg: int = ED25519) -> str:
    """Text of a verifier key: `example.com/ledger+1f2e3d4c+ASgw…` (C2SP signed-note). Raises NoteError for a bad name.

    Requires 32 bytes of public key and alg 1 or 4.
    """
    require_name(name)
    return f"{name}+{key_id(name, alg, public).hex()}+{encode_base64(bytes([alg]) + public)}"


def parse_vkey(text: str) -> Vkey:
    """Read a verifier key. Raises NoteError for any other text and for algorithms other than 1 and 4."""
    found = _VKEY.fullmatch(text)
    if not found:
        raise NoteError(f"wants a key as name+hex(key ID)+base64(type || 32 bytes), found {text[:200]!r}")
    material = decode_base64(found[3])
    name, alg, public = found[1], material[0], material[1:]
    if alg not in (ED25519, COSIGNATURE):
        raise NoteError(f"the key of {name!r} is of type {alg}, this program knows 1 (Ed25519) and 4 (cosignature/v1)")
    if format_vkey(name, public, alg) != text:
        raise NoteError(f"the key ID of {name!r} does not fit its key (mistyped or altered?)")
    return Vkey(name, key_id(name, alg, public), alg, public)


def cosigned_message(text: str, timestamp: int) -> bytes:
    """Bytes that a witness signs: a header, `time <POSIX seconds>`, the checkpoint's text (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _verify_signature(vkey: Vkey, signature: bytes, text: str) -> None:
    message = text.encode()
    if vkey.alg == COSIGNATURE:
        timestamp, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        message = cosigned_message(text, timestamp)
        if timestamp >= 2**63:
            raise NoteError(f"the cosignature of {vkey.name!r} has a time above 2^63 - 1")
    try:
        Ed25519PublicKey.from_public_bytes(vkey.public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise NoteError(f"the signature of {vkey.name!r} ({vkey.key_id.hex()}) does not fit the text") from None


def _split_note(note: bytes | str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Text of a note, and name, key ID and signature of each of its signature lines, none of them verified."""
    try:
        whole = note if isinstance(note, str) else note.decode()
        too_long = len(whole.encode()) > MAX_NOTE_BYTES
        # partition and split, not splitlines: that also splits at characters which a text or a name may hold
        text, empty, lines = whole.removesuffix("\n").rpartition("\n\n")
        found = [_SIGNATURE.fullmatch(line) for line in lines.split("\n", MAX_SIGNATURES)]
        signatures = [(one[1], decode_base64(one[2])) for one in found if one]
    except ValueError:  # UnicodeError is one
        raise NoteError("a note is UTF-8 text and its signatures are exact base64") from None
    if too_long or len(found) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_NOTE_BYTES} bytes and {MAX_SIGNATURES} signatures")
    if not empty or not whole.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f]", whole):
        raise NoteError("wants a text, an empty line, signature lines, and no control character but newline")
    if not all(found) or any(len(blob) < 5 for _, blob in signatures):
        raise NoteError("a signature line is em dash, space, name, space, base64(key ID || signature)")
    return text + "\n", [(name, blob[:4], blob[4:]) for name, blob in signatures]


def open_note(note: bytes | str, vkeys: Sequence[Vkey]) -> tuple[str, list[Vkey]]:
    """Text of a signed note, and the keys among `vkeys` that signed it (C2SP signed-note).

        any text that ends in a newline
        <an empty line>
        — example.com/ledger <base64(key ID || signature)>

    Signatures by keys not in `vkeys` are ignored. Raises NoteError if any signature by one of them fails, if none of
    them signed, if the note is malformed, or if it exceeds 512 KiB or 64 signatures.
    """
    text, signatures = _split_note(note)
    verified: list[Vkey] = []
    for name, signer_id, signature in signatures:
        for vkey in vkeys:
            if (vkey.name, vkey.key_id) == (name, signer_id):
                _verify_signature(vkey, signature, text)
                verified += [] if vkey in verified else [vkey]
    if not verified:
        signers = ", ".join(f"{name!r} ({signer_id.hex()})" for name, signer_id, _ in signatures[:3])
        raise NoteError(f"none of the given keys signed it, but {signers}")
    return text, verified


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's `origin`, its `size` in leaves and its `root` hash."""

    origin: str
    size: int
    root: bytes


def parse_checkpoint(text: str) -> Checkpoint:
    """Tree head from a checkpoint's text, without its signatures (C2SP tlog-checkpoint).

        example.com/ledger
        812
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    Raises NoteError for anything else, extension lines included: no monitor could audit them.
    """
    found = _CHECKPOINT.fullmatch(text)
    if not found:
        raise NoteError("a checkpoint's text is three lines: origin, size without leading zeros, root in base64")
    try:
        checkpoint = Checkpoint(found[1], int(found[2]), decode_base64(found[3]))
    except ValueError as error:
        raise NoteError(f"the root of a checkpoint is {error}") from None
    if checkpoint.size >= 2**63 or (checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT):
        raise NoteError("a checkpoint's size is below 2^63, and the root of size 0 is SHA-256 of nothing")
    return checkpoint


def open_checkpoint(note: bytes | str, vkeys: Vkey | Sequence[Vkey], witnesses: Sequence[Vkey] = ()) -> Checkpoint:
    """Tree head of a checkpoint that one of `vkeys` and every one of `witnesses` signed.

    Raises NoteError for what `open_note` and `parse_checkpoint` refuse, when no Ed25519 key whose name is the
    checkpoint's origin signed it, and when a witness has no valid cosignature on it.
    """
    known = [vkeys] if isinstance(vkeys, Vkey) else list(vkeys)
    text, verified = open_note(note, [*known, *witnesses])
    checkpoint = parse_checkpoint(text)
    if not any(key.alg == ED25519 and key.name == checkpoint.origin for key in verified):
        raise NoteError(f"its origin is {checkpoint.origin!r}, and no given key of that name signed it")
    for witness in witnesses:
        if witness.alg != COSIGNATURE or witness not in verified:
            raise NoteError(f"the witness {witness.name!r} ({witness.key_id.hex()}) did not cosign it")
    return checkpoint


def format_tlog_proof(index: int, hashes: Sequence[bytes], checkpoint_note: str) -> str:
    """Text of an inclusion proof that carries its checkpoint (C2SP tlog-proof), the leaf's sibling first.

        c2sp.org/tlog-proof@v1
        index 5
        gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
        <an empty line>
        <the signed checkpoint>

    Requires 0 <= index and hashes of 32 bytes.
    """
    return "\n".join(["c2sp.org/tlog-proof@v1", f"index {index}", *map(encode_base64, hashes), "", checkpoint_note])


def parse_tlog_proof(text: str) -> tuple[int, list[bytes], str]:
    """Index, hashes and signed checkpoint of an inclusion proof; an `extra` line, which nobody signed, is passed over.

    Neither proof nor checkpoint is verified here. Raises ProofError for any other text and for more than 63 hashes.
    """
    found = _TLOG_PROOF.fullmatch(text)
    if not found:
        raise ProofError(
            "wants c2sp.org/tlog-proof@v1, 'index N', at most 63 hashes in base64, an empty line, the checkpoint"
        )
    try:
        return int(found[1]), [decode_base64(line) for line in found[2].split()], found[3]
    except ValueError as error:
        raise ProofError(str(error)) from None


def commitment(salt: bytes, name: str, value: str) -> bytes:
    """SHA-256 of a tag and of salt, name and value, each after its length: what an entry holds of a personal field.

    Lengths are four bytes, big-endian, of UTF-8. Raises ValueError for text that has no UTF-8.
    """
    parts = (salt, name.encode(), value.encode())
    framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hashlib.sha256(b"consent-ledger/field/v1" + framed).digest()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the timeline: an entry, whose it is (a person, or the controller's stream), and its opened fields."""

    position: int
    owner: str
    version: int
    type: str | None  # None: withheld
    time: str
    recorded_at: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and holds, and what this evidence does not show.

    `entries`: of the person, up to the last that is shown; `joined`: the same of each name joined with the person.
    `withheld`: positions of which only the hash is shown; `unbound`: of those among them that no shown entry names, so
    that only whoever made the evidence says whose they are. `elsewhere`: persons that a shown entry joins and that are
    not in it, with the number of their entries by whoever made it (None: not said) and the entry that names them.
    `context`: entries shown about the controller; `left_out`: versions of that stream that are not, first and last.
    `fields`: the opened ones as (position, name). `documents`: digest, media type and bytes; `absent`: digests that a
    shown entry names and whose bytes are not in it, with that entry.
    """

    format: str
    origin: str
    size: int
    person: str
    controller: str
    entries: int
    joined: tuple[tuple[str, int], ...]
    withheld: tuple[int, ...]
    unbound: tuple[int, ...]
    elsewhere: tuple[tuple[str, int | None, int], ...]
    context: int
    left_out: tuple[tuple[int, int], ...]
    fields: tuple[tuple[int, str], ...]
    documents: tuple[tuple[str, str, int], ...]
    absent: tuple[tuple[str, int], ...]
    witnesses: tuple[str, ...]
    timeline: tuple[Line, ...]

    def __str__(self) -> str:
        return "\n".join(map(printable, [*self._says(), "timeline:", *self._told(), self._not_shown()]))

    def json(self) -> str:
        """All of it as JSON in ASCII, which steers no terminal either."""
        return json.dumps(asdict(self), indent=2).replace("\x7f", "\\u007f")

    def _says(self) -> Iterator[str]:
        opened = ", ".join(f"{name!r} of entry {position}" for position, name in self.fields[:_NAMED]) or "none"
        opened += ", ..." if self.fields[_NAMED:] else ""
        yield f"holds: {self.entries} entries of person {self.person}, versions 1 to {self.entries}"
        if self.withheld:
            yield f"withheld, only the hash is shown: {_listing(self.withheld)}"
        shown = f", versions 1 to {self.context + _count(self.left_out)}" if self.context else ""
        yield f"controller: {self.controller!r}, entries about it: {self.context}{shown}{_gaps(self.left_out)}"
        yield f"personal fields opened: {len(self.fields)} ({opened})"
        for person, entries in self.joined:
            yield f"joined with it: {entries} entries of person {person}, versions 1 to {entries}"
        for person, entries_by_word, position in self.elsewhere:
            count = "the" if entries_by_word is None else f"{entries_by_word} (which is not proved)"
            yield f"not in this file: {count} entries of person {person}, whom entry {position} joins"
        if self.format == FORMAT_1:
            yield "evidence of version 1: it covers one name and holds no documents"
        for sha256, media_type, length in self.documents:
            yield f"document {sha256}: {media_type}, {length} bytes"
        for sha256, position in self.absent:
            yield f"document {sha256}: named by entry {position}, its bytes were not stored or are not in this file"
        yield f"log: {self.origin}, size {self.size}, witnesses: {', '.join(self.witnesses) or 'none asked for'}"

    def _told(self) -> Iterator[str]:
        width, unbound = len(str(self.size)), {*self.unbound}
        for line in self.timeline:
            whose = "" if line.owner == self.person else f" ({line.owner.partition(':')[0]})"
            if line.type is None:
                proved = ", and not whose it is" if line.position in unbound else ""
                yield f"  {line.position:>{width}}  withheld, only its hash is shown{proved}{whose}"
                continue
            yield f"  {line.position:>{width}}  {line.time}  recorded {line.recorded_at}  {line.type}{whose}"
            for name, value in line.fields:
                yield f"  {'':>{width}}    {printable(name)}: {quoted(value)}"

    def _not_shown(self) -> str:
        unbound = f"whether {_listing(self.unbound)} is about this person; " if self.unbound else ""
        versions = [f"whether a version {self.entries + 1} exists"]
        versions += [f"a version {entries + 1} of person {person}" for person, entries in self.joined]
        versions.append(f"a version {self.context + _count(self.left_out) + 1} about the controller")
        others = "whether an entry under another name joins that name with this person"
        return f"not shown by this file: {unbound}{', '.join(versions)}; {others}"


_NAMED: Final = 50  # entries and fields that are named in one line; the timeline has all


def _listing(positions: Sequence[int]) -> str:
    more = ", ..." if positions[_NAMED:] else ""
    return f"{len(positions)} of these (entry {', entry '.join(map(str, positions[:_NAMED]))}{more})"


def _count(ranges: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _gaps(ranges: Sequence[tuple[int, int]]) -> str:
    if not ranges:
        return ""
    named = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)
    return f"; {_count(ranges)} of them not in this file (version {named})"


# Characters that Python calls printable and that show as nothing: fillers, variation selectors, blank braille.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)


_UNUSUAL: Final = re.compile("[^ -~]")


def _escaped(one: str) -> str:
    if "\udc80" <= one <= "\udcff":  # a byte that was no UTF-8, as Python carries it
        return f"\\x{ord(one) - 0xDC00:02x}"
    return ascii(one)[1:-1]


def printable(text: str, escape: Callable[[str], str] = _escaped) -> str:
    r"""The text with everything escaped that could steer a terminal or hide in it: `\x1b`, `\u202e`, `\n`.

    That is control characters, line ends among them, what turns the direction of writing, what has no width.
    """

    def shown(found: re.Match[str]) -> str:
        one = found[0]
        return one if one.isprintable() and not _INVISIBLE.match(one) else escape(one)

    return _UNUSUAL.sub(shown, text)


def one_line(error: object) -> str:
    """What went wrong, in one line of at most 500 characters that no terminal is steered by."""
    text = printable(str(error))
    return text if len(text) <= 500 else text[:500] + "..."


def for_stream(text: str, encoding: str | None) -> str:
    """The text as a stream of that encoding can hold it, the rest escaped."""
    known = encoding or "ascii"
    return text.encode(known, "backslashreplace").decode(known)


def quoted(text: str) -> str:
    """A stranger's text between quotes, with what is not printable escaped: it ends where the quote does."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


# -- the zip -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip: what its header and its row of the directory are made of, and nothing else is in them."""

    name: bytes
    method: int  # 0 stored, 8 deflated
    date: tuple[int, int]  # of the clock and of the calendar, as DOS had them
    crc: int
    packed: int  # bytes
    size: int
    offset: int  # of its header

    def header(self) -> bytes:
        """The bytes before its content."""
        fields = (20, 0, self.method, *self.date, self.crc, self.packed, self.size, len(self.name), 0)
        return _LOCAL.pack(b"PK\3\4", *fields) + self.name

    def row(self, system: int = 3, mode: int = 0o600) -> bytes:
        """Its bytes in the directory. `system`: which made it; `mode`: rights of the file, where that is Unix."""
        fields = (system << 8 | 20, 20, 0, self.method, *self.date, self.crc, self.packed, self.size, len(self.name))
        return _ROW.pack(b"PK\1\2", *fields, 0, 0, 0, 0, mode << 16, self.offset) + self.name

    def content(self, raw: bytes) -> bytes:
        """What it unpacks to. Raises EvidenceError unless that is what the header says."""
        start = self.offset + _LOCAL.size + len(self.name)
        packed = raw[start : start + self.packed]
        try:
            content = packed if self.method == 0 else _inflated(packed, self.size)
        except (ValueError, zlib.error):
            content = b""
        if len(content) != self.size or zlib.crc32(content) != self.crc:
            raise _unreadable(f"file {self.name.decode()!a} does not unpack to what its header says")
        return content


def end_of_zip(files: int, directory_bytes: int, offset: int) -> bytes:
    """The records after a zip's directory: with those of ZIP64 for more than 65,535 files, and only then."""
    many = files > 65_535
    end = _END.pack(b"PK\5\6", 0, 0, *[min(files, 65_535)] * 2, directory_bytes, offset, 0)
    if not many:
        return end
    record = (b"PK\6\6", 44, 45, 45, 0, 0, files, files, directory_bytes, offset)
    return _END64.pack(*record, b"PK\6\7", 0, offset + directory_bytes, 1) + end


def _inflated(packed: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, size + 1)  # without a bound it unpacks first, and is counted later
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
        raise ValueError("goes on")
    return content


def _unreadable(why: str) -> EvidenceError:
    return EvidenceError(f"the zip cannot be read: {why}")


class _Archive:
    """A zip that is exactly its files: headers and contents without a gap from the first byte, directory, end."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.members: dict[str, Member] = {}
        if len(raw) > MAX_ZIP_BYTES:
            raise _unreadable(f"over {MAX_ZIP_BYTES} bytes")
        at = self._walk()
        rows = at
        for member in self.members.values():
            rows = self._check_row(member, rows)
        directory_bytes = rows - at
        if raw[rows:] != end_of_zip(len(self.members), directory_bytes, at):
            raise _unreadable("cut short, added to, with a comment, or not the end that its files need")

    def _walk(self) -> int:
        """Take in the files. Returns where the directory begins."""
        at = unpacked = directory_bytes = 0
        while self.raw[at : at + 4] == b"PK\3\4":
            member = self._member(at)
            name = member.name.decode()
            directory_bytes += _ROW.size + len(name)
            unpacked += member.size
            if name in self.members:
                raise _unreadable(f"file {name!r} stands twice")
            if max(member.size, member.packed) > MAX_FILE_BYTES:
                raise _unreadable(f"file {name!r} unpacks to {member.size} bytes, the limit is {MAX_FILE_BYTES}")
            if unpacked > MAX_UNPACKED_BYTES:
                raise _unreadable(f"it unpacks to over {MAX_UNPACKED_BYTES} bytes")
            if directory_bytes > MAX_DIRECTORY_BYTES:
                raise _unreadable(f"its directory is over {MAX_DIRECTORY_BYTES} bytes")
            self.members[name] = member
            at += _LOCAL.size + len(name) + member.packed
        return at

    def _member(self, at: int) -> Member:
        head = self.raw[at : at + _LOCAL.size]
        if len(head) < _LOCAL.size:
            raise _unreadable("cut short")
        _, _, _, method, clock, calendar, crc, packed, size, length, _ = _LOCAL.unpack(head)
        name = self.raw[at + _LOCAL.size : at + _LOCAL.size + length]
        member = Member(name, method, (clock, calendar), crc, packed, size, at)
        if not re.fullmatch(rb"[!-~]{1,255}", name):
            raise _unreadable(f"a file's name is {name[:80].decode('latin-1')!a}")
        shown = name[:80].decode()
        if method not in (0, 8):
            raise _unreadable(f"file {shown!r} is compressed otherwise than by deflate")
        header = member.header()
        if self.raw[at : at + len(header)] != header:
            raise _unreadable(
                f"the header of file {shown!r} is not what it needs (an extra field, a data descriptor, encryption?)"
            )
        if at + len(header) + packed > len(self.raw):
            raise _unreadable(f"file {shown!r} is cut short")
        return member

    def _check_row(self, member: Member, at: int) -> int:
        """Where the next row of the directory begins. Of a row only who made it and the file's rights are its own."""
        row = self.raw[at : at + _ROW.size + len(member.name)]
        system, mode = (row[5], int.from_bytes(row[40:42], "little")) if len(row) > _ROW.size else (0, 0)
        if row[:4] == b"PK\1\2" and (mode >> 12 not in (0, 8) or system not in (0, 3)):
            raise _unreadable(f"file {member.name.decode()[:80]!r} is no plain file")
        if row != member.row(system, mode):
            raise _unreadable(
                f"the directory is not that of its files: file {member.name.decode()[:80]!r} does not follow "
                "(bytes between, a comment, an extra field, another header?)"
            )
        return at + len(row)

    def read(self, name: str) -> bytes:
        """The content of a file that is there."""
        return self.members[name].content(self.raw)


def _raw(evidence: str | os.PathLike[str] | bytes) -> bytes:
    try:
        with io.BytesIO(evidence) if isinstance(evidence, bytes) else Path(evidence).open("rb") as stream:
            return stream.read(MAX_ZIP_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(why) from None


# -- the manifest ------------------------------------------------------------------------------------------------------


def _parse_json(raw: bytes, where: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:  # two readers could each believe another one of the two
                raise ValueError(f"the key {key[:60]!r} stands twice")
            seen[key] = value
        return seen

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{where}: {error}") from None
    if not isinstance(value, dict):
        raise EvidenceError(f"{where}: wants a JSON object")
    return value


def _require_keys(row: Any, where: str, /, **types: type) -> None:
    if not isinstance(row, dict) or {key: type(value) for key, value in row.items()} != types:
        wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in types.items())
        raise EvidenceError(f"{where}: wants exactly the keys {wanted}")


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a manifest of either version says is in the zip."""

    format: str
    origin: str
    size: int
    person: str
    controller: str
    streams: list[tuple[str, list[int]]]  # the person's own first
    withheld: dict[int, str]  # position -> leaf hash, base64
    elsewhere: dict[str, int] | None  # None: version 1 does not say
    context: list[int]
    left_out: list[tuple[int, int]] | None
    fields: list[Any]
    documents: list[tuple[str, str, int]]


def _claim(archive: _Archive) -> _Claim:
    for name in ("manifest.json", "checkpoint"):
        if name not in archive.members:
            raise EvidenceError(f"file {name!r}: missing from the zip")
    for name, limit in (("manifest.json", MAX_MANIFEST_BYTES), ("checkpoint", MAX_NOTE_BYTES)):
        if archive.members[name].size > limit:
            raise EvidenceError(f"{name}: over {limit} bytes")
    manifest = _parse_json(archive.read("manifest.json"), "manifest.json")
    found = manifest.get("format")
    if found not in (FORMAT, FORMAT_1):
        raise EvidenceError(f"manifest.json: format is {found!r:.60}, this program knows {FORMAT!r} and {FORMAT_1!r}")
    claim, wanted = _claim_2(manifest) if found == FORMAT else _claim_1(manifest)
    names = list(archive.members)
    for name in sorted({*wanted} ^ {*names}):
        raise EvidenceError(f"file {name!r}: " + ("missing from the zip" if name in wanted else "not in the manifest"))
    for name, other in zip(names, wanted if found == FORMAT else names, strict=True):
        if name != other:
            raise EvidenceError(f"file {name!r}: stands where {other!r} has its place")
    return claim


def _require_person(person: Any) -> None:
    if not isinstance(person, str) or not re.fullmatch("[0-9a-f]{32}", person):
        raise EvidenceError("manifest.json: wants a person of 32 hex digits")


def _require_positions(positions: Any, size: int) -> None:
    if not isinstance(positions, list) or not all(type(one) is int and 0 <= one < size for one in positions):
        raise EvidenceError("manifest.json: positions are whole numbers from 0, below the log's size")


def _require_ascending(what: str, values: list[Any]) -> None:
    for one, other in itertools.pairwise(values):
        if not one < other:
            raise EvidenceError(f"manifest.json: {what}: {other!r:.80} follows {one!r:.80}, wanted in ascending order")


def _claim_1(manifest: dict[str, Any]) -> tuple[_Claim, list[str]]:
    """The claim of a manifest of version 1, and the files that it lists, in any order."""
    strings = dict.fromkeys(("format", "origin", "person", "controller"), str)
    lists = dict.fromkeys(("entries", "fields", "context"), list)
    _require_keys(manifest, "manifest.json", **strings, size=int, **lists)
    _require_person(manifest["person"])
    listed = ["manifest.json", "checkpoint"]
    withheld: dict[int, str] = {}
    rows = manifest["entries"] + manifest["context"]
    for number, row in enumerate(rows):
        if number < len(manifest["entries"]) and isinstance(row, dict) and "withheld" in row:
            _require_keys(row, "manifest.json: a row of an entry withheld", position=int, withheld=str, proof=str)
            withheld[row["position"]] = row["withheld"]
        else:
            _require_keys(row, "manifest.json: a row of entries or context", position=int, file=str, proof=str)
        _require_positions([row["position"]], manifest["size"])
        files = _files_1(row["position"], shown="file" in row)
        if [row[name] for name in ("file", "proof") if name in row] != files:
            raise EvidenceError(f"manifest.json: the files of entry {row['position']} are not named after its position")
        listed += files
    claim = _Claim(
        **{name: manifest[name] for name in ("format", "origin", "size", "person", "controller")},
        streams=[(manifest["person"], [row["position"] for row in manifest["entries"]])],
        withheld=withheld,
        elsewhere=None,
        context=[row["position"] for row in manifest["context"]],
        left_out=None,
        fields=manifest["fields"],
        documents=[],
    )
    return _require_once(claim), listed


def _files_1(position: int, *, shown: bool) -> list[str]:
    proof = f"proofs/{position}.tlog-proof"
    return [f"entries/{position}.json", proof] if shown else [proof]


def _claim_2(manifest: dict[str, Any]) -> tuple[_Claim, list[str]]:
    """The claim of a manifest of version 2, and the files that it lists, in order."""
    strings = dict.fromkeys(("format", "origin", "controller", "person"), str)
    lists = dict.fromkeys(("streams", "withheld", "elsewhere", "fields", "documents"), list)
    _require_keys(manifest, "manifest.json", **strings, size=int, context=dict, **lists)
    size = manifest["size"]
    for row in manifest["streams"]:
        _require_keys(row, "manifest.json: a row of streams", person=str, positions=list)
        _require_person(row["person"])
        _require_positions(row["positions"], size)
    for row in manifest["withheld"]:
        _require_keys(row, "manifest.json: a row of withheld", position=int, leaf=str)
    for row in manifest["elsewhere"]:
        _require_keys(row, "manifest.json: a row of elsewhere", person=str, entries=int)
        _require_person(row["person"])
    persons = [row["person"] for row in manifest["streams"] + manifest["elsewhere"]]
    if persons[:1] != [manifest["person"]] or not manifest["streams"] or len({*persons}) != len(persons):
        raise EvidenceError("manifest.json: streams and elsewhere name each person once, 'person' first")
    _require_keys(manifest["context"], "manifest.json: context", positions=list, left_out=list)
    _require_positions(manifest["context"]["positions"], size)
    claim = _Claim(
        **{name: manifest[name] for name in ("format", "origin", "size", "person", "controller")},
        streams=[(row["person"], row["positions"]) for row in manifest["streams"]],
        withheld={row["position"]: row["leaf"] for row in manifest["withheld"]},
        elsewhere={row["person"]: row["entries"] for row in manifest["elsewhere"]},
        context=manifest["context"]["positions"],
        left_out=_ranges(manifest["context"]["left_out"]),
        fields=manifest["fields"],
        documents=_documents(manifest["documents"]),
    )
    _require_ascending("withheld", [row["position"] for row in manifest["withheld"]])
    _require_ascending("streams after the first", [row["person"] for row in manifest["streams"]][1:])
    _require_ascending("elsewhere", [row["person"] for row in manifest["elsewhere"]])
    if not all(0 <= row["entries"] <= size for row in manifest["elsewhere"]):
        raise EvidenceError("manifest.json: elsewhere counts fewer entries than none, or more than are in the log")
    documents = [f"documents/{sha256}" for sha256, *_ in claim.documents]
    return _require_once(claim), ["manifest.json", "checkpoint", *_bundles(claim), *documents]


def _bundles(claim: _Claim) -> list[str]:
    number = -(-len(_positions(claim)) // BUNDLE)
    return [name for n in range(number) for name in (f"entries/{n}.ndjson", f"proofs/{n}.tlog-proofs")]


def _positions(claim: _Claim) -> list[int]:
    return sorted([position for _, positions in claim.streams for position in positions] + claim.context)


def _require_once(claim: _Claim) -> _Claim:
    positions = _positions(claim)
    for one, other in itertools.pairwise(positions):
        if one == other:
            raise EvidenceError(f"manifest.json: entry {one} is listed twice")
    owned = {position for _, positions in claim.streams for position in positions}
    for position in sorted(claim.withheld.keys() - owned):
        raise EvidenceError(f"manifest.json: withheld names {position}, which is no entry of the streams")
    for person, entries in claim.streams:
        if not any(position not in claim.withheld for position in entries):
            raise EvidenceError(f"manifest.json: no entry of person {person} is shown: nothing is proved of them")
    return claim


def _ranges(rows: list[Any]) -> list[tuple[int, int]]:
    """Versions left out: pairs that ascend, with something shown between."""
    last = -1
    for row in rows:
        if not isinstance(row, list) or [type(one) for one in row] != [int, int] or not last + 1 < row[0] <= row[1]:
            raise EvidenceError("manifest.json: left_out is pairs of versions, [first, last], ascending and apart")
        last = row[1]
    return [(first, last) for first, last in rows]


def _documents(rows: list[Any]) -> list[tuple[str, str, int]]:
    before = ""
    for row in rows:
        _require_keys(row, "manifest.json: a row of documents", sha256=str, media_type=str, bytes=int)
        if not re.fullmatch("[0-9a-f]{64}", row["sha256"]) or row["sha256"] <= before:
            raise EvidenceError("manifest.json: documents have a SHA-256 in 64 hex digits each, and ascend by it")
        if not MEDIA_TYPE.fullmatch(row["media_type"]) or row["bytes"] > MAX_DOCUMENT_BYTES:
            raise EvidenceError(
                f"manifest.json: document {row['sha256']}: wants a media type such as text/plain and at most "
                f"{MAX_DOCUMENT_BYTES} bytes"
            )
        before = row["sha256"]
    return [(row["sha256"], row["media_type"], row["bytes"]) for row in rows]


# -- entries -----------------------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """An entry that stands in the log: its leaf hash, and of what it says what is looked at; None where withheld."""

    leaf: bytes
    body: dict[str, Any] | None


_LOOKED_AT: Final = ("type", "person", "stream", "controller", "version", "prev", "time", "recorded_at", "role")


def _looked_at(body: dict[str, Any], *, opened: bool) -> dict[str, Any]:
    """What of an entry is looked at after its hash: of a long history not all is held in memory."""
    data = body.get("data")
    kept: dict[str, Any] = {key: body[key] for key in _LOOKED_AT if key in body}
    kept["named"] = named_documents(body)
    kept["other"] = data.get("other") if isinstance(data, dict) else None
    if opened:
        kept["personal"] = body.get("personal")
    return kept


def named_documents(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The documents that an entry names: (`pack` or `text`, SHA-256 in hex), in the order of its bytes."""
    data = body.get("data")
    if not isinstance(data, dict):
        return []
    shown = data.get("shown")
    found = [("text", data.get("text_sha256")), ("pack", data.get("pack_sha256"))]
    if isinstance(shown, dict):
        found.append(("text", shown.get("text_sha256")))
    return [(kind, sha256) for kind, sha256 in found if isinstance(sha256, str)]


def _proven(claim: _Claim, archive: _Archive, note: str, checkpoint: Checkpoint) -> dict[int, _Entry]:
    """Every entry listed, once it is known to stand there in the checkpoint's tree."""
    named = (row.get("position") for row in claim.fields if isinstance(row, dict))
    opened = {position for position in named if isinstance(position, int)}
    found = {}
    pieces = _pieces_1(claim, archive) if claim.format == FORMAT_1 else _pieces_2(claim, archive, note)
    for position, raw, proof, where in pieces:
        if raw is not None and len(raw) > MAX_ENTRY_BYTES:
            raise EvidenceError(f"entry {position}: {len(raw)} bytes, the limit is {MAX_ENTRY_BYTES}")
        try:
            leaf = decode_base64(claim.withheld[position]) if raw is None else leaf_hash(raw)
            _check_proof(position, leaf, proof, note, checkpoint)
        except ValueError as error:
            what = "its hash" if raw is None else where[0]
            raise EvidenceError(f"entry {position} ({what} with {where[1]}): {error}") from None
        body = None if raw is None else _parse_json(raw, f"entry {position}")
        found[position] = _Entry(leaf, body and _looked_at(body, opened=position in opened))
    return found


_Piece = tuple[int, bytes | None, bytes, tuple[str, str]]  # position, entry, its proof, the files that they are in


def _pieces_1(claim: _Claim, archive: _Archive) -> Iterator[_Piece]:
    for position in _positions(claim):
        proof = _files_1(position, shown=False)[0]
        shown = position not in claim.withheld
        file = _files_1(position, shown=True)[0]
        yield position, archive.read(file) if shown else None, archive.read(proof), (file, proof)


def _pieces_2(claim: _Claim, archive: _Archive, note: str) -> Iterator[_Piece]:
    positions, ending = _positions(claim), b"\n\n" + note.encode()
    for number, start in enumerate(range(0, len(positions), BUNDLE)):
        files = f"entries/{number}.ndjson", f"proofs/{number}.tlog-proofs"
        bundle = positions[start : start + BUNDLE]
        shown = sum(position not in claim.withheld for position in bundle)
        lines, proofs = archive.read(files[0]), archive.read(files[1])
        # counted first: of a file of nothing but ends a list would be many times its size
        if (found := lines.count(b"\n")) != shown or lines[-1:] not in (b"", b"\n"):
            raise EvidenceError(f"file {files[0]!r}: has {found} whole lines, the manifest shows {shown} entries")
        if proofs.count(ending) != len(bundle) or not proofs.endswith(ending):
            raise EvidenceError(f"file {files[1]!r}: is not {len(bundle)} proofs that end in the file 'checkpoint'")
        left = iter(lines.split(b"\n"))
        for position, proof in zip(bundle, proofs.split(ending), strict=False):
            yield position, None if position in claim.withheld else next(left), proof + ending, files


def _check_proof(position: int, leaf: bytes, proof: bytes, note: str, checkpoint: Checkpoint) -> None:
    text = proof.decode()
    index, hashes, own = parse_tlog_proof(text)
    if own != note:
        raise ProofError("its proof is under another checkpoint than the file 'checkpoint'")
    if index != position:
        raise ProofError(f"its proof is for position {index}")
    if format_tlog_proof(index, hashes, note) != text:
        raise ProofError("its proof has an extra line, which nobody signed")
    verify_inclusion(leaf, index, checkpoint.size, hashes, checkpoint.root)


def _check_person(
    person: str, controller: str, positions: list[int], proven: dict[int, _Entry]
) -> tuple[int, list[int], list[int]]:
    """Versions 1 to k of a person, in the order of the log, each naming the hash of the one before.

    Returns k, the positions of the withheld ones, and of those among them that no shown one names. k is the version of
    the last that is shown: that anything after it is the person's, nothing says.
    """
    last, prev, shown = -1, None, 0
    withheld: list[int] = []
    unbound: list[int] = []
    for version, position in enumerate(positions, start=1):
        leaf, body = proven[position]
        if body is None:
            withheld.append(position)
            unbound.append(position)
        else:
            _check_link(position, body, {"person": person, "controller": controller, "version": version, "prev": prev})
            if unbound and unbound[-1] == last:
                unbound.pop()
            shown = version
        if position <= last:
            raise EvidenceError(f"entry {position}: listed after entry {last}, out of the log's order")
        last, prev = position, encode_base64(leaf)
    return shown, withheld, unbound


def _check_link(position: int, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        found = body.get(key)
        if type(found) is not type(value) or found != value:  # True equals 1, and is none
            raise EvidenceError(f"entry {position}: {key} is {found!r:.80}, wanted {value!r}")


def _check_context(claim: _Claim, proven: dict[int, _Entry]) -> list[tuple[int, int]]:
    """The stream about the controller: each version is shown, or among those left out. Returns these."""
    bodies = [(position, proven[position].body or {}) for position in claim.context]
    for position, body in bodies:
        if "person" in body or body.get("stream") != f"controller:{body.get('controller')}":
            raise EvidenceError(f"entry {position}: given as context, but not about the controller")
    left_out = _missing(bodies) if claim.left_out is None else claim.left_out
    hidden, version, last, prev = deque(left_out), 0, -1, None
    for position, body in bodies:
        version, known = version + 1, True
        if hidden and hidden[0][0] == version:
            version, known = hidden.popleft()[1] + 1, False
        wanted = {"controller": claim.controller, "version": version}
        _check_link(position, body, {**wanted, "prev": prev} if known else wanted)
        if position <= last:
            raise EvidenceError(f"entry {position}: listed after entry {last}, out of the log's order")
        last, prev = position, encode_base64(proven[position].leaf)
    if hidden:
        raise EvidenceError("manifest.json: left_out names versions about the controller with none shown after them")
    if claim.left_out and _count(claim.left_out) < LEAST_LEFT_OUT:
        raise EvidenceError(
            f"manifest.json: {_count(claim.left_out)} versions about the controller are left out, version "
            f"{claim.left_out[0][0]} first: fewer than {LEAST_LEFT_OUT} have to be shown"
        )
    return left_out


def _missing(bodies: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, int]]:
    """The versions about the controller between and before those shown, which version 1 does not name."""
    before, found = 0, []
    for position, body in bodies:
        version = body.get("version")
        if type(version) is not int:
            raise EvidenceError(f"entry {position}: version is {version!r:.80}, wanted a number")
        if version > before + 1:
            found.append((before + 1, version - 1))
        before = version
    return found


# -- joined names ------------------------------------------------------------------------------------------------------


class Link(NamedTuple):
    """An entry that joins two names, or parts them."""

    time: datetime
    position: int
    one: str
    other: str
    joins: bool


def link_of(position: int, body: dict[str, Any], other: object) -> Link | None:
    """The link that an entry is, given the name that it names; None for any other entry."""
    joins = body.get("type") == "subject.linked"
    if not joins and body.get("type") != "subject.unlinked":
        return None
    person = body.get("person")
    if not isinstance(other, str) or not isinstance(person, str) or body.get("role") == "processor":
        return None
    try:
        time = datetime.fromisoformat(str(body.get("time")))
        return Link(time.astimezone(UTC), position, person, other, joins)
    except (ValueError, OverflowError):
        return Link(datetime.max.replace(tzinfo=UTC), position, person, other, joins)


def joined(person: str, links: Iterable[Link]) -> set[str]:
    """The names that are one person after these entries, by their time and equal times in the log's order."""
    beside: dict[str, set[str]] = {}
    for link in sorted(links):
        for one, other in ((link.one, link.other), (link.other, link.one)):
            names = beside.setdefault(one, set())
            if link.joins:
                names.add(other)
            else:
                names.discard(other)
    found, todo = {person}, [person]
    while todo:
        new = beside.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found


def _check_joined(claim: _Claim, proven: dict[int, _Entry]) -> list[tuple[str, int | None, int]]:
    """Every name here is joined with the person by entries shown; every name that these name is here or elsewhere.

    Returns the latter: name, how many entries it has by whoever made the evidence, the entry that names it.
    """
    links = []
    for _, positions in claim.streams:
        for position in positions:
            body = proven[position].body
            link = link_of(position, body, body["other"]) if body else None
            links += [link] if link else []
    here, one_person = [person for person, _ in claim.streams], joined(claim.person, links)
    for person in here:
        if person not in one_person:
            raise EvidenceError(f"person {person}: no entry shown joins this name with {claim.person}")
    named: dict[str, int] = {}
    for link in sorted(links, key=lambda link: link.position):
        if link.joins:
            named.setdefault(link.other, link.position)
    away = {person: position for person, position in named.items() if person not in here}
    if claim.elsewhere is None:
        return [(person, None, position) for person, position in away.items()]
    for person in sorted(away.keys() ^ claim.elsewhere.keys()):
        if person in away:
            raise EvidenceError(f"entry {away[person]}: joins person {person}, whose entries are not here nor counted")
        raise EvidenceError(f"manifest.json: elsewhere counts entries of person {person}, whom no entry shown joins")
    return [(person, claim.elsewhere[person], position) for person, position in away.items()]


# -- what was opened ---------------------------------------------------------------------------------------------------


def _check_field(row: Any, proven: dict[int, _Entry]) -> tuple[int, str]:
    """Position and name of an opened field that is what its entry commits to."""
    _require_keys(row, "manifest.json: a row of fields", position=int, name=str, value=str, salt=str)
    position, name = row["position"], row["name"]
    where = f"field {name!r:.80} of entry {position}"
    if position not in proven:
        raise EvidenceError(f"{where}: that entry is not in the manifest")
    body = proven[position].body
    if body is None:
        raise EvidenceError(f"{where}: that entry is withheld")
    try:
        opened = encode_base64(commitment(decode_base64(row["salt"]), name, row["value"]))
    except ValueError as error:
        raise EvidenceError(f"{where}: {error}") from None
    personal = body.get("personal")
    if not isinstance(personal, dict) or personal.get(name) != opened:
        raise EvidenceError(f"{where}: value and salt are not what the entry commits to")
    return position, name


def _check_documents(claim: _Claim, archive: _Archive, proven: dict[int, _Entry]) -> list[tuple[str, int]]:
    """Every document is what its name says, and named by a shown entry. Returns what is named and not here."""
    named: dict[str, int] = {}
    packs: set[str] = set()
    for position in sorted(proven):
        body = proven[position].body
        for kind, sha256 in body["named"] if body else ():
            named.setdefault(sha256, position)
            packs |= {sha256} if kind == "pack" else set()
    for sha256, _, length in claim.documents:
        content = archive.read(f"documents/{sha256}")
        if hashlib.sha256(content).hexdigest() != sha256 or len(content) != length:
            raise EvidenceError(f"file 'documents/{sha256}': its bytes are not those of its name, or another number")
        if sha256 not in named:
            raise EvidenceError(f"file 'documents/{sha256}': no entry shown names it")
    here = {sha256 for sha256, *_ in claim.documents}
    absent = [(sha256, position) for sha256, position in named.items() if sha256 not in here]
    for sha256, position in absent:
        if claim.format == FORMAT and sha256 in packs:
            raise EvidenceError(f"entry {position}: the pack {sha256!r:.80} that it names is missing from the zip")
    return absent


# -- all of it ---------------------------------------------------------------------------------------------------------


def verify_evidence(
    evidence: str | os.PathLike[str] | bytes, vkeys: Sequence[Vkey], witnesses: Sequence[Vkey] = ()
) -> Report:
    """Check an evidence zip, given as path or bytes, against log keys that did not come with it.

    Every one of `witnesses` must have cosigned. Raises EvidenceError with one line naming what does not hold.
    """
    archive = _Archive(_raw(evidence))
    claim = _claim(archive)
    try:
        note = archive.read("checkpoint").decode()
        checkpoint = open_checkpoint(note, vkeys, witnesses)
    except EvidenceError:
        raise
    except ValueError as error:
        raise EvidenceError(f"checkpoint: {error}") from None
    if (claim.origin, claim.size) != (checkpoint.origin, checkpoint.size):
        raise EvidenceError(
            f"manifest.json: origin and size are not the checkpoint's {checkpoint.origin!r}, {checkpoint.size}"
        )
    proven = _proven(claim, archive, note, checkpoint)
    withheld: list[int] = []
    unbound: list[int] = []
    versions: dict[str, int] = {}
    for person, positions in claim.streams:
        versions[person], hidden, loose = _check_person(person, claim.controller, positions, proven)
        withheld += hidden
        unbound += loose
    left_out = _check_context(claim, proven)
    elsewhere = _check_joined(claim, proven)
    fields = tuple(_check_field(row, proven) for row in claim.fields)
    if len(set(fields)) != len(fields):
        raise EvidenceError("manifest.json: a field is opened twice")
    if claim.format == FORMAT:
        _require_ascending("fields", list(fields))
    absent = _check_documents(claim, archive, proven)
    return Report(
        format=claim.format,
        origin=checkpoint.origin,
        size=checkpoint.size,
        person=claim.person,
        controller=claim.controller,
        entries=versions.pop(claim.person),
        joined=tuple(versions.items()),
        withheld=tuple(sorted(withheld)),
        unbound=tuple(sorted(unbound)),
        elsewhere=tuple(elsewhere),
        context=len(claim.context),
        left_out=tuple(left_out),
        fields=fields,
        documents=tuple(claim.documents),
        absent=tuple(absent),
        witnesses=tuple(witness.name for witness in witnesses),
        timeline=tuple(_timeline(claim, proven)),
    )


def _timeline(claim: _Claim, proven: dict[int, _Entry]) -> Iterator[Line]:
    """All entries in the order of the log."""
    opened: dict[int, list[tuple[str, str]]] = {}
    for row in claim.fields:
        opened.setdefault(row["position"], []).append((row["name"], row["value"]))
    owners = {position: (person, n) for person, those in claim.streams for n, position in enumerate(those, start=1)}
    for position in _positions(claim):
        body = proven[position].body
        if body is None:
            yield Line(position, *owners[position], None, "", "", ())
            continue
        owner, version = owners.get(position, (f"controller:{claim.controller}", body["version"]))
        said, time, recorded = (str(body.get(key, "?")) for key in ("type", "time", "recorded_at"))
        yield Line(position, owner, version, said, time, recorded, tuple(opened.get(position, ())))


def parse_key(text: str, alg: int) -> Vkey:
    """A verifier key of one type. Raises NoteError for any other, in a line that no terminal is steered by."""
    try:
        vkey = parse_vkey(text)
    except NoteError as error:
        raise NoteError(one_line(error)) from None
    if vkey.alg != alg:
        raise NoteError(f"wants a key of type {alg}, found type {vkey.alg}")
    return vkey


def _key_of_type(alg: int) -> Callable[[str], Vkey]:
    def parse(text: str) -> Vkey:
        try:
            return parse_key(text, alg)
        except NoteError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the evidence named on the command line: 0 if all holds, 1 and one line if not; exits 2 if misused."""
    parser = argparse.ArgumentParser(description="Check evidence of a consent ledger, offline.")
    parser.add_argument("evidence", help="the zip")
    parser.add_argument("--key", action="append", required=True, metavar="VKEY", type=_key_of_type(ED25519))
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", type=_key_of_type(COSIGNATURE))
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if not os.path.exists(options.evidence) or os.path.isdir(options.evidence):  # noqa: PTH110, PTH112  a name may be none
        parser.error(f"there is no such file: {printable(options.evidence)}")
    try:
        report = verify_evidence(options.evidence, options.key, options.witness)
        answer, status = report.json() if options.json else str(report), 0
    except EvidenceError as error:
        answer, status = f"does not hold: {one_line(error)}", 1
    stream = sys.stderr if status else sys.stdout
    print(for_stream(answer, stream.encoding), file=stream)
    return status


if __name__ == "__main__":
    sys.exit(main())
