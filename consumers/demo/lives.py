"""The lives of made-up people, told to a book: who they are, what they said, what was done with their information.

Nothing here is random but what the book's generator draws, so one seed is one world. Times are whole seconds since
1970. Fields that say who somebody is are invented: addresses at example.com and example.org, telephone numbers of the
fictional range 555-01xx, network addresses of the ranges kept for documentation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from consent_ledger.ledger.times import SECOND, format_time

Event = dict[str, Any]

PARATURE: Final = "parature"
WHEREVERWORKS: Final = "whereverworks"
HOUR: Final = 3_600
DAY: Final = 86_400
LATE: Final = 0.021  # of what is said comes late: days to weeks after it happened
SLIP: Final = 0.03  # of the messages and disclosures forget to ask the ledger

# Purpose and name of each list.
LISTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    PARATURE: (
        ("newsletter", "product-news"), ("newsletter", "release-notes"), ("promotion", "offers"),
        ("event-notice", "webinars"),
    ),
    WHEREVERWORKS: (
        ("newsletter", "monthly-letter"), ("promotion", "seasonal-offers"), ("event-notice", "conference-calls"),
    ),
}  # fmt: skip
SERVICES: Final = {
    PARATURE: ("support-portal", "knowledge-base", "ticket-desk", "site"),
    WHEREVERWORKS: ("site", "map-viewer", "download", "forum"),
}
_SOURCES: Final = {
    "signup": ("subject.registered", "subject.age.learned", "consent.requested", "consent.granted", "consent.refused"),
    "portal": ("service.used", "policy.acknowledged", "account.deactivated", "information.collected"),
    "mailer": ("message.sent", "message.bounced", "policy.notice.sent", "policy.notice.bounced",
               "ownership.transfer.notified",
               "partner.notified", "optout.recorded", "optout.lifted", "consent.withdrawn"),
    "crm": ("information.used", "disclosure.made", "recipient.told", "subject.linked", "subject.unlinked",
            "agreement.started", "agreement.ended"),
    "desk": ("correction.requested", "correction.completed", "access.requested", "access.answered",
             "request.next_steps_sent", "deletion.requested", "deletion.identified", "deletion.completed",
             "archive.purged", "complaint.lodged", "complaint.answered", "complaint.escalated", "request.extended",
             "request.denied", "request.taken_back"),
}  # fmt: skip
_SOURCE_OF: Final = {name: f"urn:app:{app}" for app, names in _SOURCES.items() for name in names}
_ACTOR_OF: Final = {
    "consent.granted": "subject", "consent.refused": "subject", "consent.withdrawn": "subject",
    "optout.recorded": "subject", "deletion.requested": "subject", "hold.placed": "operator",
    "disclosure.compelled": "operator", "message.sent": "system",
}  # fmt: skip

# -- who they are ------------------------------------------------------------------------------------------------------

_FIRST: Final = (
    "Ada", "Ben", "Cora", "Dirk", "Ella", "Finn", "Gerda", "Hugo", "Ines", "Jan", "Kaya", "Leo", "Mira", "Nils", "Olga",
    "Paul", "Rita", "Sven", "Tara", "Uwe", "Vera", "Wim", "Yara",
)  # fmt: skip
_LAST: Final = (
    "Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fern", "Gorse", "Hazel", "Ivy", "Juniper", "Laurel", "Maple",
    "Nettle", "Oak", "Poplar", "Rowan", "Sorrel", "Thorn", "Willow",
)  # fmt: skip
_STREETS: Final = ("Mill Lane", "Long Row", "Market Street", "Quay Road", "Orchard Way", "Chapel Hill", "Station Road")
_TOWNS: Final = ("Northford", "Eastbury", "Southmere", "Westholm", "Midvale")
_JOBS: Final = ("buyer", "clerk", "engineer", "planner", "surveyor", "teacher", "warden")
_BROWSERS: Final = ("browser one", "browser two", "small browser")


def _first(number: int) -> str:
    return _FIRST[number % len(_FIRST)]


def _last(number: int) -> str:
    return _LAST[number // len(_FIRST) % len(_LAST)]


_FIELDS: Final[dict[str, Callable[[int], str]]] = {
    "full_name": lambda n: f"{_first(n)} {_last(n)}",
    "email": lambda n: f"{_first(n)}.{_last(n)}.{n}@example.{'org' if n % 3 else 'com'}".lower(),
    "telephone": lambda n: f"+1 {201 + n % 700} 555 01{n % 100:02d}",
    "postal_address": lambda n: f"{1 + n % 180} {_STREETS[n % len(_STREETS)]}, {_TOWNS[n % len(_TOWNS)]}",
    "job_title": lambda n: _JOBS[n % len(_JOBS)],
    "company": lambda n: f"the {_LAST[n % len(_LAST)].lower()} works of {_TOWNS[n % len(_TOWNS)]}",
    "interests": lambda n: f"{_STREETS[n % len(_STREETS)].split()[0].lower()}s and {_JOBS[n % len(_JOBS)]}s",
    "words": lambda n: f"this is {_first(n)}, the {_JOBS[n % len(_JOBS)]} from {_TOWNS[n % len(_TOWNS)]}",
    "form_ip": lambda n: f"{('203.0.113', '198.51.100', '192.0.2')[n % 3]}.{1 + n % 254}",
    "user_agent": lambda n: _BROWSERS[n % len(_BROWSERS)],
}
# What is collected, with the personal fields in which it comes.
_FIELDS_OF: Final = {
    ("telephone",): ("telephone",),
    ("postal-address",): ("postal_address", "full_name"),
    ("company", "job-title"): ("company", "job_title"),
    ("name", "email"): ("full_name", "email"),
    ("interests",): ("interests", "email"),
    ("feedback",): ("words", "email"),
    ("attendance",): ("full_name", "company"),
}
_COLLECTED: Final[dict[str, list[tuple[str, ...]]]] = {
    PARATURE: [("telephone",), ("postal-address",), ("company", "job-title"), ("name", "email")],
    WHEREVERWORKS: [("telephone",), ("postal-address",), ("interests",), ("feedback",), ("attendance",)],
}
PASSIVE: Final = ["ip-address", "browser", "page-views"]


def personal(number: int, *names: str) -> dict[str, str]:
    """Make the personal fields of person `number` under these names."""
    return {name: _FIELDS[name](number) for name in names}


@dataclass(slots=True)
class Member:
    """A person as one controller knows them, with what they said so far. Nothing happens from `until` on."""

    controller: str
    number: int  # who it is: the same at both controllers
    name: str
    kind: str
    joined: int
    until: int
    of: str | None = None
    agreement: bool = False
    noticed: bool = False  # of the partner
    shares: bool = False  # said yes to the affiliate
    opted: set[str] = field(default_factory=set)  # lists; membership only, never iterated
    out: list[tuple[str, str | None]] = field(default_factory=list)  # opt-outs that stand: scope, name
    closed: set[str] = field(default_factory=set)  # lists refused or withdrawn

    def fields(self, *names: str) -> dict[str, str]:
        return personal(self.number, *names)

    def open_lists(self) -> list[tuple[str, str]]:
        """List what a message may go to."""
        return [one for one in LISTS[self.controller] if self.may(*one)]

    def may(self, purpose: str, name: str) -> bool:
        """Whether a message for that list is in order, as far as a careful sender would say."""
        if self.controller == PARATURE:
            return name in self.opted
        no = {("all", None), ("general", None), ("list", name), ("purpose", purpose)}
        return name not in self.closed and no.isdisjoint(self.out)


class Book:
    """All that was said: events, each with the second in which it is told."""

    def __init__(self, rng: random.Random, start: int, now: int) -> None:
        self.rng = rng
        self.start = start
        self.now = now
        self.drafts: list[tuple[int, int, Event]] = []  # told, number, event

    def say(
        self,
        member: Member,
        kind: str,
        at: int,
        data: Event | None = None,
        fields: dict[str, str] | None = None,
        *,
        told: int | None = None,
        of: str | None = None,
    ) -> None:
        """Tell an event about a person; what would be after now has not happened.

        `told`: then, never later. `of`: in the role of a processor, for that controller.
        """
        if at >= self.now:
            return
        if told is None:
            told = at
            if self.rng.random() < LATE:
                later = at + self.rng.randrange(2 * DAY, 35 * DAY)
                told = later if later < self.now else at
        data = {} if data is None else data
        if fields:
            data["personal"] = fields
        more = {"subject": member.name, "controller": member.controller}
        if (actor := _ACTOR_OF.get(kind)) is not None:
            more["actor"] = actor
        if of is not None:
            more |= {"role": "processor", "of": of}
        self._write(told, at, kind, data, more)

    def note(self, controller: str, kind: str, at: int, data: Event) -> None:
        """Tell an event about a controller."""
        if at < self.now:
            self._write(at, at, kind, data, {"controller": controller})

    def _write(self, told: int, at: int, kind: str, data: Event, more: Event) -> None:
        event: Event = {"specversion": "1.0", "id": "", "source": _SOURCE_OF.get(kind, "urn:app:legal"), "type": kind}
        event["time"] = format_time(at * SECOND)
        event |= more
        event["data"] = data
        self.drafts.append((told, len(self.drafts), event))

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def some(self, members: list[Member], share: float, least: int = 2) -> list[Member]:
        """Draw a share of the members, in no order."""
        return self.rng.sample(members, min(len(members), max(least, int(len(members) * share))))

    def moment(self, member: Member) -> int | None:
        """Draw a second in the life of a member, or None where it is too short."""
        first = member.joined + 2 * DAY
        return self.rng.randrange(first, member.until) if first < member.until else None


# -- how a life begins -------------------------------------------------------------------------------------------------


def begin(book: Book, member: Member) -> None:
    """Registration, the first use, the first collection, the first word."""
    rng, at = book.rng, member.joined
    registered: Event = {"kind": member.kind}
    if member.of is not None:
        registered["of"] = member.of
    known = member.kind != "visitor"
    fields = member.fields("full_name", "email") if known and book.chance(0.5) else None
    book.say(member, "subject.registered", at, registered, fields)
    book.say(member, "service.used", at + 60, {"service": rng.choice(SERVICES[member.controller])})
    if known:
        data = {"categories": ["name", "email"], "origin": "subject"}
        _offer(book, member, data)
        book.say(member, "information.collected", at + 120, data, member.fields("full_name", "email"))
    else:
        book.say(member, "information.collected", at + 120, {"categories": list(PASSIVE), "origin": "passive"})
    if member.kind == "customer" and book.chance(0.6):
        member.agreement = True
        book.say(member, "agreement.started", at + HOUR, {"service": SERVICES[member.controller][0]})
    if member.controller == PARATURE and book.chance(0.55):
        rng.choices((opt_in, ask, refuse), (0.7, 0.2, 0.1))[0](book, member, at + 2 * HOUR)
    elif member.controller == WHEREVERWORKS and book.chance(0.2):
        opt_out(book, member, at + 2 * HOUR)


def _offer(book: Book, member: Member, data: Event) -> None:
    """One of the houses offers to opt out where it asks; sometimes that is forgotten."""
    if member.controller == WHEREVERWORKS and book.chance(0.94):
        data["optout_offered"] = True


# -- what happens in a life: each of these says one thing --------------------------------------------------------------


def use_service(book: Book, member: Member, at: int) -> None:
    """Use a service."""
    fields = member.fields("form_ip", "user_agent") if book.chance(0.22) else None
    book.say(member, "service.used", at, {"service": book.rng.choice(SERVICES[member.controller])}, fields)


def message(book: Book, member: Member, at: int) -> None:
    """Send a message that is in order; now and then one that is not."""
    rng = book.rng
    options: list[tuple[str, str | None]] = list(member.open_lists())
    if book.chance(SLIP):
        options = [one for one in LISTS[member.controller] if one not in options] or options
    elif member.controller == PARATURE:
        quiet = ("general", None) in member.out or ("all", None) in member.out
        options += [] if quiet else [("support", None), ("account-administration", None)]
        options += [("service-message", None)] if member.agreement else []
    elif ("all", None) not in member.out:
        options += [("support", None), ("software-update", None), ("quality-survey", None)]
    if not options:
        use(book, member, at)
        return
    purpose, name = rng.choice(options)
    data: Event = {"purpose": purpose, "channel": "email" if book.chance(0.9) else rng.choice(("sms", "telephone"))}
    if name is not None:
        data["list"] = name
    book.say(member, "message.sent", at, data, member.fields("email", "full_name") if book.chance(0.4) else None)


def use(book: Book, member: Member, at: int) -> None:
    """Information is used for running things, or without names for statistics."""
    if member.kind == "visitor" or book.chance(0.3):
        book.say(member, "information.used", at, {"purpose": "analytics", "categories": ["ip-address", "page-views"]})
        return
    purpose = book.rng.choice(("account-administration", "service-delivery", "support", "improvement"))
    data: Event = {"purpose": purpose, "categories": ["name", "email"]}
    if purpose == "improvement" and book.chance(0.3):
        data["country"] = "IE"
    book.say(member, "information.used", at, data)


def collect(book: Book, member: Member, at: int) -> None:
    """More is learned: from the person, in passing, or from somebody else."""
    if book.chance(0.35):
        book.say(member, "information.collected", at, {"categories": list(PASSIVE), "origin": "passive"})
        return
    categories = book.rng.choice(_COLLECTED[member.controller])
    data: Event = {"categories": list(categories), "origin": "subject"}
    if book.chance(0.06):
        data |= {"origin": "other-source", "source_name": "trade fair visitors"}
    else:
        _offer(book, member, data)
    book.say(member, "information.collected", at, data, member.fields(*_FIELDS_OF[categories]))


def _choice(book: Book, member: Member) -> Event:
    purpose, name = book.rng.choice(LISTS[member.controller])
    return {"purpose": purpose, "list": name}


def opt_in(book: Book, member: Member, at: int) -> None:
    """Say yes: to a list, to the affiliate, or by posting in a forum."""
    roll = book.rng.random()
    if roll < 0.1:
        data: Event = {"purpose": "forum", "item": f"thread-{book.rng.randrange(1, 400)}", "basis": "use"}
    elif roll < 0.25 and member.controller == PARATURE:
        data = {"purpose": "joint-project", "recipients": ["sister-house"], "basis": "express"}
        member.shares = True
    else:
        data = {**_choice(book, member), "basis": "express", "policy_version": "1"}
        member.opted.add(data["list"])
        member.closed.discard(data["list"])
    book.say(member, "consent.granted", at, data, member.fields("email", "form_ip"))


def ask(book: Book, member: Member, at: int) -> None:
    """Ask the person, who says nothing yet."""
    book.say(member, "consent.requested", at, _choice(book, member))


def refuse(book: Book, member: Member, at: int) -> None:
    """Say no to a list, or to cookies."""
    if book.chance(0.2):
        book.say(member, "consent.refused", at, {"categories": ["cookie-id"]})
        return
    data = _choice(book, member)
    _close(member, data["list"])
    book.say(member, "consent.refused", at, data)


def withdraw(book: Book, member: Member, at: int) -> None:
    """Take a yes back."""
    open_lists = member.open_lists()
    purpose, name = book.rng.choice(open_lists or LISTS[member.controller])
    _close(member, name)
    fields = member.fields("email", "form_ip") if book.chance(0.6) else None
    book.say(member, "consent.withdrawn", at, {"purpose": purpose, "list": name}, fields)


def _close(member: Member, name: str) -> None:
    member.opted.discard(name)
    member.closed.add(name)


def opt_out(book: Book, member: Member, at: int) -> None:
    """Opt out, in one of the scopes."""
    rng = book.rng
    scopes = ("list", "general", "purpose", "recipient", "advertising", "all")
    scope = rng.choices(scopes, (50, 14, 10, 14, 8, 4))[0]
    purpose, name = rng.choice(member.open_lists() or LISTS[member.controller])
    partner = "training-partner" if member.controller == PARATURE else "trade-partner"
    named = {"list": name, "purpose": purpose, "recipient": partner}.get(scope)
    data: Event = {"scope": scope}
    if named is not None:
        data[scope] = named
    data["signal"] = rng.choice(("gpc", "nai", "partner") if scope == "advertising" else ("link", "form", "mail"))
    if named == "trade-partner" and book.chance(0.85):
        data["told_consequence"] = True
    if (scope, named) not in member.out:
        member.out.append((scope, named))
    if scope in ("general", "all"):
        member.opted.clear()
    for about, one in LISTS[member.controller]:
        if named in (about, one):
            member.opted.discard(one)
    book.say(member, "optout.recorded", at, data, member.fields("email", "form_ip") if book.chance(0.5) else None)


def lift(book: Book, member: Member, at: int) -> None:
    """Undo an opt-out, where there is one."""
    if not member.out:
        use_service(book, member, at)
        return
    scope, name = member.out.pop(book.rng.randrange(len(member.out)))
    book.say(member, "optout.lifted", at, {"scope": scope} if name is None else {"scope": scope, scope: name})


def disclose(book: Book, member: Member, at: int) -> None:
    """Information goes to a recipient that may have it; now and then to one that may not."""
    basic = ["name", "email"]
    slip = book.chance(SLIP)
    options: list[tuple[str, str, list[str]]] = []
    if member.controller == PARATURE:
        options += [("support-desk", "support", basic), ("page-tracker", "analytics", list(PASSIVE))]
        options += [("count-house", "analytics", ["page-views", "statistics"])]
        if ("advertising", None) not in member.out:
            options.append(("ad-network", "behavioural-advertising", ["page-views", "conversion"]))
        if (member.noticed and ("recipient", "training-partner") not in member.out) or slip:
            options.append(("training-partner", "partner-communication", basic))
        if member.shares or slip:
            options.append(("sister-house", "joint-project", basic))
    else:
        options += [("parcel-desk", "service-delivery", ["name", "postal-address"])]
        options += [("bridge-project", "joint-project", basic)]
        options += [("billing-desk", "payment", ["transaction"]), ("resale-house", "lead-followup", basic)]
        if ("recipient", "trade-partner") not in member.out or slip:
            options.append(("trade-partner", "product-workflow", basic))
        if member.of is not None:
            options.append((member.of, "event-notice", ["attendance", "name"]))
        if slip:
            options += [("list-house", "list-sale", basic), ("former-partner", "product-workflow", basic)]
    recipient, purpose, categories = book.rng.choice(options[-2:] if slip else options)
    data = {"recipient": recipient, "categories": list(categories), "purpose": purpose}
    book.say(member, "disclosure.made", at, data)


def notify_partner(book: Book, member: Member, at: int) -> None:
    """Tell the person of a partner that may get the information."""
    member.noticed = True
    partner = "training-partner" if member.controller == PARATURE else "trade-partner"
    book.say(member, "partner.notified", at, {"recipient": partner})


def tell(book: Book, member: Member, at: int) -> None:
    """Tell a recipient of a no."""
    recipient = "sister-house" if member.controller == PARATURE else "trade-partner"
    book.say(member, "recipient.told", at, {"recipient": recipient, "about": "optout"})


def turn_agreement(book: Book, member: Member, at: int) -> None:
    """Begin an agreement, or end it."""
    kind = "agreement.ended" if member.agreement else "agreement.started"
    member.agreement = not member.agreement
    book.say(member, kind, at, {"service": SERVICES[member.controller][0]})


Act = Callable[[Book, Member, int], None]
_ACTS: Final[dict[Act, tuple[float, float]]] = {  # weights at the two houses
    use_service: (34, 32),
    message: (25, 27),
    use: (10, 9),
    collect: (12, 14),
    opt_in: (6, 2.5),
    ask: (1.6, 1),
    refuse: (0.8, 0.5),
    withdraw: (1.2, 0.8),
    opt_out: (1.4, 2.4),
    lift: (0.5, 0.7),
    disclose: (5, 6.5),
    notify_partner: (1, 0.4),
    tell: (0.5, 0.5),
    turn_agreement: (0.5, 0.5),
}
_ORDER: Final = list(_ACTS)
_WEIGHTS: Final = {
    controller: list(accumulate(weights[house] for weights in _ACTS.values()))
    for house, controller in enumerate((PARATURE, WHEREVERWORKS))
}


def go_on(book: Book, member: Member, count: int) -> None:
    """`count` things that happen between joining and the end, in order of time."""
    first = member.joined + DAY
    if member.until - first < count:
        return
    times = sorted(book.rng.randrange(first, member.until) for _ in range(count))
    acts = book.rng.choices(_ORDER, cum_weights=_WEIGHTS[member.controller], k=count)
    for at, act in zip(times, acts, strict=True):
        act(book, member, at)


def zipf(count: int) -> list[float]:
    """Cumulative weights of `count` people: a few very active, many quiet."""
    return list(accumulate(1 / (rank + 10) for rank in range(count)))


def activity(book: Book, members: Iterable[Member], total: int) -> None:
    """`total` things spread over the members."""
    order = list(members)
    book.rng.shuffle(order)
    counts = [0] * len(order)
    for index in book.rng.choices(range(len(order)), cum_weights=zipf(len(order)), k=max(0, total)):
        counts[index] += 1
    for member, count in zip(order, counts, strict=True):
        go_on(book, member, count)
