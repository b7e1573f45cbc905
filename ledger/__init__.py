"""What happened, and the proof that it did."""

from consent_ledger.ledger.errors import InvalidEvent, InvalidQuestion, LedgerError, NotAccepted, StoreError
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.erasure import Erased
from consent_ledger.ledger.outcome import Outcome
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.proof.audit import StoreReport

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

if __name__ == "ledger":  # a checkout that is on the path: there is one module under one name
    from consent_ledger.ledger.short_names import stand_in

    stand_in(__name__)
