"""What others said who have the same address: a no to messages binds the address, whoever else has it.

Source: contract, section 2, "A no to messages binds". It is heeded at one place, after the person's own word: for the
pack's marketing purposes, by the channels of the address, until a later express yes of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from ledger.pack import Pack
from projections.choices import PLAIN, No, Yes, moments, word
from projections.question import Question
from projections.record import State

if TYPE_CHECKING:
    from projections.needs import Case

_NOT_THEIR_OWN: Final = ("system", "operator")  # actors whose yes is no word of the person


@dataclass(frozen=True, slots=True)
class Bound:
    """Noes that bind an address of the person, as the state of whoever said them, without their other noes.

    `channels`: those of the address. `since`: the moment since which it is the person's own, too.
    """

    state: State
    channels: tuple[str, ...]
    since: int


@dataclass(frozen=True, slots=True)
class OthersNo(No):
    """A no that stands because somebody else said it, who has the same address."""


def heeded(said: Yes | No | None, case: Case, question: Question, now: int, pack: Pack) -> Yes | No | None:
    """The person's word, or the newest no of others that binds an address of theirs and that it does not answer."""
    if isinstance(said, No) or question.action != "contact" or not pack.addresses_bind:
        return said
    if question.purpose is not None and question.purpose not in pack.marketing:
        return said
    found: No | None = None
    for bound in case.others():
        if question.channel is not None and question.channel not in bound.channels:
            continue
        no = word(bound.state, question, now, pack, PLAIN, case.world)
        if isinstance(no, No) and not _answers(said, no, bound) and (found is None or no.order > found.order):
            found = no
    return said if found is None else OthersNo(**{one.name: getattr(found, one.name) for one in fields(No)})


def _answers(said: Yes | None, no: No, bound: Bound) -> bool:
    """Whether a yes is the person's own, later than the no, and not of before the address was theirs."""
    if said is None or not said.choice.express or said.choice.actor in _NOT_THEIR_OWN:
        return False
    return said.choice.order > no.order and said.ref.time >= bound.since


def others_moments(case: Case, after: int, pack: Pack) -> set[int]:
    """The moments after `after` at which what others said ends or takes effect by time alone."""
    if not pack.addresses_bind:
        return set()
    return {moment for bound in case.others() for moment in moments(bound.state, after, pack)}
