"""No file of a store keeps what was destroyed.

SQLite must not keep the bytes either: `secure_delete` zeroes what is freed, the write-ahead log is truncated, and
`scrub` looks into the files for what must be gone (moved b-tree cells can leave copies, mostly cut off at their end)
and rebuilds the file if it finds any. What is destroyed is noted in `meta` by the same transaction and the note removed
by the scrub: where that was cut short, the next one no longer knows what to look for, and rebuilds.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import StoreError
from consent_ledger.ledger.intake.opened import Opened, Unscrubbed
from consent_ledger.ledger.store.contract import READER_MILLISECONDS, Transaction
from consent_ledger.ledger.store.tables import meta

SCAN_LIMIT: Final = 200  # needles looked for one by one; with more the file is rebuilt without looking
PATIENT_MILLISECONDS: Final = 5_000  # and how long doctor does, which was asked to: longer than an answer takes
_NOTE: Final = "unscrubbed:"


def scrub(app: Opened, gone: list[bytes], *, patience: int = READER_MILLISECONDS) -> bool:
    """Make sure that none of these bytes is in any file of the store. Returns whether the file had to be rebuilt.

    It is also rebuilt for what another scrub left undone. `patience`: for readers, in milliseconds. Raises StoreBusy
    where another reader keeps the write-ahead log from being truncated, StoreFull where there is no room to rebuild:
    the rows are gone all the same.
    """
    if app.store.in_memory:
        return False
    crashpoints.reached("before scrub")
    with app.keys.turn():  # nobody writes meanwhile
        app.store.truncate(patience)
        with app.reading() as c:
            notes = meta.names(c, _NOTE)
        left_undone = set(notes) - {_note_of(needle) for needle in gone}
        rebuilt = bool(left_undone) or len(gone) > SCAN_LIMIT or app.store.holds(gone)
        if rebuilt:
            app.store.rebuild()
    crashpoints.reached("scrubbed")
    if notes:
        with app.writing(guarded=False) as c:
            meta.drop(c, notes)
        with app.keys.turn():
            app.store.truncate(patience)
    crashpoints.reached("after scrub")
    return rebuilt


def scrub_or_wait(app: Opened, gone: list[bytes], *, patience: int = READER_MILLISECONDS) -> None:
    """Scrub; where that cannot be done now, say why in `app.unscrubbed` and leave it for the next time.

    What was destroyed is destroyed, and what was accepted stays accepted, whatever becomes of the files.
    """
    try:
        scrub(app, gone, patience=patience)
    except StoreError as error:
        app.unscrubbed = Unscrubbed(str(error), app.unscrubbed)
    else:
        app.unscrubbed = None


def finish_scrub(app: Opened) -> None:
    """Finish a scrub that was interrupted or had to wait, if there is one."""
    if app.how != "rw":
        return
    with app.reading() as c:
        waiting = bool(meta.names(c, _NOTE))
    if waiting:
        scrub_or_wait(app, [])


def note_unscrubbed(c: Transaction, gone: list[bytes]) -> None:
    """Note that the files are to be scrubbed, in the transaction that destroys."""
    if gone:
        meta.note(c, [(_note_of(gone[0]), b"")])


def _note_of(needle: bytes) -> str:
    return _NOTE + sha256(needle).hexdigest()
