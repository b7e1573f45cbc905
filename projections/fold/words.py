"""The half of the fold that is about choices: what is said under a name counts for all names joined with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, assert_never

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.lifts import undoes
from consent_ledger.ledger.intake.persons import joined_by
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.fold.record import (
    Asked,
    Choice,
    Confirmed,
    OptOut,
    Order,
    Reach,
    State,
    Track,
    narrowed,
    rank,
)
from consent_ledger.projections.fold.refs import Ref, same_list

KEPT_QUESTIONS: Final = 64  # the newest ones that a person was asked: an answer to an older one confirms nothing
KEPT_YESES: Final = 16  # of the same words: the newest ones, one of which an answer may still name
_Consent = ev.ConsentGranted | ev.ConsentRefused | ev.ConsentWithdrawn


def say(state: State, entry: Entry, ref: Ref) -> None:
    """Take in a word, or what joins names; what else an entry says is not looked at."""
    data = entry.data
    match data:
        case ev.ConsentGranted() | ev.ConsentRefused() | ev.ConsentWithdrawn():
            _choose(state, entry, ref, data)
        case ev.OptoutRecorded():
            _opt_out(state, entry, ref, data)
        case ev.OptoutLifted():
            _lift(state, entry, ref, data)
        case ev.ConsentRequested():
            _ask(state, entry, ref, data)
        case ev.GuardianEnded():
            ended = _rank(entry, yes=entry.said_at <= entry.recorded_at)  # no no: at equal times the position decides
            for track in tracks_of(state, entry.stream):
                track.guardian_ended = max(ended, track.guardian_ended or ended)
        case ev.SubjectLinked():
            link(state, entry.stream, data.other)
        case ev.SubjectUnlinked():
            unlink(state, entry.stream, data.other)
        case ev.SuppressionCarried():
            carry(state, entry, ref, data)
        case _:
            pass


def _rank(entry: Entry, *, yes: bool) -> tuple[int, int]:
    return rank(entry.said_at, entry.position, yes=yes)


def _words(words: Sequence[str] | None) -> frozenset[str] | None:
    return frozenset(words) if words else None


def _choose(state: State, entry: Entry, ref: Ref, data: _Consent) -> None:
    """Take in a grant, a refusal or a withdrawal."""
    yes = isinstance(data, ev.ConsentGranted)
    choice = Choice(
        ref,
        _rank(entry, yes=yes),
        yes,
        not isinstance(data, ev.ConsentGranted) or data.basis == "express",
        data.purpose,
        _words(data.categories),
        _words(data.recipients),
        _words(data.channels),
        same_list(data.list),
        data.item,
        parse_time(data.expires_at) if data.expires_at else None,
        entry.actor or "subject",
        entry.stream,
        data.policy_version,
    )
    if isinstance(data, ev.ConsentGranted) and data.answers is not None and choice.express:
        choice.confirms = _confirmed(state, choice, (data.answers.source or entry.source, data.answers.id))
    _say(state, choice)


def _say(state: State, choice: Choice) -> None:
    """Write a word to the tracks of everybody joined."""
    named = choice.named
    for track in tracks_of(state, choice.under):
        words = track.choices.setdefault(choice.purpose, {}).setdefault(named, [])
        track.expiring = (
            track.expiring or choice.expires is not None or any(one.reach.expires for one in choice.confirms)
        )
        words[:] = _still_told(words, choice)
        words.append(choice)


def _still_told(words: list[Choice], new: Choice) -> list[Choice]:
    """Those of the same older words, by the same, that can count again beside a new one.

    A no that ends no later than a newer one never does, nor a yes before a no that stands for ever. Of the yeses some
    are kept that a later one may say that it confirms.
    """
    if not new.yes:
        return [
            one
            for one in words
            if one.order > new.order
            or (new.expires is not None and (one.yes or one.expires is None or one.expires > new.expires))
        ]
    yeses = [one for one in words if one.yes]
    if len(yeses) <= KEPT_YESES:
        return words
    confirmed = [one for one in yeses[:-KEPT_YESES] if one.confirms][-1:]
    return [one for one in words if not one.yes] + confirmed + yeses[-KEPT_YESES:]


def _ask(state: State, entry: Entry, ref: Ref, data: ev.ConsentRequested) -> None:
    """Note what the person was asked."""
    reach = Reach(
        _words(data.categories),
        _words(data.recipients),
        _words(data.channels),
        parse_time(data.expires_at) if data.expires_at else None,
    )
    asked = Asked(ref, entry.stream, data.purpose, same_list(data.list), data.item, reach)
    state.questions[entry.source, entry.id] = asked
    if len(state.questions) > KEPT_QUESTIONS:
        del state.questions[next(iter(state.questions))]


def _confirmed(state: State, choice: Choice, answers: tuple[str, str]) -> tuple[Confirmed, ...]:
    """The earlier yeses that an express yes confirms, of those that the same actor gave to the same."""
    if choice.actor == "system":
        return ()
    about = choice.purpose, choice.list, choice.item
    found: dict[int, Confirmed] = {}
    for track in tracks_of(state, choice.under):
        for one in _standing_then(track, choice):
            if (one.ref.source, one.ref.id) == answers:
                found[one.ref.position] = Confirmed(choice.ref.time - one.ref.time, one.ref, one.ref, one.reach)
                continue
            asked = state.questions.get(answers)
            if asked is None or (asked.purpose, asked.list, asked.item) != about or asked.ref.order < one.ref.order:
                continue
            if asked.under in state.joined[choice.under]:
                after = choice.ref.time - asked.ref.time
                found[one.ref.position] = Confirmed(after, one.ref, asked.ref, narrowed(one.reach, asked.reach))
    return tuple(found.values())


def _standing_then(track: Track, choice: Choice) -> Iterator[Choice]:
    """The express yeses of the same actor to the same that stood when this one was said, lapses aside."""
    same = [one for words in track.choices.get(choice.purpose, {}).values() for one in words]
    noes = [
        one.order
        for purpose in {choice.purpose, None}
        for words in track.choices.get(purpose, {}).values()
        for one in words
        if not one.yes
        and one.list in (None, choice.list)
        and one.item in (None, choice.item)
        and (one.expires is None or one.expires > choice.ref.time)
    ]
    noes += [
        one.order
        for (scope, name), said in track.optouts.items()
        for one in said
        if scope in ("all", "general") or (scope, name) in (("purpose", choice.purpose), ("list", choice.list))
    ]
    since = max(noes, default=(-(2**62), -1))
    for one in same:
        about = one.yes and one.express and one.actor == choice.actor and since < one.order < choice.order
        over = one.expires is not None and one.expires <= choice.ref.time
        ended = one.actor == "guardian" and track.guardian_ended is not None and one.order < track.guardian_ended
        if about and not over and not ended and (one.list, one.item) == (choice.list, choice.item):
            yield one


def carry(state: State, entry: Entry, ref: Ref, data: ev.SuppressionCarried) -> None:
    """A no of somebody who was erased and whose address came back. It is that person's, and no new no."""
    order = _rank(entry, yes=False)
    match data.said:
        case "optout.recorded":
            assert data.scope is not None
            for track in tracks_of(state, entry.stream):
                said = OptOut(ref, order, "subject", None, entry.stream)
                track.optouts.setdefault((data.scope, scope_name(data)), []).append(said)
        case "deletion.requested":
            state.deletion_carried = state.deletion_carried or ref
        case "consent.refused":
            expires = parse_time(data.expires_at) if data.expires_at else None
            _say(
                state,
                Choice(
                    ref, order, False, True, data.purpose, _words(data.categories), _words(data.recipients),
                    _words(data.channels), same_list(data.list), data.item, expires, "subject", entry.stream,
                ),
            )  # fmt: skip
        case _:
            assert_never(data.said)


def scope_name(data: ev.OptoutRecorded | ev.OptoutLifted | ev.SuppressionCarried) -> str | None:
    """What an opt-out of its scope names."""
    match data.scope:
        case "purpose":
            return data.purpose
        case "list":
            return same_list(data.list)
        case "channel":
            return data.channel
        case "recipient":
            return data.recipient
        case "all" | "general" | "advertising" | None:
            return None
        case _:
            assert_never(data.scope)


def _opt_out(state: State, entry: Entry, ref: Ref, data: ev.OptoutRecorded) -> None:
    said = OptOut(ref, _rank(entry, yes=False), entry.actor or "subject", data.signal, entry.stream)
    for track in tracks_of(state, entry.stream):
        track.optouts.setdefault((data.scope, scope_name(data)), []).append(said)


def _lift(state: State, entry: Entry, ref: Ref, data: ev.OptoutLifted) -> None:
    """Undo earlier opt-outs of that scope and name: by the person all, by others or with a signal only their own."""
    order, actor = ref.order, entry.actor or "subject"
    key = data.scope, scope_name(data)
    for track in tracks_of(state, entry.stream):
        left = [one for one in track.optouts.get(key, ()) if not _undoes(data, order, actor, one)]
        if left:
            track.optouts[key] = left
        else:
            track.optouts.pop(key, None)
    for name in state.joined[entry.stream] - {entry.stream}:
        said = state.own[name].optouts.get(key, [])  # the lift is another name's, and goes with it when they part
        said[:] = [
            replace(one, lifted=one.lifted | {entry.stream}) if _undoes(data, order, actor, one) else one
            for one in said
        ]


def _undoes(lift: ev.OptoutLifted, order: Order, actor: str, one: OptOut) -> bool:
    return one.order <= order and undoes(actor, lift.signal, one.actor, one.signal)


def tracks_of(state: State, under: str) -> Iterator[Track]:
    """Where a word said under a name is written: in the tracks of all joined with it, and what is its own alone."""
    for name in sorted(state.joined[under]):
        yield state.tracks[name]
    if under in state.own:
        yield state.own[under]


def delete(state: State, under: str, upto: Order) -> None:
    """What was agreed to up to a deletion under a name opens nothing any more, under all joined with it."""
    for name in sorted(state.joined[under]):
        track = state.tracks[name]
        track.deleted = max(upto, track.deleted or upto)


def link(state: State, one: str, other: str | None) -> None:
    """Two names are one person from here on."""
    if other not in state.joined:
        return  # not part of the person asked about any more
    state.edges.add(frozenset((one, other)))
    for name in (one, other):  # whoever is joined already has it
        if name not in state.own:
            state.own[name] = _copied(state.tracks[name])
    less, more = sorted((state.joined[one], state.joined[other]), key=len)
    if less is not more:
        more |= less
        state.joined.update(dict.fromkeys(less, more))


def unlink(state: State, one: str, other: str | None) -> None:
    """Take two names apart: each keeps what came under its own name, and every no that stands, said while joined."""
    pair = frozenset((one, other or ""))
    if pair not in state.edges:
        return  # never joined, or by way of others only
    state.edges.discard(pair)
    for names in [set(joined_by(state.edges, name)) for name in sorted(pair)]:
        if names == state.joined[one]:
            return  # others still join them
        for name in names:
            state.joined[name] = names
            joined = state.tracks[name]
            since = max(state.deleted_upto, joined.deleted or state.deleted_upto)
            _keep_noes(state.own[name], joined, names, since=since)
            state.tracks[name] = _still_joined(state.own[name], joined, names)


def _still_joined(own: Track, joined: Track, names: AbstractSet[str]) -> Track:
    """What counts under a name after a parting: its own, and what was said since under those still joined with it."""
    track = _copied(own)
    for about, said in own.optouts.items():
        own.optouts[about] = [replace(one, lifted=one.lifted & names) for one in said]
        left = [one for one in own.optouts[about] if not one.lifted]
        if left:
            track.optouts[about] = left
        else:
            del track.optouts[about]
    for purpose, named in joined.choices.items():
        for key, words in named.items():
            there = track.choices.get(purpose, {}).get(key, [])
            positions = {one.ref.position for one in there}
            more = [replace(one) for one in words if one.under in names and one.ref.position not in positions]
            if more:
                both = sorted([*there, *more], key=lambda one: one.order)
                track.choices.setdefault(purpose, {})[key] = both
                track.expiring = track.expiring or joined.expiring
    for about, said in joined.optouts.items():
        positions = {one.ref.position for one in own.optouts.get(about, ())}
        new = [one for one in said if one.under in names and one.ref.position not in positions]
        if new:
            track.optouts[about] = sorted([*track.optouts.get(about, ()), *new], key=lambda one: one.order)
    return track


def _keep_noes(own: Track, joined: Track, names: AbstractSet[str], since: Order) -> None:
    """Add to what is a name's own the noes of those who leave it, that were said while it was joined, and stand.

    A yes up to `since` opens nothing any more, nor one of a guardian before that ended.
    """
    ended = joined.guardian_ended or since
    yeses = [
        one
        for named in joined.choices.values()
        for words in named.values()
        for one in words
        if one.yes and one.express and one.actor not in ("system", "operator") and one.expires is None
        if one.order > since and (one.actor != "guardian" or one.order > ended)
    ]
    for purpose, named in joined.choices.items():
        for key, words in named.items():
            there = {one.ref.position for one in own.choices.get(purpose, {}).get(key, ())}
            for one in words:
                if one.yes or one.under in names or one.ref.position in there:
                    continue
                if not any(_answers(yes, one) for yes in yeses):
                    own.choices.setdefault(purpose, {}).setdefault(key, []).append(one)
                    own.expiring = own.expiring or one.expires is not None
    for about, said in joined.optouts.items():
        there = {one.ref.position for one in own.optouts.get(about, ())}
        left = [one for one in said if one.under not in names and one.ref.position not in there]
        if left:
            own.optouts[about] = sorted([*own.optouts.get(about, ()), *left], key=lambda one: one.order)
    if joined.guardian_ended is not None:
        own.guardian_ended = max(joined.guardian_ended, own.guardian_ended or joined.guardian_ended)


def _answers(yes: Choice, no: Choice) -> bool:
    """Whether a later yes opens all that a refusal is about."""
    if yes.order < no.order or yes.purpose != no.purpose or yes.confirms:
        return False
    wide = (yes.categories, yes.recipients, yes.channels, yes.list, yes.item)
    narrow = (no.categories, no.recipients, no.channels, no.list, no.item)
    return all(ours is None or ours == theirs for ours, theirs in zip(wide, narrow, strict=True))


def _copied(track: Track) -> Track:
    """The same words in a track that can go on by itself."""
    choices = {
        purpose: {named: [replace(one) for one in words] for named, words in about.items()}
        for purpose, about in track.choices.items()
    }
    optouts = {scope: list(said) for scope, said in track.optouts.items()}
    return Track(choices, optouts, track.age, track.expiring, track.guardian_ended, track.deleted)
