"""The half of the fold that is about choices: what is said under a name counts for all names joined with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from ledger import events as ev
from ledger.entry import Entry
from ledger.person import joined_by
from ledger.times import parse_time
from projections.question import Ref
from projections.record import Choice, Confirmed, State, Track


def _words(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def choose(
    state: State, entry: Entry, ref: Ref, data: ev.ConsentGranted | ev.ConsentRefused | ev.ConsentWithdrawn
) -> None:
    """Take in a grant, a refusal or a withdrawal."""
    yes = isinstance(data, ev.ConsentGranted)
    if not yes:
        state.noes.append(ref)
    choice = Choice(
        ref,
        ref.order,
        yes,
        not yes or data.basis == "express",
        data.purpose,
        _words(data.categories) or None,
        _words(data.recipients) or None,
        _words(data.channels) or None,
        data.list,
        data.item,
        parse_time(data.expires_at) if data.expires_at else None,
        entry.actor,
        entry.stream,
    )
    _say(state, choice)


def _say(state: State, choice: Choice) -> None:
    """Write a word to the tracks of everybody joined."""
    named = choice.named
    asked = state.asked.get((choice.purpose, choice.list, choice.item)) if choice.yes and choice.express else None
    for track in tracks_of(state, choice.under):
        if asked is not None and choice.confirms is None:
            choice.confirms = _confirmed(state, track, choice, asked)
        words = track.choices.setdefault(choice.purpose, {}).setdefault(named, [])
        if choice.expires is not None:
            track.expiring = True
        elif choice.yes:  # the older ones about the same never decide again, except a no, should this one lapse
            words[:] = [one for one in words if not one.yes]
        else:
            words.clear()
        words.append(choice)


def _confirmed(state: State, track: Track, choice: Choice, asked: Ref) -> Confirmed | None:
    """Whether a yes says again, asked in between, what was said before and not taken back since."""
    same = [
        one
        for words in track.choices.get(choice.purpose, {}).values()
        for one in words
        if (one.list, one.item) == (choice.list, choice.item)
    ]
    noes = [
        one.order
        for purpose in {choice.purpose, None}
        for words in track.choices.get(purpose, {}).values()
        for one in words
        if not one.yes and one.list in (None, choice.list) and one.item in (None, choice.item)
    ]
    noes += [
        said[-1][0].order
        for (scope, name), said in track.optouts.items()
        if scope in ("all", "general") or (scope, name) in (("purpose", choice.purpose), ("list", choice.list))
    ]
    since = max([*noes, *(ref.order for ref in state.deletions[-1:])], default=(-(2**62), -1))
    found: list[Confirmed] = []
    for one in same:
        over = one.expires is not None and one.expires <= choice.ref.time
        if one.yes and one.express and one.order > since and not over:
            found += [one.confirms] if one.confirms is not None else []
            if one.order < asked.order:
                found.append(Confirmed(choice.ref.time - asked.time, one.ref, one.under))
    return min(found, key=lambda one: one.after, default=None)


def carry(state: State, entry: Entry, ref: Ref, data: ev.SuppressionCarried) -> None:
    """A no of somebody who was erased and whose address came back. It is that person's, and no new no."""
    match data.said:
        case "optout.recorded":
            assert data.scope is not None
            name = scope_name(data)
            for track in tracks_of(state, entry.stream):
                track.optouts.setdefault((data.scope, name), []).append((ref, entry.stream))
        case "deletion.requested":
            state.deletion_carried = state.deletion_carried or ref
        case "consent.refused":
            expires = parse_time(data.expires_at) if data.expires_at else None
            _say(
                state,
                Choice(
                    ref, ref.order, False, True, data.purpose, _words(data.categories), _words(data.recipients),
                    _words(data.channels), data.list, data.item, expires, None, entry.stream,
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
            return data.list
        case "channel":
            return data.channel
        case "recipient":
            return data.recipient
        case "all" | "general" | "advertising" | None:
            return None
        case _:
            assert_never(data.scope)


def opt_out(state: State, under: str, ref: Ref, data: ev.OptoutRecorded) -> None:
    """Take in an opt-out."""
    state.noes.append(ref)
    for track in tracks_of(state, under):
        track.optouts.setdefault((data.scope, scope_name(data)), []).append((ref, under))


def tracks_of(state: State, under: str) -> Iterator[Track]:
    """Where a word said under a name is written: in the tracks of all joined with it, and what is its own alone."""
    for name in sorted(state.joined[under]):
        yield state.tracks[name]
    if under in state.own:
        yield state.own[under]


def link(state: State, one: str, other: str | None) -> None:
    """Two names are one person from here on."""
    if other not in state.joined:
        return  # not part of the person asked about any more
    state.edges.add(frozenset((one, other)))
    together = state.joined[one] | state.joined[other]
    for name in together:
        state.joined[name] = together
        state.own.setdefault(name, _copied(state.tracks[name]))


def unlink(state: State, one: str, other: str | None) -> None:
    """Take two names apart: each keeps what came under its own name, and the others still joined with it their own."""
    pair = frozenset((one, other or ""))
    if pair not in state.edges:
        return  # never joined, or by way of others only
    state.edges.discard(pair)
    for names in (joined_by(state.edges, name) for name in sorted(pair)):
        if names == state.joined[one]:
            return  # others still join them
        for name in names:
            state.joined[name] = names
            state.tracks[name] = _copied(state.own[name])


def _copied(track: Track) -> Track:
    """The same words in a track that can go on by itself."""
    choices = {
        purpose: {named: [replace(one) for one in words] for named, words in about.items()}
        for purpose, about in track.choices.items()
    }
    optouts = {scope: list(said) for scope, said in track.optouts.items()}
    return Track(choices, optouts, track.age, track.expiring)
