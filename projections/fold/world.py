"""The fold of what is about a controller and not about a person: versions, recipients, transfers, breaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.fold.refs import Ref


@dataclass(frozen=True, slots=True)
class Version:
    """A published version and what it changes."""

    ref: Ref
    version: str
    pack_sha256: str
    supersedes: str | None
    stored: bool  # materially changes the use of stored information
    material: bool
    new_uses: frozenset[str]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient as registered last."""

    ref: Ref
    recipient_class: str
    service: str | None
    categories: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A change of owner as announced."""

    ref: Ref
    effective_at: int
    posted: bool


@dataclass(slots=True)
class Delay:
    """A delay of breach notices that an authority ordered."""

    authority: str
    start: int
    until: int | None
    ended: int | None = None

    @property
    def span(self) -> tuple[int, int | None]:
        """[start, end), None: until it is ended."""
        return self.start, min((end for end in (self.until, self.ended) if end is not None), default=None)

    def stands(self, now: int) -> bool:
        """Whether the notices have to wait at that moment."""
        start, end = self.span
        return start <= now and (end is None or end > now)


@dataclass(slots=True)
class World:
    """What is known about a controller as of some moment."""

    versions: list[Version] = field(default_factory=list)
    new_uses: set[str] = field(default_factory=set)
    posted: dict[str, Ref] = field(default_factory=dict)  # version -> first posting
    recipients: dict[str, Recipient] = field(default_factory=dict)
    agreements: dict[tuple[str, str], Ref] = field(default_factory=dict)  # (recipient, kind) -> signed
    agreements_ended: dict[tuple[str, str], Ref] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    notice_required: dict[str, bool] = field(default_factory=dict)  # breach -> bool
    delays: dict[str, list[Delay]] = field(default_factory=dict)
    refusals: list[tuple[Ref, ev.IntakeRefused]] = field(default_factory=list)

    def version_at(self, moment: int, name: str | None = None) -> int | None:
        """The number of the version published last by a moment, or of the one of that name, published by then."""
        found = None
        for number, version in enumerate(self.versions):
            if version.ref.time <= moment and (name is None or version.version == name):
                found = number
        return found

    def brought_by(self, purpose: str | None) -> list[int]:
        """The numbers of the versions of which a purpose is a new use."""
        if purpose not in self.new_uses:
            return []
        return [number for number, version in enumerate(self.versions) if purpose in version.new_uses]

    def version(self, name: str) -> Version | None:
        """A published version by its name."""
        return next((version for version in self.versions if version.version == name), None)


def fold_world(entries: Iterable[Entry]) -> World:
    """The world after `entries`, in the order in which they are in force."""
    world = World()
    for entry in sorted(entries, key=lambda entry: (entry.time, entry.position)):
        evolve_world(world, entry)
    return world


def evolve_world(world: World, entry: Entry) -> None:  # noqa: C901, PLR0912  one flat match
    """Apply one entry, in place. Entries about persons are passed over."""
    ref = Ref(entry.time, entry.position, entry.type, entry.source, entry.id)
    data = entry.data
    if not isinstance(data, ev.ControllerFact):
        return  # persons are folded in projections.fold.state
    match data:
        case ev.PolicyPublished():
            _publish(world, ref, data)
        case ev.PolicyNoticePosted():
            world.posted.setdefault(data.version, ref)
        case ev.RecipientRegistered():
            categories = None if data.categories is None else frozenset(data.categories)
            world.recipients[data.recipient] = Recipient(ref, data.class_, data.service, categories)
        case ev.RecipientAgreementSigned():
            world.agreements.setdefault((data.recipient, data.kind), ref)
        case ev.RecipientAgreementEnded():
            if world.agreements.pop((data.recipient, data.kind), None):
                world.agreements_ended[data.recipient, data.kind] = ref
        case ev.OwnershipTransferAnnounced():
            _announce(world, ref, data)
        case ev.BreachDiscovered():
            world.notice_required.setdefault(data.breach, data.notice_required)
        case ev.BreachDelayOrdered():
            until = parse_time(data.until) if data.until else None
            world.delays.setdefault(data.breach, []).append(Delay(data.authority, ref.time, until))
        case ev.BreachDelayEnded():
            for delay in world.delays.get(data.breach, []):
                if data.authority in (None, delay.authority) and delay.ended is None:
                    delay.ended = ref.time
        case ev.IntakeRefused():
            world.refusals.append((ref, data))
        case ev.OwnershipTransferCompleted() | ev.LogRecovered() | ev.AuthorityNotified():
            pass
        case _:
            assert_never(data)


def _announce(world: World, ref: Ref, data: ev.OwnershipTransferAnnounced) -> None:
    """The first announcement stands; a later one can still be the posting."""
    first = world.transfers.setdefault(data.transfer, Transfer(ref, parse_time(data.effective_at), data.posted))
    if data.posted and not first.posted:
        world.transfers[data.transfer] = Transfer(ref, first.effective_at, posted=True)


def _publish(world: World, ref: Ref, data: ev.PolicyPublished) -> None:
    change = data.change or ev.Change()
    version = Version(
        ref,
        data.version,
        data.pack_sha256,
        data.supersedes,
        stored=change.touches_stored_information and change.material,
        material=change.material,
        new_uses=frozenset(change.new_uses),
    )
    if world.version(data.version) is None:
        world.versions.append(version)
        world.new_uses |= version.new_uses
