"""What is known of one person, as values: words, collections, requests, holds. `projections.state` folds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger.person import Edges
from projections.question import Ref

Order = tuple[int, int]
REQUESTS = ("deletion", "correction", "access")


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
    # by what a pack says of it: how many of these were looked at, and the one that counts; see projections.duties
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
    joined: dict[str, frozenset[str]] = field(default_factory=dict)  # name -> names joined with it, itself included
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
    notices: dict[str, list[Notice]] = field(default_factory=dict)  # version -> in order
    acknowledged: dict[str, Ref] = field(default_factory=dict)  # version -> first
    requests: dict[tuple[str, str], Request] = field(default_factory=dict)  # (kind, id)
    past_requests: list[tuple[str, Request]] = field(default_factory=list)  # (id, one that ended and was made again)
    deletion_carried: Ref | None = None  # a request that came back with an address
    deletions: list[Ref] = field(default_factory=list)
    kept: dict[str, Ref] = field(default_factory=dict)  # category -> the deletion that left it
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
        state.joined[name] = frozenset((name,))
    return state
