"""What the store itself looks up about one person: who is joined with them, their age, holds.

Intake and erasure need these inside their own transaction, where no projection can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from eventsourcing.sqlite import SQLiteCursor

from ledger import events as ev
from ledger.conditions import Minor, OptIn
from ledger.entry import CONTROLLER_PREFIX, Entry, decode
from ledger.pack import Pack
from ledger.times import parse_time


def linked(c: SQLiteCursor, person: str) -> set[str]:
    """All identifiers ever joined with this one, directly or not, itself included."""
    found, todo = {person}, [person]
    while todo:
        c.execute("SELECT other FROM links WHERE one=?", [todo.pop()])
        new = {row[0] for row in c.fetchall()} - found
        found |= new
        todo += new
    return found


def known_person(c: SQLiteCursor, person: object) -> bool:
    """Whether something is the identifier of somebody who has entries, or a name."""
    if not isinstance(person, str) or not person.isascii():
        return False
    c.execute(
        "SELECT EXISTS (SELECT 1 FROM entries WHERE stream=?) OR EXISTS (SELECT 1 FROM aliases WHERE person=?)",
        [person, person],
    )
    return bool(c.fetchone()[0]) and not person.startswith(CONTROLLER_PREFIX)


def stream_entries(c: SQLiteCursor, streams: Iterable[str], types: tuple[str, ...] | None = None) -> list[Entry]:
    """Entries of some streams, in the order in which they are in force."""
    found = []
    for stream in streams:
        statement, params = "SELECT position, state FROM entries WHERE stream=?", [stream]
        if types is not None:
            statement += f" AND type IN ({','.join('?' * len(types))})"
            params += types
        c.execute(statement, params)
        found += [decode(position, state) for position, state in c.fetchall()]
    return sorted(found, key=lambda entry: entry.order)


def connected(c: SQLiteCursor, person: str, at: int | None = None) -> set[str]:
    """The identifiers joined with this one at a moment (default: by all that is recorded), itself included."""
    candidates = linked(c, person)
    edges: Edges = set()
    for entry in stream_entries(c, candidates, ("subject.linked", "subject.unlinked")):
        if at is not None and entry.time > at:
            break
        note_edge(edges, entry)
    return set(joined_by(edges, person))


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
    group, todo = {name}, [name]
    while todo:
        here = todo.pop()
        new = {other for edge in edges if here in edge for other in edge} - group
        group |= new
        todo += new
    return frozenset(group)


def is_minor(c: SQLiteCursor, person: str, need: Minor, at: int) -> bool:
    """Whether the person, under any joined name, is known at `at` to be a minor in the pack's sense."""
    for name in connected(c, person, at):
        young = False
        for entry in stream_entries(c, [name], ("subject.age.learned", "subject.registered")):
            data = entry.data
            if entry.time > at or entry.role == "processor":
                continue
            if isinstance(data, ev.SubjectRegistered) and data.age is not None:
                young = data.age < need.under
            elif isinstance(data, ev.SubjectAgeLearned):
                young = (data.age is not None and data.age < need.under) or (
                    data.under is not None and data.under <= need.under
                )
                young = young or (need.guardian and bool(data.needs_guardian))
        if young:
            return True
    return False


def agreed(c: SQLiteCursor, person: str, need: OptIn, categories: Iterable[str], at: int, pack: Pack) -> bool:
    """Whether under some joined name a yes stands at `at` as the condition wants it, that covers the categories.

    The door's own, smaller look: a later no to the same purpose, or to all of them, takes every earlier yes back.
    """
    standing: list[ev.ConsentGranted] = []
    types = ("consent.granted", "consent.refused", "consent.withdrawn", "deletion.completed")
    for entry in stream_entries(c, connected(c, person, at), types):
        data = entry.data
        if entry.time > at or entry.role == "processor":
            continue
        match data:
            case ev.ConsentGranted():
                express = data.basis == "express" or need.basis == "any"
                if express and need.actor in (None, entry.actor) and not _over(data, entry.time, at, pack):
                    standing.append(data)
            case ev.ConsentRefused() | ev.ConsentWithdrawn() if data.purpose is not None:
                standing = [one for one in standing if one.purpose != data.purpose]
            case _:
                standing = []
    wanted = set(categories)
    return any(data.categories is None or wanted <= set(data.categories) for data in standing)


def _over(data: ev.ConsentGranted, said: int, at: int, pack: Pack) -> bool:
    """Whether a yes has expired or lapsed at `at`."""
    ends = [lapse.ends(said) for _, lapse in pack.lapses if lapse.purpose is None or data.purpose in lapse.purpose]
    if data.expires_at is not None:
        ends.append(parse_time(data.expires_at))
    return any(end <= at for end in ends)


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
    """The completed deletions, in order; the answer to a request that was never made is without effect."""
    asked: set[str] = set()
    found = []
    for entry in entries:
        if isinstance(entry.data, ev.DeletionRequested):
            asked.add(entry.data.request)
        elif isinstance(entry.data, ev.DeletionCompleted) and entry.data.request in (None, *asked):
            found.append(entry.order)
    return found
