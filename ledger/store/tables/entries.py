"""The log: entries by position and by stream, the newest of each stream, idempotency keys, subtrees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, marks_for, parts, rows_in

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


def tips_of(c: Transaction, streams: Iterable[str]) -> Iterator[tuple[str, int, bytes]]:
    """(stream, version, leaf hash) of the newest entries of those of these streams that have any, in no order."""
    return rows_in(c, "SELECT stream, version, leaf FROM streams WHERE stream IN ({marks})", streams)


# -- as notifications --------------------------------------------------------------------------------------------------

Notice = tuple[int, str, int, str, bytes]  # position, stream, version, type, state
_NOTICE: Final = "SELECT position, stream, version, type, state FROM entries WHERE"
NO_LIMIT: Final = 2**62


def notices(c: Transaction, start: int, stop: int, types: Sequence[str], limit: int) -> list[Notice]:
    """Entries at positions start <= p < stop, of these types (none: of all), in order of position."""
    only = f" AND type IN ({marks_for(types)})" if types else ""
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


# -- what intake asks --------------------------------------------------------------------------------------------------


def first_of_stream(c: Transaction, stream: str) -> Row | None:
    """The first entry of a stream, None where there is none."""
    c.execute("SELECT position, state FROM entries WHERE stream=? AND version=1", [stream])
    row = c.fetchone()
    return (row[0], row[1]) if row is not None else None


def of_types(c: Transaction, stream: str, types: Sequence[str], after: int = 0) -> list[Row]:
    """The entries of a stream that have one of these types and a version over `after`, by version."""
    c.execute(
        f"SELECT position, state FROM entries WHERE stream=? AND version>? AND type IN ({marks_for(types)}) "
        "ORDER BY version",
        [stream, after, *types],
    )
    return c.fetchall()


def known_keys(c: Transaction, keys: Iterable[bytes]) -> Iterator[tuple[bytes, int, bytes | None]]:
    """(key, position, digest of the content, None once erased) of those idempotency keys that are there."""
    return rows_in(c, "SELECT key, position, digest FROM keys WHERE key IN ({marks})", keys)


# -- what a batch writes -----------------------------------------------------------------------------------------------


def append(c: Transaction, rows: Iterable[tuple[int, str, int, str, bytes, bytes]]) -> None:
    """Append entries: (position, stream, version, type, leaf hash, state)."""
    c.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?)", rows)


def move_tips(c: Transaction, rows: Iterable[tuple[str, int, bytes]]) -> None:
    """Store the newest entry of streams, in place of an older one: (stream, version, leaf hash)."""
    c.executemany(
        "INSERT INTO streams VALUES (?,?,?) ON CONFLICT (stream) DO UPDATE SET version=excluded.version, "
        "leaf=excluded.leaf",
        rows,
    )


def add_keys(c: Transaction, rows: Iterable[tuple[bytes, int, bytes]]) -> None:
    """Store idempotency keys: (key, position, digest of the content)."""
    c.executemany("INSERT INTO keys VALUES (?,?,?)", rows)


def note_mentions(c: Transaction, rows: Iterable[tuple[str, int]]) -> None:
    """Note the entries that name other persons than they are about: (person, position)."""
    c.executemany("INSERT INTO mentions VALUES (?,?) ON CONFLICT DO NOTHING", list(rows))


def add_subtrees(c: Transaction, rows: Iterable[tuple[int, int, bytes]]) -> None:
    """Store hashes of whole subtrees: (level, number, hash)."""
    c.executemany("INSERT INTO subtrees VALUES (?,?,?)", rows)


# -- who is named by others, digests, what an erasure asks -------------------------------------------------------------


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


# -- looked at whole ---------------------------------------------------------------------------------------------------


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


def count_keys(c: Transaction) -> int:
    """How many idempotency keys are known."""
    c.execute("SELECT count(*) FROM keys")
    return int(c.fetchone()[0])


# -- of one stream, as evidence shows it -------------------------------------------------------------------------------


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


# -- as of a size ------------------------------------------------------------------------------------------------------


def of_stream_before(c: Transaction, stream: str, size: int) -> list[Row]:
    """The entries of a stream in a log of so many, by version."""
    c.execute("SELECT position, state FROM entries WHERE stream=? AND position<? ORDER BY version", [stream, size])
    return c.fetchall()


def of_stream_but(c: Transaction, stream: str, size: int, but: str) -> list[Row]:
    """The same without those of a type."""
    c.execute(
        "SELECT position, state FROM entries WHERE stream=? AND position<? AND type<>? ORDER BY version",
        [stream, size, but],
    )
    return c.fetchall()


def count_before(c: Transaction, stream: str, size: int) -> int:
    """How many entries a stream has in a log of so many."""
    c.execute("SELECT count(*) FROM entries WHERE stream=? AND position<?", [stream, size])
    return int(c.fetchone()[0])


def leaf_before(c: Transaction, stream: str, size: int) -> bytes:
    """The leaf hash of the newest entry of a stream in a log of so many; b"" for none."""
    c.execute("SELECT leaf FROM entries WHERE stream=? AND position<? ORDER BY version DESC LIMIT 1", [stream, size])
    row = c.fetchone()
    return row[0] if row is not None else b""


def has_since(c: Transaction, streams: Iterable[str], types: Sequence[str], position: int) -> bool:
    """Whether one of these streams has an entry of one of these types from a position on."""
    marks = marks_for(types)
    return any(
        exists(
            c,
            f"SELECT 1 FROM entries WHERE stream IN ({some}) AND type IN ({marks}) AND position>=?",
            [*part, *types, position],
        )
        for some, part in parts(streams)
    )


def streams_before(c: Transaction, size: int) -> list[str]:
    """The streams of a log of so many entries, in no order."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE position<?", [size])
    return [row[0] for row in c.fetchall()]


def streams_since(c: Transaction, position: int) -> set[str]:
    """The streams with an entry from a position on."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE position>=?", [position])
    return {row[0] for row in c.fetchall()}


def touched_since(c: Transaction, position: int) -> set[str]:
    """The streams with an entry from a position on, and those that were ever joined with one of them.

    Without DISTINCT: UNION does it, and the planner would read a whole index for it, however few entries there are.
    """
    c.execute(
        "WITH told (stream) AS (SELECT stream FROM entries WHERE position>=?) "
        "SELECT stream FROM told UNION SELECT other FROM links JOIN told ON one = stream",
        [position],
    )
    return {row[0] for row in c.fetchall()}


def streams_named(c: Transaction, prefix: str) -> list[str]:
    """The streams whose name begins so, in order. `prefix`: letters, a colon."""
    c.execute("SELECT DISTINCT stream FROM entries WHERE stream LIKE ? ORDER BY stream", [prefix + "%"])
    return [row[0] for row in c.fetchall()]


# -- as the projections fold it ----------------------------------------------------------------------------------------


def leaf_page(c: Transaction, start: int, size: int, limit: int) -> list[tuple[int, str, bytes, bytes]]:
    """(position, stream, leaf hash, state) of entries from a position on, in a log of so many, in order."""
    c.execute(
        "SELECT position, stream, leaf, state FROM entries WHERE position>=? AND position<? ORDER BY position LIMIT ?",
        [start, size, limit],
    )
    return c.fetchall()


def has_stream(c: Transaction, stream: str) -> bool:
    """Whether a stream has an entry."""
    return exists(c, "SELECT 1 FROM entries WHERE stream=?", [stream])


def has_leaf(c: Transaction, stream: str, leaf: bytes) -> bool:
    """Whether a stream has an entry with that leaf hash."""
    return exists(c, "SELECT 1 FROM entries WHERE stream=? AND leaf=?", [stream, leaf])
