"""Who stays bound when somebody is erased: whoever has the address of a no that binds it, and had it before.

The no itself goes with the person it was said by, and outlives it in full for whoever gets the address later
(`ledger.intake.suppression`). Those who have it already were under it for marketing, and stay so: each gets a
`suppression.carried` with `marketing`, in the transaction that erases. It is dated at the end of the no's day, or just
before the first express yes of their own that was said later, so that the yes counts as before; the moment of the no
itself would lead from one person to the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.addresses import CHANNELS, binding, had_by, tags_had
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.persons import connected, stream_entries
from consent_ledger.ledger.intake.suppression import noes_said
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import addresses, meta
from consent_ledger.ledger.times import DAY

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack

_UNCARRIED: Final = "uncarried:"


class Carried(NamedTuple):
    """A no that a person stays under: the data of `suppression.carried` as JSON, and from when."""

    controller: str
    person: str
    said: bytes
    time: int


def stays_bound(app: Opened, c: Transaction, group: set[str], now: int) -> list[Carried]:
    """What others stay under when these persons are erased."""
    tags = tags_had(c, group)
    shared = {tag: others for tag in tags if (others := set(addresses.persons_with(c, tag)) - group)}
    entries = _of_controller(c, group) if shared else []
    pack = app.registered(entries[0].controller) if entries else None
    if pack is None or not pack.addresses_bind:
        return []
    had = had_by(c, app.vault, entries, group)
    found: set[Carried] = set()
    for tag, others in shared.items():
        kind = tags[tag]
        noes = _limited(binding(entries, had, tag, kind), pack, CHANNELS[kind]) if kind in CHANNELS else {}
        for other in sorted(others) if noes else ():
            theirs = _of_controller(c, connected(c, other))
            yeses = [entry.time for entry in theirs if _own_yes(entry)]
            first = min((one.since for one in had_by(c, app.vault, theirs, [other]) if one.tag == tag), default=now)
            for said, no in noes.items():
                since = max(min(no, now), first)
                answered = min((time - 1 for time in yeses if time > since), default=now)
                time = max(since, min(no // DAY * DAY + DAY, answered, now))
                found.add(Carried(entries[0].controller, other, said, time))
    return sorted(found)


def _of_controller(c: Transaction, group: Iterable[str]) -> list[Entry]:
    return [entry for entry in stream_entries(c, group) if entry.role == "controller"]


def _own_yes(entry: Entry) -> bool:
    express = isinstance(entry.data, ev.ConsentGranted) and entry.data.basis == "express"
    return express and entry.actor not in ("system", "operator")


def _limited(entries: list[Entry], pack: Pack, by: tuple[str, ...]) -> dict[bytes, int]:
    """The noes that stand after these entries, about marketing by some channels, with since when."""
    found: dict[bytes, int] = {}
    for said, since in noes_said(entries, pack).items():  # no is no, whatever went since
        data = orjson.loads(said)
        channels = [one for one in by if one in data.get("channels", by) and data.get("channel", one) == one]
        if channels and data["said"] != "deletion.requested":
            limited = orjson.dumps({**data, "channels": channels, "marketing": True}, option=orjson.OPT_SORT_KEYS)
            found[limited] = max(found.get(limited, since), since)
    return found


def note_uncarried(c: Transaction, carried: Iterable[Carried]) -> None:
    """Note what is an entry as soon as a copy, in which somebody was erased again, is a store that signs."""
    rows = [
        (f"{_UNCARRIED}{one.person}:{one.time}:{number}", orjson.dumps([one.controller, one.said.decode()]))
        for number, one in enumerate(carried)
    ]
    meta.note(c, rows)


def record_uncarried(c: Transaction) -> list[Carried]:
    """Take what `note_uncarried` noted."""
    found = []
    for name, value in meta.take(c, _UNCARRIED):
        _, person, time, _ = name.split(":")
        controller, said = orjson.loads(value)
        found.append(Carried(controller, person, said.encode(), int(time)))
    return found
