"""Sessions: what one answer at a time remembers of the store, and the moment of it that the answer sees.

A ledger keeps a few. A thread that asks takes the one that was given back last, so that a thread alone always meets
the same warm one; where all are taken it waits for its turn.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from consent_ledger.ledger.errors import Closed
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.store.tables import entries
from consent_ledger.ledger.store.tables.head import Head, read_head
from consent_ledger.projections.read.people import People, View
from consent_ledger.projections.read.projector import Projector

LIMIT: Final = 16  # sessions of one ledger: each has a connection and remembers people


class Session:
    """One connection to read with, and what was read: all of it is of `size` entries."""

    def __init__(self, app: LedgerApplication, projector: Projector) -> None:
        self.app = app
        self.reader = app.reader()
        self.people = People(app, projector)
        self.names: dict[tuple[str, str], str] = {}
        self.views: dict[str, View] = {}
        self.head: Head | None = None
        self.size = -1  # of the log that everything here is of
        self.missed: set[str] | None = None  # streams that another session saw grow while this one was taken

    def refresh(self) -> set[str]:
        """Begin to read the newest moment and forget what was added to since. Returns the streams that were.

        Requires that the thread reads through this session's reader.
        """
        try:
            with self.app.store.errors():
                self.reader.begin()
            return self._brought_up()
        except BaseException:
            self.reader.doubt()  # what is remembered is of no moment: it is looked at again
            raise

    def _brought_up(self) -> set[str]:
        before, told = self.head, set[str]()
        with self.app.reading() as c:
            head = read_head(c)
            if before is None or head.size < before.size or (head.size == before.size and head.root != before.root):
                self.people.forget()
            elif head.size != before.size:
                # who was joined with a name is somebody else since, without an entry of their own
                told = entries.touched_since(c, before.size)
        self.forget(told)
        self.head, self.size = head, head.size
        self.app.forget_if_moved(head, without_entries=before is not None and before.size == head.size)
        return told

    def forget(self, streams: Iterable[str]) -> None:
        """Forget these streams, and all names: one of them may be erased."""
        self.people.forget(streams)
        self.views.clear()
        self.names.clear()


class _Turn:
    """A thread that waits for a session."""

    def __init__(self) -> None:
        self.come = threading.Event()
        self.session: Session | None = None


class Sessions:
    """The sessions of one ledger: the one given back last is taken first, whoever waits longest gets the next."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._idle: list[Session] = []
        self._taken: set[Session] = set()
        self._made = 0
        self._waiting: deque[_Turn] = deque()
        self._inside = 0  # threads that answer or record
        self._closed = False

    def newest(self) -> Session:
        """The session that the next to ask would take; it stays where it is."""
        session = self.take()
        self.give(session)
        return session

    def take(self) -> Session:
        """A session for this thread alone, until it gives it back. Raises Closed."""
        with self._lock:
            if self._closed:
                raise Closed
            self._inside += 1
            if self._idle:
                session = self._idle.pop()
                self._taken.add(session)
                return session
            turn = None
            if self._made < LIMIT:
                self._made += 1
            else:
                turn = _Turn()
                self._waiting.append(turn)
        try:
            return self._made_anew() if turn is None else self._waited(turn)
        except BaseException:
            self._leave()
            raise

    def _made_anew(self) -> Session:
        try:
            session = self._make()
        except BaseException:
            with self._lock:
                self._made -= 1
            raise
        with self._lock:
            self._taken.add(session)
        return session

    def _waited(self, turn: _Turn) -> Session:
        try:
            turn.come.wait()
        except BaseException:
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                elif turn.session is not None:
                    self._hand_on(turn.session)
            raise
        if turn.session is None:
            raise Closed
        return turn.session

    def give(self, session: Session) -> None:
        """Give a session back."""
        with self._lock:
            self._hand_on(session)
            self._inside -= 1
            if self._closed:
                self._left.notify_all()

    def _hand_on(self, session: Session) -> None:
        if session.missed is not None:
            session.forget(session.missed)
            session.missed = None
        if self._waiting:
            turn = self._waiting.popleft()
            turn.session = session
            turn.come.set()
        else:
            self._taken.remove(session)
            self._idle.append(session)

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._closed:
                self._left.notify_all()

    def tell(self, streams: set[str], by: Session) -> None:
        """Let the others forget what one saw grow: nothing of who is erased stays with those that nobody asks."""
        with self._lock:
            for session in self._idle:
                session.forget(streams)
            for session in self._taken:
                if session is not by:
                    session.missed = streams if session.missed is None else session.missed | streams

    def forget(self) -> None:
        """Let all forget everybody: those that are taken when they are given back."""
        with self._lock:
            for session in self._idle:
                session.people.forget()
                session.forget(())
            for session in self._taken:
                session.reader.doubt()
                session.head = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Something that `close` waits for. Raises Closed."""
        with self._lock:
            if self._closed:
                raise Closed
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    def close(self) -> bool:
        """Let nobody in any more, and wait for those inside. Returns whether this was the first time."""
        with self._lock:
            first, self._closed = not self._closed, True
            while self._waiting:
                self._waiting.popleft().come.set()
            self._left.wait_for(lambda: self._inside == 0)
        return first
