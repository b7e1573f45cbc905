"""The words of a pack: every one that a rule uses and the pack, or the contract, does not know."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final

from consent_ledger.ledger.events.catalogue import TYPES, UNPRINTABLE
from consent_ledger.ledger.limits import PACK_PROBLEM_LIMIT
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.conditions import AnyOf, Credit, OnRecord, RecipientAgreement
from consent_ledger.ledger.policy.interpretations import reading_of, rows_of
from consent_ledger.ledger.policy.pack import ACTIVITY, TELLING, Clause, Match, Pack, Permit, alike

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # ledger.events.facts.Word
_COMPARED: Final = 200  # characters of words that are compared with others


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a pack: where, in which clause, and in words. `see`: what else has a part in it."""

    path: Path
    clause: str | None
    message: str
    see: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.message if self.clause is None else f"clause {self.clause}: {self.message}"


def like(word: str, known: Collection[str]) -> str:
    """` (did you mean 'newsletter'?)`, or nothing where no known word is like it."""
    short = [one for one in known if len(one) <= _COMPARED]
    near = get_close_matches(word, short, 1) if len(word) <= _COMPARED else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def unknown_words(pack: Pack) -> list[Problem]:
    """Every unknown word, group, fact, clause, event type, event field and reading, and what is twice.

    All of them, as far as they are no more than anybody mends at once.
    """
    return list(islice(_all_unknown(pack), PACK_PROBLEM_LIMIT))


def _all_unknown(pack: Pack) -> Iterator[Problem]:
    yield from _twice(pack)
    yield from _in_settings(pack)
    facts = {define.fact for clause in pack.clause for define in clause.define}
    for number, clause in enumerate(pack.clause):
        place: Path = ("clause", number)
        for mechanism in ("permit", "forbid", "gate"):
            for index, rule in enumerate(getattr(clause, mechanism)):
                yield from _in_match((*place, mechanism, index), clause.id, rule, pack, facts)
        yield from _in_others(place, clause, pack)
        yield from _in_events(place, clause, pack)
    yield from _unknown_readings(pack)


def _unknown(
    path: Path, words: Sequence[str] | None, known: Collection[str], what: str, clause: str | None = None
) -> Iterator[Problem]:
    for number, word in enumerate(words or ()):
        if word not in known:
            where = "" if clause else f"{'.'.join(str(part) for part in path)}: "
            yield Problem((*path, number), clause, f"{where}unknown {what} {word!r}{like(word, known)}")


def _twice(pack: Pack) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, clause in enumerate(pack.clause):
        if clause.id in seen:
            first: Path = ("clause", seen[clause.id], "id")
            yield Problem(("clause", number, "id"), None, f"clause {clause.id} stands twice", (first,))
        seen.setdefault(clause.id, number)
    anonymous = pack.categories.anonymous
    for word in sorted(set(pack.categories.personal) & set(anonymous)):
        place: Path = ("categories", "anonymous", anonymous.index(word))
        yield Problem(place, None, f"categories: {word!r} is both personal and anonymous")


def unsayable(pack: Pack) -> Iterator[Problem]:
    """Every word that no event can say, as events write them, every word that stands twice, and such ids of clauses."""
    categories = pack.categories
    for path, words in (
        (("purposes",), pack.purposes),
        (("classes",), pack.classes),
        (("categories", "personal"), categories.personal),
        (("categories", "anonymous"), categories.anonymous),
        (("agreements",), pack.agreements),
        (("forms",), pack.forms or []),
        (("reasons",), pack.reasons or []),
    ):
        yield from _no_words(path, words)
    for name in ("lists", "items", "services"):
        yield from _no_names((name,), getattr(pack, name) or [], name.removesuffix("s"))
    for number, clause in enumerate(pack.clause):
        if _no_name(clause.id):
            yield Problem(("clause", number, "id"), None, f"the id of clause number {number + 1} {_no_name(clause.id)}")


def _no_words(path: Path, words: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, word in enumerate(words):
        where = f"{'.'.join(str(part) for part in path)}: {word[:_COMPARED]!r}"
        if not _WORD.fullmatch(word):
            yield Problem(
                (*path, number), None, f"{where}: no event can say it (a word is a-z, 0-9, - and _, at most 64)"
            )
        elif word in seen:
            yield Problem((*path, number), None, f"{where} stands twice")
        seen.add(word)


def _no_names(path: Path, names: Sequence[str], field: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        wrong = _no_name(name) or ("stands twice" if alike(field, name) in seen else "")
        seen.add(alike(field, name))
        if wrong:
            yield Problem((*path, number), None, f"{path[0]}: {name[:_COMPARED]!r} {wrong}")


def _no_name(name: str) -> str:
    """Why something is no name, as events take them; empty where it is one."""
    if not name.strip():
        return "is empty"
    return "holds what is not seen or turns text around" if UNPRINTABLE.search(name) else ""


def _in_settings(pack: Pack) -> Iterator[Problem]:
    for name, words, known, what in (
        ("marketing", pack.marketing, pack.known_purposes, "purpose"),
        ("by_list", pack.by_list, pack.known_purposes, "purpose"),
        ("advertising_purposes", pack.advertising_purposes, pack.known_purposes, "purpose"),
        ("advertising_classes", pack.advertising_classes, pack.known_classes, "class"),
    ):
        yield from _unknown((name,), words, known, what)
    for kind, category in pack.detected.items():
        yield from _unknown(("detected", kind), [category], pack.known_categories, "category")
    for name, field in pack.personal_fields.items():
        if field.category:
            place: Path = ("personal_fields", name, "category")
            yield from _unknown(place, [field.category], pack.known_categories, "category")
    if pack.processor:
        yield from _unknown(("processor", "clause"), [pack.processor.clause], pack.ids, "clause")
    if pack.change:
        yield from _in_change(pack)


def _in_change(pack: Pack) -> Iterator[Problem]:
    change = pack.change
    assert change is not None
    clauses: list[tuple[Path, str | None]] = [
        (("change", "material", "clause"), change.material.clause),
        (("change", "other", "clause"), change.other.clause),
    ]
    for number, row in enumerate(change.by_reading):
        clauses += [(("change", "stored", number, name), getattr(row, name)) for name in ("clause", "no_email")]
    for path, clause in clauses:
        yield from _unknown(path, [clause] if clause else [], pack.ids, "clause")
    yield from _unknown(("change", "notice_purpose"), [change.notice_purpose], pack.known_purposes, "purpose")
    for number, pattern in enumerate(change.joined_by):
        yield from _unknown(("change", "joined_by", number, "type"), [pattern.type], TYPES, "event type")


def _in_match(path: Path, clause: str, rule: Match, pack: Pack, facts: set[str]) -> Iterator[Problem]:
    for name in ("purpose", "not_purpose"):
        yield from _unknown((*path, name), getattr(rule, name), pack.known_purposes, "purpose", clause)
    for name in ("categories", "any_category"):
        yield from _unknown((*path, name), getattr(rule, name), pack.known_categories, "category", clause)
    yield from _unknown((*path, "class"), rule.recipient_class, pack.known_classes, "class", clause)
    for name in ("country_in", "country_not_in"):
        yield from _unknown((*path, name), getattr(rule, name), pack.countries, "group of countries", clause)
    if isinstance(rule, Permit):
        yield from _unknown((*path, "beside"), rule.beside, pack.ids, "clause", clause)
    for name in ("needs", "when", "unless"):
        for number, need in enumerate(getattr(rule, name, ())):
            for inner in need.of if isinstance(need, AnyOf) else [need]:
                place = (*path, name, number)
                if isinstance(inner, OnRecord):
                    yield from _unknown(place, [inner.fact], facts, "fact", clause)
                elif isinstance(inner, RecipientAgreement):
                    yield from _unknown(place, [inner.kind], pack.known_agreements, "kind of agreement", clause)
                elif isinstance(inner, Credit):
                    yield from _unknown(place, [inner.category], pack.known_categories, "category", clause)
                    yield from _unknown(place, [inner.purpose], pack.known_purposes, "purpose", clause)


def _in_others(path: Path, clause: Clause, pack: Pack) -> Iterator[Problem]:
    for number, objection in enumerate(clause.objection):
        place = (*path, "objection", number, "spares")
        yield from _unknown(place, objection.spares, pack.known_purposes, "purpose", clause.id)
    for number, lapse in enumerate(clause.lapse):
        place = (*path, "lapse", number, "purpose")
        yield from _unknown(place, lapse.purpose, pack.known_purposes, "purpose", clause.id)
    for number, keep in enumerate(clause.keep):
        place = (*path, "keep", number)
        yield from _unknown((*place, "categories"), keep.categories, pack.known_categories, "category", clause.id)
        yield from _unknown((*place, "purpose"), keep.purpose, pack.known_purposes, "purpose", clause.id)
    for number, expect in enumerate(clause.expect):
        place = (*path, "expect", number, "class")
        yield from _unknown(place, expect.recipient_class, pack.known_classes, "class", clause.id)
    if clause.tell:
        yield from _unknown(
            (*path, "tell", "class"), clause.tell.recipient_class, pack.known_classes, "class", clause.id
        )


def _in_events(path: Path, clause: Clause, pack: Pack) -> Iterator[Problem]:
    """Types of events that there are not, fields that no such event has, and facts that no fold keeps."""
    for number, door in enumerate(clause.door):
        place = (*path, "door", number)
        yield from _event((*place, "event"), door.event, clause.id)
        for field, word in door.where.items():
            yield from _field((*place, "where", field), door.event, field, clause.id)
            yield from _closed((*place, "where", field), field, word, pack, clause.id)
        yield from _field((*place, "needs"), door.event, door.needs, clause.id)
    for number, expect in enumerate(clause.expect):
        place = (*path, "expect", number)
        yield from _event((*place, "event"), expect.event, clause.id)
        for field, word in expect.where.items():
            yield from _field((*place, "where", field), expect.event, field, clause.id)
            yield from _closed((*place, "where", field), field, word, pack, clause.id)
        for name in ("field", "has", "same"):
            yield from _field((*place, name), expect.event, getattr(expect, name), clause.id)
        if expect.until is not None:
            yield from _event((*place, "until"), expect.until, clause.id)
            yield from _field((*place, "same"), expect.until, expect.same, clause.id)
    for number, duty in enumerate(clause.duty):
        place = (*path, "duty", number, "activity")
        for index, name in enumerate(duty.activity or ()):
            yield from _event((*place, index), name, clause.id)
            if name in TYPES and name not in ACTIVITY:
                kept = ", ".join(sorted(ACTIVITY))
                yield Problem((*place, index), clause.id, f"{name} is no activity that is kept (those are {kept})")
    kept = ", ".join(sorted(TELLING))
    for number, define in enumerate(clause.define):
        for index, pattern in enumerate(define.events):
            place = (*path, "define", number, "events", index, "type")
            yield from _event(place, pattern.type, clause.id)
            if pattern.type == "service.used" and pattern.value is not None:
                yield from _closed((*place[:-1], "is"), "service", pattern.value, pack, clause.id)
            if pattern.type in TYPES and pattern.type not in TELLING:
                yield Problem(place, clause.id, f"{pattern.type} is no fact that is kept (those are {kept})")


def _closed(path: Path, field: str, word: str, pack: Pack, clause: str) -> Iterator[Problem]:
    """A list, an item or a service that the pack does not name among all it has."""
    if field in pack.closed and not pack.knows(field, word):
        yield Problem(path, clause, f"unknown {field} {word!r}{like(word, list(pack.closed[field].values()))}")


def _event(path: Path, name: str, clause: str) -> Iterator[Problem]:
    yield from _unknown(path, [name], TYPES, "event type", clause)


def _field(path: Path, event: str, field: str | None, clause: str) -> Iterator[Problem]:
    if field is None or event not in TYPES:
        return
    fields = [info.alias or name for name, info in TYPES[event].model_fields.items()]
    if field not in fields:
        yield Problem(path, clause, f"{event} has no field {field!r}{like(field, fields)}")


def _unknown_readings(pack: Pack) -> Iterator[Problem]:
    readings = {clause.id: clause.interpretation.readings for clause in pack.clause if clause.interpretation}
    for number, clause in enumerate(pack.clause):
        for mechanism, index, row in rows_of(clause):
            wanted = reading_of(row, clause.id)
            if wanted is not None and wanted[0] not in pack.ids:
                named = ("clause", number, mechanism, *(() if index is None else (index,)), "reading_of")
                yield Problem(named, clause.id, f"unknown clause {wanted[0]!r}{like(wanted[0], pack.ids)}")
            elif wanted is not None and wanted[1] not in readings.get(wanted[0], {}):
                place: Path = ("clause", number, mechanism, *(() if index is None else (index,)), "reading")
                hint = like(wanted[1], readings.get(wanted[0], {}))
                yield Problem(place, clause.id, f"unknown reading {row.reading!r}{hint}")
        one = clause.interpretation
        if one and one.reading not in one.readings:
            hint = like(one.reading, one.readings)
            place = ("clause", number, "interpretation", "reading")
            yield Problem(place, clause.id, f"unknown reading {one.reading!r}{hint}")
    for number, stored in enumerate(pack.change.by_reading if pack.change else ()):
        wanted = reading_of(stored, stored.clause)
        if wanted is not None and wanted[1] not in readings.get(wanted[0], {}):
            hint = like(wanted[1], readings.get(wanted[0], {}))
            place = ("change", "stored", number, "reading")
            yield Problem(place, None, f"change.stored: unknown reading {stored.reading!r}{hint}")
