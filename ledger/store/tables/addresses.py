"""Addresses of those who are there, what binds them, and what outlives the erased."""

from __future__ import annotations

from collections.abc import Collection

from consent_ledger.ledger.store.contract import Transaction

# -- looked at whole


def suppressed(c: Transaction) -> list[tuple[bytes, object]]:
    """(keyed hash of an address, what was said, as bytes) of all that outlives erased persons, in no order."""
    c.execute("SELECT key, said FROM suppressed")
    return c.fetchall()


def count_suppressed(c: Transaction) -> tuple[int, int]:
    """(how many addresses of erased persons are kept, how much that was said under them)."""
    c.execute("SELECT count(DISTINCT key), count(*) FROM suppressed")
    keys, said = c.fetchone()
    return keys, said


def masked(c: Transaction) -> list[tuple[bytes, str, bytes]]:
    """(tag, person, masked hash) of all addresses of deleted persons, by tag and person."""
    c.execute("SELECT tag, person, masked FROM addresses ORDER BY tag, person")
    return c.fetchall()


def tags(c: Transaction, person: str, position: int) -> set[bytes]:
    """The tags of the addresses that an entry brought to a person."""
    c.execute("SELECT tag FROM living WHERE person=? AND position=?", [person, position])
    return {row[0] for row in c.fetchall()}


# -- beside a person's state


def any_beside(c: Transaction) -> bool:
    """Whether two persons share an address, or there is an entry that is looked at beside the state of its person."""
    c.execute("SELECT EXISTS (SELECT 1 FROM shared) OR EXISTS (SELECT 1 FROM beside)")
    return bool(c.fetchone()[0])


def beside(c: Transaction, persons: Collection[str]) -> tuple[dict[bytes, str], bool]:
    """({tag: kind} of the addresses that persons share with others, whether an entry is looked at beside their state).

    One statement: of persons at most half as many as a database takes values.
    """
    marks = ",".join("?" * len(persons))
    c.execute(
        f"SELECT tag, kind FROM living JOIN shared USING (tag) WHERE person IN ({marks}) AND how<>'bounced' "
        f"UNION SELECT NULL, NULL FROM beside WHERE person IN ({marks})",
        [*persons, *persons],
    )
    rows = dict(c.fetchall())
    return {tag: kind for tag, kind in rows.items() if tag is not None}, None in rows


def objecting_with(c: Transaction, tag: bytes) -> set[str]:
    """The persons with an address who may have said a no, or are joined with somebody who may have."""
    c.execute(
        "SELECT DISTINCT person FROM living WHERE tag=? AND how<>'bounced' AND (EXISTS (SELECT 1 FROM noes "
        "WHERE noes.person=living.person) OR EXISTS (SELECT 1 FROM links WHERE one=living.person))",
        [tag],
    )
    return {row[0] for row in c.fetchall()}
