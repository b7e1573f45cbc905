"""The fold of one person: entries in, state out. Pure; never refuses, for what was appended happened.

Entries are folded in the order in which they are in force: by time, equal times by position. Joined names are folded
together: facts are the person's, choices are kept per name (a track) so that the stricter word of each can win.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from ledger import events as ev
from ledger.entry import Entry
from ledger.person import Edges, joined_by
from ledger.times import parse_time
from projections.question import Ref

Order = tuple[int, int]
REQUESTS = ("deletion", "correction", "access")
RETURNING = frozenset(("subject.registered", "information.collected", "service.used", "consent.granted"))


@dataclass(frozen=True, slots=True)
class Confirmed:
    """That a yes was given again when asked: how long after the question, and the name the first one came under."""

    after: int  # microseconds from the question to the yes that answers it
    first: Ref
    under: str


@dataclass(slots=True)
class Choice:
    """A word of the person: a yes or a no, and what it names. None does not limit."""

    ref: Ref
    order: Order
    yes: bool
    express: bool
    purpose: str | None
    categories: frozenset[str] | None
    recipients: frozenset[str] | None
    channels: frozenset[str] | None
    list: str | None
    item: str | None
    expires: int | None
    actor: str | None
    under: str
    confirms: Confirmed | None = None  # an earlier yes to the same, and the question in between

    @property
    def named(self) -> tuple[Any, ...]:
        """What two words must share for the later to replace the earlier: a yes that opens nothing replaces no no."""
        opens = self.express and not (self.yes and self.actor == "system")
        return self.under, self.categories, self.recipients, self.channels, self.list, self.item, opens, self.actor


@dataclass(slots=True)
class Track:
    """The choices that count under one name.

    `choices`: purpose -> what it names -> words, newest last; older ones are kept as long as they can count again.
    `optouts`: (scope, name) -> (entry, name it came under) of all that were not lifted, newest last.
    """

    choices: dict[str | None, dict[tuple[Any, ...], list[Choice]]] = field(default_factory=dict)
    optouts: dict[tuple[str, str | None], list[tuple[Ref, str]]] = field(default_factory=dict)
    age: tuple[int | None, int | None, bool, Ref] | None = None  # age, under, needs a guardian
    expiring: bool = False


@dataclass(slots=True)
class Collected:
    """What is on record of a category."""

    first: Ref
    last: Ref
    from_others_only: bool
    credit: int  # collections not yet followed by a message that used them
    current: bool  # collected since the last deletion
    spent: Ref | None = None  # the last message that used one


@dataclass(slots=True)
class Request:
    """A request of the person, by its id."""

    kind: str
    opened: Ref
    categories: tuple[str, ...] = ()
    named: dict[str, int] = field(default_factory=dict)  # what identifies -> since when
    answered: Ref | None = None
    next_steps: Ref | None = None
    archive_until: int | None = None
    purged: Ref | None = None


@dataclass(slots=True)
class Hold:
    """A hold, by its id; spans of (placed, released)."""

    ground: str
    spans: list[tuple[int, int | None]]


@dataclass(slots=True)
class Disclosure:
    """One disclosure that happened."""

    ref: Ref
    recipient: str | None
    categories: tuple[str, ...]
    purpose: str | None
    ground: str | None
    secret_until: int | None


@dataclass(slots=True)
class Notice:
    """A notice of a policy version, or the bounce of the earlier e-mails."""

    ref: Ref
    channel: str  # email, post, bounced
    offers_choice: bool


@dataclass(slots=True)
class State:
    """A person as of some moment and some knowledge."""

    tracks: dict[str, Track] = field(default_factory=dict)
    joined: dict[str, frozenset[str]] = field(default_factory=dict)  # name -> names joined with it, itself included
    entries: int = 0
    last: Order = (0, -1)
    kind: str | None = None
    of: str | None = None
    processor_of: str | None = None
    facts: dict[tuple[str, str | None], Ref] = field(default_factory=dict)  # (type, telling word) -> first
    fresh: dict[tuple[str, str | None], Ref] = field(default_factory=dict)  # the same, since the last deletion
    uses: list[Ref] = field(default_factory=list)
    terms: dict[str, Ref] = field(default_factory=dict)  # service -> start of the agreement in force
    ended: Ref | None = None  # the last end of an agreement
    deactivated: Ref | None = None  # the first
    collected: dict[str, Collected] = field(default_factory=dict)
    unsorted_messages: dict[str, Ref] = field(default_factory=dict)  # purpose -> last message naming no category
    asked: dict[tuple[str | None, ...], Ref] = field(default_factory=dict)  # (purpose, list, item) -> last asked for
    notices: dict[str, list[Notice]] = field(default_factory=dict)  # version -> in order
    acknowledged: dict[str, Ref] = field(default_factory=dict)  # version -> first
    requests: dict[tuple[str, str], Request] = field(default_factory=dict)  # (kind, id)
    deletion_asked: Ref | None = None
    deletions: list[Ref] = field(default_factory=list)
    archived_until: int | None = None  # by the last deletion that needed no request
    returned: bool = True  # something of the person came after the last deletion
    holds: dict[str, Hold] = field(default_factory=dict)
    disclosures: list[Disclosure] = field(default_factory=list)
    told: list[tuple[Ref, str, str]] = field(default_factory=list)  # recipient, about
    noes: list[Ref] = field(default_factory=list)
    corrections: list[tuple[Ref, tuple[str, ...]]] = field(default_factory=list)
    affected: dict[str, Ref] = field(default_factory=dict)  # breach -> known to be affected
    notified: dict[str, Ref] = field(default_factory=dict)  # breach -> told
    complaints: dict[str, list[Ref | None]] = field(default_factory=dict)  # lodged, answered, escalated
    own: dict[str, Track] = field(default_factory=dict)  # of names ever joined: what came under that name alone
    edges: Edges = field(default_factory=set)  # by which names are joined

    def requests_of(self, name: str) -> list[Request]:
        """All requests under an id: one of each kind at most."""
        return [one for kind in REQUESTS if (one := self.requests.get((kind, name)))]

    def standing_holds(self, now: int) -> list[str]:
        """The holds in force."""
        return [
            name
            for name, hold in self.holds.items()
            if any(start <= now and (end is None or end > now) for start, end in hold.spans)
        ]


def new_state(names: Iterable[str]) -> State:
    """The state of a person of whom nothing is known, under these names."""
    state = State()
    for name in sorted(names):
        state.tracks[name] = Track()
        state.joined[name] = frozenset((name,))
    return state


def fold(entries: Iterable[Entry], names: Iterable[str]) -> State:
    """The state after `entries`, in the order in which they are in force."""
    state = new_state(names)
    for entry in sorted(entries, key=_order):
        evolve(state, entry)
    return state


def _order(entry: Entry) -> Order:
    return entry.time, entry.position


def evolve(state: State, entry: Entry) -> None:  # noqa: PLR0915  one case an event type, most frequent first
    """Apply one entry, in place. Requires that it is not before the last one applied."""
    ref = Ref(entry.time, entry.position, entry.type, entry.source, entry.id)
    state.entries += 1
    state.last = (entry.time, entry.position)
    if entry.role == "processor":
        state.processor_of = entry.of or getattr(entry.data, "of", None) or state.processor_of
        return
    data = entry.data
    if isinstance(data, ev.ControllerFact):
        return  # folded in projections.world
    match data:
        case ev.ServiceUsed():
            _on_record(state, ref, data.service)
            state.uses.append(ref)
        case ev.MessageSent():
            _spend(state, ref, data)
        case ev.InformationCollected():
            _collect(state, ref, data)
        case ev.ConsentGranted() | ev.ConsentRefused() | ev.ConsentWithdrawn():
            _choose(state, entry, ref, data)
        case ev.OptoutRecorded():
            _opt_out(state, entry.stream, ref, data)
        case ev.OptoutLifted():
            for track in _tracks(state, entry.stream):
                track.optouts.pop((data.scope, _scope_name(data)), None)
        case ev.ConsentRequested():
            state.asked[data.purpose, data.list, data.item] = ref
        case ev.InformationUsed():
            pass
        case ev.DisclosureMade():
            state.disclosures.append(
                Disclosure(ref, data.recipient, tuple(data.categories), data.purpose, data.ground, None)
            )
        case ev.DisclosureCompelled():
            until = parse_time(data.secret_until) if data.secret_until else None
            state.disclosures.append(Disclosure(ref, data.recipient, tuple(data.categories), None, data.ground, until))
        case ev.SubjectRegistered():
            _register(state, entry, ref, data)
        case ev.SubjectAgeLearned():
            for track in _tracks(state, entry.stream):
                track.age = (data.age, data.under, bool(data.needs_guardian), ref)
        case ev.SubjectLinked():
            _link(state, entry.stream, data.other)
        case ev.SubjectUnlinked():
            _unlink(state, entry.stream, data.other)
        case ev.AgreementStarted():
            state.terms.setdefault(data.service, ref)
        case ev.AgreementEnded():
            if state.terms.pop(data.service, None):
                state.ended = ref
        case ev.AccountDeactivated():
            state.deactivated = state.deactivated or ref
        case ev.PartnerNotified():
            _on_record(state, ref, data.recipient)
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
            _on_record(state, ref, data.transfer)
        case _:
            _evolve_requests(state, entry, ref, data)


def _evolve_requests(state: State, entry: Entry, ref: Ref, data: ev.RequestData) -> None:
    """The second half of the fold: requests, deletions, holds, breaches, complaints."""
    match data:
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
            state.deletion_asked = state.deletion_asked or ref
            _identify(_ask(state, data.request, Request("deletion", ref)), entry, data.service)
        case ev.DeletionIdentified():
            if asked := state.requests.get(("deletion", data.request)):
                _identify(asked, entry, data.service)
        case ev.DeletionCompleted():
            _delete(state, ref, data)
        case ev.ArchivePurged():
            if asked := state.requests.get(("deletion", data.request)):
                asked.purged = asked.purged or ref
        case ev.HoldPlaced():
            _place(state, ref, data)
        case ev.HoldReleased():
            if (hold := state.holds.get(data.hold)) and hold.spans[-1][1] is None:
                hold.spans[-1] = (hold.spans[-1][0], ref.time)
        case ev.BreachAffected():
            _on_record(state, ref, data.breach)
            state.affected.setdefault(data.breach, ref)
        case ev.BreachNotified():
            state.notified.setdefault(data.breach, ref)
        case ev.ComplaintLodged():
            state.complaints.setdefault(data.complaint, [ref, None, None])
        case ev.ComplaintAnswered():
            _complaint(state, data.complaint, 1, ref)
        case ev.ComplaintEscalated():
            _complaint(state, data.complaint, 2, ref)
        case ev.SuppressionCarried():
            _carry(state, entry, ref, data)
        case ev.SubjectErased():
            pass
        case _:
            assert_never(data)


def _on_record(state: State, ref: Ref, word: str | None) -> None:
    for key in ((ref.type, None), (ref.type, word)):
        state.facts.setdefault(key, ref)
        state.fresh.setdefault(key, ref)
    if ref.type in RETURNING:
        state.returned = True


def _collect(state: State, ref: Ref, data: ev.InformationCollected) -> None:
    _on_record(state, ref, data.origin)
    others = data.origin == "other-source"
    for category in data.categories:
        on_record = state.collected.get(category)
        if on_record is None or not on_record.current:
            state.collected[category] = Collected(ref, ref, others, 1, current=True)
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


def _words(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _choose(
    state: State, entry: Entry, ref: Ref, data: ev.ConsentGranted | ev.ConsentRefused | ev.ConsentWithdrawn
) -> None:
    yes = isinstance(data, ev.ConsentGranted)
    if yes:
        _on_record(state, ref, data.purpose)
    else:
        state.noes.append(ref)
    choice = Choice(
        ref,
        ref.order,
        yes,
        not yes or data.basis == "express",
        data.purpose,
        _words(data.categories) or None,
        _words(data.recipients) or None,
        _words(data.channels) or None,
        data.list,
        data.item,
        parse_time(data.expires_at) if data.expires_at else None,
        entry.actor,
        entry.stream,
    )
    _say(state, choice)


def _say(state: State, choice: Choice) -> None:
    """Write a word to the tracks of everybody joined."""
    named = choice.named
    asked = state.asked.get((choice.purpose, choice.list, choice.item)) if choice.yes and choice.express else None
    for track in _tracks(state, choice.under):
        if asked is not None and choice.confirms is None:
            choice.confirms = _confirmed(state, track, choice, asked)
        words = track.choices.setdefault(choice.purpose, {}).setdefault(named, [])
        if choice.expires is not None:
            track.expiring = True
        elif choice.yes:  # the older ones about the same never decide again, except a no, should this one lapse
            words[:] = [one for one in words if not one.yes]
        else:
            words.clear()
        words.append(choice)


def _confirmed(state: State, track: Track, choice: Choice, asked: Ref) -> Confirmed | None:
    """Whether a yes says again, asked in between, what was said before and not taken back since."""
    same = [
        one
        for words in track.choices.get(choice.purpose, {}).values()
        for one in words
        if (one.list, one.item) == (choice.list, choice.item)
    ]
    noes = [
        one.order
        for purpose in {choice.purpose, None}
        for words in track.choices.get(purpose, {}).values()
        for one in words
        if not one.yes and one.list in (None, choice.list) and one.item in (None, choice.item)
    ]
    noes += [
        said[-1][0].order
        for (scope, name), said in track.optouts.items()
        if scope in ("all", "general") or (scope, name) in (("purpose", choice.purpose), ("list", choice.list))
    ]
    since = max([*noes, *(ref.order for ref in state.deletions[-1:])], default=(-(2**62), -1))
    found: list[Confirmed] = []
    for one in same:
        over = one.expires is not None and one.expires <= choice.ref.time
        if one.yes and one.express and one.order > since and not over:
            found += [one.confirms] if one.confirms is not None else []
            if one.order < asked.order:
                found.append(Confirmed(choice.ref.time - asked.time, one.ref, one.under))
    return min(found, key=lambda one: one.after, default=None)


def _carry(state: State, entry: Entry, ref: Ref, data: ev.SuppressionCarried) -> None:
    """A no of somebody who was erased and whose address came back. It is that person's, and no new no."""
    match data.said:
        case "optout.recorded":
            assert data.scope is not None
            name = {"purpose": data.purpose, "list": data.list, "recipient": data.recipient}.get(data.scope)
            for track in _tracks(state, entry.stream):
                track.optouts.setdefault((data.scope, name), []).append((ref, entry.stream))
        case "deletion.requested":
            state.deletion_asked = state.deletion_asked or ref
        case "consent.refused":
            expires = parse_time(data.expires_at) if data.expires_at else None
            _say(
                state,
                Choice(
                    ref, ref.order, False, True, data.purpose, _words(data.categories), _words(data.recipients),
                    _words(data.channels), data.list, data.item, expires, None, entry.stream,
                ),
            )  # fmt: skip
        case _:
            assert_never(data.said)


def _scope_name(data: ev.OptoutRecorded | ev.OptoutLifted) -> str | None:
    match data.scope:
        case "purpose":
            return data.purpose
        case "list":
            return data.list
        case "recipient":
            return data.recipient
        case "all" | "general" | "advertising":
            return None
        case _:
            assert_never(data.scope)


def _opt_out(state: State, under: str, ref: Ref, data: ev.OptoutRecorded) -> None:
    state.noes.append(ref)
    for track in _tracks(state, under):
        track.optouts.setdefault((data.scope, _scope_name(data)), []).append((ref, under))


def _register(state: State, entry: Entry, ref: Ref, data: ev.SubjectRegistered) -> None:
    _on_record(state, ref, data.kind)
    state.kind = data.kind
    state.of = data.of or state.of
    if data.age is not None:
        for track in _tracks(state, entry.stream):
            track.age = (data.age, None, False, ref)


def _tracks(state: State, under: str) -> Iterator[Track]:
    """Where a word said under a name is written: in the tracks of all joined with it, and what is its own alone."""
    for name in sorted(state.joined[under]):
        yield state.tracks[name]
    if under in state.own:
        yield state.own[under]


def _link(state: State, one: str, other: str | None) -> None:
    if other not in state.joined:
        return  # not part of the person asked about any more
    state.edges.add(frozenset((one, other)))
    together = state.joined[one] | state.joined[other]
    for name in together:
        state.joined[name] = together
        state.own.setdefault(name, _copied(state.tracks[name]))


def _unlink(state: State, one: str, other: str | None) -> None:
    """Take two names apart: each keeps what came under its own name, and the others still joined with it their own."""
    pair = frozenset((one, other or ""))
    if pair not in state.edges:
        return  # never joined, or by way of others only
    state.edges.discard(pair)
    for names in (joined_by(state.edges, name) for name in sorted(pair)):
        if names == state.joined[one]:
            return  # others still join them
        for name in names:
            state.joined[name] = names
            state.tracks[name] = _copied(state.own[name])


def _copied(track: Track) -> Track:
    """The same words in a track that can go on by itself."""
    choices = {
        purpose: {named: [replace(one) for one in words] for named, words in about.items()}
        for purpose, about in track.choices.items()
    }
    optouts = {scope: list(said) for scope, said in track.optouts.items()}
    return Track(choices, optouts, track.age, track.expiring)


def _ask(state: State, request_id: str, request: Request) -> Request:
    """Note a request; the same one again is the one there is."""
    return state.requests.setdefault((request.kind, request_id), request)


def _answer(state: State, request_id: str, ref: Ref, kind: str) -> bool:
    """Note the answer. Returns whether there was such a request: without one it is without effect."""
    request = state.requests.get((kind, request_id))
    if request is None:
        return False
    request.answered = request.answered or ref
    return True


def _identify(request: Request, entry: Entry, service: str | None) -> None:
    named = [*entry.personal, *(["service"] if service else [])]
    for name in named:
        request.named.setdefault(name, entry.time)


def _delete(state: State, ref: Ref, data: ev.DeletionCompleted) -> None:
    request = state.requests.get(("deletion", data.request)) if data.request is not None else None
    if data.request is not None and request is None:
        return  # an answer to a request that was never made is without effect
    state.deletions.append(ref)
    state.fresh.clear()
    state.returned = False
    for on_record in state.collected.values():
        on_record.current = False
        on_record.credit = 0
    if request is None:
        state.archived_until = parse_time(data.archive_until) if data.archive_until else None
    else:
        request.answered = request.answered or ref
        if data.archive_until:
            request.archive_until = parse_time(data.archive_until)


def _place(state: State, ref: Ref, data: ev.HoldPlaced) -> None:
    hold = state.holds.setdefault(data.hold, Hold(data.ground, []))
    if not hold.spans or hold.spans[-1][1] is not None:
        hold.spans.append((ref.time, None))


def _complaint(state: State, complaint: str, slot: int, ref: Ref) -> None:
    rows = state.complaints.get(complaint)
    if rows and rows[slot] is None:
        rows[slot] = ref
