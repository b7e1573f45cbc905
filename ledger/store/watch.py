"""Waiting for news of a store: looking now and then, and at once where somebody says that something was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from consent_ledger.ledger.store.contract import Reader

FIRST_SECONDS: Final = 0.002  # between the first two looks; twice as long each time
LONGEST_SECONDS: Final = 0.5  # how late news may be where nobody says that there are any


class Watch:
    """A `ledger.store.contract.Watch`. `pause`: waits so many seconds, or less where there may be news."""

    def __init__(
        self, reader: Reader, pause: Callable[[float], None] = time.sleep, close: Callable[[], None] = lambda: None
    ) -> None:
        self._reader = reader
        self._pause = pause
        self._close = close
        self._see()

    def _see(self) -> None:
        self._reader.begin()
        self._reader.end()

    def wait(self, timeout: float) -> bool:
        """Whether anything was written since this was made, or since it last said so; waits at most so many seconds."""
        until = time.monotonic() + timeout
        pause = FIRST_SECONDS
        while not self._reader.moved():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._pause(min(pause, left))
            pause = min(2 * pause, LONGEST_SECONDS)
        self._see()
        return True

    def close(self) -> None:
        """Let go of the store."""
        self._close()
        self._reader.close()
