"""Errors of this package's own."""

from __future__ import annotations

from consent_ledger.ledger.errors import LedgerError


class DoesNotHold(LedgerError):
    """Evidence that does not verify; the message names what."""


class ScenarioFileError(LedgerError):
    """A file that is no scenario file."""
