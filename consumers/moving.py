"""A ledger moved from one kind of store to another, and back: the same entries, the same log, the same keys.

Both stores have the same keys folder then, as a restored backup has. What is remembered there of the signed log is what
keeps the copy from forking it: whichever store goes on first, the other one lacks what was signed, and is read only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from consent_ledger.consumers import opening
from consent_ledger.consumers.maintenance import copy_of
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.intake.application import LedgerApplication, open_file, open_postgres
from consent_ledger.ledger.intake.copying import require_folder
from consent_ledger.ledger.intake.erasure import destroy_again
from consent_ledger.ledger.proof.checkup import check_whole
from consent_ledger.ledger.store import rows
from consent_ledger.ledger.store.contract import Store, Transaction
from consent_ledger.ledger.store.tables.head import read_head
from consent_ledger.ledger.vault.keys import FileKeys

Progress = Callable[[int], None] | None


class Copied(NamedTuple):
    """What became of a copy: its entries, persons erased again in it, the keys' folder.

    `behind`: what these keys have signed and the copy has not, as the source was written meanwhile; else None.
    """

    store: str
    keys: str
    entries: int
    erased: int
    behind: str | None


def copy(source: str, target: str, keys: str | None = None, progress: Progress = None) -> Copied:
    """Make a store with all that is in another one, of one moment, checked whole before it is there.

    Whoever was erased meanwhile is erased again. Raises NotALedger where there is something already, StoreCorrupt
    where the copy does not hold: nothing of it is left then.
    """
    with opening.open_ledger(source, keys) as ledger:
        provider = ledger.app.keys
        assert isinstance(provider, FileKeys)
        address = opening.server_address(target)
        if address is not None:
            app = open_postgres(address, FileKeys(provider.folder), copy=True)
            return _made(ledger.app, app, app.where, progress)
        return _made_file(ledger.app, opening.store_path(target), provider.folder, progress)


def _made_file(source: LedgerApplication, path: Path, keys: Path, progress: Progress) -> Copied:
    """Make a file, which gets its name when it is whole."""
    require_folder(path)
    with copy_of(path, "copy whole") as partial:
        durable.create(partial)
        copied = _made(source, open_file(partial, FileKeys(keys), create=True, copy=True), str(path), progress)
        opening.require_one_file(partial)
    return copied


def _made(source: LedgerApplication, target: LedgerApplication, where: str, progress: Progress) -> Copied:
    """Fill a store, look at it, and erase again in it. `where`: how it is going to be called."""
    with closing(target):
        with source.reading_newest() as c, target.filling() as filled:
            _fill(source.store, c, target.store, filled, progress)
            crashpoints.reached("copy filled")
            target.take_in(filled)
            check_whole(target)
        crashpoints.reached("copy there")
        target.load()
        erased = destroy_again(target)
        target.store.truncate()
        with target.reading() as c:
            behind, size = target.behind(c), read_head(c).size
        assert isinstance(target.keys, FileKeys)
        behind = behind and behind.replace(target.where, where, 1)
        return Copied(where, str(target.keys.folder), size, erased, behind)


def _fill(source: Store, c: Transaction, target: Store, filled: Transaction, progress: Progress) -> None:
    done = 0
    for table in rows.COPIED:
        for page in _pages(source, c, table):
            rows.put(filled, table, page)
            if table == "entries":
                done += len(page)
                if progress:
                    progress(done)
                crashpoints.reached("page copied")
    target.letters_after(filled, source.last_letter(c))


def _pages(source: Store, c: Transaction, table: str) -> Iterator[list[tuple[Any, ...]]]:
    with source.errors():  # what is wrong with the source is said of it, not of the copy
        yield from rows.pages(c, table)
