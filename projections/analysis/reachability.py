"""Rows of a pack that no question reaches, and words that no row permits anything for.

A row is reported only where every question it fits is decided before it comes to it: under every combination of
readings, whatever is on record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.check.words import Problem
from consent_ledger.ledger.policy.interpretations import reading_of
from consent_ledger.projections.analysis.regions import DIMENSIONS, PURPOSE, RECIPIENT, Placed, Space, remains, shared
from consent_ledger.projections.decision.choices import applies
from consent_ledger.projections.decision.question import CHANNELS, Question

_EMPTY = {
    "action": "it names no action",
    "purpose": "no purpose is left of purpose and not_purpose",
    "categories": "no categories are left of information, categories, any_category and on_record_from",
    "recipient": "no recipient is left of class, recipient and public",
    "channel": "it names no channel",
    "ground": "it names no ground",
    "origin": "it names no origin",
    "country": "no country is left of country, country_in and country_not_in",
}


class Reach:
    """The rows of a pack by what decides before them."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.rows = list(space.placed())
        self.permits = [one for one in self.rows if isinstance(one.row, pk.Permit) and not one.row.law]
        self.laws = [one for one in self.rows if isinstance(one.row, pk.Permit) and one.row.law]
        self.forbids = [one for one in self.rows if isinstance(one.row, pk.Forbid)]
        self.closing = [one for one in self.forbids if _unconditional(one.row)]
        self.requiring = [one for one in self.laws if _always_decides(one.row)]

    def before(self, one: Placed) -> list[Placed]:
        """The rows that decide every question they fit, before this one is asked."""
        row = one.row
        if isinstance(row, pk.Permit) and row.law:
            return [law for law in self.requiring if self.rows.index(law) < self.rows.index(one)]
        if isinstance(row, pk.Forbid):
            earlier = self.forbids[: self.forbids.index(one)]
            same = [two for two in earlier if two.clause == one.clause and two in self.closing]
            # a door rule acts at intake, too: only another door rule about the same can stand for it
            return [*(() if row.door else self.requiring), *(two for two in same if _stands_for(two.row, row))]
        narrower = [two for two in self.permits if two.narrow > one.narrow] if isinstance(row, pk.Permit) else []
        return [*self.requiring, *self.closing, *narrower]

    def dead(self, one: Placed) -> bool:
        """Whether no question reaches the row."""
        before = self.before(one)
        return not any(remains(box, _boxes(before)) for box in one.boxes)


def unreachable(reach: Reach) -> Iterator[Problem]:
    """Permits, forbids, gates and objections that never decide."""
    for one in reach.rows:
        if one.empty:
            yield Problem(one.path, one.clause, f"{_kind(one.path)} can never decide: {_why_empty(one, reach.space)}")
        elif reach.dead(one):
            by = _coverers(one, reach.before(one))
            told = " and ".join(dict.fromkeys(_how(other, one) for other in by))
            see = tuple(other.path for other in by)
            text = f"{_kind(one.path)} can never decide: every question it fits is {told}"
            yield Problem(one.path, one.clause, text, see)
    yield from _objections(reach.space.pack)


def unserved(reach: Reach) -> Iterator[Problem]:
    """Purposes, and classes of recipients, that no row permits anything for and none forbids by name."""
    pack = reach.space.pack
    living = [one for one in reach.permits if one.row.ground is None and not reach.dead(one)]
    refused = {word for one in reach.forbids for word in one.row.purpose or ()}
    for number, purpose in enumerate(pack.purposes):
        if purpose not in refused and not any(_serves(reach, one, PURPOSE, purpose) for one in living):
            text = f"purposes: no permit fits {purpose!r} under any action (permit it, forbid it by name, or drop it)"
            yield Problem(("purposes", number), None, text)
    giving = [one for one in living if {"disclose", "transfer"} & set(one.row.action)]
    by_ground = [one for one in reach.rows if isinstance(one.row, pk.Permit) and one.row.ground is not None]
    refused = {word for one in reach.forbids for word in one.row.recipient_class or ()}
    for number, name in enumerate(pack.classes):
        if name not in refused and not any(_serves(reach, one, RECIPIENT, name) for one in (*giving, *by_ground)):
            text = f"classes: no permit to disclose fits {name!r} (permit it, forbid it by name, or drop it)"
            yield Problem(("classes", number), None, text)


def _serves(reach: Reach, one: Placed, dimension: int, word: str) -> bool:
    """Whether some question with that word reaches the row, prohibitions considered and narrower rows not."""
    narrower = {other.path for other in reach.permits}
    closing = _boxes([other for other in reach.before(one) if other.path not in narrower])
    for box in one.boxes:
        part = reach.space.only(dimension, box, lambda value: value == word or _class_of(value) == word)
        if remains(part, closing):
            return True
    return False


def _class_of(value: object) -> object:
    return value[1] if isinstance(value, tuple) else None


def _unconditional(row: pk.Match) -> bool:
    return isinstance(row, pk.Forbid) and not row.when and not row.unless


def _always_decides(row: pk.Match) -> bool:
    return isinstance(row, pk.Permit) and (not row.falls_through or not row.needs)


def _stands_for(other: pk.Match, row: pk.Forbid) -> bool:
    assert isinstance(other, pk.Forbid)
    if not row.door:
        return True
    listed = row.any_category is not None and set(row.any_category) <= set(other.any_category or ())
    return other.door and listed and not row.when


def _boxes(rows: Sequence[Placed]) -> list[tuple[int, ...]]:
    return [box for one in rows for box in one.boxes]


def _coverers(one: Placed, before: Sequence[Placed]) -> list[Placed]:
    """The row that covers it, or the rows that do together."""
    for other in before:
        if not any(remains(box, other.boxes) for box in one.boxes):
            return [other]
    part = [other for other in before if any(shared(box, two) for box in one.boxes for two in other.boxes)]
    for other in list(part):  # those that can be left out say nothing
        less = [two for two in part if two is not other]
        if not any(remains(box, _boxes(less)) for box in one.boxes):
            part = less
    return part


def _how(other: Placed, one: Placed) -> str:
    row = other.row
    if isinstance(row, pk.Forbid):
        return f"forbidden by {other.clause}"
    if isinstance(row, pk.Permit) and row.law:
        return f"decided by {other.clause}, as the law requires"
    assert other.narrow > one.narrow
    return f"decided by a narrower row of {other.clause}"


def _kind(path: Path) -> str:
    return f"this {path[2]}"


def _why_empty(one: Placed, space: Space) -> str:
    names = (*DIMENSIONS, *(f"readings of {clause}" for clause, _ in space.readings))
    lacking = [name for box in one.boxes for name, mask in zip(names, box, strict=True) if not mask]
    everywhere = [name for name in lacking if lacking.count(name) == len(one.boxes)] or lacking
    said = [_EMPTY.get(name, f"the pack cannot be in force with its reading ({name})") for name in everywhere]
    return "; ".join(dict.fromkeys(said))


# -- objections --------------------------------------------------------------------------------------------------------


def _objections(pack: pk.Pack) -> Iterator[Problem]:
    """Rows about opt-outs that an earlier row of the same scope always carries instead."""
    rows = [
        (("clause", number, "objection", index), clause.id, row)
        for number, clause in enumerate(pack.clause)
        for index, row in enumerate(clause.objection)
    ]
    asked = [
        Question("contact", purpose=purpose, channel=channel)
        for purpose, channel in product((None, *pack.purposes), (None, *sorted(CHANNELS)))
    ]
    for number, (path, clause, row) in enumerate(rows):
        left = [question for question in asked if applies(row, question, pack)]
        see: list[Path] = []
        for other_path, other_clause, other in rows[:number]:
            delays = row.effective_in_business_days is None or other.effective_in_business_days is not None
            if other.scope == row.scope and delays and _whenever(row, clause, other, other_clause):
                still = [question for question in left if not applies(other, question, pack)]
                see += [other_path] if len(still) < len(left) else []
                left = still
        if not left:
            text = f"this objection never applies: an earlier one of scope {row.scope} carries all it is about"
            yield Problem(path, clause, text, tuple(see))


def _whenever(row: pk.Row, clause: str, other: pk.Row, other_clause: str) -> bool:
    """Whether the other row counts whenever this one does."""
    wanted = reading_of(other, other_clause)
    return wanted is None or wanted == reading_of(row, clause)
