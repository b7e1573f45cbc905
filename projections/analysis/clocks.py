"""What a pack waits for and nothing can bring: clocks, facts, double opt-ins and settings without a start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from consent_ledger.ledger.events.catalogue import TYPES
from consent_ledger.ledger.events.facts import Shown
from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.check.words import Problem, like
from consent_ledger.ledger.policy.interpretations import rows_of
from consent_ledger.projections.analysis import duties
from consent_ledger.projections.decision.decide import conditions_of

# the field that tells the events of a type apart, and what of a question can name the same; None: nothing can
_WORDS: Final[dict[str, tuple[str, str | None]]] = {
    "breach.affected": ("breach", "item"),
    "consent.granted": ("purpose", None),
    "information.collected": ("origin", None),
    "ownership.transfer.notified": ("transfer", "transfer"),
    "partner.notified": ("recipient", "recipient"),
    "service.used": ("service", None),
    "subject.registered": ("kind", None),
}
assert _WORDS.keys() == pk.TELLING


def idle(pack: pk.Pack) -> Iterator[Problem]:
    """Everything of a pack that can never start, with what would start it."""
    for number, clause in enumerate(pack.clause):
        place: Path = ("clause", number)
        for mechanism, index, row in rows_of(clause):
            path = (*place, mechanism, *(() if index is None else (index,)))
            match row:
                case pk.Duty():
                    yield from duties.duty(path, clause.id, row)
                case pk.Keep():
                    yield from duties.keep(path, clause.id, row, pack)
                case pk.Lapse():
                    yield from _lapse(path, clause.id, row, pack)
                case pk.Define():
                    for at, pattern in enumerate(row.events):
                        yield from _pattern((*path, "events", at), clause.id, pattern, pack)
                case pk.Match():
                    yield from _asking(path, clause.id, row, pack)
                case _:
                    pass  # waits for nothing
        yield from duties.without_deletion(place, clause, pack)
    yield from duties.settings(pack)
    yield from _change(pack)


def _lapse(path: Path, clause: str, lapse: pk.Lapse, pack: pk.Pack) -> Iterator[Problem]:
    """Yeses that lapse and that no row, and no change of the statement, ever looks at."""
    if pack.change is not None and any(row.by_choice for row in pack.change.by_reading):
        return
    rows = [
        row
        for one in pack.clause
        for row in (*one.permit, *one.forbid, *one.gate)
        if any(isinstance(need, cn.OptIn | cn.AnyOptIn) for need in conditions_of(row))
    ]
    if any(isinstance(need, cn.AnyOptIn) for row in rows for need in conditions_of(row)):
        return
    names: Sequence[str] = lapse.purpose if lapse.purpose is not None else pack.purposes
    idle = [name for name in names if not any(_about(row, name) for row in rows)]
    told = "for no row of the pack needs an opt-in to it, so there is no yes to lapse (an opt-in need would be one)"
    if lapse.purpose is None:
        if len(idle) == len(names):
            yield Problem(path, clause, "this lapse never applies: no row of the pack needs an opt-in")
        return
    for name in idle:
        place = (*path, "purpose", lapse.purpose.index(name))
        yield Problem(place, clause, f"the yes to {name!r} never lapses, {told}")
    if not names:
        yield Problem(path, clause, "this lapse never applies: its purpose names none")


def _about(row: pk.Match, purpose: str) -> bool:
    return (row.purpose is None or purpose in row.purpose) and purpose not in (row.not_purpose or ())


def _pattern(path: Path, clause: str | None, pattern: pk.Pattern, pack: pk.Pack) -> Iterator[Problem]:
    """A pattern of events that no event matches. Requires nothing: unknown types are somebody else's to report."""
    if pattern.type not in _WORDS:
        return
    told, same = _WORDS[pattern.type]
    where = "" if clause else "change.joined_by: "
    words: list[str] | None = _literal(TYPES[pattern.type].model_fields[told].annotation)
    if pattern.type == "consent.granted":
        words = pack.purposes
    if pattern.value is not None and words is not None and pattern.value not in words:
        hint = like(pattern.value, words)
        text = f"{where}no {pattern.type} has the {told} {pattern.value!r}{hint}, so this never matches"
        yield Problem((*path, "is"), clause, text)
    if pattern.same is not None and pattern.same != same:
        hint = f'same = "{same}" would match' if same else "leave it out"
        text = f"{where}same = {pattern.same!r} never matches: {pattern.type} has no such field ({hint})"
        yield Problem((*path, "same"), clause, text)
    for field, word in pattern.where.items():
        yield from _where(path, clause, pattern, field, word, pack)


def _where(
    path: Path, clause: str | None, pattern: pk.Pattern, field: str, word: str, pack: pk.Pack
) -> Iterator[Problem]:
    """A field that is not kept of such events, a word that none of them has there, and one that `is` says otherwise."""
    there = pk.PARTICULARS[pattern.type]
    place = (*path, "where", field)
    if field not in there:
        text = f"of {pattern.type} no {field!r} is kept{like(field, there)} (it is {', '.join(there)})"
        yield Problem(place, clause, text)
        return
    if field == there[0] and pattern.value not in (None, word):
        yield Problem(place, clause, f"where {field} = {word!r} never matches: is = {pattern.value!r} wants another")
        return
    model: type[BaseModel] = Shown if field in ("form", "method") else TYPES[pattern.type]
    words: list[str] | None = _literal(model.model_fields[field].annotation)
    if field in ("purpose", "form"):
        words = pack.purposes if field == "purpose" else pack.forms
    if words is not None and word not in words:
        text = f"no {pattern.type} has the {field} {word!r}{like(word, words)}, so this never matches"
        yield Problem(place, clause, text)


def _literal(annotation: Any) -> list[str] | None:
    """The words that a field can have, where they are closed; one that may be missing, too."""
    kinds = [one for one in (annotation, *get_args(annotation)) if get_origin(one) is Literal]
    return list(get_args(kinds[0])) if kinds else None


def _asking(path: Path, clause: str, row: pk.Match, pack: pk.Pack) -> Iterator[Problem]:
    """Conditions that begin with a question to the person, where the pack lets nobody ask."""
    open_to = [
        permit for one in pack.clause for permit in one.permit if "request" in permit.action and _overlap(permit, row)
    ]
    if open_to:
        return
    start = 'a permit with action = ["request"] for the same purposes would start it'
    for need in conditions_of(row):
        if isinstance(need, cn.Quiet) and ("request" in row.action or (need.unanswered and pack.judges_requests)):
            yield Problem(path, clause, f"quiet never counts: nothing permits to ask ({start})")
        if isinstance(need, cn.OptIn) and need.confirmed_within_days is not None and pack.judges_requests:
            yield Problem(path, clause, f"confirmed_within_days never starts: nothing permits to ask ({start})")


def _overlap(permit: pk.Permit, row: pk.Match) -> bool:
    """Whether both are about some purpose."""
    named = permit.purpose if permit.purpose is not None else row.purpose
    return named is None or any(_about(permit, name) and _about(row, name) for name in named)


def _change(pack: pk.Pack) -> Iterator[Problem]:
    """Days from a notice, or a first use, that nobody counts."""
    if pack.change is None:
        return
    for number, pattern in enumerate(pack.change.joined_by):
        place: Path = ("change", "joined_by", number)
        yield from _pattern(place, None, pattern, pack)
        if pattern.type in TYPES and pattern.type not in pk.TELLING:
            kept = ", ".join(sorted(pk.TELLING))
            text = f"change.joined_by: {pattern.type} is no fact that is kept (those are {kept}), so nobody joins by it"
            yield Problem((*place, "type"), None, text)
    for number, row in enumerate(pack.change.by_reading):
        for name in ("use_days_after_email", "use_days_after_posting"):
            if getattr(row, name) is None:
                continue
            place = ("change", "stored", number, name)
            if not pack.change.joined_by:
                text = "joined_by names no event, so everybody has the change at once (one there would start it)"
                yield Problem(place, None, f"change.stored: {name} never counts: {text}")
            elif row.by_choice:
                text = "the person's choice alone decides (leave out express_yes and silence_is_yes, or the days)"
                yield Problem(place, None, f"change.stored: {name} never counts: {text}")
