"""What the command line does beyond asking: proofs, erasure, backups, letters, a look at the store's health."""

from __future__ import annotations

import contextlib
import io
import mimetypes
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from consent_ledger.consumers.health import examine
from consent_ledger.consumers.mistakes import DoesNotHold
from consent_ledger.consumers.opening import discard, projection_path, require_one_file, server_address, store_path
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import InvalidEvent, InvalidQuestion, NotALedger, StoreFull
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.files.held import chunks, descriptor
from consent_ledger.ledger.intake.application import open_file, open_postgres
from consent_ledger.ledger.intake.copying import require_folder, require_free
from consent_ledger.ledger.intake.dead_letters import drop, listed, text
from consent_ledger.ledger.intake.erasure import destroy_again
from consent_ledger.ledger.intake.parse import parse_line
from consent_ledger.ledger.log.verifier import (
    COSIGNATURE,
    ED25519,
    MAX_DOCUMENT_BYTES,
    MAX_ZIP_BYTES,
    EvidenceError,
    NoteError,
    Report,
    Vkey,
    one_line,
    parse_key,
    parse_vkey,
    verify_evidence,
)
from consent_ledger.ledger.proof.audit import StoreCorrupt, StoreReport, verify_store
from consent_ledger.ledger.times import format_time
from consent_ledger.ledger.vault.keys import FileKeys, MemoryKeys
from consent_ledger.projections.ledger import Ledger

Row = dict[str, Any]
__all__ = [
    "back_up", "check_evidence", "check_store", "document_file", "erase", "evidence_for", "examine", "letter_rows",
    "restore", "retry",
]  # fmt: skip


def check_evidence(file: Path, key: str, witnesses: Sequence[str]) -> Report:
    """The report on an evidence zip. Raises DoesNotHold, InvalidQuestion for a malformed key, OSError for no file."""
    known = [_key("--key", key, ED25519)]
    cosigned = [_key("--witness", one, COSIGNATURE) for one in witnesses]
    with file.open("rb") as stream:  # a file that is not there says nothing about evidence
        whole = stream.read(MAX_ZIP_BYTES + 1)
    try:
        return verify_evidence(whole, known, cosigned)
    except EvidenceError as error:
        raise DoesNotHold(f"{file}: does not hold: {one_line(error)}") from None


def check_store(ledger: Ledger, key: str | None) -> StoreReport:
    """The report on a whole store, by its own key or a given one. Raises StoreCorrupt, InvalidQuestion."""
    if key is not None:
        _key("--key", key, ED25519)  # what is wrong with it is said of the option
    return ledger.verify(key)


def check_copy(store: str | None, key: str) -> StoreReport:
    """The report on the log of a store whose keys one has not, read only. Raises StoreCorrupt, InvalidQuestion.

    The log needs no keys: its entries, chains, tree and signature are checked, and nothing that is sealed.
    """
    vkey, address = _key("--key", key, ED25519), server_address(store)
    if address is not None:
        app = open_postgres(address, MemoryKeys(), only_read=True)
    else:
        app = open_file(store_path(store), MemoryKeys(), only_read=True)
    with contextlib.closing(app), app.store.errors():
        app.store.check()
        app.origin = vkey.name  # the log that the key is of, or the checkpoint does not hold
        return verify_store(app, vkey)


def _key(option: str, text: str, alg: int) -> Vkey:
    try:
        return parse_key(text, alg)
    except NoteError as error:
        raise InvalidQuestion(option, str(error)) from None


def evidence_for(ledger: Ledger, body: Row, disclose: Sequence[str], *, auditor: bool) -> bytes:
    """The evidence zip about a person, by name or identifier."""
    return ledger.evidence(body, disclose=disclose, auditor=auditor)


def back_up(ledger: Ledger, target: Path) -> int:
    """An online copy. Returns the number of entries in it."""
    return ledger.backup(target)


class Written(NamedTuple):
    """An evidence zip that was written: its size in bytes, and the names of the personal fields that it opens."""

    size: int
    opened: list[str]


def write_evidence_for(output: Path, ledger: Ledger, body: Row, disclose: Sequence[str], *, auditor: bool) -> Written:
    """Write the evidence zip about a person to a file of its owner's only."""
    require_folder(output)
    whole = evidence_for(ledger, body, disclose, auditor=auditor)
    if output.exists() and not output.is_file():  # a pipe or a terminal: nothing there can be replaced
        output.write_bytes(whole)
    else:
        with durable.readable(output):
            durable.replace(output, whole)
    return Written(len(whole), _opened(whole))


def _opened(evidence: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(evidence)) as members:
        fields = orjson.loads(members.read("manifest.json"))["fields"]
    return sorted({field["name"] for field in fields})


def document_file(file: Path, media_type: str | None) -> tuple[bytes, str]:
    """The bytes of a text and its media type, by the ending of its name unless one is given."""
    with file.open("rb") as stream:
        body = stream.read(MAX_DOCUMENT_BYTES + 1)
    guessed, _ = mimetypes.MimeTypes().guess_type(file.name)  # by Python's own table: the same on every machine
    return body, media_type or guessed or "application/octet-stream"


def erase(ledger: Ledger, body: Row) -> list[int]:
    """Erase a person and all joined names. Returns the positions of the entries that say so."""
    return ledger.erase(body).positions


class Restored(NamedTuple):
    """What became of a restore.

    `behind`: what these keys have signed and the copy has not; None where it has all. `foreign`: lines of the journals
    that are torn or nobody's and were read past.
    """

    entries: int
    erased: int
    behind: str | None = None
    foreign: int = 0


def restore(source: Path, target: Path, keys: Path) -> Restored:
    """Make a store from a backup, or from a store and its write-ahead log. Requires the keys' folder.

    Whoever was erased since is erased again, and nothing is signed. The source is left as it is. The copy is checked
    whole before it gets its name: one that was made while something was writing is refused.
    """
    if not source.exists():
        raise NotALedger(f"{source}: there is no such backup")
    require_folder(target)
    pieces = {suffix: piece for suffix in ("", "-wal") if (piece := source.parent / (source.name + suffix)).exists()}
    _require_room(pieces.values(), target)
    provider = FileKeys(keys)
    with copy_of(target, "restored copy whole") as partial:
        try:
            for suffix, piece in pieces.items():
                durable.create(partial.with_name(partial.name + suffix), chunks(piece))
            restored = _checked(partial, provider, target)
        except NotALedger:
            what = "not a backup of a consent-ledger store (name the file that backup made)"
            raise NotALedger(f"{source}: {what}") from None
    return restored


@contextmanager
def copy_of(target: Path, whole: str) -> Iterator[Path]:
    """The name of a copy, which becomes that of a store when the block has ended well; else nothing is left of it.

    `whole`: the crash point between the two.
    """
    partial = target.with_name(target.name + ".partial")
    with durable.readable(target), durable.alone(target):
        require_free(target, "store")  # another process may have made it meanwhile
        discard(partial)  # with the write-ahead log of an earlier attempt: it must not be applied to this copy
        try:
            yield partial
        except BaseException:
            discard(partial)
            raise
        crashpoints.reached(whole)
        for path in (projection_path(target), *(target.with_name(target.name + end) for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)  # a log left beside would be played into the store
        partial.rename(target)
        durable.sync_folder(target.parent)


def _checked(partial: Path, provider: FileKeys, target: Path) -> Restored:
    """Look at a copy on its way to become a store, and erase again in it."""
    app = open_file(partial, provider, copy=True)
    try:
        app.load()
        with app.reading() as c:
            wrong = app.store.damage(c, 1)
            if wrong:
                raise StoreCorrupt(f"the copy is damaged, or was made while something was writing: {wrong[0]}")
            behind = app.behind(c)
        verify_store(app, parse_vkey(app.signer.vkey))
    finally:
        app.close()
    entries, erased = _erase_again(partial, provider)
    os.fsync(descriptor(partial))
    foreign = sum(provider.foreign_lines().values())
    return Restored(entries, erased, behind and behind.replace(str(partial), str(target), 1), foreign)


def _erase_again(path: Path, provider: FileKeys) -> tuple[int, int]:
    """Erase in a copy whoever was erased since it was made. Returns (entries before that, persons)."""
    with contextlib.closing(open_file(path, provider, copy=True)) as app:
        app.load()
        size = app.current_head().size
        again = destroy_again(app)
        app.store.truncate()
    require_one_file(path)
    return size, again


def _require_room(pieces: Iterable[Path], target: Path) -> None:
    """Raise NotALedger for what is no file, StoreFull where there is no room for a copy: before anything is written."""
    needed = 0
    for piece in pieces:
        if not piece.is_file():
            raise NotALedger(f"{piece}: is no file (name the file that backup made)")
        needed += piece.stat().st_size
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise StoreFull(
            f"{target.parent}: the backup has {needed} bytes, and there is room for {free}: free some, or name another "
            "folder"
        )


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
