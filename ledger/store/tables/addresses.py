"""Addresses of those who are there, what binds them, and what outlives the erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables.many import exists, marks_for, parts

Living = tuple[str, int, bytes, str, str, bytes]  # person, position, tag, kind, how, bound


# -- on record of those who are there ----------------------------------------------------------------------------------


def add(c: Transaction, rows: Iterable[Living]) -> None:
    """Store addresses that entries bring. One that is there already stays."""
    c.executemany("INSERT INTO living VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING", rows)


def everything(c: Transaction) -> list[Living]:
    """All addresses on record, by person, position and tag."""
    c.execute("SELECT person, position, tag, kind, how, bound FROM living ORDER BY person, position, tag")
    return c.fetchall()


def of_person(c: Transaction, person: str) -> list[tuple[int, bytes, str, str, bytes]]:
    """(position, tag, kind, how, bound) of the addresses on record of a person, by position and tag."""
    c.execute(
        "SELECT position, tag, kind, how, bound FROM living WHERE person=? ORDER BY position, tag",
        [person],
    )
    return c.fetchall()


def kinds(c: Transaction, person: str) -> list[tuple[bytes, str]]:
    """(tag, kind) of the addresses that a person ever had, bounced ones apart, each once, in no order."""
    c.execute("SELECT DISTINCT tag, kind FROM living WHERE person=? AND how<>'bounced'", [person])
    return c.fetchall()


def persons_with(c: Transaction, tag: bytes) -> list[str]:
    """All persons who ever had an address, bounced ones apart, in order."""
    c.execute("SELECT DISTINCT person FROM living WHERE tag=? AND how<>'bounced' ORDER BY person", [tag])
    return [row[0] for row in c.fetchall()]


def had_before(c: Transaction, persons: Sequence[str], tag: bytes, position: int) -> bool:
    """Whether an address came to one of these persons with an entry before that position, bounced ones apart."""
    return exists(
        c,
        f"SELECT 1 FROM living WHERE tag=? AND person IN ({marks_for(persons)}) AND position<? AND how<>'bounced'",
        [tag, *persons, position],
    )


def first_and_last(c: Transaction, tag: bytes) -> tuple[str | None, str | None]:
    """The first and the last person, in order, on whose record an address is; None twice for nobody."""
    c.execute("SELECT min(person), max(person) FROM living WHERE tag=?", [tag])
    first, last = c.fetchone()
    return first, last


def take(c: Transaction, person: str) -> list[tuple[bytes, bytes]]:
    """Remove the addresses on record of a person. Returns their (tag, bound), in no order."""
    c.execute("DELETE FROM living WHERE person=? RETURNING tag, bound", [person])
    return c.fetchall()


# -- those that several have -------------------------------------------------------------------------------------------


def note_shared(c: Transaction, tags: Iterable[bytes]) -> None:
    """Note those of these tags that several persons have on record."""
    for marks, part in parts(tags):
        c.execute(
            f"WITH told (tag) AS (VALUES {marks.replace('?', '(?)')}) INSERT INTO shared SELECT tag FROM told "
            "WHERE (SELECT min(person) FROM living WHERE living.tag = told.tag) "
            "<> (SELECT max(person) FROM living WHERE living.tag = told.tag) ON CONFLICT DO NOTHING",
            part,
        )


def drop_shared(c: Transaction, tag: bytes) -> None:
    """Remove a tag from those that several have."""
    c.execute("DELETE FROM shared WHERE tag=?", [tag])


def shared(c: Transaction) -> set[bytes]:
    """The tags that are noted as those of several persons."""
    c.execute("SELECT tag FROM shared")
    return {row[0] for row in c.fetchall()}


def of_several(c: Transaction) -> set[bytes]:
    """The tags that are on record of several persons."""
    c.execute("SELECT tag FROM living GROUP BY tag HAVING min(person)<>max(person)")
    return {row[0] for row in c.fetchall()}


# -- entries that an answer about addresses looks at -------------------------------------------------------------------


def add_objections(c: Transaction, rows: Iterable[tuple[str, int]]) -> None:
    """Store which entries may bind an address: (person, position). One that is there already stays."""
    c.executemany("INSERT INTO noes VALUES (?,?) ON CONFLICT DO NOTHING", rows)


def add_beside(c: Transaction, rows: Iterable[tuple[str, int]]) -> None:
    """Store which entries are looked at beside the state: (person, position). One that is there already stays."""
    c.executemany("INSERT INTO beside VALUES (?,?) ON CONFLICT DO NOTHING", rows)


def all_objections(c: Transaction) -> set[tuple[str, int]]:
    """(person, position) of all entries that may bind an address."""
    c.execute("SELECT person, position FROM noes")
    return set(c.fetchall())


def all_beside(c: Transaction) -> set[tuple[str, int]]:
    """(person, position) of all entries that are looked at beside the state."""
    c.execute("SELECT person, position FROM beside")
    return set(c.fetchall())


def drop_entries(c: Transaction, person: str) -> None:
    """Remove a person's entries from those that may bind an address, and from those beside the state."""
    c.execute("DELETE FROM noes WHERE person=?", [person])
    c.execute("DELETE FROM beside WHERE person=?", [person])


# -- of the deleted, who are still led to, and of the erased: a keyed hash and an objection ----------------------------


def remember(c: Transaction, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
    """Store addresses of persons whose fields go: (tag, person, masked hash). One that is there already stays."""
    c.executemany("INSERT INTO addresses VALUES (?,?,?) ON CONFLICT DO NOTHING", rows)


def take_remembered(c: Transaction, person: str) -> list[tuple[bytes, bytes]]:
    """Remove what `remember` stored of a person. Returns (tag, masked hash), in no order."""
    c.execute("DELETE FROM addresses WHERE person=? RETURNING tag, masked", [person])
    return c.fetchall()


def remembered_of(c: Transaction, tags: Sequence[bytes]) -> set[str]:
    """The persons of whom one of these addresses is remembered."""
    c.execute(f"SELECT person FROM addresses WHERE tag IN ({marks_for(tags)})", tags)
    return {row[0] for row in c.fetchall()}


def suppress(c: Transaction, rows: Iterable[tuple[bytes, bytes, int]]) -> None:
    """Store what stays of erased persons: (key, objection, since when); of the same objection the latest counts."""
    latest: dict[tuple[bytes, bytes], int] = {}  # a store may take all rows at once, and then none twice
    for key, said, since in rows:
        latest[key, said] = max(since, latest.get((key, said), since))
    c.executemany(
        "INSERT INTO suppressed VALUES (?,?,?) ON CONFLICT (key, said) DO UPDATE SET since=excluded.since "
        "WHERE excluded.since>suppressed.since",
        [(*both, since) for both, since in latest.items()],
    )


def suppressed_under(c: Transaction, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """(objection, the latest since when) of what stays under one of these keys, each once, in no order."""
    c.execute(f"SELECT said, max(since) FROM suppressed WHERE key IN ({marks_for(keys)}) GROUP BY said", keys)
    return c.fetchall()


def any_stays(c: Transaction) -> bool:
    """Whether an address of anybody deleted or erased is there."""
    c.execute("SELECT EXISTS (SELECT 1 FROM suppressed) OR EXISTS (SELECT 1 FROM addresses)")
    return bool(c.fetchone()[0])


def stays(c: Transaction, keys: Sequence[bytes], tags: Sequence[bytes]) -> bool:
    """Whether one of these addresses, by the keys of the erased or the tags of the deleted, is there."""
    c.execute(
        f"SELECT EXISTS (SELECT 1 FROM suppressed WHERE key IN ({marks_for(keys)})) "
        f"OR EXISTS (SELECT 1 FROM addresses WHERE tag IN ({marks_for(tags)}))",
        [*keys, *tags],
    )
    return bool(c.fetchone()[0])


# -- looked at whole ---------------------------------------------------------------------------------------------------


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


# -- beside a person's state -------------------------------------------------------------------------------------------


def any_beside(c: Transaction) -> bool:
    """Whether two persons share an address, or there is an entry that is looked at beside the state of its person."""
    c.execute("SELECT EXISTS (SELECT 1 FROM shared) OR EXISTS (SELECT 1 FROM beside)")
    return bool(c.fetchone()[0])


def beside(c: Transaction, persons: Collection[str]) -> tuple[dict[bytes, str], bool]:
    """({tag: kind} of the addresses that persons share with others, whether an entry is looked at beside their state).

    One statement: of persons at most half as many as a database takes values.
    """
    marks = marks_for(persons)
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
