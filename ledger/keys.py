"""The key-encryption key and the log's signing key: what is kept apart from the data.

`KeyProvider` is the interface that a key management service can stand behind. `FileKeys`, the embedded default, is a
folder with two small files, readable by their owner only, and the journal of erasures that a restored backup replays.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import KeyFileError

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
JOURNAL: Final = "erasures.ndjson"
OUTLIVED: Final = "suppressed.ndjson"


Outlived = tuple[str, str, int]  # hash of an address in hex, a no as JSON, the end of the day in microseconds


class KeyProvider(Protocol):
    """Wraps data keys, and holds the seed of the log's signing key."""

    def wrap(self, key: bytes, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key. Raises KeyFileError where this key-encryption key is not the one that wrapped it."""
        ...

    def signing_seed(self) -> bytes: ...

    def note_erasure(
        self,
        persons: list[str],
        kind: str,
        until: int | None,
        suppressed: list[Outlived],
        traces: Sequence[str] = (),
    ) -> None:
        """Journal an erasure, or (`kind` deletion) the destruction of what was recorded until a time in force.

        `suppressed`: what outlives it. Of an erasure it goes to `outlived`, and so does what the journal still says of
        deletions of the same persons: no line may lead from an address to somebody who is erased.
        `traces`: handles, in hex, of letters and refused events destroyed with them, who may be nobody (`persons`
        empty). They stand sorted in one row of their own (`kind` traces), so that it says nothing of whose they were.
        """
        ...

    def erasures(self) -> list[dict[str, Any]]: ...

    def outlived(self) -> list[Outlived]:
        """What outlives all who were erased, sorted, so that its order says nothing."""
        ...


class MemoryKeys:
    """Keys that live as long as the process: for scenarios and tests."""

    def __init__(self, randomness: Callable[[int], bytes] = os.urandom) -> None:
        self._random = randomness
        self._kek = AESGCM(randomness(KEY_BYTES))
        self._seed = randomness(KEY_BYTES)
        self._erasures: list[dict[str, Any]] = []
        self._outlived: list[Outlived] = []

    def wrap(self, key: bytes, context: bytes) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + self._kek.encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._kek.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except InvalidTag:
            raise KeyFileError(
                "the key-encryption key does not open this store: give the keys folder that was made with it (--keys)"
            ) from None

    def signing_seed(self) -> bytes:
        return self._seed

    def note_erasure(
        self,
        persons: list[str],
        kind: str,
        until: int | None,
        suppressed: list[Outlived],
        traces: Sequence[str] = (),
    ) -> None:
        row = {"persons": persons, "kind": kind, "until": until}
        if kind != "erase":
            self._add({**row, "suppressed": suppressed})
            return
        journal, known = self.erasures(), [*self.outlived(), *suppressed]
        handles = sorted({*traces, *(handle for one in journal for handle in one.get("traces", ()))})
        journal = [one for one in journal if one["kind"] != "traces"]
        for one in journal:
            if not set(persons).isdisjoint(one["persons"]):
                known += [(key, said, end) for key, said, end in one.pop("suppressed", ())]
        latest = {(key, said): end for key, said, end in sorted(known)}
        first = [{"kind": "traces", "traces": handles}] if handles else []
        rows = [*first, *journal, *([row] if persons else [])]
        self._replace(rows, [(key, said, end) for (key, said), end in latest.items()])

    def erasures(self) -> list[dict[str, Any]]:
        return list(self._erasures)

    def outlived(self) -> list[Outlived]:
        return self._outlived

    def _add(self, row: dict[str, Any]) -> None:
        self._erasures.append(row)

    def _replace(self, journal: list[dict[str, Any]], outlived: list[Outlived]) -> None:
        self._erasures, self._outlived = journal, outlived


class FileKeys(MemoryKeys):
    """A folder with `kek`, `signing` (32 bytes each, base64), `erasures.ndjson` and `suppressed.ndjson`."""

    def __init__(self, folder: Path, *, create: bool = False, randomness: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__(randomness)
        self.folder = folder
        if create:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("kek", "signing"):
                _write_new(folder / name, base64.b64encode(randomness(KEY_BYTES)) + b"\n")
        self._kek = AESGCM(_read_key(folder / "kek"))
        self._seed = _read_key(folder / "signing")

    def _add(self, row: dict[str, Any]) -> None:
        """Append to the journal and force it to disk: a backup restored later must not bring anybody back."""
        handle = os.open(self.folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, orjson.dumps(row) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    def _replace(self, journal: list[dict[str, Any]], outlived: list[Outlived]) -> None:
        """Write both files anew, first what outlives: it may be there twice, never not at all."""
        if outlived:
            _write_over(self.folder / OUTLIVED, outlived)
        _write_over(self.folder / JOURNAL, journal)

    def erasures(self) -> list[dict[str, Any]]:
        return _lines(self.folder / JOURNAL)

    def outlived(self) -> list[Outlived]:
        return [(key, said, end) for key, said, end in _lines(self.folder / OUTLIVED)]


def _lines(path: Path) -> list[Any]:
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [orjson.loads(line) for line in lines if line.endswith((b"}", b"]"))]  # a torn one was never acted upon


def _write_over(path: Path, lines: Iterable[Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(orjson.dumps(line) + b"\n" for line in lines)
        file.flush()
        os.fsync(handle)
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_new(path: Path, body: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists already: it may be another store's key (name another folder)") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None
    try:
        os.write(handle, body)
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_key(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except FileNotFoundError:
        raise KeyFileError(
            f"{path} is missing: without it nothing sealed can be read (give the right folder with --keys)"
        ) from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path} cannot be read as a key: {error}") from None
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path} holds {len(key)} bytes, a key has {KEY_BYTES}")
    return key
