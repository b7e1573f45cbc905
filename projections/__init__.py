"""What follows from what happened: state, decisions, obligations, findings. Can be deleted and rebuilt from the log."""

from consent_ledger.projections.decision.question import Answer
from consent_ledger.projections.ledger import Ledger

__all__ = ["Answer", "Ledger"]
