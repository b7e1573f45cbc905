"""A store opened for use: its one writer and its readers, its keys, its packs, and what is remembered of it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import (
    Closed,
    CorruptEntry,
    HeadNotNoted,
    KeyFileError,
    NotALedger,
    PackError,
    StoreBehind,
    StoreError,
    StoreReadOnly,
)
from consent_ledger.ledger.intake.ends import Ends
from consent_ledger.ledger.intake.persons import linked
from consent_ledger.ledger.log.checkpoint import Signer, format_checkpoint
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.log.entry import recorded_at as when_recorded
from consent_ledger.ledger.log.merkle import Frontier, root_at
from consent_ledger.ledger.log.verifier import EMPTY_ROOT, ProofError
from consent_ledger.ledger.outcome import Outcome as Outcome  # noqa: PLC0414  had from here as well
from consent_ledger.ledger.policy.load import load_pack, require_within_limits
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.contract import Moment, Reader, Store, Transaction
from consent_ledger.ledger.store.tables import entries, meta, packs, people
from consent_ledger.ledger.store.tables.head import Head, make_head, read_head, readers
from consent_ledger.ledger.vault.heads import SignedHead
from consent_ledger.ledger.vault.keys import KEY_BYTES, KeyProvider
from consent_ledger.ledger.vault.vault import Vault

if TYPE_CHECKING:
    from consent_ledger.ledger.intake.admission import Judge

PAGE: Final = 1000
READ_ONLY: Final = {
    "ro": "it was asked for",
    "denied": "the file or its disk cannot be written (check its owner, its rights and the mount)",
    "immutable": "the file or its disk cannot be written (check its owner, its rights and the mount)",
    "linked": "the file has several names, hard links, each of which would get a write-ahead log of its own (remove "
    "the other names; copy a store with: consent-ledger backup)",
    "role": "this role may only read, or the server is a replica (open it as a member of the writer role)",
    "retired": "another log goes on in its place, and its signing key was given up (use the store of that log)",
}
_KEY_NAMES: Final = (b"index", b"digest")


RETRY_BATCHES: Final = 256


class Unscrubbed:
    """Why files still hold what was destroyed, and after how many batches that is tried again: 1, 2, 4 ... 256."""

    def __init__(self, why: str, before: Unscrubbed | None) -> None:
        self.why = why
        self.pause: int = min(before.pause * 2, RETRY_BATCHES) if before is not None else 1
        self._left = self.pause

    def is_due(self) -> bool:
        """Whether it is time. To be asked once a batch."""
        self._left -= 1
        return self._left < 0


class ReadingHere(threading.local):
    """Through what a thread reads: an answer's reader, else a transaction that it has begun, else nothing yet."""

    reader: Reader | None = None
    moment: Moment | None = None


class _Within:
    """The moment that a writing transaction sees itself."""

    def __init__(self, c: Transaction) -> None:
        self._c = c

    @contextmanager
    def cursor(self) -> Iterator[Transaction]:
        yield self._c


class Opened:
    """A store opened for use, and what is remembered of it. `ledger.intake.application` adds the way in."""

    def __init__(
        self,
        store: Store,
        keys: KeyProvider,
        *,
        how: str = "rw",
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.store = store
        self.where = store.where
        self.how = how  # rw; copy: not yet a store, nothing is signed; else a key of READ_ONLY
        self.unscrubbed: Unscrubbed | None = None  # why the files still hold what was destroyed
        self._unnoted: SignedHead | None = None  # signed in the transaction that is being written
        self.keys = keys
        self.randomness = randomness
        self.reading_here = ReadingHere()
        self._readers: list[Reader] = []
        self.any_pack: Pack | None = None  # scenarios: this pack serves every version, and any time goes
        self._lock = threading.RLock()
        self._packs: dict[str, Pack] = {}
        self.any_kept = False  # whether noes of deleted or erased persons are kept, when this process looked last
        self._last_packs: dict[str, Pack] = {}  # by controller, as they were when this process looked last
        self.judge: Judge | None = None  # what decides, for the door; set by whoever answers questions
        self.forget()

    def close(self) -> None:
        """Let go of the store. A child process closes nothing of its parent's."""
        if self.inherited:
            return
        for reader in self._readers:
            reader.close()
        self.store.close()
        self.keys.close()

    def __del__(self) -> None:
        """Whoever forgets to close it leaves no file in use."""
        with suppress(AttributeError):  # it was never whole
            self.close()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A consistent view of the store: inside an answer, or inside another reading of this thread, the same one."""
        here = self.reading_here
        if here.reader is None and here.moment is None:
            with self.reading_newest() as c:
                yield c
            return
        current = here.reader or here.moment
        assert current is not None
        with self.store.errors(), current.cursor() as c:
            yield c

    @contextmanager
    def reading_newest(self) -> Iterator[Transaction]:
        """A consistent view of the store as it is now, whatever answer this thread is in."""
        here = self.reading_here
        before = here.reader, here.moment
        with self.store.reading() as moment, moment.cursor() as c:
            here.reader, here.moment = None, moment
            try:
                yield c
            finally:
                here.reader, here.moment = before
            self.check_still()

    def reader(self) -> Reader:
        """A reader of this store, closed with it. A thread reads through it while `reading_here` says so."""
        reader = self.store.reader()
        self._readers.append(reader)
        return reader

    @contextmanager
    def writing(self, *, guarded: bool = True) -> Iterator[Transaction]:
        """The store's only writer, until the block ends. An exception takes everything back.

        Writers take turns: threads by a lock of the application's, processes by one of the keys'. What the block signed
        is noted beside the keys after the commit. Raises StoreBehind for a store that is not the one that was signed,
        StoreLost where its files were replaced, HeadNotNoted where all is committed and only the note is missing.
        """
        if self.how not in ("rw", "copy"):
            raise StoreReadOnly(f"{self.where}: is open for reading only: {READ_ONLY[self.how]}")
        if self.store.closed:
            raise Closed
        if self.reading_here.reader is not None or self.reading_here.moment is not None:
            raise StoreError(f"{self.where}: cannot be written from inside something that reads it (end that first)")
        self.check_process()
        with self._lock, self.store.errors(), self.keys.turn():
            self._unnoted = None
            try:
                if not self.store.in_memory:
                    self.keys.reserve_head()
                with self.store.writing() as c:
                    if guarded:
                        self._refuse_behind(c)
                    yield c
                    self.check_names()
            except BaseException:
                self.forget()
                raise
            # From here on the batch is there for good, whatever happens to this process.
            crashpoints.reached("after commit")
            self._note_signed()
            crashpoints.reached("head noted")

    @property
    def inherited(self) -> bool:
        """Whether this is a child of the process that opened the store."""
        return self.store.inherited

    def check_to_read(self) -> None:
        """Raise StoreLost where something else has the name of the store, Forked in a child process."""
        self.store.check_to_read()

    def check_process(self) -> None:
        """Raise Forked in a child process, before it waits for a lock that a thread of its parent has for ever."""
        self.store.check_process()

    def check_names(self) -> None:
        """Raise StoreLost unless what is in use still has its names, Forked in a child process."""
        self.store.check_names()

    def check_still(self) -> None:
        """After something was read, raise StoreLost where the store was taken for one that nobody writes."""
        self.store.check_still()

    # -- what was signed -----------------------------------------------------------------------------------------------

    def behind(self, c: Transaction) -> str | None:
        """Why this is not the log that its keys have signed: it is shorter, or another one. None where it is."""
        noted = self.keys.signed_head(self.origin)
        head = read_head(c)
        if noted is None or (noted.size, noted.root) == (head.size, head.root):
            return None
        if noted.size > head.size:
            missing = f"{head.size} to {noted.size - 1}" if noted.size - head.size > 1 else f"{head.size}"
            return (
                f"{self.where}: has {head.size} entries, and its keys have signed a longer log of {noted.size}: "
                f"this is an older copy, in which {missing} are missing"
            )
        if root_at(noted.size, *readers(c)) != noted.root:
            return (
                f"{self.where}: its first {noted.size} entries are not those that its keys have signed: another history"
            )
        return None

    def _refuse_behind(self, c: Transaction) -> None:
        if self.store.in_memory or self.how == "copy":
            return
        why = self.behind(c)
        if why is not None:
            raise StoreBehind(
                f"{why}. It can be read and is not written (put the right file back; if that is lost, go on "
                "without what is missing: consent-ledger recover)"
            )

    def will_sign(self, head: Head) -> None:
        """The head that the transaction being written has signed."""
        self._unnoted = SignedHead(self.origin, head.size, head.root)

    def _note_signed(self) -> None:
        self.check_names()
        if self._unnoted is None or self.how == "copy":
            return
        try:
            self.keys.note_head(self._unnoted)
        except StoreError as error:
            raise HeadNotNoted(
                f"{error}. What was to be recorded is in the store, entries below {self._unnoted.size}; record it "
                "again when that is mended: it counts once"
            ) from error

    def tell(self, head: Head) -> Head:
        """A head that may be shown outside: that it was signed is noted first. Raises StoreBehind."""
        if not self.store.in_memory and self.how == "rw":
            noted = self.keys.signed_head(self.origin)
            if noted is None or noted.size < head.size:
                with self.writing() as c:
                    self.will_sign(read_head(c))
        return head

    # -- open ----------------------------------------------------------------------------------------------------------

    def initialise(self, origin: str) -> None:
        """Make the tables, the store's own keys and the first checkpoint. Requires an empty store."""
        if not self.store.is_empty():
            raise NotALedger(f"{self.where}: there is something already (name a new path)")
        signer = Signer(self.keys.signing_seed(), origin)
        with self.store.writing() as c:
            self.store.create(c)
            meta.put(c, "origin", origin.encode())
            meta.put(c, "vkey", signer.vkey.encode())
            for name in _KEY_NAMES:
                wrapped = self.keys.wrap(self.randomness(KEY_BYTES), name)
                meta.put(c, name.decode() + "_key", wrapped)
            checkpoint = signer.sign(format_checkpoint(origin, 0, EMPTY_ROOT))
            make_head(c, EMPTY_ROOT, -(2**62), checkpoint)
        crashpoints.reached("store made")
        self.store.settle()
        self.load()
        with self.keys.turn():
            self.keys.reserve_head()
            self.keys.note_head(SignedHead(origin, 0, EMPTY_ROOT))

    def load(self) -> int:
        """Read what an open store needs. Returns the format of its tables.

        Raises NotALedger, NewerStore, KeyFileError, StoreReadOnly, Forked.
        """
        found = self.store.check()
        with self.reading() as c:
            self.take_in(c)
        return found

    def take_in(self, c: Transaction) -> None:
        """Read whose store it is, and what its keys open. Raises CorruptEntry, KeyFileError."""
        said = meta.everything(c)
        read_head(c)
        try:
            self.origin, vkey = said["origin"].decode(), said["vkey"].decode()
            wrapped = [(said[name.decode() + "_key"], name) for name in _KEY_NAMES]
        except (KeyError, ValueError) as error:
            raise CorruptEntry(
                f"{self.where}: meta: what it says of the store is damaged, {error} (restore a backup)"
            ) from None
        index_key, digest_key = (self.keys.unwrap(*one) for one in wrapped)
        self.signer = self._signer(vkey)
        self.vault = Vault(self.keys, index_key, digest_key, self.randomness)

    @contextmanager
    def filling(self) -> Iterator[Transaction]:
        """Make the tables of a copy, for the block to fill: one transaction. Requires an empty store.

        Whatever this thread reads meanwhile is what was filled in, after `take_in` also with the vault. An exception
        leaves nothing of it.
        """
        assert self.how == "copy"
        if not self.store.is_empty():
            raise NotALedger(f"{self.where}: there is something already (name a new path)")
        with self.store.errors(), self.store.writing() as c:
            self.store.create(c)
            self.reading_here.moment = _Within(c)
            try:
                yield c
            finally:
                self.reading_here.moment = None
            crashpoints.reached("before copy commit")
        self.store.settle()

    def _signer(self, vkey: str) -> Signer:
        """The signer whose key the store names. Raises KeyFileError."""
        signer = Signer(self.keys.signing_seed(), self.origin)
        if signer.vkey == vkey:
            return signer
        old = self.keys.retired().get(self.origin)
        if old is not None and Signer(old, self.origin).vkey == vkey:
            if self.how == "rw":
                self.how = "retired"
            return Signer(old, self.origin)
        raise KeyFileError(f"{self.where}: the signing key is another store's (give the right folder with --keys)")

    def forget(self) -> None:
        """Drop what is remembered of the store: after a rollback, or when another process wrote."""
        self.head: Head | None = None
        self.frontier = Frontier()
        self.tips: dict[str, tuple[int, bytes]] = {}  # stream -> last version, its leaf
        self.persons: dict[bytes, str] = {}  # alias -> person
        self.ends: dict[str, Ends] = {}  # person -> what ends in deletion
        self.controllers: dict[str, Pack] = {}
        self._registered: dict[str, str] = {}  # what `controllers` was read from
        self.recipients: set[tuple[str, str]] = set()
        if hasattr(self, "vault"):
            self.vault.forget_cache()

    def refresh(self, c: Transaction) -> Head:
        """The head, and everything remembered brought up to it. Requires the write lock."""
        head = read_head(c)
        if self.head is None or head.size != self.head.size or head.root != self.head.root:
            self.forget()
            nodes = [head.edge[n : n + 32] for n in range(0, len(head.edge), 32)]
            try:
                self.frontier = Frontier.from_nodes(head.size, nodes)
            except ProofError:
                self.frontier = Frontier()
            if self.frontier.root() != head.root:
                raise StoreError(f"{self.where}: the head does not fit its own tree (run verify, restore a backup)")
            self.head = head
        registered = self._registered_packs(c)
        if registered != self._registered:  # by this process or another
            self._registered = registered
            self.controllers = {controller: self.pack(sha256, c) for controller, sha256 in registered.items()}
            self._last_packs = dict(self.controllers)
            self.recipients = set(packs.recipients(c))
        return head

    # -- packs ---------------------------------------------------------------------------------------------------------

    def add_pack(self, body: bytes) -> Pack:
        """Store a pack by its digest and register its controller with it. Idempotent."""
        require_within_limits(body)
        pack = load_pack(body)
        with self.writing() as c:
            packs.add(c, pack.sha256, pack.controller, body)
            bound = self.vault.bound_pack(pack.controller, pack.sha256)
            packs.register(c, pack.controller, pack.sha256, bound)
        self._last_packs = {**self._last_packs, pack.controller: pack}
        return pack

    def _registered_packs(self, c: Transaction) -> dict[str, str]:
        """Controller to the digest of its pack. Raises CorruptEntry where a row was altered."""
        rows = packs.registered(c)
        for controller, sha256, bound in rows:
            if bound != self.vault.bound_pack(controller, sha256):
                raise CorruptEntry(f"{self.where}: the pack of {controller!r} was exchanged (add the right one again)")
        return {controller: sha256 for controller, sha256, _ in rows}

    def _load_controllers(self, c: Transaction) -> dict[str, Pack]:
        return {controller: self.pack(sha256, c) for controller, sha256 in self._registered_packs(c).items()}

    def pack(self, sha256: str, c: Transaction | None = None) -> Pack:
        """A stored pack. Raises PackError where it is absent."""
        if self.any_pack is not None:
            return self.any_pack
        found = self._packs.get(sha256)
        if found is None:
            if c is None:
                with self.reading() as cursor:
                    return self.pack(sha256, cursor)
            body = packs.body(c, sha256)
            if body is None:
                raise PackError(f"pack {sha256[:16]}… is not in the store (add its file with: pack add FILE)")
            if hashlib.sha256(body).hexdigest() != sha256:
                raise PackError(f"pack {sha256[:16]}… was altered in the store (add its file again, check the disk)")
            found = self._packs[sha256] = load_pack(body)
        return found

    def registered(self, controller: str) -> Pack | None:
        """The pack registered last for a controller, inside a writing transaction. Requires `refresh`."""
        if self.any_pack is not None:
            return self.any_pack
        return self.controllers.get(controller)

    def controller_packs(self) -> dict[str, Pack]:
        """The pack registered last for each controller."""
        with self.reading() as c:
            return self._load_controllers(c)

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
        with self.reading() as c:
            return self.vault.find_name(c, controller, name)

    def known_names(self, person: str) -> int:
        """How many names lead to a person; none after erasure."""
        with self.reading() as c:
            return people.count_names(c, person)

    def entries(self, stream: str) -> list[Entry]:
        """All entries of a stream, by version."""
        with self.reading() as c:
            return [decode(*row) for row in entries.of_stream(c, stream)]

    def page(self, start: int, limit: int = PAGE) -> list[Entry]:
        """Entries from a position on, in order of position."""
        with self.reading() as c:
            return [decode(*row) for row in entries.page(c, start, limit)]

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
                state = entries.state(c, middle)
                assert state is not None
                if when_recorded(middle, state) <= recorded_at:
                    low = middle + 1
                else:
                    high = middle
            return low

    def linked(self, person: str) -> set[str]:
        """All identifiers ever joined with this one, itself included."""
        with self.reading() as c:
            return linked(c, person)
