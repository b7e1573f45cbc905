"""A policy change as a rehearsal: whose answers another pack would change, to what, and since when.

Under the old pack and under the new one, that pack serves every published version of the statement, as in scenarios.
What is on record stays what it is. Answers come from the functions that answer everybody else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.times import FOREVER
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.conditions import transfer_moment
from consent_ledger.projections.decision.decide import decide, turning_points
from consent_ledger.projections.decision.question import Question, check_words, classify
from consent_ledger.projections.fold.record import State, new_state
from consent_ledger.projections.fold.state import evolve
from consent_ledger.projections.fold.world import World, fold_world
from consent_ledger.projections.ledger import Ledger
from consent_ledger.projections.read.people import People, View, known_entries
from consent_ledger.projections.read.person import Person
from consent_ledger.projections.replay.asking import Asking, Catalogue, Named, named_by, with_items, with_names
from consent_ledger.projections.replay.difference import Touched, difference
from consent_ledger.projections.replay.relevance import Bearing, of_the_controller

_KEPT: Final = 256  # sets of questions that are remembered: few people have something on record that nobody else has
UNKNOWN: Final = "unknown"  # the outcome where a pack does not know a word of the question


class Said(NamedTuple):
    """What one pack says."""

    outcome: str
    clauses: tuple[str, ...]


NOTHING_SAID: Final = Said("none", ())  # before the first statement was published


@dataclass(frozen=True, slots=True)
class Changed:
    """One question that the two packs answer differently. `since` None: the same answer, by other clauses."""

    asking: Asking
    old: Said
    new: Said
    since: int | None


@dataclass(slots=True)
class Compared:
    """One person, compared. `clauses`: where only the clauses that decided differ."""

    person: str
    questions: int
    changes: list[Changed] = field(default_factory=list)
    clauses: list[Changed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Questions:
    """All questions of those with the same categories on record, and the ones among them that can change."""

    varied: frozenset[Asking]
    fixed: frozenset[Asking]
    public: frozenset[Asking]
    can_change: tuple[tuple[Asking, ...], tuple[Asking, ...], tuple[Asking, ...]]


class Rehearsal:
    """Two packs over one ledger, as of a moment and what was known. It only reads, and sees nothing added since.

    `prune` False asks also what cannot change, and at moments at which nothing can: slow, and good to check the other.
    """

    def __init__(
        self,
        ledger: Ledger,
        old: Pack,
        new: Pack,
        *,
        at: int,
        known_at: int = FOREVER,
        controller: str | None = None,
        prune: bool = True,
    ) -> None:
        if old.controller != new.controller:
            raise InvalidQuestion(
                "controller", f"one pack is of {old.controller!r}, the other of {new.controller!r}: give two of one"
            )
        if controller not in (None, old.controller):
            raise InvalidQuestion("controller", f"the packs are of {old.controller!r}, not of {controller!r}")
        self.app = ledger.app
        self.old, self.new, self.at, self.known_at = old, new, at, known_at
        self.size = ledger.app.current_head().size
        self._people = People(ledger.app, ledger.projector, self.size)
        self._view = View(self._people, old.controller, known_at)
        if not any(isinstance(entry.data, ev.PolicyPublished) for entry in self._view.entries):
            raise InvalidQuestion("controller", f"nothing published by {old.controller!r} is in this ledger")
        self._times = [entry.time for entry in self._view.entries]
        self._worlds: dict[int, World] = {}
        self._identifiers: dict[str, str | None] = {}
        self._ever = self._view.world(FOREVER)
        self._catalogue = Catalogue(old, new, self._ever)
        self._new_uses = frozenset(self._ever.new_uses)
        self._difference = difference(old, new)
        self.prune = prune
        self._questions: dict[tuple[frozenset[str], Touched], _Questions] = {}

    @cached_property
    def streams(self) -> list[str]:
        """The identifiers that anything is on record of, of all controllers."""
        with self.app.reading() as c:
            found = entries.streams_before(c, self.size)
            return sorted(stream for stream in found if not stream.startswith(CONTROLLER_PREFIX))

    def run(self, progress: Callable[[int], None] | None = None) -> Iterator[Compared]:
        """Everybody who is on record at the moment, in order of their identifiers."""
        everybody = set(self.streams)
        for number, identifier in enumerate(self.streams, 1):
            person = self._people.person(identifier)
            if progress and number % 100 == 0:
                progress(number)
            if person.controller != self.old.controller:
                continue
            names, entries = known_entries(person, self.at, self.known_at)
            if min(names & everybody, default=identifier) == identifier and _own(entries):
                yield self._compared(person, entries)

    def _compared(self, person: Person, entries: list[Entry]) -> Compared:
        named = named_by(entries, self._ever, self._catalogue.notice_purposes)
        cases = _Cases(self, person)
        state = cases.at(self.at)[0].state
        asked, count = self._asked(state, named)
        compared = Compared(person.person, count)
        alike: dict[Asking, list[Asking]] = {}
        for asking in asked:
            one = self._catalogue.representative(asking, named) if self.prune else asking
            alike.setdefault(one, []).append(asking)
        changed: list[tuple[Asking, Said, Said]] = []
        for asking, those in alike.items():
            old, new = self._answers(asking, *cases.at(self._moment(cases, asking, self.at)), self.at)
            if old.outcome != new.outcome:
                changed.append((asking, old, new))
            elif old.clauses != new.clauses and set(old.clauses) != set(new.clauses):
                compared.clauses += [Changed(one, old, new, None) for one in those]
        if changed:
            since = self._since(person, cases, [asking for asking, _, _ in changed])
            for (asking, old, new), moment in zip(changed, since, strict=True):
                compared.changes += [Changed(one, old, new, moment) for one in alike[asking]]
        return compared

    def questions_about(self, identifier: str) -> list[Asking]:
        """The questions that are put to both packs about a person: those that can change, or all if unpruned."""
        person = self._people.person(identifier)
        _, entries = known_entries(person, self.at, self.known_at)
        named = named_by(entries, self._ever, self._catalogue.notice_purposes)
        return self._asked(self.state(person, self.at), named)[0]

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _asked(self, state: State, named: Named) -> tuple[list[Asking], int]:
        """(the questions about a person that can change, the number of all)."""
        known = self._catalogue.known_categories
        on_record = frozenset(name for name, one in state.collected.items() if one.current and name in known)
        touched = self._difference.touched(state)
        key = on_record, touched
        questions = self._questions.get(key)
        if questions is None:
            if len(self._questions) >= _KEPT:
                self._questions.clear()
            questions = self._questions[key] = self._questions_of(on_record, touched)
        varied, fixed, public = questions.can_change
        asked = [one for base in varied for one in with_names(base, named)]
        asked += fixed
        asked += [one for base in public for one in with_items(base, named)]
        more = [one for one in named.more if not _is_among(one, questions, named)]
        asked += [one for one in more if self._can_change(one, touched)]
        items = sum(list_name is None for list_name, _ in named.about)
        count = len(questions.varied) * len(named.about) + len(questions.fixed) + len(questions.public) * items
        return asked, count + len(more)

    def _questions_of(self, on_record: frozenset[str], touched: Touched) -> _Questions:
        catalogue = self._catalogue
        everything = tuple(catalogue.varied()), tuple(catalogue.fixed(on_record)), tuple(catalogue.public(on_record))
        varied, fixed, public = (
            tuple(one for one in dict.fromkeys(some) if self._can_change(one, touched)) for some in everything
        )
        all_varied, all_fixed, all_public = (frozenset(some) for some in everything)
        return _Questions(all_varied, all_fixed, all_public, (varied, fixed, public))

    def _can_change(self, asking: Asking, touched: Touched) -> bool:
        if not self.prune:
            return True
        question = self._question(asking, self._world(self.at))
        classify(question, self.new)
        return self._difference.can_change(question, touched, self._new_uses)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _question(self, asking: Asking, world: World) -> Question:
        question = asking.question()
        if asking.recipient is not None:
            question.recipient_class = self._view.recipient_class(asking.recipient, world)
        return question

    def _answers(self, asking: Asking, old: Case, new: Case, now: int) -> tuple[Said, Said]:
        question = self._question(asking, old.world)
        return _said(self.old, old, question, now), _said(self.new, new, question, now)

    def _moment(self, cases: _Cases, asking: Asking, at: int) -> int:
        """As of when a question is judged: a transfer as of its effective time, or of a notice that came later."""
        if asking.transfer is None:
            return at
        effective_at = self._ever.transfers[asking.transfer].effective_at
        case, _ = cases.at(max(at, effective_at))
        return transfer_moment(case.state, case.world, asking.transfer, effective_at)

    def _world(self, at: int) -> World:
        number = bisect_right(self._times, at)
        world = self._worlds.get(number)
        if world is None:
            world = self._worlds[number] = fold_world(self._view.entries[:number])
        return world

    def _person_of(self, name: str) -> str | None:
        if name not in self._identifiers:
            self._identifiers[name] = self.app.person(self.old.controller, name)
        return self._identifiers[name]

    def cases(self, person: Person, state: State, at: int) -> tuple[Case, Case]:
        """The two cases of a person's state as of a moment."""

        def customer(name: str) -> State:
            return self._view.state(self._people.person(name), at)

        def latest() -> State:
            return self._view.state(person, FOREVER)

        world = self._world(at)
        old, new = (
            Case(state, world, lambda _, pack=pack: pack, customer, self._person_of, latest)  # type: ignore[misc]
            for pack in (self.old, self.new)
        )
        return old, new

    def state(self, person: Person, at: int) -> State:
        """The person at a moment, by what was known."""
        return self._view.state(person, at)

    # -- since when ----------------------------------------------------------------------------------------------------

    def _since(self, person: Person, cases: _Cases, askings: list[Asking]) -> list[int]:
        """For each question the moment since which the answers differ without interruption, up to `at`."""
        began: list[int | None] = [None] * len(askings)
        for moment, now_cases in self._replay(person, cases, askings):
            for number, asking in enumerate(askings):
                judged = self._moment(cases, asking, moment)
                old, new = self._answers(asking, *(now_cases if judged == moment else cases.at(judged)), moment)
                if old.outcome == new.outcome:
                    began[number] = None
                elif began[number] is None:
                    began[number] = moment
        found = [moment for moment in began if moment is not None]
        assert len(found) == len(askings), "what differs at the end of a replay differs since some moment of it"
        return found

    def _replay(self, person: Person, cases: _Cases, askings: list[Asking]) -> Iterator[tuple[int, tuple[Case, Case]]]:
        """Every moment up to `at` at which an answer can change, in order, with the cases as of then."""
        outside = self._outside(person, askings)
        states = _States(self, person, Bearing((self.old, self.new), askings, self._ever))
        times = states.times(outside)
        questions = [asking.question() for asking in askings]
        for moment, following in zip(times, [*times[1:], self.at + 1], strict=True):
            state = states.at(moment)
            if state is None:
                continue
            pair = self.cases(person, state, moment)
            yield moment, pair
            later: set[int] = set()
            for pack, case in zip((self.old, self.new), pair, strict=True):
                later.update(turning_points(pack, case, questions, moment))
            for asking in askings:
                judged = self._moment(cases, asking, moment)
                if judged != moment:  # nothing that came later counts, but time goes on
                    for pack, case in zip((self.old, self.new), cases.at(judged), strict=True):
                        later.update(turning_points(pack, case, [asking.question()], moment))
            for turn in sorted(one for one in later if one < following):
                yield turn, pair

    def _outside(self, person: Person, askings: list[Asking]) -> set[int]:
        """When something happened to the controller or the person's customer that can change an answer."""
        times = set(of_the_controller(self._view.entries, askings) if self.prune else self._times)
        for entry in person.entries:
            if isinstance(entry.data, ev.SubjectRegistered) and entry.data.of is not None:
                customer = self._people.person(entry.data.of)
                times |= {one.time for one in customer.entries if one.recorded_at <= self.known_at}
        return times


class _Cases:
    """The cases of one person as of some moments, each made once."""

    def __init__(self, rehearsal: Rehearsal, person: Person) -> None:
        self._rehearsal = rehearsal
        self._person = person
        self._made: dict[int, tuple[Case, Case]] = {}

    def at(self, moment: int) -> tuple[Case, Case]:
        """The old pack's and the new pack's. Not to be changed."""
        found = self._made.get(moment)
        if found is None:
            state = self._rehearsal.state(self._person, moment)
            found = self._made[moment] = self._rehearsal.cases(self._person, state, moment)
        return found


class _States:
    """The state of one person at moments in ascending order: folded step by step, where nobody is joined."""

    def __init__(self, rehearsal: Rehearsal, person: Person, bearing: Bearing) -> None:
        self._rehearsal = rehearsal
        self._person = person
        self._alone = len(person.names) == 1
        self._bearing = bearing
        self._prune = rehearsal.prune
        self._state = new_state(person.names)
        self._entries = [
            entry for entry in person.entries if entry.recorded_at <= rehearsal.known_at and entry.time <= rehearsal.at
        ]
        self._next = 0
        self._there = False

    def times(self, outside: set[int]) -> list[int]:
        """The moments at which an answer can change, those outside the person's record among them, in order."""
        own: set[int] = set()
        state, there = new_state(self._person.names), False
        for entry in self._entries:
            first = not there and entry.role != "processor"
            if first or not self._alone or not self._prune or self._bearing.of(entry, state):
                own.add(entry.time)
            there = there or first
            if self._alone:
                evolve(state, entry)
        return sorted(own | {moment for moment in outside if moment <= self._rehearsal.at})

    def at(self, moment: int) -> State | None:
        """The state, or None before anything is on record. Valid until the next call."""
        if not self._alone:
            there = _own(known_entries(self._person, moment, self._rehearsal.known_at)[1])
            return self._rehearsal.state(self._person, moment) if there else None
        while self._next < len(self._entries) and self._entries[self._next].time <= moment:
            entry = self._entries[self._next]
            evolve(self._state, entry)
            self._there = self._there or entry.role != "processor"
            self._next += 1
        return self._state if self._there else None


def _own(entries: list[Entry]) -> bool:
    """Whether anything is on record that is not somebody else's, whose processor this is."""
    return any(entry.role != "processor" for entry in entries)


def _is_among(one: Asking, questions: _Questions, named: Named) -> bool:
    base = one._replace(list=None, item=None)
    if one in questions.fixed:
        return True
    varied = base in questions.varied or (one.list is None and base in questions.public)
    return varied and (one.list, one.item) in named.about


def _said(pack: Pack, case: Case, question: Question, now: int) -> Said:
    """What a pack answers; unknown where it lacks a word of the question."""
    if not case.versions:
        return NOTHING_SAID
    try:
        check_words(question, pack)
    except InvalidQuestion:
        return Said(UNKNOWN, ())
    if question.recipient_class is not None and question.recipient_class not in pack.known_classes:
        return Said(UNKNOWN, ())
    verdict = decide(pack, case, question, now)
    return Said(verdict.outcome, tuple(verdict.clauses))
