"""Messages that came back for good: no word of the person, yet nothing goes there any more.

Source: contract, section 1, `message.bounced`. Pure functions of a person's entries, in the order in which they are in
force, and of the addresses that these brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ledger import events as ev
from ledger.addresses import KINDS, Had, Order
from ledger.entry import Entry
from projections.record import State

# By which the person is heard of: whoever speaks or comes has got what was sent.
HEARD: Final = frozenset(
    ("service.used", "consent.granted", "consent.refused", "consent.withdrawn", "optout.recorded", "optout.lifted",
     "policy.acknowledged", "account.deactivated", "deletion.requested", "access.requested", "correction.requested",
     "complaint.lodged")
)  # fmt: skip
_LAST: Final[Order] = (2**62, 2**62)


def stopped(entries: Sequence[Entry], had: Sequence[Had]) -> dict[str, Entry]:
    """The channels that are stopped after these entries, each with the bounce that stops it."""
    found: dict[str, Entry] = {}
    for entry in entries:
        data = entry.data
        if entry.role == "processor":
            continue
        if isinstance(data, ev.MessageBounced) and data.permanent:
            if _is_newest(entry, data.channel, had):
                found[data.channel] = entry
        elif isinstance(data, ev.ConsentGranted) and data.basis == "express" and entry.actor != "system":
            for channel, bounce in list(found.items()):  # whoever agrees to messages by it expects to get them
                if (data.channels is None or channel in data.channels) and _is_later(entry, bounce):
                    del found[channel]
    return found


def _is_later(entry: Entry, bounce: Entry) -> bool:
    """Whether a yes counts after a bounce, which may say that it came later than it was told."""
    return entry.order > bounce.order if bounce.claimed is None else entry.time > bounce.said_at


def _is_newest(bounce: Entry, channel: str, had: Sequence[Had]) -> bool:
    """Whether the address that a bounce is about is the newest that the person has; where none is known, none came."""
    kind = KINDS.get(channel)
    if kind is None:
        return True
    current = _newest(had, kind, _LAST)
    there = _named(bounce, kind, had) or _newest(had, kind, bounce.order)
    return not current or not current.isdisjoint(there)


def _named(bounce: Entry, kind: str, had: Iterable[Had]) -> set[bytes]:
    """The addresses that a bounce names."""
    return {
        one.tag for one in had if one.how == "bounced" and one.kind == kind and one.entry.position == bounce.position
    }


def _newest(had: Iterable[Had], kind: str, before: Order) -> set[bytes]:
    """The addresses of the newest entry, up to an order, that brought some."""
    found: set[bytes] = set()
    newest: Order | None = None
    for one in had:
        order = (one.since, one.entry.position)
        if one.kind != kind or not one.by(before):
            continue
        if newest is None or order > newest:
            newest, found = order, set()
        if order == newest:
            found.add(one.tag)
    return found


def reached(state: State, entries: Sequence[Entry], had: Sequence[Had]) -> State:
    """The state without the notices that did not reach the person."""
    lost = _unreached(entries, had)
    if not lost:
        return state
    notices = {
        version: [notice for notice in some if notice.ref.position not in lost]
        for version, some in state.notices.items()
    }
    return replace(state, notices=notices)


def _unreached(entries: Sequence[Entry], had: Sequence[Had]) -> set[int]:
    """The positions of notices that came back, or went where nothing goes any more."""
    lost: set[int] = set()
    waiting: list[Entry] = []  # notices since the person was heard of
    for number, entry in enumerate(entries):
        data = entry.data
        if isinstance(data, ev.PolicyNoticeSent):
            earlier = [one for one in had if one.how == "name" or one.entry.order < entry.order]
            if data.channel in stopped(entries[:number], earlier):
                lost.add(entry.position)
            waiting.append(entry)
        elif isinstance(data, ev.MessageBounced) and data.permanent:
            lost |= {one.position for one in waiting if _came_back(one, entry, data.channel, had)}
        elif entry.type in HEARD and entry.actor not in ("system", "operator"):
            waiting = []
    return lost


def _came_back(notice: Entry, bounce: Entry, channel: str, had: Sequence[Had]) -> bool:
    """Whether a notice is what came back: it went by that channel, to that address where one is named."""
    if getattr(notice.data, "channel", None) != channel:
        return False
    kind = KINDS.get(channel, "")
    there, sent_to = _named(bounce, kind, had), _newest(had, kind, notice.order)
    return not there or not sent_to or not there.isdisjoint(sent_to)
