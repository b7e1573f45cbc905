"""What is owed to a person, computed at the moment asked about. Source: contract, section 2, `GET /v1/obligations`."""

from __future__ import annotations

from typing import Any

from ledger import pack as pk
from ledger.times import DAY, format_optional, format_time
from projections.needs import Case, check
from projections.question import Question, Ref
from projections.state import Request, State

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
                    rows += _breaches(clause, case, now)
                case "complaint":
                    rows += _complaints(clause, case.state)
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


def hold_clause(pack: pk.Pack) -> pk.Clause | None:
    """The clause under which holds defer a deletion, if the pack has one."""
    return next((clause for clause in pack.clause if clause.hold is not None), None)


def _requests(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, state: State, now: int
) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for name, request in state.requests.items():
        if request.kind != duty.kind:
            continue
        if duty.kind == "deletion":
            rows.append(_deletion(name, request, clause, duty, pack, state, now))
            continue
        due = None if duty.due_in_days is None else request.opened.time + duty.due_in_days * DAY
        if request.answered is not None:
            status = "done"
        elif duty.next_steps and request.next_steps is not None:
            status = "next-steps-sent"
        else:
            status = "overdue" if due is not None and now >= due else "running"
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
    due = None
    if duty.due_in_days is not None:
        paused = held(state, started, now) if duty.hold_stops_clock else 0
        due = started + duty.due_in_days * DAY + paused
    status = "overdue" if due is not None and now >= due else "running"
    return _row("deletion", clause.id, request.opened, status, request=name, due=format_optional(due))


def held(state: State, start: int, now: int) -> int:
    """Microseconds of [start, now) under at least one hold; days under two at once count once."""
    spans = sorted(
        (max(placed, start), min(now if released is None else released, now))
        for hold in state.holds.values()
        for placed, released in hold.spans
    )
    total, reached = 0, start
    for placed, released in spans:
        if released > reached:
            total += released - max(placed, reached)
            reached = released
    return total


def _owed_unasked(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, case: Case, now: int
) -> list[tuple[tuple[int, int], Row]]:
    assert duty.owed_when is not None
    found = check(duty.owed_when, case, Question("use"), now, pack)
    if not found.holds:
        return []
    since = found.because[0]
    done = any(deletion.order > since.order for deletion in case.state.deletions)
    if done:
        return [_row("deletion", clause.id, since, "done", request=None)]
    if case.state.standing_holds(now):
        holding = hold_clause(pack) or clause
        return [_row("deletion", holding.id, since, "on-hold", request=None)]
    return [_row("deletion", clause.id, since, "running", request=None)]


def _breaches(clause: pk.Clause, case: Case, now: int) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for breach, affected in case.state.affected.items():
        if not case.world.notice_required.get(breach, True):
            continue
        status = "running"
        if breach in case.state.notified:
            status = "done"
        elif any(delay.stands(now) for delay in case.world.delays.get(breach, [])):
            status = "on-hold"
        rows.append(_row("breach-notice", clause.id, affected, status, breach=breach))
    return rows


def _complaints(clause: pk.Clause, state: State) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for complaint, (lodged, answered, escalated) in state.complaints.items():
        assert lodged is not None
        status = "done" if answered is not None else "running"
        more = {"complaint": complaint, "escalated": format_optional(escalated.time if escalated else None)}
        rows.append(_row("complaint", clause.id, lodged, status, **more))
    return rows


def _to_tell(clause: pk.Clause, tell: pk.Tell, case: Case) -> list[tuple[tuple[int, int], Row]]:
    """One row per recipient of the class that held anything when the person said no; a later no reopens it."""
    held_since: dict[str, tuple[int, int]] = {}
    for disclosure in case.state.disclosures:
        recipient = case.world.recipients.get(disclosure.recipient or "")
        if recipient is not None and recipient.recipient_class in tell.recipient_class:
            held_since.setdefault(disclosure.recipient or "", disclosure.ref.order)
    rows = []
    for name, since in held_since.items():
        noes = [ref for ref in case.state.noes if ref.order > since]
        if not noes:
            continue
        told = [ref.order for ref, recipient, about in case.state.told if recipient == name and about == "optout"]
        last_told = max(told, default=(-(2**62), -1))
        open_noes = [ref for ref in noes if ref.order > last_told]
        opened = open_noes[0] if open_noes else noes[-1]
        status = "running" if open_noes else "done"
        rows.append(_row("tell-recipient", clause.id, opened, status, recipient=name))
    return rows
