"""Every error the ledger raises, as one tree.

    LedgerError
      InvalidEvent            not an event of the contract; names the field         (mend the event)
      NotAccepted             recorded, and not all of it accepted: every outcome   (mend those events)
      InvalidQuestion         a question about somebody or something unknown        (mend the question)
        NothingToShow         no entry that evidence may show                       (ask as an auditor)
      PackError               a pack that cannot be used; names the place           (mend the pack)
      EvidenceTooLarge        more about a person than the verifier reads           (prove entries singly)
      HoldStanding            erasure asked for while a hold stands                 (release the hold)
      KeyFileError            key-encryption key missing, malformed or another's    (give the right key)
      CorruptEntry            stored bytes that are not an entry; names position    (restore a backup)
      ClockJumped             the clock was set while the ledger was open           (set it right)
      NewerEntry              an entry that a newer program wrote; names position   (install that)
      Closed                  the ledger was closed before                          (open it again)
      StoreError              the store could not do it
        NotALedger            a file that is something else
        NewerStore            written by a newer version of this program
        StoreBusy             another writer holds the store                        (retry)
        StoreAway             the database server cannot be reached                 (retry)
        StoreReadOnly         the disk or the file cannot be written
        StoreFull             no space left
        HeadMoved             another process appended in between                   (retry)
        StoreShared           the file is in use under another name                 (use one name)
        StoreLost             the file was replaced or deleted while it was open    (open again)
        StoreBehind           the keys have signed more than the store holds        (recover)
        HeadNotNoted          committed, and not yet noted beside the keys          (retry)
        Forked                opened before a fork                                  (open after it)

`retryable` says whether the same call can succeed later without any change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from consent_ledger.ledger.outcome import Outcome

_SHOWN: Final = 3  # outcomes in one message


class LedgerError(Exception):
    """Base of all errors that are meant for people to read."""

    retryable: bool = False


class InvalidEvent(LedgerError):
    """What came is not an event of the contract; `field` is the field to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotAccepted(LedgerError):
    """Some of a call's events were not accepted; the others are recorded for good. `outcomes`: one each, in order."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = list(outcomes)
        wrong = [(number, one) for number, one in enumerate(self.outcomes) if one.kind != "accepted"]
        first = "; ".join(f"event {number}: {one}" for number, one in wrong[:_SHOWN])
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        others = ", the others are recorded" if len(wrong) < len(self.outcomes) else ""
        super().__init__(
            f"{len(wrong)} of {len(self.outcomes)} events were not accepted{others}: {first}{more} "
            "(all are in .outcomes, in order; events count from 0)"
        )


class InvalidQuestion(LedgerError):
    """A question that cannot be answered as it stands; `field` is the field to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NothingToShow(InvalidQuestion):
    """Evidence about somebody of whom no entry may be shown."""


class PackError(LedgerError):
    """A policy pack that cannot be read or used."""


class HoldStanding(LedgerError):
    """Erasure is refused while a hold stands; `hold` names it."""

    def __init__(self, hold: str) -> None:
        super().__init__(f"hold {hold!r} stands: nothing is erased until it is released (publish hold.released)")
        self.hold = hold


class EvidenceTooLarge(LedgerError):
    """Evidence that the verifier would refuse for its size."""


class KeyFileError(LedgerError):
    """The key-encryption key or signing key is missing, malformed or belongs to another store."""


class CorruptEntry(LedgerError):
    """Stored bytes that do not decode to an entry of a known version."""


class ClockJumped(LedgerError):
    """The clock was set while the ledger was open: what it says is not recorded."""


class NewerEntry(LedgerError):
    """An entry of a type, dataschema or format that this program does not know; whoever has none is still answered."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(
            f"entry {position} has {what} that this program does not know: a newer consent-ledger wrote it, "
            "install that; others are still answered"
        )
        self.position = position


class Closed(LedgerError):
    """The ledger was closed, by this thread or another."""

    def __init__(self) -> None:
        super().__init__("the ledger is closed: open it again")


class StoreError(LedgerError):
    """The store could not do what was asked; nothing was half done."""


class NotALedger(StoreError):
    """The file is not a ledger."""


class NewerStore(StoreError):
    """The store's format is newer than this program."""


class StoreBusy(StoreError):
    """Another writer holds the store; the same call can succeed later."""

    retryable = True


class StoreAway(StoreError):
    """The database server cannot be reached, or went away; what was under way is there wholly or not at all."""

    retryable = True


class StoreReadOnly(StoreError):
    """The store cannot be written: file or disk is read-only."""


class StoreFull(StoreError):
    """The disk is full; nothing of the batch was kept."""


class HeadMoved(StoreError):
    """The head was not where this writer left it; the transaction was rolled back."""

    retryable = True


class StoreShared(StoreError):
    """The file is in use under another name, or has several."""


class StoreLost(StoreError):
    """The files no longer have the names under which they were opened."""


class StoreBehind(StoreError):
    """The keys have signed a longer log, or another one: the store was put back to an older copy, or forked."""


class HeadNotNoted(StoreError):
    """The batch is in the store for good; that its head was signed could not be noted in the keys folder."""

    retryable = True


class Forked(StoreError):
    """A ledger that was opened before a fork is used in the child."""
