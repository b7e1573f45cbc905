"""Durable writes, once: whole, forced to disk, under their name, readable by their owner only.

Whatever holds anything personal or secret is written by this module: keys, journals, backups, evidence. SQLite writes
its own files; of these only the rights and the name are seen to here.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from consent_ledger.ledger.errors import StoreBusy, StoreError, StoreFull, StoreReadOnly
from consent_ledger.ledger.limits import JOURNAL_LIMIT_BYTES

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
ALONE_SECONDS: Final = 10.0  # how long who makes a file waits for another who does
_POLL_SECONDS: Final = 0.005
_NEW: Final = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger("consent_ledger")


def write_all(handle: int, body: bytes, offset: int | None = None) -> None:
    """Write all of it, at an offset or where the handle stands: the kernel may take only a part at a time."""
    view = memoryview(body)
    while view:
        done = os.write(handle, view) if offset is None else os.pwrite(handle, view, offset)
        view = view[done:]
        if offset is not None:
            offset += done


def sync(path: Path) -> None:
    """Force a file to disk that nobody has open: closing it here would drop the locks of who has."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Force to disk what was made, renamed or removed in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create(path: Path, body: Iterable[bytes] | bytes = b"") -> None:
    """Make a new file. Raises FileExistsError where there is something; a failure leaves nothing."""
    handle = os.open(path, os.O_WRONLY | os.O_EXCL | _NEW, FILE_MODE)
    try:
        os.fchmod(handle, FILE_MODE)  # whatever the umask
        for piece in _pieces(body):
            write_all(handle, piece)
        os.fsync(handle)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(handle)
    sync_folder(path.parent)


def create_whole(path: Path, body: bytes) -> None:
    """Make a new file that is never seen half. Raises FileExistsError where there is something, also made meanwhile."""
    beside = _beside(path)
    with partial_file(path) as handle:
        write_all(handle, body)
        os.fsync(handle)
        try:
            path.hardlink_to(beside)  # which never takes the place of anything
        finally:
            beside.unlink()
    sync_folder(path.parent)


def replace(path: Path, body: Iterable[bytes] | bytes) -> None:
    """Put a file in the place of another, at once: a failure leaves the old one as it was."""
    with partial(path) as (handle, _):
        for piece in _pieces(body):
            write_all(handle, piece)


def _pieces(body: Iterable[bytes] | bytes) -> Iterable[bytes]:
    return (body,) if isinstance(body, bytes) else body


@contextmanager
def partial(path: Path) -> Iterator[tuple[int, Path]]:
    """A new file that gets its name when the block has ended well: (handle, its name until then).

    What an earlier attempt left is written over. Raises StoreBusy where another process is writing the same file.
    """
    beside = _beside(path)
    with partial_file(path) as handle:
        try:
            yield handle, beside
            os.fsync(handle)
            if not same(os.fstat(handle), beside):
                raise StoreBusy(f"{beside}: another process wrote it meanwhile (run this again)")  # noqa: TRY301
            beside.rename(path)
            sync_folder(path.parent)
        except BaseException:
            if same(os.fstat(handle), beside):
                with suppress(OSError):
                    beside.unlink()
            raise


def replace_both(first: Path, second: Path, bodies: tuple[bytes, bytes]) -> None:
    """Put two files in the place of two others: both, or neither, or the second when `finish_both` is called.

    Requires that nobody else writes them. A second one that waits for its name beside no first one is whole.
    """
    with partial_file(first) as one, partial_file(second) as other:
        write_all(one, bodies[0])
        os.fsync(one)
        write_all(other, bodies[1])
        os.fsync(other)
        sync_folder(first.parent)
        _beside(first).rename(first)
        # From here on it is done, whatever happens to this process.
        _beside(second).rename(second)
        sync_folder(first.parent)


def finish_both(first: Path, second: Path) -> None:
    """Finish what was cut short between two names, or take back what did not come so far."""
    waiting = [os.path.lexists(_beside(path)) for path in (first, second)]
    if waiting == [False, True]:
        _beside(second).rename(second)
    elif any(waiting):
        _beside(second).unlink(missing_ok=True)  # first: alone it would count
        _beside(first).unlink(missing_ok=True)
    else:
        return
    sync_folder(first.parent)


@contextmanager
def partial_file(path: Path) -> Iterator[int]:
    """The handle of an empty file that waits for a name; what is left of it in the end is the caller's."""
    handle = _own(_beside(path))
    try:
        os.ftruncate(handle, 0)
        yield handle
    finally:
        os.close(handle)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one who makes a file of that name, until the block ends. Raises StoreBusy after ten seconds.

    Whoever waits finds what the other one made. A process that dies gives way; the lock it leaves is taken up.
    """
    lock = path.with_name(path.name + ".making")
    until = time.monotonic() + ALONE_SECONDS
    while True:
        handle = os.open(lock, os.O_RDWR | _NEW, FILE_MODE)
        try:
            if locked(handle) and same(os.fstat(handle), lock):
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        if time.monotonic() > until:
            raise StoreBusy(f"{path}: another process is making it (run this again when it is done)")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        with suppress(OSError):  # what was made is made: the lock is taken up by the next one
            lock.unlink(missing_ok=True)  # before it is given up: whoever waited for it looks again
        os.close(handle)


def locked(handle: int) -> bool:
    """Lock a file against all others that do, if nobody has: whether it is ours now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own(path: Path) -> int:
    """A handle of a file that nobody else writes: a link that stands in its place is removed, not followed."""
    for _ in range(100):
        found = _lstat(path)
        if found is not None and (not stat.S_ISREG(found.st_mode) or found.st_nlink != 1):
            path.unlink()
        try:
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | _NEW, FILE_MODE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue
            raise
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise StoreBusy(f"{path}: another process is writing it (run this again when it is done)") from None
        if same(os.fstat(handle), path) and os.fstat(handle).st_nlink == 1:
            os.fchmod(handle, FILE_MODE)
            return handle
        os.close(handle)
    raise StoreError(f"{path}: is replaced again and again by another process (name another file)")


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def same(found: os.stat_result, path: Path) -> bool:
    """Whether that is the file which has the name now."""
    named = _lstat(path)
    return named is not None and (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)


def append_line(path: Path, line: bytes) -> None:
    """Append one line, whole or not at all, and force it to disk. Nothing is appended to a torn line.

    Requires that nobody else appends at the same time.
    """
    new = _lstat(path) is None
    handle = os.open(path, os.O_RDWR | _NEW, FILE_MODE)
    try:
        if new:
            os.fchmod(handle, FILE_MODE)
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        try:
            write_all(handle, (b"\n" if torn else b"") + line + b"\n", size)
            os.fsync(handle)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if new:
        sync_folder(path.parent)


def read_lines(path: Path) -> tuple[list[Any], int]:
    """(what each line of JSON says, how many lines are torn or foreign and were read past)."""
    try:
        body = read_at_most(path, JOURNAL_LIMIT_BYTES)
    except FileNotFoundError:
        return [], 0
    require_journal(path, len(body))
    found, foreign = [], 0
    for line in body.split(b"\n"):
        if not line.strip(b"\0 \r\t"):
            continue
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            foreign += 1
    return found, foreign


def read_at_most(path: Path, limit: int) -> bytes:
    """A file's bytes, at most one more than the limit: then it is over it. Also of a pipe, or a device without end."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def require_journal(path: Path, size: int) -> None:
    """Raise StoreError for more bytes than a journal beside the keys has."""
    if size > JOURNAL_LIMIT_BYTES:
        raise StoreError(
            f"{path}: more than {JOURNAL_LIMIT_BYTES} bytes, no journal of ours is (put the right file back)"
        )


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, or see to it that one is."""
    if not folder.is_dir():
        made = [one for one in (folder, *folder.parents) if not one.is_dir()]
        folder.mkdir(parents=True, mode=FOLDER_MODE, exist_ok=True)
        folder.chmod(FOLDER_MODE)
        for one in reversed(made):  # a folder is lost with the one above it that was not forced to disk
            sync_folder(one.parent)
    mend(folder)


def wider(path: Path) -> bool:
    """Whether others than the owner may do anything with a file or folder."""
    return bool(path.stat().st_mode & 0o077)


def mend(path: Path) -> None:
    """Take a file's or folder's rights from everybody but its owner, with a word. Raises StoreReadOnly."""
    if not wider(path):
        return
    mode = FOLDER_MODE if path.is_dir() else FILE_MODE
    try:
        path.chmod(mode)
    except OSError as error:
        raise StoreReadOnly(
            f"{path}: others may read it, which cannot be changed, {error.strerror} (run: chmod {mode:o} {path})"
        ) from None
    _log.warning("%s: others could read it; its rights are now %o", path, mode)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error of the system about a file into ours, which says what to do."""
    try:
        yield
    except OSError as error:
        what = f"{error.filename or path}: {error.strerror}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise StoreFull(f"{what}: nothing was kept (free some space, look at the disk, run it again)") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreReadOnly(f"{what} (check the folder, its owner and its rights)") from error
        raise StoreError(f"{what} (check the path)") from error
