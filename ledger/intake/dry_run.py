"""What would become of events if they were recorded now: all that recording does, and then nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.gcpause import paused
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.hints import with_hints
from consent_ledger.ledger.intake.parse import Prepared, prepare
from consent_ledger.ledger.outcome import Outcome


class _Undone(Exception):
    """Takes a transaction back."""


def would_record(app: LedgerApplication, bodies: Sequence[Any], now: int) -> list[Outcome]:
    """One outcome for each event, as `record` would give it; nothing stays. Waits for its turn as a writer does."""
    from consent_ledger.ledger.intake.batch import Batch

    prepared = [_prepared(body) for body in bodies]
    outcomes: list[Outcome] = []
    try:
        with paused(), app.writing() as c:
            outcomes = Batch(app, c).add(prepared, now)
            raise _Undone  # noqa: TRY301  the one way to leave a transaction without a commit
    except _Undone:
        return with_hints(prepared, outcomes, app.controller_packs())


def _prepared(body: Any) -> Prepared | InvalidEvent:
    try:
        return prepare(body)
    except InvalidEvent as error:
        return error
