"""What follows from what happened: state, decisions, obligations, findings. Can be deleted and rebuilt from the log."""

from projections.decision.question import Answer
from projections.ledger import Ledger

__all__ = ["Answer", "Ledger"]
