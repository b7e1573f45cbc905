"""Going on without entries that are lost, as another log, on the record.

A store that was put back to an older copy must not go on under the same name and key: at sizes that were signed before
it would sign other roots, which to everybody outside is a forged log. So the old log ends, its signing key is given up,
and another log, with a name and a key of its own, begins with the entries that are left. What it says first, about
every controller, is which log it goes on for, up to where, and how far that had come. Evidence handed out earlier stays
valid under the old key; what is recorded from now on is under the new one, which has to be published.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import LedgerError, StoreBehind
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.batch import Batch
from consent_ledger.ledger.intake.erasure import destroy_again, record_erasures
from consent_ledger.ledger.log.checkpoint import Signer, format_checkpoint
from consent_ledger.ledger.log.verifier import encode_base64
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import meta
from consent_ledger.ledger.store.tables.head import Head, read_head, sign_head
from consent_ledger.ledger.vault.heads import SignedHead


class NothingToRecover(LedgerError):
    """The store holds all that its keys have signed."""


class Recovered(NamedTuple):
    """The log that goes on: its name and key, and the positions of the entries that say so."""

    log: str
    vkey: str
    size: int  # entries that were left
    lost: int  # entries that had been signed and are missing
    positions: list[int]
    erased: int = 0  # persons who were erased since this copy was made, and now in it


def recover(app: LedgerApplication, now: int, log: str | None = None) -> Recovered:
    """Go on with what this store holds, under a new name (`log`) and key. Cut short, it is taken up when run again.

    However the copy came here, whatever was destroyed since it was made is destroyed in it first.
    Raises NothingToRecover for a store that is not behind what its keys have signed, StoreBehind where another copy of
    it goes on already.
    """
    old, signer = app.origin, app.signer
    name = log or following(old)
    bring_nobody_back(app)
    if app.how == "retired":
        app.how = "rw"
    try:
        with app.writing(guarded=False) as c:
            head, signed = read_head(c), app.keys.signed_head(old)
            if app.behind(c) is None or signed is None:
                raise NothingToRecover(f"{app.where}: holds all that its keys have signed")  # noqa: TRY301
            said = ev.LogRecovered(
                log=old,
                vkey=signer.vkey,
                size=head.size,
                root=encode_base64(head.root),
                signed_size=signed.size,
                signed_root=encode_base64(signed.root),
            )
            _begin(app, old, name, head)
            _rename(app, c, name, head)
            batch = Batch(app, c)
            batch.clock(now)
            erased = record_erasures(batch)
            positions = [batch.append_recovered(controller, said) for controller in sorted(app.controllers)]
            batch.finish()
            crashpoints.reached("before recovery commit")
    except BaseException:
        app.origin, app.signer = old, signer
        raise
    batch.committed()
    return Recovered(name, app.signer.vkey, head.size, max(signed.size - head.size, 0), positions, erased)


def bring_nobody_back(app: LedgerApplication) -> str | None:
    """Destroy in an older copy, or in one whose log was given up, what was destroyed since. Returns why it is behind.

    Nothing is signed by it. Where the file cannot be written nothing is done.
    """
    if app.store.in_memory or app.how not in ("rw", "retired"):
        return None
    with app.reading() as c:
        why = app.behind(c)
    if why is None and app.how == "rw":
        return None
    how, app.how = app.how, "copy"
    try:
        destroy_again(app)
    finally:
        app.how = how
    return why


def _rename(app: LedgerApplication, c: Transaction, name: str, head: Head) -> None:
    """The store is that of another log, under the key that is in use now."""
    app.origin, app.signer = name, Signer(app.keys.signing_seed(), name)
    for key, value in (("origin", name), ("vkey", app.signer.vkey)):
        meta.change(c, key, value.encode())
    checkpoint = app.signer.sign(format_checkpoint(name, head.size, head.root))
    sign_head(c, checkpoint)


def _begin(app: LedgerApplication, old: str, name: str, head: Head) -> None:
    """Give up the old key, unless a recovery that was cut short has done so for this very store."""
    start = app.keys.signed_head(name)
    if start is None:
        if Signer(app.keys.signing_seed(), old).vkey == app.signer.vkey:
            app.keys.retire(old)
            crashpoints.reached("key given up")
        app.keys.note_head(SignedHead(name, head.size, head.root))
        app.keys.reserve_head()
        crashpoints.reached("recovery noted")
    elif (start.size, start.root) != (head.size, head.root):
        raise StoreBehind(
            f"{app.where}: another copy of this store goes on as {name} (use that one, or give this one another name "
            "with --origin)"
        )


def following(log: str) -> str:
    """The name of the log that goes on for another: `shop/ledger`, `shop/ledger/r2`, `shop/ledger/r3`."""
    match = re.fullmatch(r"(.*)/r(\d+)", log)
    return f"{match[1]}/r{int(match[2]) + 1}" if match else f"{log}/r2"
