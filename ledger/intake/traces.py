"""What lies about a person beside their own records: letters, refused events, digests, records of others.

Letters are found in two ways. By keyed hashes of what they say (`letter_words`), at once, whenever a name or value is
known or only its hash. And by reading them all, for what stands inside longer text: before the write lock is taken, so
that under it only those are read that came since.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.identifiers.marks import normal
from consent_ledger.ledger.identifiers.spellings import forms, name_form
from consent_ledger.ledger.intake.letter_words import Reader, spellings, telling
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.suppression import normalise
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.store.contract import Transaction

if TYPE_CHECKING:
    from consent_ledger.ledger.policy.pack import Pack
    from consent_ledger.ledger.vault.vault import Vault

HANDLE_BYTES: Final = 16
READ_VALUES: Final = 1_000  # values that all letters are read for; the others are found by their hashes
_PAGE: Final = 200
_MARKS: Final = 500
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
    c.executemany("INSERT OR IGNORE INTO letter_words VALUES (?,?)", rows)


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


def tie_addresses(c: Transaction, letter: int, tags: list[bytes]) -> None:
    """Tie a letter to deleted persons who had an address that it names."""
    for some, marks in _portions(tags):
        c.execute(
            f"INSERT OR IGNORE INTO letter_persons SELECT person, ? FROM addresses WHERE tag IN ({marks})",
            [letter, *some],
        )


def tie_values(c: Transaction, vault: Vault, person: str, values: Iterable[str]) -> None:
    """Tie letters that say one of these values to the person: nobody can read them in the vault any more."""
    for some, marks in _portions(_value_words(vault, values)):
        c.execute(
            f"INSERT OR IGNORE INTO letter_persons SELECT ?, letter FROM letter_words WHERE word IN ({marks})",
            [person, *some],
        )


def note_past(c: Transaction, vault: Vault, controllers: Iterable[str], letter: int, sealed: bytes) -> None:
    """Remember of a letter that goes whose it was: a copy of the store that was made before may hold it still."""
    names = {form for one in spellings(vault.open_letter(sealed)) for form in _forms(one)}
    aliases = [one for controller in controllers for name in sorted(names) for one in vault.aliases(controller, name)]
    persons = set(vault.find(c, aliases).values())
    c.execute("SELECT person FROM letter_persons WHERE letter=?", [letter])
    persons |= {row[0] for row in c.fetchall()}
    handle = vault.letter_handle(sealed)
    c.executemany("INSERT OR IGNORE INTO past_letters VALUES (?,?)", [(one, handle) for one in sorted(persons)])


def _forms(name: str) -> set[str]:
    return {name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)}


def letters_by_word(c: Transaction, words: Iterable[bytes]) -> set[int]:
    """The letters that say one of these."""
    found: set[int] = set()
    for some, marks in _portions(words):
        c.execute(f"SELECT letter FROM letter_words WHERE word IN ({marks})", some)
        found |= {row[0] for row in c.fetchall()}
    return found


Page = list[tuple[int, bytes]]  # letters, sealed


def letters_after(c: Transaction, after: int) -> Page:
    """Some letters, in order, from behind one of them."""
    c.execute("SELECT id, sealed FROM dead_letters WHERE id>? ORDER BY id LIMIT ?", [after, _PAGE])
    return list(c.fetchall())


def read_letters(vault: Vault, sought: set[str], after: int, page: Callable[[int], Page]) -> tuple[set[int], int]:
    """(the letters behind `after` whose text says one of these, the last one read). `page`: see `letters_after`."""
    reader = Reader(sought)
    found: set[int] = set()
    while rows := page(after):
        found |= {letter for letter, sealed in rows if reader.finds(vault.open_letter(sealed))}
        after = rows[-1][0]
    return found, after


def remove_letters(c: Transaction, letters: Iterable[int]) -> list[bytes]:
    """Destroy letters and all that leads to them. Returns the bytes that must be gone."""
    gone: list[bytes] = []
    for letter in sorted(letters):
        c.execute("DELETE FROM dead_letters WHERE id=? RETURNING sealed, digest", [letter])
        gone += [one for row in c.fetchall() for one in row]
        c.execute("DELETE FROM letter_words WHERE letter=? RETURNING word", [letter])
        gone += [row[0] for row in c.fetchall()]
        c.execute("DELETE FROM letter_persons WHERE letter=?", [letter])
    return gone


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
        c.execute("SELECT alias, word FROM aliases WHERE person=?", [person])
        for alias, word in c.fetchall():
            found.aliases.add(alias)
            found.words |= {word} - {None}
        c.execute(
            "SELECT s.position, e.version FROM secrets s JOIN entries e USING (position) WHERE e.stream=?", [person]
        )
        for position, version in c.fetchall():
            opened = vault.open_fields(c, person, version, position)
            found.values |= set(opened[1].values()) if opened else set()
    found.words |= {vault.word(name) for name in found.names}
    return found


def traces_of(app: Opened, c: Transaction, group: set[str], sought: Sought) -> Traces:
    """What is found at once. What is inside longer text is not among it: see `read_letters`."""
    found = Traces()
    found.letters = letters_by_word(c, sought.words | _value_words(app.vault, sought.values))
    for some, marks in _portions(group):
        c.execute(f"SELECT letter FROM letter_persons WHERE person IN ({marks})", some)
        found.letters |= {row[0] for row in c.fetchall()}
        c.execute(f"SELECT handle FROM past_letters WHERE person IN ({marks})", some)
        found.handles |= {row[0] for row in c.fetchall()}
    for some, marks in _portions(sought.aliases):
        for named in ("refused WHERE person_key", "refused_names WHERE alias"):
            c.execute(f"SELECT position FROM {named} IN ({marks})", some)
            found.refused |= {row[0] for row in c.fetchall()}
    return found


def note_handles(c: Transaction, vault: Vault, traces: Traces) -> None:
    """Add the handles of what is there: a letter's sealed bytes, the leaf hash of the entry that says a refusal."""
    there: dict[int, bytes] = {}
    for some, marks in _portions(traces.letters):
        c.execute(f"SELECT id, sealed FROM dead_letters WHERE id IN ({marks})", some)
        there |= {letter: vault.letter_handle(sealed) for letter, sealed in c.fetchall()}
    traces.letters = set(there)  # what was dropped since it was read is past
    traces.handles |= set(there.values())
    for some, marks in _portions(traces.refused):
        c.execute(f"SELECT leaf FROM entries WHERE position IN ({marks})", some)
        traces.handles |= {row[0][:HANDLE_BYTES] for row in c.fetchall()}


def remove(app: Opened, c: Transaction, group: set[str], aliases: set[bytes], traces: Traces) -> list[bytes]:
    """Destroy what was found, and the content digests of entries that name these persons. Returns the gone bytes."""
    gone = remove_letters(c, traces.letters)
    gone += forget_refusals(c, app.vault, traces.refused)
    c.executemany("DELETE FROM refused_names WHERE alias=?", [(alias,) for alias in sorted(aliases)])
    gone += sorted(aliases)
    for person in sorted(group):
        c.execute("DELETE FROM past_letters WHERE person=?", [person])
        c.execute("DELETE FROM deleted WHERE person=?", [person])
        for entry in mentioning(c, person):
            gone += forget_digest(c, app.vault, entry)
    return gone


def mentioning(c: Transaction, person: str) -> list[Entry]:
    """The entries of others that name a person."""
    c.execute("SELECT position, state FROM mentions JOIN entries USING (position) WHERE person=?", [person])
    return [decode(position, state) for position, state in c.fetchall()]


def says_name(entry: Entry) -> bool:
    """Whether what is sealed with an entry is the name of the other person that it names, and nothing else."""
    return isinstance(entry.data, ev.SubjectLinked | ev.SubjectUnlinked)


def forget_digest(c: Transaction, vault: Vault, entry: Entry) -> list[bytes]:
    """Destroy the digest of an event's content: a guess could be compared with it. Its key stays, for replays."""
    key = vault.event_key(entry.source, entry.id)
    c.execute("SELECT digest FROM keys WHERE key=? AND digest IS NOT NULL", [key])
    gone = [row[0] for row in c.fetchall()]
    c.execute("UPDATE keys SET digest=NULL WHERE key=?", [key])
    return gone


def forget_refusals(c: Transaction, vault: Vault, positions: Iterable[int]) -> list[bytes]:
    """A refused event keeps its key, so that it is refused again, under a digest that compares with nothing."""
    gone: list[bytes] = []
    for position in sorted(positions):
        c.execute("SELECT state FROM entries WHERE position=?", [position])
        said = decode(position, c.fetchone()[0]).data
        assert isinstance(said, ev.IntakeRefused)
        key = vault.event_key(said.source, said.event_id)
        c.execute("SELECT digest, person_key FROM refused WHERE key=? AND position=?", [key, position])
        gone += [one for row in c.fetchall() for one in row if one]
        c.execute(
            "UPDATE OR REPLACE refused SET digest=zeroblob(0), person_key=NULL WHERE key=? AND position=?",
            [key, position],
        )
    return gone


def handled_again(c: Transaction, vault: Vault, handles: set[bytes]) -> Traces:
    """What a copy still holds of what was destroyed since it was made."""
    found = Traces()
    c.execute("SELECT id, sealed FROM dead_letters")
    found.letters = {letter for letter, sealed in c.fetchall() if vault.letter_handle(sealed) in handles}
    c.execute("SELECT position, leaf FROM refused JOIN entries USING (position)")
    found.refused = {position for position, leaf in c.fetchall() if leaf[:HANDLE_BYTES] in handles}
    return found


def aliases_of(c: Transaction, refused: set[int]) -> set[bytes]:
    """The names in those refused events, whosever they are."""
    c.execute("SELECT alias, position FROM refused_names")
    return {alias for alias, position in c.fetchall() if position in refused}


def _value_words(vault: Vault, values: Iterable[str]) -> set[bytes]:
    return {vault.word(value) for value in values if telling(normal(value))}


def _portions(values: Iterable[Any]) -> Iterator[tuple[list[Any], str]]:
    """Values in portions that a statement takes, with a mark for each."""
    wanted = sorted(values)
    for start in range(0, len(wanted), _MARKS):
        some = wanted[start : start + _MARKS]
        yield some, ",".join("?" * len(some))
