"""What an error of the server, or of the way to it, means."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors as pg

from consent_ledger.ledger.errors import (
    NotALedger,
    StoreAway,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)

# What a server says to whom it lets not in, by no code that libpq would tell.
_NOT_LET_IN: Final = re.compile(
    "authentication failed|no password supplied|does not exist|no pg_hba.conf entry|not permitted to|permission denied"
)
_LOST: Final = ("08", "57P", "53300")  # of a connection that is lost or not to be had


def translate(error: psycopg.Error, where: str) -> StoreError:
    """The store error that an error of the server, or of the way to it, means."""
    match error:
        case pg.LockNotAvailable() | pg.SerializationFailure() | pg.DeadlockDetected():
            return StoreBusy(f"{where}: another process is writing (retry when it is done)")
        case pg.QueryCanceled() | pg.IdleInTransactionSessionTimeout() | pg.TransactionTimeout():
            return StoreBusy(f"{where}: the server did not wait, {_first(error)} (look into its timeouts; retry)")
        case pg.DiskFull() | pg.InsufficientResources() | pg.OutOfMemory() | pg.ConfigurationLimitExceeded():
            return StoreFull(f"{where}: the server has no room, nothing of this batch was kept (free some, run again)")
        case pg.ReadOnlySqlTransaction() | pg.InsufficientPrivilege():
            return StoreReadOnly(f"{where}: {_first(error)} (open it as a role that may)")
        case pg.DuplicateTable() | pg.DuplicateSchema():
            return NotALedger(f"{where}: there is something already (name another schema)")
        case pg.InvalidCatalogName() | pg.InvalidAuthorizationSpecification():
            return NotALedger(f"{where}: {_first(error)} (check the address, the role and its password)")
        case pg.OperationalError() if error.sqlstate is None and _NOT_LET_IN.search(str(error)):
            return NotALedger(f"{where}: {_first(error)} (check the address, the role and its password)")
        case pg.OperationalError() if (error.sqlstate or _LOST[0]).startswith(_LOST):
            return StoreAway(f"{where}: the server cannot be reached, {_first(error)} (look whether it runs; retry)")
        case _:
            return StoreError(f"{where}: {_first(error)} (run doctor; where that finds damage, restore a backup)")


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
