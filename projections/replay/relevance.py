"""Which entries can change an answer: to leave out moments of a replay at which none can.

An answer looks at choices, facts, agreements, notices, what is on record and deletions; at nothing else of a person.
Whoever lets it look at more must meet it here; a test compares with asking at every moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.policy.conditions import Credit
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.projections.decision.decide import conditions_of, rules_of
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.world import World
from consent_ledger.projections.replay.asking import Asking

_NEVER: Final = (
    ev.InformationUsed, ev.DisclosureMade, ev.DisclosureCompelled, ev.RecipientTold, ev.CorrectionRequested,
    ev.CorrectionCompleted, ev.AccessRequested, ev.AccessAnswered, ev.RequestNextStepsSent, ev.ArchivePurged,
    ev.HoldPlaced, ev.HoldReleased, ev.BreachNotified, ev.ComplaintLodged, ev.ComplaintAnswered, ev.ComplaintEscalated,
    ev.SubjectErased, ev.RequestExtended,
)  # fmt: skip
_RECIPIENTS: Final = (ev.RecipientRegistered, ev.RecipientAgreementSigned, ev.RecipientAgreementEnded)


def of_the_controller(entries: Iterable[Entry], askings: Iterable[Asking]) -> list[int]:
    """The times of entries about the controller that can change an answer to one of the questions."""
    kinds: tuple[type[ev.ControllerFact], ...] = (ev.PolicyPublished, ev.PolicyNoticePosted)
    kinds += _RECIPIENTS if any(asking.recipient is not None for asking in askings) else ()
    kinds += (ev.OwnershipTransferAnnounced,) if any(asking.transfer is not None for asking in askings) else ()
    return [entry.time for entry in entries if isinstance(entry.data, kinds)]


class Bearing:
    """Which entries of a person can change an answer to one of the questions, as two packs give them."""

    def __init__(self, packs: tuple[Pack, Pack], askings: list[Asking], world: World) -> None:
        self._credits = any(_counts_messages(pack, asking) for pack in packs for asking in askings)
        stored = any(version.stored for version in world.versions)
        self._uses = stored and any(_waits_for_use(pack) for pack in packs)

    def of(self, entry: Entry, before: State) -> bool:
        """Whether an entry can change an answer, after which the state is no longer as it was before."""
        if entry.role == "processor":
            return False
        data = entry.data
        fresh = before.fresh
        match data:
            case ev.MessageSent():
                return self._credits
            case ev.ServiceUsed():
                again = (entry.type, None) in fresh and (entry.type, data.service) in fresh and before.returned
                return self._uses or not again
            case ev.InformationCollected():
                again = (entry.type, data.origin, data.service) in before.fresh_with and before.returned
                others = data.origin == "other-source"
                return (
                    self._credits
                    or not again
                    or any(
                        (one := before.collected.get(category)) is None
                        or not one.current
                        or (one.from_others_only and not others)
                        for category in data.categories
                    )
                )
            case _:
                return not isinstance(data, _NEVER)


def _waits_for_use(pack: Pack) -> bool:
    """Whether a use can bring a version into force."""
    rule = pack.change.stored if pack.change is not None else None
    return rule is not None and (rule.use_days_after_email, rule.use_days_after_posting) != (None, None)


def _counts_messages(pack: Pack, asking: Asking) -> bool:
    """Whether a row counts the messages sent, for such a question."""
    rules = rules_of(pack, asking.action)
    return any(
        isinstance(need, Credit)
        for rule in (*rules.law, *rules.forbid, *rules.gate, *rules.permit)
        if rule.purposes is None or asking.purpose in rule.purposes
        for need in conditions_of(rule.row)
    )
