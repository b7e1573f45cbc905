"""What follows from what happened: state, decisions, obligations, findings. Can be deleted and rebuilt from the log."""

from consent_ledger.projections.decision.question import Answer
from consent_ledger.projections.ledger import Ledger

__all__ = ["Answer", "Ledger"]

if __name__ == "projections":  # a checkout that is on the path: there is one module under one name
    from consent_ledger.ledger.short_names import stand_in

    stand_in(__name__)
