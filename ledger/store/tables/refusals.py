"""Refused events by key, and whom they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import rows_in

# -- what intake asks and writes ---------------------------------------------------------------------------------------


def of_keys(c: Transaction, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, digest of the content, position of the entry that says it) of refusals of these keys, in no order."""
    return rows_in(c, "SELECT key, digest, position FROM refused WHERE key IN ({marks})", keys)


def add(c: Transaction, key: bytes, digest: bytes, alias: bytes | None, position: int) -> None:
    """Store a refusal. `alias`: of the name that the event is about, None where it is about nobody."""
    c.execute("INSERT INTO refused VALUES (?,?,?,?)", [key, digest, alias, position])


def add_names(c: Transaction, aliases: Iterable[bytes], position: int) -> None:
    """Store whom else a refused event names."""
    c.executemany("INSERT INTO refused_names VALUES (?,?)", [(alias, position) for alias in aliases])


# -- what is found of persons who are erased, and goes -----------------------------------------------------------------


def naming(c: Transaction, aliases: Iterable[bytes]) -> set[int]:
    """The positions of refusals whose events are about one of these names, or name it besides."""
    names = list(aliases)
    about = rows_in(c, "SELECT position FROM refused WHERE person_key IN ({marks})", names)
    found = {row[0] for row in about}
    besides = rows_in(c, "SELECT position FROM refused_names WHERE alias IN ({marks})", names)
    return found | {row[0] for row in besides}


def names(c: Transaction) -> list[tuple[bytes, int]]:
    """(name, position) of all that refused events name besides whom they are about, in no order."""
    c.execute("SELECT alias, position FROM refused_names")
    return c.fetchall()


def drop_names(c: Transaction, aliases: Iterable[bytes]) -> None:
    """Forget that refused events name these besides whom they are about."""
    c.executemany("DELETE FROM refused_names WHERE alias=?", [(alias,) for alias in aliases])


def leaves(c: Transaction) -> list[tuple[int, bytes]]:
    """(position, leaf hash) of the entries that say refusals, in no order."""
    c.execute("SELECT position, leaf FROM refused JOIN entries USING (position)")
    return c.fetchall()


def forget(c: Transaction, key: bytes, position: int) -> list[bytes]:
    """Forget content and person of a refused event: an empty digest stays. Returns the bytes that were there.

    A refusal of the same key whose digest is empty already is replaced.
    """
    c.execute("DELETE FROM refused WHERE key=? AND position=? RETURNING digest, person_key", [key, position])
    rows = c.fetchall()
    if rows:
        c.execute(
            "INSERT INTO refused VALUES (?,?,NULL,?) "
            "ON CONFLICT (key, digest) DO UPDATE SET person_key=NULL, position=excluded.position",
            [key, b"", position],
        )
    return [one for row in rows for one in row if one]


# -- looked at whole ---------------------------------------------------------------------------------------------------


def positions(c: Transaction) -> set[int]:
    """The positions of the entries that say refusals."""
    c.execute("SELECT DISTINCT position FROM refused")
    return {row[0] for row in c.fetchall()}
