"""Readings: where a statement can be read in two ways, which way the rows of a pack follow.

A clause with an `interpretation` names its readings and the one in force. A row that carries `reading` counts only
under that reading: its own clause's, or that of another one, which it names in `reading_of`. To change a reading is to
change one word in the pack; no code, and no other row, is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from consent_ledger.ledger.errors import PackError
from consent_ledger.ledger.policy.pack import Clause, Pack, Row

LISTS: Final = ("permit", "forbid", "gate", "objection", "define", "door", "duty", "keep", "lapse", "expect")
SINGLES: Final = ("identification", "hold", "tell")

R = TypeVar("R", bound=Row)


def rows_of(clause: Clause) -> Iterator[tuple[str, int | None, Row]]:
    """Every row of a clause: (mechanism, number or None where there is one at most, row)."""
    for name in LISTS:
        for number, row in enumerate(getattr(clause, name)):
            yield name, number, row
    for name in SINGLES:
        row = getattr(clause, name)
        if row is not None:
            yield name, None, row


def reading_of(row: Row, clause_id: str) -> tuple[str, str] | None:
    """(clause, reading) that a row counts under, or None: always."""
    return None if row.reading is None else (row.reading_of or clause_id, row.reading)


def in_force(pack: Pack, switched: Mapping[str, str] | None = None) -> Pack:
    """The pack with only the rows that count under its readings. `switched`: clause -> another reading than the pack's.

    Raises PackError for a clause or a reading that there is not.
    """
    chosen = {clause.id: clause.interpretation.reading for clause in pack.clause if clause.interpretation}
    for clause_id, reading in (switched or {}).items():
        interpretation = pack.ids[clause_id].interpretation if clause_id in pack.ids else None
        if interpretation is None or reading not in interpretation.readings:
            there = ", ".join(interpretation.readings) if interpretation else "none"
            raise PackError(f"clause {clause_id}: has no reading {reading!r} (it has {there})")
        chosen[clause_id] = reading
    clauses = [_clause_in_force(clause, chosen) for clause in pack.clause]
    change = pack.change
    if change is not None:
        stored = [one for row in change.by_reading for one in _counting([row], row.clause, chosen)]
        if len(stored) != 1:
            raise PackError(f"change.stored: {len(stored)} of them are in force, one must be (see their readings)")
        change = change.model_copy(update={"by_reading": stored})
    edition = pack.sha256 + "".join(f" {name}={reading}" for name, reading in sorted((switched or {}).items()))
    fields = {name: getattr(pack, name) for name in Pack.model_fields}  # not what was computed of the other rows
    return Pack.model_construct(**{**fields, "clause": clauses, "change": change, "edition": edition})


def _counting(rows: list[R], clause_id: str, chosen: Mapping[str, str]) -> list[R]:
    found = []
    for row in rows:
        wanted = reading_of(row, clause_id)
        if wanted is None or chosen.get(wanted[0]) == wanted[1]:
            found.append(row)
    return found


def _clause_in_force(clause: Clause, chosen: Mapping[str, str]) -> Clause:
    changed: dict[str, object] = {name: _counting(getattr(clause, name), clause.id, chosen) for name in LISTS}
    for name in SINGLES:
        row = getattr(clause, name)
        changed[name] = next(iter(_counting([row], clause.id, chosen)), None) if row is not None else None
    if clause.interpretation is not None:
        reading = {"reading": chosen[clause.id]}
        changed["interpretation"] = clause.interpretation.model_copy(update=reading)
    return clause.model_copy(update=changed)
