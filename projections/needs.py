"""The conditions that clauses name: each a pure function of a case, a question and a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import assert_never

from ledger import conditions as cn
from ledger.pack import Pack
from ledger.times import DAY, after_months, format_time
from projections.addresses import Bound, heeded
from projections.choices import (
    No,
    Terms,
    Yes,
    any_opt_in,
    ends,
    lapse_moments,
    last_word,
    newest_yes,
    word,
    yes_to_collect,
)
from projections.question import Question, Ref
from projections.record import State
from projections.versions import InForce, Packs, in_force
from projections.world import World


@dataclass(slots=True)
class Case:
    """Everything an answer may look at: the person and the controller as of a moment, and who can be asked."""

    state: State
    world: World
    packs: Packs
    customer: Callable[[str], State | None] = lambda _: None  # another person, as of the same moment
    person_of: Callable[[str], str | None] = lambda _: None  # the identifier of a name
    latest: Callable[[], State] | None = None  # the person by all that is known, whenever it happened
    others: Callable[[], list[Bound]] = list  # noes of others that bind an address of the person
    stopped: Callable[[], dict[str, Ref]] = dict  # channels by which nothing reaches the person any more
    _versions: list[InForce] | None = field(default=None)

    @property
    def versions(self) -> list[InForce]:
        if self._versions is None:
            self._versions = in_force(self.state, self.world, self.packs)
        return self._versions


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


def check(need: cn.Need, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    """Whether one condition holds."""
    state = case.state
    match need:
        case cn.OptIn():
            return _opt_in(need, case, question, now, pack)
        case cn.AnyOptIn():
            choice = any_opt_in(state, now, pack)
            return Finding(choice is not None, [choice.ref] if choice else [], "an opt-in to some communication")
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
            own = state.of is not None and question.recipient is not None
            holds = own and case.person_of(question.recipient or "") == state.of
            return Finding(holds, _first(state, "subject.registered"), "the person's own company")
        case cn.TransferNotice():
            return _transfer_notice(case, question)
        case cn.ActiveAccount():
            return _active(need, case, question)
        case cn.CategoriesListed():
            return Finding(bool(question.categories), says="the categories are listed")
        case cn.Credit():
            return _credit(need, state)
        case cn.AnyOf():
            tried = [check(one, case, question, now, pack) for one in need.of]
            good = next((one for one in tried if one.holds), None)
            return good or next((one for one in tried if one.objection), tried[-1])
        case cn.Minor():
            return _minor(need, state)
        case cn.Deleted():
            return _deleted(state, question)
        case cn.DeletionAsked():
            asked = state.deletion_asked
            return Finding(asked is not None, [asked] if asked else [], "asked for deletion")
        case _:
            assert_never(need)


def _first(state: State, type_name: str) -> list[Ref]:
    ref = state.facts.get((type_name, None))
    return [ref] if ref else []


def _opt_in(need: cn.OptIn, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    terms = terms_of(need)
    said = word(case.state, question, now, pack, terms)
    if said is None and question.action == "collect" and question.purpose is None:
        choice = yes_to_collect(case.state, question, now, pack, terms)
        said = None if choice is None else Yes(choice)
    said = heeded(said, case, question, now, pack)
    match said:
        case Yes():
            what = f"opted in to {question.list}" if question.list else "opted in"
            confirmed = " and confirmed it" if need.confirmed_within_days is not None else ""
            return Finding(True, [said.ref], f"{what}{confirmed} on {day(said.ref)}")
        case No():
            return Finding(False, [said.ref], "said no", objection=said)
        case None:
            return _no_opt_in(need, case, question, now, pack)
        case _:
            assert_never(said)


def _no_opt_in(need: cn.OptIn, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    """Why there is none: never said, not confirmed, or lapsed."""
    if pack.lapses and (choice := newest_yes(case.state, question, terms_of(need))):
        end = ends(choice, pack)
        by = [clause for clause, moment in lapse_moments(choice, pack) if moment == end]
        if end is not None and end <= now and by:
            text = f"the opt-in of {day(choice.ref)} counted until {format_time(end)[:10]}"
            return Finding(False, [choice.ref], text, also=by)
    if need.confirmed_within_days is not None:
        terms = replace(terms_of(need), confirmed_within=None)
        choice = newest_yes(case.state, question, terms)
        if choice is not None and choice.confirms is None:
            return Finding(False, [choice.ref], f"the opt-in of {day(choice.ref)} was not confirmed")
        if choice is not None:
            return Finding(False, [choice.ref], f"the opt-in of {day(choice.ref)} was confirmed too late")
    return Finding(False, says="no opt-in on record")


def _quiet(need: cn.Quiet, case: Case, question: Question, now: int, pack: Pack) -> Finding:
    yes, no = last_word(case.state, question, pack)
    asked = case.state.asked.get((question.purpose, question.list, question.item)) if need.unanswered else None
    for ref, what in ((no, "said no"), (asked, "was asked")):
        if ref is None or (ref is asked and yes is not None and yes.order > ref.order):
            continue
        if now < after_months(ref.time, need.months):
            return Finding(True, [ref], f"{what} on {day(ref)}, less than {need.months} months before")
    return Finding(False, says="has not said no lately")


def quiet_ends(need: cn.Quiet, case: Case, question: Question, pack: Pack) -> list[int]:
    """The moments at which such a condition stops to hold by time alone."""
    _, no = last_word(case.state, question, pack)
    asked = case.state.asked.get((question.purpose, question.list, question.item)) if need.unanswered else None
    return [after_months(ref.time, need.months) for ref in (no, asked) if ref is not None]


def _on_record(fact: str, case: Case, question: Question, pack: Pack) -> Finding:
    clause, define = next((c, d) for c in pack.clause for d in c.define if d.fact == fact)
    record = case.state.fresh if define.lapses else case.state.facts
    for pattern in define.events:
        value = getattr(question, pattern.same) if pattern.same else pattern.value
        if pattern.same and value is None:
            continue
        ref = record.get((pattern.type, value))
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
    employee = case.state.kind == "employee" and case.state.of is not None
    if employee and (customer := case.customer(case.state.of or "")):
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


def _transfer_notice(case: Case, question: Question) -> Finding:
    transfer = case.world.transfers.get(question.transfer or "")
    if transfer is not None and transfer.posted:
        return Finding(True, [transfer.ref], f"announced by a posting on {day(transfer.ref)}")
    notified = case.state.facts.get(("ownership.transfer.notified", question.transfer))
    if transfer is not None and notified is not None:
        return Finding(True, [notified], f"told on {day(notified)}")
    return Finding(False, [transfer.ref] if transfer else [], "neither a posting nor a message on record")


def _active(need: cn.ActiveAccount, case: Case, question: Question) -> Finding:
    state = case.latest() if need.until == "ever" and case.latest is not None else case.state
    gone = state.deactivated
    transfer = case.world.transfers.get(question.transfer or "")
    if gone is None or (need.until == "effective" and transfer is not None and gone.time >= transfer.effective_at):
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


def _minor(need: cn.Minor, state: State) -> Finding:
    told = [track.age for track in state.tracks.values() if track.age is not None]
    for age, under, guardian, ref in sorted(told, key=lambda one: one[3].order):
        young = (age is not None and age < need.under) or (under is not None and under <= need.under)
        if young:
            return Finding(True, [ref], f"known since {day(ref)} to be under {need.under}")
        if need.guardian and guardian:
            return Finding(True, [ref], f"known since {day(ref)} to need a guardian's consent")
    return Finding(False)


def _deleted(state: State, question: Question) -> Finding:
    if not state.deletions:
        return Finding(False)
    last = state.deletions[-1]
    gone = not state.returned
    if not gone:
        gone = any(
            not state.collected[category].current for category in question.personal if category in state.collected
        )
    return Finding(gone, [last], f"deleted on {day(last)}")
