"""A copy of the whole store in one file, while it is in use."""

from __future__ import annotations

import os
from pathlib import Path

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import NotALedger
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.store.sqlite import SQLiteStore, size_of_copy
from consent_ledger.ledger.store.sqlite_pool import readable_errors


def back_up(app: LedgerApplication, target: Path) -> int:
    """An online copy. Returns the number of entries in it. Raises NotALedger where there is a file already."""
    require_folder(target)
    with (
        durable.readable(target),
        readable_errors(str(target)),
        durable.alone(target),
        durable.partial(target) as (_, partial),
    ):
        require_free(target)
        assert isinstance(app.store, SQLiteStore)
        app.store.backup(partial)
        size = size_of_copy(partial)
        crashpoints.reached("backup written")
    return size


def require_folder(path: Path) -> None:
    """Raise NotALedger for what is no name of a file, and where the folder of a new file is not there."""
    if path.name in ("", ".."):
        raise NotALedger(f"{path}: names no file (name a new path)")
    if not path.parent.is_dir():
        raise NotALedger(f"{path.parent}: there is no such folder (make it first)")


def require_free(path: Path, what: str = "file") -> None:
    """Raise NotALedger where there is something of that name already."""
    if os.path.lexists(path):
        raise NotALedger(f"{path}: there is a {what} already (name a new path)")
