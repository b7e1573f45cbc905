"""Who is asked about: entries of a person, of those joined with them and of the controller, as of what was known.

Nothing here decides. A `View` is what was known of a controller at one moment; from it come cases at any moment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

from consent_ledger.ledger.errors import CorruptEntry, InvalidQuestion
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.events.decision_id import Asked, DecisionId
from consent_ledger.ledger.intake.addresses import Had, had_by
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.persons import joined_in, linked
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry, controller_stream, decode
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import addresses, entries, people
from consent_ledger.ledger.times import FOREVER
from consent_ledger.projections.decision.case import Bound, Case
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.fold.state import fold
from consent_ledger.projections.fold.world import Version, World, evolve_world, fold_world
from consent_ledger.projections.read.beside import Beside, Ties
from consent_ledger.projections.read.person import Cut, Person, joined_at
from consent_ledger.projections.read.projector import Projector
from consent_ledger.projections.reports.findings import Record

KEPT_PEOPLE: Final = 5_000
NO_TIES: Final = Ties({}, beside=False)
# by what a key is destroyed, at once or at the end of a hold
_DESTROY: Final = ("deletion.completed", "deletion.requested", "hold.released", "subject.linked", "subject.unlinked")


@dataclass(slots=True)
class ControllerRecord:
    """All entries about a controller, refusals aside."""

    entries: list[Entry]
    world: World
    last_recorded: int
    last_time: int
    tip: bytes = b""  # leaf hash of the last entry, refusals included


class People:
    """Loads and remembers. `forget` what changed; everything else is a pure function of the entries.

    `size`: only of so many entries, as if nothing had been added since.
    """

    def __init__(self, app: LedgerApplication, projector: Projector, size: int | None = None) -> None:
        self.app = app
        self.projector = projector
        self._size = FOREVER if size is None else size
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._under: dict[str, set[str]] = {}  # identifier -> who is remembered and was ever joined with it
        self._controllers: dict[str, ControllerRecord] = {}
        self._ties: dict[str, Ties] = {}  # of those asked about since anything was added
        self._any_ties: bool | None = None

    def forget(self, streams: Iterable[str] | None = None) -> None:
        """Forget these streams and whoever is joined with them; None: everything."""
        self._ties.clear()  # they hang on others, too
        self._any_ties = None
        if streams is None:
            self._people.clear()
            self._under.clear()
            self._controllers.clear()
            return
        for stream in set(streams):
            if stream.startswith(CONTROLLER_PREFIX):
                self._controllers.pop(stream, None)
            for name in self._under.pop(stream, ()):
                self._people.pop(name, None)

    def person(self, person: str) -> Person:
        """The person's entries, with those of everybody ever joined."""
        found = self._people.get(person)
        if found is None:
            found = self._people[person] = self._projected(person) or self._loaded(person)
            for name in found.names:
                self._under.setdefault(name, set()).add(person)
            if len(self._people) > KEPT_PEOPLE:
                self._drop(self._people.popitem(last=False)[1])
        return found

    def _drop(self, person: Person) -> None:
        for name in person.names:
            under = self._under.get(name)
            if under is not None:
                under.discard(person.person)
                if not under:
                    del self._under[name]

    def _projected(self, person: str) -> Person | None:
        """From the projection, where that has folded all their entries and nobody is joined."""
        if self._size != FOREVER:
            return None
        row = self.projector.person(person)
        if row is None or row.linked or row.tip != self._tip(person) or self._joined(person) != {person}:
            return None
        names = frozenset((person,))
        read = partial(self._read, names)
        return Person(person, row.controller, names, row.last_recorded, row.last_time, read, row.state, row.tip)

    def _loaded(self, person: str) -> Person:
        names = frozenset(self._joined(person))
        entries = self._read(names)
        last_recorded = max((entry.recorded_at for entry in entries), default=-(2**62))
        last_time = entries[-1].time if entries else -(2**62)
        controller = entries[0].controller if entries else None
        read = partial(self._read, names)
        tip = self._tip(person)
        return Person(person, controller, names, last_recorded, last_time, read, tip=tip, _entries=entries)

    def _tip(self, stream: str) -> bytes:
        """The leaf hash of the last entry of a stream; nothing where there is none."""
        with self.app.reading() as c:
            if self._size == FOREVER:
                return entries.tip(c, stream)[1]
            return entries.leaf_before(c, stream, self._size)

    def _joined(self, person: str) -> set[str]:
        with self.app.reading() as c:
            return linked(c, person)

    def _read(self, names: frozenset[str]) -> list[Entry]:
        found: list[Entry] = []
        with self.app.reading() as c:
            for name in names:
                rows = entries.of_stream_before(c, name, self._size)
                self._require_all(c, name, len(rows))
                found += [decode(position, state) for position, state in rows]
        found.sort(key=lambda entry: (entry.time, entry.position))
        return found

    def _require_all(self, c: Transaction, stream: str, found: int) -> None:
        """Raise CorruptEntry where an index has lost entries of a stream: what is not seen could be a no."""
        if self._size == FOREVER:
            there, _ = entries.tip(c, stream)
            if found != there:
                what = f"{found} entries of {stream} are found, and there are {there}"
                raise CorruptEntry(f"{what}: the store is damaged (run doctor, restore a backup)")

    # -- beside the state ----------------------------------------------------------------------------------------------

    def ties(self, person: Person) -> Ties:
        """What is to be looked at beside the person's state: one look-up, none where nobody has anything."""
        found = self._ties.get(person.person)
        if found is None:
            if len(self._ties) > KEPT_PEOPLE:
                self._ties.clear()
            found = self._ties[person.person] = self._read_ties(person) if self._has_ties() else NO_TIES
        return found

    def _has_ties(self) -> bool:
        if self._any_ties is None:
            with self.app.reading() as c:
                self._any_ties = addresses.any_beside(c)
        return self._any_ties

    def _read_ties(self, person: Person) -> Ties:
        with self.app.reading() as c:
            return Ties(*addresses.beside(c, sorted(person.names)))

    def had(self, entries: Iterable[Entry], names: frozenset[str]) -> list[Had]:
        """The addresses that these entries brought. Raises CorruptEntry."""
        with self.app.reading() as c:
            return had_by(c, self.app.vault, entries, names)

    def sharing(
        self, tag: bytes, names: frozenset[str], cut: Cut
    ) -> Iterator[tuple[frozenset[str], list[Entry], list[Had]]]:
        """Others with an address who may have said a no that binds one: names, entries that count, addresses."""
        with self.app.reading() as c:
            others = addresses.objecting_with(c, tag) - names
        while others:
            name = min(others)
            person = self.person(name)
            group = joined_at(person, name, cut)
            others -= {name, *group}
            if not group & names:
                entries = [one for one in person.entries if one.stream in group and cut(one)]
                yield group, entries, self.had(entries, group)

    def newest(self, person: Person) -> State:
        """The state by everything that is recorded."""
        if person.state is None:
            person.state = fold_person(person, FOREVER, FOREVER)
        return person.state

    def controller(self, controller: str) -> ControllerRecord:
        """The entries about a controller."""
        stream = controller_stream(controller)
        found = self._controllers.get(stream)
        if found is None:
            with self.app.reading() as c:
                self._require_all(c, stream, entries.count_before(c, stream, self._size))
                rows = entries.of_stream_but(c, stream, self._size, "intake.refused")
                about = [decode(position, state) for position, state in rows]
            about.sort(key=lambda entry: (entry.time, entry.position))
            last_recorded = max((entry.recorded_at for entry in about), default=-(2**62))
            last_time = about[-1].time if about else -(2**62)
            found = ControllerRecord(about, fold_world(about), last_recorded, last_time, self._tip(stream))
            self._controllers[stream] = found
        return found


def names(entry: Entry, person: str) -> bool:
    """Whether an entry is under that identifier, or joins it with the one that it is under."""
    return person == entry.stream or (isinstance(entry.data, ev.SubjectLinked) and entry.data.other == person)


def joining(person: Person, at: int, known_at: int, because: Iterable[Ref]) -> list[Ref]:
    """The entries that join the person with the other names under which what decided came."""
    if len(person.names) == 1:
        return []
    came = {ref.position for ref in because}
    known = [one for one in person.entries if one.time <= at and one.recorded_at <= known_at]
    others = {one.stream for one in known if one.position in came} - {person.person}
    by: dict[frozenset[str], Entry] = {}
    for entry in known:
        pair = frozenset((entry.stream, getattr(entry.data, "other", None) or ""))
        if entry.role != "processor" and isinstance(entry.data, ev.SubjectLinked):
            by.setdefault(pair, entry)
        elif entry.role != "processor" and isinstance(entry.data, ev.SubjectUnlinked):
            by.pop(pair, None)
    found = {entry.position: entry for other in others for entry in _way(person.person, other, by)}
    ordered = sorted(found.values(), key=lambda one: one.order)
    return [Ref(one.time, one.position, one.type, one.source, one.id) for one in ordered]


def _way(one: str, other: str, by: dict[frozenset[str], Entry]) -> list[Entry]:
    """The links of a shortest way from one name to another; none where they are not joined."""
    ways: dict[str, list[Entry]] = {one: []}
    todo = [one]
    while todo and other not in ways:
        here = todo.pop(0)
        for pair, entry in by.items():
            if here in pair:
                (there,) = pair - {here} or {here}
                if there not in ways:
                    ways[there] = [*ways[here], entry]
                    todo.append(there)
    return ways.get(other, [])


def joined_names(person: Person, at: int, known_at: int) -> frozenset[str]:
    """The identifiers joined with the person at a moment, by what was known."""
    return joined_at(person, person.person, lambda entry: entry.time <= at and entry.recorded_at <= known_at)


def known_entries(person: Person, at: int, known_at: int) -> tuple[frozenset[str], list[Entry]]:
    """(joined names, their entries in force by `at` and known by `known_at`)."""
    names = joined_names(person, at, known_at)
    entries = [
        entry
        for entry in person.entries
        if entry.time <= at and entry.recorded_at <= known_at and entry.stream in names
    ]
    return names, entries


def fold_person(person: Person, at: int, known_at: int) -> State:
    """The person's state at a moment, by what was known."""
    entries = [entry for entry in person.entries if entry.time <= at and entry.recorded_at <= known_at]
    return fold(entries, joined_names(person, at, known_at))


class View:
    """A controller and its people as they were known at `known_at`."""

    def __init__(self, people: People, controller: str, known_at: int) -> None:
        self.people = people
        self.app = people.app
        self.controller = controller
        self.known_at = known_at
        self.record = people.controller(controller)
        if self.record.last_recorded <= known_at:
            self.entries = self.record.entries
        else:
            self.entries = [entry for entry in self.record.entries if entry.recorded_at <= known_at]

    def world(self, at: int) -> World:
        """The controller at a moment. Not to be changed."""
        if self.record.last_time <= at and self.record.last_recorded <= self.known_at:
            return self.record.world
        return fold_world(entry for entry in self.entries if entry.time <= at)

    def state(self, person: Person, at: int) -> State:
        """The person at a moment. Not to be changed."""
        if person.last_time <= at and person.last_recorded <= self.known_at:
            return self.people.newest(person)
        return fold_person(person, at, self.known_at)

    def state_before(self, person: Person, order: tuple[int, int]) -> State:
        """The person just before an entry. Not to be changed."""
        if person.last_time < order[0] and person.last_recorded <= self.known_at:
            return self.people.newest(person)
        earlier = [one for one in person.entries if one.order < order and one.recorded_at <= self.known_at]
        return fold(earlier, joined_in(earlier, person.person))

    def case(self, person: Person, at: int) -> Case:
        """Everything an answer about the person at a moment may look at."""
        state = self.state(person, at)
        others: Callable[[], list[Bound]] = list
        stopped: Callable[[], dict[str, Ref]] = dict
        if ties := self.people.ties(person):
            names = joined_names(person, at, self.known_at)
            beside = Beside(self.people, person, ties, names, lambda one: self._known(one) and one.time <= at)
            state, others, stopped = beside.reached(state), beside.others, beside.stopped
        return Case(
            state,
            self.world(at),
            self.pack_of_version,
            lambda customer: self.state(self.people.person(customer), at),
            lambda name: self.app.person(self.controller, name),
            lambda: self.state(person, FOREVER),
            others,
            stopped,
        )

    def _known(self, entry: Entry) -> bool:
        return entry.recorded_at <= self.known_at

    def recipient_class(self, name: str, world: World) -> str | None:
        """The class of a recipient as registered in that world, or else ever; None where nobody has that name."""
        recipient = world.recipients.get(name) or self.world(FOREVER).recipients.get(name)
        return recipient.recipient_class if recipient else None

    def pack_of_version(self, version: Version) -> Pack:
        """The pack a version was published with."""
        return self.app.pack(version.pack_sha256)

    def pack_of(self, case: Case) -> Pack:
        """The pack of the version in force for the person."""
        pack = self.pack_if_any(case)
        if pack is None:
            raise InvalidQuestion(
                "controller",
                f"no policy of {self.controller!r} was published by then: publish policy.published with its pack",
            )
        return pack

    def pack_if_any(self, case: Case) -> Pack | None:
        """The same, or None before the first policy."""
        versions = case.versions
        return self.pack_of_version(versions[-1].version) if versions else None

    @cached_property
    def newest_pack(self) -> Pack:
        """The pack published last by what is known, for words and for the controller's own findings."""
        published = [entry for entry in self.entries if isinstance(entry.data, ev.PolicyPublished)]
        if not published:
            raise InvalidQuestion(
                "controller", f"no policy of {self.controller!r} is published: publish policy.published with its pack"
            )
        data = published[-1].data
        assert isinstance(data, ev.PolicyPublished)
        return self.app.pack(data.pack_sha256)

    def looking_back(self, person: Person, at: int) -> Record:
        """The person's record up to a moment, to be judged."""
        names = joined_names(person, at, self.known_at)
        entries = [one for one in person.entries if one.time <= at and one.recorded_at <= self.known_at]
        return self.beside(names, entries)

    def beside(self, names: frozenset[str], entries: list[Entry]) -> Record:
        """These entries, and how to see the rest of the world beside each of them."""
        worlds = _Worlds(self.entries)

        def case_of(state: State, world: World, entry: Entry) -> Case:
            person = self.people.person(entry.stream)
            others: Callable[[], list[Bound]] = list
            if ties := self.people.ties(person):  # what came back makes no act a finding
                joined = frozenset(state.joined.get(entry.stream, (entry.stream,)))
                before = Beside(
                    self.people, person, ties, joined, lambda one: self._known(one) and one.order < entry.order
                )
                state, others = before.reached(state), before.others
            return Case(
                state,
                world,
                self.pack_of_version,
                lambda customer: self.state_before(self.people.person(customer), entry.order),
                lambda name: self.app.person(self.controller, name),
                others=others,
            )

        return Record(names, entries, worlds.before, case_of, self.pack_if_any, self.controller, self.decision_digest)

    def decision_id(self, asked: Asked, outcome: str, size: int, at: str, known_at: str) -> str | None:
        """The name of an answer; None where the person's key is gone."""
        named = DecisionId(outcome, size, at, known_at, "")
        with self.app.reading() as c:
            mark = self.app.vault.mark(c, asked.person, asked.content(*named[:4]))
        return None if mark is None else str(named._replace(digest=mark.hex()))

    def decision_digest(self, asked: Asked, named: DecisionId) -> str | None:
        """The digest of a name; None where the person's key of then is gone."""
        with self.app.reading() as c:
            mark = self.app.vault.mark(c, asked.person, asked.content(*named[:4]))
            if mark is None or (mark.hex() != named.digest and _has_a_newer_key(c, asked.person, named.size)):
                return None
        return mark.hex()


def _has_a_newer_key(c: Transaction, person: str, size: int) -> bool:
    """Whether a person's key may be of after a deletion that came after so many entries: nothing sealed is older."""
    first = people.first_secret(c, person)
    if first is not None and first < size:
        return False
    return entries.has_since(c, sorted(linked(c, person)), _DESTROY, size)


class _Worlds:
    """The controller just before each of a series of entries, in order."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries
        self._next = 0
        self._world = World()

    def before(self, entry: Entry) -> World:
        """The world before an entry. Requires entries in ascending order."""
        while self._next < len(self._entries) and self._entries[self._next].order < entry.order:
            evolve_world(self._world, self._entries[self._next])
            self._next += 1
        return self._world
