r"""Checks evidence offline: needs this file, Python 3.11 and `cryptography`, nothing else and no network.

    python verify.py evidence.zip --key example.com/ledger+1f2e3d4c+ASgw... [--witness VKEY ...]

The key must not come from whoever sent the zip. The rest of the ledger takes its hashing, its proofs and its formats
from here, so that what a regulator runs and what the ledger runs are the same lines.

An evidence zip, version 1, holds exactly these files; any other key or file is refused:

    manifest.json            {"format": "consent-ledger/evidence/v1", "origin": "example.com/ledger",
                              "person": "<32 hex>", "controller": "acme", "size": 812,
                              "entries": [{"position": 5, "file": "entries/5.json", "proof": "proofs/5.tlog-proof"}],
                              "fields": [{"position": 5, "name": "email", "value": "a@b.c", "salt": "<base64>"}],
                              "context": [{"position": 0, "file": "entries/0.json", "proof": "proofs/0.tlog-proof"}]}
    checkpoint               the signed tree head
    entries/5.json           the entry's exact stored bytes
    proofs/5.tlog-proof      its inclusion proof; ends in the same checkpoint, byte for byte

An entry of the person that must stay secret for now is withheld: its row has the leaf hash in place of the file,
{"position": 5, "withheld": "<base64>", "proof": "proofs/5.tlog-proof"}, and counts as one version.

It proves that these entries stand in the log at these positions, are versions 1 to k of one person without a gap, and
that the opened fields are what was committed. A withheld entry is bound to the person by the entry after it, which
names its hash; where none is shown after it, it only stands in the log. It cannot prove that no version follows k: map
epochs do.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()  # RFC 6962 section 2.1
ED25519: Final = 1  # signature types of C2SP signed-note
COSIGNATURE: Final = 4
FORMAT: Final = "consent-ledger/evidence/v1"

# Bounds on what a stranger can make us read; sixteen signatures must be accepted (C2SP signed-note).
MAX_SIGNATURES: Final = 64
MAX_NOTE_BYTES: Final = 512 << 10
MAX_ENTRY_BYTES: Final = 65_535
MAX_MANIFEST_BYTES: Final = 16 << 20
MAX_DIRECTORY_BYTES: Final = 16 << 20
MAX_ZIP_BYTES: Final = 128 << 20
MAX_UNPACKED_BYTES: Final = 256 << 20

_END: Final = struct.Struct("<4s4HIIH")  # of a zip: mark, two disks, two numbers of files, directory, offset, comment
_END64: Final = struct.Struct("<4sQ2H2I4Q4sIQI")  # the two records of ZIP64 before it

_Proven = tuple[bytes, dict[str, Any] | None]  # an entry that stands in the log: leaf hash, and JSON unless withheld

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
        found = [_SIGNATURE.fullmatch(line) for line in lines.split("\n")[: MAX_SIGNATURES + 1]]
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
class Report:
    """What was checked and holds: how many entries of the person, the opened fields as (position, name), the log.

    `withheld`: positions of those entries of which only the hash is shown; `unbound`: of those among them that no shown
    entry follows, so that only whoever made the evidence says that they are the person's.
    """

    origin: str
    size: int
    person: str
    controller: str
    entries: int
    context: int
    fields: tuple[tuple[int, str], ...]
    withheld: tuple[int, ...]
    unbound: tuple[int, ...]
    witnesses: tuple[str, ...]

    def __str__(self) -> str:
        opened = ", ".join(f"{name!r} of entry {position}" for position, name in self.fields) or "none"
        withheld = f"withheld, only the hash is shown: {_listing(self.withheld)}\n" if self.withheld else ""
        unbound = f"whether {_listing(self.unbound)} is about this person; " if self.unbound else ""
        return (
            f"holds: {self.entries} entries of person {self.person}, versions 1 to {self.entries}\n"
            f"{withheld}"
            f"controller: {self.controller!r}, entries about it: {self.context}\n"
            f"personal fields opened: {len(self.fields)} ({opened})\n"
            f"log: {self.origin}, size {self.size}, witnesses: {', '.join(self.witnesses) or 'none asked for'}\n"
            f"not shown by this file: {unbound}whether a version {self.entries + 1} exists"
        )


def _listing(positions: Sequence[int]) -> str:
    return f"{len(positions)} of these (entry {', entry '.join(map(str, positions))})"


def verify_evidence(
    evidence: str | os.PathLike[str] | bytes, vkeys: Sequence[Vkey], witnesses: Sequence[Vkey] = ()
) -> Report:
    """Check an evidence zip, given as path or bytes, against log keys that did not come with it.

    Every one of `witnesses` must have cosigned. Raises EvidenceError with one line naming what does not hold.
    """
    files = _unpack(evidence)
    manifest, rows = _manifest(files)
    try:
        note = files["checkpoint"].decode()
        checkpoint = open_checkpoint(note, vkeys, witnesses)
    except ValueError as error:
        raise EvidenceError(f"checkpoint: {error}") from None
    if (manifest["origin"], manifest["size"]) != (checkpoint.origin, checkpoint.size):
        raise EvidenceError(
            f"manifest.json: origin and size are not the checkpoint's {checkpoint.origin!r}, {checkpoint.size}"
        )
    proven = {row["position"]: _prove(row, files, note, checkpoint) for row in rows}
    withheld, unbound = _check_person(manifest, proven)
    _check_context(manifest, proven)
    fields = tuple(_check_field(row, proven) for row in manifest["fields"])
    if len(set(fields)) != len(fields):
        raise EvidenceError("manifest.json: a field is opened twice")
    return Report(
        origin=checkpoint.origin,
        size=checkpoint.size,
        person=manifest["person"],
        controller=manifest["controller"],
        entries=len(manifest["entries"]),
        context=len(manifest["context"]),
        fields=fields,
        withheld=withheld,
        unbound=unbound,
        witnesses=tuple(witness.name for witness in witnesses),
    )


def _unpack(evidence: str | os.PathLike[str] | bytes) -> dict[str, bytes]:
    """Every file of the zip by name; what it says that it unpacks to is bounded first, and then held to."""
    try:
        with io.BytesIO(evidence) if isinstance(evidence, bytes) else Path(evidence).open("rb") as stream:
            raw = stream.read(MAX_ZIP_BYTES + 1)
        number = _require_plain_zip(raw)
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if len(archive.infolist()) != number:
                raise zipfile.BadZipFile(f"its directory has {len(archive.infolist())} files, its end says {number}")  # noqa: TRY301
            return _unpack_members(archive)
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise EvidenceError(f"the zip cannot be read: {error}") from None


def _require_plain_zip(raw: bytes) -> int:
    """Number of files by its end record. Refuses what two readers could take for two archives.

    That is a comment, bytes in front or behind, and ZIP64 where it is not needed. It is needed, and wanted, for more
    than 65,535 files: then the end record is `PK0606` and `PK0607` before `PK0506`, which must say the same.
    """
    if len(raw) > MAX_ZIP_BYTES:
        raise zipfile.BadZipFile(f"over {MAX_ZIP_BYTES} bytes")
    end = _END.unpack(raw[-_END.size :].rjust(_END.size, b"\0"))
    number, directory_bytes, offset = end[4:7]
    between = len(raw) - _END.size - directory_bytes - offset
    if end != (b"PK\5\6", 0, 0, number, number, directory_bytes, offset, 0) or between not in (0, _END64.size):
        raise zipfile.BadZipFile("cut short, added to, with a comment, or one part of several")
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"its directory is over {MAX_DIRECTORY_BYTES} bytes")
    if between or raw[-_END.size - 20 :][:4] == b"PK\6\7":
        return _number_of_zip64(raw, number, directory_bytes, offset)
    return int(number)


def _number_of_zip64(raw: bytes, number: int, directory_bytes: int, offset: int) -> int:
    """Number of files by the two records of ZIP64. All of them is known beforehand but that, and two versions."""
    found = _END64.unpack(raw[-_END.size - _END64.size : -_END.size].rjust(_END64.size, b"\0"))
    files, versions = int(found[6]), found[2:4]
    record = (b"PK\6\6", 44, *versions, 0, 0, files, files, directory_bytes, offset)
    locator = (b"PK\6\7", 0, offset + directory_bytes, 1)
    if number != 65_535 or files <= 65_535 or found != record + locator:
        raise zipfile.BadZipFile("with records of ZIP64, which are not those of an archive of more than 65,535 files")
    return files


def _unpack_members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = sum(info.file_size for info in archive.infolist())
    if total > MAX_UNPACKED_BYTES:
        raise zipfile.BadZipFile(f"it unpacks to {total} bytes, the limit is {MAX_UNPACKED_BYTES}")
    for info in archive.infolist():
        if info.filename in files:
            raise zipfile.BadZipFile(f"file {info.filename!r} stands twice")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile does not bound the others
            raise zipfile.BadZipFile(f"file {info.filename!r} is compressed otherwise than by deflate")
        with archive.open(info) as stream:
            files[info.filename] = stream.read(info.file_size + 1)  # a bare read() unpacks first and counts later
    return files


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


def _manifest(files: dict[str, bytes]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Manifest, and its rows of entries and context, when it lists exactly the files of the zip, each once."""
    for name in ("manifest.json", "checkpoint"):
        if name not in files:
            raise EvidenceError(f"file {name!r}: missing from the zip")
    if len(files["manifest.json"]) > MAX_MANIFEST_BYTES:
        raise EvidenceError(f"manifest.json: over {MAX_MANIFEST_BYTES} bytes")
    manifest = _parse_json(files["manifest.json"], "manifest.json")
    if manifest.get("format") != FORMAT:
        raise EvidenceError(f"manifest.json: format is {manifest.get('format')!r:.60}, this program knows {FORMAT!r}")
    strings = dict.fromkeys(("format", "origin", "person", "controller"), str)
    lists = dict.fromkeys(("entries", "fields", "context"), list)
    _require_keys(manifest, "manifest.json", **strings, size=int, **lists)
    if not re.fullmatch("[0-9a-f]{32}", manifest["person"]) or not manifest["entries"]:
        raise EvidenceError("manifest.json: wants a person of 32 hex digits and at least one entry")
    listed = {"manifest.json", "checkpoint"}
    rows = manifest["entries"] + manifest["context"]
    for number, row in enumerate(rows):
        if number < len(manifest["entries"]) and isinstance(row, dict) and "withheld" in row:
            _require_keys(row, "manifest.json: a row of an entry withheld", position=int, withheld=str, proof=str)
        else:
            _require_keys(row, "manifest.json: a row of entries or context", position=int, file=str, proof=str)
        position = row["position"]
        file, proof = f"entries/{position}.json", f"proofs/{position}.tlog-proof"
        if (row.get("file", file), row["proof"]) != (file, proof):
            raise EvidenceError(f"manifest.json: the files of entry {position} are not named after its position")
        if proof in listed:
            raise EvidenceError(f"manifest.json: entry {position} is listed twice")
        listed |= {proof, file} if "file" in row else {proof}
    for name in sorted(listed ^ files.keys()):
        raise EvidenceError(f"file {name!r}: " + ("missing from the zip" if name in listed else "not in the manifest"))
    return manifest, rows


def _prove(row: dict[str, Any], files: dict[str, bytes], note: str, checkpoint: Checkpoint) -> _Proven:
    """Leaf hash and JSON of the entry of a manifest's row, once it is known to stand there in the checkpoint's tree."""
    position, proof = row["position"], row["proof"]
    raw = None if "withheld" in row else files[row["file"]]
    if raw is not None and len(raw) > MAX_ENTRY_BYTES:
        raise EvidenceError(f"entry {position}: {len(raw)} bytes, the limit is {MAX_ENTRY_BYTES}")
    try:
        leaf = decode_base64(row["withheld"]) if raw is None else leaf_hash(raw)
        _check_proof(leaf, position, files[proof].decode(), note, checkpoint)
    except ValueError as error:
        what = "its hash" if raw is None else row["file"]
        raise EvidenceError(f"entry {position} ({what} with {proof}): {error}") from None
    return leaf, None if raw is None else _parse_json(raw, f"entry {position}")


def _check_proof(leaf: bytes, position: int, text: str, note: str, checkpoint: Checkpoint) -> None:
    index, hashes, own_note = parse_tlog_proof(text)
    if own_note != note:
        raise ProofError("its proof carries another checkpoint than the file 'checkpoint'")
    if index != position:
        raise ProofError(f"its proof is for position {index}")
    if format_tlog_proof(index, hashes, note) != text:
        raise ProofError("its proof has an extra line, which nobody signed")
    verify_inclusion(leaf, index, checkpoint.size, hashes, checkpoint.root)


def _check_person(manifest: dict[str, Any], proven: dict[int, _Proven]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Versions 1 to k of the manifest's person, in the order of the log, each naming the hash of the one before.

    Returns the positions of the withheld ones, and of those among them that no shown one names.
    """
    last, prev = -1, None
    withheld, unbound = [], []
    for version, row in enumerate(manifest["entries"], start=1):
        position = row["position"]
        leaf, body = proven[position]
        if body is None:
            withheld.append(position)
            unbound.append(position)
        else:
            wanted = {"person": manifest["person"], "controller": manifest["controller"], "version": version}
            _check_link(position, body, {**wanted, "prev": prev})
            if unbound and unbound[-1] == last:
                unbound.pop()
        if position <= last:
            raise EvidenceError(f"entry {position}: listed after entry {last}, out of the log's order")
        last, prev = position, encode_base64(leaf)
    return tuple(withheld), tuple(unbound)


def _check_link(position: int, body: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        found = body.get(key)
        if type(found) is not type(value) or found != value:  # True equals 1, and is none
            raise EvidenceError(f"entry {position}: {key} is {found!r:.80}, wanted {value!r}")


def _check_context(manifest: dict[str, Any], proven: dict[int, _Proven]) -> None:
    for position in (row["position"] for row in manifest["context"]):
        _, body = proven[position]
        if body is None or "person" in body or not isinstance(body.get("stream"), str):
            raise EvidenceError(f"entry {position}: given as context, but not about the controller")
        if body.get("controller") != manifest["controller"]:
            raise EvidenceError(f"entry {position}: controller is {body.get('controller')!r:.80}, not the manifest's")


def _check_field(row: Any, proven: dict[int, _Proven]) -> tuple[int, str]:
    """Position and name of an opened field that is what its entry commits to."""
    _require_keys(row, "manifest.json: a row of fields", position=int, name=str, value=str, salt=str)
    position, name = row["position"], row["name"]
    where = f"field {name!r} of entry {position}"
    if position not in proven:
        raise EvidenceError(f"{where}: that entry is not in the manifest")
    body = proven[position][1]
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


def _key_of_type(alg: int, option: str) -> Callable[[str], Vkey]:
    def parse(text: str) -> Vkey:
        try:
            vkey = parse_vkey(text)
        except NoteError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if vkey.alg != alg:
            raise argparse.ArgumentTypeError(f"{option} wants a key of type {alg}, found type {vkey.alg}")
        return vkey

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the evidence named on the command line: 0 if all holds, 1 and one line if not; exits 2 if misused."""
    parser = argparse.ArgumentParser(description="Check evidence of a consent ledger, offline.")
    parser.add_argument("evidence", help="the zip")
    parser.add_argument("--key", action="append", required=True, metavar="VKEY", type=_key_of_type(ED25519, "--key"))
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", type=_key_of_type(COSIGNATURE, "--witness")
    )
    options = parser.parse_args(arguments)
    try:
        answer, status = str(verify_evidence(options.evidence, options.key, options.witness)), 0
    except EvidenceError as error:
        answer, status = f"does not hold: {error}", 1
    # What a stranger wrote is shown in ASCII: no terminal is steered by it and no encoding fails on it.
    print(answer.encode("ascii", "backslashreplace").decode(), file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
