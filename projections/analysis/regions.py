"""Which questions a row of a pack is about, as a set: so that rows can be compared without asking every question.

A region is a box: for each dimension of a question (purpose, recipient, channel, ...) the values that fit, as a bit
mask; a question is in it if each of its values is. Readings are dimensions too, one for each clause that can be read in
several ways, so a comparison holds for every combination of them.

Two things are not plain dimensions. Categories are a set, so that dimension holds sets of categories: all of up to four
categories that the rows tell apart, which is enough to show any difference between two rows and a third. And a
collection is forbidden or required as a whole but permitted category by category, so that dimension holds pairs:
(the whole question's categories, those of the part that is looked at).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, get_args

from consent_ledger.ledger.events.facts import Channel, Ground
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.interpretations import reading_of, rows_of
from consent_ledger.projections.decision.decide import country_fits, narrowness
from consent_ledger.projections.decision.question import ORIGINS

Box = tuple[int, ...]
DIMENSIONS: Final = (
    "action", "purpose", "categories", "recipient", "channel", "ground", "origin", "country", "transfer", "announces",
    "on_record_from",
)  # fmt: skip
SETS: Final = DIMENSIONS.index("categories")
PURPOSE: Final = DIMENSIONS.index("purpose")
RECIPIENT: Final = DIMENSIONS.index("recipient")
_LARGEST: Final = 4  # categories in a set: one for each condition of two rows, and one that a third does not take
_OTHER: Final = ""  # a recipient that no row names
ABROAD: Final = "another-country"  # in no group


@dataclass(frozen=True, slots=True)
class Placed:
    """A row, where it stands, and its region: one box for collections, one for everything else."""

    path: Path
    clause: str
    row: pk.Match
    boxes: tuple[Box, ...]
    narrow: int

    @property
    def empty(self) -> bool:
        return not any(all(box) for box in self.boxes)


@dataclass(frozen=True, slots=True)
class _View:
    """A set of categories that is asked about, and the part of it that a row looks at."""

    collected: bool
    whole: frozenset[str]
    part: frozenset[str]


class Space:
    """The values that the rows of one pack tell apart. `barred`: readings under which the pack cannot be in force."""

    def __init__(self, pack: pk.Pack, barred: Iterable[tuple[str, str]] = ()) -> None:
        self.pack = pack
        rows = [row for clause in pack.clause for row in (*clause.permit, *clause.forbid, *clause.gate)]
        used = [word for row in rows for word in (*(row.purpose or ()), *(row.not_purpose or ()))]
        self.purposes: list[str | None] = [None, *dict.fromkeys((*pack.purposes, *used))]
        classes = dict.fromkeys((*pack.classes, *(word for row in rows for word in row.recipient_class or ())))
        names = dict.fromkeys((_OTHER, *(name for row in rows for name in row.recipient or ())))
        self.recipients: list[tuple[str | None, str | None]] = [
            (None, None),
            *((name, one) for name in names for one in (None, *classes)),
        ]
        self.countries: list[str | None] = [None, *countries_told_apart(pack)]
        self.views = list(_views(_told_apart(pack, rows)))
        self.barred = frozenset(barred)
        self.readings = [
            (clause.id, list(clause.interpretation.readings)) for clause in pack.clause if clause.interpretation
        ]
        self._masks: dict[tuple[object, ...], int] = {}

    def placed(self) -> Iterator[Placed]:
        """Every row that is about questions, in the order of the file; without those of an unknown reading."""
        known = {(clause, reading) for clause, readings in self.readings for reading in readings}
        for number, clause in enumerate(self.pack.clause):
            for mechanism, index, row in rows_of(clause):
                wanted = reading_of(row, clause.id)
                if isinstance(row, pk.Match) and index is not None and (wanted is None or wanted in known):
                    boxes = tuple(self._boxes(row, wanted))
                    yield Placed(("clause", number, mechanism, index), clause.id, row, boxes, narrowness(row))

    def only(self, dimension: int, box: Box, wanted: Callable[[object], bool]) -> Box:
        """The part of a box where a purpose, or a recipient, is as wanted."""
        values: Sequence[object] = self.purposes if dimension == PURPOSE else self.recipients
        mask = sum(1 << n for n, value in enumerate(values) if wanted(value))
        return (*box[:dimension], box[dimension] & mask, *box[dimension + 1 :])

    def _boxes(self, row: pk.Match, wanted: tuple[str, str] | None) -> Iterator[Box]:
        for collected in (False, True):
            actions = [one for one in row.action if (one == "collect") is collected]
            if actions or not row.action:
                yield (*self._of(row, actions, collected=collected), *self._of_readings(wanted))

    def _of(self, row: pk.Match, actions: Sequence[str], *, collected: bool) -> Iterator[int]:
        yield _mask(pk.ACTIONS, actions)
        yield sum(1 << n for n, purpose in enumerate(self.purposes) if _purpose_fits(row, purpose))
        yield self._of_categories(row, collected=collected)
        yield sum(1 << n for n, one in enumerate(self.recipients) if _recipient_fits(row, *one))
        yield _mask((None, *get_args(Channel)), row.channel)
        yield _mask((None, *get_args(Ground)), row.ground)
        yield _mask((None, *sorted(ORIGINS)), row.origin)
        yield sum(1 << n for n, one in enumerate(self.countries) if country_fits(row, one, self.pack))
        yield _mask((False, True), None if row.transfer is None else [row.transfer])
        yield _mask((None, "stored", "material"), None if row.announces is None else [row.announces])
        yield _mask((None, "other-source"), None if row.on_record_from is None else [row.on_record_from])

    def _of_categories(self, row: pk.Match, *, collected: bool) -> int:
        whole = isinstance(row, pk.Forbid) or (isinstance(row, pk.Permit) and row.law)
        lists = tuple(None if one is None else frozenset(one) for one in (row.categories, row.any_category))
        key = (row.information, lists, row.on_record_from is None, whole, collected)
        if key not in self._masks:
            self._masks[key] = sum(
                1 << n
                for n, view in enumerate(self.views)
                if view.collected is collected and _categories_fit(row, view.whole if whole else view.part, self.pack)
            )
        return self._masks[key]

    def _of_readings(self, wanted: tuple[str, str] | None) -> Iterator[int]:
        for clause, readings in self.readings:
            yield sum(
                1 << n
                for n, reading in enumerate(readings)
                if (clause, reading) not in self.barred
                and (wanted is None or wanted[0] != clause or wanted[1] == reading)
            )


# -- boxes -------------------------------------------------------------------------------------------------------------


def shared(box: Box, other: Box) -> Box | None:
    """The questions in both, or None where there are none."""
    both = tuple(one & two for one, two in zip(box, other, strict=True))
    return both if all(both) else None


def remains(box: Box, others: Sequence[Box]) -> bool:
    """Whether some question is in the box and in none of the others.

    May say yes where the others cover it only together, by their categories; never says no where one is left.
    """
    if not all(box):
        return False
    for number, other in enumerate(others):
        if box[SETS] & ~other[SETS] or shared(box, other) is None:
            continue
        for dimension, mask in enumerate(other):
            rest = box[dimension] & ~mask
            if rest and remains((*box[:dimension], rest, *box[dimension + 1 :]), others[number + 1 :]):
                return True
            box = (*box[:dimension], box[dimension] & mask, *box[dimension + 1 :])
        return False
    return True


# -- one dimension of a row, as projections.decision.decide matches it -------------------------------------------------


def _mask(values: Sequence[object], wanted: Sequence[object] | None) -> int:
    return sum(1 << n for n, value in enumerate(values) if wanted is None or value in wanted)


def _purpose_fits(row: pk.Match, purpose: str | None) -> bool:
    if row.purpose is not None and purpose not in row.purpose:
        return False
    return row.not_purpose is None or purpose not in row.not_purpose


def _recipient_fits(row: pk.Match, name: str | None, recipient_class: str | None) -> bool:
    if row.recipient_class is not None and recipient_class not in row.recipient_class:
        return False
    if row.recipient is not None and name not in row.recipient:
        return False
    return row.public is None or row.public is (name is None)


def _categories_fit(row: pk.Match, asked: frozenset[str], pack: pk.Pack) -> bool:
    personal = asked - pack.anonymous
    anonymous = bool(asked) and not personal
    if row.information != "any" and (row.information == "anonymous") is not anonymous:
        return False
    if row.on_record_from is not None and not personal:
        return False
    if row.categories is not None:
        limited = asked if row.information == "anonymous" else personal
        if not limited <= frozenset(row.categories):
            return False
    return row.any_category is None or not asked.isdisjoint(row.any_category)


def countries_told_apart(*packs: pk.Pack) -> list[str]:
    """One country for each of the groups, and sets of groups, that it can be in; the first is in none."""
    kinds: dict[tuple[bool, ...], str] = {}
    groups = [(pack, group) for pack in packs for group in pack.countries]
    named = dict.fromkeys(country for pack, group in groups for country in pack.countries[group])
    for country in (ABROAD, *named):
        kinds.setdefault(tuple(pack.in_group(country, [group]) for pack, group in groups), country)
    return list(kinds.values())


def _told_apart(pack: pk.Pack, rows: Sequence[pk.Match]) -> list[str]:
    """One category of each kind that the rows tell apart; the others are decided as it is."""
    lists = {frozenset(one) for row in rows for one in (row.categories, row.any_category) if one is not None}
    ordered = list(lists)
    known = (*pack.categories.personal, *pack.categories.anonymous, *(word for one in ordered for word in sorted(one)))
    kinds: dict[tuple[bool, ...], str] = {}
    for category in known:
        kinds.setdefault((category in pack.anonymous, *(category in one for one in ordered)), category)
    return list(kinds.values())


def _views(categories: Sequence[str]) -> Iterator[_View]:
    for size in range(_LARGEST + 1):
        for some in combinations(categories, size):
            whole = frozenset(some)
            yield _View(collected=False, whole=whole, part=whole)
            for part in [frozenset((one,)) for one in some] or [whole]:
                yield _View(collected=True, whole=whole, part=part)
