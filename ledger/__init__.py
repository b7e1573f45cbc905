"""What happened, and the proof that it did."""

from ledger.errors import InvalidEvent, InvalidQuestion, LedgerError, NotAccepted, StoreError
from ledger.intake.application import LedgerApplication
from ledger.intake.erasure import Erased
from ledger.outcome import Outcome
from ledger.policy.load import load_pack
from ledger.policy.pack import Pack
from ledger.proof.audit import StoreReport

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
