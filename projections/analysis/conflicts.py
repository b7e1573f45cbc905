"""Two rows of a pack that say different things about the same, where nothing says that this is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.check.words import Problem
from consent_ledger.ledger.policy.interpretations import reading_of, rows_of
from consent_ledger.projections.analysis.reachability import Reach
from consent_ledger.projections.analysis.regions import Box, Placed, remains, shared
from consent_ledger.projections.decision.choices import applies
from consent_ledger.projections.decision.question import CHANNELS, Question


def ties(reach: Reach) -> Iterator[Problem]:
    """Rows that contradict each other: permits, what the law requires, facts, duties, settings, delays."""
    needless = {(one.path, name) for one in reach.permits if isinstance(one.row, pk.Permit) for name in one.row.beside}
    for one, two in combinations(reach.permits, 2):
        if not _tied(reach, one, two):
            continue
        needless -= {(one.path, two.clause), (two.path, one.clause)}
        if not _meant(one, two):
            text = (
                f"this permit and one of {one.clause} are equally narrow, fit the same questions and decide them"
                f' differently: both must permit (say beside = ["{one.clause}"] if that is meant, or make one narrower)'
            )
            yield Problem(two.path, two.clause, text, (one.path,))
    yield from _needless(reach, needless)
    for one, two in combinations(reach.laws, 2):
        if one in reach.requiring and _needs(one) != _needs(two) and _both(one, two) and not reach.dead(two):
            text = f"this law row fits questions that one of {one.clause} decides, which needs something else"
            yield Problem(two.path, two.clause, text, (one.path,))
    yield from _twofold(reach.space.pack)
    yield from _delays(reach.space.pack)


def _tied(reach: Reach, one: Placed, two: Placed) -> bool:
    """Whether one can permit where the other denies, and some question comes to both."""
    if one.clause == two.clause or one.narrow != two.narrow or _needs(one) == _needs(two) or _apart(one.row, two.row):
        return False
    before = [box for other in reach.before(one) for box in other.boxes]
    return any(remains(box, before) for box in _both(one, two))


def _apart(one: pk.Match, two: pk.Match) -> bool:
    """Whether two rows can meet in collections only, and there never: these go category by category."""
    limits = one.categories is not None and two.categories is not None
    together = set(one.action) & set(two.action)
    return together == {"collect"} and limits and not set(one.categories or ()) & set(two.categories or ())


def _needs(one: Placed) -> tuple[Any, ...]:
    """What a permit's decision hangs on, beside what it is about."""
    row = one.row
    assert isinstance(row, pk.Permit)
    return row.needs, row.despite_no, row.unrestricted


def _both(one: Placed, two: Placed) -> list[Box]:
    return [both for box in one.boxes for other in two.boxes if (both := shared(box, other)) is not None]


def _meant(one: Placed, two: Placed) -> bool:
    assert isinstance(one.row, pk.Permit)
    assert isinstance(two.row, pk.Permit)
    return two.clause in one.row.beside or one.clause in two.row.beside


def _needless(reach: Reach, named: set[tuple[Path, str]]) -> Iterator[Problem]:
    known = reach.space.pack.ids
    for one in reach.permits:
        assert isinstance(one.row, pk.Permit)
        for number, name in enumerate(one.row.beside):
            if (one.path, name) in named and name in known:
                text = f"beside names {name}, which has no row that is as narrow and decides the same differently"
                yield Problem((*one.path, "beside", number), one.clause, text)


# -- what there can be one of ------------------------------------------------------------------------------------------


class _Said(NamedTuple):
    path: Path
    clause: str
    row: Any


def _twofold(pack: pk.Pack) -> Iterator[Problem]:
    """Facts, duties, identification and holds that are said twice, each to be in force with the other."""
    facts = _rows(pack, "define")
    yield from _twice(
        facts,
        lambda one, two: one.fact == two.fact,
        lambda one, two: f"the fact {two.fact!r} is defined in {one} already, and only that counts",
    )
    yield from _twice(
        _rows(pack, "duty"),
        lambda one, two: _opened(one) == _opened(two) and _clock(one) != _clock(two),
        lambda one, two: f"the duty {two.kind} has another clock in {one}: both are owed",
    )
    yield from _twice(
        _rows(pack, "keep"),
        lambda one, two: _both_keep(one, two) and (one.for_months, one.for_days) != (two.for_months, two.for_days),
        lambda one, _: f"what is kept here for the same purpose stays for another time in {one}: the longer counts",
    )
    for name in ("identification", "hold"):
        yield from _twice(
            _rows(pack, name),
            lambda *_: True,
            lambda one, row: f"{type(row).__name__.lower()} stands in {one} already, and only that counts",
        )


def _rows(pack: pk.Pack, mechanism: str) -> list[_Said]:
    return [
        _Said(("clause", number, name, *(() if index is None else (index,))), clause.id, row)
        for number, clause in enumerate(pack.clause)
        for name, index, row in rows_of(clause)
        if name == mechanism
    ]


def _twice(rows: list[_Said], same: Callable[[Any, Any], bool], says: Callable[[str, Any], str]) -> Iterator[Problem]:
    for number, two in enumerate(rows):
        first = next((one for one in rows[:number] if together(one, two) and same(one.row, two.row)), None)
        if first is not None:
            yield Problem(two.path, two.clause, says(first.clause, two.row), (first.path,))


def together(one: _Said, two: _Said) -> bool:
    """Whether two rows can be in force under the same readings."""
    first, second = reading_of(one.row, one.clause), reading_of(two.row, two.clause)
    return first is None or second is None or first[0] != second[0] or first[1] == second[1]


def _opened(duty: pk.Duty) -> tuple[Any, ...]:
    return duty.kind, duty.owed_when, duty.activity


def _clock(duty: pk.Duty) -> tuple[Any, ...]:
    periods = (*pk.CLOCKS, "extended_by_months", "extended_by_days")
    return duty.hold_stops_clock, duty.every_breach, *(getattr(duty, name) for name in periods)


def _both_keep(one: pk.Keep, two: pk.Keep) -> bool:
    """Whether some category is kept for some purpose by both; or for none by both."""
    purposes = not set(one.purpose).isdisjoint(two.purpose) or not (one.purpose or two.purpose)
    return purposes and not set(one.categories).isdisjoint(two.categories)


def _delays(pack: pk.Pack) -> Iterator[Problem]:
    """Opt-outs of one scope that take effect at different times for the same message."""
    rows = _rows(pack, "objection")
    asked = [Question("contact", purpose=one, channel=channel) for one in pack.purposes for channel in sorted(CHANNELS)]
    for number, two in enumerate(rows):
        for one in rows[:number]:
            days = one.row.effective_in_business_days, two.row.effective_in_business_days
            if one.row.scope != two.row.scope or days[0] == days[1] or not together(one, two):
                continue
            if any(applies(one.row, question, pack) and applies(two.row, question, pack) for question in asked):
                said = [f"after {count} business days" if count else "at once" for count in days]
                text = (
                    f"an opt-out of scope {two.row.scope} takes effect {said[1]} by this row and {said[0]} by one of"
                    f" {one.clause}, for the same messages"
                )
                yield Problem(two.path, two.clause, text, (one.path,))
                break
