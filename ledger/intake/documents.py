"""Texts as persons were shown them, by the SHA-256 of their exact bytes.

`policy.published` and what a person was shown name a text by its digest. Whoever stores its bytes here has them in the
evidence. A document is a text before anything of a person is filled in: it holds nothing personal, is never erased, and
is in the evidence about everybody who was shown it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from consent_ledger.ledger.errors import CorruptEntry, InvalidQuestion
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.log.verifier import MAX_DOCUMENT_BYTES, MEDIA_TYPE
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import packs

_DIGEST: Final = re.compile("[0-9a-f]{64}")


class Document(NamedTuple):
    """A stored document."""

    sha256: str
    media_type: str
    bytes: int


def add_document(app: LedgerApplication, body: bytes, media_type: str) -> Document:
    """Store a text. Idempotent; of several media types the one given last counts.

    Raises InvalidQuestion for a media type that is none and for a text over 16 MiB.
    """
    if not MEDIA_TYPE.fullmatch(media_type):
        raise InvalidQuestion(
            "media-type", f"wants one such as text/plain or text/html; charset=utf-8, found {media_type!r}"
        )
    if len(body) > MAX_DOCUMENT_BYTES:
        raise InvalidQuestion("document", f"has {len(body)} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    document = Document(hashlib.sha256(body).hexdigest(), media_type, len(body))
    with app.writing() as c:
        packs.put_document(c, document.sha256, media_type, body)
    return document


def documents(app: LedgerApplication) -> list[Document]:
    """All stored documents, by digest."""
    with app.reading() as c:
        return [Document(*row) for row in packs.documents(c)]


def document(app: LedgerApplication, sha256: str) -> bytes:
    """The exact bytes of a document. Raises InvalidQuestion where it is not stored, CorruptEntry."""
    with app.reading() as c:
        found = read_document(c, sha256)
    if found is None:
        raise InvalidQuestion("document", f"{sha256!r:.80} is not stored (add its file with: document add FILE)")
    return found[1]


def read_document(c: Transaction, sha256: str) -> tuple[str, bytes] | None:
    """(media type, exact bytes) of a document, None where it is not stored. Raises CorruptEntry."""
    if not _DIGEST.fullmatch(sha256):
        return None
    found = packs.document(c, sha256)
    if found is None:
        return None
    media_type, body = found
    if (
        not isinstance(body, bytes)
        or hashlib.sha256(body).hexdigest() != sha256
        or not MEDIA_TYPE.fullmatch(media_type)
    ):
        raise CorruptEntry(f"document {sha256} was altered in the store (add its file again, check the disk)")
    return media_type, body


def altered(c: Transaction) -> Iterator[str]:
    """Which documents are not what their digests say, one sentence each."""
    for sha256 in packs.document_digests(c):
        try:
            if read_document(c, sha256) is None:
                yield f"documents: {sha256!r:.80} is no digest"
        except CorruptEntry as error:
            yield f"documents: {error}"
