"""The log: entries by position and by stream, the newest of each stream, idempotency keys, subtrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import rows_in

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


# -- looked at whole


def whole_page(c: Transaction, start: int, limit: int) -> list[tuple[int, str, int, str, bytes, bytes]]:
    """(position, stream, version, type, leaf hash, state) of entries from a position on, in order of position."""
    c.execute(
        "SELECT position, stream, version, type, leaf, state FROM entries WHERE position>=? ORDER BY position LIMIT ?",
        [start, limit],
    )
    return c.fetchall()


def subtrees(c: Transaction) -> list[tuple[int, int, bytes]]:
    """(level, number, hash) of all subtrees, in order of level and number."""
    c.execute("SELECT level, number, hash FROM subtrees ORDER BY level, number")
    return c.fetchall()


def tips(c: Transaction) -> list[tuple[str, int, bytes]]:
    """(stream, version, leaf hash) of the newest entry of every stream, in no order."""
    c.execute("SELECT stream, version, leaf FROM streams")
    return c.fetchall()


def mentions(c: Transaction) -> list[tuple[str, int]]:
    """(person, position) of all entries that name another person than the one they are about, in no order."""
    c.execute("SELECT person, position FROM mentions")
    return c.fetchall()


def of_type(c: Transaction, type_name: str) -> list[Row]:
    """All entries of a type, in order of position."""
    c.execute("SELECT position, state FROM entries WHERE type=? ORDER BY position", [type_name])
    return c.fetchall()


def streams_with(c: Transaction, type_name: str) -> list[str]:
    """The streams with an entry of a type, in order."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE type=? ORDER BY stream", [type_name])
    return [row[0] for row in c.fetchall()]


def places_of_keys(c: Transaction, keys: Iterable[bytes]) -> dict[bytes, int]:
    """The positions of those idempotency keys that are known."""
    return dict(rows_in(c, "SELECT key, position FROM keys WHERE key IN ({marks})", keys))


def count_keys(c: Transaction) -> int:
    """How many idempotency keys are known."""
    c.execute("SELECT count(*) FROM keys")
    return int(c.fetchone()[0])


# -- of one stream, as evidence shows it


def shown(c: Transaction, stream: str, but: str, last: int) -> list[tuple[int, int, str, bytes, bytes]]:
    """(position, version, type, state, leaf hash) of the entries of a stream, by version.

    Left out are those of the type `but`, other than version `last`.
    """
    c.execute(
        "SELECT position, version, type, state, leaf FROM entries WHERE stream=? AND (type<>? OR version=?) "
        "ORDER BY version",
        [stream, but, last],
    )
    return c.fetchall()


def count(c: Transaction, stream: str, type_name: str) -> tuple[int, int]:
    """How many entries a stream has, and how many of them of a type."""
    c.execute("SELECT count(*), count(*) FILTER (WHERE type=?) FROM entries WHERE stream=?", [type_name, stream])
    every, of_it = c.fetchone()
    return every, of_it
