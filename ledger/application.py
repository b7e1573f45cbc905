"""The ledger itself: eventsourcing's application over one store, its vault and its log.

`record` is the one way in. Callers that come at the same time share a transaction (group commit): the first to get the
lock writes for all who wait, so that many single events cost one fsync.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from eventsourcing.application import Application
from eventsourcing.persistence import ConnectionPoolClosedError
from eventsourcing.sqlite import SQLiteConnection, SQLiteCursor
from eventsourcing.utils import Environment

from ledger import points
from ledger.collector import paused
from ledger.entry import Entry, decode
from ledger.entry import recorded_at as when_recorded
from ledger.errors import Closed, InvalidEvent, KeyFileError, LedgerError, NotALedger, PackError, StoreError
from ledger.incoming import Prepared, prepare
from ledger.keys import KEY_BYTES, KeyProvider
from ledger.mapper import EntryMapper
from ledger.merkle import Frontier
from ledger.notes import Signer, format_checkpoint
from ledger.pack import Pack
from ledger.packfile import load_pack
from ledger.person import linked
from ledger.reader import Reader
from ledger.recorder import (
    APPLICATION_ID,
    STORE_FORMAT,
    Head,
    LedgerFactory,
    LedgerPool,
    LedgerRecorder,
    read_head,
    readable_errors,
)
from ledger.vault import Vault
from ledger.verifier import EMPTY_ROOT

PAGE: Final = 1000
_KEY_NAMES: Final = (b"index", b"digest")


class Outcome(NamedTuple):
    """What became of one event.

    accepted   it is entry `position`; `duplicate` if it was there before
    refused    `clause` of the pack refuses it; entry `position` says so
    conflict   another event with the same source and id is there; entry `position` says so
    invalid    it is no event: `field` and `reason` say what to mend; nothing was kept
    """

    kind: str
    position: int | None = None
    duplicate: bool = False
    clause: str | None = None
    field: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Call:
    """One caller's events, waiting to be written."""

    prepared: list[Prepared | InvalidEvent]
    now: int
    done: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None


class ReadingHere(threading.local):
    """Through what a thread reads: an answer's reader, else a transaction that it has begun, else nothing yet."""

    reader: Reader | None = None
    connection: SQLiteConnection | None = None


class LedgerApplication(Application[str]):
    """A store opened for use. Make one with `create` or `open_store`."""

    name = "ledger"

    def __init__(
        self, db_name: str, keys: KeyProvider, *, where: str, randomness: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.where = where
        self.keys = keys
        self.randomness = randomness
        self.reading_here = ReadingHere()
        self._readers: list[Reader] = []
        self.any_pack: Pack | None = None  # scenarios: this pack serves every version, and any time goes
        super().__init__({"SQLITE_DBNAME": db_name, "SQLITE_LOCK_TIMEOUT": "10", "CREATE_TABLE": "n"})
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._queue_lock = threading.Lock()
        self._packs: dict[str, Pack] = {}
        self.forget()

    def close(self) -> None:
        """Let go of the store."""
        for reader in self._readers:
            reader.close()
        super().close()

    # -- eventsourcing's extension points ------------------------------------------------------------------------------

    def construct_factory(self, env: Environment) -> LedgerFactory:  # type: ignore[override]
        return LedgerFactory(env)

    def construct_mapper(self) -> EntryMapper:
        return EntryMapper()

    @property
    def store(self) -> LedgerRecorder:
        assert isinstance(self.recorder, LedgerRecorder)
        return self.recorder

    @contextmanager
    def reading(self) -> Iterator[SQLiteCursor]:
        """A consistent view of the store: inside an answer, or inside another reading of this thread, the same one."""
        here = self.reading_here
        if here.reader is None and here.connection is None:
            with self.reading_newest() as c:
                yield c
            return
        with readable_errors(self.where):
            current = here.reader or here.connection
            assert current is not None
            cursor = current.cursor()
            with cursor:
                yield cursor

    @contextmanager
    def reading_newest(self) -> Iterator[SQLiteCursor]:
        """A consistent view of the store as it is now, whatever answer this thread is in."""
        here, pool = self.reading_here, self.store.datastore.pool
        before = here.reader, here.connection
        try:
            with (
                readable_errors(self.where),
                self.store.datastore.get_connection(commit=False) as connection,
                connection.transaction(commit=False) as c,
            ):
                here.reader, here.connection = None, connection
                try:
                    yield c
                finally:
                    here.reader, here.connection = before
        except (ConnectionPoolClosedError, StoreError):
            if pool.closed:
                raise Closed from None
            raise

    def reader(self) -> Reader:
        """A reader of this store, closed with it. A thread reads through it while `reading_here` says so."""
        pool = self.store.datastore.pool
        assert isinstance(pool, LedgerPool)
        with readable_errors(self.where):
            reader = Reader(pool)
        self._readers.append(reader)
        return reader

    @contextmanager
    def writing(self) -> Iterator[SQLiteCursor]:
        """The store's only writer, until the block ends. An exception takes everything back."""
        with readable_errors(self.where):
            try:
                with self.store.datastore.transaction(commit=True) as c:
                    yield c
            except BaseException:
                self.forget()
                raise

    # -- open ----------------------------------------------------------------------------------------------------------

    def initialise(self, origin: str) -> None:
        """Make the tables, the store's own keys and the first checkpoint. Requires an empty store."""
        if not self.store.datastore.pool.is_sqlite_memory_mode:
            with self.reading() as c:
                c.execute("SELECT count(*) FROM sqlite_master")
                if c.fetchone()[0]:
                    raise NotALedger(f"{self.where}: there is something already (name a new path)")
        with readable_errors(self.where):
            self.store.create()
        signer = Signer(self.keys.signing_seed(), origin)
        with self.writing() as c:
            c.execute("INSERT INTO meta VALUES ('origin', ?)", [origin.encode()])
            c.execute("INSERT INTO meta VALUES ('vkey', ?)", [signer.vkey.encode()])
            for name in _KEY_NAMES:
                wrapped = self.keys.wrap(self.randomness(KEY_BYTES), name)
                c.execute("INSERT INTO meta VALUES (?, ?)", [name.decode() + "_key", wrapped])
            checkpoint = signer.sign(format_checkpoint(origin, 0, EMPTY_ROOT))
            c.execute("INSERT INTO head VALUES (1, 0, ?, ?, ?, ?)", [EMPTY_ROOT, -(2**62), checkpoint, b""])
        with readable_errors(self.where), self.store.datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header says whose file it is
        self.load()

    def load(self) -> None:
        """Read what an open store needs. Raises NotALedger, NewerStore, KeyFileError."""
        with readable_errors(self.where):
            if self.store.check(self.where) < STORE_FORMAT:
                self.store.upgrade()
        with self.reading() as c:
            c.execute("SELECT name, value FROM meta")
            meta = dict(c.fetchall())
        self.origin = meta["origin"].decode()
        index_key, digest_key = (self.keys.unwrap(meta[name.decode() + "_key"], name) for name in _KEY_NAMES)
        self.signer = Signer(self.keys.signing_seed(), self.origin)
        if self.signer.vkey != meta["vkey"].decode():
            raise KeyFileError(f"{self.where}: the signing key is another store's (give the right folder with --keys)")
        self.vault = Vault(self.keys, index_key, digest_key, self.randomness)

    def forget(self) -> None:
        """Drop what is remembered of the store: after a rollback, or when another process wrote."""
        self.head: Head | None = None
        self.frontier = Frontier()
        self.tips: dict[str, tuple[int, bytes]] = {}  # stream -> last version, its leaf
        self.persons: dict[bytes, str] = {}  # alias -> person
        self.controllers: dict[str, Pack] | None = None
        self.recipients: set[tuple[str, str]] = set()
        if hasattr(self, "vault"):
            self.vault.forget_cache()

    def refresh(self, c: SQLiteCursor) -> Head:
        """The head, and everything remembered brought up to it. Requires the write lock."""
        head = read_head(c)
        if self.head is None or head.size != self.head.size or head.root != self.head.root:
            self.forget()
            nodes = [head.edge[n : n + 32] for n in range(0, len(head.edge), 32)]
            self.frontier = Frontier.from_nodes(head.size, nodes)
            if self.frontier.root() != head.root:
                raise StoreError(f"{self.where}: the head does not fit its own tree (run verify, restore a backup)")
            self.head = head
        if self.controllers is None:
            self.controllers = self._load_controllers(c)
            c.execute("SELECT controller, recipient FROM recipients")
            self.recipients = set(c.fetchall())
        return head

    # -- packs ---------------------------------------------------------------------------------------------------------

    def add_pack(self, body: bytes) -> Pack:
        """Store a pack by its digest and register its controller with it. Idempotent."""
        pack = load_pack(body)
        with self._lock, self.writing() as c:
            c.execute("INSERT OR IGNORE INTO packs VALUES (?,?,?)", [pack.sha256, pack.controller, body])
            c.execute(
                "INSERT INTO controllers VALUES (?,?) ON CONFLICT DO UPDATE SET pack_sha256=excluded.pack_sha256",
                [pack.controller, pack.sha256],
            )
        self.controllers = None
        return pack

    def _load_controllers(self, c: SQLiteCursor) -> dict[str, Pack]:
        c.execute("SELECT controller, pack_sha256 FROM controllers")
        return {controller: self.pack(sha256, c) for controller, sha256 in c.fetchall()}

    def pack(self, sha256: str, c: SQLiteCursor | None = None) -> Pack:
        """A stored pack. Raises PackError where it is absent."""
        if self.any_pack is not None:
            return self.any_pack
        found = self._packs.get(sha256)
        if found is None:
            if c is None:
                with self.reading() as cursor:
                    return self.pack(sha256, cursor)
            c.execute("SELECT body FROM packs WHERE sha256=?", [sha256])
            row = c.fetchone()
            if row is None:
                raise PackError(f"pack {sha256[:16]}… is not in the store (add its file with: pack add FILE)")
            if hashlib.sha256(row[0]).hexdigest() != sha256:
                raise PackError(f"pack {sha256[:16]}… was altered in the store (add its file again, check the disk)")
            found = self._packs[sha256] = load_pack(row[0])
        return found

    def registered(self, controller: str) -> Pack | None:
        """The pack registered last for a controller, inside a writing transaction. Requires `refresh`."""
        if self.any_pack is not None:
            return self.any_pack
        return (self.controllers or {}).get(controller)

    def controller_packs(self) -> dict[str, Pack]:
        """The pack registered last for each controller."""
        with self.reading() as c:
            return self._load_controllers(c)

    # -- the one way in ------------------------------------------------------------------------------------------------

    def record(self, bodies: Sequence[Any], now: int, *, scenario: Sequence[int] | None = None) -> list[Outcome]:
        """Record events, each a JSON object or an InvalidEvent found earlier; one outcome each, in order.

        `now`: the moment of recording, microseconds. `scenario`: moments of recording of its own for each.
        All of a call is one transaction: a failure (StoreError) leaves nothing of it.
        """
        with paused():
            return self._submit(self._prepared(bodies, scenario), now)

    def _prepared(self, bodies: Sequence[Any], scenario: Sequence[int] | None) -> list[Prepared | InvalidEvent]:
        prepared: list[Prepared | InvalidEvent] = []
        for number, body in enumerate(bodies):
            if isinstance(body, InvalidEvent):
                prepared.append(body)
                continue
            try:
                event = prepare(body)
                event.recorded_at = scenario[number] if scenario is not None else None
                prepared.append(event)
            except InvalidEvent as error:
                prepared.append(error)
        return prepared

    def _submit(self, prepared: list[Prepared | InvalidEvent], now: int) -> list[Outcome]:
        call = _Call(prepared, now)
        with self._queue_lock:
            self._waiting.append(call)
        with self._lock:
            if not call.done.is_set():
                self._lead()
        if call.error is not None:
            raise call.error
        return call.outcomes

    def _lead(self) -> None:
        """Write for everybody who waits, in one transaction. Requires the lock."""
        from ledger.append import Batch

        with self._queue_lock:
            calls, self._waiting = self._waiting, []
        try:
            with self.writing() as c:
                points.reached("begun")
                batch = Batch(self, c)
                for call in calls:
                    call.outcomes = batch.add(call.prepared, call.now)
                batch.finish()
                points.reached("before commit")
            # From here on the batch is there for good, whatever happens to this process.
            points.reached("after commit")
            batch.committed()
        except BaseException as error:
            for call in calls:
                call.error = error
                call.done.set()
            if isinstance(error, LedgerError):
                return
            raise
        for call in calls:
            call.done.set()

    def forget_if_moved(self, head: Head, *, without_entries: bool) -> None:
        """Drop what the writer remembers of names and keys where another process has written since.

        `without_entries`: the store changed and the log did not. A writer at work looks for itself.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            mine = self.head
            if mine is not None and (
                without_entries or head.size > mine.size or (head.size == mine.size and head.root != mine.root)
            ):
                self.forget()
        finally:
            self._lock.release()

    # -- reading -------------------------------------------------------------------------------------------------------

    def person(self, controller: str, name: str) -> str | None:
        """The identifier a name leads to, or None."""
        alias = self.vault.alias(controller, name)
        with self.reading() as c:
            c.execute("SELECT person FROM aliases WHERE alias=?", [alias])
            row = c.fetchone()
        return row[0] if row else None

    def known_names(self, person: str) -> int:
        """How many names lead to a person; none after erasure."""
        with self.reading() as c:
            c.execute("SELECT count(*) FROM aliases WHERE person=?", [person])
            count: int = c.fetchone()[0]
        return count

    def entries(self, stream: str) -> list[Entry]:
        """All entries of a stream, by version."""
        with self.reading() as c:
            c.execute("SELECT position, state FROM entries WHERE stream=? ORDER BY version", [stream])
            return [decode(position, state) for position, state in c.fetchall()]

    def page(self, start: int, limit: int = PAGE) -> list[Entry]:
        """Entries from a position on, in order of position."""
        with self.reading() as c:
            c.execute("SELECT position, state FROM entries WHERE position>=? ORDER BY position LIMIT ?", [start, limit])
            return [decode(position, state) for position, state in c.fetchall()]

    def current_head(self) -> Head:
        """The newest head."""
        with self.reading() as c:
            return read_head(c)

    def size_at(self, recorded_at: int) -> int:
        """How many entries were recorded by a moment, in microseconds. They are a beginning of the log."""
        with self.reading() as c:
            head = read_head(c)
            if head.recorded_at <= recorded_at:
                return head.size
            low, high = 0, head.size
            while low < high:
                middle = (low + high) // 2
                c.execute("SELECT state FROM entries WHERE position=?", [middle])
                if when_recorded(middle, c.fetchone()[0]) <= recorded_at:
                    low = middle + 1
                else:
                    high = middle
            return low

    def linked(self, person: str) -> set[str]:
        """All identifiers ever joined with this one, itself included."""
        with self.reading() as c:
            return linked(c, person)


def memory_name() -> str:
    """The name of a new store in memory."""
    return f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"


def open_file(path: Path, keys: KeyProvider, *, create: bool = False, only_read: bool = False) -> LedgerApplication:
    """The store in a file. Raises NotALedger for one that is not there, or (`create`) that is.

    `only_read`: SQLite itself refuses every write, and neither file nor write-ahead log is touched at the end.
    """
    if create and path.exists() and path.stat().st_size:
        raise NotALedger(f"{path}: there is a file already (name a new path)")
    if not create and not path.exists():
        raise NotALedger(f"{path}: there is no such store (make one with: consent-ledger init)")
    if not path.parent.is_dir():
        raise NotALedger(f"{path.parent}: there is no such folder (make it first)")
    with readable_errors(str(path)):
        if not create:
            require_store(path)
        mode = "?mode=ro" if only_read else ""
        return LedgerApplication(f"file:{quote(str(path))}{mode}", keys, where=str(path))


def require_store(path: Path) -> None:
    """Raise NotALedger unless the file's header says that it is a store. Nothing is opened by that."""
    try:
        with path.open("rb") as file:
            start = file.read(100)  # the file's header: nothing is opened, and so changed, that is not ours
    except OSError as error:
        raise NotALedger(f"{path}: cannot be read, {error.strerror} (name the file of a store)") from None
    ours = start[:16] == b"SQLite format 3\0" and start[68:72] == APPLICATION_ID.to_bytes(4, "big")
    if not ours:
        raise NotALedger(f"{path}: not a consent-ledger store (name another file, or run init on a new path)")
