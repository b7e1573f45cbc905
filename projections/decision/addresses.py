"""What others said who have the same address: a no to messages binds the address, whoever else has it.

Source: contract, section 2, "A no to messages binds". It is heeded at one place, after the person's own word: for the
pack's marketing purposes, by the channels of the address, until a later express yes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.projections.decision.case import Bound, Case
from consent_ledger.projections.decision.choices import PLAIN, No, Terms, Yes, moments, word
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.record import Choice

OWN: Final = ("subject", "guardian")  # actors whose word is the person's


@dataclass(frozen=True, slots=True)
class OthersNo(No):
    """A no that stands because somebody else said it, who has the same address."""

    @property
    def said(self) -> No:
        """It, as they said it."""
        return No(*(getattr(self, one.name) for one in fields(No)))


def heeded(
    said: Yes | No | None, case: Case, question: Question, now: int, pack: Pack, terms: Terms
) -> Yes | No | None:
    """The person's word, or the newest no of others that binds an address of theirs and that it does not answer.

    `terms`: how a yes of theirs is looked at.
    """
    if isinstance(said, No) or question.action != "contact" or not pack.addresses_bind:
        return said
    if question.purpose is not None and question.purpose not in pack.marketing:
        return said
    noes: list[tuple[No, Bound]] = []
    for bound in case.others():
        if question.channel is None or question.channel in bound.channels:
            no = word(bound.state, question, now, pack, PLAIN, case.world)
            noes += [(no, bound)] if isinstance(no, No) else []
    yeses = _own(case, question, now, pack, terms) if noes and said is not None else []
    standing = [no for no, bound in noes if not any(_answers(yes, no, bound) for yes in yeses)]
    if not standing:
        return said
    newest = max(standing, key=lambda no: no.order)
    return OthersNo(*(getattr(newest, one.name) for one in fields(No)))


def _own(case: Case, question: Question, now: int, pack: Pack, terms: Terms) -> list[Choice]:
    """The express yeses to the question that are the person's own, the newest of each actor."""
    actors = OWN if terms.actor is None else [one for one in OWN if one == terms.actor]
    found = (word(case.state, question, now, pack, replace(terms, actor=one), case.world) for one in actors)
    return [yes.choice for yes in found if isinstance(yes, Yes) and yes.choice.express]


def _answers(yes: Choice, no: No, bound: Bound) -> bool:
    """Whether a yes is later than the no, and not of before the address was theirs."""
    return yes.order > no.order and yes.ref.time >= bound.since


def others_moments(case: Case, after: int, pack: Pack) -> set[int]:
    """The moments after `after` at which what others said ends or takes effect by time alone."""
    if not pack.addresses_bind:
        return set()
    return {moment for bound in case.others() for moment in moments(bound.state, after, pack)}
