"""What happened, and the proof that it did."""

from ledger.application import LedgerApplication, Outcome
from ledger.errors import InvalidEvent, InvalidQuestion, LedgerError, StoreError
from ledger.pack import Pack
from ledger.packfile import load_pack

__all__ = [
    "InvalidEvent",
    "InvalidQuestion",
    "LedgerApplication",
    "LedgerError",
    "Outcome",
    "Pack",
    "StoreError",
    "load_pack",
]
