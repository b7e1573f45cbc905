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
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.identifiers.marks import normalised
from consent_ledger.ledger.identifiers.spellings import COUNTRIES, list_name
from consent_ledger.ledger.intake.lifts import undoes
from consent_ledger.ledger.intake.persons import Joined, connected, effective_deletions, linked, stream_entries
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import addresses
from consent_ledger.ledger.times import DAY, EARLIEST, end_of_day, format_time, parse_time

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack
    from consent_ledger.ledger.vault.vault import Vault

SAID_BYTES: Final = 32_768  # half of what fits into an entry
TELEPHONE_DIGITS: Final = 9  # the last ones
DOMAIN: Final = 253  # characters; what is longer is no domain (RFC 1035), and would take the square of its length
LEAST_DIGITS: Final = 6  # less is no number of anybody's
_NO_DIGIT: Final = re.compile(r"\D")
_COMMENT: Final = re.compile(r"\([^()]*\)")
# possessive, and begun at the beginning of a word only: each is read once, however long it is
_BRACKETED: Final = re.compile(r"<[^<>@]*+@[^<>]*+>")
_ADDRESS: Final = re.compile(r"(?<![^\s<>(),:;@?])[^\s<>(),:;@?]++@[^\s<>(),:;@?']+")
_ABROAD: Final = re.compile(r"\D*\+")
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
    text = normalised("NFKC", seen).strip().casefold()
    match kind:
        case "email":
            return _email(text)
        case "telephone":
            return _telephone(_EXTENSION.sub("", text))
        case _:
            return _NO_WORD.sub(" ", text).strip()


def _email(text: str) -> str:
    text = "@".join(part.strip() for part in _COMMENT.sub("", text.replace('"', "")).split("@"))
    found = _ADDRESS.search(bracketed[0] if (bracketed := _BRACKETED.search(text)) else text)
    local, _, domain = found[0].partition("@") if found else ("", "", "")
    local, domain = local.strip("'"), _ascii(domain.strip("."))
    return f"{local}@{domain}" if local and domain else ""


def _telephone(text: str) -> str:
    digits = _NO_DIGIT.sub("", text)
    if digits.startswith("00") or _ABROAD.match(text):
        digits = digits.lstrip("0")
        digits = digits[next((length for length in (1, 2) if digits[:length] in COUNTRIES), 3) :]
    digits = digits.lstrip("0")[-TELEPHONE_DIGITS:].lstrip("0")
    return digits if len(digits) >= LEAST_DIGITS else ""


def _ascii(domain: str) -> str:
    if len(domain) > DOMAIN:
        return domain
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


# -- noes --------------------------------------------------------------------------------------------------------------


def standing_noes(entries: Iterable[Entry], pack: Pack, of: Collection[str] | None = None) -> dict[bytes, int]:
    """The noes that stand after these entries, as canonical JSON of `suppression.carried`, with since when they count.

    `of`: of these persons only; the entries are also those of others who were joined with them for a time, default all.

    That is when the no was said last, or a deletion after it: what was agreed to before either opens nothing.

    Opt-outs until they are lifted by who can; refusals and withdrawals until an express yes to the same that stands for
    ever: one that ends counts as never made; where the pack closes something for good on a deletion request, that too.
    """
    entries = list(entries)
    own = [entry for entry in entries if of is None or entry.stream in of]
    deleted = max((time for time, _ in effective_deletions(own)), default=EARLIEST)
    return {no: max(since, deleted) for no, since in noes_said(entries, pack, of).items()}


def noes_said(entries: Iterable[Entry], pack: Pack, of: Collection[str] | None = None) -> dict[bytes, int]:
    """The same with when each was said last, or says that it was."""
    entries = list(entries)
    names = _Names({entry.stream for entry in entries})
    over = _over(entries, of)
    for entry in entries:
        if isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked):
            names.join(entry)
        for track in names.tracks_of(entry.stream):
            _note(track, entry, pack, over)
    found: dict[bytes, int] = {}
    tracks = (track for name, track in names.tracks.items() if of is None or name in of)
    for one in (one for track in tracks for some in track.values() for one in some.values()):
        for piece in _pieces(one.said):
            no = orjson.dumps(piece, option=orjson.OPT_SORT_KEYS)
            found[no] = max(found.get(no, EARLIEST), one.time, one.claimed)
    return found


class _Over(NamedTuple):
    """Until when a yes opens nothing any more: what came before a deletion, what a guardian said before that ended."""

    deleted: int
    guardian: int


def _over(entries: list[Entry], of: Collection[str] | None) -> _Over:
    said = {entry.position: entry.said_at for entry in entries}
    own = (entry for entry in entries if of is None or entry.stream in of)
    deleted = [said[position] for _, position in effective_deletions(own)]
    ended = [entry.said_at for entry in entries if isinstance(entry.data, ev.GuardianEnded)]
    return _Over(max(deleted, default=EARLIEST), max(ended, default=EARLIEST))


class _Standing(NamedTuple):
    """A no that stands. `claimed`: when it says it was said."""

    time: int
    claimed: int
    said: dict[str, Any]


# (kind, what it is about) -> (until when, whose, by which signal) -> a no
_Track = dict[tuple[Any, ...], dict[tuple[Any, ...], _Standing]]


class _Names:
    """What stands under each of the names that may be joined: said under any, it is of all who are joined then."""

    def __init__(self, names: set[str]) -> None:
        self.tracks: dict[str, _Track] = {name: {} for name in names}
        self._own: dict[str, _Track] = {}  # of names ever joined: what came under that name alone
        self._joined = Joined()

    def join(self, entry: Entry) -> None:
        """Two names are one person, or no longer: then each keeps what came under its own name."""
        other = getattr(entry.data, "other", None)
        if other not in self.tracks or entry.role == "processor":
            return
        for name in (entry.stream, other):
            self._own.setdefault(name, _copied(self.tracks[name]))
        for name in self._joined.note(entry):  # what was said while they were joined, and stands, stays with all
            own, together = self._own[name], self.tracks[name]
            both = {about: {**some, **own.get(about, {})} for about, some in together.items()}
            self._own[name] = {**own, **both}
            self.tracks[name] = _copied(self._own[name])

    def tracks_of(self, name: str) -> list[_Track]:
        """Where a word said under a name is written."""
        joined = self._joined.of(name)
        return [*(self.tracks[one] for one in joined), *([self._own[name]] if name in self._own else [])]


def _copied(track: _Track) -> _Track:
    return {about: dict(some) for about, some in track.items()}


def _note(track: _Track, entry: Entry, pack: Pack, over: _Over) -> None:
    data, actor = entry.data, entry.actor or "subject"

    def stand(kind: str, about: tuple[Any, ...], said: dict[str, Any], until: str | None = None) -> None:
        signal = data.signal if isinstance(data, ev.OptoutRecorded) else None
        track.setdefault((kind, about), {})[until, actor, signal] = _Standing(entry.time, entry.said_at, said)

    match data:
        case ev.OptoutRecorded():
            stand("optout", _scope(data), _said("optout.recorded", data))
        case ev.OptoutLifted():
            _drop(track, "optout", _scope(data), entry.time, actor, data.signal)
        case ev.ConsentRefused() | ev.ConsentWithdrawn():
            stand("refusal", _about(data), _said("consent.refused", data), data.expires_at)
        case ev.ConsentGranted() if actor != "system" and _opens_for_good(data, actor, entry.time, pack, over):
            _drop(track, "refusal", _about(data), entry.time, actor)
        case ev.SuppressionCarried(marketing=True):
            pass  # of somebody who had the address then: in full it is kept already
        case ev.SuppressionCarried(said="deletion.requested"):
            stand("deletion", (None,), {"said": data.said})
        case ev.SuppressionCarried(said="optout.recorded"):
            stand("optout", _scope(data), _said(data.said, data))
        case ev.SuppressionCarried():
            stand("refusal", _about(data), _said(data.said, data), data.expires_at)
        case ev.DeletionRequested() if pack.closes_for_good:
            stand("deletion", (data.request,), {"said": "deletion.requested"})
        case ev.RequestTakenBack() | ev.RequestDenied(ground="not-identified"):
            _drop(track, "deletion", (data.request,), entry.time + 1, "subject")
        case _:
            pass


def _drop(track: _Track, kind: str, about: tuple[Any, ...], time: int, actor: str, signal: str | None = None) -> None:
    """Remove the noes of a kind about something that were said before, as far as that actor undoes them."""
    there = track.get((kind, about), {})
    for key, one in list(there.items()):
        _, whose, by = key
        if one.claimed < time and undoes(actor, signal, whose, by):
            del there[key]


def _opens_for_good(data: ev.ConsentGranted, actor: str, time: int, pack: Pack, over: _Over) -> bool:
    """Whether a yes opens what it names and will not end: where that cannot be said here, the no is kept."""
    if data.basis != "express" or _ends(data, pack) or (data.list is None and data.purpose in pack.always_by_list):
        return False
    return time > over.deleted and (actor != "guardian" or time > over.guardian)


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


def note_addresses(c: Transaction, vault: Vault, person: str, keys: Iterable[bytes]) -> None:
    """Remember that a person, whose fields go, had these addresses."""
    rows = [(vault.tag(key), person, vault.masked(key, person)) for key in sorted(keys)]
    addresses.remember(c, rows)


def take_addresses(c: Transaction, vault: Vault, persons: Iterable[str]) -> tuple[set[bytes], list[bytes]]:
    """Remove what `note_addresses` remembered of these persons. Returns (hashes, bytes that must be gone)."""
    keys: set[bytes] = set()
    gone: list[bytes] = []
    for person in persons:
        for tag, masked in addresses.take_remembered(c, person):
            keys.add(vault.masked(masked, person))
            gone += [tag, masked]
    return keys, gone


def keep(c: Transaction, kept: Iterable[Kept]) -> None:
    """Suppress addresses; of the same no the latest counts."""
    addresses.suppress(c, list(kept))


def any_kept(c: Transaction) -> bool:
    """Whether there is anything that could come back."""
    return addresses.any_stays(c)


def any_of(c: Transaction, vault: Vault, keys: set[bytes]) -> bool:
    """Whether some of these addresses is that of somebody deleted or erased."""
    return addresses.stays(c, list(keys), [vault.tag(key) for key in keys])


class ToCarry(NamedTuple):
    """A no that an address brings to a person, as JSON. It was said at `first` or later, at `last` or before."""

    said: bytes
    first: int
    last: int


def to_carry(c: Transaction, vault: Vault, person: str, keys: Iterable[bytes], pack: Pack) -> list[ToCarry]:
    """The noes that these addresses bring to a person, new ones only."""
    wanted = sorted(keys)
    found = {said: ToCarry(said, since, since + DAY - 1) for said, since in addresses.suppressed_under(c, wanted)}
    others = addresses.remembered_of(c, [vault.tag(key) for key in wanted])
    if not found and not others:
        return []
    group = connected(c, person)
    for other in others - group:
        entries = [one for one in stream_entries(c, linked(c, other)) if one.role == "controller"]
        for said, since in standing_noes(entries, pack, connected(c, other)).items():
            one = found.get(said, ToCarry(said, since, since))
            found[said] = ToCarry(said, max(one.first, since), max(one.last, since))
    for entry in stream_entries(c, group, ("suppression.carried",)):
        said = orjson.dumps(_carried(entry), option=orjson.OPT_SORT_KEYS)
        if said in found and found[said].first <= entry.time:
            del found[said]
    return sorted(found.values())


def _carried(entry: Entry) -> dict[str, Any]:
    return entry.data.model_dump(exclude_none=True)
