"""The one descriptor of its own that this process has of a store's file, and what SQLite cannot see of that file.

POSIX drops all locks that a process has on a file as soon as it closes any descriptor of it. SQLite knows, and keeps
its own descriptors open; a descriptor that anybody else opens and closes takes SQLite's locks away, and the next
process deletes the write-ahead log under this one. So nothing here or elsewhere opens a store's file but `descriptor`,
and what that opens stays open until the process ends.

With that descriptor go the guards against what SQLite cannot see:

    two names     a hard link, or a mount of the one file: each would get a write-ahead log of its own, so that a file
                  in use under one name is refused under another, and one with several links is only read
    lost names    a file or log that was replaced or deleted: what is written to it is lost
    fork          a child inherits SQLite's idea of its locks, and not the locks
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from consent_ledger.ledger.errors import Forked, NotALedger, StoreLost, StoreReadOnly, StoreShared

Inode = tuple[int, int]  # device, number
_LOG_FILES: Final = ("-wal", "-shm")
# Where the lock lies that says under which name a file is in use: far behind SQLite's own (1 GiB), and any data.
_NAMES: Final = 1 << 41
_NAMES_END: Final = 1 << 42
_CHUNK: Final = 1 << 20

_lock = threading.Lock()
_descriptors: dict[Inode, int] = {}
_in_use: dict[Inode, Held] = {}
_inherited: set[Inode] = set()  # files that were in use in the process that this one was forked from
_closed_in_child: set[int] = set()
_connections: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Held:
    """A store's file in use under one name, by so many ledgers of this process."""

    path: Path
    inode: Inode
    offset: int
    users: int = 0
    seen: tuple[str, ...] = ()  # of `names`, those that an answer looks at
    names: dict[str, Inode] = field(default_factory=dict)  # of the file, the write-ahead log and its index

    @property
    def links(self) -> int:
        """How many names the file has."""
        return os.fstat(_descriptors[self.inode]).st_nlink

    @property
    def inherited(self) -> bool:
        """Whether this is a child of the process that opened it."""
        return self.inode in _inherited

    def remember(self) -> None:
        """Remember which files have the names of the write-ahead log. Requires that SQLite has them open."""
        for suffix in _LOG_FILES:
            found = _inode(f"{self.path}{suffix}")
            if found is not None:
                self.names.setdefault(f"{self.path}{suffix}", found)
        self.seen = tuple(name for name in self.names if not name.endswith("-shm"))

    def check_process(self) -> None:
        """Raise Forked in a child of the process that opened the file."""
        if self.inherited:
            raise Forked(f"{self.path}: {FORKED}")

    def check_to_read(self) -> None:
        """As `check`, for what is asked all the time: whoever puts another index there puts another log there."""
        self._check(self.seen)

    def check(self) -> None:
        """Raise StoreLost unless the files that are in use still have their names, Forked in a child."""
        self._check(self.names)

    def _check(self, paths: Iterable[str]) -> None:
        self.check_process()
        for path in paths:
            if _inode(path) != self.names[path]:
                raise StoreLost(f"{path}: {_LOST}")


FORKED: Final = (
    "this process was forked from one that had the store open, and a ledger does not survive a fork "
    "(open it after forking, or start the process with spawn)"
)
_LOST: Final = (
    "was replaced or deleted while this ledger had it open; what was recorded last may be lost "
    "(close, look at the files, open again, and record again what was not acknowledged)"
)


def _inode(path: str) -> Inode | None:
    try:
        found = os.stat(path)  # noqa: PTH116  three of these a question: twice as fast without a Path
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Still:
    """A file that was opened as one that nobody writes: SQLite looks for no change of it, so that somebody has to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def _look(self) -> tuple[int, ...]:
        found, log = self._path.stat(), self._path.with_name(self._path.name + "-wal")
        return found.st_ino, found.st_size, found.st_mtime_ns, log.stat().st_size if log.exists() else 0

    def check(self) -> None:
        """Raise StoreLost where somebody did write it."""
        if self._look() != self._seen:
            raise StoreLost(
                f"{self._path}: cannot be written from here and was opened as a file that nobody writes, but somebody "
                "did, by another way: what was read is old, or mixed (open it again)"
            )


def descriptor(path: Path) -> int:
    """This process's own descriptor of a file, opened once and never closed. Raises NotALedger, StoreReadOnly."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "Is a directory" if stat.S_ISDIR(found.st_mode) else "is no regular file"
            raise NotALedger(f"{path}: {what} (name the file of a store)")
        _sweep()
        with _lock:
            handle = _descriptors.get((found.st_dev, found.st_ino))
            if handle is None:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                opened = os.fstat(handle)
                # never closed, even if the file was replaced in between
                handle = _descriptors.setdefault((opened.st_dev, opened.st_ino), handle)
            return handle
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise NotALedger(f"{path}: there is no such file (name the file of a store)") from None
        raise StoreReadOnly(f"{path}: cannot be read, {error.strerror} (check its owner and its rights)") from None


def _sweep() -> None:
    """Let go of files that have no name any more: nobody can open, and so lock, them."""
    with _lock:
        for inode, handle in list(_descriptors.items()):
            if inode not in _in_use and os.fstat(handle).st_nlink == 0:
                os.close(_descriptors.pop(inode))


def read(path: Path, start: int = 0, size: int | None = None) -> bytes:
    """Bytes of a file through the descriptor that is never closed."""
    handle = descriptor(path)
    return os.pread(handle, os.fstat(handle).st_size - start if size is None else size, start)


def chunks(path: Path, overlap: int = 0) -> Iterator[bytes]:
    """A file piece by piece, each beginning with the last `overlap` bytes of the one before."""
    handle, start, before = descriptor(path), 0, b""
    while piece := os.pread(handle, _CHUNK, start):
        yield before + piece
        start += len(piece)
        before = piece[-overlap:] if overlap else b""


def hold(path: Path) -> Held:
    """Use a store's file under this name, until `release`. Raises StoreShared where it is in use under another."""
    path = Path(os.path.realpath(path))
    handle = descriptor(path)
    found = os.fstat(handle)
    inode = (found.st_dev, found.st_ino)
    if inode in _inherited:
        raise Forked(f"{path}: {FORKED}")
    offset = _offset(path)
    with _lock:
        held = _in_use.get(inode)
        if held is None:
            _claim(handle, offset, path)
            held = _in_use[inode] = Held(path, inode, offset, names={str(path): inode})
        elif held.offset != offset:
            raise _shared(path)
        held.users += 1
        return held


def release(held: Held) -> None:
    """No longer use it; the descriptor stays."""
    with _lock:
        held.users -= 1
        if held.users == 0 and _in_use.get(held.inode) is held:
            del _in_use[held.inode]
            if _LOCKS_OF_FILES:
                _set_lock(_descriptors[held.inode], fcntl.F_UNLCK, held.offset, 1)


def _offset(path: Path) -> int:
    """Where the lock of this name lies: a write-ahead log is shared by those with the same folder and file name."""
    folder = path.parent.stat()
    named = f"{folder.st_dev}\0{folder.st_ino}\0".encode() + os.fsencode(path.name)
    return _NAMES + int.from_bytes(blake2b(named, digest_size=5).digest(), "big")


def _claim(handle: int, offset: int, path: Path) -> None:
    """Lock the file under a name, unless somebody has it under another. Locks of this kind are Linux's."""
    if not _LOCKS_OF_FILES:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # one at a time looks and claims
        try:
            if _locked(handle, _NAMES, offset) or _locked(handle, offset + 1, _NAMES_END):
                raise _shared(path)
            _set_lock(handle, fcntl.F_RDLCK, offset, 1)
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise  # a file system without locks of this kind: nothing to look at


def _shared(path: Path) -> StoreShared:
    return StoreShared(
        f"{path}: the same file is in use under another name or mount, with a write-ahead log of its own "
        "(use one name and mount the folder, not the file)"
    )


_LOCKS_OF_FILES: Final = hasattr(fcntl, "F_OFD_SETLK") and sys.platform == "linux"
_FLOCK: Final = "hhqqi4x"  # struct flock: type, whence, start, length, process


def _set_lock(handle: int, kind: int, start: int, length: int) -> None:
    # a lock of the open file, which no other descriptor's closing drops
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0))


def _locked(handle: int, start: int, stop: int) -> bool:
    """Whether somebody else has a lock there."""
    if stop <= start:
        return False
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, stop - start, 0)
    answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


# -- fork --------------------------------------------------------------------------------------------------------------


class _Left:
    """In place of a connection that a child inherited."""

    def __getattr__(self, _: str) -> Any:
        raise Forked(FORKED)


def close_in_child(handle: int) -> None:
    """A descriptor that a child must not have: it would keep a lock of this process after its death."""
    _closed_in_child.add(handle)


def close(handle: int) -> None:
    """Close a descriptor that was given to `close_in_child`."""
    _closed_in_child.discard(handle)
    os.close(handle)


def guard(owner: Any, attribute: str) -> None:
    """See to it that a child process never uses or closes the SQLite connection that an object holds."""
    _connections.setdefault(owner, set()).add(attribute)


def _in_child() -> None:
    global _lock  # noqa: PLW0603  another thread may have held it
    _lock = threading.Lock()
    for owner, attributes in list(_connections.items()):
        for attribute in attributes:
            connection = getattr(owner, attribute)
            if not isinstance(connection, _Left):
                # Closing it would give up, or play in, what is the parent's: it is kept until the process ends.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
                setattr(owner, attribute, _Left())
    _inherited.update(_in_use)
    _in_use.clear()
    for handle in (*_descriptors.values(), *_closed_in_child):
        os.close(handle)  # a child has no locks yet that this could drop
    _descriptors.clear()
    _closed_in_child.clear()


os.register_at_fork(after_in_child=_in_child)
