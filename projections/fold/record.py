"""What is known of one person, as values: words, collections, requests, holds. `projections.fold.state` folds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from consent_ledger.ledger.intake.persons import Edges
from consent_ledger.projections.fold.refs import Ref

Order = tuple[int, int]
REQUESTS = ("deletion", "correction", "access")


AFTER_A_YES: Final = 2**60  # added to the position of a no: at equal times it counts after a yes or a lift


def rank(time: int, position: int, *, yes: bool) -> Order:
    """The place of a word among words: by the time it claims; equal times by position, a no after a yes or a lift."""
    return time, position if yes else position + AFTER_A_YES


@dataclass(frozen=True, slots=True)
class Reach:
    """What a yes and what it confirms both name. None does not limit."""

    categories: frozenset[str] | None = None
    recipients: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    expires: int | None = None


def narrowed(one: Reach, other: Reach) -> Reach:
    """What both reach."""
    ends = [end for end in (one.expires, other.expires) if end is not None]
    return Reach(
        _both(one.categories, other.categories),
        _both(one.recipients, other.recipients),
        _both(one.channels, other.channels),
        min(ends, default=None),
    )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return other if one is None else one if other is None else one & other


@dataclass(frozen=True, slots=True)
class Confirmed:
    """That a yes confirms an earlier one: how long after what it answers, and how far that reached."""

    after: int  # microseconds from the question, or the first yes, to the yes that answers it
    first: Ref
    answered: Ref  # the question, or the first yes itself
    reach: Reach


@dataclass(frozen=True, slots=True)
class Asked:
    """A `consent.requested`: what was asked."""

    ref: Ref
    under: str
    purpose: str | None
    list: str | None
    item: str | None
    reach: Reach


@dataclass(slots=True)
class Choice:
    """A word of the person: a yes or a no, and what it names. None does not limit. `order`: its rank among words."""

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
    actor: str
    under: str
    version: str | None = None  # of the statement that a yes was given to, by its own word
    confirms: tuple[Confirmed, ...] = ()  # the earlier yeses that it confirms

    @property
    def named(self) -> tuple[Any, ...]:
        """What two words must share to be about the very same, by the same."""
        opens = self.express and not (self.yes and self.actor == "system")
        return self.under, self.categories, self.recipients, self.channels, self.list, self.item, opens, self.actor

    @property
    def reach(self) -> Reach:
        return Reach(self.categories, self.recipients, self.channels, self.expires)


@dataclass(frozen=True, slots=True)
class OptOut:
    """An opt-out. `order`: its rank among words. `lifted`: under which other names, of those joined, it was lifted."""

    ref: Ref
    order: Order
    actor: str
    signal: str | None
    under: str
    lifted: frozenset[str] = frozenset()  # kept of what is a name's own only


@dataclass(slots=True)
class Track:
    """The choices that count under one name.

    `choices`: purpose -> what it names -> words, newest last; older ones are kept as long as they can count again.
    `optouts`: (scope, name) -> all that were not lifted, newest last.
    """

    choices: dict[str | None, dict[tuple[Any, ...], list[Choice]]] = field(default_factory=dict)
    optouts: dict[tuple[str, str | None], list[OptOut]] = field(default_factory=dict)
    age: tuple[int | None, int | None, bool, Ref] | None = None  # age, under, needs a guardian
    expiring: bool = False
    guardian_ended: Order | None = None  # what a guardian agreed to before counts no more
    deleted: Order | None = None  # up to here a yes opens nothing: a deletion of whoever was joined with it then


@dataclass(slots=True)
class Collected:
    """What is on record of a category."""

    first: Ref
    last: Ref
    from_others_only: bool
    credit: int  # collections not yet followed by a message that used them
    current: bool  # collected since the last deletion
    spent: Ref | None = None  # the last message that used one
    again: bool = False  # it was on record before the last deletion, too


class Extension(NamedTuple):
    """That an answer will take longer: when that was told, until when, and what the request named by then."""

    told: int
    until: int
    named: tuple[str, ...] = ()


@dataclass(slots=True)
class Request:
    """A request of the person, by its id. `extended`: every extension that was told while it was open."""

    kind: str
    opened: Ref
    categories: tuple[str, ...] = ()
    named: dict[str, int] = field(default_factory=dict)  # what identifies -> since when
    answered: Ref | None = None
    next_steps: Ref | None = None
    archive_until: int | None = None
    purged: Ref | None = None
    taken_back: Ref | None = None
    denied: Ref | None = None
    unproved: bool = False  # denied, because nobody proved to be the person
    extended: list[Extension] = field(default_factory=list)
    # by what a pack says of it: how many were looked at, and the one that counts; see projections.reports.duties
    tried: dict[tuple[Any, ...], tuple[int, Extension | None]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more is owed on it."""
        return not (self.answered is None and self.taken_back is None and self.denied is None)

    @property
    def void(self) -> bool:
        """Whether what it closed is open again."""
        return self.taken_back is not None or self.unproved


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
    joined: dict[str, set[str]] = field(default_factory=dict)  # name -> the one set of all joined with it, and itself
    entries: int = 0
    last: Order = (0, -1)
    kind: str | None = None
    of: str | None = None
    processor_of: str | None = None
    facts: dict[tuple[str, str | None], Ref] = field(default_factory=dict)  # (type, telling word) -> first
    fresh: dict[tuple[str, str | None], Ref] = field(default_factory=dict)  # the same, since the last deletion
    told_with: dict[tuple[str | None, ...], Ref] = field(default_factory=dict)  # (type, its particulars) -> first
    fresh_with: dict[tuple[str | None, ...], Ref] = field(default_factory=dict)  # the same, since the last deletion
    active: dict[str, Ref] = field(default_factory=dict)  # type of activity -> last, by the person or a guardian
    uses: list[Ref] = field(default_factory=list)
    terms: dict[str, Ref] = field(default_factory=dict)  # service -> start of the agreement in force
    ended: Ref | None = None  # the last end of an agreement
    deactivated: Ref | None = None  # the first
    collected: dict[str, Collected] = field(default_factory=dict)
    unsorted_messages: dict[str, Ref] = field(default_factory=dict)  # purpose -> last message naming no category
    asked: dict[tuple[str | None, ...], Ref] = field(default_factory=dict)  # (purpose, list, item) -> last asked for
    questions: dict[tuple[str, str], Asked] = field(default_factory=dict)  # (source, id) -> what was asked, the newest
    notices: dict[str, list[Notice]] = field(default_factory=dict)  # version -> in order
    acknowledged: dict[str, Ref] = field(default_factory=dict)  # version -> first
    requests: dict[tuple[str, str], Request] = field(default_factory=dict)  # (kind, id)
    past_requests: list[tuple[str, Request]] = field(default_factory=list)  # (id, one that ended and was made again)
    deletion_carried: Ref | None = None  # a request that came back with an address
    deletions: list[Ref] = field(default_factory=list)
    deleted_upto: Order = (-(2**62), -1)  # a yes up to this rank opens nothing
    kept: dict[str, Ref] = field(default_factory=dict)  # category -> the deletion that left it
    archived_until: int | None = None  # by the last deletion that needed no request
    returned: bool = True  # something of the person came after the last deletion
    back: Ref | None = None  # the first that did
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

    def all_requests(self) -> list[tuple[str, Request]]:
        """(id, request) of all, those that were made again too."""
        return [*self.past_requests, *((name, one) for (_, name), one in self.requests.items())]

    @property
    def deletion_asked(self) -> Ref | None:
        """The first request for deletion that stands, or that came back with an address."""
        asked = [one.opened for _, one in self.all_requests() if one.kind == "deletion" and not one.void]
        asked += [self.deletion_carried] if self.deletion_carried is not None else []
        return min(asked, key=lambda ref: ref.order, default=None)

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
        state.joined[name] = {name}
    return state
