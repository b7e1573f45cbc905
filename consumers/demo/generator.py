"""A made-up stream of events that looks like life, for the demo and for measuring. One seed is one stream, to the byte.

Two organisations, two years, a few people who do a lot and many who do little; notices, requests, a breach, a change of
owner; news that comes late, lines that come twice, lines that are refused and lines that are no events at all.
The people are those of `consumers.demo.lives`; one has a name and a story of her own: `ANN` at both organisations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import orjson

from consent_ledger.consumers.demo.lives import (
    DAY,
    HOUR,
    PARATURE,
    WHEREVERWORKS,
    Book,
    Event,
    Member,
    activity,
    begin,
    personal,
    zipf,
)
from consent_ledger.consumers.opening import shipped_packs
from consent_ledger.ledger.times import SECOND, format_time, parse_time

NOW: Final = "2026-06-30T12:00:00Z"
SPAN_DAYS: Final = 730  # from the first event to `now`
DUPLICATES: Final = 0.01  # of the lines repeat an earlier one
LIBRARY: Final = "the-town-library"  # the controller whose processor both houses are

ANN: Final = "crm:4711"  # her name at both organisations
ANN_NAME: Final = "Ann Example"
ANN_EMAIL: Final = "ann@example.com"
ANN_LIST: Final = "product-news"
ANN_REQUEST: Final = "deletion-ann"  # at parature, two of five fields are missing
ANN_PARTNER: Final = "trade-partner"  # whom she opted out of at whereverworks
ANN_DAYS: Final = {  # days before `now`
    "opted_in": 650,  # parature: to product-news
    "disclosed": 560,  # parature: name and e-mail to the support desk
    "opted_out": 460,  # parature: of product-news, by the link in a letter
    "sent_against": 410,  # parature: a letter all the same
    "corrected": 365,  # parature: her e-mail; what the support desk holds is stale from here on
    "withdrew": 120,  # parature: from offers; told 20 days later, and a letter went out between the two
    "told_late": 100,
    "asked_deletion": 40,  # parature: and did not say who she is
    "general_optout": 500,  # whereverworks
    "partner_optout": 400,  # whereverworks: told what she loses
    "asked_access": 200,  # whereverworks
}

_PUBLISHED: Final = {PARATURE: (330, "quality-survey"), WHEREVERWORKS: (270, "behavioural-advertising")}  # version 2
_RECIPIENTS: Final[dict[str, list[tuple[str, str, str | None, list[str] | None]]]] = {
    PARATURE: [
        ("support-desk", "service-provider", "support", None),
        ("count-house", "service-provider", "analytics", None),
        ("sister-house", "affiliate", None, None),
        ("training-partner", "partner", None, None),
        ("page-tracker", "tracker", None, None),
        ("ad-network", "advertising-partner", None, None),
        ("county-court", "authority", None, None),
        ("next-owner", "new-owner", None, None),
    ],
    WHEREVERWORKS: [
        ("parcel-desk", "service-provider", "service-delivery", ["name", "postal-address"]),
        ("billing-desk", "service-provider", "payment", ["transaction"]),
        ("resale-house", "reseller", None, None),
        ("trade-partner", "distribution-partner", None, None),
        ("former-partner", "distribution-partner", None, None),
        ("bridge-project", "project-company", None, None),
        ("list-house", "vendor", None, None),
        ("state-police", "authority", None, None),
    ],
}


@dataclass(frozen=True, slots=True)
class Stream:
    """Events in the order of telling. `broken`: lines that are not JSON, each before the event of that place.

    `bad`: how many lines are no events, the broken ones included.
    """

    events: list[dict[str, Any]]
    broken: dict[int, bytes]
    bad: int

    def lines(self) -> Iterator[bytes]:
        """NDJSON, each line with its line end, bad ones in place."""
        for place, event in enumerate(self.events):
            if place in self.broken:
                yield self.broken[place] + b"\n"
            yield orjson.dumps(event) + b"\n"

    def told(self) -> list[int]:
        """Say when each event is told, in microseconds: the latest time so far. It never decreases."""
        latest = parse_time(self.events[0]["time"])
        moments = []
        for event in self.events:
            with suppress(ValueError):  # a bad line's time
                latest = max(latest, parse_time(event["time"]))
            moments.append(latest)
        return moments


def generate(
    seed: int = 7, people: int = 1500, events: int = 20_000, now: str = NOW, *, packs: Mapping[str, bytes]
) -> Stream:
    """Make up about `events` events about `people`, over two years that end at `now`.

    `packs`: the bytes of each controller's pack. Fewer people are made than asked for where there are fewer than ten
    events for each. Requires events >= 1000, people >= 100: with fewer some types may not come.
    """
    end = parse_time(now) // SECOND
    book = Book(random.Random(seed), end - SPAN_DAYS * DAY, end)  # noqa: S311  life is not a secret
    _publish(book, packs)
    members = _members(book, min(people, events // 10))
    _deletions(book, members)
    for member in members:
        begin(book, member)
    grown = [member for member in members if member.until > member.joined + 3 * DAY]
    _news_of_versions(book, grown)
    _change_of_owner(book, [member for member in grown if member.controller == PARATURE])
    _breach(book, [member for member in grown if member.controller == WHEREVERWORKS])
    _requests(book, grown)
    _loose_ends(book, grown)
    _ties(book, grown)
    _ann(book)
    _as_processor(book)
    _refused(book, members)
    activity(book, grown, int(events * (1 - DUPLICATES)) - len(book.drafts) - 20)
    return _told(book)


def write(path: Path, stream: Stream) -> None:
    """Write a stream as a file of NDJSON."""
    with path.open("wb") as file:
        file.writelines(stream.lines())


def bench_events(
    number: int, seed: int = 7, *, packs: Mapping[str, bytes] | None = None, now: str = NOW
) -> Iterator[dict[str, Any]]:
    """Make up `number` events of parature after a `policy.published`: a steady mix, all good.

    A third have two personal fields. They are about `number // 14` people, a few very active. Times are evenly spread
    over two years that end at `now`. `packs`: as for `generate`, by default those that come with the program.
    """
    rng = random.Random(seed)  # noqa: S311
    end = parse_time(now) // SECOND
    first, span = end - SPAN_DAYS * DAY, SPAN_DAYS * DAY - HOUR
    weights = zipf(max(1, number // 14))
    indices = range(len(weights))
    mix = list(accumulate(weight for weight, *_ in _BENCH_MIX))
    frame = {"specversion": "1.0", "controller": PARATURE, "source": "urn:app:bench"}
    data = _version("1", (packs or shipped_packs())[PARATURE])
    yield {**frame, "id": "policy", "type": "policy.published", "time": format_time(first * SECOND), "data": data}
    for done in range(0, number, 10_000):
        count = min(10_000, number - done)
        kinds = rng.choices(_BENCH_MIX, cum_weights=mix, k=count)
        subjects = rng.choices(indices, cum_weights=weights, k=count)
        for place, ((_, kind, facts), who) in enumerate(zip(kinds, subjects, strict=True), done):
            event: Event = {**frame, "id": f"b{place}", "type": kind, "subject": f"crm:{10_000 + who}"}
            event["time"] = format_time((first + 1 + span * place // number) * SECOND)
            event["data"] = dict(facts)
            if place % 3 == 0:
                event["data"]["personal"] = personal(who, "full_name", "email")
            yield event


_YES: Final = {"purpose": "newsletter", "list": "product-news", "basis": "express"}
_BENCH_MIX: Final[list[tuple[int, str, Event]]] = [
    (35, "service.used", {"service": "site"}),
    (25, "message.sent", {"purpose": "newsletter", "list": "product-news", "channel": "email"}),
    (15, "information.collected", {"categories": ["name", "email"], "origin": "subject"}),
    (12, "consent.granted", _YES),
    (5, "consent.withdrawn", {"purpose": "newsletter", "list": "product-news"}),
    (5, "optout.recorded", {"scope": "list", "list": "product-news", "signal": "link"}),
    (3, "information.used", {"purpose": "support", "categories": ["name", "email"]}),
]


# -- the two organisations ---------------------------------------------------------------------------------------------


def _version(version: str, pack: bytes, **more: Any) -> Event:
    text = sha256(f"A made-up statement, version {version}.".encode()).hexdigest()
    return {"version": version, "text_sha256": text, "pack_sha256": sha256(pack).hexdigest(), **more}


def _publish(book: Book, packs: Mapping[str, bytes]) -> None:
    """Tell what the organisations say about themselves."""
    for number, controller in enumerate((PARATURE, WHEREVERWORKS)):
        first = book.start + number
        book.note(controller, "policy.published", first, _version("1", packs[controller]))
    for controller, rows in _RECIPIENTS.items():
        for recipient, class_, service, categories in rows:
            data = {"recipient": recipient, "class": class_, "service": service, "categories": categories}
            given = {name: value for name, value in data.items() if value is not None}
            book.note(controller, "recipient.registered", book.start + HOUR, given)
        days, new_use = _PUBLISHED[controller]
        at = book.now - days * DAY
        change = {"touches_stored_information": True, "new_uses": [new_use], "material": True}
        book.note(controller, "policy.published", at, _version("2", packs[controller], supersedes="1", change=change))
        book.note(controller, "policy.notice.posted", at + HOUR, {"version": "2", "where": "on the first page"})
    for recipient in ("trade-partner", "former-partner", "bridge-project"):
        data = {"recipient": recipient, "kind": "confidentiality"}
        book.note(WHEREVERWORKS, "recipient.agreement.signed", book.start + 2 * HOUR, data)
    ended = {"recipient": "former-partner", "kind": "confidentiality"}
    book.note(WHEREVERWORKS, "recipient.agreement.ended", book.start + 90 * DAY, ended)


def _members(book: Book, people: int) -> list[Member]:
    """Make the people: about half at either house, one in ten at both under one name, some employees of a customer."""
    members: list[Member] = []
    customers = max(2, people // 150)
    for controller in (PARATURE, WHEREVERWORKS):
        for number in range(customers):
            name = f"org:{number + 1}"
            members.append(Member(controller, number, name, "customer", book.start + 3 * HOUR, book.now))
            if controller == WHEREVERWORKS:
                data = {"recipient": name, "class": "own-company"}
                book.note(controller, "recipient.registered", book.start + 2 * HOUR, data)
    span = (SPAN_DAYS - 5) * DAY
    for number in range(customers, people):
        roll, kind = book.rng.random(), book.rng.choices(("customer", "visitor", "employee"), (60, 22, 18))[0]
        name = f"web:{number * 2_654_435_761 % 2**32:08x}" if kind == "visitor" else f"crm:{10_000 + number}"
        of = f"org:{1 + number % customers}" if kind == "employee" else None
        for controller, known in ((PARATURE, roll < 0.58), (WHEREVERWORKS, roll >= 0.48)):
            if known:
                joined = book.start + DAY + int(span * book.rng.random() ** 1.6)
                members.append(Member(controller, number, name, kind, joined, book.now, of))
    return members


# -- what only some people meet with -----------------------------------------------------------------------------------


def _deletions(book: Book, members: list[Member]) -> None:
    """Lives that end: deletions asked for, in all the ways they go, and children of whom it became known."""
    able = [one for one in members if one.kind != "visitor" and one.until - one.joined > 60 * DAY and one.number > 20]
    for turn, member in enumerate(sorted(book.some(able, 0.035, 12), key=lambda one: (one.joined, one.name))):
        latest = member.until - DAY if turn > 5 else member.joined + 50 * DAY  # the first six run their course
        at = book.rng.randrange(member.joined + 30 * DAY, latest)
        member.until = at
        _deletion(book, member, at, f"deletion-{turn + 1}", turn % 6)
    young = [one for one in able if one.until == book.now]
    for turn, member in enumerate(book.some(young, 0, 8)):
        at = member.joined + 10 * DAY
        member.until = at
        facts = ({"age": 11}, {"under": 13}, {"age": 12, "needs_guardian": True})[turn % 3]
        book.say(member, "subject.age.learned", at, facts, told=at)
        if turn % 2:
            book.say(member, "deletion.completed", at + 3 * DAY)


def _deletion(book: Book, member: Member, at: int, request: str, turn: int) -> None:
    """One request. Turns: 0 never identified, 1 identified later, 2 purged, 3 held for a while, 4 held, 5 running."""
    asked: Event = {"request": request, "service": "site"}
    whole = member.fields("full_name", "email", "postal_address", "telephone")
    short = member.fields("full_name", "email")
    book.say(member, "deletion.requested", at, asked, short if turn < 2 else whole)
    done: Event = {"request": request}
    if turn == 1:
        rest = member.fields("postal_address", "telephone")
        book.say(member, "request.next_steps_sent", at + DAY, {"request": request})
        book.say(member, "deletion.identified", at + 9 * DAY, {"request": request}, rest)
        book.say(member, "deletion.completed", at + 20 * DAY, done)
    elif turn == 2:
        done["archive_until"] = format_time((at + 100 * DAY) * SECOND)
        book.say(member, "deletion.completed", at + 12 * DAY, done)
        book.say(
            member, "recipient.told", at + 13 * DAY, {**_receiver(member), "about": "deletion", "request": request}
        )
        book.say(member, "archive.purged", at + 99 * DAY, {"request": request})
    elif turn in (3, 4):
        hold = {"hold": request.replace("deletion", "hold"), "ground": ("dispute", "fraud")[turn - 3]}
        book.say(member, "hold.placed", at + 2 * DAY, hold)
        if turn == 3:
            book.say(member, "hold.released", at + 40 * DAY, {"hold": hold["hold"]})
            book.say(member, "deletion.completed", at + 45 * DAY, done)


def _receiver(member: Member) -> Event:
    return {"recipient": "support-desk" if member.controller == PARATURE else "trade-partner"}


def _news_of_versions(book: Book, members: list[Member]) -> None:
    """Version 2: mailed to most, with some bounces; acknowledged by some, refused by some, used for others."""
    rng = book.rng
    for member in members:
        days, new_use = _PUBLISHED[member.controller]
        at = book.now - days * DAY + rng.randrange(2 * HOUR, 9 * DAY)
        if member.joined > at or member.until < at or member.kind == "visitor" or book.chance(0.15):
            continue
        notice: Event = {"version": "2", "channel": "post" if book.chance(0.06) else "email"}
        if member.controller == WHEREVERWORKS:
            notice["offers_choice"] = book.chance(0.9)
        book.say(member, "policy.notice.sent", at, notice)
        if book.chance(0.06):
            book.say(member, "policy.notice.bounced", at + HOUR, {"version": "2"})
            continue
        later = at + rng.randrange(DAY, 40 * DAY)
        if later >= member.until:
            continue
        if book.chance(0.06):
            book.say(member, "consent.refused", later, {"purpose": new_use, "policy_version": "2"})
        elif member.controller == PARATURE and book.chance(0.25):
            book.say(member, "policy.acknowledged", later, {"version": "2"})
            book.say(member, "information.used", later + DAY, {"purpose": new_use, "categories": ["email"]})
        elif book.chance(0.1):
            yes = {"purpose": new_use, "basis": "express", "policy_version": "2"}
            book.say(member, "consent.granted", later, yes, member.fields("email"))
        elif book.chance(0.02):
            book.say(member, "information.used", later, {"purpose": new_use, "categories": ["email"]})


def _change_of_owner(book: Book, members: list[Member]) -> None:
    """Announced, told to many, completed; some leave before."""
    at = book.now - 210 * DAY
    effective = at + 45 * DAY
    announced = {"transfer": "next-owner-deal", "new_owner": "next-owner", "kind": "acquisition", "posted": True}
    announced["effective_at"] = format_time(effective * SECOND)
    book.note(PARATURE, "ownership.transfer.announced", at, announced)
    there = [one for one in members if one.joined + 5 * DAY < at and one.until == book.now]
    for turn, member in enumerate(book.some(there, 0.3)):
        told = at + book.rng.randrange(HOUR, 15 * DAY)
        told_of = {"transfer": "next-owner-deal", "channel": "post" if turn % 9 == 8 else "email"}
        book.say(member, "ownership.transfer.notified", told, told_of)
        if turn % 20 == 0:
            member.until = told + 4 * DAY
            reason = ("leaves with the old owner", "no reason given")[turn // 20 % 2]
            book.say(member, "account.deactivated", member.until, {"reason": reason})
    book.note(PARATURE, "ownership.transfer.completed", effective + HOUR, {"transfer": "next-owner-deal"})


def _breach(book: Book, members: list[Member]) -> None:
    """Found, held back by order for three weeks, then told to most of the people affected."""
    at = book.now - 160 * DAY
    breach = {"breach": "breach-1"}
    book.note(WHEREVERWORKS, "breach.discovered", at, {**breach, "categories": ["name", "email", "login"]})
    order = {**breach, "authority": "state-police", "reason": "an inquiry that a notice would spoil"}
    book.note(WHEREVERWORKS, "breach.delay.ordered", at + DAY, order)
    book.note(WHEREVERWORKS, "breach.delay.ended", at + 22 * DAY, {**breach, "authority": "state-police"})
    book.note(WHEREVERWORKS, "authority.notified", at + 2 * DAY, {**breach, "authority": "data-protection-office"})
    there = [one for one in members if one.joined < at and one.until > at + 40 * DAY]
    for member in book.some(there, 0.2, 4):
        book.say(member, "breach.affected", at + book.rng.randrange(DAY, 4 * DAY), dict(breach))
        if book.chance(0.85):
            channel = "post" if book.chance(0.3) or ("all", None) in member.out else "email"
            told = at + book.rng.randrange(22 * DAY, 30 * DAY)
            book.say(member, "breach.notified", told, {**breach, "channel": channel})


def _requests(book: Book, members: list[Member]) -> None:
    """Corrections, some answered late, access, complaints, what authorities demanded."""
    rng = book.rng
    for turn, member in enumerate(book.some(members, 0.05, 8), 1):
        if (at := book.moment(member)) is None:
            continue
        data = {
            "request": f"correction-{turn}",
            "categories": rng.choice((["email"], ["telephone"], ["postal-address"])),
        }
        field = data["categories"][0].replace("-", "_")
        book.say(member, "correction.requested", at, data, personal(member.number + 1, field, "full_name"))
        after = rng.randrange(32, 60) if turn % 7 == 0 else rng.randrange(2, 28)
        if turn % 9 == 0:
            book.say(member, "request.next_steps_sent", at + 20 * DAY, {"request": data["request"]})
        if turn % 11:
            book.say(member, "correction.completed", at + after * DAY, {**data})
            book.say(member, "recipient.told", at + (after + 1) * DAY, {**_receiver(member), "about": "correction"})
    for turn, member in enumerate(book.some(members, 0.03, 6), 1):
        if (at := book.moment(member)) is not None:
            book.say(member, "access.requested", at, {"request": f"access-{turn}"}, member.fields("full_name", "email"))
            after = rng.randrange(31, 50) if turn % 8 == 0 else rng.randrange(1, 28)
            book.say(member, "access.answered", at + after * DAY, {"request": f"access-{turn}"})
    for turn, member in enumerate(book.some(members, 0.02, 6), 1):
        if (at := book.moment(member)) is not None:
            book.say(
                member, "complaint.lodged", at, {"complaint": f"complaint-{turn}"}, member.fields("words", "email")
            )
            kind = ("complaint.escalated", "complaint.answered", "complaint.answered")[turn % 3]
            to = {"to": "the arbiter"} if turn % 3 == 0 else {}
            book.say(member, kind, at + rng.randrange(3, 40) * DAY, {"complaint": f"complaint-{turn}", **to})
    for turn, member in enumerate(book.some(members, 0, 6)):
        if (at := book.moment(member)) is not None:
            _compelled(book, member, at, turn)


def _loose_ends(book: Book, members: list[Member]) -> None:
    """Messages that came back for good, requests extended, denied or taken back, a guardian who is not needed now."""
    for member in book.some(members, 0.005, 6):
        if (at := book.moment(member)) is not None:
            book.say(member, "message.bounced", at, {"channel": "email", "permanent": True}, member.fields("email"))
    for turn, member in enumerate(book.some(members, 0.003, 6)):
        if (at := book.moment(member)) is None:
            continue
        request: Event = {"request": f"question-{turn}"}
        book.say(member, "access.requested", at, dict(request), member.fields("full_name"))
        kind = ("request.extended", "request.denied", "request.taken_back")[turn % 3]
        more: dict[str, Event] = {
            "request.extended": {"until": format_time((at + 60 * DAY) * SECOND), "reason": "complex"},
            "request.denied": {"ground": "not-identified", "explained": True},
        }
        book.say(member, kind, at + 9 * DAY, {**request, **more.get(kind, {})})
        if turn == 0:
            book.say(member, "guardian.ended", at)


def _compelled(book: Book, member: Member, at: int, turn: int) -> None:
    """Something an authority demanded; the first of them is still secret, the second no longer."""
    data: Event = {"recipient": "county-court" if member.controller == PARATURE else "state-police"}
    data |= {"categories": ["name", "email"], "ground": ("law-enforcement", "law", "law", "dispute")[turn % 4]}
    if turn < 2:
        until = book.now + 60 * DAY if turn == 0 else at + 30 * DAY
        data["secret_until"] = format_time(until * SECOND)
    book.say(member, "disclosure.compelled", at, data)


def _ties(book: Book, members: list[Member]) -> None:
    """Second names found to be the same person, a few wrongly; ages of grown-ups."""
    for turn, member in enumerate(book.some(members, 0.02, 6)):
        at = book.moment(member)
        if at is None:
            continue
        other = Member(member.controller, member.number, f"app:{turn + 1:05d}", "visitor", at - 2 * DAY, at)
        book.say(other, "subject.registered", other.joined, {"kind": "visitor"})
        book.say(other, "service.used", other.joined + HOUR, {"service": "site"})
        book.say(member, "subject.linked", at, fields={"other": other.name})
        if turn % 6 == 5:
            book.say(member, "subject.unlinked", at + DAY, fields={"other": other.name})
    for member in book.some(members, 0.01):
        if (at := book.moment(member)) is not None:
            book.say(member, "subject.age.learned", at, {"age": 20 + member.number % 50})


def _as_processor(book: Book) -> None:
    """Tell what is done for customers, about people who are theirs: no door rule of the house applies."""
    for number in range(8):
        controller = (PARATURE, WHEREVERWORKS)[number % 2]
        member = Member(controller, 900 + number, f"enduser:{number}", "visitor", book.start, book.now)
        at = book.start + (60 + 70 * number) * DAY
        found = {"categories": ["name", "national-id"], "origin": "subject"}
        book.say(member, "information.collected", at, found, member.fields("full_name", "email"), of=LIBRARY)
        book.say(member, "message.sent", at + DAY, {"purpose": "newsletter", "channel": "email"}, of=LIBRARY)


def _refused(book: Book, members: list[Member]) -> None:
    """Tell what the packs refuse at the door."""
    for member in book.some([one for one in members if one.until == book.now and one.kind == "customer"], 0, 9):
        at = book.now - book.rng.randrange(20, 300) * DAY
        wanted = [["email", "national-id"]]
        if member.controller == WHEREVERWORKS:
            wanted = [["payment-card"], ["cookie-id"], ["name", "religion"]]
        for number, categories in enumerate(wanted):
            data = {"categories": categories, "origin": "subject", "optout_offered": True}
            book.say(member, "information.collected", at + number * HOUR, data, told=at + number * HOUR)
    children = [one for one in members if one.until == one.joined + 10 * DAY]
    for member in children[:4]:
        at = member.until + HOUR
        data = {"categories": ["email"], "origin": "subject", "optout_offered": True}
        book.say(member, "information.collected", at, data, member.fields("email"), told=at)


# -- Ann ---------------------------------------------------------------------------------------------------------------


def ann_dates(now: str = NOW) -> dict[str, str]:
    """Say when what happened to Ann, by the names of ANN_DAYS."""
    end = parse_time(now)
    return {name: format_time(end - days * DAY * SECOND) for name, days in ANN_DAYS.items()}


def _ann(book: Book) -> None:
    """Ann's two histories. Each line: days before now, type, facts, personal fields."""
    her = {"full_name": ANN_NAME, "email": ANN_EMAIL}
    news = {"purpose": "newsletter", "list": ANN_LIST}
    letter = {**news, "channel": "email"}
    offers = {"purpose": "promotion", "list": "offers"}
    days = ANN_DAYS
    mend = {"request": "correction-ann", "categories": ["email"]}
    to_desk = {"recipient": "support-desk", "categories": ["name", "email"], "purpose": "support"}
    to_partner = {"recipient": "training-partner", "categories": ["email"], "purpose": "partner-communication"}
    _story(book, PARATURE, [
        (700, "subject.registered", {"kind": "customer"}, her),
        (700, "service.used", {"service": "support-portal"}, {}),
        (699, "information.collected", {"categories": ["name", "email"], "origin": "subject"}, her),
        (690, "agreement.started", {"service": "support-portal"}, {}),
        (days["opted_in"], "consent.granted", {**news, "basis": "express"}, {**her, "form_ip": "203.0.113.9"}),
        (640, "message.sent", letter, {}),
        (days["disclosed"], "disclosure.made", to_desk, {}),
        (550, "partner.notified", {"recipient": "training-partner"}, {}),
        (540, "disclosure.made", to_partner, {}),
        (500, "message.sent", letter, {}),
        (days["opted_out"], "optout.recorded", {"scope": "list", "list": ANN_LIST, "signal": "link"}, {}),
        (days["sent_against"], "message.sent", letter, {}),
        (380, "correction.requested", mend, {"email": "ann.example@example.org"}),
        (days["corrected"], "correction.completed", mend, {}),
        (326, "policy.notice.sent", {"version": "2", "channel": "email"}, {}),
        (300, "consent.granted", {**offers, "basis": "express"}, her),
        (250, "policy.acknowledged", {"version": "2"}, {}),
        (150, "complaint.lodged", {"complaint": "complaint-ann"}, {"words": "why do you write to me again?"}),
        (140, "complaint.answered", {"complaint": "complaint-ann"}, {}),
        (days["withdrew"], "consent.withdrawn", offers, {}),
        (110, "message.sent", {**offers, "channel": "email"}, {}),
        (days["asked_deletion"], "deletion.requested", {"request": ANN_REQUEST, "service": "support-portal"}, her),
        (38, "request.next_steps_sent", {"request": ANN_REQUEST}, {}),
        (20, "agreement.ended", {"service": "support-portal"}, {}),
    ])  # fmt: skip
    access = {"request": "access-ann"}
    to_trade = {"recipient": ANN_PARTNER, "categories": ["name", "email"], "purpose": "product-workflow"}
    gone = {"scope": "recipient", "recipient": ANN_PARTNER, "signal": "form", "told_consequence": True}
    asked = {"categories": ["name", "email"], "origin": "subject", "optout_offered": True}
    _story(book, WHEREVERWORKS, [
        (680, "subject.registered", {"kind": "customer"}, her),
        (680, "information.collected", asked, {**her, "telephone": "+1 212 555 0147"}),
        (670, "service.used", {"service": "download"}, {}),
        (668, "message.sent", {"purpose": "download-followup", "channel": "email"}, {}),
        (640, "message.sent", {"purpose": "promotion", "list": "seasonal-offers", "channel": "email"}, {}),
        (620, "optout.recorded", {"scope": "list", "list": "conference-calls", "signal": "link"}, {}),
        (600, "optout.lifted", {"scope": "list", "list": "conference-calls"}, {}),
        (560, "disclosure.made", to_trade, {}),
        (days["general_optout"], "optout.recorded", {"scope": "general", "signal": "form"}, {}),
        (450, "message.sent", {"purpose": "newsletter", "list": "monthly-letter", "channel": "email"}, {}),
        (445, "message.sent", {"purpose": "software-update", "channel": "email"}, {}),
        (days["partner_optout"], "optout.recorded", gone, {}),
        (390, "recipient.told", {"recipient": ANN_PARTNER, "about": "optout"}, {}),
        (266, "policy.notice.sent", {"version": "2", "channel": "email", "offers_choice": True}, {}),
        (255, "consent.refused", {"purpose": "behavioural-advertising", "policy_version": "2"}, {}),
        (days["asked_access"], "access.requested", access, her),
        (185, "request.next_steps_sent", access, {}),
        (175, "access.answered", access, {}),
        (158, "breach.affected", {"breach": "breach-1"}, {}),
        (136, "breach.notified", {"breach": "breach-1", "channel": "email"}, {}),
    ])  # fmt: skip


def _story(book: Book, controller: str, steps: list[tuple[int, str, Event, dict[str, str]]]) -> None:
    ann = Member(controller, 4711, ANN, "customer", book.start, book.now)
    for number, (days, kind, data, fields) in enumerate(steps):
        at = book.now - days * DAY + number
        late = ANN_DAYS["told_late"] if kind == "consent.withdrawn" else days
        book.say(ann, kind, at, dict(data), dict(fields), told=book.now - late * DAY + number)


# -- the telling -------------------------------------------------------------------------------------------------------


def _told(book: Book) -> Stream:
    """All lines in the order of telling: numbered by their source, some twice, some contradicted, some no events."""
    book.drafts.sort(key=lambda draft: draft[:2])
    events = [event for _, _, event in book.drafts]
    counts: dict[str, int] = {}
    for event in events:
        source = event["source"]
        counts[source] = counts.get(source, 0) + 1
        event["id"] = f"{source.rpartition(':')[2]}-{counts[source]}"
    rng, last = book.rng, len(events) - 1
    extra: dict[int, list[Event]] = {}
    for index in rng.sample(range(len(events)), int(len(events) * DUPLICATES)):
        extra.setdefault(min(last, index + rng.randrange(1, 400)), []).append(events[index])
    used = [index for index, event in enumerate(events) if event["type"] == "service.used" and "actor" not in event]
    for index in rng.sample(used, 5):
        other = {**events[index], "data": {"service": "another service"}}
        extra.setdefault(min(last, index + rng.randrange(1, 90)), []).append(other)
    wrong = _wrong(book)
    for number, event in enumerate(wrong, 1):
        extra.setdefault(last * number // (len(wrong) + 1), []).append(event)
    lines: list[Event] = []
    for index, event in enumerate(events):
        lines.append(event)
        if index in extra:
            lines += extra[index]
    broken = {
        len(lines) // 3: b'{"specversion": "1.0", "id": "mailer-cut-sh',
        len(lines) // 2: b"upstream timed out, retrying",
    }
    return Stream(lines, broken, len(wrong) + len(broken))


def _wrong(book: Book) -> list[Event]:
    """Make what looks like an event and is none, each in its own way."""
    time = format_time((book.start + 9 * DAY) * SECOND)
    frame = {"specversion": "1.0", "source": "urn:app:new", "subject": ANN, "time": time, "controller": PARATURE}
    used = {"type": "service.used", "data": {"service": "site"}}
    sent: Event = {"purpose": "newsletter", "channel": "email"}
    given: Event = {"recipient": "unheard-of", "categories": ["email"], "purpose": "support"}
    wrong: list[Event] = [
        {"type": "consent.given", "data": {"purpose": "newsletter"}},  # no such type
        {"type": "subject.erased", "data": {"method": "by hand", "entries": 3}},  # the ledger's own
        {"type": "service.used", "data": {"service": "site", "colour": "blue"}},  # no such field
        {**used, "priority": "high"},  # no such attribute
        {**used, "time": time.rstrip("Z")},  # a time without an offset
        {**used, "controller": "somebody-else"},  # no such controller
        {**used, "subject": ""},  # nobody
        {"type": "account.deactivated", "data": {"reason": f"write to {ANN_EMAIL}"}},  # clear text that says who
        {"type": "message.sent", "data": {**sent, "item": "call +1 212 555 0147"}},  # the same
        {"type": "message.sent", "data": {**sent, "purpose": "telepathy"}},  # no such purpose
        {"type": "disclosure.made", "data": given},  # no such recipient
    ]
    return [{**frame, "id": f"new-{number}", **one} for number, one in enumerate(wrong, 1)]
