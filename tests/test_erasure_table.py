"""Every way a value about somebody can enter, made from the event models: after erasure none of it is left or guessed.

One ledger lives through it all: for each event type somebody is told of by every way in, is deleted or not, and is
erased. Three copies of it are restored afterwards. `Guesser` is who has store and keys in hand and tries the name and
the values on everything that a guess could fit; what outlives erasure by design, hashes of addresses with a no, aside.
"""

from __future__ import annotations

import unicodedata
from base64 import b64decode
from functools import cache
from typing import NamedTuple

import orjson
import pytest
from conftest import Clock, Store, accept, event

from consent_ledger.consumers import maintenance, opening
from consent_ledger.ledger.events.catalogue import OWN_TYPES, TYPES
from consent_ledger.ledger.intake.dead_letters import drop, listed, text
from consent_ledger.ledger.intake.parse import prepare
from consent_ledger.ledger.log.entry import decode
from consent_ledger.ledger.log.verifier import commitment
from consent_ledger.ledger.vault.vault import field_salt

ANNA, CARL, DORA = "crm:anna", "crm:carl", "crm:dora"
ANNAS_LETTER = rb'{"controller": "parature", "subject": "crm:anna", "note": "of Jos\u00e9 and quill-17"}'
LINKS = ("subject.linked", "subject.unlinked")
PERSONAL = ("full_name", "email")
COMPLETED = "2026-02-01T00:00:00Z"
# what the types need beside what the model itself allows to be left out
DATA = {
    "version": "1", "channel": "email", "service": "site", "kind": "customer", "categories": ["email"],
    "origin": "subject", "purpose": "newsletter", "basis": "express", "scope": "all", "recipient": "support-desk",
    "transfer": "t-1", "request": "r-1", "hold": "h-1", "ground": "law", "breach": "b-1", "complaint": "c-1",
    "about": "optout", "permanent": True, "explained": True, "until": "2026-03-01T00:00:00Z", "reason": "complex",
}  # fmt: skip
MORE = {"subject.age.learned": {"age": 30}, "request.denied": {"ground": "other"}}
ABOUT_PERSONS = [name for name, model in TYPES.items() if not model.about_controller and name not in OWN_TYPES]
CARD = {"national_id": "078-05-1120"}  # a field that the pack forbids
FATES = ("erased", "deleted and erased", "deleted, told late and erased")


class Somebody(NamedTuple):
    """Somebody of whom an event of each kind is told."""

    type: str
    fate: str

    @property
    def number(self):
        return f"{ABOUT_PERSONS.index(self.type)}{FATES.index(self.fate)}7"

    @property
    def name(self):
        return f"crm:josé quill-{self.number}"

    @property
    def values(self):
        """The values of this person's fields; links have none."""
        return {"full_name": f"José Quill the {self.number}th", "email": f"jose.{self.number}@quill.example"}

    @property
    def fields(self):
        names = TYPES[self.type].personal_names or PERSONAL
        return {"other": CARL} if self.type in LINKS else {k: v for k, v in self.values.items() if k in names}

    def data(self, type_name):
        needed = [one.alias or name for name, one in TYPES[type_name].model_fields.items() if one.is_required()]
        data = {name: DATA[name] for name in needed} | MORE.get(type_name, {})
        if type_name.startswith("consent."):
            data["purpose"] = "newsletter"
        return data

    def event(self, **attributes):
        return event(self.type, self.data(self.type), self.fields, **{"subject": self.name} | attributes)


PEOPLE = [Somebody(type_name, fate) for type_name in ABOUT_PERSONS for fate in FATES]


# -- the ways in -------------------------------------------------------------------------------------------------------


@cache
def lines(who):
    """Dead letters about somebody, by how they are written. Each names the person, or has a value of theirs.

    How a letter is written has nothing to do with its type: the first of each fate, and links, come in every way.
    """
    bad = who.event(colour="blue", id=f"letter-{who.number}")
    plain, escaped = orjson.dumps(bad), orjson.dumps(bad).decode().encode("ascii", "backslashreplace")
    escaped = escaped.replace(rb"\xe9", rb"\u00e9")
    other = event(personal={"email": "anna@example.org"}, subject=ANNA, colour="blue", id=f"other-{who.number}")
    found = {
        "plain": plain,
        "escaped": escaped,
        "cut": plain[: plain.index(b'"time"')],
        "cut and escaped": escaped[: escaped.index(b'"time"')],
        "Latin-1": plain.decode().encode("latin-1"),
        "UTF-16": plain.decode().encode("utf-16"),
        "decomposed": unicodedata.normalize("NFD", plain.decode()).encode(),
        "taken for Latin-1": plain.decode().encode().decode("latin-1").encode(),
        "an array": b"[" + plain + b"]",
        "two objects": orjson.dumps(other) + b" " + plain,
        "nested": orjson.dumps({"event": {"body": orjson.dumps(bad).decode()}}),
        "no controller": orjson.dumps({**bad, "controller": None}),
        "wrong controller": orjson.dumps({**bad, "controller": "paratur"}),
        "another member": orjson.dumps({"Subject" if k == "subject" else k: v for k, v in bad.items()}),
        "other of a link": orjson.dumps(
            {**other, "type": "subject.linkedd", "data": {"personal": {"other": who.name}}}
        ),
        "a customer": orjson.dumps({**other, "data": {"kind": "employee", "of": who.name}}),
        "inside a text": orjson.dumps({**other, "note": f"please call <mailto:{who.name}>, thanks"}),
        "in a long text": orjson.dumps({**other, "note": "about a call " * 40 + who.name + " and more" * 40}),
        "no JSON": f"2026-01-02 error: no such user {who.name} at all".encode(),
        "the name of a member": orjson.dumps({who.name: 1}),
        "a value alone": orjson.dumps({"mail": f"mailto:{who.values['email']}"}),
    }
    if who.type in LINKS or "email" not in who.fields:
        del found["a value alone"]  # nothing on record says whose it is
    written = list(found)[:: 1 if who.type in (ABOUT_PERSONS[0], *LINKS, "deletion.completed") else 7]
    return {way: found[way] for way in written}


def refusals(who):
    """Events that are refused, by why."""
    wanted = ("information.collected", {"categories": ["national-id"]}, who.values)
    naming = {"subject": CARL, "id": f"refused-naming-{who.number}"}
    return {
        "refused": event(*wanted, subject=who.name, id=f"refused-{who.number}"),
        "refused, naming": event("subject.registered", {"kind": "employee", "of": who.name}, CARD, **naming),
    }


def linked(type_name, subject, other, event_id):
    """A link that is taken apart a day later."""
    day = 2 + (type_name == "subject.unlinked")
    time = f"2026-01-{day:02}T00:00:00Z"
    return event(type_name, {}, {"other": other}, subject=subject, id=event_id, time=time)


def records(who):
    """Events that are accepted, in order, by what they are."""
    number, found = who.number, {"recorded": who.event(id=f"told-{who.number}")}
    if who.type == "subject.linked":
        found["taken apart"] = linked("subject.unlinked", who.name, CARL, f"apart-{number}")
    if who.type == "hold.placed":
        over = {"time": "2026-01-03T00:00:00Z", "id": f"released-{number}"}
        found["released"] = event("hold.released", {"hold": "h-1"}, subject=who.name, **over)
    found["linked by another"] = linked("subject.linked", ANNA, who.name, f"link-{number}")
    found["unlinked by another"] = linked("subject.unlinked", ANNA, who.name, f"unlink-{number}")
    employee = {"kind": "employee", "of": who.name}
    name = {"full_name": "Carl"}
    found["a customer"] = event("subject.registered", employee, name, subject=CARL, id=f"employee-{number}")
    return found


def conflicts(who):
    """Events under a source and id that came before with other content."""
    return {
        "conflict": {**who.event(id=f"told-{who.number}"), "time": "2026-01-02T04:00:00Z"},
        "conflict, naming": linked("subject.linked", ANNA, who.name, f"told-{who.number}"),
    }


def late(who):
    """What is told after the deletion, of a time before it."""
    return {
        "linked late": linked("subject.linked", DORA, who.name, f"late-link-{who.number}"),
        "unlinked late": linked("subject.unlinked", DORA, who.name, f"late-unlink-{who.number}"),
        "told late": event(data={"service": "late"}, personal=who.values, subject=who.name, id=f"late-{who.number}"),
    }


# -- who guesses -------------------------------------------------------------------------------------------------------


class Guesser:
    """Has a store and its keys. `fits`: everything in them that the name or a value of somebody fits, by what it is."""

    def __init__(self, ledger, folders):
        self.app = ledger.app
        self.files = {
            str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()
        }
        with self.app.reading() as c:
            self.rows = {
                table: self._all(c, table) for table in ("aliases", "letter_words", "refused", "refused_names")
            }
            self.rows |= {table: self._all(c, table) for table in ("keys", "addresses", "dead_letters")}
            self.entries = [decode(*row[:2]) for row in self._all(c, "entries", "position, state")]
            self.opened = [
                (one, opened)
                for one in self.entries
                if (opened := self.app.vault.open_fields(c, one.stream, one.version, one.position)) is not None
            ]
            people = sorted({one.stream for one in self.entries})
            self.names = {name for person in people for name in self.app.vault.names(c, person)}
        self.letters = {text(self.app, one.id) for one in listed(self.app)}
        self.hashes = {cell for found in self.rows.values() for row in found for cell in row if isinstance(cell, bytes)}

    @staticmethod
    def _all(c, table, columns="*"):
        c.execute(f"SELECT {columns} FROM {table}")
        return c.fetchall()

    def fits(self, who):
        vault = self.app.vault
        guesses = [who.name, unicodedata.normalize("NFD", who.name), *who.values.values()]
        hashed = {
            "alias": {vault.alias("parature", one) for one in guesses},
            "word": {vault.word(one) for one in guesses},
            "address": {vault.tag(vault.address_key("parature", "email", who.values["email"]))},
        }
        for way, one in {**refusals(who), **records(who), **conflicts(who), **late(who)}.items():
            hashed[f"digest, {way}"] = {vault.digest(prepare(one).content())}
        for way, line in lines(who).items():
            hashed[f"digest of a letter, {way}"] = {vault.digest(b"test\0" + line)}
        found = {what for what, some in hashed.items() if some & self.hashes}
        found |= {f"letter, {way}" for way, line in lines(who).items() if line in self.letters}
        found |= {"readable name"} if who.name in self.names else set()
        return found | set(self.salted(guesses)) | set(self.in_clear(guesses))

    def salted(self, guesses):
        """Commitments that open, with any salt that can still be had; fields that open at all."""
        for entry, (secret, fields) in self.opened:
            if set(guesses) & set(fields.values()):
                yield "field"
            for name, committed in entry.personal.items():
                salt = field_salt(secret, name)
                if any(commitment(salt, name, one) == b64decode(committed) for one in guesses):
                    yield "commitment"

    def in_clear(self, guesses):
        """Files with the name or a value in them, in any of the ways in which it was told."""
        spelt = {one.encode(code, "ignore") for one in guesses for code in ("utf-8", "utf-16-le", "latin-1")}
        spelt |= {one.encode("ascii", "backslashreplace") for one in guesses}
        for name, body in self.files.items():
            if any(one in body for one in spelt):
                yield f"clear in {name}"


# -- the life of a ledger ----------------------------------------------------------------------------------------------


class World:
    """What is found before and after, in the store and in every copy of it. Lived through once."""

    def __init__(self, folder):
        store = self.store = Store(folder / "ledger.db")
        accept(store.ledger, event("recipient.registered"))
        accept(store.ledger, *(event(subject=one) for one in (ANNA, CARL)))
        assert store.ingest(ANNAS_LETTER).invalid == 1
        for who in PEOPLE:
            self.first(who)
        said = {text(store.ledger.app, one.id): one.id for one in listed(store.ledger.app)}
        self.first_letters = {who: said[lines(who)["plain"]] for who in PEOPLE}
        self.copies = {"copy before they are known": self.back_up("unknown")}
        for who in PEOPLE:
            self.second(who)
        self.copies["copy when all is told"] = self.back_up("known")
        for who in PEOPLE:
            self.third(who)
        self.copies["copy before they are erased"] = self.back_up("deleted")
        guesser = Guesser(store.ledger, [])
        self.before = {who: guesser.fits(who) for who in PEOPLE}
        for who in PEOPLE:
            maintenance.erase(store.ledger, {"controller": "parature", "subject": who.name})
        self.after = {"the store": Guesser(store.ledger, [folder])}
        self.restored = []
        for name, copy in self.copies.items():
            target = folder.parent / f"{copy.name}.restored" / "r.db"
            target.parent.mkdir()
            maintenance.restore(copy, target, store.keys)
            ledger = opening.open_ledger(f"sqlite:///{target}", str(store.keys))
            self.restored.append(ledger)
            self.after[name] = Guesser(ledger, [target.parent, store.keys])

    def back_up(self, name):
        target = self.store.path.parent.parent / f"{name}.db"
        maintenance.back_up(self.store.ledger, target)
        return target

    def tell(self, events, kind):
        outcomes = self.store.ledger.record(list(events.values()))
        assert {way: one.kind for way, one in zip(events, outcomes, strict=True)} == dict.fromkeys(events, kind)

    def first(self, who):
        """Nobody yet: letters and refusals only."""
        told = lines(who)
        assert self.store.ingest(*told.values()).invalid == len(told)
        self.tell(refusals(who), "refused")

    def second(self, who):
        """Known by what is recorded, of them and of others."""
        self.tell(records(who), "accepted")
        self.tell(conflicts(who), "conflict")

    def third(self, who):
        """A letter was mended, so that only copies have it; they were deleted, and more is told."""
        app = self.store.ledger.app
        drop(app, self.first_letters[who])
        if who.fate != "erased":
            accept(self.store.ledger, event("deletion.completed", {"request": None}, subject=who.name, time=COMPLETED))
        if who.fate == "deleted, told late and erased":
            self.tell(late(who), "accepted")

    def close(self):
        for ledger in self.restored:
            ledger.projector.close()
            ledger.app.close()
        self.store.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "clock", clock)
        folder = tmp_path_factory.mktemp("world") / "store"
        folder.mkdir()
        world = World(folder)
        yield world
        world.close()


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_before_erasure_every_guess_fits(world):
    """What is not found before could not be missed after."""
    for who in PEOPLE:
        if who.fate != "erased" or who.type == "deletion.completed":
            continue
        told = {*refusals(who), *records(who), *conflicts(who)}
        expected = {f"digest, {way}" for way in told} | {"alias", "word", "readable name", "field", "commitment"}
        expected |= {f"{what}, {way}" for way in lines(who) for what in ("letter", "digest of a letter")}
        assert world.before[who] == expected - {"letter, plain", "digest of a letter, plain"}


@pytest.mark.parametrize("fate", FATES[1:])
def test_after_deletion_no_value_opens_and_what_is_told_late_is_never_sealed(world, fate):
    for who in PEOPLE:
        if who.fate == fate:
            assert world.before[who] & {"field", "commitment", "readable name"} == set(), who
            assert {"alias", "word"} <= world.before[who]
            assert ({f"digest, {way}" for way in late(who)} <= world.before[who]) == (fate == FATES[2])


@pytest.mark.parametrize("who", PEOPLE, ids=lambda who: f"{who.type}, {who.fate}")
def test_after_erasure_nothing_is_left_and_no_guess_fits(world, who):
    assert {place: found for place, guesser in world.after.items() if (found := guesser.fits(who))} == {}


def test_what_is_about_others_stays(world):
    left = world.after["the store"]
    told_of_carl = [fields for one, (_, fields) in left.opened if one.type == "subject.registered"]
    assert told_of_carl == [{"full_name": "Carl"}] * len(PEOPLE)
    assert left.letters == {ANNAS_LETTER}
