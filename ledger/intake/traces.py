"""What lies about a person beside their own records: letters, refused events, digests, records of others.

Letters are found in two ways. By keyed hashes of what they say (`letter_words`), at once, whenever a name or value is
known or only its hash. And by reading them all, for what stands inside longer text: before the write lock is taken, so
that under it only those are read that came since.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.identifiers.marks import normal
from consent_ledger.ledger.identifiers.spellings import forms, name_form
from consent_ledger.ledger.intake.letter_words import Reader, spellings, telling
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.suppression import normalise
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries, letters, people, refusals

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack
    from consent_ledger.ledger.vault.vault import Vault

HANDLE_BYTES: Final = 16
READ_VALUES: Final = 1_000  # values that all letters are read for; the others are found by their hashes
_PAGE: Final = 200
_ADDRESSES: Final = 64  # of one letter that are compared with those of deleted persons


@dataclass(slots=True)
class Traces:
    """What was found about somebody and is to go."""

    letters: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)  # positions of entries that say so
    handles: set[bytes] = field(default_factory=set)  # of all of it, and of letters that are gone already

    def journalled(self) -> list[str]:
        """By which a restored copy finds them again; no guess at a name or value fits."""
        return sorted(handle.hex() for handle in self.handles)


# -- letters -----------------------------------------------------------------------------------------------------------


def index_letter(c: Transaction, vault: Vault, letter: int, said: Iterable[str]) -> None:
    """Have a letter found by what it says (`letterwords.strings`)."""
    rows = sorted((vault.word(one), letter) for one in said)
    letters.note_words(c, rows)


def address_tags(vault: Vault, controllers: dict[str, Pack], said: Iterable[str]) -> list[bytes]:
    """By which the addresses in a letter are found among those of deleted persons."""
    some = [one for one in sorted(said) if telling(one)][:_ADDRESSES]
    kinds = ("email", "telephone", "text")
    older = {(kind, form) for one in some for kind in kinds if (form := normalise(kind, one))}
    keys = {vault.older_address_key(one, *form) for one in controllers for form in older}
    for controller, pack in controllers.items():
        country = pack.calling_code
        found = {(kind, form) for one in some for kind in kinds for form in forms(kind, one, country)}
        keys |= {vault.address_key(controller, *form) for form in found}
    return sorted(map(vault.tag, keys))


def tie_values(c: Transaction, vault: Vault, person: str, values: Iterable[str]) -> None:
    """Tie letters that say one of these values to the person: nobody can read them in the vault any more."""
    letters.tie_words(c, person, sorted(_value_words(vault, values)))


def note_past(c: Transaction, vault: Vault, controllers: Iterable[str], letter: int, sealed: bytes) -> None:
    """Remember of a letter that goes whose it was: a copy of the store that was made before may hold it still."""
    names = {form for one in spellings(vault.open_letter(sealed)) for form in _forms(one)}
    aliases = [one for controller in controllers for name in sorted(names) for one in vault.aliases(controller, name)]
    persons = set(vault.find(c, aliases).values())
    persons |= letters.tied_to(c, letter)
    handle = vault.letter_handle(sealed)
    letters.note_past(c, [(one, handle) for one in sorted(persons)])


def _forms(name: str) -> set[str]:
    return {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}


Page = list[tuple[int, bytes]]  # letters, sealed


def letters_after(c: Transaction, after: int) -> Page:
    """Some letters, in order, from behind one of them."""
    return letters.page(c, after, _PAGE)


def read_letters(vault: Vault, sought: set[str], after: int, page: Callable[[int], Page]) -> tuple[set[int], int]:
    """(the letters behind `after` whose text says one of these, the last one read). `page`: see `letters_after`."""
    reader = Reader(sought)
    found: set[int] = set()
    while rows := page(after):
        found |= {letter for letter, sealed in rows if reader.finds(vault.open_letter(sealed))}
        after = rows[-1][0]
    return found, after


# -- a person ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sought:
    """By what the traces of some persons are found."""

    names: set[str] = field(default_factory=set)  # as given or still readable
    values: set[str] = field(default_factory=set)
    words: set[bytes] = field(default_factory=set)  # of names, also those that nobody can read any more
    aliases: set[bytes] = field(default_factory=set)

    def texts(self) -> set[str]:
        """What letters are read for, in normal form."""
        values = sorted(one for one in map(normal, self.values) if telling(one))
        return {normal(name) for name in self.names} | set(values[:READ_VALUES])


def sought_for(app: Opened, c: Transaction, group: set[str], named: Iterable[tuple[str, str]]) -> Sought:
    """What is known of these persons now. `named`: (controller, name) under which somebody is asked for."""
    vault, found = app.vault, Sought()
    for controller, name in named:
        found.names |= {name, name_form(name)}
        found.aliases |= set(vault.aliases(controller, name))
    for person in sorted(group):
        names = vault.names(c, person)
        found.names |= {*names, *map(name_form, names)}
        for alias, _, word in people.names_of(c, person):
            found.aliases.add(alias)
            found.words |= {word} if word is not None else set()
        for position, version in people.with_secrets(c, person):
            opened = vault.open_fields(c, person, version, position)
            found.values |= set(opened[1].values()) if opened else set()
    found.words |= {vault.word(name) for name in found.names}
    return found


def traces_of(app: Opened, c: Transaction, group: set[str], sought: Sought) -> Traces:
    """What is found at once. What is inside longer text is not among it: see `read_letters`."""
    found = Traces()
    found.letters = letters.saying(c, sorted(sought.words | _value_words(app.vault, sought.values)))
    found.letters |= letters.of_persons(c, sorted(group))
    found.handles |= letters.past_of(c, sorted(group))
    found.refused |= refusals.naming(c, sorted(sought.aliases))
    return found


def note_handles(c: Transaction, vault: Vault, traces: Traces) -> None:
    """Add the handles of what is there: a letter's sealed bytes, the leaf hash of the entry that says a refusal."""
    rows = letters.those(c, sorted(traces.letters))
    there = {letter: vault.letter_handle(sealed) for letter, sealed in rows}
    traces.letters = set(there)  # what was dropped since it was read is past
    traces.handles |= set(there.values())
    traces.handles |= {leaf[:HANDLE_BYTES] for leaf in entries.leaves_at(c, sorted(traces.refused))}


def remove(app: Opened, c: Transaction, group: set[str], aliases: set[bytes], traces: Traces) -> list[bytes]:
    """Destroy what was found, and the content digests of entries that name these persons. Returns the gone bytes."""
    gone = [one for letter in sorted(traces.letters) for one in letters.drop(c, letter)]
    gone += forget_refusals(c, app.vault, traces.refused)
    refusals.drop_names(c, sorted(aliases))
    gone += sorted(aliases)
    for person in sorted(group):
        letters.drop_past(c, person)
        people.drop_deleted(c, [person])
        for entry in mentioning(c, person):
            gone += forget_digest(c, app.vault, entry)
    return gone


def mentioning(c: Transaction, person: str) -> list[Entry]:
    """The entries of others that name a person."""
    return [decode(position, state) for position, state in entries.naming(c, person)]


def says_name(entry: Entry) -> bool:
    """Whether what is sealed with an entry is the name of the other person that it names, and nothing else."""
    return isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked)


def forget_digest(c: Transaction, vault: Vault, entry: Entry) -> list[bytes]:
    """Destroy the digest of an event's content: a guess could be compared with it. Its key stays, for replays."""
    return entries.forget_digest(c, vault.event_key(entry.source, entry.id))


def forget_refusals(c: Transaction, vault: Vault, positions: Iterable[int]) -> list[bytes]:
    """A refused event keeps its key, so that it is refused again, under a digest that compares with nothing."""
    gone: list[bytes] = []
    for position in sorted(positions):
        state = entries.state(c, position)
        assert state is not None
        said = decode(position, state).data
        assert isinstance(said, ev.IntakeRefused)
        gone += refusals.forget(c, vault.event_key(said.source, said.event_id), position)
    return gone


def handled_again(c: Transaction, vault: Vault, handles: set[bytes]) -> Traces:
    """What a copy still holds of what was destroyed since it was made."""
    found = Traces()
    found.letters = {letter for letter, sealed in letters.everything(c) if vault.letter_handle(sealed) in handles}
    found.refused = {position for position, leaf in refusals.leaves(c) if leaf[:HANDLE_BYTES] in handles}
    return found


def aliases_of(c: Transaction, refused: set[int]) -> set[bytes]:
    """The names in those refused events, whosever they are."""
    return {alias for alias, position in refusals.names(c) if position in refused}


def _value_words(vault: Vault, values: Iterable[str]) -> set[bytes]:
    return {vault.word(value) for value in values if telling(normal(value))}
