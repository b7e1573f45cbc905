"""The ledger as its users see it: record events, ask questions, look back. It was given its clock when it was made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import orjson

from consent_ledger.ledger.errors import InvalidQuestion, LedgerError, NotAccepted
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.copying import back_up
from consent_ledger.ledger.intake.erasure import Erased, erase
from consent_ledger.ledger.intake.persons import is_identifier, known_person
from consent_ledger.ledger.log.entry import CONTROLLER_PREFIX, Entry
from consent_ledger.ledger.outcome import Outcome
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.proof.audit import StoreReport
from consent_ledger.ledger.proof.checkup import check_whole
from consent_ledger.ledger.proof.evidence import write_evidence
from consent_ledger.ledger.store.contract import Moved
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.times import FOREVER, format_time, parse_held, parse_time
from consent_ledger.projections.decision.admission import holds
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.conditions import transfer_moment
from consent_ledger.projections.decision.decide import NOTHING, changes_at, decide
from consent_ledger.projections.decision.question import (
    Answer,
    Question,
    Verdict,
    check_words,
    classify,
    parse_about,
    parse_question,
)
from consent_ledger.projections.read.people import People, View, joined_names, joining, known_entries, names
from consent_ledger.projections.read.person import Person
from consent_ledger.projections.read.projector import Judged, Projector, Save
from consent_ledger.projections.read.session import Session, Sessions
from consent_ledger.projections.reports.acts import about
from consent_ledger.projections.reports.findings import Record, controller_findings, judge, recipients
from consent_ledger.projections.reports.obligations import controller_obligations, obligations
from consent_ledger.projections.store.opened import Place

Row = dict[str, Any]
_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Here(threading.local):
    """The session of the answer that a thread is in."""

    session: Session | None = None


def _own_errors(method: Callable[Concatenate[Ledger, _P], _R]) -> Callable[Concatenate[Ledger, _P], _R]:
    """Let no error of SQLite or of a pool of connections out of a method: each becomes one of the ledger's own."""

    @wraps(method)
    def told(ledger: Ledger, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with ledger.app.store.errors():
            return method(ledger, *args, **kwargs)

    return told


def _of_one_size(answer: Callable[Concatenate[Ledger, _P], _R]) -> Callable[Concatenate[Ledger, _P], _R]:
    """Give an answer a session: all that it rests on is of one size of the log. An answer inside another shares it."""

    @_own_errors
    @wraps(answer)
    def answered(ledger: Ledger, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        here = ledger._here  # noqa: SLF001  this module's
        if here.session is not None:
            return answer(ledger, *args, **kwargs)
        ledger.app.check_to_read()  # a file that lost its name says nothing of what was recorded since
        session = ledger._sessions.take()  # noqa: SLF001
        here.session, reader, reading = session, session.reader, ledger.app.reading_here
        reading.reader = reader
        try:
            if reader.moved():
                ledger._refresh(session)  # noqa: SLF001
            try:
                said = answer(ledger, *args, **kwargs)
            except Moved:  # since then; from here on one moment is read, and stays
                ledger._refresh(session)  # noqa: SLF001
                said = answer(ledger, *args, **kwargs)
            ledger.app.check_still()
            return said
        finally:
            here.session = reading.reader = None
            try:
                reader.end()
            finally:
                ledger._sessions.give(session)  # noqa: SLF001

    return answered


class Ledger:
    """One store, ready to record and to answer, from any number of threads. `clock` gives microseconds since 1970.

    >>> ledger.decide({"controller": "parature", "subject": "crm:4711", "action": "contact",
    ...                "purpose": "newsletter", "list": "product-news", "channel": "email"}).outcome
    'deny'
    """

    def __init__(self, app: LedgerApplication, clock: Callable[[], int], projection: Place = None) -> None:
        self.app = app
        app.judge = holds
        self.clock = clock
        self.projector = Projector(app, projection)
        self._here = _Here()
        self._sessions = Sessions(lambda: Session(app, self.projector))

    def close(self) -> None:
        """Let go of the store and of its projections, when the answers that are under way are given.

        Whoever waits or comes later gets the error Closed; closing twice does nothing.
        """
        if self.app.inherited:
            return  # a child closes nothing of its parent's
        if self._here.session is not None:
            raise LedgerError("a ledger cannot be closed from inside one of its answers")
        if self._sessions.close():
            self.projector.close()
            self.app.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    # -- what is remembered --------------------------------------------------------------------------------------------

    @property
    def _session(self) -> Session:
        return self._here.session or self._sessions.newest()

    @property
    def people(self) -> People:
        """The people that this thread's answer remembers, or else that the next one will."""
        return self._session.people

    @property
    def _names(self) -> dict[tuple[str, str], str]:
        return self._session.names

    @property
    def _views(self) -> dict[str, View]:
        return self._session.views

    def forget(self) -> None:
        """Forget everybody at once, as after an erasure: nothing of who is erased stays in memory."""
        self._sessions.forget()

    def _refresh(self, session: Session) -> None:
        """Bring a session to the newest moment, and let the others forget what another process has added to since."""
        self._sessions.tell(session.refresh(), session)

    # -- in ------------------------------------------------------------------------------------------------------------

    @_own_errors
    def record(self, events: Iterable[Any], *, scenario: Sequence[int] | None = None) -> list[Outcome]:
        """Record events; one outcome each, in order. All of them are one transaction.

        What is refused, in conflict or invalid comes as an outcome and keeps none of the others out: look at each, or
        use `record_all`. Raises TypeError for one event alone, which is no list of events.
        """
        self.app.check_names()
        with self._sessions.entered():
            return self.app.record(events, self.clock(), scenario=scenario)

    def record_all(self, events: Iterable[Any]) -> list[Outcome]:
        """Record events that are all to be accepted, for the first time or again; one outcome each, in order.

        Raises NotAccepted where one was not. That is after the commit: the others are recorded, and all outcomes are in
        the error.
        """
        outcomes = self.record(events)
        if any(one.kind != "accepted" for one in outcomes):
            raise NotAccepted(outcomes)
        return outcomes

    @_own_errors
    def add_pack(self, body: bytes) -> Pack:
        """Store a pack, the bytes of its TOML file, and register its controller with it. Raises PackError."""
        if not isinstance(body, bytes):
            raise TypeError(f"add_pack wants the bytes of a pack's TOML file, and got {type(body).__name__}")
        with self._sessions.entered():
            return self.app.add_pack(body)

    # -- proof, erasure, copies ----------------------------------------------------------------------------------------

    @_own_errors
    def erase(self, body: dict[str, Any]) -> Erased:
        """Erase whoever a name or identifier leads to: joined names, fields, keys; also somebody who was only named.

        The history stays provable, no longer to whom. Raises InvalidQuestion for nobody, HoldStanding under a hold.
        """
        with self._sessions.entered():
            done = erase(self.app, *self.named(body), self.clock())
            self.forget()
            with suppress(LedgerError), self.projector.store.errors():  # the projections follow when they can
                self.projector.catch_up()
            return done

    @_own_errors
    def evidence(self, body: dict[str, Any], *, disclose: Collection[str] = (), auditor: bool = False) -> bytes:
        """A zip about a person, by name or identifier, that anybody can check offline.

        `disclose`: names of the personal fields to open, or "all". `auditor`: with what is secret for now, which is
        given as a hash otherwise. Raises InvalidQuestion, EvidenceTooLarge.
        """
        if isinstance(disclose, str) and disclose != "all":
            raise TypeError("disclose wants a list of names of personal fields, or 'all'")
        with self._sessions.entered():
            view, person = self.found(body)
            now = self.clock()

            def withhold(state: bytes) -> bool:
                until = orjson.loads(state)["data"].get("secret_until")
                return not auditor and until is not None and now < parse_held(until)

            self.app.tell(self.app.current_head())
            opened = {"all"} if disclose == "all" else set(disclose)
            return write_evidence(
                self.app,
                view.controller,
                person.person,
                disclose=lambda name: "all" in opened or name in opened,
                withhold=withhold,
            )

    @_own_errors
    def verify(self, key: str | None = None) -> StoreReport:
        """Check the whole store, by its own key or a given one. Raises StoreCorrupt, naming the first that fails."""
        with self._sessions.entered():
            return check_whole(self.app, key)

    @_own_errors
    def backup(self, target: str | PathLike[str]) -> int:
        """Copy the whole store, without its keys, to a new file while it is in use. Returns its number of entries."""
        with self._sessions.entered():
            return back_up(self.app, Path(target))

    @_own_errors
    def names(self, person: str) -> list[str]:
        """The names that lead to a person's random identifier, which reports give: none after erasure.

        They can be read by whoever holds the keys. Raises InvalidQuestion for what is no identifier of anybody.
        """
        with self._sessions.entered(), self.app.reading() as c:
            if not known_person(c, person):
                raise InvalidQuestion("person", "wants the identifier of a person, as reports give it")
            return self.app.vault.names(c, person)

    # -- questions -----------------------------------------------------------------------------------------------------

    @_of_one_size
    def decide(self, body: dict[str, Any]) -> Answer:
        """Answer one question (contract, section 2). Raises InvalidQuestion naming the field."""
        question, session = parse_question(body), self._session
        now = self.clock()
        at = now if question.at is None else question.at
        known_at = FOREVER if question.known_at is None else question.known_at
        controller = self._controller(question)
        view = self._view(session, controller, known_at)
        person = self._person(session, view, question.subject)
        case = self._case(view, person, question, at)
        size = session.size if question.known_at is None else self.app.size_at(known_at)
        if question.role == "processor":
            answer = self._as_processor(question, case, view, at, question.known_at or now, size)
            answer.named = self._named(question, view, person, answer.outcome, size, at)
            return answer
        pack = view.pack_of(case)
        self._check(question, view, case, pack)
        verdict = decide(pack, case, question, at)
        verdict.because += joining(person, at, known_at, verdict.because)
        current = case.versions[-1].version.version
        return Answer(
            verdict.outcome,
            verdict.clauses,
            (controller, current),
            verdict.because,
            _reason(verdict),
            verdict.consequences,
            _bearing(pack, case, verdict, at),
            changes_at(pack, case, question, at, verdict),
            at,
            now if question.known_at is None else question.known_at,
            size,
            self._named(question, view, person, verdict.outcome, size, at),
        )

    def _named(
        self, question: Question, view: View, person: Person, outcome: str, size: int, at: int
    ) -> Callable[[], str | None]:
        """What names an answer, when it is asked to."""
        known = "now" if question.known_at is None else format_time(question.known_at)

        def name() -> str | None:
            return view.decision_id(
                about(question, view.controller, person.person), outcome, size, format_time(at), known
            )

        return name

    def _case(self, view: View, person: Person, question: Question, at: int) -> Case:
        """The case as of `at`; a transfer is judged as of its effective time, or of a notice that came later."""
        if question.action == "transfer" and question.transfer is not None:
            transfer = view.world(FOREVER).transfers.get(question.transfer)
            if transfer is None:
                raise InvalidQuestion("transfer", f"no transfer {question.transfer!r} was announced")
            case = view.case(person, max(at, transfer.effective_at))
            moment = transfer_moment(case.state, case.world, question.transfer, transfer.effective_at)
            return view.case(person, moment)
        return view.case(person, at)

    def _check(self, question: Question, view: View, case: Case, pack: Pack) -> None:
        check_words(question, view.newest_pack)
        classify(question, pack)
        if question.recipient is not None:
            question.recipient_class = view.recipient_class(question.recipient, case.world)
            if question.recipient_class is None:
                raise InvalidQuestion("recipient", f"no recipient {question.recipient!r} is registered")

    def _as_processor(self, question: Question, case: Case, view: View, at: int, known_at: int, size: int) -> Answer:
        pack = view.newest_pack
        of = question.of or case.state.processor_of
        clauses = [pack.processor.clause] if pack.processor else []
        reason = f"Decided by the statement of {of or 'the controller whose processor this is'}."
        return Answer("not-applicable", clauses, (of, None), [], reason, [], [], None, at, known_at, size)

    # -- read models ---------------------------------------------------------------------------------------------------

    @_of_one_size
    def obligations(self, body: dict[str, Any]) -> list[Row]:
        """What is owed: to a person, or to all (`subject` None)."""
        if self._everywhere(body):
            return [row for one in self._controllers() for row in self.obligations({**body, "controller": one})]
        view, persons, at = self._asked(body)
        rows = []
        for person in persons:
            case = view.case(person, at)
            pack = view.pack_if_any(case)
            if case.state.entries and pack is not None:
                rows += [{**self._who(person), **row} for row in obligations(pack, case, at)]
        if body.get("subject") is None:
            entries = [entry for entry in view.entries if entry.time <= at]
            rows += [{"person": None, **row} for row in controller_obligations(entries, view.newest_pack, at)]
        return rows

    @_of_one_size
    def findings(self, body: dict[str, Any]) -> list[Row]:
        """What was done against the policy: towards a person, or all and the controller's own (`subject` None)."""
        if self._everywhere(body):
            return [row for one in self._controllers() for row in self.findings({**body, "controller": one})]
        view, persons, at = self._asked(body)
        rows = []
        with self.projector.saving() as save:
            for person in persons:
                findings, _ = self._judged(view, person, at, save)
                rows += [{**self._who(person), **row} for row in findings if parse_time(row["time"]) <= at]
        if body.get("subject") is None:
            entries = [entry for entry in view.entries if entry.time <= at]
            rows += [{"person": None, **row} for row in controller_findings(entries, view.newest_pack)]
        return sorted(rows, key=lambda row: (row["time"], row["position"]))

    @_of_one_size
    def recipients(self, body: dict[str, Any], *, auditor: bool = False) -> list[Row]:
        """Who holds what of a person, one row per disclosure."""
        if self._everywhere(body):
            return [
                row
                for one in self._controllers()
                for row in self.recipients({**body, "controller": one}, auditor=auditor)
            ]
        view, persons, at = self._asked(body)
        rows = []
        with self.projector.saving() as save:
            for person in persons:
                _, permitted_by = self._judged(view, person, at, save)
                case = view.case(person, at)
                pack = view.pack_if_any(case)
                owed = obligations(pack, case, at) if pack is not None and case.state.disclosures else []
                held = recipients(case.state, permitted_by, owed, at, auditor=auditor)
                rows += [{**self._who(person), **row} for row in held]
        return rows

    def _judged(self, view: View, person: Person, at: int, save: Save) -> Judged:
        """What was judged, of what is recorded as saved before if nothing was added."""
        state = self.people.newest(person)
        alone = view.known_at == FOREVER and len(person.names) == 1 and state.of is None
        alone = alone and not self.people.ties(person)  # else it hangs on others, and no tip of theirs says so
        if alone:
            saved = self.projector.judged(person.person, person.tip, view.record.tip)
            if saved is not None:
                return saved
            at = FOREVER  # acts are judged by what came before them: later ones are left out by who asks

        def then(entry: Entry) -> Record:
            return View(self.people, view.controller, min(entry.time, view.known_at)).beside(frozenset(), [])

        judged = judge(view.looking_back(person, at), then=then)
        if alone:
            save(person.person, person.tip, view.record.tip, (judged.findings, judged.permitted_by))
        return judged.findings, judged.permitted_by

    @_of_one_size
    def history(self, body: dict[str, Any], *, auditor: bool = False) -> list[Row]:
        """What is on record of a person, in the order in which it was in force."""
        if self._everywhere(body):
            return [
                row for one in self._controllers() for row in self.history({**body, "controller": one}, auditor=auditor)
            ]
        view, persons, at = self._asked(body)
        rows = []
        for person in persons:
            _, entries = known_entries(person, at, view.known_at)
            rows += [history_row(entry) for entry in entries if auditor or not _secret(entry, at)]
        if body.get("subject") is None:
            rows += [history_row(entry) for entry in view.entries if entry.time <= at]
            rows.sort(key=lambda row: row["position"])
        return rows

    @_of_one_size
    def state(self, body: dict[str, Any]) -> Row:
        """The person's state, as a document."""
        from consent_ledger.projections.reports.document import state_document

        view, persons, at = self._asked(body)
        if len(persons) != 1 or body.get("subject") is None:
            raise InvalidQuestion("subject", "is missing")
        person = persons[0]
        case = view.case(person, at)
        identifiers = sorted(joined_names(person, at, view.known_at))  # reports on all list them under the first
        return {**state_document(case, at), "at": format_time(at), "identifiers": identifiers, **self._who(person)}

    @_of_one_size
    def refusals(self, body: dict[str, Any]) -> list[Row]:
        """What was refused at the door, conflicts included."""
        at = parse_about(body)
        upto = at.at if at.at is not None else FOREVER
        known = at.known_at if at.known_at is not None else FOREVER
        rows = []
        with self.app.reading() as c:
            found = entries.of_type(c, "intake.refused")
        from consent_ledger.ledger.log.entry import decode

        for position, state in found:
            entry = decode(position, state)
            wrong_controller = body.get("controller") not in (None, entry.controller)
            if entry.time > upto or entry.recorded_at > known or wrong_controller:
                continue
            data = entry.data.model_dump()
            rows.append({**data, "controller": entry.controller, "time": format_time(entry.time), "position": position})
        return rows

    @_of_one_size
    def named(self, body: dict[str, Any]) -> tuple[str, str]:
        """The controller and the name in a body, whether or not that leads to anybody. Raises InvalidQuestion."""
        question = parse_about(body)
        if question.subject is None:
            raise InvalidQuestion("subject", "is missing")
        view = self._view(self._session, self._controller(question), FOREVER)
        return view.controller, question.subject

    @_of_one_size
    def found(self, body: dict[str, Any]) -> tuple[View, Person]:
        """The person a body names, with the view of their controller. Raises InvalidQuestion."""
        view, persons, _ = self._asked(body)
        if body.get("subject") is None:
            raise InvalidQuestion("subject", "is missing")
        return view, persons[0]

    # -- finding things ------------------------------------------------------------------------------------------------

    def _asked(self, body: dict[str, Any]) -> tuple[View, list[Person], int]:
        question, session = parse_about(body), self._session
        at = self.clock() if question.at is None else question.at
        known_at = FOREVER if question.known_at is None else question.known_at
        controller = self._controller(question)
        view = self._view(session, controller, known_at)
        if question.subject is not None:
            return view, [self._person(session, view, question.subject)], at
        listed = self.projector.everybody(controller)
        everybody = set(listed)
        # whoever goes by several names is one person: the first of the names speaks for all
        persons = [
            one
            for one in map(session.people.person, listed)
            if one.controller == controller
            and min(joined_names(one, at, known_at) & everybody, default=one.person) == one.person
        ]
        return view, persons, at

    def _controllers(self) -> list[str]:
        if self.app.any_pack is not None:
            return [self.app.any_pack.controller]
        with self.app.reading() as c:
            return [stream.removeprefix(CONTROLLER_PREFIX) for stream in entries.streams_named(c, CONTROLLER_PREFIX)]

    def _everywhere(self, body: dict[str, Any]) -> bool:
        """Whether nobody in particular is asked about, and there are several controllers."""
        question = parse_about(body)
        return question.subject is None and question.controller is None and len(self._controllers()) > 1

    def _controller(self, question: Question) -> str:
        if question.controller is not None:
            return question.controller
        controllers = list(self.app.controller_packs()) if self.app.any_pack is None else [self.app.any_pack.controller]
        if question.subject is not None:
            controllers = [one for one in controllers if self.app.person(one, question.subject)] or controllers
        if len(controllers) != 1:
            raise InvalidQuestion(
                "controller", f"is needed: this ledger has {', '.join(sorted(controllers)) or 'none'}"
            )
        return controllers[0]

    def _view(self, session: Session, controller: str, known_at: int) -> View:
        if known_at != FOREVER:
            return View(session.people, controller, known_at)
        view = session.views.get(controller)
        if view is None:
            registered = self.app.any_pack is not None or controller in self.app.controller_packs()
            if not registered:
                raise InvalidQuestion(
                    "controller", f"{controller!r} is not registered: add its pack with pack add FILE"
                )
            view = session.views[controller] = View(session.people, controller, known_at)
        return view

    def _person(self, session: Session, view: View, subject: str | None) -> Person:
        if subject is None:
            raise InvalidQuestion("subject", "is missing")
        identifier = session.names.get((view.controller, subject))
        if identifier is None:
            identifier = self.app.person(view.controller, subject)
            if identifier is None and is_identifier(subject):  # a person's identifier, for who is erased
                identifier = subject
            if identifier is None:
                raise InvalidQuestion("subject", f"no person {subject!r} is known to {view.controller!r}")
            session.names[view.controller, subject] = identifier
        person = session.people.person(identifier)
        known = person.controller == view.controller and (
            view.known_at == FOREVER
            or any(entry.recorded_at <= view.known_at and names(entry, identifier) for entry in person.entries)
        )
        if not known:
            raise InvalidQuestion("subject", f"no person {subject!r} is known to {view.controller!r}")
        return person

    def _who(self, person: Person) -> Row:
        return {"person": person.person}


def _reason(verdict: Verdict) -> str:
    text = "; ".join(dict.fromkeys(phrase for phrase in verdict.phrases if phrase))
    if verdict.phrases[-1:] == [NOTHING]:
        could = f"; {', '.join(verdict.clauses)} could have" if verdict.clauses else ""
        return f"Denied: {text}{could}."
    lead = {"permit": "Permitted", "deny": "Denied"}[verdict.outcome]
    by = f" by {', '.join(verdict.clauses)}" if verdict.clauses else ""
    return f"{lead}{by}: {text}." if text else f"{lead}{by}."


def _bearing(pack: Pack, case: Case, verdict: Verdict, at: int) -> list[Row]:
    """Open obligations of the clauses that decided."""
    state = case.state
    owing = state.requests or state.affected or state.disclosures or state.complaints
    aged = any(track.age for track in state.tracks.values())
    if not owing and not aged and not pack.counts_activity:
        return []
    return [row for row in obligations(pack, case, at) if row["clause"] in verdict.clauses and row["status"] != "done"]


def _secret(entry: Entry, at: int) -> bool:
    until = getattr(entry.data, "secret_until", None)
    if until is None:
        return False
    return at < parse_time(until)


def history_row(entry: Entry) -> Row:
    """One entry as a line of history."""
    return {
        "position": entry.position,
        "version": entry.version,
        "time": format_time(entry.said_at),
        "recorded_at": format_time(entry.recorded_at),
        "type": entry.type,
        "source": entry.source,
        "id": entry.id,
        "person": entry.stream,
        "role": entry.role,
        "actor": entry.actor,
        "data": entry.data.model_dump(exclude_none=True, by_alias=True),
        "personal": sorted(entry.personal),
    }
