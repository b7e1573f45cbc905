"""What was no event at all: kept sealed, with the reason, until somebody mends it or drops it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from ledger.application import LedgerApplication
from ledger.errors import InvalidQuestion

KEPT_BYTES: Final = 1_048_576  # of a longer one only the beginning is kept
# a name in text that does not parse as a whole: printable ASCII without an escape, which is JSON by itself
_NAMED: Final = {
    name: re.compile(rb'"%s"\s*:\s*("[ !#-\[\]-~]*")' % name.encode()) for name in ("controller", "subject")
}


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; its text is sealed."""

    id: int
    received_at: int
    origin: str
    line: int | None
    field: str
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """What could not be recorded, and why."""

    raw: bytes
    size: int  # bytes that came, of which `raw` may be the beginning
    line: int | None
    field: str
    reason: str


def keep(app: LedgerApplication, origin: str, letters: Sequence[Undeliverable], now: int) -> int:
    """Keep dead letters; one that is there already is not kept twice. Returns how many are new."""
    kept = 0
    with app.writing() as c:
        for letter in letters:
            digest = app.vault.digest(origin.encode() + b"\0" + letter.raw)
            sealed = app.vault.seal_letter(letter.raw[:KEPT_BYTES])
            c.execute(
                "INSERT OR IGNORE INTO dead_letters (digest, received_at, origin, line, field, reason, bytes, "
                "person_key, sealed) VALUES (?,?,?,?,?,?,?,?,?) RETURNING id",
                [
                    digest, now, origin, letter.line, letter.field, letter.reason, letter.size,
                    _person_key(app, letter.raw), sealed,
                ],
            )  # fmt: skip
            kept += len(c.fetchall())
    return kept


def _person_key(app: LedgerApplication, raw: bytes) -> bytes | None:
    """Under which a letter is found when its person is erased; also one that is cut off or no JSON, if it says who."""
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = {name: orjson.loads(found[1]) for name, form in _NAMED.items() if (found := form.search(raw))}
    if not isinstance(body, dict):
        return None
    controller, subject = body.get("controller"), body.get("subject")
    if not isinstance(controller, str) or not isinstance(subject, str):
        return None
    return app.vault.alias(controller, subject)


def listed(app: LedgerApplication) -> list[Letter]:
    """All dead letters, without their text."""
    with app.reading() as c:
        c.execute("SELECT id, received_at, origin, line, field, reason, bytes FROM dead_letters ORDER BY id")
        return [Letter(*row) for row in c.fetchall()]


def text(app: LedgerApplication, letter: int) -> bytes:
    """What a dead letter said. Raises InvalidQuestion where there is none."""
    with app.reading() as c:
        c.execute("SELECT sealed FROM dead_letters WHERE id=?", [letter])
        row = c.fetchone()
    if row is None:
        raise InvalidQuestion("letter", f"there is no dead letter {letter}")
    return app.vault.open_letter(row[0])


def drop(app: LedgerApplication, letter: int) -> None:
    """Destroy a dead letter. Raises InvalidQuestion where there is none."""
    with app.writing() as c:
        c.execute("DELETE FROM dead_letters WHERE id=? RETURNING id", [letter])
        if not c.fetchall():
            raise InvalidQuestion("letter", f"there is no dead letter {letter}")
