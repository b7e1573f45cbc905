"""The conditions that clauses name: each a pure function of a case, a question and a moment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

from consent_ledger.ledger.events.acts import SuppressionCarried
from consent_ledger.ledger.intake.persons import minor_until
from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.times import DAY, FOREVER, after_months, format_time
from consent_ledger.projections.decision.addresses import OthersNo, heeded
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.choices import (
    No,
    Terms,
    Yes,
    any_opt_in,
    confirmed_by,
    ended_instead,
    ends,
    lapse_moments,
    last_word,
    newest_yes,
    word,
    yes_to_collect,
)
from consent_ledger.projections.decision.patterns import first_of
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.refs import Ref, same_list
from consent_ledger.projections.fold.world import World


@dataclass(slots=True)
class Finding:
    """Whether a condition holds, because of what, in words; `objection` where it fails by the person's no.

    `clauses` are cited where it holds, `also` where it does not, beside the row's own.
    """

    holds: bool
    because: list[Ref] = field(default_factory=list)
    says: str = ""
    clauses: list[str] = field(default_factory=list)
    objection: No | None = None
    also: list[str] = field(default_factory=list)


def day(ref: Ref) -> str:
    """The date of an entry."""
    return format_time(ref.time)[:10]


def terms_of(need: cn.OptIn) -> Terms:
    """How a clause that needs an opt-in looks at a yes."""
    within = need.confirmed_within_days
    return Terms(
        "list" in need.per,
        "item" in need.named,
        need.basis == "any",
        need.actor,
        None if within is None else within * DAY,
    )


def check(  # noqa: C901, PLR0911, PLR0912  one flat match
    need: cn.Need, case: Case, question: Question, now: int, pack: Pack
) -> Finding:
    """Whether one condition holds."""
    state = case.state
    match need:
        case cn.OptIn():
            return _opt_in(need, case, question, now, pack)
        case cn.AnyOptIn():
            choice = any_opt_in(state, now, pack, case.world)
            if choice is None:
                return Finding(False, says="no opt-in to any communication in force")
            return Finding(True, [choice.ref], f"opted in to some communication on {day(choice.ref)}")
        case cn.Quiet():
            return _quiet(need, case, question, now, pack)
        case cn.OnRecord():
            return _on_record(need.fact, case, question, pack)
        case cn.RecipientAgreement():
            return _agreement(need, case, question)
        case cn.ServiceAgreement():
            return _term(case, question)
        case cn.NamedService():
            return _named_service(case, question)
        case cn.OwnCompany():
            return _own_company(case, question)
        case cn.TransferNotice():
            return _transfer_notice(case, question)
        case cn.ActiveAccount():
            return _active(need, case, question)
        case cn.CategoriesListed():
            listed = bool(question.categories)
            return Finding(listed, says="the categories are listed" if listed else "no categories are listed")
        case cn.Credit():
            return _credit(need, state)
        case cn.AnyOf():
            tried = [check(one, case, question, now, pack) for one in need.of]
            good = next((one for one in tried if one.holds), None)
            return good or next((one for one in tried if one.objection), tried[-1])
        case cn.Minor():
            return _minor(need, state, now, pack)
        case cn.Deleted():
            return _deleted(state, question, now, pack)
        case cn.DeletionAsked():
            asked = state.deletion_asked
            return Finding(asked is not None, [asked] if asked else [], "asked for deletion")
        case _:
            assert_never(need)


def _own_company(case: Case, question: Question) -> Finding:
    of, recipient = case.state.of, question.recipient
    holds = of is not None and recipient is not None and case.person_of(recipient) == of
    registered = case.state.facts.get(("subject.registered", None))
    what = "the person's own company" if holds else "not the person's own company"
    return Finding(holds, [registered] if registered else [], what)


def _opt_in(need: cn.OptIn, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    terms = terms_of(need)
    said = word(case.state, question, now, pack, terms, case.world)
    if said is None and question.action == "collect" and question.purpose is None:
        said = yes_to_collect(case.state, question, now, pack, terms, case.world)
    said = heeded(said, case, question, now, pack, terms)
    match said:
        case Yes():
            return _opted_in(said, question, now, pack, terms)
        case No():
            return Finding(False, said.refs, "said no", objection=said)
        case None:
            return _no_opt_in(need, case, question, now, pack)
        case _:
            assert_never(said)


def _opted_in(said: Yes, question: Question, now: int, pack: Pack, terms: Terms) -> Finding:
    what = f"opted in to {question.list}" if question.list else "opted in"
    refs = said.refs
    if terms.confirmed_within is not None:
        by = confirmed_by(said.choice, question, now, terms.confirmed_within, pack)
        refs = list(dict.fromkeys([*refs, by.first, by.answered]))
        what += f" on {day(by.first)} and confirmed it"
    return Finding(True, refs, f"{what} on {day(said.ref)}{despite(said)}")


def despite(said: Yes) -> str:
    """In words, the no that a yes has overcome."""
    return "" if said.over is None else f", after {no_in_words(said.over)}"


def no_in_words(no: No) -> str:
    """A no as a phrase."""
    if isinstance(no, OthersNo):
        return f"somebody with the same address {no_in_words(no.said)}"
    if no.ref.type == SuppressionCarried.type:
        return f"opted out{f' of {no.scope}' if no.scope else ''} before an erasure, carried over on {day(no.ref)}"
    if no.scope is None:
        return f"{'refused' if no.ref.type == 'consent.refused' else 'took the consent back'} on {day(no.ref)}"
    what = f" ({no.name})" if no.name else ""
    return f"opted out of {no.scope}{what} on {day(no.ref)}"


def _no_opt_in(need: cn.OptIn, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    """Why there is none: never said, not confirmed, ended, lapsed, or of before a deletion."""
    if ref := ended_instead(case.state, question, now, pack, terms_of(need), case.world):
        return Finding(False, [ref], f"the opt-in of {day(ref)} ended, and none of before it counts in its place")
    if choice := newest_yes(case.state, question, pack, terms_of(need)):
        end = ends(choice, pack)
        if end is not None and end <= now:
            by = [clause for clause, moment in lapse_moments(choice, pack) if moment == end]
            text = f"the opt-in of {day(choice.ref)} counted until {format_time(end)[:10]}"
            return Finding(False, [choice.ref], text, also=by)
        if choice.order <= case.state.deleted_upto:
            last = case.state.deletions[-1]
            text = f"the opt-in of {day(choice.ref)} was of before the deletion of {day(last)}"
            return Finding(False, [choice.ref, last], text)
    if need.confirmed_within_days is not None:
        terms = replace(terms_of(need), confirmed_within=None)
        choice = newest_yes(case.state, question, pack, terms)
        if choice is not None and not choice.confirms:
            return Finding(False, [choice.ref], f"the opt-in of {day(choice.ref)} was not confirmed")
        if choice is not None:
            return Finding(False, [choice.ref], f"the opt-in of {day(choice.ref)} was confirmed too late")
    return Finding(False, says="no opt-in on record")


def _quiet(need: cn.Quiet, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    yes, no = last_word(case.state, question, pack)
    asked = _last_asked(need, case.state, question)
    for ref, what in ((no, "said no"), (asked, "was asked")):
        if ref is None or (ref is asked and yes is not None and yes.order > ref.order):
            continue
        if now < after_months(ref.time, need.months):
            return Finding(True, [ref], f"{what} on {day(ref)}, less than {need.months} months before")
    return Finding(False, says="has not said no lately")


def _last_asked(need: cn.Quiet, state: State, question: Question) -> Ref | None:
    about = (question.purpose, same_list(question.list), question.item)
    return state.asked.get(about) if need.unanswered else None


Clock = cn.Quiet | cn.Minor | cn.Deleted  # conditions that change by time alone


def ticks(need: Clock, pack: Pack) -> bool:
    """Whether it does by this pack."""
    return isinstance(need, cn.Quiet) or (pack.ages.grow if isinstance(need, cn.Minor) else bool(pack.keeps))


def clock_ends(need: Clock, case: Case, question: Question, pack: Pack) -> list[int]:
    """The moments at which such a condition may change by time alone."""
    match need:
        case cn.Quiet():
            return quiet_ends(need, case, question, pack)
        case cn.Minor():
            return grown_up(need, case, pack)
        case cn.Deleted():
            return kept_until(case, pack)
        case _:
            assert_never(need)


def quiet_ends(need: cn.Quiet, case: Case, question: Question, pack: Pack) -> list[int]:
    """The moments at which such a condition stops to hold by time alone."""
    _, no = last_word(case.state, question, pack)
    asked = _last_asked(need, case.state, question)
    return [after_months(ref.time, need.months) for ref in (no, asked) if ref is not None]


def _on_record(fact: str, case: Case, question: Question, pack: Pack) -> Finding:
    clause, define = next((c, d) for c in pack.clause for d in c.define if d.fact == fact)
    for pattern in define.events:
        value = getattr(question, pattern.same) if pattern.same else pattern.value
        if pattern.same and value is None:
            continue
        ref = first_of(case.state, pattern, value, fresh=define.lapses)
        if ref is not None:
            return Finding(True, [ref], f"{define.says} on {day(ref)}", [clause.id])
    return Finding(False, says=f"nothing on record that the person {define.says}", clauses=[clause.id])


def _agreement(need: cn.RecipientAgreement, case: Case, question: Question) -> Finding:
    key = (question.recipient or "", need.kind)
    signed = case.world.agreements.get(key)
    if signed is not None:
        return Finding(True, [signed], f"{need.kind} agreement signed on {day(signed)}")
    ended = case.world.agreements_ended.get(key)
    return Finding(False, [ended] if ended else [], f"no {need.kind} agreement in force")


def _term(case: Case, question: Question) -> Finding:
    states = [case.state]
    of = case.state.of if case.state.kind == "employee" else None
    if of is not None and (customer := case.customer(of)):
        states.append(customer)
    for state in states:
        terms = [state.terms.get(question.service)] if question.service else list(state.terms.values())
        started = next((ref for ref in terms if ref is not None), None)
        if started is not None:
            return Finding(True, [started], f"an agreement in force since {day(started)}")
    ended = [state.ended for state in states if state.ended is not None]
    return Finding(False, ended[:1], "no service agreement in force")


def _named_service(case: Case, question: Question) -> Finding:
    recipient = case.world.recipients.get(question.recipient or "")
    if recipient is None or recipient.service is None:
        return Finding(False, [recipient.ref] if recipient else [], "no service was named for this recipient")
    if recipient.service != question.purpose:
        return Finding(False, [recipient.ref], f"registered for {recipient.service} and for nothing else")
    if recipient.categories is not None and not question.categories:
        return Finding(False, [recipient.ref], "everything is more than its service needs")
    if recipient.categories is not None and not question.personal <= recipient.categories:
        return Finding(False, [recipient.ref], "more than its service needs")
    return Finding(True, [recipient.ref], f"registered for {recipient.service}")


def told_of_transfer(state: State, world: World, name: str) -> Ref | None:
    """The first notice of a transfer that reached the person: a posting or a message. None before."""
    transfer = world.transfers.get(name)
    posted = transfer.ref if transfer is not None and transfer.posted else None
    message = state.facts.get(("ownership.transfer.notified", name))
    return min((one for one in (posted, message) if one is not None), key=lambda one: one.order, default=None)


def transfer_moment(state: State, world: World, name: str, effective_at: int) -> int:
    """As of when a transfer is judged: when it takes effect, or when the person was told, where that was later.

    `state` and `world`: as of when it is asked. Source: contract, section 2. Anything that denies before a late notice
    does so afterwards, too.
    """
    told = told_of_transfer(state, world, name)
    return effective_at if told is None else max(effective_at, told.time)


def _transfer_notice(case: Case, question: Question) -> Finding:
    transfer = case.world.transfers.get(question.transfer or "")
    if transfer is not None and transfer.posted:
        return Finding(True, [transfer.ref], f"announced by a posting on {day(transfer.ref)}")
    notified = case.state.facts.get(("ownership.transfer.notified", question.transfer))
    if notified is not None:
        return Finding(True, [notified], f"told on {day(notified)}")
    return Finding(False, [transfer.ref] if transfer else [], "neither a posting nor a message on record")


def _active(need: cn.ActiveAccount, case: Case, question: Question) -> Finding:
    state = case.latest() if need.until == "ever" and case.latest is not None else case.state
    gone = state.deactivated
    name = question.transfer or ""
    transfer = case.world.transfers.get(name)
    until = transfer_moment(state, case.world, name, transfer.effective_at) if transfer is not None else None
    if gone is None or (need.until == "effective" and until is not None and gone.time >= until):
        return Finding(True, says="not deactivated before the transfer")
    return Finding(False, [gone], f"deactivated on {day(gone)}")


def _credit(need: cn.Credit, state: State) -> Finding:
    on_record = state.collected.get(need.category)
    if on_record is None:
        return Finding(False, says="no message is left")
    unsorted = state.unsorted_messages.get(need.purpose)
    if unsorted is not None and unsorted.order > on_record.last.order:
        return Finding(False, [unsorted], "no message is left")
    if on_record.credit < 1:
        return Finding(False, [on_record.spent] if on_record.spent else [], "no message is left")
    return Finding(True, [on_record.last], "one message for each address given")


def _minor(need: cn.Minor, state: State, now: int, pack: Pack) -> Finding:
    told = [track.age for track in state.tracks.values() if track.age is not None]
    for age, under, guardian, ref in sorted(told, key=lambda one: one[3].order):
        until = minor_until(need, (age, under, guardian), ref.time, grow=pack.ages.grow)
        if until is None or now >= until:
            continue
        young = minor_until(need, (age, under, False), ref.time, grow=pack.ages.grow)
        if young is not None and now < young:
            return Finding(True, [ref], f"known since {day(ref)} to be under {need.under}")
        return Finding(True, [ref], f"known since {day(ref)} to need a guardian's consent")
    return Finding(False)


def grown_up(need: cn.Minor, case: Case, pack: Pack) -> list[int]:
    """The moments from which somebody is no minor any more, by their age alone."""
    told = [track.age for track in case.state.tracks.values() if track.age is not None]
    found = [minor_until(need, one[:3], one[3].time, grow=pack.ages.grow) for one in told]
    return [until for until in found if until is not None and until < FOREVER]


def _deleted(state: State, question: Question, now: int, pack: Pack) -> Finding:
    if not state.deletions:
        return Finding(False)
    last = state.deletions[-1]
    gone = not state.returned
    if question.personal:
        gone = any(_gone(category, state, question, now, pack) for category in question.personal)
    return Finding(gone, [last], f"deleted on {day(last)}")


def came_back(back: Ref, case: Case, question: Question, now: int, pack: Pack) -> tuple[list[Ref], str]:
    """By what it is not deleted any more, in entries and in words: what came of the person since, what came again.

    Requires a deletion, and in `back` the first that came after it.
    """
    state, deleted = case.state, case.state.deletions[-1]
    asked = [one for one in sorted(question.personal) if not _kept(one, state, question, now, pack)]
    again = [one for one in asked if (on_record := state.collected.get(one)) is not None and on_record.again]
    because, says = [], []
    if len(again) < len(asked) or not question.personal:
        because.append(back)
        says.append(f"came back on {day(back)}")
    for category in again:
        ref = state.collected[category].first
        because += [ref] if ref not in because else []
        says.append(f"{category} was told again on {day(ref)}")
    if not because:
        return [], ""  # all of it was left
    return [*because, deleted], f"{' and '.join(says)}, after what was deleted on {day(deleted)}"


def _kept(category: str, state: State, question: Question, now: int, pack: Pack) -> bool:
    """Whether a deletion left a category for this purpose."""
    kept = state.kept.get(category)
    return kept is not None and any(
        category in keep.categories and question.purpose in keep.purpose and now < keep.ends(kept.time)
        for _, keep in pack.keeps
    )


def _gone(category: str, state: State, question: Question, now: int, pack: Pack) -> bool:
    """Whether a deletion took it: not what was left for this purpose, nor what came since."""
    if _kept(category, state, question, now, pack):
        return False
    on_record = state.collected.get(category)
    return not state.returned or (on_record is not None and not on_record.current)


def kept_until(case: Case, pack: Pack) -> list[int]:
    """The moments from which something that a deletion left is gone as well."""
    return [
        keep.ends(ref.time)
        for category, ref in case.state.kept.items()
        for _, keep in pack.keeps
        if category in keep.categories
    ]
