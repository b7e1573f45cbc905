"""What the person's word is on a question: the latest choice that covers it, the stricter of joined names winning.

One function, `word`, says whether a consent counts: the door, decisions, findings and evidence ask it. A question that
leaves a field out asks about everything in it: a yes must cover all of that, one no is enough. A yes that counts
replaces older ones, for good: when it ends they do not come back, and a no that it had overcome does.

Source: contract, section 2, "A person's choices", "Against the person's own words", "Scopes" and "Double opt-in".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from consent_ledger.ledger.policy.pack import Objection, Pack
from consent_ledger.ledger.times import FOREVER
from consent_ledger.projections.decision.question import CHANNELS, Question
from consent_ledger.projections.fold.record import Choice, Confirmed, Order, Reach, State, Track, narrowed
from consent_ledger.projections.fold.refs import Ref, same_list
from consent_ledger.projections.fold.world import World

START: Final[Order] = (-(2**62), -1)  # before every word
WIDE: Final = frozenset(("use", "contact", "disclose"))  # without a purpose, a question is about all of them
OF_CHANNEL: Final = {"email": "email", "sms": "telephone", "telephone": "telephone", "post": "postal-address"}


@dataclass(frozen=True, slots=True)
class No:
    """A no that stands: a refusal or withdrawal (`scope` None), or an opt-out, with the clause that carries it."""

    ref: Ref
    order: Order
    actor: str
    scope: str | None = None
    name: str | None = None
    clause: str = ""  # none in particular
    instead: Ref | None = None  # a yes that has ended, but for which an older one would have opened this

    @property
    def refs(self) -> list[Ref]:
        """The entries by which it stands."""
        return [self.ref, *([self.instead] if self.instead else [])]


@dataclass(frozen=True, slots=True)
class Yes:
    """A yes that stands; `over`: the latest no that it has overcome."""

    choice: Choice
    over: No | None = None

    @property
    def ref(self) -> Ref:
        return self.choice.ref

    @property
    def refs(self) -> list[Ref]:
        """The entries by which it stands: itself, and the no that it has overcome."""
        return [self.choice.ref, *([self.over.ref] if self.over else [])]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a clause looks at a yes: by list, by named item, by who said it, mere use or not, confirmed in how long."""

    per_list: bool = False
    named_item: bool = False
    any_basis: bool = False
    actor: str | None = None
    confirmed_within: int | None = None  # microseconds


PLAIN: Final = Terms()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as words are compared with it: what it leaves out is everything."""

    question: Question
    pack: Pack
    categories: frozenset[str]  # that a yes must cover, and one of which a no is about
    channels: frozenset[str]  # of a message
    list: str | None
    every_purpose: bool

    @property
    def any_purpose(self) -> bool:
        """Whether a word to whatever purpose can be about it."""
        return self.every_purpose or (self.question.action == "collect" and self.question.purpose is None)


def _asked(question: Question, pack: Pack) -> _Asked:
    contact = question.action == "contact"
    channels = (frozenset((question.channel,)) if question.channel else CHANNELS) if contact else frozenset[str]()
    categories = question.categories
    if not categories and contact:
        categories = frozenset(OF_CHANNEL[one] for one in channels if one in OF_CHANNEL)
    elif not categories and question.action in WIDE:
        categories = pack.personal
    every = question.purpose is None and question.action in WIDE
    return _Asked(question, pack, categories, channels, same_list(question.list), every)


@dataclass(slots=True)
class _Said:
    """What was said under one name that bears on a question: the yeses that count, the ended ones, the noes."""

    yeses: list[Choice]  # that cover it and stand
    ended: list[Choice]  # that were about it and counted: what they replaced stays replaced
    noes: list[tuple[No, Choice | None]]  # that cover it and stand; with what a refusal names


def word(state: State, question: Question, now: int, pack: Pack, terms: Terms, world: World) -> Yes | No | None:
    """The person's word at `now`, over all joined names: a no wins, then a yes.

    The same word can count under several names, but not stand for the same under each. Then it is the no that stands by
    itself, or the yes with the latest no that it has overcome: in whichever order the names come.
    """
    asked = _asked(question, pack)
    words = [_weighed(_said(track, asked, now, terms, world, state.deleted_upto)) for track in state.tracks.values()]
    noes = [said for said in words if isinstance(said, No)]
    if noes:
        return max(noes, key=lambda no: (no.order, no.instead is None))
    yeses = [said for said in words if isinstance(said, Yes)]
    return max(yeses, key=lambda yes: (yes.choice.order, yes.over.order if yes.over else START), default=None)


def _weighed(said: _Said) -> Yes | No | None:
    """The word under one name; a no with the ended yes that keeps an older one from opening it."""
    word = _latest(said)
    if not isinstance(word, No):
        return word
    instead = _instead(said)
    return replace(word, instead=instead) if instead else word


def _instead(said: _Said) -> Ref | None:
    """The yes that has ended, but for which an older one would count."""
    for one in _newest(said.ended) if said.yeses else ():
        others = [other for other in said.ended if other is not one]
        if isinstance(_latest(_Said(said.yeses, others, said.noes)), Yes):
            return one.ref
    return None


def ended_instead(state: State, question: Question, now: int, pack: Pack, terms: Terms, world: World) -> Ref | None:
    """The same over all joined names, where there is no word."""
    asked = _asked(question, pack)
    found = (_instead(_said(track, asked, now, terms, world, state.deleted_upto)) for track in state.tracks.values())
    return next((ref for ref in found if ref is not None), None)


def _latest(said: _Said) -> Yes | No | None:
    """The word under one name: a no that no later yes opens, or else the latest yes."""
    yeses = _left(said)
    no = over = None
    openers = _openers(yeses)
    for one, refusal in said.noes:
        if any(_opens(yes, one, refusal) for yes in openers):
            over = one if over is None or one.order > over.order else over
        elif no is None or one.order > no.order:
            no = one
    if no is not None:
        return no
    best = max(yeses, key=lambda one: (one.express and one.actor != "system", one.order), default=None)
    return None if best is None else Yes(best, over)


def _left(said: _Said) -> list[Choice]:
    """The yeses that stand and that none which has ended replaced."""
    if not said.ended:
        return said.yeses
    newest = _newest(said.ended)
    return [one for one in said.yeses if not any(_replaces(ended, one) for ended in newest)]


def _newest(ended: list[Choice]) -> list[Choice]:
    """Of the yeses that have ended those that are enough to ask: the latest of each actor, express and by use."""
    newest: dict[tuple[str, bool], Choice] = {}
    for one in ended:
        if (other := newest.get((one.actor, one.express))) is None or other.order < one.order:
            newest[one.actor, one.express] = one
    return list(newest.values())


def _openers(yeses: list[Choice]) -> list[Choice]:
    """Of the yeses that can open a no those that are enough to ask: of what names the same, the latest."""
    found: dict[tuple[Any, ...], Choice] = {}
    for one in yeses:
        if one.express and one.actor != "system":
            alike = one.actor == "operator", one.channels, one.recipients, one.categories is None, one.list
            if alike not in found or found[alike].order < one.order:
                found[alike] = one
    return list(found.values())


def closed_until(state: State, question: Question, now: int, pack: Pack, world: World) -> int:
    """Until when the word on a question is a no at least, however a clause looks at a yes: yeses only end by time."""
    asked = _asked(question, pack)
    until = now
    for track in state.tracks.values():
        said = _said(track, asked, now, PLAIN, world, state.deleted_upto)
        openers = _openers(_left(said))
        for no, refusal in said.noes:
            end = FOREVER if refusal is None or refusal.expires is None else refusal.expires
            if end > until and not any(_opens(yes, no, refusal) for yes in openers):
                until = end
    return until


def _replaces(newer: Choice, older: Choice) -> bool:
    """Whether a yes takes the place of an older one to what both are about: an import that of none."""
    if newer.order < older.order or newer.actor == "system" or (older.express and not newer.express):
        return False
    return newer.actor == older.actor or older.actor in ("operator", "system")


def _opens(yes: Choice, no: No, refusal: Choice | None) -> bool:
    """Whether a yes opens what a no closed: a later one that names it, an operator's only an operator's.

    Requires one that covers what is asked and can open: express, and not by system.
    """
    if yes.order < no.order:
        return False
    if yes.actor == "operator" and no.actor != "operator":
        return False
    if refusal is not None:
        if refusal.purpose is not None:
            return True
        named = (refusal.channels is None or yes.channels is not None) and (
            refusal.categories is None or yes.categories is not None
        )
        return named and (refusal.recipients is None or yes.recipients is not None)
    match no.scope:
        case "list":
            return yes.list is not None
        case "recipient":
            return yes.recipients is not None
        case "channel":
            return yes.channels is not None
        case _:
            return True


# -- what was said -----------------------------------------------------------------------------------------------------


def _said(track: Track, asked: _Asked, now: int, terms: Terms, world: World, since: Order) -> _Said:
    said = _Said([], [], [])
    question, pack = asked.question, asked.pack
    for purpose, named in track.choices.items():
        if purpose not in (None, question.purpose) and not asked.any_purpose:
            continue
        for words in named.values():
            for choice in words:
                if choice.yes:
                    if purpose == question.purpose and choice.order > since:
                        _sort_yes(said, choice, track, asked, now, terms, world)
                elif _lasts(choice, now) and _no_covers(choice, asked):
                    said.noes.append((No(choice.ref, choice.order, choice.actor), choice))
    for (scope, name), optouts in track.optouts.items():
        clause = _optout_covers(scope, name, asked)
        if clause is None:
            continue
        for one in optouts:
            if not pack.delays or takes_effect(one.ref, scope, question, pack) <= now:
                said.noes.append((No(one.ref, one.order, one.actor, scope, name, clause), None))
    return said


def _lasts(one: Choice | Reach, now: int) -> bool:
    """Whether it has not ended by its own word."""
    return one.expires is None or one.expires > now


def _sort_yes(said: _Said, choice: Choice, track: Track, asked: _Asked, now: int, terms: Terms, world: World) -> None:
    """Note a yes that counts: as one that stands, or as one that has ended."""
    if not _fits(choice, asked, terms) or not _of_a_version(choice, asked.question.purpose, world):
        return
    reaches = _reaches(choice, terms, asked.pack)
    covering = [one for one in reaches if _covers(one, asked)]
    over = choice.actor == "guardian" and track.guardian_ended is not None and choice.order < track.guardian_ended
    end = ends(choice, asked.pack)
    over = over or (end is not None and end <= now)
    if not over and any(_lasts(one, now) for one in covering):
        said.yeses.append(choice)
        return
    over = over or not any(_lasts(one, now) for one in reaches)
    if over and any(_touches(one, asked) for one in reaches):
        said.ended.append(choice)


def _fits(choice: Choice, asked: _Asked, terms: Terms) -> bool:
    """Whether a yes is of the kind that a clause wants, and to that list and item."""
    if not choice.express and not terms.any_basis:
        return False
    if terms.actor is not None and choice.actor != terms.actor:
        return False
    if (choice.list is not None or terms.per_list) and choice.list != asked.list:
        return False
    if choice.list is None and asked.question.action == "contact" and choice.purpose in asked.pack.always_by_list:
        return False
    if terms.named_item and choice.item is None:
        return False
    return choice.item is None or choice.item == asked.question.item


def _reaches(choice: Choice, terms: Terms, pack: Pack) -> list[Reach]:
    """How far a yes reaches: by itself, or with each of the earlier ones that it confirms in time."""
    within = terms.confirmed_within
    own = Reach(choice.categories, choice.recipients, choice.channels)
    if within is None:
        return [own]
    return [narrowed(own, one.reach) for one in choice.confirms if in_time(one, choice, within, pack)]


def confirmed_by(choice: Choice, question: Question, now: int, within: int, pack: Pack) -> Confirmed:
    """Of the earlier yeses that one confirms in time, the last that reaches as far as the question, and until now.

    Requires a yes that stands for the question, and is one of them.
    """
    asked, own = _asked(question, pack), Reach(choice.categories, choice.recipients, choice.channels)
    timely = [(one, narrowed(own, one.reach)) for one in choice.confirms if in_time(one, choice, within, pack)]
    return next(one for one, reach in reversed(timely) if _covers(reach, asked) and _lasts(reach, now))


def in_time(one: Confirmed, choice: Choice, within: int, pack: Pack) -> bool:
    """Whether a yes confirms an earlier one that had not lapsed, soon enough after what it answers."""
    lapsed = any(moment <= choice.ref.time for _, moment in lapses_of(choice.purpose, one.first.time, pack))
    return one.after < within and not lapsed


def _covers(reach: Reach, asked: _Asked) -> bool:
    """Whether a yes that reaches so far is about all of the question: what it names limits it, what it lacks not."""
    question = asked.question
    if reach.categories is not None:
        if not asked.categories and question.action != "contact":
            return False  # "everything" is more than what was named
        wanted = asked.categories - asked.pack.anonymous
        if not wanted <= reach.categories:
            return False
    if reach.recipients is not None and question.recipient not in reach.recipients:
        return False
    return reach.channels is None or asked.channels <= reach.channels


def _touches(reach: Reach, asked: _Asked) -> bool:
    """Whether a yes that reaches so far is about some of the question."""
    if reach.categories is not None and asked.categories and asked.categories.isdisjoint(reach.categories):
        return False
    if reach.recipients is not None and asked.question.recipient not in reach.recipients:
        return False
    return reach.channels is None or not asked.channels or not asked.channels.isdisjoint(reach.channels)


def _of_a_version(yes: Choice, purpose: str | None, world: World) -> bool:
    """Whether a yes belongs to a version of the statement that knew the purpose.

    That is the one that it names, or else the newest that was published by then; before the first there is none.
    """
    number = world.version_at(yes.ref.time, yes.version)
    if number is None:
        return False
    brought = world.brought_by(purpose)
    return not brought or any(one <= number for one in brought)


def _no_covers(choice: Choice, asked: _Asked) -> bool:
    """Whether a refusal or withdrawal is about some of the question: a field that it lacks covers everything."""
    question = asked.question
    if question.action == "collect" and question.purpose is None and choice.categories is None:
        return False  # a collection that names no purpose is stopped by what was said of its categories
    if choice.categories is not None and choice.categories.isdisjoint(asked.categories):
        return False
    if choice.recipients is not None and question.recipient not in choice.recipients:
        return False
    if choice.channels is not None and choice.channels.isdisjoint(asked.channels):
        return False  # what is no message has none
    if choice.list is not None and choice.list != asked.list:
        return False
    return choice.item is None or choice.item == question.item


def _optout_covers(scope: str, name: str | None, asked: _Asked) -> str | None:
    """The clause that carries this opt-out of the question ("" for none in particular), or None: not about it."""
    question, pack = asked.question, asked.pack
    match scope:
        case "purpose":
            covered = question.purpose == name or asked.every_purpose
        case "list":
            covered = asked.list == name
        case "recipient":
            covered = question.recipient == name
        case "channel":
            covered = name in asked.channels
        case "advertising":
            covered = (
                question.purpose in pack.advertising_purposes
                or question.recipient_class in pack.advertising_classes
                or (asked.every_purpose and bool(pack.advertising_purposes))
            )
        case _:  # all, general: messages to the person, questions for consent among them
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
    if question.purpose is None:
        return True  # about every purpose, and so about one that it stops
    if objection.marketing_only and question.purpose not in pack.marketing:
        return False
    return question.purpose not in objection.spares


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


def ends(choice: Choice, pack: Pack) -> int | None:
    """When a choice counts as never made, by its own word or by the pack's; None: never."""
    found = [moment for _, moment in lapse_moments(choice, pack)]
    return min([*found, *([choice.expires] if choice.expires is not None else [])], default=None)


def lapse_moments(choice: Choice, pack: Pack) -> list[tuple[str, int]]:
    """(clause, moment) of every rule by which a yes lapses."""
    return lapses_of(choice.purpose, choice.ref.time, pack) if choice.yes else []


def lapses_of(purpose: str | None, said: int, pack: Pack) -> list[tuple[str, int]]:
    """(clause, moment) of every rule by which a yes to a purpose, said at that moment, lapses."""
    rules = [(clause, lapse) for clause, lapse in pack.lapses if lapse.purpose is None or purpose in lapse.purpose]
    return [(clause, lapse.ends(said)) for clause, lapse in rules]


# -- other looks at the same words -------------------------------------------------------------------------------------


def any_opt_in(state: State, now: int, pack: Pack, world: World) -> Choice | None:
    """A yes to some communication that is in force and that no opt-out of messages closes.

    A communication is what the pack has a row about that permits to contact the person for it.
    """
    yeses = [
        one
        for track in state.tracks.values()
        for one in _words_of(track)
        if one.yes and one.express and one.purpose in pack.communications
    ]
    for choice in sorted(yeses, key=lambda one: one.order, reverse=True):
        for channel in sorted(CHANNELS):
            about = Question(
                "contact", purpose=choice.purpose, list=choice.list, item=choice.item, channel=channel,
                categories=choice.categories or frozenset(),
            )  # fmt: skip
            said = word(state, about, now, pack, PLAIN, world)
            if isinstance(said, Yes) and said.choice.ref.position == choice.ref.position:
                return choice
    return None


def newest_yes(state: State, question: Question, pack: Pack, terms: Terms) -> Choice | None:
    """The newest yes to the question, whether or not it still counts: to say why there is none."""
    asked = _asked(question, pack)
    yeses = [
        one
        for track in state.tracks.values()
        for one in _words_of(track)
        if one.yes and one.purpose == question.purpose and _fits(one, asked, terms)
        if any(_covers(reach, asked) for reach in _reaches(one, terms, pack))
    ]
    return max(yeses, key=lambda one: one.order, default=None)


def yes_to_collect(state: State, question: Question, now: int, pack: Pack, terms: Terms, world: World) -> Yes | None:
    """A yes, to whatever purpose, that covers a collection which names none."""
    purposes = {one.purpose for track in state.tracks.values() for one in _words_of(track) if one.yes}
    words = [word(state, question.about(purpose), now, pack, terms, world) for purpose in purposes]
    return max((said for said in words if isinstance(said, Yes)), key=lambda yes: yes.choice.order, default=None)


def last_word(state: State, question: Question, pack: Pack) -> tuple[Ref | None, Ref | None]:
    """(last yes, last no that no later yes under the same name answers), expired and replaced ones too."""
    asked = _asked(question, pack)
    said_yes: list[Ref] = []
    said_no: list[Ref] = []
    for track in state.tracks.values():
        words = [one for one in _words_of(track) if one.purpose in (question.purpose, None)]
        yeses = [
            one
            for one in words
            if one.yes and one.actor != "system" and _fits(one, asked, PLAIN) and _covers(one.reach, asked)
        ]
        said_yes += [one.ref for one in yeses]
        noes = [
            (No(one.ref, one.order, one.actor), one) for one in words if not one.yes and _no_covers(one, asked)
        ]  # fmt: skip
        optouts = [
            (No(one.ref, one.order, one.actor, scope, name), None)
            for (scope, name), said in track.optouts.items()
            for one in said
            if _optout_covers(scope, name, asked) is not None
        ]
        for said_so, refusal in (*noes, *optouts):
            if not any(_opens(yes, said_so, refusal) for yes in yeses):
                said_no.append(said_so.ref)
    last, no = (max(refs, key=lambda ref: ref.order, default=None) for refs in (said_yes, said_no))
    return last, no


def _words_of(track: Track) -> Iterator[Choice]:
    """Everything that was said under a name and can count again."""
    for named in track.choices.values():
        for words in named.values():
            yield from words


def moments(state: State, after: int, pack: Pack, question: Question | None = None) -> list[int]:
    """The moments after `after` at which a choice ends or takes effect by time alone, in order.

    `question`: those only that can have a part in the word on it; default: for any question.
    """
    found: set[int] = set()
    lapses = bool(pack.lapses)
    asked = None if question is None else _asked(question, pack)
    for track in state.tracks.values():
        if track.expiring or lapses:
            for choice in _words_of(track):
                if asked is not None and not _bears_on(choice, asked):
                    continue
                found |= {moment for _, moment in lapse_moments(choice, pack)} if lapses else set()
                found |= {choice.expires} if choice.expires is not None else set()
                found |= {one.reach.expires for one in choice.confirms if one.reach.expires is not None}
        if pack.delays:
            for (scope, name), said in track.optouts.items():
                if asked is None or _optout_covers(scope, name, asked) is not None:
                    found |= {moment for one in said for moment in _delayed(one.ref, scope, pack)}
    return sorted(moment for moment in found if moment > after)


def _bears_on(choice: Choice, asked: _Asked) -> bool:
    """Whether a choice can have a part in the word on a question, as it stands or when it has ended."""
    question = asked.question
    if choice.purpose not in (None, question.purpose) and not asked.any_purpose:
        return False
    if not choice.yes:
        return _no_covers(choice, asked)
    return choice.list in (None, asked.list) and choice.item in (None, question.item)


def _delayed(ref: Ref, scope: str, pack: Pack) -> list[int]:
    """When an opt-out takes effect by each row that delays it: which one counts depends on the question."""
    return [
        pack.calendar.after(ref.time, row.effective_in_business_days)
        for _, row in pack.objections.get(scope, ())
        if row.effective_in_business_days is not None
    ]
