"""A look at a whole store: the database itself, the log, and all tables that follow from it."""

from __future__ import annotations

from typing import Final

from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.log.verifier import ED25519, NoteError, parse_key, parse_vkey
from consent_ledger.ledger.proof.audit import StoreCorrupt, StoreReport, verify_store
from consent_ledger.ledger.proof.derived import problems

SHOWN: Final = 3  # problems of one kind that are named


def check_whole(app: LedgerApplication, key: str | None = None) -> StoreReport:
    """Check everything, by the store's own key or a given one. Raises StoreCorrupt naming the first that does not hold.

    Raises InvalidQuestion for what is no verifier key.
    """
    try:
        vkey = parse_vkey(app.signer.vkey) if key is None else parse_key(key, ED25519)
    except NoteError as error:
        raise InvalidQuestion("key", f"{error} (give a verifier key, as vkey prints it)") from None
    report = verify_store(app, vkey)
    for found in (*database(app), *derived(app)):
        raise StoreCorrupt(found)
    return report


def database(app: LedgerApplication) -> list[str]:
    """What the store itself finds wrong: pages, cells, rows that an index lacks."""
    with app.reading() as c:
        return app.store.damage(c, SHOWN)


def derived(app: LedgerApplication) -> list[str]:
    """What does not follow from the log."""
    with app.reading() as c:
        return list(problems(app, c))
