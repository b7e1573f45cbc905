"""What was signed, remembered outside the store: a line for every head, beside the keys that signed it.

    {"log":"shop.example/ledger","size":812,"root":"9f…"}

A store that is put back to an older copy, by whatever means, looks sound by itself; only somebody who remembers can
tell that its keys have signed more. The line is written after the commit and before anybody is told that an event was
accepted, so that a store may be ahead of it (a process died in between) and never behind.

The file is laid out ahead in blocks of empty lines, which lines are written over: a full disk is met before a commit,
not after it, and forcing a line to disk does not have to write the file's size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from consent_ledger.ledger.files import durable
from consent_ledger.ledger.log.merkle import HASH_BYTES

LIMIT_BYTES: Final = 1 << 20  # then only the newest line of each log is kept
_BLOCK: Final = 1 << 12
_ROOM: Final = 1 << 10  # more than a line has
_EMPTY: Final = b"\n\0"


class SignedHead(NamedTuple):
    """The newest head that was signed for a log."""

    log: str  # its origin
    size: int
    root: bytes


class HeadFile:
    """The file of heads. Reading needs nothing; `reserve` and `note` require that nobody else is writing it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._inode: tuple[int, int] | None = None
        self._end = 0  # up to where lines were read
        self._newest: dict[str, SignedHead] = {}
        self._doubtful = False  # the disk failed: the next line goes into a file written anew

    def last(self, log: str) -> SignedHead | None:
        """The newest head of a log that is noted, or None."""
        if not self._doubtful:
            self._read()
        return self._newest.get(log)

    def reserve(self) -> None:
        """See to it that the next line can be written. Raises OSError where it cannot."""
        self._read()
        if self._handle is None or self._doubtful or self._end > LIMIT_BYTES:
            self._renew()
        assert self._handle is not None
        size = os.fstat(self._handle).st_size
        if size < self._end + _ROOM:
            try:
                durable.write_all(self._handle, b"\n" * _BLOCK, size)
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, size)
                raise

    def note(self, head: SignedHead) -> None:
        """Write a line and force it to disk. Requires `reserve`. A line that was not forced does not count.

        Never over one that came since, and never back: whoever deletes the locks can have two writers meet here.
        """
        self._read()
        assert self._handle is not None
        known = self._newest.get(head.log)
        if known is not None and known.size > head.size:
            return
        line = b"\n" + orjson.dumps({"log": head.log, "size": head.size, "root": head.root.hex()})
        try:
            durable.write_all(self._handle, line + b"\n", self._end)
            os.fdatasync(self._handle)
        except BaseException:
            # The system may show it for good and never write it; forcing the same bytes again would do nothing.
            with suppress(OSError):
                durable.write_all(self._handle, b"\n" * len(line), self._end)
            self._doubtful = True
            raise
        self._end += len(line)
        self._newest[head.log] = head

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = self._inode = None
        self._end, self._newest = 0, {}

    def _read(self) -> None:
        """Take in what others have written since."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self.close()
            return
        if (found.st_dev, found.st_ino) != self._inode:
            self.close()
            try:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:  # not to be written: a read-only disk, another owner
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            opened = os.fstat(self._handle)
            self._inode = (opened.st_dev, opened.st_ino)
        assert self._handle is not None
        if self._end and not os.pread(self._handle, 2, self._end).strip(_EMPTY):
            return  # nobody has written a line behind the last one
        size = os.fstat(self._handle).st_size
        durable.require_journal(self.path, size)
        body = os.pread(self._handle, size - self._end, self._end).rstrip(_EMPTY)
        self._take(body.split(b"\n"))
        self._end += len(body)

    def _take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            head = _parsed(line)
            if head is not None:
                self._newest[head.log] = head

    def _renew(self) -> None:
        """Write the file anew with the newest line of each log."""
        heads = [orjson.dumps({"log": h.log, "size": h.size, "root": h.root.hex()}) for h in self._newest.values()]
        durable.replace(self.path, b"".join(b"\n" + line for line in heads) + b"\n" * _BLOCK)
        self.close()
        self._doubtful = False
        self._read()


def _parsed(line: bytes) -> SignedHead | None:
    """The head of a line; None for one that is torn or somebody else's."""
    try:
        match orjson.loads(line):
            case {"log": str(log), "size": int(size), "root": str(root)} if type(size) is int and size >= 0:
                head = SignedHead(log, size, bytes.fromhex(root))
                return head if len(head.root) == HASH_BYTES else None
            case _:
                return None
    except ValueError:
        return None
