"""What the store itself looks up about one person: who is joined with them, their age, holds.

Intake and erasure need these inside their own transaction, where no projection can be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.policy.conditions import Minor
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, people
from consent_ledger.ledger.times import FOREVER, after_months

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{32}")  # as `Vault.new_person` makes them


def linked(c: Transaction, person: str) -> set[str]:
    """All identifiers ever joined with this one, directly or not, itself included."""
    found, todo = {person}, [person]
    while todo:
        new = set(people.joined_with(c, todo.pop())) - found
        found |= new
        todo += new
    return found


def known_person(c: Transaction, person: object) -> bool:
    """Whether something is the identifier of somebody who has entries, or a name."""
    return isinstance(person, str) and is_identifier(person) and people.known(c, person)


def is_identifier(text: str) -> bool:
    """Whether a text has the form of a person's identifier. No store is asked for any other: not all take any text."""
    return _IDENTIFIER.fullmatch(text) is not None


def stream_entries(c: Transaction, streams: Iterable[str], types: tuple[str, ...] | None = None) -> list[Entry]:
    """Entries of some streams, in the order in which they are in force."""
    found = []
    for stream in streams:
        rows = entries.of_stream(c, stream) if types is None else entries.of_types(c, stream, types)
        found += [decode(position, state) for position, state in rows]
    return sorted(found, key=lambda entry: entry.order)


def connected(c: Transaction, person: str, at: int | None = None) -> set[str]:
    """The identifiers joined with this one at a moment (default: by all that is recorded), itself included."""
    candidates = linked(c, person)
    if len(candidates) == 1:
        return candidates
    links = stream_entries(c, candidates, ("subject.linked", "subject.unlinked"))
    return set(joined_in((one for one in links if at is None or one.time <= at), person))


Edges = set[frozenset[str]]  # pairs of names that are one person


def note_edge(edges: Edges, entry: Entry) -> None:
    """Take in that two names are one person, or no longer; passes over what is about something else."""
    if entry.role == "processor":
        return
    if isinstance(entry.data, ev.SubjectLinked):
        edges.add(frozenset((entry.stream, entry.data.other or "")))
    elif isinstance(entry.data, ev.SubjectUnlinked):
        edges.discard(frozenset((entry.stream, entry.data.other or "")))


def joined_by(edges: Edges, name: str) -> frozenset[str]:
    """All names that these pairs join with one, directly or not, itself included."""
    beside: dict[str, list[str]] = {}
    for edge in edges:
        for one in edge:
            beside.setdefault(one, []).extend(edge)
    group, todo = {name}, [name]
    while todo:
        new = set(beside.get(todo.pop(), ())) - group
        group |= new
        todo += new
    return frozenset(group)


def joined_in(entries: Iterable[Entry], name: str) -> frozenset[str]:
    """All names joined with one after these entries, in the order in which they are in force, itself included."""
    edges: Edges = set()
    for entry in entries:
        note_edge(edges, entry)
    return joined_by(edges, name)


class Joined:
    """Who is joined with whom, as entries go by: joining costs what the smaller side costs, asking nothing."""

    def __init__(self) -> None:
        self._edges: Edges = set()
        self._groups: dict[str, set[str]] = {}  # name -> the one set of all joined with it; not there: itself alone

    def of(self, name: str) -> AbstractSet[str]:
        """All names joined with one, itself included. Not to be kept: it grows."""
        return self._groups.get(name) or frozenset((name,))

    def note(self, entry: Entry) -> frozenset[str]:
        """Take in that two names are one person, or no longer. Returns all who were one, if they are no longer."""
        if entry.role == "processor" or not isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked):
            return frozenset()
        one, other = entry.stream, entry.data.other or ""
        pair = frozenset((one, other))
        if isinstance(entry.data, ev.SubjectLinked):
            self._edges.add(pair)
            self._merge(one, other)
            return frozenset()
        if pair not in self._edges:
            return frozenset()
        self._edges.discard(pair)
        sides = [joined_by(self._edges, name) for name in sorted(pair)]
        if other in sides[0] and one in sides[0]:
            return frozenset()  # others still join them
        for side in sides:
            group = set(side)
            self._groups.update(dict.fromkeys(side, group))
        return frozenset().union(*sides)

    def _merge(self, one: str, other: str) -> None:
        less, more = (self._groups.setdefault(name, {name}) for name in (one, other))
        if less is more:
            return
        if len(less) > len(more):
            less, more = more, less
        more |= less
        self._groups.update(dict.fromkeys(less, more))


Told = tuple[int | None, int | None, bool]  # an age, an upper bound, and whether a guardian is needed


def minor_until(need: Minor, told: Told, since: int, *, grow: bool) -> int | None:
    """Until when somebody of whom that was told is a minor in the pack's sense: FOREVER, or that moment; None: is none.

    The one rule for the door and for decisions. `grow`: an age grows by one each year after it was told.
    """
    age, under, guardian = told
    if need.guardian and guardian:
        return FOREVER
    if under is not None and under <= need.under:
        return FOREVER
    if age is None or age >= need.under:
        return None
    return after_months(since, 12 * (need.under - age)) if grow else FOREVER


def is_minor(c: Transaction, person: str, need: Minor, at: int, pack: Pack) -> bool:
    """Whether the person, under any joined name, is known at `at` to be a minor in the pack's sense.

    Those who are joined no longer are looked at, too: parting from them set what counts back to what each said.
    """
    ever = linked(c, person)
    entries = [one for one in stream_entries(c, ever, _ON_AGES) if one.time <= at and one.role != "processor"]
    counts, joined = _ages(entries)
    told = (counts[name] for name in joined.of(person) if name in counts)
    ends = (minor_until(need, one, since, grow=pack.ages.grow) for one, since in told)
    return any(until is not None and at < until for until in ends)


_ON_AGES: Final = ("subject.age.learned", "subject.registered", "subject.linked", "subject.unlinked")


def _ages(entries: Iterable[Entry]) -> tuple[dict[str, tuple[Told, int]], Joined]:
    """What counts of each name, and since when: said under one of joined names, it is said of all. And who is joined.

    Taken apart, each keeps what came under its own name: as `projections.fold.words` has it of choices. Requires the
    entries of everybody ever joined.
    """
    own: dict[str, tuple[Told, int]] = {}
    counts: dict[str, tuple[Told, int]] = {}
    joined = Joined()
    for entry in entries:
        data = entry.data
        match data:
            case ev.SubjectRegistered() if data.age is not None:
                own[entry.stream] = (data.age, None, False), entry.time
            case ev.SubjectAgeLearned():
                own[entry.stream] = (data.age, data.under, bool(data.needs_guardian)), entry.time
            case ev.SubjectLinked() | ev.SubjectUnlinked():
                for name in joined.note(entry):
                    if name in own:
                        counts[name] = own[name]
                    else:
                        counts.pop(name, None)
                continue
            case _:
                continue
        counts.update(dict.fromkeys(joined.of(entry.stream), own[entry.stream]))
    return counts, joined


def standing_holds(entries: Iterable[Entry]) -> list[str]:
    """The holds that stand after these entries."""
    standing: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry.data, ev.HoldPlaced):
            standing[entry.data.hold] = None
        elif isinstance(entry.data, ev.HoldReleased):
            standing.pop(entry.data.hold, None)
    return list(standing)


def effective_deletions(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """The completed deletions, in order; the answer to a request that does not stand is without effect.

    That is one that was never made, or was taken back before: see `projections.fold.state`.
    """
    asked: set[str] = set()
    found = []
    for entry in entries:
        if isinstance(entry.data, ev.DeletionRequested):
            asked.add(entry.data.request)
        elif isinstance(entry.data, ev.RequestTakenBack):
            asked.discard(entry.data.request)
        elif isinstance(entry.data, ev.DeletionCompleted) and (
            entry.data.request is None or entry.data.request in asked
        ):
            found.append(entry.order)
    return found
