"""A schema of its own for scenarios: emptied between them, which is faster than new tables, and dropped at the end.

Only here rows of the log are deleted, which the triggers of a ledger forbid: this schema never has one.
"""

from __future__ import annotations

import os
from typing import Final

from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.postgres import PostgresStore, with_schema
from consent_ledger.ledger.store.postgres_schema import FOREVER, FORMAT, TABLES
from consent_ledger.ledger.store.sqlite_schema import STORE_FORMAT

_DELETE: Final = " ".join(f"DELETE FROM {table};" for table in TABLES)
_EMPTY: Final = f"DO $$ BEGIN {_DELETE} PERFORM setval('dead_letters_id_seq', 1, false); END $$"


class ScratchStore(PostgresStore):
    """A store that every `create` empties. `close` ends its use, `drop` itself."""

    def __init__(self, address: str) -> None:
        super().__init__(with_schema(address, f"scenarios_{os.urandom(16).hex()}"))
        with self.writing() as c:
            super().create(c)
            for table in FOREVER:
                c.execute(f"DROP TRIGGER {table}_delete ON {table}")

    def is_empty(self) -> bool:
        return True  # as soon as it is made again

    def create(self, c: Transaction) -> None:
        c.execute(_EMPTY)
        c.execute("INSERT INTO meta VALUES (?,?)", [FORMAT, str(STORE_FORMAT).encode()])
        c.execute("INSERT INTO turn VALUES (1, 0)")

    def close(self) -> None:
        """Nothing: the next scenario has the same connections."""

    def drop(self) -> None:
        """Remove the schema with all that is in it, and let go of the server."""
        with self.writing() as c:
            c.execute(f'DROP SCHEMA "{self.schema}" CASCADE')
        super().close()
