"""Opening stores: the one place that knows the clock and turns a name into a store."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Final

from consent_ledger.consumers.moments import Wall, tell_gap
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import (
    ClockJumped,
    HoldStanding,
    KeyFileError,
    LedgerError,
    NotALedger,
    PackError,
    StoreError,
    StoreFull,
)
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.files.durable import read_at_most
from consent_ledger.ledger.intake.application import (
    LedgerApplication,
    open_file,
    open_postgres,
    require_store,
    roles_script,
)
from consent_ledger.ledger.intake.copying import require_folder, require_free
from consent_ledger.ledger.intake.erasure import finish_erasures
from consent_ledger.ledger.intake.recovery import bring_nobody_back
from consent_ledger.ledger.intake.scrub import finish_scrub
from consent_ledger.ledger.limits import PACK_LIMIT_BYTES
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.sqlite import SQLiteStore, in_memory
from consent_ledger.ledger.vault.keys import FileKeys, MemoryKeys
from consent_ledger.projections.ledger import Ledger
from consent_ledger.projections.store.opened import Place

_log = logging.getLogger("consent_ledger")
STORE_VARIABLE: Final = "CONSENT_LEDGER_STORE"
KEYS_VARIABLE: Final = "CONSENT_LEDGER_KEYS"
DEFAULT_STORE: Final = "sqlite:///consent-ledger.db"


clock: Callable[[], int] = Wall()


def _clock() -> Callable[[], int]:
    """The clock of one ledger."""
    return clock.steady() if isinstance(clock, Wall) else clock


def _named_store(store: str | None) -> str:
    """The name of a store: as given, from the environment, or the usual one."""
    return store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def _named_keys(keys: str | None) -> str | None:
    """The folder of keys that somebody named, here or in the environment."""
    return keys or os.environ.get(KEYS_VARIABLE) or None


def server_address(store: str | None) -> str | None:
    """The address of a store in PostgreSQL; None for a file."""
    name = _named_store(store)
    return name if name.startswith(("postgresql://", "postgres://")) else None


def _server_keys(keys: str | None) -> Path:
    """The folder of the keys of a store in a server. Raises KeyFileError where nobody named one."""
    named = _named_keys(keys)
    if named is None:
        raise KeyFileError(f"a store in PostgreSQL needs a folder for its keys: --keys FOLDER, or {KEYS_VARIABLE}")
    return Path(named)


def store_path(store: str | None) -> Path:
    """The file of `sqlite:///PATH`. Raises NotALedger for anything else."""
    name = _named_store(store)
    if name.startswith("sqlite:///"):
        return Path(name.removeprefix("sqlite:///"))
    if "://" in name:
        raise NotALedger(
            f"{name.split('://')[0]}://: names no store (sqlite:///PATH and postgresql://HOST/DATABASE?schema=NAME do)"
        )
    return Path(name)


def keys_folder(path: Path, keys: str | None) -> Path:
    """The folder of the keys: as given, from the environment, or beside the store."""
    return Path(_named_keys(keys) or f"{path}.keys")


def folder_of_keys(store: str | None, keys: str | None) -> Path:
    """The folder of the keys of a store, in a file or in a server. Raises KeyFileError, NotALedger."""
    return _server_keys(keys) if server_address(store) is not None else keys_folder(store_path(store), keys)


def grants(store: str | None) -> str:
    """The SQL that makes the roles of a store in PostgreSQL and gives each what it needs. Nothing is connected to."""
    address = server_address(store)
    if address is None:
        raise NotALedger(f"{store_path(store)}: a file has no roles (name a store in PostgreSQL: postgresql://...)")
    return roles_script(address)


def keys_are_elsewhere(store: str | None, keys: str | None) -> bool:
    """Whether a store is there and its keys are not, where nobody named a folder of keys: an auditor's copy."""
    named = _named_keys(keys)
    if server_address(store) is not None:
        return not named
    path = store_path(store)
    return not named and path.exists() and not keys_folder(path, None).exists()


def projection_path(path: Path) -> Path:
    """The file of a store's projections: it can be deleted at any time."""
    return path.with_name(path.name + ".projections")


def create_ledger(store: str | None = None, keys: str | None = None, *, origin: str | None = None) -> Ledger:
    """Make a new store with new keys. Raises NotALedger where there is something already.

    The file gets its name when it is whole; an attempt that was cut short is taken up by the next one.
    """
    address = server_address(store)
    if address is not None:
        return _create_in_server(address, _server_keys(keys), origin)
    path = store_path(store)
    require_folder(path)
    name = log_name(origin or "consent-ledger.local/" + re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem))
    with durable.readable(path), durable.alone(path):
        require_free(path)  # another process may have made it meanwhile
        provider = _made(path, keys_folder(path, keys), name)
    return open_ledger(str(path), str(provider.folder))


def _create_in_server(address: str, folder: Path, origin: str | None) -> Ledger:
    """Make a store in a schema of a server: one transaction, so that it is there wholly or not at all."""
    provider = FileKeys(folder, create=True)
    app = open_postgres(address, provider)
    with _closed_on_failure(app):
        app.initialise(log_name(origin or "consent-ledger.local/" + app.where.rpartition("=")[2]))
        provider.finished()
        return Ledger(app, _clock(), _projections(app))


def _open_in_server(address: str, folder: Path, *, only_read: bool) -> Ledger:
    provider = _keys_there(folder)
    app = open_postgres(address, provider, only_read=only_read)
    with _closed_on_failure(app):
        app.load()
        if app.how == "rw":
            provider.finished()
        if not only_read:
            _finish(app)
            tell_gap(app.where, clock(), app.current_head().recorded_at)
        return Ledger(app, _clock(), _projections(app))


def _projections(app: LedgerApplication) -> Place:
    """Where the projections of a ledger in a server are: in its schema, where that is written."""
    from consent_ledger.ledger.store.postgres import PostgresStore

    return app.store if app.how == "rw" and isinstance(app.store, PostgresStore) else None


def _made(path: Path, folder: Path, name: str) -> FileKeys:
    """Make a store and its keys; the store gets its name when it is whole. Requires to be alone in that."""
    partial = path.with_name(path.name + ".partial")
    discard(partial)
    durable.create(partial)  # first: a folder that cannot be written gets no keys either
    provider = FileKeys(folder, create=True)
    try:
        app = open_file(partial, provider, create=True)
        with closing(app):
            app.initialise(name)
            app.store.truncate()
        require_one_file(partial)
    except BaseException:
        discard(partial)
        raise
    crashpoints.reached("store whole")
    partial.rename(path)
    durable.sync_folder(path.parent)
    crashpoints.reached("store named")
    provider.finished()
    return provider


def require_one_file(path: Path) -> None:
    """Raise StoreFull where a part of a copy is still in the log beside it. Requires that the copy is closed.

    SQLite writes it back when it closes, and says nothing where that fails.
    """
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreFull(f"{path}: could not be written whole (look at the disk, run this again)")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def log_name(name: str) -> str:
    """A name that a log can have. Raises NotALedger for any other."""
    if not re.fullmatch(r"[^\s+]{1,200}", name) or not name.isprintable():
        raise NotALedger(
            f"--origin {name!r}: the name of a log has at most 200 printable characters, no space, no plus"
        )
    return name


def discard(path: Path) -> None:
    """Remove a file that is no store yet, with what SQLite has beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def open_ledger(store: str | None = None, keys: str | None = None) -> Ledger:
    """Open a store that is there; for reading only where its file or disk cannot be written.

    Raises NotALedger, NewerStore, KeyFileError, StoreShared, Forked.
    """
    address = server_address(store)
    if address is not None:
        return _open_in_server(address, _server_keys(keys), only_read=False)
    path, provider = _found(store, keys)
    app = open_file(path, provider)
    with _closed_on_failure(app):
        assert isinstance(app.store, SQLiteStore)
        path = app.store.path
        if app.how == "rw":
            for base in (path, projection_path(path)):
                for suffix in ("", "-wal", "-shm"):
                    if (file := base.with_name(base.name + suffix)).exists():
                        durable.mend(file)
            provider.keep_private()
        app.load()
        if app.how == "rw":
            provider.finished()
            if app.keys.signed_head(app.origin) is None and app.current_head().size:
                _log.warning("%s: nothing signed is noted in %s: an older copy was not noticed", path, provider.folder)
        _finish(app)
        tell_gap(app.where, clock(), app.current_head().recorded_at)
        return Ledger(app, _clock(), projection_path(path) if app.how == "rw" else None)


def _finish(app: LedgerApplication) -> None:
    """Finish what was cut short in a store that was opened, as far as it can be written."""
    with suppress(StoreError, HoldStanding, ClockJumped):  # a writer at work sees to it itself
        behind = bring_nobody_back(app)
        if behind is not None:
            _log.warning("%s: it is read and not written", behind)
            return
        if app.how == "rw":
            app.tell(app.current_head())
            finish_erasures(app, clock())
    finish_scrub(app)


def open_to_read(store: str | None = None, keys: str | None = None) -> Ledger:
    """Open a store that is there so that neither it nor its projections can be written. Raises as open_ledger does."""
    address = server_address(store)
    if address is not None:
        return _open_in_server(address, _server_keys(keys), only_read=True)
    path, provider = _found(store, keys)
    app = open_file(path, provider, only_read=True)
    with _closed_on_failure(app):
        app.load()
        return Ledger(app, _clock())


@contextmanager
def _closed_on_failure(app: LedgerApplication) -> Iterator[None]:
    try:
        yield
    except BaseException:
        app.close()
        raise


def _found(store: str | None, keys: str | None) -> tuple[Path, FileKeys]:
    path = store_path(store)
    if not path.exists():
        raise NotALedger(f"{path}: there is no such store (make one with: consent-ledger init)")
    require_store(path)
    return path, _keys_there(keys_folder(path, keys))


def _keys_there(folder: Path) -> FileKeys:
    if not folder.is_dir():
        raise KeyFileError(f"{folder}: there is no keys folder (give the store's own with --keys)")
    return FileKeys(folder)


def memory_ledger(pack: Pack | None = None, at: Callable[[], int] = clock) -> Ledger:
    """A ledger that lives as long as the process. `pack`: serves every version, as scenarios want it."""
    app = LedgerApplication(in_memory(), MemoryKeys())
    app.initialise("consent-ledger.local/memory")
    app.any_pack = pack
    return Ledger(app, at)


def shipped_packs() -> dict[str, bytes]:
    """The packs that come with the program, by controller."""
    folder = resources.files("consent_ledger.ledger.packs")
    bodies = [file.read_bytes() for file in folder.iterdir() if file.name.endswith(".toml")]
    return {load_pack(body).controller: body for body in bodies}


def read_pack(file: Path) -> bytes:
    """A pack file's bytes; a bare name of a shipped pack will do."""
    if file.exists():
        try:
            body = read_at_most(file, PACK_LIMIT_BYTES)
        except OSError as error:
            raise PackError(f"{file}: cannot be read ({error.strerror})") from None
        if len(body) > PACK_LIMIT_BYTES:
            raise PackError(f"{file}: more than {PACK_LIMIT_BYTES} bytes: a pack is a statement as rules, and no more")
        return body
    shipped = shipped_packs().get(str(file))
    if shipped is None:
        raise PackError(
            f"{file}: there is no such file, and no pack of that name is shipped "
            "(one in a store: consent-ledger pack get NAME > FILE)"
        )
    return shipped


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """What is wrong with a pack, said of the file that it came from."""
    try:
        yield
    except PackError as error:
        raise PackError(str(error) if str(file) in str(error) else f"{file}: {error}") from None


def valid_pack(file: Path) -> bytes:
    """The bytes of a pack file that is one, or of a shipped one. Raises PackError naming the file."""
    with naming(file):
        body = read_pack(file)
        load_pack(body)
        return body


__all__ = ["LedgerError", "clock", "create_ledger", "memory_ledger", "open_ledger", "read_pack", "shipped_packs"]
