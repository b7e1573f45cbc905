"""What the door asks before an event is recorded, answered by the same functions as a decision."""

from __future__ import annotations

from typing import Final

from consent_ledger.ledger.events.catalogue import TYPES
from consent_ledger.ledger.intake.parse import Prepared
from consent_ledger.ledger.intake.persons import joined_in, linked, stream_entries
from consent_ledger.ledger.log.entry import controller_stream
from consent_ledger.ledger.policy.conditions import Need
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.decision.conditions import check
from consent_ledger.projections.decision.question import Question, classify
from consent_ledger.projections.fold.state import fold
from consent_ledger.projections.fold.world import fold_world

# no condition looks at what was done, of which there may be much: that is not read while the store is locked
_DONE: Final = frozenset(
    ("message.sent", "information.used", "disclosure.made", "disclosure.compelled", "recipient.told", "subject.erased")
)
_PERSON: Final = tuple(name for name, model in TYPES.items() if not model.about_controller and name not in _DONE)
_CONTROLLER: Final = ("policy.published", "recipient.agreement.signed", "recipient.agreement.ended")


def holds(need: Need, c: Transaction, person: str, event: Prepared, pack: Pack) -> bool:
    """Whether a condition holds for a collection, as of the event's time, by all that is recorded."""
    entries = [one for one in stream_entries(c, linked(c, person), _PERSON) if one.time <= event.time]
    about = stream_entries(c, [controller_stream(event.controller)], _CONTROLLER)
    world = fold_world(one for one in about if one.time <= event.time)
    case = Case(fold(entries, joined_in(entries, person)), world, lambda _: pack)
    question = Question(
        "collect", categories=frozenset(event.data.get("categories") or ()), origin=event.data.get("origin")
    )
    classify(question, pack)
    return check(need, case, question, event.time, pack).holds
