"""The ledger itself: eventsourcing's application over one store, its vault and its log.

`record` is the one way in. Callers that come at the same time share a transaction (group commit): the first to get the
lock writes for all who wait, so that many single events cost one fsync.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import quote

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import (
    InvalidEvent,
    LedgerError,
    NotALedger,
)
from consent_ledger.ledger.files.held import Held, Still, hold, read, release
from consent_ledger.ledger.gcpause import paused
from consent_ledger.ledger.intake.addresses import named_in
from consent_ledger.ledger.intake.batch import Batch
from consent_ledger.ledger.intake.erasure import record_erasures
from consent_ledger.ledger.intake.hints import with_hints
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.parse import Prepared, prepare
from consent_ledger.ledger.intake.upgrade import upgrade
from consent_ledger.ledger.outcome import Outcome as Outcome  # noqa: PLC0414  had from here as well
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.sqlite import SQLiteStore
from consent_ledger.ledger.store.sqlite_pool import readable_errors
from consent_ledger.ledger.store.sqlite_schema import APPLICATION_ID, STORE_FORMAT
from consent_ledger.ledger.vault.keys import KeyProvider

PAGE: Final = 1000
_KEY_NAMES: Final = (b"index", b"digest")


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's events, waiting to be written."""

    prepared: list[Prepared | InvalidEvent]
    now: int
    alone: bool = False  # a transaction of its own: whoever was to write it with others was stopped
    done: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None


class LedgerApplication(Opened):
    """The application over one store. Made by `open_file`, and by `create_ledger` and `open_ledger` of consumers."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._waiting: list[_Call] = []
        self._queue_lock = threading.Lock()

    def load(self) -> int:
        """As of what is opened; tables of an older format are brought to the present one."""
        found = super().load()
        if found < STORE_FORMAT:
            with self.writing(guarded=False) as c:  # the form alone changes
                upgrade(c, self.vault)
        self.store.remember()
        return found

    def record(self, bodies: Iterable[Any], now: int, *, scenario: Sequence[int] | None = None) -> list[Outcome]:
        """Record events, each a JSON object or an InvalidEvent found earlier; one outcome each, in order.

        `now`: the moment of recording, microseconds. `scenario`: moments of recording of its own for each.
        All of a call is one transaction: a failure (StoreError) leaves nothing of it. Raises TypeError for what is no
        list of events.
        """
        require_events(bodies)
        with paused():
            prepared = self._prepared(bodies, scenario)
            outcomes = self._submit(prepared, now)
            packs = self.controllers if self.any_pack is None else {self.any_pack.controller: self.any_pack}
            return with_hints(prepared, outcomes, packs)

    def _prepared(self, bodies: Iterable[Any], scenario: Sequence[int] | None) -> list[Prepared | InvalidEvent]:
        prepared: list[Prepared | InvalidEvent] = []
        for number, body in enumerate(bodies):
            if isinstance(body, InvalidEvent):
                prepared.append(body)
                continue
            try:
                event = prepare(body)
                event.recorded_at = scenario[number] if scenario is not None else None
                pack = self._pack_before(event.controller)
                event.named = named_in(event, pack, older=self.any_kept) if pack is not None else None
                prepared.append(event)
            except InvalidEvent as error:
                prepared.append(error)
        return prepared

    def _pack_before(self, controller: str) -> Pack | None:
        """The pack registered for a controller as far as this process knows: intake looks again, in its turn."""
        if self.any_pack is not None:
            return self.any_pack
        return self._last_packs.get(controller)

    def _submit(self, prepared: list[Prepared | InvalidEvent], now: int) -> list[Outcome]:
        self.check_process()
        call = _Call(prepared, now)
        with self._queue_lock:
            self._waiting.append(call)
        try:
            with self._lock:
                if not call.done.is_set():
                    self._lead(call)
        except BaseException:
            with self._queue_lock:  # who is stopped waits no longer
                self._waiting = [one for one in self._waiting if one is not call]
            raise
        if call.error is not None:
            raise call.error
        return call.outcomes

    def _lead(self, own: _Call) -> None:
        """Write for everybody who waits, in one transaction. Requires the lock."""
        calls = self._to_write(own)
        try:
            self._write(calls)
        except LedgerError as error:
            for call in calls:
                call.error = error
                call.done.set()
        except BaseException as error:
            # A stop is meant for this thread alone, and who knows whose event a fault of the program was: now each
            # is written by itself, and gets an error only of its own. What was committed already counts once.
            for call in calls:
                call.alone = True
            if len(calls) > 1 and isinstance(error, Exception):
                self._lead(own)
                return
            own.error = error
            own.done.set()
            raise
        else:
            for call in calls:
                call.done.set()

    def _to_write(self, own: _Call) -> list[_Call]:
        if own.alone:
            return [own]
        with self._queue_lock:
            calls, self._waiting = self._waiting, []
        return calls

    def _write(self, calls: Sequence[_Call]) -> None:
        with self.writing() as c:
            crashpoints.reached("begun")
            batch = Batch(self, c)
            record_erasures(batch)
            for call in calls:
                call.outcomes = batch.add(call.prepared, call.now)
            batch.finish()
            crashpoints.reached("before commit")
        batch.committed()


def require_events(bodies: object) -> None:
    """Raise TypeError for one event alone, and for a text: their members would be taken for events."""
    if isinstance(bodies, Mapping):
        raise TypeError("record wants a list of events, and got one event: write record([event])")
    if isinstance(bodies, (str, bytes, bytearray)) or not isinstance(bodies, Iterable):
        raise TypeError(f"record wants a list of events, each a dict, and got {type(bodies).__name__}")


def open_file(
    path: Path, keys: KeyProvider, *, create: bool = False, only_read: bool = False, copy: bool = False
) -> LedgerApplication:
    """The store in a file. Raises NotALedger for one that is not there, or (`create`) that has something in it.

    `only_read`: SQLite itself refuses every write, and neither file nor write-ahead log is touched at the end. So it is
    with a file that cannot be written. `copy`: on its way to become a store, unlike any that was signed.
    """
    if create and path.exists() and path.stat().st_size:
        raise NotALedger(f"{path}: there is a file already (name a new path)")
    if not create and not path.exists():
        raise NotALedger(f"{path}: there is no such store (make one with: consent-ledger init)")
    if not path.parent.is_dir():
        raise NotALedger(f"{path.parent}: there is no such folder (make it first)")
    if not create:
        require_store(path)
    held = hold(path)
    try:
        how = "copy" if copy else _how(path, held, only_read=only_read)
        query = {"rw": "mode=rw", "copy": "mode=rw", "immutable": "mode=ro&immutable=1"}.get(how, "mode=ro")
        still = Still(path) if how == "immutable" else None  # before anything is read
        with readable_errors(str(path)):
            # by its own full name: the folder this process works in, or a link on the way, may change while it is open
            name = f"file:{quote(os.fsencode(held.path))}?{query}"
            store = SQLiteStore(name, where=str(path), held=held, still=still)
        return LedgerApplication(store, keys, how=how)
    except BaseException:
        release(held)
        raise


def open_postgres(address: str, keys: KeyProvider, *, only_read: bool = False, copy: bool = False) -> LedgerApplication:
    """The store in a schema of a PostgreSQL server: `postgresql://user@host/database?schema=shop`.

    `only_read`: nothing is written. So it is with a role that may not write, and with a replica. `copy`: on its way to
    become a store, unlike any that was signed. Raises NotALedger for an address that is none, and where the library is
    not installed.
    """
    store = _postgres().PostgresStore(address, only_read=only_read)
    try:
        how = "copy" if copy else "ro" if only_read else "rw" if store.may_write() else "role"
    except BaseException:
        store.close()
        raise
    store.only_read = how not in ("rw", "copy")
    return LedgerApplication(store, keys, how=how)


def require_postgres() -> None:
    """Raise NotALedger where what speaks to a server is not installed."""
    _postgres()


def roles_script(address: str) -> str:
    """The SQL that makes the roles of the store at an address, and gives each what it may. Raises NotALedger."""
    postgres = _postgres()
    _, schema, _ = postgres.parse_address(address)
    sql: str = postgres.roles.script(schema)
    return sql


def _postgres() -> ModuleType:
    """The module of stores in PostgreSQL. Raises NotALedger where its library is not installed."""
    try:
        from consent_ledger.ledger.store import postgres
    except ImportError as error:
        raise NotALedger(f"postgresql://: {error} (install it with: pip install 'consent-ledger[postgres]')") from None
    return postgres


def _how(path: Path, held: Held, *, only_read: bool) -> str:
    """How a file may be opened: `rw`, or why it is only read."""
    if held.links > 1:
        return "linked"
    if os.access(path, os.W_OK):
        return "ro" if only_read else "rw"
    return "immutable" if _unchanging(path) else "denied"


def _unchanging(path: Path) -> bool:
    """Whether nobody writes a file: it has no write-ahead log, and on its disk or in its folder none can be made."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return False
    return not os.access(path.parent, os.W_OK)


def require_store(path: Path) -> None:
    """Raise NotALedger unless the file's header says that it is a store. Nothing is changed by that."""
    start = read(path, 0, 100)
    ours = start[:16] == b"SQLite format 3\0" and start[68:72] == APPLICATION_ID.to_bytes(4, "big")
    if not ours:
        raise NotALedger(f"{path}: not a consent-ledger store (name another file, or run init on a new path)")
