"""A person's state as bytes and back, so that a cold question need not fold again. Nothing executable is in it."""

from __future__ import annotations

from typing import Any, Final

import orjson

from consent_ledger.projections.fold.record import (
    Asked,
    Choice,
    Collected,
    Confirmed,
    Disclosure,
    Extension,
    Hold,
    Notice,
    OptOut,
    Reach,
    Request,
    State,
    Track,
)
from consent_ledger.projections.fold.refs import Ref

FORMAT: Final = 9


def dump(state: State) -> bytes:
    """The snapshot of a state."""
    return orjson.dumps(
        [
            FORMAT,
            {
                name: [
                    [
                        [_choice(choice) for choice in words]
                        for named in track.choices.values()
                        for words in named.values()
                    ],
                    [
                        [scope, name, [[_ref(one.ref), one.order, one.actor, one.signal, one.under] for one in said]]
                        for (scope, name), said in track.optouts.items()
                    ],
                    None if track.age is None else [*track.age[:3], _ref(track.age[3])],
                    track.expiring,
                    track.guardian_ended,
                    track.deleted,
                ]
                for name, track in state.tracks.items()
            },
            {name: sorted(joined) for name, joined in state.joined.items()},
            [
                state.entries, state.last, state.kind, state.of, state.processor_of, state.returned,
                state.archived_until, _maybe(state.back),
            ],
            [[*key, _ref(ref)] for key, ref in state.facts.items()],
            [[*key, _ref(ref)] for key, ref in state.fresh.items()],
            [[key, _ref(ref)] for key, ref in state.told_with.items()],
            [[key, _ref(ref)] for key, ref in state.fresh_with.items()],
            {name: _ref(ref) for name, ref in state.active.items()},
            [_ref(ref) for ref in state.uses],
            {service: _ref(ref) for service, ref in state.terms.items()},
            [_maybe(state.ended), _maybe(state.deactivated), _maybe(state.deletion_carried)],
            {
                name: [
                    _ref(one.first), _ref(one.last), one.from_others_only, one.credit, one.current, _maybe(one.spent),
                    one.again,
                ]
                for name, one in state.collected.items()
            },
            {name: _ref(ref) for name, ref in state.unsorted_messages.items()},
            [[*key, _ref(ref)] for key, ref in state.asked.items()],
            [
                [*key, _ref(one.ref), one.under, one.purpose, one.list, one.item, _reach(one.reach)]
                for key, one in state.questions.items()
            ],
            {name: [[_ref(n.ref), n.channel, n.offers_choice] for n in rows] for name, rows in state.notices.items()},
            {name: _ref(ref) for name, ref in state.acknowledged.items()},
            [[name, *_asked(one)] for (_, name), one in state.requests.items()],
            [[name, *_asked(one)] for name, one in state.past_requests],
            [[_ref(ref) for ref in state.deletions], state.deleted_upto],
            {name: _ref(ref) for name, ref in state.kept.items()},
            {name: [hold.ground, hold.spans] for name, hold in state.holds.items()},
            [
                [_ref(one.ref), one.recipient, one.categories, one.purpose, one.ground, one.secret_until]
                for one in state.disclosures
            ],
            [[_ref(ref), recipient, about] for ref, recipient, about in state.told],
            [_ref(ref) for ref in state.noes],
            [[_ref(ref), categories] for ref, categories in state.corrections],
            {name: _ref(ref) for name, ref in state.affected.items()},
            {name: _ref(ref) for name, ref in state.notified.items()},
            {name: [_maybe(ref) for ref in refs] for name, refs in state.complaints.items()},
        ]
    )  # fmt: skip


def load(raw: bytes) -> State:
    """The state of a snapshot. Requires one that `dump` wrote."""
    (
        _, tracks, joined, plain, facts, fresh, told_with, fresh_with, active, uses, terms, single, collected, unsorted,
        asked, questions, notices, acknowledged, requests, past_requests, deletions, kept, holds, disclosures, told,
        noes, corrections, affected, notified, complaints,
    ) = orjson.loads(raw)  # fmt: skip
    state = State(
        {name: _track(*row) for name, row in tracks.items()},
        {name: set(names) for name, names in joined.items()},
        plain[0],
        tuple(plain[1]),
        plain[2],
        plain[3],
        plain[4],
        {(a, b): Ref(*ref) for a, b, ref in facts},
        {(a, b): Ref(*ref) for a, b, ref in fresh},
        {tuple(key): Ref(*ref) for key, ref in told_with},
        {tuple(key): Ref(*ref) for key, ref in fresh_with},
        _refs(active),
        [Ref(*ref) for ref in uses],
        _refs(terms),
    )
    state.ended, state.deactivated, state.deletion_carried = (Ref(*ref) if ref else None for ref in single)
    state.returned, state.archived_until = plain[5:7]
    state.back = Ref(*plain[7]) if plain[7] else None
    state.collected = {
        k: Collected(Ref(*v[0]), Ref(*v[1]), v[2], v[3], current=v[4], spent=Ref(*v[5]) if v[5] else None, again=v[6])
        for k, v in collected.items()
    }
    state.unsorted_messages = _refs(unsorted)
    state.asked = {(a, b, c): Ref(*ref) for a, b, c, ref in asked}
    state.questions = {
        (source, name): Asked(Ref(*ref), under, purpose, list_name, item, _reached(*reach))
        for source, name, ref, under, purpose, list_name, item, reach in questions
    }
    state.notices = {
        name: [Notice(Ref(*ref), channel, offers_choice=offers) for ref, channel, offers in rows]
        for name, rows in notices.items()
    }
    state.acknowledged = _refs(acknowledged)
    state.requests = {(kind, name): _request(kind, *rest) for name, kind, *rest in requests}
    state.past_requests = [(name, _request(kind, *rest)) for name, kind, *rest in past_requests]
    state.deletions, state.deleted_upto = [Ref(*ref) for ref in deletions[0]], tuple(deletions[1])
    state.kept = _refs(kept)
    state.holds = {name: Hold(ground, [(a, b) for a, b in spans]) for name, (ground, spans) in holds.items()}
    state.disclosures = [Disclosure(Ref(*row[0]), row[1], tuple(row[2]), *row[3:]) for row in disclosures]
    state.told = [(Ref(*ref), recipient, about) for ref, recipient, about in told]
    state.noes = [Ref(*ref) for ref in noes]
    state.corrections = [(Ref(*ref), tuple(categories)) for ref, categories in corrections]
    state.affected = _refs(affected)
    state.notified = _refs(notified)
    state.complaints = {k: [Ref(*ref) if ref else None for ref in refs] for k, refs in complaints.items()}
    return state


def _refs(rows: dict[str, Any]) -> dict[str, Ref]:
    return {name: Ref(*ref) for name, ref in rows.items()}


def _ref(ref: Ref) -> tuple[Any, ...]:
    return tuple(ref)


def _maybe(ref: Ref | None) -> tuple[Any, ...] | None:
    return None if ref is None else _ref(ref)


def _choice(choice: Choice) -> list[Any]:
    return [
        _ref(choice.ref), choice.order, choice.yes, choice.express, choice.purpose, choice.list, choice.item,
        choice.actor, choice.under, choice.version, _reach(choice.reach),
        [[one.after, _ref(one.first), _ref(one.answered), _reach(one.reach)] for one in choice.confirms],
    ]  # fmt: skip


def _reach(one: Reach) -> list[Any]:
    return [_sorted(one.categories), _sorted(one.recipients), _sorted(one.channels), one.expires]


def _reached(
    categories: list[str] | None, recipients: list[str] | None, channels: list[str] | None, expires: int | None
) -> Reach:
    return Reach(_frozen(categories), _frozen(recipients), _frozen(channels), expires)


def _sorted(words: frozenset[str] | None) -> list[str] | None:
    return None if words is None else sorted(words)


def _track(
    choices: list[list[Any]],
    optouts: list[Any],
    age: list[Any] | None,
    expiring: bool,
    ended: list[int] | None,
    deleted: list[int] | None,
) -> Track:
    track = Track(expiring=expiring)
    for words in choices:
        rows = [_loaded(*row) for row in words]
        if rows:
            first = rows[0]
            track.choices.setdefault(first.purpose, {})[first.named] = rows
    for scope, name, said in optouts:
        track.optouts[scope, name] = [OptOut(Ref(*ref), (order[0], order[1]), *rest) for ref, order, *rest in said]
    if age is not None:
        track.age = (age[0], age[1], age[2], Ref(*age[3]))
    track.guardian_ended = None if ended is None else (ended[0], ended[1])
    track.deleted = None if deleted is None else (deleted[0], deleted[1])
    return track


def _loaded(ref: list[Any], order: list[int], yes: bool, express: bool, *rest: Any) -> Choice:
    purpose, list_name, item, actor, under, version, reach, confirms = rest
    reached = _reached(*reach)
    return Choice(
        Ref(*ref), (order[0], order[1]), yes, express, purpose, reached.categories, reached.recipients,
        reached.channels, list_name, item, reached.expires, actor, under, version,
        tuple(Confirmed(after, Ref(*first), Ref(*told), _reached(*row)) for after, first, told, row in confirms),
    )  # fmt: skip


def _frozen(words: list[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _asked(one: Request) -> list[Any]:
    return [
        one.kind, _ref(one.opened), one.categories, one.named, _maybe(one.answered), _maybe(one.next_steps),
        one.archive_until, _maybe(one.purged), _maybe(one.taken_back), _maybe(one.denied), one.unproved,
        [list(extension) for extension in one.extended],
    ]  # fmt: skip


def _request(kind: str, opened: list[Any], categories: list[str], named: dict[str, int], *rest: Any) -> Request:
    answered, next_steps, archive_until, purged, taken_back, denied, unproved, extended = rest
    refs = (Ref(*ref) if ref else None for ref in (answered, next_steps, purged, taken_back, denied))
    answered, next_steps, purged, taken_back, denied = refs
    return Request(
        kind, Ref(*opened), tuple(categories), named, answered, next_steps, archive_until, purged, taken_back, denied,
        unproved, [Extension(told, until, tuple(named)) for told, until, named in extended],
    )  # fmt: skip
