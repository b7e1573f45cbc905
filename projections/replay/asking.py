"""The questions that two packs are compared by: every one that can be asked about a person, from what is on record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.events.facts import Channel
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.policy.pack import Match, Pack
from consent_ledger.projections.analysis.regions import countries_told_apart
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.world import World

CHANNELS: Final = ("email", "sms", "telephone", "post", "web")


class Asking(NamedTuple):
    """A question without a person and a moment. A tuple: there are hundreds for every person."""

    action: str
    purpose: str | None = None
    channel: str | None = None
    recipient: str | None = None
    categories: frozenset[str] = frozenset()
    list: str | None = None
    item: str | None = None
    ground: str | None = None
    origin: str | None = None
    country: str | None = None
    transfer: str | None = None

    def question(self) -> Question:
        """The question, not yet classified."""
        return Question(
            self.action, purpose=self.purpose, channel=self.channel, recipient=self.recipient,
            categories=self.categories, list=self.list, item=self.item, ground=self.ground, origin=self.origin,
            country=self.country, transfer=self.transfer,
        )  # fmt: skip

    def body(self) -> dict[str, Any]:
        """The question as JSON, without a person and a moment."""
        said = {name: value for name, value in self._asdict().items() if value}
        return {**said, "categories": sorted(self.categories)} if self.categories else said


@dataclass(frozen=True, slots=True)
class Named:
    """What a person's record names: what questions about this person can be about."""

    about: tuple[tuple[str | None, str | None], ...] = ((None, None),)  # (list, item); neither, too
    more: tuple[Asking, ...] = ()  # whole questions
    channels: bool = False  # whether something said counts for one channel and not for another


def named_by(entries: Iterable[Entry], world: World, notice_purposes: Iterable[str]) -> Named:
    """What the entries of a person name. What came in a processor's role names nothing."""
    about: dict[tuple[str | None, str | None], None] = {(None, None): None}
    more: dict[Asking, None] = {}
    channels = False
    items = {version.version for version in world.versions if version.supersedes is not None}
    for entry in entries:
        data = entry.data
        if entry.role == "processor":
            continue
        channels = channels or _tells_channels_apart(data)
        match data:
            case ev.MessageSent() | ev.OptoutRecorded() | ev.OptoutLifted():
                about[data.list, None] = None
            case ev.ConsentGranted() | ev.ConsentRefused() | ev.ConsentWithdrawn() | ev.ConsentRequested():
                about |= dict.fromkeys(((data.list, None), (None, data.item), (data.list, data.item)))
                categories = frozenset(data.categories or ())
                if data.item is not None and categories:
                    more[Asking("disclose", data.purpose, categories=categories, item=data.item)] = None
                for name in data.recipients or ():
                    if name in world.recipients:
                        more[Asking("disclose", data.purpose, recipient=name, categories=categories)] = None
            case ev.SuppressionCarried():
                about |= dict.fromkeys(((data.list, None), (None, data.item), (data.list, data.item)))
            case ev.BreachAffected():
                items.add(data.breach)
            case _:
                pass  # names nothing that a question can be about
    notices = (
        Asking("contact", purpose, channel, item=item)
        for item in sorted(items)
        for purpose in notice_purposes
        for channel in CHANNELS
    )
    return Named(tuple(about), (*more, *notices), channels)


def _tells_channels_apart(data: ev.Data) -> bool:
    """Whether a word counts for one channel and not for another: named, or by the address that it goes to."""
    match data:
        case ev.ConsentGranted() | ev.ConsentRefused() | ev.ConsentWithdrawn() | ev.SuppressionCarried():
            return bool(data.channels or data.categories)
        case ev.OptoutRecorded():
            return data.scope == "channel"
        case _:
            return isinstance(data, ev.MessageBounced)


class Catalogue:
    """The questions of everybody, by two packs and what is known of the controller."""

    def __init__(self, old: Pack, new: Pack, world: World) -> None:
        self._purposes = tuple(dict.fromkeys((*old.purposes, *new.purposes)))
        self._world = world
        self.known_categories = old.known_categories | new.known_categories
        kinds = (kind for pack in (old, new) for kind in (pack.categories.personal, pack.categories.anonymous))
        self._categories = tuple(dict.fromkeys(category for kind in kinds for category in kind))
        self.notice_purposes = tuple(dict.fromkeys(one.change.notice_purpose for one in (old, new) if one.change))
        self._origins = _named_in("collect", "origin", old, new)
        self._grounds = _named_in("disclose", "ground", old, new)
        self._alike = _alike(old, new)
        self._countries = countries_told_apart(old, new)  # which one of a kind makes no difference to any row
        self._requests = old.judges_requests or new.judges_requests

    def representative(self, one: Asking, named: Named) -> Asking:
        """The question to ask instead: the same by the first of the channels that nothing tells from its own."""
        if one.channel is None or named.channels:
            return one
        return one._replace(channel=self._alike[one.channel])

    def varied(self) -> Iterator[Asking]:
        """Questions that are asked without a list or an item, and with each that the person's record names."""
        for purpose in self._purposes:
            for channel in CHANNELS:
                yield Asking("contact", purpose, channel)
            yield Asking("use", purpose)
            if self._requests:
                yield Asking("request", purpose)

    def fixed(self, on_record: frozenset[str]) -> Iterator[Asking]:
        """Questions that are asked once of a person with such categories on record."""
        for purpose in self._purposes:
            if on_record:
                yield Asking("use", purpose, categories=on_record)
            for country in self._countries:
                yield Asking("use", purpose, country=country)
            for name, recipient in self._world.recipients.items():
                categories = recipient.categories or on_record
                yield Asking("disclose", purpose, recipient=name, categories=categories)
        for name, recipient in self._world.recipients.items():
            for ground in self._grounds:
                yield Asking("disclose", recipient=name, categories=recipient.categories or on_record, ground=ground)
        for category in self._categories:
            for origin in (None, *self._origins):
                yield Asking("collect", categories=frozenset((category,)), origin=origin)
        for country in self._countries:
            yield Asking("transfer", country=country)
        for transfer in self._world.transfers:
            yield Asking("transfer", transfer=transfer)

    def public(self, on_record: frozenset[str]) -> Iterator[Asking]:
        """Disclosures to the public, asked without an item and with each that the person's record names."""
        for purpose in self._purposes:
            yield Asking("disclose", purpose, categories=on_record)


def with_names(one: Asking, named: Named) -> Iterator[Asking]:
    """A varied question with every list and item."""
    for list_name, item in named.about:
        yield one._replace(list=list_name, item=item)


def with_items(one: Asking, named: Named) -> Iterator[Asking]:
    """A public one with every item."""
    for list_name, item in named.about:
        if list_name is None:
            yield one._replace(item=item)


def _alike(*packs: Pack) -> dict[str, str]:
    """For each channel the first one that every row of the packs names with it, or not with it."""
    named: list[list[Channel]] = []
    for pack in packs:
        for clause in pack.clause:
            named += [row.channel for row in (*clause.permit, *clause.forbid, *clause.gate) if row.channel is not None]
            named += [row.channels for row in clause.objection if row.channels is not None]
    first: dict[tuple[bool, ...], str] = {}
    return {channel: first.setdefault(tuple(channel in one for one in named), channel) for channel in CHANNELS}


def _named_in(action: str, name: str, *packs: Pack) -> tuple[str, ...]:
    """The words that rows about an action name in a field: without a row that does, there is nothing to ask."""
    found: dict[str, None] = {}
    for pack in packs:
        for clause in pack.clause:
            rows: list[Match] = [*clause.permit, *clause.forbid, *clause.gate]
            for row in rows:
                if action in row.action:
                    found |= dict.fromkeys(getattr(row, name) or ())
    return tuple(found)
