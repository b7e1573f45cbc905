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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from eventsourcing.sqlite import SQLiteCursor

from ledger import events as ev
from ledger.entry import Entry
from ledger.person import Edges, connected, effective_deletions, joined_by, note_edge, stream_entries
from ledger.spellings import composed, list_name
from ledger.times import EARLIEST, end_of_day, format_time, parse_time

if TYPE_CHECKING:
    from ledger.pack import Pack
    from ledger.vault import Vault

SAID_BYTES: Final = 32_768  # half of what fits into an entry
TELEPHONE_DIGITS: Final = 9  # the last ones
DOMAIN: Final = 253  # characters; what is longer is no domain (RFC 1035), and would take the square of its length
LEAST_DIGITS: Final = 6  # less is no number of anybody's
_DOMAIN_CHARACTERS: Final = 1_000  # no domain is longer, and a codec should not have to look
_NO_DIGIT: Final = re.compile(r"\D")
_COMMENT: Final = re.compile(r"\([^()]*\)")
_AROUND_AT: Final = re.compile(r"(?:(?<!\s)\s++)?@\s*+")
_BRACKETED: Final = re.compile(r"<([^<>]*+)>")
_ADDRESS: Final = re.compile(r"(?<![^\s<>(),:;@?])[^\s<>(),:;@?]++@[^\s<>(),:;@?']+")
_ABROAD: Final = re.compile(r"\D*\+")
# country codes of one and two digits (ITU E.164); all others have three
_SHORT: Final = (
    *(1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86),
    *(*range(90, 96), 98),
)
_COUNTRIES: Final = frozenset(str(code) for code in _SHORT)
_EXTENSION: Final = re.compile(r"((?<=\d)[^\d]*[^\W\d_]|[;#,]).*", re.DOTALL)  # what a letter after the digits begins
_NO_WORD: Final = re.compile(r"[\W_]+")
_NAMED: Final = (
    "scope",
    "purpose",
    "list",
    "channel",
    "recipient",
    "categories",
    "recipients",
    "channels",
    "item",
    "expires_at",
)


class Kept(NamedTuple):
    """One no that outlives its person: the address's keyed hash, the no as JSON, the day since which it stands.

    Only the day, by its beginning in UTC: the log has the very moment, so that it would lead to the person.
    """

    key: bytes
    said: bytes
    since: int


# -- addresses ---------------------------------------------------------------------------------------------------------


def normalise(kind: str, value: str) -> str:
    """One form for all spellings of an address; empty for what is none.

    email       `Ann <ANN@Example.com>` is `ann@example.com`: no display name, no case, the domain as IDNA
    telephone   `+1 (650) 555-0199` is `505550199`: the last nine digits, no country code, leading zero, extension
    text        `12, Elm  St.` is `12 elm st`: letters and digits, no case
    """
    seen = "".join(char for char in value if unicodedata.category(char) != "Cf")  # nothing that nobody sees
    text = composed(seen, "NFKC").strip().casefold()
    match kind:
        case "email":
            return _email(text)
        case "telephone":
            return _telephone(_EXTENSION.sub("", text))
        case _:
            return _NO_WORD.sub(" ", text).strip()


def _email(text: str) -> str:
    text = _AROUND_AT.sub("@", _COMMENT.sub("", text.replace('"', "")))
    bracketed = next((one for one in _BRACKETED.finditer(text) if "@" in one[1]), None)
    found = _ADDRESS.search(bracketed[0] if bracketed else text)
    local, _, domain = found[0].partition("@") if found else ("", "", "")
    local, domain = local.strip("'"), _ascii(domain.strip("."))
    return f"{local}@{domain}" if local and domain else ""


def _telephone(text: str) -> str:
    digits = _NO_DIGIT.sub("", text)
    if digits.startswith("00") or _ABROAD.match(text):
        digits = digits.lstrip("0")
        digits = digits[next((length for length in (1, 2) if digits[:length] in _COUNTRIES), 3) :]
    digits = digits.lstrip("0")[-TELEPHONE_DIGITS:].lstrip("0")
    return digits if len(digits) >= LEAST_DIGITS else ""


def _ascii(domain: str) -> str:
    if len(domain) > DOMAIN:
        return domain
    try:
        return domain.encode("idna").decode() if len(domain) <= _DOMAIN_CHARACTERS else domain
    except UnicodeError:
        return domain


# -- noes --------------------------------------------------------------------------------------------------------------


def standing_noes(entries: Iterable[Entry], pack: Pack) -> dict[bytes, int]:
    """The noes that stand after these entries, as canonical JSON of `suppression.carried`, with since when they count.

    That is when the no was said last, or a deletion after it: what was agreed to before either opens nothing.

    Opt-outs until they are lifted; refusals and withdrawals until an express yes to the same that stands for ever: one
    that ends counts as never made; where the pack closes something for good on a deletion request, that too.
    """
    entries = list(entries)
    names = _Names({entry.stream for entry in entries})
    for entry in entries:
        if isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked):
            names.join(entry)
        for track in names.tracks_of(entry.stream):
            _note(track, entry, pack)
    deleted = max((time for time, _ in effective_deletions(entries)), default=EARLIEST)
    found: dict[bytes, int] = {}
    for time, said in (one for track in names.tracks.values() for one in track.values()):
        for piece in _pieces(said):
            no = orjson.dumps(piece, option=orjson.OPT_SORT_KEYS)
            found[no] = max(found.get(no, deleted), time)
    return found


_Track = dict[tuple[Any, ...], tuple[int, dict[str, Any]]]  # (kind, what it is about, until when) -> when, a no


class _Names:
    """What stands under each of the names that may be joined: said under any, it is of all who are joined then."""

    def __init__(self, names: set[str]) -> None:
        self.tracks: dict[str, _Track] = {name: {} for name in names}
        self._own: dict[str, _Track] = {}  # of names ever joined: what came under that name alone
        self._edges: Edges = set()

    def join(self, entry: Entry) -> None:
        """Two names are one person, or no longer: then each keeps what came under its own name."""
        other = getattr(entry.data, "other", None)
        if other not in self.tracks:
            return
        before = joined_by(self._edges, entry.stream)
        note_edge(self._edges, entry)
        after = joined_by(self._edges, entry.stream)
        for name in after - before:
            self._own.setdefault(name, dict(self.tracks[name]))
        self._own.setdefault(entry.stream, dict(self.tracks[entry.stream]))
        if before - after:
            self.tracks.update({name: dict(self._own[name]) for name in before})

    def tracks_of(self, name: str) -> list[_Track]:
        """Where a word said under a name is written."""
        joined = joined_by(self._edges, name) if self._edges else (name,)
        return [*(self.tracks[one] for one in joined), *([self._own[name]] if name in self._own else [])]


def _note(track: _Track, entry: Entry, pack: Pack) -> None:
    data, time = entry.data, entry.time
    match data:
        case ev.OptoutRecorded():
            track["optout", _scope(data), None] = time, _said("optout.recorded", data)
        case ev.OptoutLifted():
            track.pop(("optout", _scope(data), None), None)
        case ev.ConsentRefused() | ev.ConsentWithdrawn():
            track["refusal", _about(data), data.expires_at] = time, _said("consent.refused", data)
        case ev.ConsentGranted() if data.basis == "express" and entry.actor != "system" and not _ends(data, pack):
            for key in [key for key in track if key[:2] == ("refusal", _about(data))]:
                del track[key]
        case ev.SuppressionCarried(marketing=True):
            pass  # of somebody who had the address then: in full it is kept already
        case ev.SuppressionCarried(said="deletion.requested"):
            track["deletion", None, None] = time, {"said": data.said}
        case ev.SuppressionCarried(said="optout.recorded"):
            track["optout", _scope(data), None] = time, _said(data.said, data)
        case ev.SuppressionCarried():
            track["refusal", _about(data), data.expires_at] = time, _said(data.said, data)
        case ev.DeletionRequested() if pack.closes_for_good:
            track["deletion", (data.request,), None] = time, {"said": "deletion.requested"}
        case ev.RequestTakenBack() | ev.RequestDenied(ground="not-identified"):
            track.pop(("deletion", (data.request,), None), None)
        case _:
            pass


def _ends(data: ev.ConsentGranted, pack: Pack) -> bool:
    """Whether a yes will count as never made, by its own word or the pack's: then what it replaced stands again."""
    lapses = any(lapse.purpose is None or data.purpose in lapse.purpose for _, lapse in pack.lapses)
    return data.expires_at is not None or lapses


def _scope(data: ev.OptoutRecorded | ev.OptoutLifted | ev.SuppressionCarried) -> tuple[str | None, str | None]:
    return data.scope, list_name(data.list or "") if data.scope == "list" else getattr(data, data.scope or "", None)


def _about(data: ev.Data) -> tuple[Any, ...]:
    """What a refusal and a later yes must share for the yes to replace it."""
    named = {name: getattr(data, name, None) for name in _NAMED[1:-1]}
    named["list"] = list_name(named["list"] or "")
    return tuple(tuple(sorted(one)) if isinstance(one, list) else one for one in named.values())


def _said(kind: str, data: ev.Data) -> dict[str, Any]:
    values = {name: getattr(data, name, None) for name in _NAMED}
    if values["expires_at"] is not None:  # not the very moment: that would lead to the entry it was said in
        values["expires_at"] = format_time(end_of_day(parse_time(values["expires_at"])))
    return {"said": kind, **{name: value for name, value in values.items() if value}}


def _pieces(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The same no in parts that each fit into an entry: a no to several things is a no to each of them."""
    if len(orjson.dumps(said)) <= SAID_BYTES:
        return [said]
    name = max((name for name in said if isinstance(said[name], list)), key=lambda name: len(orjson.dumps(said[name])))
    words = list(dict.fromkeys(said[name]))
    half = (len(words) + 1) // 2
    return [piece for part in (words[:half], words[half:]) if part for piece in _pieces({**said, name: part})]


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
    """Suppress addresses; of the same no the latest counts."""
    c.executemany(
        "INSERT INTO suppressed VALUES (?,?,?) ON CONFLICT DO UPDATE SET since=max(since, excluded.since)",
        list(kept),
    )


def any_kept(c: SQLiteCursor) -> bool:
    """Whether there is anything that could come back."""
    c.execute("SELECT EXISTS (SELECT 1 FROM suppressed) OR EXISTS (SELECT 1 FROM addresses)")
    return bool(c.fetchone()[0])


def any_of(c: SQLiteCursor, vault: Vault, keys: set[bytes]) -> bool:
    """Whether some of these addresses is that of somebody deleted or erased."""
    marks = ",".join("?" * len(keys))
    c.execute(
        f"SELECT EXISTS (SELECT 1 FROM suppressed WHERE key IN ({marks})) "
        f"OR EXISTS (SELECT 1 FROM addresses WHERE tag IN ({marks}))",
        [*keys, *(vault.tag(key) for key in keys)],
    )
    return bool(c.fetchone()[0])


def to_carry(c: SQLiteCursor, vault: Vault, person: str, keys: Iterable[bytes], pack: Pack) -> list[tuple[bytes, int]]:
    """(a no as JSON, since when it stands) that these addresses bring to a person, new ones only."""
    wanted = sorted(keys)
    marks = ",".join("?" * len(wanted))
    c.execute(f"SELECT said, max(since) FROM suppressed WHERE key IN ({marks}) GROUP BY said", wanted)
    found: dict[bytes, int] = dict(c.fetchall())
    c.execute(f"SELECT person FROM addresses WHERE tag IN ({marks})", [vault.tag(key) for key in wanted])
    others = {row[0] for row in c.fetchall()}
    if not found and not others:
        return []
    group = connected(c, person)
    for other in others - group:
        entries = [one for one in stream_entries(c, connected(c, other)) if one.role == "controller"]
        for said, since in standing_noes(entries, pack).items():
            found[said] = max(found.get(said, since), since)
    for entry in stream_entries(c, group, ("suppression.carried",)):
        said = orjson.dumps(_carried(entry), option=orjson.OPT_SORT_KEYS)
        if said in found and found[said] <= entry.time:
            del found[said]
    return sorted(found.items())


def _carried(entry: Entry) -> dict[str, Any]:
    return entry.data.model_dump(exclude_none=True)
