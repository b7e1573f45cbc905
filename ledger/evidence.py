"""Evidence: one zip about one person that a regulator checks offline with a key that did not come in it.

The format is that of `ledger.verifier`, which also checks it. Entries are exact bytes; a personal field is opened by
its value and salt, and only the fields that were asked for.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any, Final, Self

import orjson
from eventsourcing.sqlite import SQLiteCursor

from ledger import verifier
from ledger.application import LedgerApplication
from ledger.entry import controller_stream
from ledger.errors import EvidenceTooLarge, InvalidQuestion
from ledger.merkle import Memo, consistency_proof, inclusion_proof
from ledger.recorder import read_head, readers
from ledger.vault import field_salt
from ledger.verifier import FORMAT, encode_base64, format_tlog_proof

_STAMP: Final = (1980, 1, 1, 0, 0, 0)  # the same evidence is the same bytes


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
    """The zip about one person.

    `disclose`: which personal fields to open, by name. `withhold`: which entries to give as a hash only; their place
    in the person's chain still shows.

    Raises InvalidQuestion for a person of whom there is no entry, EvidenceTooLarge for more than the verifier reads.
    """
    with app.reading() as c, _Zip(person) as zipped:
        head = read_head(c)
        c.execute("SELECT position, version, state, leaf FROM entries WHERE stream=? ORDER BY version", [person])
        rows = c.fetchall()
        if not rows or orjson.loads(rows[0][2])["controller"] != controller:
            raise InvalidQuestion("subject", f"no entry about {person!r} at {controller!r}")
        c.execute(
            "SELECT position, state FROM entries WHERE stream=? AND type<>'intake.refused' ORDER BY position",
            [controller_stream(controller)],
        )
        context = c.fetchall()
        prove = _prover(c, head.size, head.checkpoint)
        zipped.add("checkpoint", head.checkpoint.encode())
        entries, fields = [], []
        for position, version, state, leaf in rows:
            hidden = withhold(state)
            entries.append(_listed(zipped, position, None if hidden else state, leaf, prove))
            if not hidden:
                fields += _opened(app, c, person, version, position, disclose)
        about = [_listed(zipped, position, state, b"", prove) for position, state in context]
        manifest = {
            "format": FORMAT,
            "origin": app.origin,
            "person": person,
            "controller": controller,
            "size": head.size,
            "entries": entries,
            "fields": fields,
            "context": about,
        }
        return zipped.end(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


class _Zip:
    """The zip as it grows, held to what the verifier reads: whoever gets evidence must be able to check it."""

    def __init__(self, person: str) -> None:
        self.person = person
        self.body = io.BytesIO()
        self.archive = zipfile.ZipFile(self.body, "w", zipfile.ZIP_DEFLATED)
        self.left = verifier.MAX_UNPACKED_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def add(self, name: str, content: bytes) -> None:
        """One more file. Raises EvidenceTooLarge as soon as it is known."""
        self.left -= len(content)
        self._require(self.left >= 0, verifier.MAX_UNPACKED_BYTES, "unpacked")
        self.archive.writestr(zipfile.ZipInfo(name, _STAMP), content, zipfile.ZIP_DEFLATED)
        self._require(self.body.tell() <= verifier.MAX_ZIP_BYTES, verifier.MAX_ZIP_BYTES, "as a zip")

    def end(self, manifest: bytes) -> bytes:
        """The whole zip. Raises EvidenceTooLarge."""
        self._require(len(manifest) <= verifier.MAX_MANIFEST_BYTES, verifier.MAX_MANIFEST_BYTES, "in its manifest")
        self.add("manifest.json", manifest)
        directory = self.archive.start_dir
        self.archive.close()
        size = self.body.tell()
        limit = verifier.MAX_DIRECTORY_BYTES
        self._require(size - directory <= limit, limit, "in its directory")
        self._require(size <= verifier.MAX_ZIP_BYTES, verifier.MAX_ZIP_BYTES, "as a zip")
        return self.body.getvalue()

    def _require(self, small: bool, limit_bytes: int, what: str) -> None:
        if not small:
            raise EvidenceTooLarge(
                f"evidence about {self.person} would have over {limit_bytes} bytes {what}, which the verifier does not "
                "read (prove entries one by one: ledger.evidence.prove_inclusion)"
            )


def _prover(c: SQLiteCursor, size: int, checkpoint: str) -> Callable[[int], bytes]:
    subtree, leaves = readers(c)
    memo: Memo = {}

    def prove(position: int) -> bytes:
        return format_tlog_proof(
            position, inclusion_proof(position, size, subtree, leaves, memo=memo), checkpoint
        ).encode()

    return prove


def _listed(
    zipped: _Zip, position: int, state: bytes | None, leaf: bytes, prove: Callable[[int], bytes]
) -> dict[str, Any]:
    proof = f"proofs/{position}.tlog-proof"
    zipped.add(proof, prove(position))
    if state is None:
        return {"position": position, "withheld": encode_base64(leaf), "proof": proof}
    file = f"entries/{position}.json"
    zipped.add(file, state)
    return {"position": position, "file": file, "proof": proof}


def _opened(
    app: LedgerApplication, c: SQLiteCursor, person: str, version: int, position: int, disclose: Callable[[str], bool]
) -> list[dict[str, Any]]:
    sealed = app.vault.open_fields(c, person, version, position)
    if sealed is None:
        return []
    secret, values = sealed
    return [
        {"position": position, "name": name, "value": value, "salt": encode_base64(field_salt(secret, name))}
        for name, value in sorted(values.items())
        if disclose(name)
    ]
