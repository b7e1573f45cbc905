"""What happened, and the proof that it did."""

from ledger.application import LedgerApplication
from ledger.audit import StoreReport
from ledger.erasure import Erased
from ledger.errors import InvalidEvent, InvalidQuestion, LedgerError, NotAccepted, StoreError
from ledger.outcome import Outcome
from ledger.pack import Pack
from ledger.packfile import load_pack

__all__ = [
    "Erased",
    "InvalidEvent",
    "InvalidQuestion",
    "LedgerApplication",
    "LedgerError",
    "NotAccepted",
    "Outcome",
    "Pack",
    "StoreError",
    "StoreReport",
    "load_pack",
]
