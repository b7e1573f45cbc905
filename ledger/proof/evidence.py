"""Evidence: one zip about one person that a regulator checks offline with a key that did not come in it.

The format is that of `ledger.log.verifier`, which also checks it. Entries are exact bytes, under every name that is
joined with the person; a personal field is opened by its value and salt, and only the fields that were asked for.
Beside them are the packs that were in force, and the texts that were shown, as far as they are stored.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson

from consent_ledger.ledger.errors import EvidenceTooLarge, NothingToShow, PackError
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.documents import read_document
from consent_ledger.ledger.intake.persons import linked
from consent_ledger.ledger.log import verifier
from consent_ledger.ledger.log.entry import controller_stream
from consent_ledger.ledger.log.merkle import Memo, consistency_proof, inclusion_proof
from consent_ledger.ledger.log.verifier import (
    BUNDLE,
    FORMAT,
    Link,
    Member,
    encode_base64,
    format_tlog_proof,
    joined,
    named_documents,
)
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, packs
from consent_ledger.ledger.store.tables.head import read_head, readers
from consent_ledger.ledger.vault.vault import field_salt

_DATE: Final = (0, 33)  # 1980-01-01: the same evidence is the same bytes


class _Row(NamedTuple):
    """An entry as the store has it."""

    position: int
    version: int
    type: str
    state: bytes
    leaf: bytes
    hidden: bool = False


def prove_consistency(app: LedgerApplication, old_size: int) -> list[bytes]:
    """The proof that the log of `old_size` entries is the beginning of today's (RFC 6962, section 2.1.2)."""
    with app.reading() as c:
        subtree, leaves = readers(c)
        return consistency_proof(old_size, read_head(c).size, subtree, leaves)


def prove_inclusion(app: LedgerApplication, position: int) -> str:
    """The tlog-proof of one entry under the newest checkpoint."""
    with app.reading() as c:
        head = read_head(c)
        hashes = inclusion_proof(position, head.size, *readers(c))
    return format_tlog_proof(position, hashes, head.checkpoint)


def write_evidence(
    app: LedgerApplication,
    controller: str,
    person: str,
    *,
    disclose: Callable[[str], bool] = lambda _: False,
    withhold: Callable[[bytes], bool] = lambda _: False,
) -> bytes:
    """The zip about one person, under all names that are joined with this one.

    `disclose`: which personal fields to open, by name. `withhold`: which entries to give as a hash only; their place
    in the person's chain still shows.

    Raises NothingToShow for a person of whom there is no entry to show, EvidenceTooLarge for more than the verifier
    reads.
    """
    with app.reading() as c:
        head = read_head(c)
        streams, elsewhere = _streams(c, controller, person, withhold)
        context, left_out = _context(c, controller)
        rows = sorted([row for _, those in streams for row in those] + context)
        documents = _documents(c, rows)
        fields = [field for one, those in streams for row in those for field in _opened(app, c, one, row, disclose)]
        fields.sort(key=lambda field: (field["position"], field["name"]))
        manifest = {
            "format": FORMAT,
            "origin": app.origin,
            "size": head.size,
            "controller": controller,
            "person": streams[0][0],
            "streams": [{"person": one, "positions": [row.position for row in those]} for one, those in streams],
            "withheld": [{"position": row.position, "leaf": encode_base64(row.leaf)} for row in rows if row.hidden],
            "elsewhere": [{"person": one, "entries": number} for one, number in elsewhere],
            "context": {"positions": [row.position for row in context], "left_out": left_out},
            "fields": fields,
            "documents": [
                {"sha256": sha256, "media_type": media_type, "bytes": len(content)}
                for sha256, (media_type, content) in documents.items()
            ],
        }
        zipped = _Zip(person)
        zipped.add("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        zipped.add("checkpoint", head.checkpoint.encode())
        for name, content in _bundles(rows, _prover(c, head.size, head.checkpoint)):
            zipped.add(name, content)
        for sha256, (_, content) in documents.items():
            zipped.add(f"documents/{sha256}", content)
        return zipped.end()


# -- what belongs in it ------------------------------------------------------------------------------------------------


def _streams(
    c: Transaction, controller: str, person: str, withhold: Callable[[bytes], bool]
) -> tuple[list[tuple[str, list[_Row]]], list[tuple[str, int]]]:
    """The person's entries and those of every name joined with them, and how many there are of names that are not here.

    A name of which nothing may be shown is not here: somebody else's entry could stand in place of each of its hashes.
    """
    there = {one: _rows(c, one, withhold) for one in sorted(linked(c, person) | {person})}
    links = {one: _links(rows) for one, rows in there.items()}
    here = joined(person, itertools.chain(*links.values()))
    here = {one for one in here if not all(row.hidden for row in there.get(one, ()))}
    if not here or any(_controller(there[one]) != controller for one in here):
        what = "no entry about" if not any(there.values()) else "no entry that may be shown about"
        raise NothingToShow("subject", f"{what} {person!r} at {controller!r}")
    main = person if person in here else min(here)
    before: set[str] = set()
    while here != before:  # what joins two names may itself stand under a name that is not here
        before = here
        here = here & joined(main, [link for one in here for link in links[one]])
    named = {link.other for one in here for link in links[one] if link.joins} - here
    away = [(one, len(there[one]) if one in there else len(_rows(c, one, withhold))) for one in sorted(named)]
    return [(one, there[one]) for one in (main, *sorted(here - {main}))], away


def _rows(
    c: Transaction,
    stream: str,
    withhold: Callable[[bytes], bool] = lambda _: False,
    *,
    but: str = "",
    last: int = 0,
) -> list[_Row]:
    """The entries of a stream `but` those of one type; its version `last` is there in any case."""
    rows = entries.shown(c, stream, but, last)
    return [
        _Row(position, version, kind, state, leaf, withhold(state)) for position, version, kind, state, leaf in rows
    ]


def _controller(rows: list[_Row]) -> object:
    return orjson.loads(rows[0].state)["controller"]


def _links(rows: list[_Row]) -> list[Link]:
    links = []
    for row in rows:
        if row.type in ("subject.linked", "subject.unlinked") and not row.hidden:
            body = orjson.loads(row.state)
            links.append(verifier.link_of(row.position, body, body["data"].get("other")))
    return [link for link in links if link]


def _context(c: Transaction, controller: str) -> tuple[list[_Row], list[tuple[int, int]]]:
    """The stream about the controller, and the versions that are left out of it: refusals, where they are many.

    The last entry is shown whatever it is, and proves how many are left out before it.
    """
    stream = controller_stream(controller)
    every, refusals = entries.count(c, stream, "intake.refused")
    if not refusals or refusals <= verifier.LEAST_LEFT_OUT:
        return _rows(c, stream), []
    shown = _rows(c, stream, but="intake.refused", last=every)
    ends = [0, *(row.version for row in shown)]
    return shown, [(one + 1, other - 1) for one, other in itertools.pairwise(ends) if other > one + 1]


def _documents(c: Transaction, rows: list[_Row]) -> dict[str, tuple[str, bytes]]:
    """Media type and bytes of the packs that entries name, and of the texts among them that are stored, by SHA-256."""
    found: dict[str, tuple[str, bytes]] = {}
    for row in rows:
        if row.hidden or b"_sha256" not in row.state:
            continue
        for kind, sha256 in named_documents(orjson.loads(row.state)):
            one = _pack(c, sha256) if kind == "pack" else found.get(sha256) or read_document(c, sha256)
            if one is not None:
                found[sha256] = one
    return dict(sorted(found.items()))


def _pack(c: Transaction, sha256: str) -> tuple[str, bytes]:
    body = packs.body(c, sha256)
    if body is None or hashlib.sha256(body).hexdigest() != sha256:
        raise PackError(f"pack {sha256[:16]}… is not in the store, or was altered (add its file with: pack add FILE)")
    return "application/toml", body


def _opened(
    app: LedgerApplication, c: Transaction, person: str, row: _Row, disclose: Callable[[str], bool]
) -> list[dict[str, Any]]:
    sealed = None if row.hidden else app.vault.open_fields(c, person, row.version, row.position)
    if sealed is None:
        return []
    secret, values = sealed
    return [
        {"position": row.position, "name": name, "value": value, "salt": encode_base64(field_salt(secret, name))}
        for name, value in sorted(values.items())
        if disclose(name)
    ]


# -- the zip -----------------------------------------------------------------------------------------------------------


def _prover(c: Transaction, size: int, checkpoint: str) -> Callable[[int], bytes]:
    subtree, leaves = readers(c)
    memo: Memo = {}

    def prove(position: int) -> bytes:
        return format_tlog_proof(
            position, inclusion_proof(position, size, subtree, leaves, memo=memo), checkpoint
        ).encode()

    return prove


def _bundles(rows: Sequence[_Row], prove: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    """Entries and proofs in files of so many: a zip of a file for each would not hold a long history."""
    for number, start in enumerate(range(0, len(rows), BUNDLE)):
        bundle = rows[start : start + BUNDLE]
        yield f"entries/{number}.ndjson", b"".join(row.state + b"\n" for row in bundle if not row.hidden)
        yield f"proofs/{number}.tlog-proofs", b"".join(prove(row.position) for row in bundle)


class _Zip:
    """The zip as it grows, held to what the verifier reads: whoever gets evidence must be able to check it."""

    def __init__(self, person: str) -> None:
        self.person = person
        self.body = bytearray()
        self.members: list[Member] = []

    def add(self, name: str, content: bytes) -> None:
        """One more file. Raises EvidenceTooLarge as soon as it is known."""
        if name == "manifest.json":
            self._require(len(content), verifier.MAX_MANIFEST_BYTES, "in its manifest")
        self._require(len(content), verifier.MAX_FILE_BYTES, f"in the file {name}")
        unpacked = sum(member.size for member in self.members) + len(content)
        self._require(unpacked, verifier.MAX_UNPACKED_BYTES, "unpacked")
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflater.compress(content) + deflater.flush()
        offset = len(self.body)
        member = Member(name.encode(), 8, _DATE, zlib.crc32(content), len(packed), len(content), offset)
        self.members.append(member)
        self.body += member.header() + packed
        self._require(len(self.body), verifier.MAX_ZIP_BYTES, "as a zip")

    def end(self) -> bytes:
        """The whole zip. Raises EvidenceTooLarge."""
        offset = len(self.body)
        directory = b"".join(member.row() for member in self.members)
        self._require(len(directory), verifier.MAX_DIRECTORY_BYTES, "in its directory")
        self.body += directory + verifier.end_of_zip(len(self.members), len(directory), offset)
        self._require(len(self.body), verifier.MAX_ZIP_BYTES, "as a zip")
        return bytes(self.body)

    def _require(self, found: int, limit_bytes: int, what: str) -> None:
        if found > limit_bytes:
            raise EvidenceTooLarge(
                f"evidence about {self.person} would have over {limit_bytes} bytes {what}, which the verifier does not "
                "read (prove entries one by one: ledger.proof.evidence.prove_inclusion)"
            )
