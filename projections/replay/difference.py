"""What differs between two packs, as far as an answer can rest on it: to leave out questions that cannot change.

The words of a statement decide nothing: titles, rules, consequences and the order of word lists are not looked at.
Whoever adds something that an answer rests on must meet it here; a test compares with asking everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from consent_ledger.ledger.events.facts import Scope
from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy.pack import ACTIONS, Change, Define, Pack, Row
from consent_ledger.projections.decision.decide import Rule, conditions_of, may_bear_on, rules_of
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.record import State

WORDS_ONLY: Final = {"action", "reading", "consequence", "says"}  # rules are compared action by action
_CHANGED_BY: Final = ("use", "contact", "disclose")  # actions that a new use can open: see projections.decision.decide
SCOPES: Final[tuple[Scope, ...]] = ("all", "general", "purpose", "list", "channel", "recipient", "advertising")


@dataclass(frozen=True, slots=True)
class Touched:
    """What of a person can make a difference beside the rows: their opt-outs of these scopes, their yes to these."""

    scopes: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()


@dataclass(slots=True)
class Difference:
    """Two packs, compared. `scopes`: reach otherwise from messages; `scopes_anywhere`: from anything."""

    rows: dict[str, list[Rule]] = field(default_factory=dict)  # action -> rows of one only, or that rest on others
    words: frozenset[str] = frozenset()  # purposes that one knows
    classes: frozenset[str] = frozenset()  # classes that one knows
    categories: frozenset[str] = frozenset()  # that one knows, or takes for something else
    scopes: frozenset[str] = frozenset()
    scopes_anywhere: frozenset[str] = frozenset()
    lapsing: frozenset[str | None] = frozenset()  # purposes of which a yes lapses otherwise; None: of any
    change: bool = False  # versions come into force otherwise

    def touched(self, state: State) -> Touched:
        """What of this person can make a difference."""
        scopes = self.scopes | self.scopes_anywhere
        if not scopes and not self.lapsing:
            return Touched()
        said = {scope for track in state.tracks.values() for scope, _ in track.optouts}
        agreed = {
            purpose
            for track in state.tracks.values()
            for purpose, named in track.choices.items()
            if purpose is not None and any(choice.yes for words in named.values() for choice in words)
        }
        everything = None in self.lapsing
        return Touched(scopes & said, frozenset(agreed if everything else agreed & self.lapsing))

    def can_change(self, question: Question, touched: Touched, new_uses: frozenset[str]) -> bool:
        """Whether the packs can answer differently. `new_uses`: of all versions. Requires a classified question."""
        if question.purpose in self.words or question.recipient_class in self.classes:
            return True
        if not question.categories.isdisjoint(self.categories):
            return True
        if touched.scopes and (question.action == "contact" or not touched.scopes.isdisjoint(self.scopes_anywhere)):
            return True
        if touched.purposes and (question.purpose in touched.purposes or question.action == "collect"):
            return True  # a collection names no purpose: any yes can carry it
        if self.change and question.purpose in new_uses and question.action in _CHANGED_BY:
            return True
        return any(may_bear_on(rule, question) for rule in self.rows.get(question.action, ()))


def difference(old: Pack, new: Pack) -> Difference:
    """Compare two packs. Who is whose processor is left out: no question is about that."""
    found = Difference(
        words=old.known_purposes ^ new.known_purposes,
        classes=old.known_classes ^ new.known_classes,
        categories=(old.known_categories ^ new.known_categories) | (old.anonymous ^ new.anonymous),
        lapsing=_lapsing(old, new),
        change=_change(old.change) != _change(new.change),
    )
    found.scopes, found.scopes_anywhere = _scopes(old, new)
    rest = _Rest(
        frozenset(_facts(old, new)),
        frozenset(name for name in {*old.countries, *new.countries} if _group(old, name) != _group(new, name)),
        ages=old.ages != new.ages,
        keeps=[_key(clause, keep) for clause, keep in old.keeps] != [_key(clause, keep) for clause, keep in new.keeps],
        words=bool(found.scopes or found.scopes_anywhere or found.lapsing),
    )
    for action in ACTIONS:
        found.rows[action] = list(_rows(old, new, action, rest))
    return found


@dataclass(frozen=True, slots=True)
class _Rest:
    """What rows can rest on beside what they say, as far as two packs have it differently."""

    facts: frozenset[str]
    groups: frozenset[str]  # of countries
    ages: bool
    keeps: bool
    words: bool  # what the person said about something else


def _group(pack: Pack, name: str) -> set[str]:
    return {country.casefold() for country in pack.countries.get(name, ())}


def _key(clause: str, row: Row) -> tuple[str, str, str]:
    return clause, type(row).__name__, row.model_dump_json(exclude=WORDS_ONLY)


def _rows(old: Pack, new: Pack, action: str, rest: _Rest) -> Iterator[Rule]:
    """Rows that only one pack has, whose place among others counts and is another, or that rest on what differs."""
    before, after = rules_of(old, action), rules_of(new, action)
    for one, other, ordered in (
        (before.law, after.law, True),  # the first that fits decides
        (before.gate, after.gate, True),  # the first that fails is named
        (before.forbid, after.forbid, False),
        (before.permit, after.permit, False),
    ):
        left = {number: _key(rule.clause, rule.row) for number, rule in enumerate(one)}
        right = {number: _key(rule.clause, rule.row) for number, rule in enumerate(other)}
        common = Counter(left.values()) & Counter(right.values())
        moved = ordered and [k for k in left.values() if k in common] != [k for k in right.values() if k in common]
        for rules, keys in ((one, left), (other, right)):
            left_over = Counter(common)
            for number, rule in enumerate(rules):
                left_over[keys[number]] -= 1
                if moved or left_over[keys[number]] < 0 or _rests(rule, rest):
                    yield rule


def _rests(rule: Rule, rest: _Rest) -> bool:
    """Whether a row rests on what the packs define otherwise, or on the person's words about something else."""
    groups = {*(rule.row.country_in or ()), *(rule.row.country_not_in or ())}
    return not groups.isdisjoint(rest.groups) or any(
        (isinstance(need, cn.OnRecord) and need.fact in rest.facts)
        or (isinstance(need, cn.Minor) and rest.ages)
        or (isinstance(need, cn.Deleted) and rest.keeps)
        or (rest.words and isinstance(need, cn.AnyOptIn | cn.Quiet))
        # one inside another: not looked into
        or (isinstance(need, cn.AnyOf) and (rest.words or rest.ages or rest.keeps or bool(rest.facts)))
        for need in conditions_of(rule.row)
    )


def _facts(old: Pack, new: Pack) -> set[str]:
    """Facts that one pack alone defines, or that the two define otherwise."""
    one, other = _defines(old), _defines(new)
    return {fact for fact in one.keys() | other.keys() if one.get(fact) != other.get(fact)}


def _defines(pack: Pack) -> dict[str, tuple[str, str, str]]:
    rows: list[tuple[str, Define]] = [(clause.id, define) for clause in pack.clause for define in clause.define]
    return {define.fact: _key(clause, define) for clause, define in reversed(rows)}  # the first of a name counts


def _scopes(old: Pack, new: Pack) -> tuple[frozenset[str], frozenset[str]]:
    """(scopes of opt-outs that reach otherwise from messages, from anything)."""
    messages: set[str] = set()
    anything: set[str] = set()
    for scope in SCOPES:
        rows = [[_key(clause, row) for clause, row in pack.objections.get(scope, ())] for pack in (old, new)]
        objections = [row for pack in (old, new) for _, row in pack.objections.get(scope, ())]
        later = any(row.effective_in_business_days is not None for row in objections)
        days = [(set(pack.calendar.holidays), pack.calendar.zone) for pack in (old, new)]
        other_days = later and days[0] != days[1]
        marketing = set(old.marketing) != set(new.marketing) and any(row.marketing_only for row in objections)
        if rows[0] != rows[1] or other_days or marketing:
            (anything if later else messages).add(scope)
    if _advertising(old) != _advertising(new):
        anything.add("advertising")
    return frozenset(messages | anything), frozenset(anything)


def _advertising(pack: Pack) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(pack.advertising_purposes), frozenset(pack.advertising_classes)


def _lapsing(old: Pack, new: Pack) -> frozenset[str | None]:
    """The purposes of lapses that the packs do not have in common; None: of all."""
    one, other = ({_key(clause, lapse): lapse for clause, lapse in pack.lapses} for pack in (old, new))
    differing = [*(one[key] for key in one.keys() - other.keys()), *(other[key] for key in other.keys() - one.keys())]
    found: set[str | None] = set()
    for lapse in differing:
        found |= {None} if lapse.purpose is None else set(lapse.purpose)
    return frozenset(found)


def _change(change: Change | None) -> str | None:
    """What decides when a version comes into force, as text; the words for notices aside."""
    if change is None:
        return None
    kept = change.model_copy(update={"by_reading": [change.stored.model_copy(update={"reading": None})]})
    return kept.model_dump_json(exclude={"notice_purpose"})
