"""What was no event at all: kept sealed, with the reason, until somebody mends it or drops it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.application import LedgerApplication
from consent_ledger.ledger.intake.letter_words import strings
from consent_ledger.ledger.intake.suppression import any_kept
from consent_ledger.ledger.intake.traces import address_tags, index_letter, note_past
from consent_ledger.ledger.store.tables import letters

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack

KEPT_BYTES: Final = 1_048_576  # of a longer one only the beginning is kept


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


def keep(app: LedgerApplication, origin: str, undelivered: Sequence[Undeliverable], now: int) -> int:
    """Keep dead letters; one that is there already is not kept twice. Returns how many are new."""
    sealed = [_sealed(app, origin, letter, now) for letter in undelivered]  # all that takes long, before the write lock
    controllers = _controllers(app)
    kept = 0
    with app.writing() as c:
        any_deleted = bool(any_kept(c))
        for row, said in sealed:
            letter = letters.add(c, row)
            if letter is None:
                continue
            kept += 1
            index_letter(c, app.vault, letter, said)
            if any_deleted:
                letters.tie_addresses(c, letter, address_tags(app.vault, controllers, said))
    return kept


def _sealed(app: LedgerApplication, origin: str, letter: Undeliverable, now: int) -> tuple[list[Any], set[str]]:
    """(the columns of a letter, what it is looked up by)."""
    digest = app.vault.digest(origin.encode() + b"\0" + letter.raw)
    body = letter.raw[:KEPT_BYTES]
    columns = [digest, now, origin, letter.line, letter.field, letter.reason, letter.size, app.vault.seal_letter(body)]
    return columns, strings(body)


def _controllers(app: LedgerApplication) -> dict[str, Pack]:
    return app.controller_packs() if app.any_pack is None else {app.any_pack.controller: app.any_pack}


def listed(app: LedgerApplication) -> list[Letter]:
    """All dead letters, without their text."""
    with app.reading() as c:
        return [Letter(*row) for row in letters.described(c)]


def text(app: LedgerApplication, letter: int) -> bytes:
    """What a dead letter said. Raises InvalidQuestion where there is none."""
    with app.reading() as c:
        sealed = letters.sealed(c, letter)
    if sealed is None:
        raise InvalidQuestion("letter", f"there is no dead letter {letter}")
    return app.vault.open_letter(sealed)


def drop(app: LedgerApplication, letter: int) -> None:
    """Destroy a dead letter. Raises InvalidQuestion where there is none."""
    controllers = _controllers(app)
    with app.writing() as c:
        sealed = letters.sealed(c, letter)
        if sealed is None:
            raise InvalidQuestion("letter", f"there is no dead letter {letter}")
        note_past(c, app.vault, controllers, letter, sealed)
        letters.drop(c, letter)
