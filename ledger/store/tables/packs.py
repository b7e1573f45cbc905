"""Packs by their digest, who is registered with which, recipients, texts that were shown."""

from __future__ import annotations

from typing import Any

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


# -- what intake writes ------------------------------------------------------------------------------------------------


def add_recipient(c: Transaction, controller: str, recipient: str) -> None:
    """Store a recipient of a controller that was not known before."""
    c.execute("INSERT INTO recipients VALUES (?,?)", [controller, recipient])


def registered_bodies(c: Transaction) -> list[tuple[str, bytes]]:
    """(controller, the bytes of its pack) of all that are registered with a pack that is stored, in no order."""
    c.execute("SELECT c.controller, p.body FROM controllers c JOIN packs p ON p.sha256 = c.pack_sha256")
    return c.fetchall()


# -- documents ---------------------------------------------------------------------------------------------------------


def put_document(c: Transaction, sha256: str, media_type: str, body: bytes) -> None:
    """Store a text under its digest, in place of the one that may be there."""
    c.execute(
        "INSERT INTO documents VALUES (?,?,?) "
        "ON CONFLICT (sha256) DO UPDATE SET media_type=excluded.media_type, body=excluded.body",
        [sha256, media_type, body],
    )


def documents(c: Transaction) -> list[tuple[str, str, int]]:
    """(digest, media type, how many bytes) of all texts, by digest."""
    c.execute("SELECT sha256, media_type, length(body) FROM documents ORDER BY sha256")
    return c.fetchall()


def document(c: Transaction, sha256: str) -> tuple[str, Any] | None:
    """(media type, what stands as its bytes) of a text, None where it is not stored."""
    c.execute("SELECT media_type, body FROM documents WHERE sha256=?", [sha256])
    row = c.fetchone()
    return (row[0], row[1]) if row is not None else None


def document_digests(c: Transaction) -> list[str]:
    """The digests of all texts, in order."""
    c.execute("SELECT sha256 FROM documents ORDER BY sha256")
    return [row[0] for row in c.fetchall()]


# -- looked at whole ---------------------------------------------------------------------------------------------------


def bodies(c: Transaction) -> list[tuple[str, object]]:
    """(digest, bytes, or whatever damage put there) of all packs, by digest."""
    c.execute("SELECT sha256, body FROM packs ORDER BY sha256")
    return c.fetchall()


def digests(c: Transaction) -> list[str]:
    """The digests of all packs, in order."""
    c.execute("SELECT sha256 FROM packs ORDER BY sha256")
    return [row[0] for row in c.fetchall()]


def sizes(c: Transaction) -> list[tuple[str, str, int]]:
    """(controller, digest, how many bytes) of all packs, by digest."""
    c.execute("SELECT controller, sha256, length(body) FROM packs ORDER BY sha256")
    return c.fetchall()


def beginning(c: Transaction, digits: str) -> list[bytes]:
    """The bytes of the packs whose digest begins so, by digest. `digits`: hexadecimal, in small letters."""
    c.execute("SELECT body FROM packs WHERE sha256 LIKE ? ORDER BY sha256", [digits + "%"])
    return [row[0] for row in c.fetchall()]


def recipients(c: Transaction) -> list[tuple[str, str]]:
    """(controller, recipient) of all that are registered, in no order."""
    c.execute("SELECT controller, recipient FROM recipients")
    return c.fetchall()


def add(c: Transaction, sha256: str, controller: str, body: bytes) -> None:
    """Store a pack under its digest; one that is there already stays."""
    c.execute("INSERT INTO packs VALUES (?,?,?) ON CONFLICT DO NOTHING", [sha256, controller, body])


def register(c: Transaction, controller: str, sha256: str, bound: bytes) -> None:
    """Register a controller with a pack, in place of an earlier one."""
    c.execute(
        "INSERT INTO controllers VALUES (?,?,?) "
        "ON CONFLICT (controller) DO UPDATE SET pack_sha256=excluded.pack_sha256, bound=excluded.bound",
        [controller, sha256, bound],
    )
