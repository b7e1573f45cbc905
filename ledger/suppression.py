"""Suppression: what a person opted out of outlives erasure, as keyed hashes of the addresses the person had.

When personal fields are destroyed, those that the pack calls addresses leave a keyed hash each. After a completed
deletion (`addresses`) it still leads to the person, whose history is still there. Erasure turns it into a row without a
person (`suppressed`): the hash, and a no. When an address comes back, under whatever name, the ledger itself appends
each no to whoever has it now (`suppression.carried`), once, just before the event that brought the address. From then
on it is that person's no like any other, and a later express yes opens what it names. The log says nothing of where it
came from: no hash and no time of the erased person is in it.

How spellings of one address are compared is part of the stored format: changing it would lose opt-outs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from eventsourcing.sqlite import SQLiteCursor

from ledger import events as ev
from ledger.entry import Entry, decode
from ledger.person import connected, effective_deletions, stream_entries

if TYPE_CHECKING:
    from ledger.pack import Pack
    from ledger.vault import Vault

TELEPHONE_DIGITS: Final = 9  # the last ones: with or without country code, trunk zero and leading one
_NO_DIGIT: Final = re.compile(r"\D")
_EXTENSION: Final = re.compile(r"(x|ext|;|#|,).*", re.DOTALL)
_NO_WORD: Final = re.compile(r"[\W_]+")
_NAMED: Final = ("scope", "purpose", "list", "recipient", "categories", "recipients", "channels", "item", "expires_at")


class Kept(NamedTuple):
    """One no that outlives its person: the address's keyed hash, the no as JSON, when the person was erased."""

    key: bytes
    said: bytes
    erased_at: int


# -- addresses ---------------------------------------------------------------------------------------------------------


def normalise(kind: str, value: str) -> str:
    """One form for all spellings of an address; empty for what is none.

    email       `Ann <ANN@Example.com>` is `ann@example.com`: no display name, no case, the domain as IDNA
    telephone   `+1 (650) 555-0199` is `505550199`: the last nine digits, no extension
    text        `12, Elm  St.` is `12 elm st`: letters and digits, no case
    """
    text = unicodedata.normalize("NFKC", value).strip().casefold()
    match kind:
        case "email":
            local, _, domain = (parseaddr(text)[1] or text).strip("<> ").rpartition("@")
            return f"{local}@{_ascii(domain.rstrip('.'))}" if local and domain else ""
        case "telephone":
            return _NO_DIGIT.sub("", _EXTENSION.sub("", text))[-TELEPHONE_DIGITS:]
        case _:
            return _NO_WORD.sub(" ", text).strip()


def _ascii(domain: str) -> str:
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def address_keys(vault: Vault, controller: str, pack: Pack, fields: dict[str, str]) -> set[bytes]:
    """The keyed hashes of those personal fields that are addresses."""
    found = set()
    for name, value in fields.items():
        declared = pack.personal_field(name)
        if declared is not None and declared.address is not None and (text := normalise(declared.address, value)):
            found.add(vault.address_key(controller, declared.address, text))
    return found


# -- noes --------------------------------------------------------------------------------------------------------------


def standing_noes(entries: Iterable[Entry], *, closed_for_good: bool) -> list[bytes]:
    """The noes that stand after these entries, as canonical JSON of `suppression.carried`, each once.

    Opt-outs until they are lifted; refusals and withdrawals until an express yes to the same; where a pack closes
    something for good on a deletion request, that too.
    """
    joined: dict[str, frozenset[str]] = {}
    standing: dict[tuple[str, Any], dict[str, Any]] = {}
    for entry in entries:
        data, names = entry.data, joined.get(entry.stream, frozenset((entry.stream,)))
        match data:
            case ev.SubjectLinked():
                together = names | joined.get(data.other or "", frozenset((data.other or "",)))
                joined.update(dict.fromkeys(together, together))
            case ev.OptoutRecorded():
                standing[entry.stream, _about(data)] = _said("optout.recorded", data)
            case ev.OptoutLifted():
                for name in names:
                    standing.pop((name, _about(data)), None)
            case ev.ConsentRefused() | ev.ConsentWithdrawn():
                standing[entry.stream, _about(data)] = _said("consent.refused", data)
            case ev.ConsentGranted() if data.basis == "express" and entry.actor != "system":
                for name in names:
                    standing.pop((name, _about(data)), None)
            case ev.SuppressionCarried():
                standing[entry.stream, _about(data)] = _said(data.said, data)
            case ev.DeletionRequested() if closed_for_good:
                standing[entry.stream, "deletion"] = {"said": "deletion.requested"}
            case _:
                pass
    return sorted({orjson.dumps(said, option=orjson.OPT_SORT_KEYS) for said in standing.values()})


def _about(data: ev.Data) -> Any:
    """What two words must share for the later to replace the earlier."""
    if isinstance(data, ev.SuppressionCarried) and data.said == "deletion.requested":
        return "deletion"
    scope = getattr(data, "scope", None)
    if scope is not None:
        return scope, getattr(data, scope, None)
    named = (getattr(data, name, None) for name in _NAMED[1:-1])
    return tuple(tuple(sorted(one)) if isinstance(one, list) else one for one in named)


def _said(kind: str, data: ev.Data) -> dict[str, Any]:
    values = {name: getattr(data, name, None) for name in _NAMED}
    return {"said": kind, **{name: value for name, value in values.items() if value}}


# -- the store ---------------------------------------------------------------------------------------------------------


def note_addresses(c: SQLiteCursor, vault: Vault, person: str, keys: Iterable[bytes]) -> None:
    """Remember that a person, whose fields go, had these addresses."""
    rows = [(vault.tag(key), person, vault.masked(key, person)) for key in sorted(keys)]
    c.executemany("INSERT OR IGNORE INTO addresses VALUES (?,?,?)", rows)


def take_addresses(c: SQLiteCursor, vault: Vault, persons: Iterable[str]) -> tuple[set[bytes], list[bytes]]:
    """Remove what `note_addresses` remembered of these persons. Returns (hashes, bytes that must be gone)."""
    keys: set[bytes] = set()
    gone: list[bytes] = []
    for person in persons:
        c.execute("DELETE FROM addresses WHERE person=? RETURNING tag, masked", [person])
        for tag, masked in c.fetchall():
            keys.add(vault.masked(masked, person))
            gone += [tag, masked]
    return keys, gone


def keep(c: SQLiteCursor, kept: Iterable[Kept]) -> None:
    """Suppress addresses; the latest erasure counts."""
    c.executemany(
        "INSERT INTO suppressed VALUES (?,?,?) ON CONFLICT DO UPDATE SET erased_at=max(erased_at, excluded.erased_at)",
        list(kept),
    )


def any_kept(c: SQLiteCursor) -> bool:
    """Whether there is anything that could come back."""
    c.execute("SELECT EXISTS (SELECT 1 FROM suppressed) OR EXISTS (SELECT 1 FROM addresses)")
    return bool(c.fetchone()[0])


def to_carry(
    c: SQLiteCursor, vault: Vault, person: str, keys: Iterable[bytes], *, closed_for_good: bool
) -> list[tuple[bytes, int]]:
    """(a no as JSON, when who said it was erased or deleted) that these addresses bring to a person, new ones only."""
    wanted = sorted(keys)
    marks = ",".join("?" * len(wanted))
    c.execute(f"SELECT said, max(erased_at) FROM suppressed WHERE key IN ({marks}) GROUP BY said", wanted)
    found: dict[bytes, int] = dict(c.fetchall())
    c.execute(f"SELECT person FROM addresses WHERE tag IN ({marks})", [vault.tag(key) for key in wanted])
    others = {row[0] for row in c.fetchall()}
    if others:
        others -= connected(c, person)
    for other in others:
        entries = [one for one in stream_entries(c, connected(c, other)) if one.role == "controller"]
        deleted = max(effective_deletions(entries), default=(0, 0))[0]
        for said in standing_noes(entries, closed_for_good=closed_for_good):
            found[said] = max(found.get(said, deleted), deleted)
    if not found:
        return []
    c.execute("SELECT position, state FROM entries WHERE stream=? AND type='suppression.carried'", [person])
    for position, state in c.fetchall():
        entry = decode(position, state)
        said = orjson.dumps(_carried(entry), option=orjson.OPT_SORT_KEYS)
        if said in found and found[said] <= entry.time:
            del found[said]
    return sorted(found.items())


def _carried(entry: Entry) -> dict[str, Any]:
    return entry.data.model_dump(exclude_none=True)
