"""A look at everything: database, log, what follows from it, vault, keys, projections, files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from consent_ledger.consumers import opening
from consent_ledger.consumers.moments import gap
from consent_ledger.consumers.opening import keys_folder
from consent_ledger.ledger.errors import LedgerError
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.intake.dead_letters import listed
from consent_ledger.ledger.intake.scrub import PATIENT_MILLISECONDS, scrub_or_wait
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.proof.audit import StoreCorrupt, verify_store
from consent_ledger.ledger.proof.checkup import SHOWN, database, derived
from consent_ledger.ledger.proof.derived import unjournalled
from consent_ledger.ledger.store.sqlite import SQLiteStore
from consent_ledger.ledger.store.tables import addresses, people
from consent_ledger.ledger.vault.keys import JOURNAL, FileKeys
from consent_ledger.projections.ledger import Ledger

Row = dict[str, Any]


def vault(ledger: Ledger) -> tuple[str, list[str]]:
    """(how many keys and sealed records there are, what does not open)."""
    app, broken, sealed, orphans = ledger.app, [], 0, 0
    with app.reading() as c:
        keys = people.count_keys(c)
        for position, stream, version in people.places_of_secrets(c):
            sealed += 1
            if stream is None or version is None:
                orphans += 1
                continue
            try:
                if app.vault.open_fields(c, stream, version, position) is None:
                    broken.append(f"entry {position}: the key of its person is missing (restore a backup)")
            except LedgerError as error:
                broken.append(str(error))
    if orphans:
        broken.append(f"{orphans} sealed records belong to no entry")
    return f"{keys} keys, {sealed} sealed records, {orphans} orphans", broken


def rights(ledger: Ledger) -> list[str]:
    """Files that others than their owner may read or write."""
    app = ledger.app
    if app.store.in_memory or not isinstance(app.store, SQLiteStore):
        return []
    path = app.store.path
    beside = [path.with_name(path.name + end) for end in ("", "-wal", "-shm", ".projections")]
    folder = app.keys.folder if isinstance(app.keys, FileKeys) else keys_folder(path, None)
    kept = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    found = []
    for one in (*beside, *kept):
        with suppress(FileNotFoundError):  # not there, or no longer
            if durable.wider(one):
                found.append(f"{one}: others may use it")
    return found


def examine(ledger: Ledger) -> list[Row]:
    """Everything, a row each: `check`, `ok`, `says`. Finishes what was interrupted."""
    return [{"check": name, "ok": ok, "says": says} for name, ok, says in _examined(ledger)]


def _examined(ledger: Ledger) -> Iterator[tuple[str, bool, str]]:
    app = ledger.app
    head = app.current_head()
    reading = "" if app.how == "rw" else ", for reading only"
    yield "store", True, f"{app.where}, {head.size} entries, log {app.origin}{reading}"
    found = database(app)
    yield from _problems("database", found, "is sound, its indexes fit its tables")
    try:
        report = verify_store(app, parse_vkey(app.signer.vkey))
        yield "log", True, str(report)
        yield from _problems("derived", derived(app), "all tables follow from the log")
    except StoreCorrupt as error:
        yield "log", False, str(error)
    yield from _signed(ledger)
    says, broken = vault(ledger)
    yield "vault", not broken, says
    yield from (("vault", False, problem) for problem in broken[:SHOWN])
    with app.reading() as c:
        kept, noes = addresses.count_suppressed(c)
    yield "suppression", True, f"{noes} noes of erased persons are kept, under {kept} addresses"
    reason = ledger.projector.why_in_memory
    memory = f"; they are in memory, and each process folds them: {reason}" if reason is not None else ""
    yield "projections", True, f"{ledger.projector.catch_up()} entries were to be folded{memory}"
    damage = ledger.projector.damaged()
    yield from (("projections", False, f"{one.person}: {one.what}") for one in damage[:SHOWN])
    odd = gap(opening.clock(), head.recorded_at)
    yield "clock", odd is None, odd or "is not behind the last entry"
    yield from _problems("rights", rights(ledger), "files and keys are their owner's alone")
    if app.how == "rw":
        scrub_or_wait(app, [], patience=PATIENT_MILLISECONDS)
        why = app.unscrubbed
        in_file = isinstance(app.store, SQLiteStore)
        sound = "the write-ahead log is truncated" if in_file else "no table keeps what was destroyed"
        yield "files", why is None, sound if why is None else why.why
    letters = listed(app)
    yield "dead letters", True, f"{len(letters)} are waiting to be mended" if letters else "none"


def _noted_again(ledger: Ledger) -> Iterator[tuple[str, bool, str]]:
    """Note whom the log tells erased, where the journal was lost or put back to an older one."""
    app = ledger.app
    if app.how != "rw":
        return
    with app.reading() as c:
        missing = unjournalled(app, c)
    if not missing:
        return
    try:
        with app.keys.turn():
            app.keys.note_erasure(sorted(missing), "erase", None, [])
    except LedgerError as error:
        yield "journals", False, str(error)
    else:
        yield "journals", False, f"{JOURNAL}: lacked {len(missing)} persons whom the log tells erased: noted again"


def _problems(name: str, found: list[str], otherwise: str) -> Iterator[tuple[str, bool, str]]:
    if not found:
        yield name, True, otherwise
    yield from ((name, False, problem) for problem in found[:SHOWN])


def _signed(ledger: Ledger) -> Iterator[tuple[str, bool, str]]:
    """What was signed, as it is remembered beside the keys."""
    app = ledger.app
    if app.store.in_memory:
        return
    with app.reading() as c:
        why = app.behind(c)
    noted = app.keys.signed_head(app.origin)
    if why is not None:
        yield "signed heads", False, f"{why} (go on without what is missing: consent-ledger recover)"
    elif noted is None:
        yield "signed heads", False, "none is noted beside the keys: an older copy would not be noticed"
    else:
        yield "signed heads", True, f"the newest that is noted beside the keys has {noted.size} entries"
    if isinstance(app.keys, FileKeys):
        yield from _noted_again(ledger)
        for name, foreign in app.keys.foreign_lines().items():
            if foreign:
                yield "journals", True, f"{name}: {foreign} lines are torn or nobody's, and were read past"
