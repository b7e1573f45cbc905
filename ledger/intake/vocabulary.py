"""Words of events that the pack must know, beside purposes, categories and classes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.policy.pack import Pack


def check_words(model: ev.Data, pack: Pack, signed: Callable[[str, str], bool]) -> None:
    """Refuse what the pack does not know: kinds of agreements, kept categories, forms, reasons. Raises InvalidEvent.

    `signed`: whether an agreement of a kind was ever signed with a recipient. One that another pack knew can end all
    the same: what closes is never refused for want of a word. Nor is a no for the form that it was said by.
    """
    match model:
        case ev.RecipientAgreementSigned():
            _known("kind", model.kind, pack.known_agreements, "kind of agreement")
        case ev.RecipientAgreementEnded() if not signed(model.recipient, model.kind):
            _known("kind", model.kind, pack.known_agreements, "kind of agreement")
        case ev.DeletionCompleted():
            for category in model.kept or ():
                _known("kept", category, pack.kept_categories, "category that a deletion leaves")
        case ev.ConsentRequested() | ev.ConsentGranted() if model.shown is not None and model.shown.form is not None:
            if pack.forms is not None:
                _known("form", model.shown.form, pack.forms, "form")
        case ev.RequestExtended() if pack.reasons is not None:
            _known("reason", model.reason, pack.reasons, "reason to extend a request")
        case _:
            pass  # has no such words


def _known(field: str, word: str, known: Collection[str], what: str) -> None:
    if word not in known:
        there = f"it knows {', '.join(sorted(known))}" if known else "it knows none"
        raise InvalidEvent(field, f"is no {what} of this pack: {there}")
