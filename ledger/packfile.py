"""Reading a pack and refusing one that cannot be used, naming the place."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ledger.conditions import AnyOf, Credit, OnRecord
from ledger.errors import PackError
from ledger.events import TYPES
from ledger.pack import TELLING, Clause, Match, Pack, Words
from ledger.readings import in_force, reading_of, rows_of


def load_pack(raw: bytes, readings: Mapping[str, str] | None = None) -> Pack:
    """A pack from the bytes of its TOML file, with the rows of its readings, or of others (clause -> reading).

    Raises PackError naming the place.
    """
    return in_force(parse_pack(raw), readings)


def parse_pack(raw: bytes) -> Pack:
    """A pack as it is written, with the rows of all readings. Raises PackError naming the place."""
    try:
        document = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PackError(f"not a TOML file: {error}") from None
    try:
        pack = Pack.model_validate({**document, "sha256": hashlib.sha256(raw).hexdigest()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PackError(f"{_place(document, first['loc'])}: {first['msg']}") from None
    problems = unknown_words(pack)
    if problems:
        raise PackError("; ".join(problems[:5]))
    return pack


def _place(document: dict[str, Any], loc: tuple[str | int, ...]) -> str:
    """`clause PAR-MKT-1: permit.0.needs` for a location inside a clause."""
    if len(loc) > 1 and loc[0] == "clause" and isinstance(loc[1], int):
        clause = document["clause"][loc[1]]
        name = clause.get("id", f"number {loc[1] + 1}") if isinstance(clause, dict) else f"number {loc[1] + 1}"
        return f"clause {name}: " + ".".join(str(part) for part in loc[2:])
    return ".".join(str(part) for part in loc)


def unknown_words(pack: Pack) -> list[str]:
    """Every word a rule uses that the pack does not declare: purposes, categories, classes, facts, clauses, types."""
    problems = [f"clause {i} stands twice" for i in sorted({c.id for c in pack.clause if _count(pack, c.id) > 1})]
    facts = {define.fact for clause in pack.clause for define in clause.define}
    for place, words, known, what in _uses(pack, facts):
        problems += [f"{place}: unknown {what} {word!r}" for word in words if word not in known]
    problems += [problem for clause in pack.clause for problem in _unknown_fields(clause)]
    problems += _unknown_readings(pack)
    both = set(pack.categories.personal) & set(pack.categories.anonymous)
    problems += [f"categories: {word!r} is both personal and anonymous" for word in sorted(both)]
    return problems


def _unknown_readings(pack: Pack) -> Iterator[str]:
    rows = [
        (f"clause {clause.id}: {name}", clause.id, row) for clause in pack.clause for name, _, row in rows_of(clause)
    ]
    if pack.change is not None:
        rows += [("change: stored", row.clause, row) for row in pack.change.by_reading]
    readings = {clause.id: clause.interpretation.readings for clause in pack.clause if clause.interpretation}
    for place, clause_id, row in rows:
        wanted = reading_of(row, clause_id)
        if wanted is not None and wanted[1] not in readings.get(wanted[0], {}):
            yield f"{place}: clause {wanted[0]} has no reading {row.reading!r}"
    for clause in pack.clause:
        if clause.interpretation and clause.interpretation.reading not in clause.interpretation.readings:
            yield f"clause {clause.id}: has no reading {clause.interpretation.reading!r}"


def _unknown_fields(clause: Clause) -> list[str]:
    """Fields of events that no such event has, and facts that no fold keeps."""
    named: list[tuple[str, str]] = []
    for door in clause.door:
        named += [(door.event, field) for field in (*door.where, door.needs)]
    for expect in clause.expect:
        fields = [*expect.where, expect.field, expect.has, expect.same]
        named += [(expect.event, field) for field in fields if field is not None]
        if expect.until is not None and expect.same is not None:
            named.append((expect.until, expect.same))
    problems = [
        f"clause {clause.id}: {event} has no field {field!r}"
        for event, field in named
        if event in TYPES and field not in TYPES[event].model_json_schema()["properties"]
    ]
    events = [pattern.type for define in clause.define for pattern in define.events]
    kept = ", ".join(sorted(TELLING))
    return problems + [
        f"clause {clause.id}: {event} is no fact that is kept (those are {kept})"
        for event in events
        if event in TYPES and event not in TELLING
    ]


def _count(pack: Pack, clause_id: str) -> int:
    return sum(clause.id == clause_id for clause in pack.clause)


def _uses(pack: Pack, facts: set[str]) -> list[tuple[str, Words, Any, str]]:
    uses: list[tuple[str, Words, Any, str]] = [
        ("marketing", pack.marketing, pack.known_purposes, "purpose"),
        ("advertising_purposes", pack.advertising_purposes, pack.known_purposes, "purpose"),
        ("advertising_classes", pack.advertising_classes, pack.known_classes, "class"),
        ("detected", list(pack.detected.values()), pack.known_categories, "category"),
        *(
            (f"personal_fields.{name}", [field.category], pack.known_categories, "category")
            for name, field in pack.personal_fields.items()
            if field.category
        ),
    ]
    if pack.processor:
        uses.append(("processor", [pack.processor.clause], pack.ids, "clause"))
    if pack.change:
        named = [one for row in pack.change.by_reading for one in (row.clause, row.no_email)]
        named += [pack.change.material.clause, pack.change.other.clause]
        uses.append(("change", [name for name in named if name], pack.ids, "clause"))
        uses.append(("change", [pack.change.notice_purpose], pack.known_purposes, "purpose"))
        uses.append(("change.joined_by", [p.type for p in pack.change.joined_by], TYPES, "event type"))
    for clause in pack.clause:
        for rule in (*clause.permit, *clause.forbid, *clause.gate):
            uses += _match_uses(f"clause {clause.id}", rule, pack, facts)
        for objection in clause.objection:
            uses.append((f"clause {clause.id}: spares", objection.spares, pack.known_purposes, "purpose"))
        events = [p.type for d in clause.define for p in d.events] + [d.event for d in clause.door]
        events += [e.event for e in clause.expect] + [e.until for e in clause.expect if e.until]
        uses.append((f"clause {clause.id}", events, TYPES, "event type"))
        for lapse in clause.lapse:
            uses.append((f"clause {clause.id}: lapse", lapse.purpose or [], pack.known_purposes, "purpose"))
        if clause.tell:
            uses.append((f"clause {clause.id}: tell", clause.tell.recipient_class, pack.known_classes, "class"))
    return uses


def _match_uses(place: str, rule: Match, pack: Pack, facts: set[str]) -> list[tuple[str, Words, Any, str]]:
    needs = [*getattr(rule, "needs", []), *getattr(rule, "when", []), *getattr(rule, "unless", [])]
    flat = [inner for need in needs for inner in (need.of if isinstance(need, AnyOf) else [need])]
    return [
        (place, [*(rule.purpose or []), *(rule.not_purpose or [])], pack.known_purposes, "purpose"),
        (place, [*(rule.categories or []), *(rule.any_category or [])], pack.known_categories, "category"),
        (place, rule.recipient_class or [], pack.known_classes, "class"),
        (place, [need.fact for need in flat if isinstance(need, OnRecord)], facts, "fact"),
        (place, [need.category for need in flat if isinstance(need, Credit)], pack.known_categories, "category"),
    ]
