"""Fresh ledgers for scenarios, on the kind of store that is asked for. Nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from consent_ledger.consumers.opening import discard, memory_ledger, projection_path, server_address
from consent_ledger.ledger.errors import NotALedger
from consent_ledger.ledger.intake.application import LedgerApplication, require_postgres
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.sqlite import passing
from consent_ledger.ledger.vault.keys import MemoryKeys
from consent_ledger.projections.ledger import Ledger

Fresh = Callable[[Pack, Callable[[], int]], Ledger]
"""Makes a ledger where a pack serves every version, with a clock. The one before must be closed."""

_NAME = "consent-ledger.local/scenario"


@contextmanager
def fresh_ledgers(store: str = "memory") -> Iterator[Fresh]:
    """Fresh ledgers on `memory`, `sqlite` (a file for the time being), or `postgresql://...` (a schema of their own).

    Raises NotALedger for any other, StoreAway where the server is not there.
    """
    if store == "memory":
        yield memory_ledger
    elif store == "sqlite":
        with TemporaryDirectory(prefix="consent-ledger-") as folder:
            yield _in_file(Path(folder) / "scenario.db")
    elif server_address(store) is not None:
        with _in_server(store) as fresh:
            yield fresh
    else:
        raise NotALedger(f"--store {store}: expected memory, sqlite or postgresql://...")


def _in_file(path: Path) -> Fresh:
    def fresh(pack: Pack, clock: Callable[[], int]) -> Ledger:
        for left in (path, projection_path(path)):
            discard(left)
        return _ready(LedgerApplication(passing(path), MemoryKeys()), pack, clock, projection_path(path))

    return fresh


@contextmanager
def _in_server(address: str) -> Iterator[Fresh]:
    require_postgres()
    from consent_ledger.ledger.store.postgres_scratch import ScratchStore

    store = ScratchStore(address)
    try:
        yield lambda pack, clock: _ready(LedgerApplication(store, MemoryKeys()), pack, clock, None)
    finally:
        store.drop()


def _ready(app: LedgerApplication, pack: Pack, clock: Callable[[], int], projection: Path | None) -> Ledger:
    app.initialise(_NAME)
    app.any_pack = pack
    return Ledger(app, clock, projection)
