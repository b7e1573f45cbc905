"""The door rules: what a pack refuses before it is appended. Pure.

Source: contract, section 2: they apply to information.collected, to consent.granted for a known minor, to an event
without a field that its clause needs, and to forbidden personal fields. What else happened is appended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from consent_ledger.ledger.intake.parse import Prepared
from consent_ledger.ledger.policy.conditions import AnyOf, Minor, Need, OptIn
from consent_ledger.ledger.policy.pack import Forbid, Pack
from consent_ledger.ledger.store.contract import Transaction


@dataclass(frozen=True, slots=True)
class Refusal:
    """The clause that refuses, and why, without repeating the value."""

    clause: str
    reason: str


class Look(Protocol):
    """What is on record of the person the event is about, as of its time."""

    def is_minor(self, need: Minor) -> bool: ...

    def holds(self, need: Need) -> bool:
        """Whether a condition holds for a collection such as the event tells of: as a decision would find it."""
        ...


Judge = Callable[[Need, Transaction, str, Prepared, Pack], bool]
"""Whether a condition holds for a person, as of an event's time: need, cursor, person, event, pack."""


def refuse(event: Prepared, pack: Pack, look: Look) -> Refusal | None:
    """The refusal, or None. Requires role controller."""
    for clause, door in pack.doors.get(event.type, ()):
        if event.data.get(door.needs) is None and all(event.data.get(k) == v for k, v in door.where.items()):
            return Refusal(clause, f"{door.needs} is needed here")
    if event.type == "information.collected":
        found = _forbidden(pack, event.data["categories"])
        if found is not None:
            return found
    if event.personal:
        found = _forbidden_fields(event, pack)
        if found is not None:
            return found
    if event.type in ("information.collected", "consent.granted"):
        for clause, rule in pack.minors:
            young = all(look.is_minor(need) for need in rule.when if isinstance(need, Minor))
            if young and not _unlocked(event, rule, look):
                return Refusal(clause, "the person is known to be a minor")
    return None


def _unlocked(event: Prepared, rule: Forbid, look: Look) -> bool:
    """Whether what the rule says under `unless` is there."""
    if event.type == "consent.granted":
        return is_itself(rule, event.actor)
    return bool(rule.unless) and all(look.holds(need) for need in rule.unless)


def is_itself(rule: Forbid, actor: str | None) -> bool:
    """Whether a consent by that actor is one that the rule asks for under `unless`, alone or beside others."""
    asked = (one for need in rule.unless for one in (need.of if isinstance(need, AnyOf) else [need]))
    return any(isinstance(one, OptIn) and one.actor == (actor or "subject") for one in asked)


def _forbidden(pack: Pack, categories: Iterable[str]) -> Refusal | None:
    for category in categories:
        clause = pack.refused_categories.get(category)
        if clause is not None:
            return Refusal(clause, f"{category} is not wanted")
    return None


def _forbidden_fields(event: Prepared, pack: Pack) -> Refusal | None:
    """A personal field whose name, or whose value as a valid number, is of a forbidden category."""
    for name in event.personal:
        declared = pack.personal_field(name)
        category = declared.category if declared else None
        kinds = [category or name.lower().replace("_", "-")]
        number = event.numbers.get(name, "") if declared is None or declared.numbers else ""
        if detected := pack.detected_kinds.get(number):
            kinds.append(detected)
        found = _forbidden(pack, kinds)
        if found is not None:
            return Refusal(found.clause, f"personal field {name}: {found.reason}")
    return None
