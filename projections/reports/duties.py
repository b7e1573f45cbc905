"""When something owed is due: periods, what does not count, and requests that were extended.

Source: contract, section 2, the clauses on requests; `projections.reports.obligations` lists what is owed by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.times import DAY, FOREVER, HOUR, LATEST, after_months
from consent_ledger.projections.fold.record import Extension, Request, State

_PERIODS: Final = (*pk.CLOCKS, "extended_by_months", "extended_by_days")
Spans = Iterable[tuple[int, int | None]]  # [begin, end), None: not ended


def due_at(
    duty: pk.Duty, pack: pk.Pack, start: int, pauses: Spans = (), now: int = FOREVER, *, extended: bool = False
) -> int | None:
    """When something owed since `start` is due, in microseconds; None: no clock. `extended`: at the latest.

    What lies in a pause does not count; in two at once, it counts as one. A business day does not count if any of it
    lies in a pause. Pauses are known up to `now`.
    """
    spans = _known(pauses, now)
    months = (duty.extended_by_months or 0) if extended else 0
    days = (duty.extended_by_days or 0) if extended else 0
    match duty.clock:
        case None:
            return None
        case "due_in_business_days":
            passed = pack.calendar.after(after_months(start, months), duty.due_in_business_days or 0, spans)
            return min(counted(passed, days * DAY, [span for span in spans if span[1] > passed]), LATEST)
        case "due_in_months":
            end = after_months(start, months + (duty.due_in_months or 0)) + days * DAY
        case "due_in_hours":
            end = after_months(start, months) + days * DAY + (duty.due_in_hours or 0) * HOUR
        case _:
            end = after_months(start, months) + (days + (duty.due_in_days or 0)) * DAY
    return min(counted(start, end - start, spans), LATEST)


def _known(pauses: Spans, now: int) -> list[tuple[int, int]]:
    """Pauses as they are known up to `now`, in order; not those that begin later."""
    return sorted((begin, min(now if end is None else end, now)) for begin, end in pauses if begin < now)


def counted(start: int, left: int, spans: Iterable[tuple[int, int]]) -> int:
    """The moment at which so many microseconds have passed since `start` outside of these spans, which are in order."""
    reached = start
    for begin, end in spans:
        free = max(begin - reached, 0)
        if free >= left:
            break
        left -= free
        reached = max(reached, end)
    return reached + left


def extension(duty: pk.Duty, pack: pk.Pack, request: Request, start: int, pauses: Spans) -> Extension | None:
    """The first extension of a request that counts: no other does.

    What came by the time of one decides about it for good, so each is looked at once, however many there are.
    """
    terms = (pack.edition or id(pack), duty.hold_stops_clock, *(getattr(duty, name) for name in _PERIODS))
    tried, moved = request.tried.get(terms, (0, None))
    if moved is None and tried < len(request.extended):
        moved = next((one for one in request.extended[tried:] if extends(duty, pack, one, start, pauses)), None)
        request.tried[terms] = len(request.extended), moved
    return moved


def extends(duty: pk.Duty, pack: pk.Pack, one: Extension, start: int, pauses: Spans) -> bool:
    """Whether an extension could move what is due: told before that, and no longer than both periods together."""
    due = due_at(duty, pack, start, pauses, one.told)
    latest = due_at(duty, pack, start, pauses, one.told, extended=True)
    if not duty.extends or due is None or latest is None:
        return False
    started = duty.kind != "deletion" or set(identification(pack)[1]) <= {*one.named}
    return started and one.told < due and one.until <= latest


def request_due(duty: pk.Duty, pack: pk.Pack, request: Request, state: State, now: int) -> int | None:
    """When a request is due. Time under a hold does not count for a deletion, nor after it was extended."""
    missing, start = identified(pack, request)
    if missing:
        return None
    pauses = list(pauses_of(duty, state))
    moved = extension(duty, pack, request, start, pauses)
    if moved is None:
        return due_at(duty, pack, start, pauses, now)
    return min(counted(moved.told, moved.until - moved.told, _known(pauses, now)), LATEST)


def pauses_of(duty: pk.Duty, state: State) -> Iterator[tuple[int, int | None]]:
    """What does not count of the time of a duty: what lies under a hold, where that stops its clock."""
    if duty.kind == "deletion" and duty.hold_stops_clock:
        for hold in state.holds.values():
            yield from hold.spans


def identification(pack: pk.Pack) -> tuple[pk.Clause | None, list[str]]:
    """The clause that says what a deletion request must name, if there is one, and what that is."""
    for clause in pack.clause:
        if clause.identification is not None:
            return clause, list(clause.identification.needs)
    return None, []


def identified(pack: pk.Pack, request: Request) -> tuple[list[str], int]:
    """(what a request does not name yet, when its clock starts). Only a deletion has to name anything."""
    wanted = identification(pack)[1] if request.kind == "deletion" else []
    missing = [field for field in wanted if field not in request.named]
    return missing, max([request.opened.time, *(request.named[field] for field in wanted if field in request.named)])
