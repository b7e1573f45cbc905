"""What the command line does beyond asking: proofs, erasure, backups, letters, a look at the store's health."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from consumers.opening import projection_path
from ledger.application import open_file
from ledger.audit import StoreCorrupt, verify_store
from ledger.deadletters import drop, listed, text
from ledger.erasure import backup, delete_again, erase_persons, scrub, suppress_again
from ledger.errors import InvalidEvent, InvalidQuestion, LedgerError, NotALedger
from ledger.evidence import write_evidence
from ledger.incoming import parse_line
from ledger.keys import FileKeys
from ledger.recorder import readable_errors
from ledger.times import format_time, parse_held
from ledger.verifier import EvidenceError, parse_vkey, verify_evidence
from projections.ledger import Ledger

Row = dict[str, Any]


class DoesNotHold(LedgerError):
    """Evidence that does not verify; the message names what."""


def check_evidence(file: Path, key: str, witnesses: Sequence[str]) -> str:
    """The report on an evidence zip. Raises DoesNotHold."""
    try:
        return str(verify_evidence(file, [parse_vkey(key)], [parse_vkey(one) for one in witnesses]))
    except (EvidenceError, ValueError) as error:
        raise DoesNotHold(f"{file}: does not hold: {error}") from None


def check_store(ledger: Ledger, key: str | None) -> str:
    """The report on a whole store, by its own key or a given one. Raises StoreCorrupt."""
    try:
        vkey = parse_vkey(key or ledger.app.signer.vkey)
    except ValueError as error:
        raise DoesNotHold(f"--key: {error}") from None
    report = verify_store(ledger.app, vkey)
    return f"holds: {report.size} entries in {report.streams} streams of log {report.origin}"


def evidence_for(ledger: Ledger, body: Row, disclose: Sequence[str], *, auditor: bool) -> bytes:
    """The evidence zip about a person, by name or identifier."""
    view, person = ledger.found(body)
    now = ledger.clock()

    def withhold(state: bytes) -> bool:
        until = orjson.loads(state)["data"].get("secret_until")
        return not auditor and until is not None and now < parse_held(until)

    return write_evidence(
        ledger.app,
        view.controller,
        person.person,
        disclose=lambda name: "all" in disclose or name in disclose,
        withhold=withhold,
    )


def write_evidence_for(output: Path, ledger: Ledger, body: Row, disclose: Sequence[str], *, auditor: bool) -> int:
    """Write the evidence zip about a person to a file of its owner's only. Returns its size in bytes."""
    whole = evidence_for(ledger, body, disclose, auditor=auditor)
    _write_private(output, whole)
    return len(whole)


def _write_private(path: Path, body: bytes) -> None:
    """Put a file in the place of another, at once; where anything fails the old one stays as it was."""
    if path.exists() and not path.is_file():  # a pipe or a terminal: nothing there can be replaced
        path.write_bytes(body)
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(handle)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def erase(ledger: Ledger, body: Row) -> list[int]:
    """Erase a person and all names joined with them."""
    view, person = ledger.found(body)
    if not ledger.app.known_names(person.person):
        raise InvalidQuestion("subject", f"{body.get('subject')!r} is erased already")
    positions = erase_persons(ledger.app, {person.person}, ledger.clock(), journal=True)
    ledger.projector.catch_up()
    assert view.controller
    return positions


def back_up(ledger: Ledger, target: Path) -> int:
    """An online copy. Returns the number of entries in it. Raises NotALedger where there is a file already."""
    if target.exists():
        raise NotALedger(f"{target}: there is a file already (name a new path)")
    _require_folder(target)
    partial = target.with_name(target.name + ".partial")
    _discard(partial)
    with readable_errors(str(partial)):
        backup(ledger.app, partial)
    partial.replace(target)
    copy = open_file(target, ledger.app.keys)
    copy.load()
    size = copy.current_head().size
    copy.close()
    return size


def restore(source: Path, target: Path, keys: Path) -> tuple[int, int]:
    """Make a store from a backup. Returns (entries, persons erased again). Requires the keys' folder."""
    if not source.exists():
        raise NotALedger(f"{source}: there is no such backup")
    if target.exists():
        raise NotALedger(f"{target}: there is a store already (name a new path)")
    _require_folder(target)
    provider = FileKeys(keys)
    partial = target.with_name(target.name + ".partial")
    _discard(partial)  # with the write-ahead log of an earlier attempt: it must not be applied to this copy
    try:
        shutil.copyfile(source, partial)
        size, again = _erase_again(partial, provider)
    except BaseException as error:
        _discard(partial)
        if isinstance(error, NotALedger):
            what = "not a backup of a consent-ledger store (name the file that backup made)"
            raise NotALedger(f"{source}: {what}") from None
        raise
    for suffix in ("-wal", "-shm"):  # a log left beside would be played into the restored store
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    projection_path(target).unlink(missing_ok=True)
    partial.replace(target)
    return size, again


def _erase_again(path: Path, provider: FileKeys) -> tuple[int, int]:
    """Erase in a copy whoever was erased since it was made. Returns (entries before that, persons)."""
    app = open_file(path, provider)
    try:
        app.load()
        head = app.current_head()
        journal = provider.erasures()
        persons = {str(one) for row in journal if row["kind"] == "erase" for one in row["persons"]}
        again = {person for person in persons if app.known_names(person)}
        if again:
            erase_persons(app, again, head.recorded_at, journal=False)
        for row in journal:
            if row["kind"] == "deletion":
                delete_again(app, set(row["persons"]), row["until"], row.get("suppressed", ()))
        suppress_again(app)
    finally:
        app.close()
    return head.size, len(again)


def _require_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise NotALedger(f"{path.parent}: there is no such folder (make it first)")


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def letter_rows(ledger: Ledger) -> list[Row]:
    """Dead letters as rows."""
    return [
        {
            "id": one.id, "received_at": format_time(one.received_at), "origin": one.origin, "line": one.line,
            "field": one.field, "reason": one.reason, "bytes": one.bytes,
        }
        for one in listed(ledger.app)
    ]  # fmt: skip


def retry(ledger: Ledger, letter: int | None) -> tuple[int, int]:
    """Record dead letters again. Returns (recorded, still dead)."""
    wanted = [letter] if letter is not None else [one.id for one in listed(ledger.app)]
    done = 0
    for one in wanted:
        try:
            body: Any = parse_line(text(ledger.app, one))
        except InvalidEvent as error:
            body = error
        outcome = ledger.record([body])[0]
        if outcome.kind != "invalid":
            drop(ledger.app, one)
            done += 1
    return done, len(wanted) - done


def examine(ledger: Ledger) -> list[Row]:
    """A look at everything: the log, the vault, the projections, the files."""
    checks: list[Row] = []

    def check(name: str, ok: bool, says: str) -> None:
        checks.append({"check": name, "ok": ok, "says": says})

    head = ledger.app.current_head()
    check("store", True, f"{ledger.app.where}, {head.size} entries, log {ledger.app.origin}")
    try:
        check("log", True, check_store(ledger, None))
    except StoreCorrupt as error:
        check("log", False, str(error))
    with ledger.app.reading() as c:
        c.execute("SELECT count(*) FROM people")
        people = c.fetchone()[0]
        c.execute("SELECT s.position, e.stream, e.version FROM secrets s LEFT JOIN entries e USING (position)")
        rows = c.fetchall()
        orphans = sum(stream is None for _, stream, _ in rows)
        broken = []
        for position, stream, version in rows[:: max(len(rows) // 1000, 1)]:
            try:
                ledger.app.vault.open_fields(c, stream, version, position)
            except LedgerError as error:
                broken.append(str(error))
    check("vault", not broken and not orphans, f"{people} keys, {len(rows)} sealed records, {orphans} orphans")
    checks += [{"check": "vault", "ok": False, "says": problem} for problem in broken[:3]]
    with ledger.app.reading() as c:
        c.execute("SELECT count(DISTINCT key), count(*) FROM suppressed")
        addresses, noes = c.fetchone()
    check("suppression", True, f"{noes} noes of erased persons are kept, under {addresses} addresses")
    check("projections", True, f"{ledger.projector.catch_up()} entries were to be folded")
    scrub(ledger.app, [])
    check("files", True, "the write-ahead log is truncated")
    letters = listed(ledger.app)
    check("dead letters", True, f"{len(letters)} are waiting to be mended" if letters else "none")
    return checks
