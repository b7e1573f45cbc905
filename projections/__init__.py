"""What follows from what happened: state, decisions, obligations, findings. Can be deleted and rebuilt from the log."""

from projections.ledger import Ledger
from projections.question import Answer

__all__ = ["Answer", "Ledger"]
