"""The log: entries by position and by stream, the newest of each stream, idempotency keys, subtrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from consent_ledger.ledger.store.contract import Transaction

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


# -- as notifications --------------------------------------------------------------------------------------------------

Notice = tuple[int, str, int, str, bytes]  # position, stream, version, type, state
_NOTICE: Final = "SELECT position, stream, version, type, state FROM entries WHERE"
NO_LIMIT: Final = 2**62


def notices(c: Transaction, start: int, stop: int, types: Sequence[str], limit: int) -> list[Notice]:
    """Entries at positions start <= p < stop, of these types (none: of all), in order of position."""
    only = f" AND type IN ({','.join('?' * len(types))})" if types else ""
    c.execute(f"{_NOTICE} position>=? AND position<?{only} ORDER BY position LIMIT ?", [start, stop, *types, limit])
    return c.fetchall()


def notices_of(c: Transaction, stream: str, after: int, upto: int, limit: int, *, desc: bool) -> list[Notice]:
    """Entries of a stream with versions after < v <= upto, by version, `desc`: the newest first."""
    order = "DESC" if desc else "ASC"
    c.execute(
        f"{_NOTICE} stream=? AND version>? AND version<=? ORDER BY version {order} LIMIT ?",
        [stream, after, upto, limit],
    )
    return c.fetchall()
