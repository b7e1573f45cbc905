"""The addresses of those who are there: whose they are, since which entry, and which no binds which of them.

    living  an address (keyed tag), the person, the entry that brought it, how: `said` in a personal field, `name`: the
            person's name, `bounced`: a message to it came back, which makes it nobody's
    shared  the tags in `living` that are more than one identifier's
    noes    entries that may bind an address: see `may_bind`
    beside  entries of a person that an answer looks at beside the folded state: `BESIDE`

The tag fits no hash that outlives erasure (`Vault.tag`); every row is bound by a keyed tag of its own, so that nobody
can give an address to somebody else with the file alone. All of it goes with the person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consent_ledger.ledger.errors import CorruptEntry, InvalidEvent
from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.identifiers.spellings import MOST, forms, name_forms
from consent_ledger.ledger.intake.named import NAME, Form, Named
from consent_ledger.ledger.intake.parse import Prepared
from consent_ledger.ledger.intake.suppression import normalise
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import addresses
from consent_ledger.ledger.times import EARLIEST

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack
    from consent_ledger.ledger.vault.vault import Vault

Order = tuple[int, int]

NOES: Final = ("optout.recorded", "consent.refused", "consent.withdrawn")
# What tells by which address it came: a link in a mail, an answer to a message. Nothing binds by any other.
SIGNALS: Final = {"link": "email", "mail": "email", "complaint": "email", "reply": "telephone"}
CHANNELS: Final = {"email": ("email",), "telephone": ("sms", "telephone"), "text": ("post",)}  # kind -> messages by
KINDS: Final = {channel: kind for kind, channels in CHANNELS.items() for channel in channels}
_NO_MESSAGE: Final = ("recipient", "advertising")  # scopes that are about something else


# -- what an event says ------------------------------------------------------------------------------------------------


def named_in(event: Prepared, pack: Pack, *, older: bool) -> Named:
    """The addresses of an event, if wanted in their older form, too.

    It takes as long as the text is long, and is done before the write lock is taken.
    """
    found = Named(pack.edition, older={} if older else None)
    if event.personal:
        found.fields = field_forms(pack, event.personal)
        if found.older is not None:
            found.older = older_forms(pack, event.personal)
    if event.subject is not None and "@" in event.subject:
        named_name(found, [event.subject])
        form = older_name(event.subject)
        if found.older is not None and form is not None:
            found.older[NAME] = form
    return found


def named_name(named: Named, names: Iterable[str]) -> None:
    """Take in the names of a person."""
    some = [form for name in names for form in name_forms(name)]
    if some:
        named.fields[NAME] = [("email", form) for form in some]


def require_few(named: Named) -> None:
    """Raise InvalidEvent for a field with more addresses than are looked at."""
    for name, some in named.fields.items():
        if len(some) > MOST and name != NAME:
            raise InvalidEvent(name, f"holds more than {MOST} addresses: name the others in further events")


def field_forms(pack: Pack, fields: dict[str, str]) -> dict[str, list[Form]]:
    """The addresses in those personal fields that the pack calls addresses."""
    found: dict[str, list[Form]] = {}
    for name, value in fields.items():
        declared = pack.personal_field(name)
        if declared is not None and declared.address is not None:
            kind = declared.address
            found[name] = [(kind, form) for form in forms(kind, value, pack.calling_code)]
    return found


def older_forms(pack: Pack, fields: dict[str, str]) -> dict[str, Form]:
    """The same as stores before format 4 compared them: one of each field."""
    found: dict[str, Form] = {}
    for name, value in fields.items():
        declared = pack.personal_field(name)
        if declared is not None and declared.address is not None and (form := normalise(declared.address, value)):
            found[name] = declared.address, form
    return found


def older_name(name: str) -> Form | None:
    """The same of a name that has an address in it."""
    form = normalise("email", name) if "@" in name else ""
    return ("email", form) if "." in form.partition("@")[2] else None


def keys_of(vault: Vault, controller: str, found: Iterable[Form]) -> set[bytes]:
    """The keyed hashes of addresses."""
    return {vault.address_key(controller, kind, form) for kind, form in found}


def keys_named(vault: Vault, controller: str, named: Named) -> set[bytes]:
    """All hashes under which what outlived somebody with one of these addresses is found, older ones too."""
    older = {vault.older_address_key(controller, kind, form) for kind, form in (named.older or {}).values()}
    return {key for some in named.fields.values() for key in keys_of(vault, controller, some)} | older


def new_keys(c: Transaction, vault: Vault, named: Named, entry: Head, group: set[str]) -> set[bytes]:
    """The same of those addresses that were not on record of a person before an entry."""
    found: set[bytes] = set()
    older, persons = named.older or {}, sorted(group)
    for name in {*named.fields, *older}:
        forms_here = named.fields.get(name, [])
        keys = keys_of(vault, entry.controller, forms_here)
        fresh = {key for key in keys if not addresses.had_before(c, persons, vault.tag(key), entry.position)}
        found |= fresh
        if name in older and (fresh or not keys):
            found.add(vault.older_address_key(entry.controller, *older[name]))
    return found


# -- the tables --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Writes:
    """Rows to insert, gathered over a batch."""

    living: list[tuple[str, int, bytes, str, str, bytes]] = field(default_factory=list)
    noes: list[tuple[str, int]] = field(default_factory=list)
    beside: list[tuple[str, int]] = field(default_factory=list)

    def add(self, vault: Vault, entry: Head, named: Named, dropped: frozenset[str]) -> None:
        """What an entry brings. `dropped`: fields that are not kept."""
        if entry.may_bind:
            self.noes.append((entry.person, entry.position))
        if entry.beside:
            self.beside.append((entry.person, entry.position))
        how = "bounced" if entry.type == "message.bounced" else "said"
        if named.fields:
            said = [form for name, some in named.fields.items() if name not in (NAME, *dropped) for form in some]
            self.living += living_rows(vault, entry, said, how)
        if NAME in named.fields and entry.version == 1:
            self.living += living_rows(vault, entry, named.fields[NAME], "name")

    def flush(self, c: Transaction) -> None:
        """Insert what was gathered and forget it."""
        if self.noes:
            addresses.add_objections(c, self.noes)
        if self.beside:
            addresses.add_beside(c, self.beside)
        if self.living:
            addresses.add(c, self.living)
            addresses.note_shared(c, sorted({row[2] for row in self.living}))
        self.living, self.noes, self.beside = [], [], []


class Head(NamedTuple):
    """Of an entry what decides about its rows."""

    controller: str
    person: str
    position: int
    version: int
    type: str
    may_bind: bool
    beside: bool


def head_of(entry: Entry) -> Head:
    """The head of an entry that is there."""
    mine = entry.role == "controller"
    return Head(
        entry.controller, entry.stream, entry.position, entry.version, entry.type,
        mine and may_bind(entry.type, entry.data, entry.personal), mine and is_beside(entry.data),
    )  # fmt: skip


def living_rows(
    vault: Vault, entry: Head, found: Iterable[Form], how: str
) -> list[tuple[str, int, bytes, str, str, bytes]]:
    """The rows of the addresses that an entry names."""
    rows = []
    for kind, form in dict.fromkeys(found):
        tag = vault.tag(vault.address_key(entry.controller, kind, form))
        bound = bound_address(vault, entry.person, entry.position, tag, kind, how)
        rows.append((entry.person, entry.position, tag, kind, how, bound))
    return rows


def bound_address(vault: Vault, person: str, position: int, tag: bytes, kind: str, how: str) -> bytes:
    """The keyed tag that binds a row."""
    return vault.bound(b"living", tag, f"{person} {position} {kind} {how}".encode())


def may_bind(type_name: str, data: Any, personal: Any) -> bool:
    """Whether a no may bind an address: it names one, or came by one."""
    if type_name not in NOES or getattr(data, "scope", None) in _NO_MESSAGE:
        return False
    return bool(personal) or getattr(data, "signal", None) in SIGNALS


def is_beside(data: Any) -> bool:
    """Whether an answer looks at an entry beside the state: a permanent bounce, a no by which somebody stays bound."""
    if isinstance(data, ev.MessageBounced):
        return data.permanent
    return isinstance(data, ev.SuppressionCarried) and bool(data.marketing)


def forget(c: Transaction, persons: Iterable[str]) -> list[bytes]:
    """Remove all rows of persons. Returns the bytes that must be gone: tags that are nobody's any more, bindings."""
    gone: list[bytes] = []
    tags: set[bytes] = set()
    for person in persons:
        for tag, bound in addresses.take(c, person):
            tags.add(tag)
            gone.append(bound)
        addresses.drop_entries(c, person)
    for tag in sorted(tags):
        first, last = addresses.first_and_last(c, tag)
        if first == last:
            addresses.drop_shared(c, tag)
        if first is None:
            gone.append(tag)
    return gone


def tags_had(c: Transaction, persons: Iterable[str]) -> dict[bytes, str]:
    """The addresses on record of persons: tag -> kind."""
    found: dict[bytes, str] = {}
    for person in sorted(persons):
        found.update(addresses.kinds(c, person))
    return found


# -- one person's ------------------------------------------------------------------------------------------------------


class Had(NamedTuple):
    """That an address was on record under a name, by that entry. A name that is one always was its person's."""

    tag: bytes
    kind: str
    how: str
    entry: Entry

    @property
    def since(self) -> int:
        return EARLIEST if self.how == "name" else self.entry.time

    def by(self, order: Order) -> bool:
        """Whether it was on record at a moment."""
        return self.how == "name" or (self.how == "said" and self.entry.order <= order)


def had_by(c: Transaction, vault: Vault, entries: Iterable[Entry], persons: Iterable[str]) -> list[Had]:
    """What these entries brought to these persons, in the order in which it is in force. Raises CorruptEntry."""
    by_position = {entry.position: entry for entry in entries}
    found = []
    for person in sorted(persons):
        for position, tag, kind, how, bound in addresses.of_person(c, person):
            if bound != bound_address(vault, person, position, tag, kind, how):
                raise CorruptEntry(f"an address was made to lead to person {person}: restore the store from a backup")
            if position in by_position:
                found.append(Had(tag, kind, how, by_position[position]))
    return sorted(found, key=lambda one: one.entry.order)


def binds(entry: Entry, had: Sequence[Had], tag: bytes, kind: str) -> bool:
    """Whether a no binds an address: one that it names; without one, those on record then by which it came."""
    if entry.role != "controller" or not may_bind(entry.type, entry.data, entry.personal):
        return False
    named = {one.tag for one in had if one.how == "said" and one.entry.position == entry.position}
    if named:
        return tag in named
    if SIGNALS.get(getattr(entry.data, "signal", None) or "") != kind:
        return False
    return any(one.tag == tag and one.by(entry.order) for one in had)


def binding(entries: Sequence[Entry], had: Sequence[Had], tag: bytes, kind: str) -> list[Entry]:
    """A person's entries with those noes only that bind an address. Empty where none does."""
    found, any_binds = [], False
    for entry in entries:
        if isinstance(entry.data, ev.SuppressionCarried):
            continue  # whoever has the address had it carried, too
        if entry.type in NOES:
            if not binds(entry, had, tag, kind):
                continue
            any_binds = True
        found.append(entry)
    return found if any_binds else []


# -- checks ------------------------------------------------------------------------------------------------------------


def problems(c: Transaction, vault: Vault, noes: set[tuple[str, int]], beside: set[tuple[str, int]]) -> Iterator[str]:
    """What in these tables does not follow from the log, which has these (person, position) for two of them."""
    if addresses.all_objections(c) != noes:
        yield "noes: is not what the log bears out"
    if addresses.all_beside(c) != beside:
        yield "beside: is not what the log bears out"
    for person, position, tag, kind, how, bound in addresses.everything(c):
        if bound != bound_address(vault, person, position, tag, kind, how):
            yield f"living: an address was made to lead to person {person}"
            break
    if addresses.of_several(c) != addresses.shared(c):
        yield "shared: is not what the addresses on record bear out"
