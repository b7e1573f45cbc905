"""Which projections a ledger gets: in a file, in the schema of its server, or in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from consent_ledger.ledger.errors import StoreReadOnly
from consent_ledger.projections.store.contract import ProjectionStore
from consent_ledger.projections.store.sqlite import SQLiteProjections

if TYPE_CHECKING:
    from consent_ledger.ledger.store.postgres import PostgresStore

Place: TypeAlias = Union[Path, "PostgresStore", None]
"""A file, the server of the ledger, None: in memory."""


def open_projections(place: Place, kind: int, check_process: Callable[[], None]) -> tuple[ProjectionStore, str | None]:
    """(the projections there, why they are in memory instead: None where they are where they were wanted)."""
    if place is None or isinstance(place, Path):
        return SQLiteProjections(place, kind, check_process), None
    from consent_ledger.projections.store.postgres import PostgresProjections

    try:
        return PostgresProjections(place, kind), None
    except StoreReadOnly as error:
        return SQLiteProjections(None, kind, check_process), str(error)
