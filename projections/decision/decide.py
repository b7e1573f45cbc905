"""The pure decision: pack, case and question in, verdict out.

Order of composition (contract, section 2): what the law requires is permitted; then a prohibition denies; then the
narrower row decides; between equally narrow ones denial wins; what nothing permits is denied. How narrow a row is, is
the sum of what it names: a ground or the record 8, a recipient 4, a class, the public, a border (with its countries 3),
a transfer or a notice 2, purposes, categories, channels and origins 1 each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.projections.decision.addresses import heeded, others_moments
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.choices import PLAIN, WIDE, No, Yes, closed_until, moments, word
from consent_ledger.projections.decision.conditions import (
    Clock,
    Finding,
    came_back,
    check,
    clock_ends,
    day,
    despite,
    no_in_words,
    ticks,
)
from consent_ledger.projections.decision.question import Question, Verdict
from consent_ledger.projections.decision.versions import new_use
from consent_ledger.projections.fold.refs import Ref

FEW: Final = 4  # moments that are looked at without asking which of them can matter
NOTHING: Final = "nothing permits it"


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled row."""

    clause: str
    number: int
    row: pk.Match
    purposes: frozenset[str] | None
    categories: frozenset[str] | None
    narrow: int
    pack: pk.Pack  # groups of countries stand there


@dataclass(slots=True)
class Rules:
    """A pack's rows by mechanism, those of one action."""

    law: list[Rule] = field(default_factory=list)
    forbid: list[Rule] = field(default_factory=list)
    gate: list[Rule] = field(default_factory=list)
    permit: list[Rule] = field(default_factory=list)
    clocks: list[Clock] = field(default_factory=list)  # conditions that change by time alone
    any_yes: bool = False  # whether one of them looks at yeses to whatever


_RULES: dict[tuple[str, str], Rules] = {}  # (edition of a pack, action): compiled once
_RULES_KEPT: Final = 256


def rules_of(pack: pk.Pack, action: str) -> Rules:
    """The rows of a pack that are about an action, compiled."""
    found = _RULES.get((pack.edition, action))
    if found is None:
        if len(_RULES) >= _RULES_KEPT:
            _RULES.clear()
        found = _RULES[pack.edition, action] = _compiled(pack, action)
    return found


def _compiled(pack: pk.Pack, action: str) -> Rules:
    rules = Rules()
    for number, clause in enumerate(pack.clause):
        for row in (*clause.forbid, *clause.gate, *clause.permit):
            if action not in row.action:
                continue
            rules.any_yes |= any(isinstance(need, cn.AnyOptIn) for need in conditions_of(row))
            rules.clocks += [need for need in conditions_of(row) if isinstance(need, Clock) and ticks(need, pack)]
            rule = Rule(
                clause.id,
                number,
                row,
                frozenset(row.purpose) if row.purpose is not None else None,
                frozenset(row.categories) if row.categories is not None else None,
                narrowness(row),
                pack,
            )
            if isinstance(row, pk.Permit):
                (rules.law if row.law else rules.permit).append(rule)
            else:
                (rules.forbid if isinstance(row, pk.Forbid) else rules.gate).append(rule)
    rules.permit.sort(key=lambda rule: -rule.narrow)
    return rules


def conditions_of(row: pk.Match) -> list[cn.Need]:
    """All conditions of a row, those inside `any-of` too."""
    named: list[cn.Need] = [*getattr(row, "needs", []), *getattr(row, "when", []), *getattr(row, "unless", [])]
    return [inner for need in named for inner in (need.of if isinstance(need, cn.AnyOf) else [need])]


def narrowness(row: pk.Match) -> int:
    """How much a row names: see the module."""
    score = 8 * (row.ground is not None) + 8 * (row.on_record_from is not None) + 4 * (row.recipient is not None)
    countries = (row.country_in, row.country_not_in)
    border = row.country if countries == (None, None) else countries  # named by what it leads to
    twos = (row.recipient_class, row.public, border, row.transfer, row.announces)
    ones = (row.purpose, row.not_purpose, row.categories, row.any_category, row.channel, row.origin, *countries)
    return score + sum(2 for one in twos if one is not None) + sum(1 for one in ones if one is not None)


def decide(pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    """The verdict at `now` on what the case holds. Requires words checked against the pack."""
    rules = rules_of(pack, question.action)
    return (
        _law(rules, pack, case, question, now)
        or _forbidden(rules, pack, case, question, now)
        or _delivered(
            _returned(_allowed(rules, pack, case, question, now), rules, pack, case, question, now), case, question
        )
    )


def changes_at(pack: pk.Pack, case: Case, question: Question, now: int, verdict: Verdict) -> int | None:
    """The next moment at which the outcome changes by time alone."""
    for moment in turning_points(pack, case, (question,), now):
        if decide(pack, case, question, moment).outcome != verdict.outcome:
            return moment
    return None


def turning_points(pack: pk.Pack, case: Case, questions: Sequence[Question], now: int) -> list[int]:
    """The moments after `now` at which an answer to one of the questions may change by time alone, in order."""
    found = _ends_of_words(pack, case, questions, now)
    if any(question.action == "contact" for question in questions) and (others := others_moments(case, now, pack)):
        found = sorted({*found, *others})
    clocks = [(need, question) for question in questions for need in rules_of(pack, question.action).clocks]
    if clocks:
        ends = {moment for need, question in clocks for moment in clock_ends(need, case, question, pack)}
        found = sorted({*found, *(moment for moment in ends if moment > now)})
    return found


def _ends_of_words(pack: pk.Pack, case: Case, questions: Sequence[Question], now: int) -> list[int]:
    """The moments at which what the person said may change such an answer. Under a no that stands it does not."""
    if len(questions) != 1 or rules_of(pack, questions[0].action).any_yes:
        return moments(case.state, now, pack)
    (question,) = questions
    found = moments(case.state, now, pack, question)
    if len(found) < FEW or (len(question.categories) > 1 and question.action != "contact"):
        return found  # of several categories each may be asked about by itself
    until = closed_until(case.state, question, now, pack, case.world)
    return [moment for moment in found if moment >= until]


def _returned(verdict: Verdict, rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    """The verdict; where it rests on what came since a deletion that a row looks at, that is named, too."""
    back = case.state.back
    if back is None:
        return verdict
    looked = (rule for rule in rules.forbid if any(isinstance(need, cn.Deleted) for need in conditions_of(rule.row)))
    if any(_fits(rule, question, case) for rule in looked):
        because, says = came_back(back, case, question, now, pack)
        verdict.because += [ref for ref in because if ref not in verdict.because]
        nothing = verdict.phrases[-1:] == [NOTHING]  # which stays the last
        if says:
            verdict.phrases.insert(len(verdict.phrases) - nothing, says)
    return verdict


def _delivered(verdict: Verdict, case: Case, question: Question) -> Verdict:
    """The verdict, unless what it permits would not arrive: then denied, with the rows that would have permitted."""
    if verdict.outcome != "permit" or question.action != "contact":
        return verdict
    stopped = case.stopped()
    channel = question.channel or min(stopped, default="")  # by whatever channel: by the stopped one, too
    bounce = stopped.get(channel)
    if bounce is None:
        return verdict
    return Verdict("deny", verdict.clauses, [bounce], [f"a message by {channel} came back on {day(bounce)}"])


# -- matching ----------------------------------------------------------------------------------------------------------


def _about(rule: Rule, question: Question, case: Case) -> bool:
    """Whether a row is about the question in everything but purpose and categories."""
    row = rule.row
    if not _says_itself_about(rule, question):
        return False
    if row.announces is not None and not _announces(row.announces, question, case):
        return False
    return row.on_record_from is None or _from_others(question, case)


def _says_itself_about(rule: Rule, question: Question) -> bool:
    """The part of that which hangs on the row and the question alone."""
    row = rule.row
    if not _aimed_at(row, question):
        return False
    if row.ground is not None and question.ground not in row.ground:
        return False
    if row.channel is not None and question.channel not in row.channel:
        return False
    if row.origin is not None and question.origin not in row.origin:
        return False
    return country_fits(row, question.country, rule.pack)


def country_fits(row: pk.Match, country: str | None, pack: pk.Pack) -> bool:
    """Whether a row is about what goes to that country, or (None) across no border."""
    if row.country is not None and row.country is not (country is not None):
        return False
    if row.country_in is not None and (country is None or not pack.in_group(country, row.country_in)):
        return False
    return row.country_not_in is None or (country is not None and not pack.in_group(country, row.country_not_in))


def _aimed_at(row: pk.Match, question: Question) -> bool:
    """Whether a row is about such information, to such a recipient or new owner."""
    if row.information != "any" and (row.information == "anonymous") is not question.anonymous:
        return False
    if row.recipient_class is not None and question.recipient_class not in row.recipient_class:
        return False
    if row.recipient is not None and question.recipient not in row.recipient:
        return False
    if row.public is not None and row.public is not (question.recipient is None):
        return False
    return row.transfer is None or row.transfer is (question.transfer is not None)


def _announces(kind: str, question: Question, case: Case) -> bool:
    version = case.world.version(question.item or "")
    if version is None or version.supersedes is None:
        return False
    return version.stored if kind == "stored" else version.material and not version.stored


def _from_others(question: Question, case: Case) -> bool:
    record = case.state.collected
    return bool(question.personal) and all(
        category in record and record[category].from_others_only for category in question.personal
    )


def _purpose_fits(rule: Rule, question: Question) -> bool:
    if rule.purposes is not None and question.purpose not in rule.purposes:
        return False
    return rule.row.not_purpose is None or question.purpose not in rule.row.not_purpose


def _categories_fit(rule: Rule, question: Question) -> bool:
    if rule.categories is not None:
        asked = question.categories if rule.row.information == "anonymous" else question.personal
        if not asked <= rule.categories:
            return False
    return rule.row.any_category is None or not question.categories.isdisjoint(rule.row.any_category)


def _fits(rule: Rule, question: Question, case: Case) -> bool:
    return _purpose_fits(rule, question) and _categories_fit(rule, question) and _about(rule, question, case)


def may_bear_on(rule: Rule, question: Question) -> bool:
    """Whether a row can have a part in the answer, whatever is on record: decide it, or be named as nearest to it."""
    if not _purpose_fits(rule, question):
        return False
    if _categories_fit(rule, question) and _says_itself_about(rule, question):
        return True
    return isinstance(rule.row, pk.Permit) and _nearly(rule, question)


# -- the tiers ---------------------------------------------------------------------------------------------------------


def _law(rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict | None:
    for rule in rules.law:
        if not _fits(rule, question, case):
            continue
        row = rule.row
        assert isinstance(row, pk.Permit)
        found = [check(need, case, question, now, pack) for need in row.needs]
        if all(one.holds for one in found):
            return _permitted([rule.clause], found, "the law requires it")
        if not row.falls_through:
            failed = [one for one in found if not one.holds]
            return _denied([rule.clause], failed, "what the law requires must be limited to what is needed")
    return None


def _forbidden(rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict | None:
    clauses: list[str] = []
    found: list[Finding] = []
    for rule in rules.forbid:
        if not _fits(rule, question, case) or rule.clause in clauses:
            continue
        row = rule.row
        assert isinstance(row, pk.Forbid)
        when = [check(need, case, question, now, pack) for need in row.when]
        if not all(one.holds for one in when):
            continue
        if row.unless and all(check(need, case, question, now, pack).holds for need in row.unless):
            continue
        clauses.append(rule.clause)
        found += when
    return _denied(clauses, found, "forbidden whatever was consented") if clauses else None


def _allowed(rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    several = len(question.categories) > 1
    if question.action == "collect" and several:
        return _each(rules, pack, case, question, now)
    fitting = [rule for rule in rules.permit if _fits(rule, question, case)]
    top = [rule for rule in fitting if rule.narrow == fitting[0].narrow]
    free = any(isinstance(rule.row, pk.Permit) and rule.row.unrestricted for rule in top)
    gates = [] if free else [rule for rule in rules.gate if _fits(rule, question, case)]
    gated: list[Finding] = []
    for rule in gates:
        assert isinstance(rule.row, pk.Gate)
        found = [check(need, case, question, now, pack) for need in rule.row.needs]
        if not all(one.holds for one in found):
            return _denied([rule.clause], [one for one in found if not one.holds], "")
        gated += found
    fresh = None
    touched = not free and not question.anonymous and question.action in ("use", "contact", "disclose")
    if touched and question.purpose in case.world.new_uses:
        fresh = new_use(case.state, case.world, case.packs, question, now, case.versions)
    if fresh is not None and not fresh.open:
        return Verdict("deny", fresh.clauses, fresh.because, [fresh.says])
    if top:
        verdict = _weigh(top, pack, case, question, now)
    elif fresh is not None and question.action != "disclose":
        said = _word_beside(pack, case, question, now)
        verdict = Verdict("permit", list(fresh.clauses), list(fresh.because), [fresh.says])
        verdict = _objected(said, fresh.clauses) if isinstance(said, No) else verdict
        return _with_gates(verdict, gates, gated)
    else:
        if several and question.action in ("use", "disclose") and not question.anonymous:
            apart = _each(rules, pack, case, question, now)  # no row is about all of it: each by its own
            if apart.outcome == "permit":
                return apart
        return _nothing_permits(rules, pack, case, question, now)
    if fresh is not None and verdict.outcome == "permit":
        verdict.clauses += [clause for clause in fresh.clauses if clause not in verdict.clauses]
        verdict.because += [ref for ref in fresh.because if ref not in verdict.because]
    return _with_gates(verdict, gates, gated)


def _with_gates(verdict: Verdict, gates: list[Rule], found: list[Finding]) -> Verdict:
    if verdict.outcome == "permit":
        verdict.clauses += [rule.clause for rule in gates if rule.clause not in verdict.clauses]
        for one in found:
            verdict.because += [ref for ref in one.because if ref not in verdict.because]
    return verdict


def _each(rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    """What is about several categories is permitted if each of them is; anonymous ones go with personal ones."""
    clauses: list[str] = []
    because: list[Ref] = []
    phrases: list[str] = []
    for category in sorted(question.categories if question.action == "collect" else question.personal):
        verdict = _allowed(rules, pack, case, question.narrowed(category, pack), now)
        if verdict.outcome != "permit":
            if verdict.phrases == [NOTHING]:  # of the rows that could have, those that do for its other categories
                asked = question.categories
                near = [rule.clause for rule in rules.permit if rule.categories and rule.categories & asked]
                verdict.clauses = [clause for clause in verdict.clauses if clause in near] or verdict.clauses
            verdict.phrases.insert(0, category)
            return verdict
        clauses += [clause for clause in verdict.clauses if clause not in clauses]
        because += [ref for ref in verdict.because if ref not in because]
        phrases += [phrase for phrase in verdict.phrases if phrase not in phrases]
    order = {clause: number for number, clause in enumerate(pack.ids)}
    return Verdict("permit", sorted(clauses, key=order.__getitem__), because, phrases)


def _weigh(top: list[Rule], pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    """The equally narrow rows that fit best: each must permit."""
    passed: list[Finding] = []
    clauses: list[str] = []
    denials: list[Verdict] = []
    for rule in top:
        row = rule.row
        assert isinstance(row, pk.Permit)
        said = None if row.despite_no else _word_beside(pack, case, question, now, row)
        if isinstance(said, No):
            denials.append(_objected(said, [rule.clause], row))
            continue
        found = [check(need, case, question, now, pack) for need in row.needs]
        failed = [one for one in found if not one.holds]
        if failed:
            denials.append(_refused(rule, row, failed))
            continue
        if row.on_record_from is not None:
            refs = [case.state.collected[category].first for category in sorted(question.personal)]
            found.append(Finding(True, list(dict.fromkeys(refs)), "on record from other sources only"))
        if isinstance(said, Yes) and said.over is not None:
            found.append(Finding(True, said.refs, f"said yes on {day(said.ref)}{despite(said)}"))
        passed += found
        clauses += [rule.clause] if rule.clause not in clauses else []
    if not denials:
        verdict = _permitted(clauses, passed, "")
        if not verdict.phrases:
            title = pack.ids[clauses[0]].title
            verdict.phrases = [title[:1].lower() + title[1:]]
        return verdict
    merged = denials[0]
    for other in denials[1:]:
        merged.clauses += [clause for clause in other.clauses if clause not in merged.clauses]
        merged.because += [ref for ref in other.because if ref not in merged.because]
    return merged


def _refused(rule: Rule, row: pk.Permit, failed: list[Finding]) -> Verdict:
    objection = next((one.objection for one in failed if one.objection), None)
    clause = objection.clause if objection and objection.clause else rule.clause
    verdict = _denied([clause, *(also for one in failed for also in one.also if also != clause)], failed, "")
    if objection is not None and row.consequence:
        verdict.consequences = [(rule.clause, row.consequence)]
    return verdict


def _word_beside(
    pack: pk.Pack, case: Case, question: Question, now: int, row: pk.Permit | None = None
) -> Yes | No | None:
    """The person's word, where a row does not itself look at it on its own terms."""
    if row is not None and any(isinstance(need, cn.OptIn) for need in row.needs):
        return None
    return heeded(word(case.state, question, now, pack, PLAIN, case.world), case, question, now, pack, PLAIN)


def _objected(said: No, clauses: list[str], row: pk.Permit | None = None) -> Verdict:
    """The denial by the person's no."""
    needs = row.needs if row is not None else []
    own = any(isinstance(need, cn.AnyOptIn) for need in needs)  # the clause itself says who may get it
    carried = [said.clause] if said.clause and not own else list(clauses)
    verdict = Verdict("deny", carried, said.refs, [no_in_words(said)])
    if row is not None and row.consequence:
        verdict.consequences = [(clauses[0], row.consequence)]
    return verdict


def _nothing_permits(rules: Rules, pack: pk.Pack, case: Case, question: Question, now: int) -> Verdict:
    """Denied, with the rows that could have permitted."""
    said = _word_beside(pack, case, question, now) if question.action == "contact" else None
    if isinstance(said, No) and said.clause:
        return _objected(said, [])
    near = [rule for rule in (*rules.law, *rules.permit) if _nearly(rule, question) and _purpose_fits(rule, question)]
    named = [rule for rule in near if rule.row.recipient_class is not None or rule.row.recipient is not None]
    near = named or near  # a row about this recipient comes nearer than one about whomever
    fitting = [rule for rule in near if _categories_fit(rule, question)]
    if fitting or not (named or question.action == "collect"):
        near = fitting  # what lists other categories could not have, but where it is the list that decides
    best = max((rule.narrow for rule in near), default=0)
    clauses: list[str] = []
    for rule in near:
        if rule.narrow == best and rule.clause not in clauses:
            clauses.append(rule.clause)
    lacks = question.purpose is None and question.action in WIDE and any(rule.purposes for rule in rules.permit)
    return Verdict("deny", clauses, [], [*(["the question names no purpose"] if lacks else []), NOTHING])


def _nearly(rule: Rule, question: Question) -> bool:
    """Whether a row would be about the question if purpose or categories were others."""
    row = rule.row
    if row.ground is not None and question.ground not in row.ground:
        return False
    special = row.announces or row.on_record_from or row.origin
    return special is None and _aimed_at(row, question)


def _permitted(clauses: list[str], found: list[Finding], says: str) -> Verdict:
    verdict = Verdict("permit", list(clauses), [], [says] if says else [])
    for one in found:
        verdict.clauses += [clause for clause in one.clauses if clause not in verdict.clauses]
        verdict.because += [ref for ref in one.because if ref not in verdict.because]
        verdict.phrases += [one.says] if one.says else []
    return verdict


def _denied(clauses: list[str], found: list[Finding], says: str) -> Verdict:
    verdict = Verdict("deny", list(clauses), [], [])
    for one in found:
        verdict.because += [ref for ref in one.because if ref not in verdict.because]
        text = no_in_words(one.objection) if one.objection else one.says
        verdict.phrases += [text] if text else []
    if says and not verdict.phrases:
        verdict.phrases = [says]
    return verdict
