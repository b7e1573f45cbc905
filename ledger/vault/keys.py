"""The key-encryption key and the log's signing key: what is kept apart from the data.

`KeyProvider` is the interface that a key management service can stand behind. `FileKeys`, the embedded default, is a
folder with two small files, readable by their owner only, the journal of erasures that a restored backup replays, and a
line for every head that was signed.
"""

from __future__ import annotations

import base64
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consent_ledger.ledger.errors import KeyFileError, StoreBusy
from consent_ledger.ledger.files import durable, held
from consent_ledger.ledger.times import FOREVER
from consent_ledger.ledger.vault.heads import HeadFile, SignedHead

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
JOURNAL: Final = "erasures.ndjson"
OUTLIVED: Final = "suppressed.ndjson"
SIGNED: Final = "signed.ndjson"
UNFINISHED: Final = "unfinished"  # there while the keys of a store that is being made have sealed nothing yet
RETIRED: Final = "retired.ndjson"
TURN_SECONDS: Final = 10.0  # how long a writer waits for its turn
_POLL_SECONDS: Final = 0.0005


Outlived = tuple[str, str, int]  # hash of an address in hex, a no as JSON, the end of the day in microseconds


class KeyProvider(Protocol):
    """Wraps data keys, and holds the seed of the log's signing key."""

    def wrap(self, key: bytes, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises KeyFileError where this key-encryption key is not the one that wrapped it."""
        ...

    def signing_seed(self) -> bytes: ...

    def note_erasure(
        self,
        persons: list[str],
        kind: str,
        until: int | None,
        suppressed: list[Outlived],
        traces: Sequence[str] = (),
    ) -> None:
        """Journal an erasure, or (`kind` deletion) the destruction of what was recorded until a time in force.

        `suppressed`: what outlives it. Of an erasure it goes to `outlived`, and so does what the journal still says of
        deletions of the same persons: no line may lead from an address to somebody who is erased.
        `traces`: handles, in hex, of letters and refused events destroyed with them, who may be nobody (`persons`
        empty). They stand sorted in one row of their own (`kind` traces), so that it says nothing of whose they were.
        """
        ...

    def note_waits(self) -> bool:
        """Whether a `note_erasure` is under way, or was cut short."""
        ...

    def finish_note(self) -> None:
        """Finish a `note_erasure` that was cut short, or take it back. Requires the turn."""
        ...

    def erasures(self) -> list[dict[str, Any]]: ...

    def outlived(self) -> list[Outlived]:
        """What outlives all who were erased, sorted, so that its order says nothing."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """A writer's turn among all who sign with these keys; they get it one after the other.

        Raises StoreBusy after ten seconds. Whoever has it is alone in calling `reserve_head`, `note_head`, `retire` and
        `note_erasure`. A process that dies gives it back.
        """
        ...

    def reserve_head(self) -> None:
        """See to it that the next `note_head` has room. Raises StoreFull or StoreReadOnly where it has none."""
        ...

    def note_head(self, head: SignedHead) -> None:
        """Remember for good that this head was signed. It is on disk when this returns."""
        ...

    def signed_head(self, log: str) -> SignedHead | None:
        """The newest head of a log that is remembered, or None."""
        ...

    def retire(self, log: str) -> bytes:
        """Give up the signing key of a log and make a new one. Returns its seed; `retired` still knows the old."""
        ...

    def retired(self) -> dict[str, bytes]:
        """The seeds of signing keys that were given up, by log."""
        ...

    def close(self) -> None:
        """Let go of what is open; no longer to be used."""
        ...


class MemoryKeys:
    """Keys that live as long as the process: for scenarios and tests."""

    def __init__(self, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._random = randomness
        self._kek = AESGCM(randomness(KEY_BYTES))
        self._seed = randomness(KEY_BYTES)
        self._erasures: list[dict[str, Any]] = []
        self._outlived: list[Outlived] = []
        self._signed: dict[str, SignedHead] = {}
        self._retired: dict[str, bytes] = {}
        self._turn = threading.Lock()

    def wrap(self, key: bytes, context: bytes) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + self._kek.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._kek.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except (InvalidTag, ValueError, TypeError):  # too short to have been sealed, or no bytes at all
            raise KeyFileError(
                "the key-encryption key does not open this store: give the keys folder that was made with it (--keys)"
            ) from None

    def signing_seed(self) -> bytes:
        return self._seed

    def note_erasure(
        self,
        persons: list[str],
        kind: str,
        until: int | None,
        suppressed: list[Outlived],
        traces: Sequence[str] = (),
    ) -> None:
        self.finish_note()
        row = {"persons": persons, "kind": kind, "until": until}
        if kind != "erase":
            self._add({**row, "suppressed": suppressed})
            return
        journal, known = self.erasures(), [*self.outlived(), *suppressed]
        handles = sorted({*traces, *(handle for one in journal for handle in one.get("traces", ()))})
        journal = [one for one in journal if one["kind"] != "traces"]
        for one in journal:
            if not set(persons).isdisjoint(one.get("persons", ())):
                known += [(key, said, end) for key, said, end in one.pop("suppressed", ())]
        latest = {(key, said): end for key, said, end in sorted(known)}
        first = [{"kind": "traces", "traces": handles}] if handles else []
        rows = [*first, *journal, *([row] if persons else [])]
        self._replace(rows, [(key, said, end) for (key, said), end in latest.items()])

    def erasures(self) -> list[dict[str, Any]]:
        return list(self._erasures)

    def outlived(self) -> list[Outlived]:
        return self._outlived

    @contextmanager
    def turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise StoreBusy("another ledger with these keys is writing (retry when it is done)")
        try:
            yield
        finally:
            self._turn.release()

    def reserve_head(self) -> None:
        """Nothing: there is room in memory."""

    def note_head(self, head: SignedHead) -> None:
        self._signed[head.log] = head

    def signed_head(self, log: str) -> SignedHead | None:
        return self._signed.get(log)

    def retire(self, log: str) -> bytes:
        self._retired[log] = self._seed
        self._seed = self._random(KEY_BYTES)
        return self._seed

    def retired(self) -> dict[str, bytes]:
        return dict(self._retired)

    def note_waits(self) -> bool:
        return False

    def finish_note(self) -> None:
        """Nothing is cut short in memory."""

    def close(self) -> None:
        """Nothing is open."""

    def _add(self, row: dict[str, Any]) -> None:
        self._erasures.append(row)

    def _replace(self, journal: list[dict[str, Any]], outlived: list[Outlived]) -> None:
        self._erasures, self._outlived = journal, outlived


class FileKeys(MemoryKeys):
    """A folder with `kek` and `signing` (32 bytes each, base64), and what is remembered beside them, line by line.

    The folder and all in it are the owner's alone: wider rights are taken away when it is opened.
    """

    def __init__(self, folder: Path, *, create: bool = False, randomness: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(randomness)
        self.folder = Path(os.path.realpath(folder))  # the same one, whatever folder this process works in later
        if create:
            self._create(randomness)
        self._kek_bytes = _read_key(self.folder / "kek")
        self._kek = AESGCM(self._kek_bytes)
        self._seed = _read_key(self.folder / "signing")
        self._heads = HeadFile(self.folder / SIGNED)
        self._heads_lock = threading.Lock()  # of `_heads`: whoever asks what was signed is no writer in its turn
        self._queue: dict[str, int] = {}

    def _create(self, randomness: Callable[[int], bytes]) -> None:
        """Make the keys, or those that an earlier attempt did not come to."""
        with durable.readable(self.folder):
            durable.private_folder(self.folder)
            again = (self.folder / UNFINISHED).exists()
            if not again and not (self.folder / "kek").exists() and not (self.folder / "signing").exists():
                durable.create(self.folder / UNFINISHED)
        for name in ("kek", "signing"):
            if not (again and (self.folder / name).exists()):
                _write_new(self.folder / name, base64.b64encode(randomness(KEY_BYTES)) + b"\n")

    def finished(self) -> None:
        """The store of these keys is there: from now on they are never made again."""
        if (self.folder / UNFINISHED).exists():
            with durable.readable(self.folder):
                for name in ("kek.partial", "signing.partial", UNFINISHED):
                    (self.folder / name).unlink(missing_ok=True)
                durable.sync_folder(self.folder)

    def close(self) -> None:
        """Let go of the folder's files."""
        for handle in self._queue.values():
            held.close(handle)
        self._queue.clear()
        self._heads.close()

    def keep_private(self) -> None:
        """Take away the rights that others have in the folder, with a word. Raises StoreReadOnly where that fails."""
        for path in (self.folder, *sorted(self.folder.iterdir())):
            with suppress(FileNotFoundError):  # a file that waited for its name has it now
                durable.mend(path)

    def _add(self, row: dict[str, Any]) -> None:
        """Append to the journal and force it to disk: a backup restored later must not bring anybody back."""
        with durable.readable(self.folder):
            durable.append_line(self.folder / JOURNAL, orjson.dumps(row))

    def _replace(self, journal: list[dict[str, Any]], outlived: list[Outlived]) -> None:
        """Write both files anew, both or neither."""
        bodies = [b"".join(orjson.dumps(line) + b"\n" for line in lines) for lines in (outlived, journal)]
        with durable.readable(self.folder):
            durable.replace_both(self.folder / OUTLIVED, self.folder / JOURNAL, (bodies[0], bodies[1]))

    def note_waits(self) -> bool:
        return any(os.path.lexists(self.folder / f"{name}.partial") for name in (OUTLIVED, JOURNAL))

    def finish_note(self) -> None:
        with durable.readable(self.folder):
            durable.finish_both(self.folder / OUTLIVED, self.folder / JOURNAL)

    def erasures(self) -> list[dict[str, Any]]:
        lines, _ = durable.read_lines(self.folder / JOURNAL)
        return [line for line in lines if _is_erasure(line)]  # a torn or foreign one was never acted upon

    def outlived(self) -> list[Outlived]:
        lines, _ = durable.read_lines(self.folder / OUTLIVED)
        return [(line[0], line[1], line[2]) for line in lines if _is_outlived(line)]

    def foreign_lines(self) -> dict[str, int]:
        """How many lines of each journal are torn or nobody's, by name of the file."""
        found = {}
        for name, known in ((JOURNAL, _is_erasure), (OUTLIVED, _is_outlived)):
            lines, foreign = durable.read_lines(self.folder / name)
            found[name] = foreign + sum(not known(line) for line in lines)
        return found

    # -- turns and heads -----------------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Two locks: who waits has the first, who writes has the second, so that nobody is overtaken twice."""
        until = time.monotonic() + TURN_SECONDS
        with super().turn():
            try:
                try:
                    self._take("queue.lock", until)
                    self._take("turn.lock", until)
                finally:
                    self._give("queue.lock")
                yield
            finally:
                self._give("turn.lock")

    def _give(self, name: str) -> None:
        """Unlock it, if it was taken: a stop can come between any two steps."""
        if name in self._queue:
            fcntl.flock(self._queue[name], fcntl.LOCK_UN)

    def _take(self, name: str, until: float) -> None:
        while True:
            handle = self._queue.get(name)
            if handle is None:
                handle = self._open_lock(name)
            if not durable.locked(handle):
                if time.monotonic() > until:
                    raise StoreBusy(
                        f"{self.folder}: another process with these keys is writing (retry when it is done)"
                    )
                time.sleep(_POLL_SECONDS)
            elif durable.same(os.fstat(handle), self.folder / name):
                return
            else:
                # The file was removed, or the folder is another one now: others take their turns by what is there.
                held.close(self._queue.pop(name))
                self._require_same_keys()

    def _open_lock(self, name: str) -> int:
        with durable.readable(self.folder):
            handle = os.open(
                self.folder / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, durable.FILE_MODE
            )
            os.fchmod(handle, durable.FILE_MODE)  # whatever the umask
        self._queue[name] = handle
        held.close_in_child(handle)
        return handle

    def _require_same_keys(self) -> None:
        """Raise KeyFileError where the folder holds other keys than it did: nothing about this store is noted there."""
        if _read_key(self.folder / "kek") != self._kek_bytes:
            raise KeyFileError(f"{self.folder}: holds the keys of another store since (put the right folder back)")

    def reserve_head(self) -> None:
        with durable.readable(self.folder / SIGNED), self._heads_lock:
            self._heads.reserve()

    def note_head(self, head: SignedHead) -> None:
        with durable.readable(self.folder / SIGNED), self._heads_lock:
            self._heads.note(head)

    def signed_head(self, log: str) -> SignedHead | None:
        with durable.readable(self.folder / SIGNED), self._heads_lock:
            return self._heads.last(log)

    def retire(self, log: str) -> bytes:
        """The old seed is written down before the new one takes its place: none is ever lost."""
        seed = self._random(KEY_BYTES)
        with durable.readable(self.folder):
            if self.retired().get(log) != self._seed:
                line = {"log": log, "signing": base64.b64encode(self._seed).decode()}
                durable.append_line(self.folder / RETIRED, orjson.dumps(line))
            durable.replace(self.folder / "signing", base64.b64encode(seed) + b"\n")
        self._seed = seed
        return seed

    def retired(self) -> dict[str, bytes]:
        lines, _ = durable.read_lines(self.folder / RETIRED)
        return dict(found for line in lines if (found := _retired(line)) is not None)


_NEEDS: Final = {"erase": ("persons",), "deletion": ("persons", "until"), "traces": ("traces",)}


def _is_erasure(line: Any) -> bool:
    """Whether a line is a row of the journal; one of a kind that only a newer program knows is one, too.

    Whatever the kind, a member that rows of other kinds have is what it is there: others are read past.
    """
    match line:
        case {"kind": str(kind)}:
            return all(line.get(name) is not None for name in _NEEDS.get(kind, ())) and all(
                _MEMBERS[name](value) for name, value in line.items() if name in _MEMBERS
            )
        case _:
            return False


def _retired(line: Any) -> tuple[str, bytes] | None:
    """(log, seed) of a line; None where it is torn or nobody's."""
    match line:
        case {"log": str(log), "signing": str(signing)}:
            with suppress(ValueError):
                seed = base64.b64decode(signing, validate=True)
                return (log, seed) if len(seed) == KEY_BYTES else None
            return None
        case _:
            return None


def _is_outlived(line: Any) -> bool:
    known = isinstance(line, list) and [type(one) for one in line] == [str, str, int]
    return known and _is_hex(line[0]) and _is_moment(line[2])


def _is_moment(value: Any) -> bool:
    """A time as it is stored; none where nothing is said."""
    return value is None or (type(value) is int and abs(value) <= FOREVER)


def _is_hex(text: Any) -> bool:
    try:
        bytes.fromhex(text)
    except (ValueError, TypeError):
        return False
    return True


def _all(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


_MEMBERS: Final[dict[str, Callable[[Any], bool]]] = {
    "persons": _all(lambda one: isinstance(one, str)),
    "until": _is_moment,
    "suppressed": _all(_is_outlived),
    "traces": _all(_is_hex),
}


def _write_new(path: Path, body: bytes) -> None:
    try:
        durable.create_whole(path, body)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already: it may be another store's key (name another folder)") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None


def _read_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except FileNotFoundError:
        raise KeyFileError(
            f"{path} is missing: without it nothing sealed can be read (give the right folder with --keys)"
        ) from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path} cannot be read as a key: {error}") from None
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path} holds {len(key)} bytes, a key has {KEY_BYTES}")
    return key
