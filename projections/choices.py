"""What the person's word is on a question: the latest choice that covers it, the stricter of joined names winning.

Source: contract, section 2, "A person's choices" and "Scopes".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ledger.pack import Objection, Pack
from projections.question import Question, Ref
from projections.record import Choice, Order, State, Track

START: Final[Order] = (-(2**62), -1)


@dataclass(frozen=True, slots=True)
class Yes:
    """A yes that stands."""

    choice: Choice

    @property
    def ref(self) -> Ref:
        return self.choice.ref


@dataclass(frozen=True, slots=True)
class No:
    """A no that stands: a refusal or withdrawal (`scope` None), or an opt-out, with the clause that carries it."""

    ref: Ref
    scope: str | None = None
    name: str | None = None
    clause: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a clause looks at a yes: by list, by named item, by who said it, mere use or not, confirmed in how long."""

    per_list: bool = False
    named_item: bool = False
    any_basis: bool = False
    actor: str | None = None
    confirmed_within: int | None = None  # microseconds


PLAIN: Final = Terms()


def word(state: State, question: Question, now: int, pack: Pack, terms: Terms) -> Yes | No | None:
    """The person's word at `now`, over all joined names: a no wins, then a yes."""
    since = _last_deletion(state)
    found: Yes | None = None
    stricter: No | None = None
    for track in state.tracks.values():
        said = _track_word(track, question, now, pack, terms, since)
        if isinstance(said, No):
            if stricter is None or said.ref.order > stricter.ref.order:
                stricter = said
        elif said is not None and (found is None or said.ref.order > found.ref.order):
            found = said
    return stricter or found


def _track_word(track: Track, question: Question, now: int, pack: Pack, terms: Terms, since: Order) -> Yes | No | None:
    yeses: list[Choice] = []
    by_use: Choice | None = None
    refusal: Choice | None = None
    if track.choices:
        for purpose in (question.purpose, None) if question.purpose is not None else (None,):
            for words in track.choices.get(purpose, {}).values():
                choice = _standing(words, now, pack)
                if choice is None:
                    continue
                if not choice.yes:
                    if (refusal is None or choice.order > refusal.order) and no_covers(choice, question):
                        refusal = choice
                elif choice.order > since and yes_covers(choice, question, terms):
                    if not choice.express or choice.actor == "system":  # an import reopens nothing
                        by_use = choice if by_use is None or choice.order > by_use.order else by_use
                    else:
                        yeses.append(choice)
    if question.action == "collect" and question.purpose is None:
        refusal = _refused_category(track, question, now, pack)
    no: No | None = None
    if refusal is not None:
        yeses = [one for one in yeses if one.order > refusal.order]
        no = None if yeses else No(refusal.ref)
    yes = max(yeses, key=lambda one: one.order, default=None)
    for (scope, name), said_so in track.optouts.items():
        ref = said_so[-1][0] if not pack.delays else _effective(scope, said_so, question, pack, now)
        if ref is None:
            continue
        if (no is not None and ref.order <= no.ref.order) or any(_reopened(one, ref, scope, name) for one in yeses):
            continue
        clause = optout_covers(scope, name, question, pack)
        if clause is not None:
            no = No(ref, scope, name, clause or None)
    if no is not None:
        return no
    if yes is not None:
        return Yes(yes)
    if by_use is not None and refusal is None:
        return Yes(by_use)
    return None


def _effective(scope: str, said: list[tuple[Ref, str]], question: Question, pack: Pack, now: int) -> Ref | None:
    """The last opt-out that has taken effect."""
    for ref, _ in reversed(said):
        start = takes_effect(ref, scope, question, pack)
        if start <= now:
            return ref
    return None


def takes_effect(ref: Ref, scope: str, question: Question, pack: Pack) -> int:
    """When an opt-out counts for a question: at once, or some business days later by the row that carries it.

    What is no message is carried by no row: there the shortest delay of the scope counts.
    """
    rows = [row for _, row in pack.objections.get(scope, ())]
    if question.action == "contact":
        rows = [row for row in rows if applies(row, question, pack)]
        rows = rows if question.channel is None else rows[:1]  # by whatever channel: the strictest
    days = min((row.effective_in_business_days or 0 for row in rows), default=0)
    return pack.calendar.after(ref.time, days) if days else ref.time


def _last_deletion(state: State) -> Order:
    """What was agreed to before it opens nothing."""
    return state.deletions[-1].order if state.deletions else START


def _refused_category(track: Track, question: Question, now: int, pack: Pack) -> Choice | None:
    """A collection that names no purpose: a refused category is refused, whatever purpose it was refused for."""
    refused = (
        choice
        for choice in _standing_choices(track, now, pack)
        if not choice.yes and choice.categories is not None and no_covers(choice, question)
    )
    return max(refused, key=lambda choice: choice.order, default=None)


def _standing_choices(track: Track, now: int, pack: Pack) -> Iterator[Choice]:
    """Of every thing that was said under a name, the word that counts."""
    for named in track.choices.values():
        for words in named.values():
            choice = _standing(words, now, pack)
            if choice is not None:
                yield choice


def _standing(words: list[Choice], now: int, pack: Pack) -> Choice | None:
    """The newest that has not expired or lapsed: one that has counts as never made."""
    for choice in reversed(words):
        end = ends(choice, pack) if pack.lapses else choice.expires
        if end is None or end > now:
            return choice
    return None


def ends(choice: Choice, pack: Pack) -> int | None:
    """When a choice counts as never made, by its own word or by the pack's; None: never."""
    found = [moment for _, moment in lapse_moments(choice, pack)]
    return min([*found, *([choice.expires] if choice.expires is not None else [])], default=None)


def lapse_moments(choice: Choice, pack: Pack) -> list[tuple[str, int]]:
    """(clause, moment) of every rule by which a yes lapses."""
    if not choice.yes:
        return []
    found = []
    for clause, lapse in pack.lapses:
        if lapse.purpose is None or choice.purpose in lapse.purpose:
            found.append((clause, lapse.ends(choice.ref.time)))
    return found


def _reopened(yes: Choice, ref: Ref, scope: str, name: str | None) -> bool:
    """Whether a later express yes opens what was opted out of: only if it names it."""
    if yes.order < ref.order:
        return False
    if scope == "list":
        return yes.list == name
    if scope == "channel":
        return yes.channels is not None and name in yes.channels
    if scope == "recipient":
        return yes.recipients is not None and name in yes.recipients
    return True


def yes_covers(choice: Choice, question: Question, terms: Terms) -> bool:
    """Whether a yes is about the question: what it names limits it, what it lacks does not."""
    if choice.categories is not None:
        if question.personal:
            if not question.personal <= choice.categories:
                return False
        elif not question.categories and question.action != "contact":
            return False  # "everything" is more than what was named
    if choice.recipients is not None and question.recipient not in choice.recipients:
        return False
    if choice.channels is not None and question.action == "contact" and question.channel not in choice.channels:
        return False
    if (choice.list is not None or terms.per_list) and choice.list != question.list:
        return False
    if terms.named_item and choice.item is None:
        return False
    if choice.item is not None and choice.item != question.item:
        return False
    if not choice.express and not terms.any_basis:
        return False
    within = terms.confirmed_within
    if within is not None and (choice.confirms is None or choice.confirms.after >= within):
        return False
    return terms.actor is None or choice.actor == terms.actor


def no_covers(choice: Choice, question: Question) -> bool:
    """Whether a refusal or withdrawal is about the question: a field that it lacks covers everything."""
    if choice.categories is not None and not choice.categories & question.categories:
        return False
    if choice.recipients is not None and question.recipient not in choice.recipients:
        return False
    if choice.channels is not None:
        by_other = question.channel is not None and question.channel not in choice.channels
        if by_other or question.action != "contact":  # a channel is about messages
            return False
    if choice.list is not None and choice.list != question.list:
        return False
    return choice.item is None or choice.item == question.item


def optout_covers(scope: str, name: str | None, question: Question, pack: Pack) -> str | None:
    """The clause that carries this opt-out of the question ("" for none in particular), or None: not about it."""
    if scope == "purpose":
        covered = question.purpose == name
    elif scope == "list":
        covered = question.list == name
    elif scope == "channel":
        covered = question.action == "contact" and question.channel in (None, name)
    elif scope == "recipient":
        covered = question.recipient == name
    elif scope == "advertising":
        covered = question.purpose in pack.advertising_purposes or question.recipient_class in pack.advertising_classes
    else:  # all, general: messages to the person, questions for consent among them
        covered = question.action in ("contact", "request")
    if not covered:
        return None
    if question.action != "contact":
        return ""
    return _carrier(scope, question, pack)


def _carrier(scope: str, question: Question, pack: Pack) -> str | None:
    rows = pack.objections.get(scope, ())
    for clause, objection in rows:
        if applies(objection, question, pack):
            return clause
    return None if rows else ""


def applies(objection: Objection, question: Question, pack: Pack) -> bool:
    """Whether a row about opt-outs of a scope is about this message."""
    if objection.channels is not None and question.channel is not None and question.channel not in objection.channels:
        return False
    if objection.marketing_only and question.purpose not in pack.marketing:
        return False
    return question.purpose not in objection.spares


def any_opt_in(state: State, now: int, pack: Pack) -> Choice | None:
    """A yes to some communication that is in force and that no opt-out of messages closes.

    A communication is what the pack has a row about that permits to contact the person for it.
    """
    since = _last_deletion(state)
    best: Choice | None = None
    for choice in (one for track in state.tracks.values() for one in _standing_choices(track, now, pack)):
        if choice.purpose not in pack.communications or not choice.yes or not choice.express or choice.order <= since:
            continue
        if choice.recipients is not None:
            continue  # a yes to a disclosure is no yes to messages
        channel = min(choice.channels) if choice.channels else None
        about = Question("contact", purpose=choice.purpose, list=choice.list, item=choice.item, channel=channel)
        said = word(state, about, now, pack, PLAIN)
        if isinstance(said, Yes) and (best is None or choice.order > best.order):
            best = choice
    return best


def newest_yes(state: State, question: Question, terms: Terms) -> Choice | None:
    """The newest yes to the question, whether or not it still counts: to say why there is none."""
    found: Choice | None = None
    for choice in (one for track in state.tracks.values() for one in _words_of(track)):
        about = choice.purpose in (question.purpose, None)
        if about and choice.yes and yes_covers(choice, question, terms) and (not found or choice.order > found.order):
            found = choice
    return found


def yes_to_collect(state: State, question: Question, now: int, pack: Pack, terms: Terms) -> Choice | None:
    """A yes, to whatever purpose, that covers a collection which names none."""
    since = _last_deletion(state)
    found = (
        choice
        for track in state.tracks.values()
        for choice in _standing_choices(track, now, pack)
        if choice.yes
        and choice.order > since
        and (choice.categories is None or question.categories <= choice.categories)
        and (choice.express or terms.any_basis)
        and (terms.actor is None or choice.actor == terms.actor)
    )
    return max(found, key=lambda choice: choice.order, default=None)


def last_word(state: State, question: Question, pack: Pack) -> tuple[Ref | None, Ref | None]:
    """(last yes, last no that no later yes under the same name answers), expired and replaced ones too."""
    said_yes: list[Ref] = []
    said_no: list[Ref] = []
    for track in state.tracks.values():
        words = [one for one in _words_of(track) if one.purpose in (question.purpose, None)]
        express = [one for one in words if one.yes and one.express and one.actor != "system"]
        yeses = [one for one in express if yes_covers(one, question, PLAIN)]
        said_yes += [one.ref for one in yeses]
        said_no += [
            one.ref
            for one in words
            if not one.yes and no_covers(one, question) and not any(yes.order > one.order for yes in yeses)
        ]
        for (scope, name), said in track.optouts.items():
            ref = said[-1][0]
            covers = optout_covers(scope, name, question, pack) is not None
            if covers and not any(_reopened(yes, ref, scope, name) for yes in yeses):
                said_no.append(ref)
    last, no = (max(refs, key=lambda ref: ref.order, default=None) for refs in (said_yes, said_no))
    return last, no


def _words_of(track: Track) -> Iterator[Choice]:
    """Everything that was said under a name and can count again."""
    for named in track.choices.values():
        for words in named.values():
            yield from words


def moments(state: State, after: int, pack: Pack) -> list[int]:
    """The moments after `after` at which a choice ends or takes effect by time alone, in order, for any question."""
    found: set[int] = set()
    lapses = bool(pack.lapses)
    for track in state.tracks.values():
        if track.expiring or lapses:
            for choice in _words_of(track):
                found |= {moment for _, moment in lapse_moments(choice, pack)} if lapses else set()
                found |= {choice.expires} if choice.expires is not None else set()
        if pack.delays:
            for (scope, _), said in track.optouts.items():
                found |= {moment for ref, _ in said for moment in _delayed(ref, scope, pack)}
    return sorted(moment for moment in found if moment > after)


def _delayed(ref: Ref, scope: str, pack: Pack) -> list[int]:
    """When an opt-out takes effect by each row that delays it: which one counts depends on the question."""
    return [
        pack.calendar.after(ref.time, row.effective_in_business_days)
        for _, row in pack.objections.get(scope, ())
        if row.effective_in_business_days is not None
    ]
