"""What closes cannot come too early: it is accepted ahead of the clock, and in force from when it was told.

Source: contract, section 2. What opens is invalid more than five minutes ahead of the clock that records it.
"""

from __future__ import annotations

from typing import Final

from consent_ledger.ledger.events import catalogue as ev

LAST_YEAR_OF_A_MINOR: Final = 25  # no pack names a higher age
_ALWAYS: Final = (
    ev.ConsentRefused, ev.ConsentWithdrawn, ev.OptoutRecorded, ev.DeletionRequested, ev.AccessRequested,
    ev.CorrectionRequested, ev.AccountDeactivated, ev.GuardianEnded, ev.AgreementEnded, ev.RecipientAgreementEnded,
    ev.HoldPlaced, ev.MessageBounced, ev.DeletionCompleted,
)  # fmt: skip


def closes(data: ev.Data) -> bool:
    """Whether an event closes something: a no, a request, an end, an age that can make somebody a minor."""
    match data:
        case ev.SubjectAgeLearned():
            return data.under is not None or bool(data.needs_guardian) or _young(data.age)
        case ev.SubjectRegistered():
            return _young(data.age)
        case _:
            return isinstance(data, _ALWAYS)


def _young(age: int | None) -> bool:
    return age is not None and age < LAST_YEAR_OF_A_MINOR
