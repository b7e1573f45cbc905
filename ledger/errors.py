"""Every error the ledger raises, as one tree.

    LedgerError
      InvalidEvent            not an event of the contract; names the field         (mend the event)
      InvalidQuestion         a question about somebody or something unknown        (mend the question)
      PackError               a pack that cannot be used; names the place           (mend the pack)
      EvidenceTooLarge        more about a person than the verifier reads           (prove entries singly)
      HoldStanding            erasure asked for while a hold stands                 (release the hold)
      KeyFileError            key-encryption key missing, malformed or another's    (give the right key)
      CorruptEntry            stored bytes that are not an entry; names position    (restore a backup)
      StoreError              the store could not do it
        NotALedger            a file that is something else
        NewerStore            written by a newer version of this program
        StoreBusy             another writer holds the store                        (retry)
        StoreReadOnly         the disk or the file cannot be written
        StoreFull             no space left
        HeadMoved             another process appended in between                   (retry)

`retryable` says whether the same call can succeed later without any change.
"""

from __future__ import annotations


class LedgerError(Exception):
    """Base of all errors that are meant for people to read."""

    retryable: bool = False


class InvalidEvent(LedgerError):
    """What came is not an event of the contract; `field` is the field to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidQuestion(LedgerError):
    """A question that cannot be answered as it stands; `field` is the field to mend."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


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


class StoreError(LedgerError):
    """The store could not do what was asked; nothing was half done."""


class NotALedger(StoreError):
    """The file is not a ledger."""


class NewerStore(StoreError):
    """The store's format is newer than this program."""


class StoreBusy(StoreError):
    """Another writer holds the store; the same call can succeed later."""

    retryable = True


class StoreReadOnly(StoreError):
    """The store cannot be written: file or disk is read-only."""


class StoreFull(StoreError):
    """The disk is full; nothing of the batch was kept."""


class HeadMoved(StoreError):
    """The head was not where this writer left it; the transaction was rolled back."""

    retryable = True
