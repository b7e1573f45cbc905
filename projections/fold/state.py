"""The fold of one person: entries in, state out. Pure; never refuses, for what was appended happened.

Entries are folded in the order in which they are in force: by time, equal times by position. Joined names are folded
together: facts are the person's, choices are kept per name (a track) so that the stricter word of each can win.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.persons import effective_deletions
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.policy.pack import ACTIVITY, PARTICULARS
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.fold.record import (
    Collected,
    Disclosure,
    Extension,
    Hold,
    Notice,
    Order,
    Request,
    State,
    new_state,
    rank,
)
from consent_ledger.projections.fold.refs import Ref, same_list
from consent_ledger.projections.fold.words import delete, say, tracks_of

BY_PERSON = (None, "subject", "guardian")  # actors whose word is the person's
SHOWN = ("form", "method")  # particulars of what the person was shown
RETURNING = frozenset(("subject.registered", "information.collected", "service.used", "consent.granted"))


def fold(entries: Iterable[Entry], names: Iterable[str]) -> State:
    """The state after `entries`, in the order in which they are in force, of the person with these names.

    Entries of others, who were joined with them for a time, may be among them: of these only what was said counts, for
    it was said for all who were joined, and that it was deleted.
    """
    ours, all_entries = frozenset(names), sorted(entries, key=_order)
    state = new_state({*ours, *(entry.stream for entry in all_entries)})
    deletions: set[Order] | None = None  # those that take effect
    for entry in all_entries:
        if entry.stream in ours:
            evolve(state, entry)
        elif entry.role == "processor":
            continue
        elif isinstance(entry.data, ev.DeletionCompleted):
            if deletions is None:
                deletions = set(effective_deletions(one for one in all_entries if one.role != "processor"))
            if entry.order in deletions:
                delete(state, entry.stream, rank(entry.said_at, entry.position, yes=False))
        else:
            say(state, entry, Ref(entry.time, entry.position, entry.type, entry.source, entry.id))
    for name in state.tracks.keys() - ours:
        del state.tracks[name], state.joined[name]
        state.own.pop(name, None)
    return state


def _order(entry: Entry) -> Order:
    return entry.time, entry.position


def evolve(state: State, entry: Entry) -> None:  # noqa: C901, PLR0912, PLR0915  one flat match, most frequent first
    """Apply one entry, in place. Requires that it is not before the last one applied."""
    ref = Ref(entry.time, entry.position, entry.type, entry.source, entry.id)
    state.entries += 1
    state.last = (entry.time, entry.position)
    if entry.role == "processor":
        state.processor_of = entry.of or getattr(entry.data, "of", None) or state.processor_of
        return
    data = entry.data
    if isinstance(data, ev.ControllerFact):
        return  # folded in projections.fold.world
    if entry.type in ACTIVITY and entry.actor in BY_PERSON:
        state.active[entry.type] = ref
    match data:
        case ev.ServiceUsed():
            _on_record(state, ref, data, data.service)
            state.uses.append(ref)
        case ev.MessageSent():
            _spend(state, ref, data)
        case ev.InformationCollected():
            _collect(state, ref, data)
        case ev.ConsentGranted():
            _on_record(state, ref, data, data.purpose)
            say(state, entry, ref)
        case ev.ConsentRefused() | ev.ConsentWithdrawn() | ev.OptoutRecorded():
            state.noes.append(ref)
            say(state, entry, ref)
        case ev.ConsentRequested():
            state.asked[data.purpose, same_list(data.list), data.item] = ref
            say(state, entry, ref)
        case ev.OptoutLifted() | ev.SubjectLinked() | ev.SubjectUnlinked() | ev.GuardianEnded():
            say(state, entry, ref)
        case ev.InformationUsed() | ev.MessageBounced():
            pass
        case ev.DisclosureMade() | ev.DisclosureCompelled():
            state.disclosures.append(_disclosure(ref, data))
        case ev.SubjectRegistered():
            _register(state, entry, ref, data)
        case ev.SubjectAgeLearned():
            for track in tracks_of(state, entry.stream):
                track.age = (data.age, data.under, bool(data.needs_guardian), ref)
        case ev.AgreementStarted():
            state.terms.setdefault(data.service, ref)
        case ev.AgreementEnded():
            if state.terms.pop(data.service, None):
                state.ended = ref
        case ev.AccountDeactivated():
            state.deactivated = state.deactivated or ref
        case ev.PartnerNotified():
            _on_record(state, ref, data, data.recipient)
        case ev.RecipientTold():
            state.told.append((ref, data.recipient, data.about))
        case ev.PolicyNoticeSent():
            notice = Notice(ref, data.channel, bool(data.offers_choice))
            state.notices.setdefault(data.version, []).append(notice)
        case ev.PolicyNoticeBounced():
            state.notices.setdefault(data.version, []).append(Notice(ref, "bounced", offers_choice=False))
        case ev.PolicyAcknowledged():
            state.acknowledged.setdefault(data.version, ref)
        case ev.OwnershipTransferNotified():
            _on_record(state, ref, data, data.transfer)
        case _:
            _evolve_requests(state, entry, ref, data)


def _evolve_requests(  # noqa: C901, PLR0912  one flat match
    state: State, entry: Entry, ref: Ref, data: ev.RequestData
) -> None:
    """The second half of the fold: requests, deletions, holds, breaches, complaints."""
    match data:
        case ev.RequestTakenBack() | ev.RequestDenied() | ev.RequestExtended():
            _about_request(state, ref, data)
        case ev.CorrectionRequested():
            _ask(state, data.request, Request("correction", ref, tuple(data.categories)))
        case ev.AccessRequested():
            _ask(state, data.request, Request("access", ref))
        case ev.CorrectionCompleted():
            if _answer(state, data.request, ref, "correction"):
                state.corrections.append((ref, tuple(data.categories)))
        case ev.AccessAnswered():
            _answer(state, data.request, ref, "access")
        case ev.RequestNextStepsSent():
            for request in state.requests_of(data.request):
                request.next_steps = request.next_steps or ref
        case ev.DeletionRequested():
            _identify(_ask(state, data.request, Request("deletion", ref)), entry, data.service)
        case ev.DeletionIdentified():
            if asked := state.requests.get(("deletion", data.request)):
                _identify(asked, entry, data.service)
        case ev.DeletionCompleted():
            _delete(state, entry, ref, data)
        case ev.ArchivePurged():
            if asked := state.requests.get(("deletion", data.request)):
                asked.purged = asked.purged or ref
        case ev.HoldPlaced():
            _place(state, ref, data)
        case ev.HoldReleased():
            if (hold := state.holds.get(data.hold)) and hold.spans[-1][1] is None:
                hold.spans[-1] = (hold.spans[-1][0], ref.time)
        case ev.BreachAffected():
            _on_record(state, ref, data, data.breach)
            state.affected.setdefault(data.breach, ref)
        case ev.BreachNotified():
            state.notified.setdefault(data.breach, ref)
        case ev.ComplaintLodged():
            state.complaints.setdefault(data.complaint, [ref, None, None])
        case ev.ComplaintAnswered():
            _complaint(state, data.complaint, 1, ref)
        case ev.ComplaintEscalated():
            _complaint(state, data.complaint, 2, ref)
        case ev.SuppressionCarried(marketing=True):
            pass  # looked at beside the state: projections.decision.addresses
        case ev.SuppressionCarried():
            say(state, entry, ref)
        case ev.SubjectErased():
            pass
        case _:
            assert_never(data)


def _on_record(state: State, ref: Ref, data: ev.Data, word: str | None) -> None:
    for key in ((ref.type, None), (ref.type, word)):
        state.facts.setdefault(key, ref)
        state.fresh.setdefault(key, ref)
    names = PARTICULARS[ref.type]
    if len(names) > 1:  # else the word says all
        shown = getattr(data, "shown", None)
        said = (getattr(shown if name in SHOWN else data, name, None) for name in names)
        particulars = (ref.type, *(str(one).lower() if isinstance(one, bool) else one for one in said))
        state.told_with.setdefault(particulars, ref)
        state.fresh_with.setdefault(particulars, ref)
    if ref.type in RETURNING:
        if not state.returned:
            state.back = ref
        state.returned = True


def _disclosure(ref: Ref, data: ev.DisclosureMade | ev.DisclosureCompelled) -> Disclosure:
    purpose = data.purpose if isinstance(data, ev.DisclosureMade) else None
    secret = data.secret_until if isinstance(data, ev.DisclosureCompelled) else None
    until = parse_time(secret) if secret else None
    return Disclosure(ref, data.recipient, tuple(data.categories), purpose, data.ground, until)


def _collect(state: State, ref: Ref, data: ev.InformationCollected) -> None:
    _on_record(state, ref, data, data.origin)
    others = data.origin == "other-source"
    for category in data.categories:
        on_record = state.collected.get(category)
        if on_record is None or not on_record.current:
            state.collected[category] = Collected(ref, ref, others, 1, current=True, again=on_record is not None)
        else:
            on_record.last = ref
            on_record.from_others_only &= others
            on_record.credit += 1


def _spend(state: State, ref: Ref, data: ev.MessageSent) -> None:
    if not data.categories:
        state.unsorted_messages[data.purpose] = ref
        return
    for category in data.categories:
        on_record = state.collected.get(category)
        if on_record and on_record.credit:
            on_record.credit -= 1
            on_record.spent = ref


def _register(state: State, entry: Entry, ref: Ref, data: ev.SubjectRegistered) -> None:
    _on_record(state, ref, data, data.kind)
    state.kind = data.kind
    state.of = data.of or state.of
    if data.age is not None:
        for track in tracks_of(state, entry.stream):
            track.age = (data.age, None, False, ref)


def _ask(state: State, request_id: str, request: Request) -> Request:
    """Note a request; the same one again is the one there is, unless that was taken back or denied."""
    key = request.kind, request_id
    before = state.requests.get(key)
    if before is not None and before.taken_back is None and before.denied is None:
        return before
    if before is not None:
        state.past_requests.append((request_id, before))
    state.requests[key] = request
    return request


def _about_request(state: State, ref: Ref, data: ev.RequestTakenBack | ev.RequestDenied | ev.RequestExtended) -> None:
    """What becomes of all requests under an id. What was done on them stays, and of each word the first counts."""
    for request in state.requests_of(data.request):
        match data:
            case ev.RequestTakenBack():
                request.taken_back = request.taken_back or ref
            case ev.RequestDenied() if request.denied is None:
                request.denied = ref
                request.unproved = data.ground == "not-identified"
            case ev.RequestExtended() if not request.ended:
                request.extended.append(Extension(ref.time, parse_time(data.until), tuple(request.named)))
            case _:
                pass  # of no effect, which projections.reports.findings finds


def _answer(state: State, request_id: str, ref: Ref, kind: str) -> bool:
    """Note the answer. Returns whether such a request stands: without one it is without effect."""
    request = state.requests.get((kind, request_id))
    if request is None or request.taken_back is not None:
        return False
    request.answered = request.answered or ref
    return True


def _identify(request: Request, entry: Entry, service: str | None) -> None:
    named = [*entry.personal, *(["service"] if service else [])]
    for name in named:
        request.named.setdefault(name, entry.time)


def _delete(state: State, entry: Entry, ref: Ref, data: ev.DeletionCompleted) -> None:
    request = state.requests.get(("deletion", data.request)) if data.request is not None else None
    if data.request is not None and (request is None or request.taken_back is not None):
        return  # an answer to a request that was never made, or not any more, is without effect
    state.deletions.append(ref)
    upto = rank(entry.said_at, entry.position, yes=False)
    state.deleted_upto = max(state.deleted_upto, upto)
    delete(state, entry.stream, upto)
    state.kept = {category: _kept_since(state, category, ref) for category in data.kept or ()}
    state.fresh.clear()
    state.fresh_with.clear()
    state.returned, state.back = False, None
    for on_record in state.collected.values():
        on_record.current = False
        on_record.credit = 0
    if request is None:
        state.archived_until = parse_time(data.archive_until) if data.archive_until else None
    else:
        request.answered = request.answered or ref
        if data.archive_until:
            request.archive_until = parse_time(data.archive_until)


def _kept_since(state: State, category: str, ref: Ref) -> Ref:
    """The deletion that left what is still there of a category: not a later one, if nothing came in between."""
    on_record = state.collected.get(category)
    return ref if on_record is not None and on_record.current else state.kept.get(category, ref)


def _place(state: State, ref: Ref, data: ev.HoldPlaced) -> None:
    hold = state.holds.setdefault(data.hold, Hold(data.ground, []))
    if not hold.spans or hold.spans[-1][1] is not None:
        hold.spans.append((ref.time, None))


def _complaint(state: State, complaint: str, slot: int, ref: Ref) -> None:
    rows = state.complaints.get(complaint)
    if rows and rows[slot] is None:
        rows[slot] = ref
