"""The log: entries by position and by stream, the newest of each stream, idempotency keys, subtrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import parts, rows_in

Row = tuple[int, bytes]  # position, state
NO_TIP: Final = (0, b"")


def state(c: Transaction, position: int) -> bytes | None:
    """The bytes of an entry, None where there is none."""
    c.execute("SELECT state FROM entries WHERE position=?", [position])
    row = c.fetchone()
    return row[0] if row is not None else None


def page(c: Transaction, start: int, limit: int) -> list[Row]:
    """Entries from a position on, in order of position."""
    c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, limit])
    return c.fetchall()


def of_stream(c: Transaction, stream: str) -> list[Row]:
    """All entries of a stream, by version."""
    c.execute("SELECT position, state FROM entries WHERE stream=? ORDER BY version", [stream])
    return c.fetchall()


def tip(c: Transaction, stream: str) -> tuple[int, bytes]:
    """(version, leaf hash) of the newest entry of a stream; (0, b"") for none."""
    c.execute("SELECT version, leaf FROM streams WHERE stream=?", [stream])
    row = c.fetchone()
    return (row[0], row[1]) if row is not None else NO_TIP


# -- who is named by others, digests, what an erasure asks


def naming(c: Transaction, person: str) -> list[Row]:
    """The entries about others that name a person, by position."""
    c.execute(
        "SELECT position, state FROM mentions JOIN entries USING (position) WHERE person=? ORDER BY position", [person]
    )
    return c.fetchall()


def first_naming(c: Transaction, person: str) -> Row | None:
    """The first entry about somebody else that names a person, None where there is none."""
    c.execute(
        "SELECT position, state FROM mentions JOIN entries USING (position) WHERE person=? ORDER BY position LIMIT 1",
        [person],
    )
    row = c.fetchone()
    return (row[0], row[1]) if row is not None else None


def note_mentions(c: Transaction, rows: Iterable[tuple[str, int]]) -> None:
    """Note the entries that name other persons than they are about: (person, position)."""
    c.executemany("INSERT INTO mentions VALUES (?,?) ON CONFLICT DO NOTHING", list(rows))


def first_of_stream(c: Transaction, stream: str) -> Row | None:
    """The first entry of a stream, None where there is none."""
    c.execute("SELECT position, state FROM entries WHERE stream=? AND version=1", [stream])
    row = c.fetchone()
    return (row[0], row[1]) if row is not None else None


def any_of_streams(c: Transaction, streams: Iterable[str]) -> Row | None:
    """Some entry of one of these streams, None where there is none."""
    for marks, some in parts(streams):
        c.execute(f"SELECT position, state FROM entries WHERE stream IN ({marks}) LIMIT 1", some)
        row = c.fetchone()
        if row is not None:
            return row[0], row[1]
    return None


def streams_with(c: Transaction, type_name: str) -> list[str]:
    """The streams with an entry of a type, in order."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE type=? ORDER BY stream", [type_name])
    return [row[0] for row in c.fetchall()]


def leaves_at(c: Transaction, positions: Iterable[int]) -> list[bytes]:
    """The leaf hashes of entries, in no order."""
    return [row[0] for row in rows_in(c, "SELECT leaf FROM entries WHERE position IN ({marks})", positions)]


def forget_digest(c: Transaction, key: bytes) -> list[bytes]:
    """Forget the content digest of an idempotency key. Returns it, if there was one."""
    c.execute("SELECT digest FROM keys WHERE key=? AND digest IS NOT NULL", [key])
    gone = [row[0] for row in c.fetchall()]
    c.execute("UPDATE keys SET digest=NULL WHERE key=?", [key])
    return gone
