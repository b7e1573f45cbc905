"""Looking back: what the record shows was done against the policy, and who holds what.

One pass over a person's entries in the order in which they were in force; each act is judged by the state just before
it, with all that is known at `known_at`. `known_then` says whether it could be known at the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.admission import is_itself
from consent_ledger.ledger.intake.persons import Edges, joined_by, note_edge
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.times import format_time, parse_time
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.conditions import check
from consent_ledger.projections.decision.decide import decide
from consent_ledger.projections.decision.question import Question, Verdict, classify
from consent_ledger.projections.fold.record import Extension, Order, Request, State
from consent_ledger.projections.fold.state import evolve, fold
from consent_ledger.projections.fold.world import World
from consent_ledger.projections.reports.acts import Digest, wrong_with
from consent_ledger.projections.reports.duties import extends, extension, identified, pauses_of, request_due
from consent_ledger.projections.reports.obligations import authority_notices, followed, hold_clause

Row = dict[str, Any]
WorldAt = Callable[[Entry], World]
MakeCase = Callable[[State, World, Entry], Case]


@dataclass(slots=True)
class Record:
    """A person's entries that are known, and how to see the rest of the world beside each of them."""

    names: frozenset[str]  # those that are the person's now: what was done under them is judged
    entries: list[Entry]  # of everybody ever joined, in the order in which they are in force
    world_at: WorldAt  # the controller as it was just before an entry
    case_of: MakeCase
    pack_of: Callable[[Case], pk.Pack | None]  # None: before the first policy, when nothing was promised
    controller: str
    digest: Digest


Then = Callable[[Entry], Record]  # the same as it was known at an entry's time, without the person's entries


@dataclass(slots=True)
class Judged:
    """What one pass found."""

    findings: list[Row] = field(default_factory=list)
    permitted_by: dict[int, str | None] = field(default_factory=dict)  # position of a disclosure -> clause


@dataclass(frozen=True, slots=True)
class _Scene:
    """What an act is judged by: the controller, the person and the pack in force just before it."""

    world: World
    case: Case
    pack: pk.Pack


class _Groups:
    """Everybody ever joined, each with the state of the person that they were part of, as entries go by."""

    def __init__(self) -> None:
        self._before: list[Entry] = []
        self._edges: Edges = set()
        self._states: dict[str, State] = {}

    def state(self, name: str) -> State:
        """The state of whoever goes by a name now. Not to be changed."""
        found = self._states.get(name)
        if found is None:
            group = joined_by(self._edges, name)
            found = fold(self._before, group)
            self._states.update(dict.fromkeys(group, found))
        return found

    def evolve(self, entry: Entry) -> None:
        """Take in the next entry."""
        state = self._states.get(entry.stream)
        self._before.append(entry)
        if isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked):
            note_edge(self._edges, entry)
            self._states.clear()
        elif state is not None:
            evolve(state, entry)

    def take_in(self, entries: list[Entry]) -> None:
        """Take in entries in ascending order, some of which may be from before: all is folded anew then."""
        if self._before and entries and entries[0].order < self._before[-1].order:
            self._before = sorted([*self._before, *entries], key=lambda entry: entry.order)
            self._states.clear()
            self._edges = set()
            for entry in self._before:
                note_edge(self._edges, entry)
            return
        for entry in entries:
            self.evolve(entry)


class _Past:
    """The record as it was known at the time of one act after the other."""

    def __init__(self, entries: list[Entry], then: Then) -> None:
        self._entries = entries
        self._then = then
        self._next = 0
        self._untold: list[tuple[int, Order, Entry]] = []  # a heap by moment of recording
        self._groups = _Groups()

    def scene(self, entry: Entry) -> _Scene | None:
        """The scene of an act as it was known at its time. Requires acts in ascending order."""
        while self._next < len(self._entries) and self._entries[self._next].order < entry.order:
            earlier = self._entries[self._next]
            heappush(self._untold, (earlier.recorded_at, earlier.order, earlier))
            self._next += 1
        told = []
        while self._untold and self._untold[0][0] <= entry.time:
            told.append(heappop(self._untold)[2])
        self._groups.take_in(sorted(told, key=lambda one: one.order))
        return _scene(self._then(entry), self._groups.state(entry.stream), entry)


def judge(record: Record, *, then: Then) -> Judged:
    """Judge every act of the record."""
    groups, past = _Groups(), _Past(record.entries, then)
    judged = Judged()
    for entry in record.entries:
        if entry.stream in record.names and not isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked):
            scene = _scene(record, groups.state(entry.stream), entry)
            if scene is not None:
                _judge_act(judged, entry, scene, past)
                judged.findings += _shortcomings(entry, scene, past)
                judged.findings += _decided(entry, scene, record)
        groups.evolve(entry)
    return judged


def _scene(record: Record, state: State, entry: Entry) -> _Scene | None:
    """None for an act in a processor's role, and before the first policy, when nothing was promised."""
    if entry.role == "processor":
        return None
    world = record.world_at(entry)
    case = record.case_of(state, world, entry)
    pack = record.pack_of(case)
    return None if pack is None else _Scene(world, case, pack)


def _judge_act(judged: Judged, entry: Entry, scene: _Scene, past: _Past) -> None:
    verdict = _verdict(entry, scene)
    if verdict is None:
        return
    if isinstance(entry.data, ev.DisclosureMade | ev.DisclosureCompelled):
        permitted = verdict.outcome == "permit" and bool(verdict.clauses)
        judged.permitted_by[entry.position] = verdict.clauses[0] if permitted else None
    if verdict.outcome == "deny":
        known = _known_then(entry, past)
        clauses: list[str | None] = [*verdict.clauses] or [None]
        for clause in clauses:
            judged.findings.append(_finding(entry, clause, known, "; ".join(verdict.phrases)))


def _verdict(entry: Entry, scene: _Scene) -> Verdict | None:
    """The answer to the question that should have been asked before what happened, if there is one."""
    if isinstance(entry.data, ev.ConsentGranted):
        return _at_the_door(entry, scene)
    question = _act(entry, scene)
    if question is None:
        return None
    classify(question, scene.pack)
    recipient = scene.world.recipients.get(question.recipient or "")
    question.recipient_class = recipient.recipient_class if recipient else None
    verdict = decide(scene.pack, scene.case, question, entry.time)
    unlisted = question.action == "contact" and question.list is None
    if verdict.outcome == "permit" and unlisted and question.purpose in scene.pack.always_by_list:
        return Verdict("deny", verdict.clauses, [], ["names no list, by which such messages always go"])
    return verdict


def _at_the_door(entry: Entry, scene: _Scene) -> Verdict | None:
    """A consent of somebody of whom none is taken: told before the age was, it got in."""
    for clause, rule in scene.pack.minors:
        found = [check(need, scene.case, Question("use"), entry.time, scene.pack) for need in rule.when]
        if all(one.holds for one in found) and not is_itself(rule, entry.actor):
            return Verdict("deny", [clause], [ref for one in found for ref in one.because], [one.says for one in found])
    return None


def _known_then(entry: Entry, past: _Past) -> bool:
    """Whether the denial stood on what was recorded by the time of the act."""
    scene = past.scene(entry)
    verdict = None if scene is None else _verdict(entry, scene)
    return verdict is not None and verdict.outcome == "deny"


def _finding(entry: Entry, clause: str | None, known_then: bool, reason: str) -> Row:
    return {
        "clause": clause,
        "event": entry.type,
        "position": entry.position,
        "source": entry.source,
        "id": entry.id,
        "time": format_time(entry.time),
        "known_then": known_then,
        "reason": reason,
    }


def _act(entry: Entry, scene: _Scene) -> Question | None:
    """The question that should have been asked before what happened, if any."""
    data = entry.data
    change = scene.pack.change
    match data:
        case ev.MessageSent():
            return Question(
                "contact", purpose=data.purpose, channel=data.channel, list=data.list, item=data.item,
                categories=frozenset(data.categories or ()),
            )  # fmt: skip
        case ev.InformationUsed():
            categories = frozenset(data.categories or ())
            return Question("use", purpose=data.purpose, country=data.country, categories=categories)
        case ev.InformationCollected():
            return Question("collect", categories=frozenset(data.categories), origin=data.origin)
        case ev.ConsentRequested():
            if scene.pack.judges_requests:
                categories = frozenset(data.categories or ())
                return Question("request", purpose=data.purpose, list=data.list, item=data.item, categories=categories)
        case ev.DisclosureMade():
            return Question(
                "disclose", recipient=data.recipient, purpose=data.purpose, ground=data.ground, item=data.item,
                categories=frozenset(data.categories),
            )  # fmt: skip
        case ev.DisclosureCompelled():
            categories = frozenset(data.categories)
            return Question("disclose", recipient=data.recipient, ground=data.ground, categories=categories)
        case ev.PolicyNoticeSent():
            if change is not None and _is_change(scene.world, data.version):
                return Question("contact", purpose=change.notice_purpose, item=data.version, channel=data.channel)
        case ev.BreachNotified():
            if change is not None and data.channel is not None:
                return Question("contact", purpose=change.notice_purpose, item=data.breach, channel=data.channel)
        case _:
            pass  # nothing was done to the person or with the information
    return None


def _is_change(world: World, name: str) -> bool:
    version = world.version(name)
    return version is not None and version.supersedes is not None


def _decided(entry: Entry, scene: _Scene, record: Record) -> list[Row]:
    """A finding where an act names a decision that does not carry it."""
    decision: str | None = getattr(entry.data, "decision", None)
    question = _act(entry, scene) if decision is not None else None
    if decision is None or question is None:
        return []
    wrong = wrong_with(decision, question, record.controller, scene.case.state.tracks, record.digest)
    return [] if wrong is None else [_finding(entry, None, known_then=True, reason=wrong)]


def _shortcomings(entry: Entry, scene: _Scene, past: _Past) -> list[Row]:
    """Findings that need no question: what an event had to show, holds, answers that came late."""
    short = _short_of(entry, scene)
    if not short:
        return []
    known_scene = past.scene(entry)
    known = {clause for clause, _ in _short_of(entry, known_scene)} if known_scene is not None else set()
    return [_finding(entry, clause, clause in known, reason) for clause, reason in short]


Short = tuple[str | None, str]  # (clause, reason); None: the pack has none about it


def _short_of(entry: Entry, scene: _Scene) -> list[Short]:
    data, state = entry.data, scene.case.state
    found: list[Short] = [
        (clause.id, f"{expect.field} is not on record")
        for clause in scene.pack.clause
        for expect in clause.expect
        if expect.event == entry.type and expect.field and _falls_short(expect, data, scene.world)
    ]
    if isinstance(data, ev.DeletionCompleted):
        holding = hold_clause(scene.pack)
        asked = state.requests.get(("deletion", data.request or ""))
        effective = data.request is None or (asked is not None and asked.taken_back is None)
        standing = state.standing_holds(entry.time) if effective else []
        if holding is not None and holding.hold is not None and holding.hold.finding and standing:
            found.append((holding.id, f"hold {standing[0]} stood"))
    if isinstance(data, ev.CorrectionCompleted | ev.AccessAnswered | ev.RequestNextStepsSent | ev.RequestDenied):
        found += _late(entry, data.request, scene.pack, state)
    if isinstance(data, ev.RequestExtended):
        found += _in_vain(entry.time, data, scene.pack, state)
    return found


def _falls_short(expect: pk.Expect, data: ev.Fact, world: World) -> bool:
    if any(getattr(data, name, None) != value for name, value in expect.where.items()):
        return False
    if expect.recipient_class is not None:
        recipient = world.recipients.get(getattr(data, "recipient", None) or "")
        if recipient is None or recipient.recipient_class not in expect.recipient_class:
            return False
    return getattr(data, expect.field or "", None) is not expect.equals


def _late(entry: Entry, name: str, pack: pk.Pack, state: State) -> list[Short]:
    """The first answer to a request, if it came when it was due or later. That it is denied is an answer."""
    answered = {ev.CorrectionCompleted: "correction", ev.AccessAnswered: "access"}.get(type(entry.data))
    ends = answered is not None or isinstance(entry.data, ev.RequestDenied)
    found: list[Short] = []
    for request in state.requests_of(name):
        if request.ended or request.next_steps is not None or answered not in (None, request.kind):
            continue
        for clause in pack.clause:
            for duty in clause.duty:
                if duty.kind != request.kind or not duty.late_answer_is_finding:
                    continue
                due = request_due(duty, pack, request, state, entry.time)
                if due is not None and entry.time >= due and (ends or duty.next_steps):
                    found.append((clause.id, "the first answer came too late"))
    return found


def _in_vain(told: int, data: ev.RequestExtended, pack: pk.Pack, state: State) -> list[Short]:
    """An extension of no effect: by each duty that it does not move, or that could have been moved."""
    duties = [(clause.id, duty) for clause in pack.clause for duty in clause.duty if duty.by_request]
    requests = state.requests_of(data.request)
    kinds = {request.kind for request in requests}
    bearing = [(clause, duty) for clause, duty in duties if not kinds or duty.kind in kinds]
    found: list[Short] = []
    for clause, duty in bearing:
        whys = [
            _why_in_vain(told, data, request, duty, pack, state) for request in requests if request.kind == duty.kind
        ]
        found += [(clause, why) for why in whys if why is not None]
        if not requests and duty.extends:
            found.append((clause, "no such request is on record"))
    if not found and not any(request.kind == duty.kind for request in requests for _, duty in bearing):
        found.append((None, "there is nothing that it could extend"))
    return list(dict.fromkeys(found))


def _why_in_vain(
    told: int, data: ev.RequestExtended, request: Request, duty: pk.Duty, pack: pk.Pack, state: State
) -> str | None:
    """Why an extension does not move a duty; None: it does."""
    missing, start = identified(pack, request)
    pauses = list(pauses_of(duty, state))
    if not duty.extends:
        return "the statement extends no such request"
    if request.ended:
        return "the request had ended"
    if missing:
        return "its clock had not started"
    if extension(duty, pack, request, start, pauses) is not None:
        return "it was extended before"
    one = Extension(told, parse_time(data.until), tuple(request.named))
    return None if extends(duty, pack, one, start, pauses) else "it was told too late, or goes too far"


def controller_findings(entries: list[Entry], pack: pk.Pack) -> list[Row]:
    """Findings about the controller: what had to follow an event and did not (yet), or late."""
    rows = []
    for clause in pack.clause:
        for expect in clause.expect:
            if expect.until is None:
                continue
            for entry in entries:
                if entry.type != expect.event or (expect.has and getattr(entry.data, expect.has, None) is None):
                    continue
                if not followed(entry, expect, entries):
                    rows.append(_finding(entry, clause.id, known_then=True, reason=f"no {expect.until} of it"))
    for notice in authority_notices(entries, pack):
        told, due = notice.told, notice.due
        if notice.duty.late_answer_is_finding and told is not None and due is not None and told.time >= due:
            known = notice.discovered.recorded_at <= told.time
            rows.append(_finding(told, notice.clause, known, "the notice came too late"))
    return rows


def recipients(
    state: State, permitted_by: dict[int, str | None], owed: list[Row], now: int, *, auditor: bool = False
) -> list[Row]:
    """One row per disclosure: who holds what, since when, on which ground, whether it is stale, what to tell them.

    `owed`: the obligations towards the person.
    """
    to_tell: dict[str, list[str]] = {}
    for one in owed:
        if one["kind"] == "tell-recipient" and one["status"] != "done":
            to_tell.setdefault(one["recipient"], []).append(one["about"])
    rows = []
    for disclosure in state.disclosures:
        hidden = disclosure.secret_until is not None and now < disclosure.secret_until
        if hidden and not auditor:
            continue
        told = [ref.order for ref, name, about in state.told if name == disclosure.recipient and about == "correction"]
        last_told = max(told, default=(-(2**62), -1))
        stale = any(
            ref.order > disclosure.ref.order and ref.order > last_told and set(categories) & set(disclosure.categories)
            for ref, categories in state.corrections
        )
        rows.append(
            {
                "recipient": disclosure.recipient,
                "categories": list(disclosure.categories),
                "purpose": disclosure.purpose,
                "ground": disclosure.ground,
                "since": format_time(disclosure.ref.time),
                "stale": stale,
                "to_tell": sorted(to_tell.get(disclosure.recipient or "", [])),
                "clause": permitted_by.get(disclosure.ref.position),
                "position": disclosure.ref.position,
                "secret_until": format_time(disclosure.secret_until) if disclosure.secret_until else None,
            }
        )
    return rows
