"""What is owed to a person, computed at the moment asked about. Source: contract, section 2, `GET /v1/obligations`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.times import format_optional, format_time
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.conditions import check
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.record import Disclosure, Request, State
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.reports.duties import due_at, identification, identified, pauses_of, request_due

Row = dict[str, Any]


def obligations(pack: pk.Pack, case: Case, now: int) -> list[Row]:
    """All obligations towards the person at `now`, the done ones too, in order of opening."""
    rows: list[tuple[tuple[int, int], Row]] = []
    for clause in pack.clause:
        for duty in clause.duty:
            match duty.kind:
                case "deletion" | "correction" | "access":
                    if duty.by_request:
                        rows += _requests(clause, duty, pack, case.state, now)
                    else:
                        rows += _owed_unasked(clause, duty, pack, case, now)
                case "breach-notice":
                    rows += _breaches(clause, duty, pack, case, now)
                case "complaint":
                    rows += _complaints(clause, duty, pack, case.state, now)
                case "authority-notice":
                    pass  # owed to no person: see controller_obligations
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


def _status(due: int | None, now: int) -> str:
    return "overdue" if due is not None and now >= due else "running"


def hold_clause(pack: pk.Pack) -> pk.Clause | None:
    """The clause under which holds defer a deletion, if the pack has one."""
    return next((clause for clause in pack.clause if clause.hold is not None), None)


def _requests(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, state: State, now: int
) -> list[tuple[tuple[int, int], Row]]:
    rows = []
    for name, request in state.all_requests():
        if request.kind != duty.kind:
            continue
        if duty.kind == "deletion":
            rows.append(_deletion(name, request, clause, duty, pack, state, now))
            continue
        due = request_due(duty, pack, request, state, now)
        if request.ended:
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
    if request.ended:
        archive = None
        if request.answered is not None and request.archive_until is not None and request.purged is None:
            archive = format_time(request.archive_until)
        return _row("deletion", clause.id, request.opened, "done", request=name, archive_until=archive)
    missing, _ = identified(pack, request)
    if missing:
        asking, status = identification(pack)[0] or clause, "awaiting-identification"
        return _row("deletion", asking.id, request.opened, status, request=name, missing=missing)
    if state.standing_holds(now):
        holding = hold_clause(pack) or clause
        return _row("deletion", holding.id, request.opened, "on-hold", request=name)
    due = request_due(duty, pack, request, state, now)
    return _row("deletion", clause.id, request.opened, _status(due, now), request=name, due=format_optional(due))


def _owed_unasked(
    clause: pk.Clause, duty: pk.Duty, pack: pk.Pack, case: Case, now: int
) -> list[tuple[tuple[int, int], Row]]:
    """A deletion that is owed without a request: to a minor, or to somebody who was not active for long."""
    deletions = case.state.deletions
    since = _opened_by(duty, pack, case, now)
    if since is None and deletions:  # who was a minor then may have grown up since
        then = _opened_by(duty, pack, case, deletions[-1].time)
        since = then if then is not None and then.order < deletions[-1].order else None
    if since is None:
        return []
    gone = deletions and deletions[-1].order > since.order
    if gone or (deletions and duty.activity is None and not case.state.returned):
        archived = format_optional(case.state.archived_until)
        return [_row("deletion", clause.id, since, "done", request=None, archive_until=archived)]
    if case.state.standing_holds(now):
        holding = hold_clause(pack) or clause
        return [_row("deletion", holding.id, since, "on-hold", request=None)]
    due = due_at(duty, pack, since.time, pauses_of(duty, case.state), now)
    return [_row("deletion", clause.id, since, _status(due, now), request=None, due=format_optional(due))]


def _opened_by(duty: pk.Duty, pack: pk.Pack, case: Case, now: int) -> Ref | None:
    """What such a duty is owed since: the last activity, or what says that the person is a minor."""
    if duty.activity is not None:
        active = [ref for name in duty.activity if (ref := case.state.active.get(name)) is not None]
        return max(active, key=lambda ref: ref.order, default=None)
    assert duty.owed_when is not None
    found = check(duty.owed_when, case, Question("use"), now, pack)
    return found.because[0] if found.holds else None


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


def controller_obligations(entries: list[Entry], pack: pk.Pack, now: int) -> list[Row]:
    """What the controller owes everybody, or an authority: what has to follow an event of its own, and whether it did.

    Requires entries in order.
    """
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
                rows.append(_row(expect.owed, clause.id, ref_of(entry), status, **about)[1])
    return rows + [_authority_row(notice, now) for notice in authority_notices(entries, pack)]


def ref_of(entry: Entry) -> Ref:
    """An entry, as answers name it."""
    return Ref(entry.time, entry.position, entry.type, entry.source, entry.id)


class AuthorityNotice(NamedTuple):
    """A notice of a breach that is owed to an authority, and the first one that was given."""

    clause: str
    duty: pk.Duty
    breach: str
    discovered: Entry
    due: int | None
    told: Entry | None


def authority_notices(entries: list[Entry], pack: pk.Pack) -> list[AuthorityNotice]:
    """The notices to authorities that a pack owes. Requires entries in order: of each breach the first counts."""
    discovered: dict[str, Entry] = {}
    told: dict[str, Entry] = {}
    required: dict[str, bool] = {}
    for entry in entries:
        if isinstance(entry.data, ev.BreachDiscovered):
            discovered.setdefault(entry.data.breach, entry)
            required.setdefault(entry.data.breach, entry.data.notice_required)
        elif isinstance(entry.data, ev.AuthorityNotified):
            told.setdefault(entry.data.breach, entry)
    return [
        AuthorityNotice(clause.id, duty, breach, entry, due_at(duty, pack, entry.time), told.get(breach))
        for clause in pack.clause
        for duty in clause.duty
        for breach, entry in discovered.items()
        if duty.kind == "authority-notice" and (duty.every_breach or required[breach])
    ]


def _authority_row(notice: AuthorityNotice, now: int) -> Row:
    status = "done" if notice.told is not None else _status(notice.due, now)
    due = format_optional(notice.due)
    opened = ref_of(notice.discovered)
    return _row("authority-notice", notice.clause, opened, status, breach=notice.breach, due=due)[1]


def followed(entry: Entry, expect: pk.Expect, entries: list[Entry]) -> bool:
    """Whether what an `expect` waits for came."""
    same = expect.same or ""
    return any(
        other.type == expect.until and getattr(other.data, same, None) == getattr(entry.data, same, None)
        for other in entries
    )
