"""consent-ledger: an event-sourced ledger of consent. What an app imports, it imports from here.

Whatever else is under this name may move from one version to the next.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from consent_ledger.consumers.opening import create_ledger, memory_ledger, open_ledger, shipped_packs
    from consent_ledger.ledger.errors import (
        InvalidEvent,
        InvalidQuestion,
        LedgerError,
        NotAccepted,
        StoreError,
    )
    from consent_ledger.ledger.intake.documents import add_document, document, documents
    from consent_ledger.ledger.intake.erasure import Erased
    from consent_ledger.ledger.log.verifier import open_checkpoint, parse_vkey, verify_consistency
    from consent_ledger.ledger.outcome import Outcome
    from consent_ledger.ledger.policy.load import load_pack
    from consent_ledger.ledger.policy.pack import Pack
    from consent_ledger.ledger.proof.audit import StoreReport
    from consent_ledger.ledger.proof.evidence import prove_consistency, prove_inclusion, write_evidence
    from consent_ledger.projections.decision.question import Answer
    from consent_ledger.projections.ledger import Ledger

_FROM: Final = {
    "create_ledger": "consent_ledger.consumers.opening",
    "memory_ledger": "consent_ledger.consumers.opening",
    "open_ledger": "consent_ledger.consumers.opening",
    "shipped_packs": "consent_ledger.consumers.opening",
    "InvalidEvent": "consent_ledger.ledger.errors",
    "InvalidQuestion": "consent_ledger.ledger.errors",
    "LedgerError": "consent_ledger.ledger.errors",
    "NotAccepted": "consent_ledger.ledger.errors",
    "StoreError": "consent_ledger.ledger.errors",
    "add_document": "consent_ledger.ledger.intake.documents",
    "document": "consent_ledger.ledger.intake.documents",
    "documents": "consent_ledger.ledger.intake.documents",
    "Erased": "consent_ledger.ledger.intake.erasure",
    "open_checkpoint": "consent_ledger.ledger.log.verifier",
    "parse_vkey": "consent_ledger.ledger.log.verifier",
    "verify_consistency": "consent_ledger.ledger.log.verifier",
    "Outcome": "consent_ledger.ledger.outcome",
    "load_pack": "consent_ledger.ledger.policy.load",
    "Pack": "consent_ledger.ledger.policy.pack",
    "StoreReport": "consent_ledger.ledger.proof.audit",
    "prove_consistency": "consent_ledger.ledger.proof.evidence",
    "prove_inclusion": "consent_ledger.ledger.proof.evidence",
    "write_evidence": "consent_ledger.ledger.proof.evidence",
    "Answer": "consent_ledger.projections.decision.question",
    "Ledger": "consent_ledger.projections.ledger",
}
__all__ = [
    "Answer",
    "Erased",
    "InvalidEvent",
    "InvalidQuestion",
    "Ledger",
    "LedgerError",
    "NotAccepted",
    "Outcome",
    "Pack",
    "StoreError",
    "StoreReport",
    "add_document",
    "create_ledger",
    "document",
    "documents",
    "load_pack",
    "memory_ledger",
    "open_checkpoint",
    "open_ledger",
    "parse_vkey",
    "prove_consistency",
    "prove_inclusion",
    "shipped_packs",
    "verify_consistency",
    "write_evidence",
]


def __getattr__(name: str) -> Any:
    """What is exported, loaded when it is first asked for: a program begins at once."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)
