"""What is owed to a person, computed at the moment asked about. Source: contract, section 2, `GET /v1/obligations`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ledger import pack as pk
from ledger.entry import Entry
from ledger.times import DAY, FOREVER, after_business_days, format_optional, format_time
from projections.needs import Case, check
from projections.question import Question, Ref
from projections.record import Disclosure, Request, State

Row = dict[str, Any]


def obligations(pack: pk.Pack, case: Case, now: int) -> list[Row]:
    """All obligations towards the person at `now`, the done ones too, in order of opening."""
    rows: list[tuple[tuple[int, int], Row]] = []
    for clause in pack.clause:
        for duty in clause.duty:
            match duty.kind:
                case "deletion" | "correction" | "access":
                    if duty.owed_when is not None:
                        rows += _owed_unasked(clause, duty, pack, case, now)
                    else:
                        rows += _requests(clause, duty, pack, case.state, now)
                case "breach-notice":
                    rows += _breaches(clause, duty, pack, case, now)
                case "complaint":
                    rows += _complaints(clause, duty, pack, case.state, now)
        if clause.tell is not None:
            rows += _to_tell(clause, clause.tell, case)
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _row(kind: str, clause: str, opened: Ref, status: str, **more: Any) -> tuple[tuple[int, int], Row]:
    row: Row = {
        "kind": kind,
        "clause": clause,
        "opened": format_time(opened.time),
        "due": None,
        "status": status,
        "missing": [],
        "archive_until": None,
        **more,
    }
    return opened.order, row


Spans = Iterable[tuple[int, int | None]]  # [begin, end), None: not ended


def due_at(duty: pk.Duty, pack: pk.Pack, start: int, pauses: Spans = (), now: int = FOREVER) -> int | None:
    """When something owed since `start` is due, in microseconds; None: no clock.

    What lies in a pause does not count; in two at once, it counts as one. A business day does not count if any of it
    lies in a pause. Pauses are known up to `now`.
    """
    spans = sorted((begin, min(now if end is None else end, now)) for begin, end in pauses)
    if duty.due_in_days is not None:
        left = duty.due_in_days * DAY
    elif duty.due_in_business_days is not None:
        return after_business_days(start, duty.due_in_business_days, pack.calendar.holidays, spans)
    else:
        return None
    reached = start
    for begin, end in spans:
        free = max(begin - reached, 0)
        if free >= left:
            break
        left -= free
        reached = max(reached, end)
    return reached + left


def _status(due: int | None, now: int) -> str:
    return "overdue" if due is not None and now >= due else "running"


def hold_clause(pack: pk.Pack) -> pk.Clause | None:
    """The clause under which holds defer a deletion, if the pack has one."""
    return next((clause for clause in pack.clause if clause.hold is not None), None)


def _requests(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, state: State, now: int
) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for (kind, name), request in state.requests.items():
        if kind != duty.kind:
            continue
        if duty.kind == "deletion":
            rows.append(_deletion(name, request, clause, duty, pack, state, now))
            continue
        due = due_at(duty, pack, request.opened.time)
        if request.answered is not None:
            status = "done"
        elif duty.next_steps and request.next_steps is not None:
            status = "next-steps-sent"
        else:
            status = _status(due, now)
        rows.append(_row(duty.kind, clause.id, request.opened, status, request=name, due=format_optional(due)))
    return rows


def _deletion(
    name: str, request: Request, clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, state: State, now: int
) -> tuple[tuple[int, int], Row]:
    asking = next((one for one in pack.clause if one.identification is not None), None)
    wanted = asking.identification.needs if asking is not None and asking.identification is not None else []
    missing = [field for field in wanted if field not in request.named]
    started = max([request.opened.time, *(request.named[field] for field in wanted if field in request.named)])
    archive = None
    if request.answered is not None:
        if request.archive_until is not None and request.purged is None:
            archive = format_time(request.archive_until)
        return _row("deletion", clause.id, request.opened, "done", request=name, archive_until=archive)
    if missing and asking is not None:
        status = "awaiting-identification"
        return _row("deletion", asking.id, request.opened, status, request=name, missing=missing)
    if state.standing_holds(now):
        holding = hold_clause(pack) or clause
        return _row("deletion", holding.id, request.opened, "on-hold", request=name)
    due = _deletion_due(duty, pack, state, started, now)
    return _row("deletion", clause.id, request.opened, _status(due, now), request=name, due=format_optional(due))


def _deletion_due(duty: pk.Duty, pack: pk.Pack, state: State, start: int, now: int) -> int | None:
    """When a deletion owed since `start` is due: time under a hold does not count, unless the duty says so."""
    spans = [span for hold in state.holds.values() for span in hold.spans] if duty.hold_stops_clock else []
    return due_at(duty, pack, start, spans, now)


def _owed_unasked(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, case: Case, now: int
) -> list[tuple[tuple[int, int], Row]]:
    assert duty.owed_when is not None
    found = check(duty.owed_when, case, Question("use"), now, pack)
    if not found.holds:
        return []
    since = found.because[0]
    deletions = case.state.deletions
    if deletions and (deletions[-1].order > since.order or not case.state.returned):
        archived = format_optional(case.state.archived_until)
        return [_row("deletion", clause.id, since, "done", request=None, archive_until=archived)]
    if case.state.standing_holds(now):
        holding = hold_clause(pack) or clause
        return [_row("deletion", holding.id, since, "on-hold", request=None)]
    due = _deletion_due(duty, pack, case.state, since.time, now)
    return [_row("deletion", clause.id, since, _status(due, now), request=None, due=format_optional(due))]


def _breaches(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, case: Case, now: int
) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for breach, affected in case.state.affected.items():
        if not case.world.notice_required.get(breach, True):
            continue
        delays = case.world.delays.get(breach, [])
        due = due_at(duty, pack, affected.time, [delay.span for delay in delays], now)
        status = _status(due, now)
        if breach in case.state.notified:
            status = "done"
        elif any(delay.stands(now) for delay in delays):
            status, due = "on-hold", None
        rows.append(_row("breach-notice", clause.id, affected, status, breach=breach, due=format_optional(due)))
    return rows


def _complaints(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, state: State, now: int
) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for complaint, (lodged, answered, escalated) in state.complaints.items():
        assert lodged is not None
        due = due_at(duty, pack, lodged.time)
        status = "done" if answered is not None else _status(due, now)
        more = {
            "complaint": complaint,
            "due": format_optional(due),
            "escalated": format_optional(escalated.time if escalated else None),
        }
        rows.append(_row("complaint", clause.id, lodged, status, **more))
    return rows


def _to_tell(clause: pk.Clause, tell: pk.Tell, case: Case) -> list[tuple[tuple[int, int], Row]]:
    """One row per recipient of the class that held anything when there was news for it; later news reopens it."""
    held: dict[str, list[Disclosure]] = {}
    for disclosure in case.state.disclosures:
        recipient = case.world.recipients.get(disclosure.recipient or "")
        if recipient is not None and recipient.recipient_class in tell.recipient_class:
            held.setdefault(disclosure.recipient or "", []).append(disclosure)
    rows = []
    for about in tell.about:
        for name, disclosures in held.items():
            news = _news(about, disclosures, case.state)
            if not news:
                continue
            told = [ref.order for ref, recipient, what in case.state.told if recipient == name and what == about]
            last_told = max(told, default=(-(2**62), -1))
            open_news = [ref for ref in news if ref.order > last_told]
            opened = open_news[0] if open_news else news[-1]
            status = "running" if open_news else "done"
            rows.append(_row("tell-recipient", clause.id, opened, status, recipient=name, about=about))
    return rows


def _news(about: str, disclosures: list[Disclosure], state: State) -> list[Ref]:
    """What a recipient that got these has to hear, in order: noes, deletions, corrections of what it holds."""
    since = disclosures[0].ref.order
    match about:
        case "optout":
            return [ref for ref in state.noes if ref.order > since]
        case "deletion":
            return [ref for ref in state.deletions if ref.order > since]
        case _:
            return [ref for ref, categories in state.corrections if _holds(disclosures, ref, categories)]


def _holds(disclosures: list[Disclosure], ref: Ref, categories: Iterable[str]) -> bool:
    return any(one.ref.order < ref.order and set(one.categories) & set(categories) for one in disclosures)


def controller_obligations(entries: list[Entry], pack: pk.Pack) -> list[Row]:
    """What the controller owes everybody: what has to follow an event of its own, and whether it did."""
    rows = []
    for clause in pack.clause:
        for expect in clause.expect:
            if expect.owed is None or expect.until is None:
                continue
            for entry in entries:
                if entry.type != expect.event or (expect.has and getattr(entry.data, expect.has, None) is None):
                    continue
                about = {expect.same: getattr(entry.data, expect.same, None)} if expect.same else {}
                status = "done" if followed(entry, expect, entries) else "running"
                opened = Ref(entry.time, entry.position, entry.type, entry.source, entry.id)
                rows.append(_row(expect.owed, clause.id, opened, status, **about)[1])
    return rows


def followed(entry: Entry, expect: pk.Expect, entries: list[Entry]) -> bool:
    """Whether what an `expect` waits for came."""
    same = expect.same or ""
    return any(
        other.type == expect.until and getattr(other.data, same, None) == getattr(entry.data, same, None)
        for other in entries
    )
