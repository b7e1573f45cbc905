"""What a forger with the file and without the keys does to a store, by SQLite's own means: for the demo."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def flip_a_bit(source: Path, copy: Path, position: int) -> None:
    """Copy a store that is in use, and flip one bit of an entry in the copy. Requires that the entry is there."""
    genuine = sqlite3.connect(source)
    forged = sqlite3.connect(copy)
    genuine.backup(forged)
    genuine.close()
    forged.execute("DROP TRIGGER entries_update")
    state = bytearray(forged.execute("SELECT state FROM entries WHERE position=?", [position]).fetchone()[0])
    state[-4] ^= 1
    forged.execute("UPDATE entries SET state=? WHERE position=?", [bytes(state), position])
    forged.commit()
    forged.close()
