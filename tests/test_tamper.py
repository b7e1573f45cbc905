"""`consent-ledger verify` on damaged stores and damaged evidence: each damage has a name and is named."""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
import zipfile

import pytest
from conftest import PACKS, Cli, accept, event, published

from consent_ledger.consumers import maintenance, opening
from consent_ledger.ledger.log.checkpoint import Signer, format_checkpoint
from consent_ledger.ledger.log.verifier import encode_base64, leaf_hash, parse_vkey, verify_evidence

PEOPLE = 12
SIZE = 300  # more than a subtree
OTHER = Signer(b"\x05" * 32, "other.example/ledger")
HERS, HERS_NEXT, HIS = 122, 134, 123  # two entries of one person, and between them one of another


# -- a store to be damaged ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store of 300 entries, and evidence about one person with all fields opened."""
    path = tmp_path_factory.mktemp("tamper") / "ledger.db"
    ledger = opening.create_ledger(f"sqlite:///{path}")
    for body in PACKS.values():
        ledger.app.add_pack(body)
    events = [published(controller) for controller in sorted(PACKS)]
    for number in range(SIZE - len(events)):
        subject = f"crm:{number % PEOPLE}"
        events.append(event("information.collected", personal={"words": f"{subject}, {number}"}, subject=subject))
    assert accept(ledger, *events) == list(range(SIZE))
    with ledger.app.reading() as c:
        c.execute("SELECT position FROM entries WHERE stream=(SELECT stream FROM entries WHERE position=?)", [HERS])
        assert {HERS, HERS_NEXT} < {row[0] for row in c.fetchall()}
    body = maintenance.evidence_for(ledger, {"controller": "parature", "subject": "crm:0"}, ["all"], auditor=False)
    vkey = ledger.app.signer.vkey
    ledger.projector.close()
    ledger.app.close()
    return path, body, vkey


@pytest.fixture
def copy(whole, tmp_path):
    path, _, vkey = whole
    shutil.copytree(path.parent, tmp_path / "copy")
    return Damaged(tmp_path / "copy" / "ledger.db", vkey)


class Damaged:
    """A store in the hands of somebody who can write to its file."""

    def __init__(self, path, vkey):
        self.path, self.vkey = path, vkey
        self.db = sqlite3.connect(path, isolation_level=None)
        for (name,) in self.db.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            self.db.execute(f"DROP TRIGGER {name}")

    def sql(self, statement, *params):
        found = self.db.execute(statement, params)
        assert found.description or found.rowcount > 0, "changed nothing"
        return found.fetchall()

    def entry(self, position):
        """(stream, version, type, leaf, state)."""
        return self.sql("SELECT stream, version, type, leaf, state FROM entries WHERE position=?", position)[0]

    def put(self, position, row):
        columns = "stream=?, version=?, type=?, leaf=?, state=?"
        self.sql(f"UPDATE entries SET {columns} WHERE position=?", *row, position)

    def write(self, position, **changes):
        """Write an entry anew, with the hashes that belong to it, as far as its own row goes."""
        stream, version, type_name, _, state = self.entry(position)
        body = json.loads(state) | changes
        raw = json.dumps(body, separators=(",", ":")).encode()
        self.put(position, (body.get("person", stream), body.get("version", version), type_name, leaf_hash(raw), raw))

    def drop(self, position):
        self.sql("DELETE FROM entries WHERE position=?", position)

    def swap(self, one, other, columns=slice(0, 5)):
        first, second = self.entry(one), self.entry(other)
        self.sql("UPDATE entries SET version=-version WHERE position=?", one)
        self.put(other, (*second[: columns.start], *first[columns]))
        self.put(one, (*first[: columns.start], *second[columns]))

    def flip_in_file(self, position):
        """Flip a bit where the file holds the entry's bytes."""
        state = self.entry(position)[4]
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()
        raw = bytearray(self.path.read_bytes())
        assert raw.count(state) == 1
        raw[raw.index(state) + 20] ^= 1
        self.path.write_bytes(raw)

    def verify(self, key=None):
        self.db.close()
        return Cli(f"sqlite:///{self.path}").fails("verify", *(["--key", key] if key else []), code=1)


def flipped(raw, at=-3):
    raw = bytearray(raw)
    raw[at] ^= 1
    return bytes(raw)


def other_logs_head(s):
    """The head of another log of the same size and root, signed by its own key."""
    root = s.sql("SELECT root FROM head")[0][0]
    s.sql("UPDATE head SET checkpoint=?", OTHER.sign(format_checkpoint(OTHER.name, SIZE, root)))


def older_head(s):
    """A checkpoint that this log did sign, of fewer entries."""
    folder = s.path.parent / "ledger.db.keys"
    app = opening.open_file(s.path, opening.FileKeys(folder))
    app.load()
    s.sql("UPDATE head SET checkpoint=?", app.signer.sign(format_checkpoint(app.origin, SIZE - 1, bytes(32))))
    app.close()


def moved(s, to):
    """The stream of another entry, and the next version in it."""
    stream = s.entry(to)[0]
    return stream, s.sql("SELECT max(version) + 1 FROM entries WHERE stream=?", stream)[0][0]


def after(s, position):
    """What an entry would have to say to follow this one in its stream."""
    stream, version, _, leaf, _ = s.entry(position)
    return {"person": stream, "version": version + 1, "prev": encode_base64(leaf)}


# Name of the damage: what does it, and how the one line about it begins.
STORE_DAMAGES = {
    "flipped-byte": (
        lambda s: s.sql("UPDATE entries SET state=? WHERE position=150", flipped(s.entry(150)[4])),
        "entry 150: its bytes are not those that were appended",
    ),
    "flipped-byte-in-the-file": (lambda s: s.flip_in_file(151), "entry 151: its bytes are not those"),
    "dropped-first": (lambda s: s.drop(0), "entry 0: is missing, the next one found is 1"),
    "dropped-middle": (lambda s: s.drop(150), "entry 150: is missing, the next one found is 151"),
    "dropped-last": (lambda s: s.drop(SIZE - 1), "entry 299: is missing, the checkpoint covers 300 entries"),
    "swapped": (lambda s: s.swap(HERS, HIS), "the entries do not have the checkpoint's root: some were replaced or"),
    "swapped-in-one-stream": (
        lambda s: s.swap(HERS, HERS_NEXT),
        "entry 122: version 12 of its stream follows version 10",
    ),
    "swapped-bytes": (
        lambda s: s.swap(HERS, HIS, slice(3, 5)),
        "entry 122: stands under another stream, version or type",
    ),
    "other-logs-checkpoint": (
        other_logs_head,
        "checkpoint: none of the given keys signed it, but 'other.example/ledger'",
    ),
    "older-checkpoint": (older_head, "checkpoint: says size 299, the store says 300"),
    "other-root": (
        lambda s: s.sql("UPDATE head SET root=zeroblob(32)"),
        "checkpoint: says size 300, .*or another root",
    ),
    "other-edge": (
        lambda s: s.sql("UPDATE head SET edge=?", flipped(s.sql("SELECT edge FROM head")[0][0])),
        "the head's edge",
    ),
    "altered-leaf": (
        lambda s: s.sql("UPDATE entries SET leaf=? WHERE position=150", flipped(s.entry(150)[3])),
        "entry 150: .*leaf hash differs",
    ),
    "altered-subtree": (lambda s: s.sql("UPDATE subtrees SET hash=zeroblob(32)"), "subtree 1/0: stored hash differs"),
    "dropped-subtree": (lambda s: s.sql("DELETE FROM subtrees"), "subtrees: 0 are stored, the tree has 1"),
    "added-subtree": (lambda s: s.sql("INSERT INTO subtrees VALUES (1, 1, zeroblob(32))"), "subtrees: 2 are stored"),
    "moved-to-another-stream": (
        lambda s: s.sql("UPDATE entries SET stream=?, version=? WHERE position=150", *moved(s, 151)),
        "entry 150: stands under another stream",
    ),
    "moved-with-its-bytes": (
        lambda s: s.write(150, person=moved(s, 151)[0], version=99),
        "entry 150: version 99 of its stream follows version 12",
    ),
    "moved-to-where-it-would-fit": (lambda s: s.write(299, **after(s, 298)), "the entries do not have the .* root"),
    "altered-version": (lambda s: s.sql("UPDATE entries SET version=99 WHERE position=150"), "entry 150: stands under"),
    "altered-type": (lambda s: s.sql("UPDATE entries SET type='service.used' WHERE position=150"), "entry 150: stands"),
    "altered-and-hashed": (
        lambda s: s.write(150, source="urn:app:forged"),
        "entry 162: does not follow the entry before",
    ),
    "altered-last-and-hashed": (lambda s: s.write(299, source="urn:app:forged"), "the entries do not have the .* root"),
    "no-entry": (lambda s: s.write(150, type=7), "entry 150: .*does not decode"),
    "wrong-link": (
        lambda s: s.write(150, prev=encode_base64(bytes(32))),
        "entry 150: does not follow the entry before it",
    ),
}


def test_the_store_that_was_not_damaged_holds(copy):
    copy.db.close()
    said = Cli(f"sqlite:///{copy.path}")("verify", "--key", copy.vkey).stdout
    assert said.startswith("holds: 300 entries in 14 streams of log consent-ledger.local/ledger")


def test_what_a_store_says_of_itself_does_not_steer_the_terminal(copy):
    name = "evil\x9b31m\u202e\u3164/log"
    copy.sql("UPDATE head SET checkpoint=?", Signer(b"\x05" * 32, name).sign(format_checkpoint(name, SIZE, bytes(32))))
    assert "but 'evil\\x9b31m\\u202e\\u3164/log' (" in copy.verify()


@pytest.mark.parametrize("damage", STORE_DAMAGES)
def test_a_damaged_store_is_refused_by_name(copy, damage):
    change, message = STORE_DAMAGES[damage]
    change(copy)
    said = copy.verify()
    assert re.match(message, said), said


def test_doctor_comes_to_an_end_where_the_last_entry_is_gone(copy):
    copy.drop(SIZE - 1)
    copy.db.close()
    checks = [(row["check"], row["says"]) for row in Cli(f"sqlite:///{copy.path}").json("doctor", code=1)]
    assert dict(checks)["log"].startswith("entry 299: is missing")
    assert ("vault", "1 sealed records belong to no entry") in checks


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE + 1])
def test_doctor_comes_to_an_end_where_the_head_has_another_size(copy, size):
    copy.sql("UPDATE head SET size=?", size)
    copy.db.close()
    checks = [row for row in Cli(f"sqlite:///{copy.path}").json("doctor", code=1) if not row["ok"]]
    assert any(row["says"].startswith(f"checkpoint: says size {SIZE}, the store says {size}") for row in checks)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM head",
        "DELETE FROM meta",
        *(f"DELETE FROM meta WHERE name='{name}'" for name in ("origin", "vkey", "index_key", "digest_key")),
        "UPDATE meta SET value=x''",
        "UPDATE meta SET value=x'ff' WHERE name='origin'",
    ],
)
def test_a_store_without_its_head_or_its_own_keys_is_refused_with_a_word(copy, statement):
    copy.sql(statement)
    copy.db.close()
    said = Cli(f"sqlite:///{copy.path}").fails("doctor", code=2 if statement == "UPDATE meta SET value=x''" else 3)
    assert "restore a backup" in said or "give the keys folder that was made with it" in said, said


def test_a_store_under_a_wrong_key_is_refused(copy):
    assert copy.verify(OTHER.vkey).startswith("checkpoint: none of the given keys signed it, but 'consent-ledger.local")
    same_name = Signer(b"\x06" * 32, "consent-ledger.local/ledger")
    assert copy.verify(same_name.vkey).startswith("checkpoint: none of the given keys signed it")


# -- evidence that the ledger wrote ------------------------------------------------------------------------------------


class Zip:
    """What is in an evidence zip, to be damaged."""

    def __init__(self, body):
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.manifest = json.loads(self.files["manifest.json"])
        self.entries = self.files["entries/0.ndjson"].splitlines()
        self.proofs = [b"c2sp.org/" + one for one in self.files["proofs/0.tlog-proofs"].split(b"c2sp.org/")[1:]]
        self.listed = sorted(self.positions + self.manifest["context"]["positions"])
        assert len(self.entries) + len(self.manifest["withheld"]) == len(self.proofs) == len(self.listed)

    @property
    def positions(self):
        return self.manifest["streams"][0]["positions"]

    def write(self, path):
        self.files["manifest.json"] = json.dumps(self.manifest).encode()
        self.files["entries/0.ndjson"] = b"".join(raw + b"\n" for raw in self.entries)
        self.files["proofs/0.tlog-proofs"] = b"".join(self.proofs)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in self.files.items():
                archive.writestr(name, content)

    def line(self, number):
        """Where the person's entry of that number stands among all."""
        return self.listed.index(self.positions[number])

    def change(self, number, change):
        self.entries[self.line(number)] = change(self.entries[self.line(number)])

    def put(self, name, content):
        self.files[name] = content

    def drop(self, number):
        line, position = self.line(number), self.positions.pop(number)
        self.manifest["fields"] = [one for one in self.manifest["fields"] if one["position"] != position]
        del self.entries[line], self.proofs[line], self.listed[line]

    def swap(self, where, one, other):
        where[one], where[other] = where[other], where[one]

    def opened(self, **changes):
        self.manifest["fields"][3].update(changes)


def to_another_stream(z):
    """Give the entry out as one of another person."""
    z.change(5, lambda raw: raw.replace(z.manifest["person"].encode(), b"f" * 32))


def of_another_person(z):
    z.manifest["streams"][0]["person"] = z.manifest["person"] = "f" * 32


# Positions of the person's entries are 2, 14, 26, 38 ...
EVIDENCE_DAMAGES = {
    "flipped-byte": (lambda z: z.change(5, flipped), r"entry 62 \(entries/0.ndjson with .*root"),
    "dropped-middle": (lambda z: z.drop(5), "entry 74: version is 7, wanted 6"),
    "dropped-first": (lambda z: z.drop(0), "entry 14: version is 2, wanted 1"),
    "dropped-bytes-of-the-last": (lambda z: z.entries.pop(), "file 'entries/0.ndjson': has 25 whole lines, the"),
    "swapped-positions": (lambda z: z.swap(z.positions, 5, 6), "entry 74: version is 7"),
    "swapped-entries": (lambda z: z.swap(z.entries, z.line(5), z.line(6)), "entry 62 .*does not lead to the root"),
    "altered-value": (lambda z: z.opened(value="never said"), "field 'words' of entry 38: value and salt are not"),
    "altered-salt": (lambda z: z.opened(salt=encode_base64(bytes(32))), "field 'words' of entry 38: value and salt"),
    "other-logs-checkpoint": (
        lambda z: z.put("checkpoint", OTHER.sign(format_checkpoint(OTHER.name, SIZE, bytes(32))).encode()),
        "checkpoint: none of the given keys signed it, but 'other.example/ledger'",
    ),
    "moved-to-another-stream": (to_another_stream, "entry 62 .*does not lead to the root"),
    "of-another-person": (of_another_person, "entry 2: person is '"),
}


@pytest.mark.parametrize("damage", EVIDENCE_DAMAGES)
def test_damaged_evidence_is_refused_by_name(whole, tmp_path, damage):
    _, body, vkey = whole
    evidence, file = Zip(body), tmp_path / "evidence.zip"
    assert len(evidence.manifest["fields"]) == 25
    change, message = EVIDENCE_DAMAGES[damage]
    change(evidence)
    evidence.write(file)
    said = Cli(None).fails("verify", file, "--key", vkey, code=1)
    assert re.match(f"{re.escape(str(file))}: does not hold: {message}", said), said


def test_evidence_under_a_wrong_key_is_refused_and_under_the_right_one_holds(whole, tmp_path):
    _, body, vkey = whole
    file = tmp_path / "evidence.zip"
    Zip(body).write(file)
    assert Cli(None)("verify", file, "--key", vkey).stdout.startswith("holds: 25 entries of person ")
    assert "checkpoint: none of the given keys signed it" in Cli(None).fails(
        "verify", file, "--key", OTHER.vkey, code=1
    )


def test_the_last_entry_left_out_of_evidence_is_not_seen_and_the_report_says_so(whole, tmp_path):
    _, body, vkey = whole
    evidence, file = Zip(body), tmp_path / "evidence.zip"
    evidence.drop(-1)
    evidence.write(file)
    said = Cli(None)("verify", file, "--key", vkey).stdout
    assert said.startswith("holds: 24 entries")
    assert "not shown by this file: whether a version 25 exists" in said


def test_what_is_secret_is_withheld_from_all_but_an_auditor(store):
    told = {"recipient": "court", "categories": ["email"], "ground": "law", "secret_until": "2026-06-01T00:00:00Z"}
    court = event("recipient.registered", {"recipient": "court", "class": "authority", "service": None})
    accept(store.ledger, event(), court, event("disclosure.compelled", told, {"email": "ann@example.com"}), event())
    who, key = {"controller": "parature", "subject": "crm:4711"}, [parse_vkey(store.ledger.app.signer.vkey)]
    for auditor, withheld, opened in ((False, 1, 0), (True, 0, 1)):
        body = maintenance.evidence_for(store.ledger, who, ["all"], auditor=auditor)
        report = verify_evidence(body, key)
        assert (report.entries, len(report.withheld), report.unbound, len(report.fields)) == (3, withheld, (), opened)
        shown = b"".join(Zip(body).files.values())
        assert (b"secret_until" in shown) == auditor


@pytest.mark.parametrize("value", ["'text'", "1.5", "7"])
@pytest.mark.parametrize("column", ["secrets.sealed", "people.wrapped", "aliases.bound", "dead_letters.sealed"])
def test_a_column_that_holds_no_bytes_is_damage_and_no_crash(store, column, value):
    accept(store.ledger, event(personal={"email": "ann@example.com"}))
    assert store.ingest(b'{"subject": "crm:4711"}').invalid == 1
    store.shut()
    table, name = column.split(".")
    db = sqlite3.connect(store.path)
    db.execute(f"UPDATE {table} SET {name}={value}")
    db.commit()
    db.close()
    assert "Traceback" not in Cli(store.name)("doctor", code=1).output
