"""What the rest asks of a store: bytes at rest, one writer at a time, and any number of readers of one moment each.

What MUST hold of every store, and what `tests/contract` tries on each:

    whole       a writing transaction is there wholly or not at all, whatever kills the process or the server
    durable     when `writing` has ended without an error, what was written outlasts the loss of power
    alone       between the first statement of a writing transaction and its end nobody else writes
    one moment  all that is read in one `reading`, or through a reader between `begin` and `end`, is of one moment
    forever     entries and subtrees are never changed nor removed, not by a statement of this program
    in order    what one transaction wrote is seen by every moment that begins after its end

A store knows no rule, no key and no time. It is asked by `ledger.store.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

READER_MILLISECONDS: Final = 250  # how long intake, which others wait for, waits for readers of a log


class Transaction(Protocol):
    """One moment of a store that is read, or its one writing transaction.

    SQL is spoken to it only under `ledger.store`, in the part of the language that all stores share: `?` for a value,
    `ON CONFLICT`, no more. Everybody else hands it to the functions of `ledger.store.tables`.
    """

    def execute(self, statement: str, params: Sequence[Any] = ..., /) -> Any:
        """Run a statement. Its rows are fetched before the next one."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement once for each row of values."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...


class Moment(Protocol):
    """A moment that is being read, for any number of questions of the thread that began it."""

    def cursor(self) -> AbstractContextManager[Transaction]:
        """Something to ask it with."""
        ...


class Reader(Protocol):
    """One moment of the store for all that an answer reads; serves one thread at a time."""

    def moved(self) -> bool:
        """Whether the store may have changed since the moment that was read last. Reads no table of entries."""
        ...

    def begin(self) -> None:
        """Begin to read the newest moment. Requires that `end` was called."""
        ...

    def cursor(self) -> AbstractContextManager[Transaction]:
        """As a Moment. Begins one where none was begun: raises Moved where it is no longer the one read last."""
        ...

    def end(self) -> None:
        """End the moment that was begun, if there is one."""
        ...

    def doubt(self) -> None:
        """Take the store as moved, whatever it says."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


class Moved(Exception):
    """The store moved between the beginning of an answer and the first thing that it read: it starts again."""


class Watch(Protocol):
    """Waits for news of a store; serves one thread at a time, and has connections of its own."""

    def wait(self, timeout: float) -> bool:
        """Whether anything was written since this was made, or since it last said so; waits at most so many seconds.

        Whatever is read after it has said so is at least that new. It may say so where nothing was written.
        """
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...


class Store(Protocol):
    """A store that is there. Its methods raise the store errors of `ledger.errors`, and no error of a driver."""

    where: str
    """How it is called in messages: a path, or an address without its password."""

    in_memory: bool
    """Whether it ends with the process: nothing is noted beside its keys then."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    @property
    def inherited(self) -> bool:
        """Whether this is a child of the process that opened it: nothing of it may be used or closed here."""
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turns the errors of the driver into those of `ledger.errors`."""
        ...

    def reading(self) -> AbstractContextManager[Moment]:
        """The newest moment."""
        ...

    def writing(self) -> AbstractContextManager[Transaction]:
        """The one writing transaction: durable when the block has ended, undone where it raises."""
        ...

    def reader(self) -> Reader:
        """A reader with a connection of its own."""
        ...

    def watch(self) -> Watch:
        """What waits for news, from now on. News MUST NOT be missed; how late they are is for each store to say."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing at all is in it."""
        ...

    def create(self, c: Transaction) -> None:
        """Make the tables, inside a writing transaction. Requires that there are none."""
        ...

    def settle(self) -> None:
        """After `create`: see to it that whoever looks at the store from outside sees whose it is."""
        ...

    def last_letter(self, c: Transaction) -> int:
        """The highest number that a dead letter has had, 0 before the first: none is given twice."""
        ...

    def letters_after(self, c: Transaction, last: int) -> None:
        """Count dead letters on from a number, inside a writing transaction. Requires that none has a higher one."""
        ...

    def check(self) -> int:
        """The format of its tables. Raises NotALedger for what is no store, NewerStore for one of a newer program."""
        ...

    def remember(self) -> None:
        """Remember by what names it was found, for `check_names`. Requires that it was read."""
        ...

    def check_process(self) -> None:
        """Raise Forked in a child of the process that opened it."""
        ...

    def check_to_read(self) -> None:
        """As `check_names`, for what is asked all the time."""
        ...

    def check_names(self) -> None:
        """Raise StoreLost where something else has its name by now, Forked in a child process."""
        ...

    def check_still(self) -> None:
        """Raise StoreLost where it was opened as one that nobody writes, and somebody did."""
        ...

    def damage(self, c: Transaction, most: int) -> list[str]:
        """What the store itself finds wrong with what is at rest in it, at most so much; nothing where all is sound."""
        ...

    def truncate(self, patience: int = READER_MILLISECONDS) -> None:
        """Bring all that was written to where it stays, so that logs beside it keep nothing that was destroyed.

        `patience`: how long readers are waited for, in milliseconds. Raises StoreBusy where one keeps a log.
        """
        ...

    def holds(self, needles: list[bytes]) -> bool:
        """Whether any of these bytes, or the beginning or end of one, may still be at rest in the store."""
        ...

    def rebuild(self) -> None:
        """Write anew whatever rows were destroyed in. Raises StoreFull where there is no room for that."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
