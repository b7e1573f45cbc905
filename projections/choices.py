"""What the person's word is on a question: the latest choice that covers it, the stricter of joined names winning.

Source: contract, section 2, "A person's choices" and "Scopes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.pack import Objection, Pack
from projections.question import Question, Ref
from projections.state import Choice, Order, State, Track

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
    """How a clause looks at a yes: by list, by named item, by who said it, mere use or not."""

    per_list: bool = False
    named_item: bool = False
    any_basis: bool = False
    actor: str | None = None


PLAIN: Final = Terms()


def word(state: State, question: Question, now: int, pack: Pack, terms: Terms) -> Yes | No | None:
    """The person's word at `now`, over all joined names: a no wins, then a yes."""
    since = state.deletions[-1].order if state.deletions else START
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
    yes: Choice | None = None
    by_use: Choice | None = None
    refusal: Choice | None = None
    if track.choices:
        for purpose in (question.purpose, None) if question.purpose is not None else (None,):
            for words in track.choices.get(purpose, {}).values():
                choice = _standing(words, now)
                if choice is None:
                    continue
                if not choice.yes:
                    if (refusal is None or choice.order > refusal.order) and no_covers(choice, question):
                        refusal = choice
                elif choice.order > since and yes_covers(choice, question, terms):
                    if not choice.express:
                        by_use = choice if by_use is None or choice.order > by_use.order else by_use
                    elif yes is None or choice.order > yes.order:
                        yes = choice
    if question.action == "collect" and question.purpose is None:
        refusal = _refused_category(track, question, now)
    said = yes.order if yes else START
    no: No | None = None
    if refusal is not None and refusal.order > said:
        no = No(refusal.ref)
    for (scope, name), (ref, _) in track.optouts.items():
        if (no is not None and ref.order <= no.ref.order) or _reopened(yes, ref, scope, name):
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


def _refused_category(track: Track, question: Question, now: int) -> Choice | None:
    """A collection that names no purpose: a refused category is refused, whatever purpose it was refused for."""
    best: Choice | None = None
    for named in track.choices.values():
        for words in named.values():
            choice = _standing(words, now)
            if choice is None or choice.yes or choice.categories is None or not no_covers(choice, question):
                continue
            best = choice if best is None or choice.order > best.order else best
    return best


def _standing(words: list[Choice], now: int) -> Choice | None:
    """The newest that has not expired: one that has counts as never made."""
    for choice in reversed(words):
        if choice.expires is None or choice.expires > now:
            return choice
    return None


def _reopened(yes: Choice | None, ref: Ref, scope: str, name: str | None) -> bool:
    """Whether a later express yes opens what was opted out of: only if it names it."""
    if yes is None or yes.order < ref.order:
        return False
    if scope == "list":
        return yes.list == name
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
    return terms.actor is None or choice.actor == terms.actor


def no_covers(choice: Choice, question: Question) -> bool:
    """Whether a refusal or withdrawal is about the question: a field that it lacks covers everything."""
    if choice.categories is not None and not choice.categories & question.categories:
        return False
    if choice.recipients is not None and question.recipient not in choice.recipients:
        return False
    if choice.channels is not None and question.channel is not None and question.channel not in choice.channels:
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
    elif scope == "recipient":
        covered = question.recipient == name
    elif scope == "advertising":
        covered = question.purpose in pack.advertising_purposes or question.recipient_class in pack.advertising_classes
    else:  # all, general: messages to the person
        covered = question.action == "contact"
    if not covered:
        return None
    if question.action != "contact":
        return ""
    return _carrier(scope, question, pack)


def _carrier(scope: str, question: Question, pack: Pack) -> str | None:
    limited = False
    for clause in pack.clause:
        for objection in clause.objection:
            if objection.scope == scope:
                if _applies(objection, question, pack):
                    return clause.id
                limited = True
    return None if limited else ""


def _applies(objection: Objection, question: Question, pack: Pack) -> bool:
    if objection.channels is not None and question.channel is not None and question.channel not in objection.channels:
        return False
    if objection.marketing_only and question.channel is not None and question.purpose not in pack.marketing:
        return False
    return question.purpose not in objection.spares


def any_opt_in(state: State, now: int, pack: Pack) -> Choice | None:
    """A yes to some communication that is in force and that no opt-out of messages closes."""
    since = state.deletions[-1].order if state.deletions else START
    best: Choice | None = None
    for track in state.tracks.values():
        for purpose, named in track.choices.items():
            for words in named.values():
                choice = _standing(words, now)
                if choice is None or not choice.yes or not choice.express or choice.order <= since:
                    continue
                if choice.recipients is not None:
                    continue  # a yes to a disclosure is no yes to messages
                channel = next(iter(sorted(choice.channels))) if choice.channels else None
                about = Question("contact", purpose=purpose, list=choice.list, item=choice.item, channel=channel)
                said = word(state, about, now, pack, PLAIN)
                if isinstance(said, Yes) and (best is None or choice.order > best.order):
                    best = choice
    return best


def expiries(state: State, after: int) -> list[int]:
    """The moments after `after` at which a choice expires, in order."""
    return sorted(
        {
            choice.expires
            for track in state.tracks.values()
            if track.expiring
            for named in track.choices.values()
            for words in named.values()
            for choice in words
            if choice.expires is not None and choice.expires > after
        }
    )
