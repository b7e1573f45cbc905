"""Messages that came back for good: no word of the person, yet nothing goes there any more.

Source: contract, section 1, `message.bounced`. Pure functions of a person's entries, in the order in which they are in
force, and of the addresses that these brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.addresses import KINDS, Had
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.projections.fold.record import State

# By which the person is heard of: whoever speaks or comes has got what was sent.
HEARD: Final = frozenset(
    ("service.used", "consent.granted", "consent.refused", "consent.withdrawn", "optout.recorded", "optout.lifted",
     "policy.acknowledged", "account.deactivated", "deletion.requested", "access.requested", "correction.requested",
     "complaint.lodged")
)  # fmt: skip


def stopped(entries: Iterable[Entry], had: Sequence[Had]) -> dict[str, Entry]:
    """The channels that are stopped after these entries, each with the bounce that stops it."""
    post = _Post(had)
    for entry in entries:
        post.evolve(entry)
    return {channel: bounce for channel in post.bounces if (bounce := post.stops(channel)) is not None}


def reached(state: State, entries: Iterable[Entry], had: Sequence[Had]) -> State:
    """The state without the notices that came back, or went where nothing goes any more."""
    post = _Post(had)
    for entry in entries:
        post.evolve(entry)
    if not post.lost:
        return state
    notices = {
        version: [notice for notice in some if notice.ref.position not in post.lost]
        for version, some in state.notices.items()
    }
    return replace(state, notices=notices)


class _Post:
    """Addresses, bounces and notices as entries go by: each is looked at once, however many there are."""

    def __init__(self, had: Iterable[Had]) -> None:
        self.bounces: dict[str, dict[bytes | None, Entry]] = {}  # channel -> address, None: any -> a bounce that stands
        self.lost: set[int] = set()  # positions of notices that did not reach the person
        self._brought: dict[int, list[Had]] = {}  # by the entry's position
        self._current: dict[str, set[bytes]] = {}  # kind -> the newest addresses
        self._waiting: dict[tuple[str, bytes | None], list[int]] = {}  # notices since the person was heard of
        names: dict[str, int] = {}
        for one in had:
            if one.how != "name":
                self._brought.setdefault(one.entry.position, []).append(one)
            elif one.entry.position >= names.get(one.kind, -1):  # a name always was its person's
                if one.entry.position > names.get(one.kind, -1):
                    self._current[one.kind] = set()
                names[one.kind] = one.entry.position
                self._current[one.kind].add(one.tag)

    def stops(self, channel: str) -> Entry | None:
        """The bounce by which a channel is stopped now: about the newest address, or, where none is known, any."""
        there = self.bounces.get(channel, {})
        kind = KINDS.get(channel)
        current = self._current.get(kind) if kind is not None else None
        found = [there[tag] for tag in current if tag in there] if current else list(there.values())
        return max(found, key=lambda one: one.order, default=None)

    def _now(self, channel: str) -> list[bytes | None]:
        """The newest addresses by which messages by a channel go; None where none is known."""
        return [*self._current.get(KINDS.get(channel, ""), ())] or [None]

    def evolve(self, entry: Entry) -> None:
        """Take in an entry. Requires that it is not before the last one taken in."""
        if entry.role == "processor":
            return
        data, brought = entry.data, self._brought.get(entry.position, ())
        went_nowhere = isinstance(data, ev.PolicyNoticeSent) and self.stops(data.channel) is not None
        for kind in {one.kind for one in brought if one.how == "said"}:
            self._current[kind] = {one.tag for one in brought if one.how == "said" and one.kind == kind}
        if isinstance(data, ev.PolicyNoticeSent):
            if went_nowhere:
                self.lost.add(entry.position)
            for tag in self._now(data.channel):
                self._waiting.setdefault((data.channel, tag), []).append(entry.position)
        elif isinstance(data, ev.MessageBounced) and data.permanent:
            named = {one.tag for one in brought if one.how == "bounced" and one.kind == KINDS.get(data.channel)}
            self._came_back(entry, data.channel, [*named])
        elif entry.type in HEARD and entry.actor not in ("system", "operator"):
            self._waiting.clear()
        if isinstance(data, ev.ConsentGranted) and data.basis == "express" and entry.actor != "system":
            for channel, there in self.bounces.items():  # whoever agrees to messages by it expects to get them
                if data.channels is None or channel in data.channels:
                    for tag in [tag for tag, bounce in there.items() if _is_later(entry, bounce)]:
                        del there[tag]

    def _came_back(self, bounce: Entry, channel: str, named: list[bytes | None]) -> None:
        """Note a bounce, and whatever notice it may be about: by that channel, to that address where one is named."""
        there = self.bounces.setdefault(channel, {})
        for tag in named or self._now(channel):
            before = there.get(tag)
            if before is None or bounce.said_at >= before.said_at:
                there[tag] = bounce
        about = (
            [(channel, tag) for tag in (*named, None)] if named else [key for key in self._waiting if key[0] == channel]
        )
        for key in about:
            self.lost.update(self._waiting.pop(key, ()))


def _is_later(entry: Entry, bounce: Entry) -> bool:
    """Whether a yes counts after a bounce, which may say that it came later than it was told."""
    return entry.order > bounce.order if bounce.claimed is None else entry.time > bounce.said_at
