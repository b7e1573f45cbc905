"""Pausing Python's cyclic garbage collector over a page of work.

A page of entries is tens of thousands of small objects without cycles; the collector walks them again and again and
finds nothing. Pausing it doubles the rate of a rebuild and saves a quarter of intake's time (make bench).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection until the block ends. Requires that the block makes no cycles and ends soon."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
