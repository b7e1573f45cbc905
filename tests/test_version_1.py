"""Evidence zips: one that holds, and each way to damage one, by name."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ledger import verifier
from ledger.merkle import inclusion_proof, root_at
from ledger.notes import Signer, cosign, format_checkpoint
from ledger.verifier import (
    EvidenceError,
    commitment,
    encode_base64,
    format_tlog_proof,
    leaf_hash,
    parse_vkey,
    verify_evidence,
)

ANN, BOB = "a" * 32, "b" * 32
SIGNER = Signer(b"\x01" * 32, "example.com/ledger")
OTHER = Signer(b"\x02" * 32, "other.example/ledger")
WITNESSES = [Signer(bytes([n]) * 32, f"witness.example/w{n}") for n in (3, 4)]
KEYS = [parse_vkey(SIGNER.vkey)]
ANNS = (2, 4, 5, 8)  # the positions of Ann's entries
CONTEXT = (0, 6)
EMAIL, SALT = "ann@example.com", b"s" * 32


class Log:
    """A log of eleven entries: two about the controller, four of Ann's, the rest Bob's."""

    def __init__(self):
        self.raw = []
        heads = {ANN: (0, None), BOB: (0, None)}
        for position in range(11):
            if position in CONTEXT:
                entry = {"type": "policy.published", "stream": "controller:acme", "controller": "acme"}
            else:
                person = ANN if position in ANNS else BOB
                version, prev = heads[person]
                personal = {"email": encode_base64(commitment(SALT, "email", EMAIL))} if position == 4 else {}
                entry = {"person": person, "version": version + 1, "prev": prev, "controller": "acme"}
                entry = {key: value for key, value in entry.items() if value is not None} | {"personal": personal}
            self.raw.append(json.dumps(entry, separators=(",", ":")).encode())
            if position not in CONTEXT:
                heads[person] = (version + 1, encode_base64(leaf_hash(self.raw[-1])))

    def edit(self, position, **changes):
        """The log as it would be if it had been written so: the damage is then authentic."""
        self.raw[position] = json.dumps(json.loads(self.raw[position]) | changes).encode()
        return self

    def leaves(self, start, stop):
        return [leaf_hash(raw) for raw in self.raw[start:stop]]

    def checkpoint(self, signer=SIGNER, size=None):
        size = len(self.raw) if size is None else size
        return signer.sign(format_checkpoint(signer.name, size, root_at(size, None, self.leaves)))

    def proof(self, position, size=None, note=None):
        size = len(self.raw) if size is None else size
        hashes = inclusion_proof(position, size, None, self.leaves)
        return format_tlog_proof(position, hashes, note or self.checkpoint()).encode()


class Evidence:
    """What is in a zip; valid by default, and damaged by the tests before it is zipped."""

    def __init__(self, log=None, positions=ANNS, note=None):
        self.log = log or Log()
        self.note = note or self.log.checkpoint()
        self.manifest = {
            "format": "consent-ledger/evidence/v1",
            "origin": "example.com/ledger",
            "person": ANN,
            "controller": "acme",
            "size": 11,
            "entries": [self.row(position) for position in positions],
            "fields": [{"position": 4, "name": "email", "value": EMAIL, "salt": encode_base64(SALT)}],
            "context": [self.row(position) for position in CONTEXT],
        }
        self.files = {"checkpoint": self.note.encode()}
        for position in (*positions, *CONTEXT):
            self.files[f"entries/{position}.json"] = self.log.raw[position]
            self.files[f"proofs/{position}.tlog-proof"] = self.log.proof(position, note=self.note)

    @staticmethod
    def row(position):
        return {"position": position, "file": f"entries/{position}.json", "proof": f"proofs/{position}.tlog-proof"}

    def zipped(self, **options):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", **{"compression": zipfile.ZIP_DEFLATED} | options) as archive:
            for name, data in ({"manifest.json": json.dumps(self.manifest).encode()} | self.files).items():
                archive.writestr(name, data)
        return stream.getvalue()


def refused(raw, message, keys=KEYS, witnesses=()):
    with pytest.raises(EvidenceError, match=message) as caught:
        verify_evidence(raw, keys, witnesses)
    assert "\n" not in str(caught.value)


def test_whole_evidence_holds_and_the_report_says_what_was_checked():
    assert dataclasses.asdict(verify_evidence(Evidence().zipped(), KEYS)) == {
        "origin": "example.com/ledger",
        "size": 11,
        "person": ANN,
        "controller": "acme",
        "entries": 4,
        "context": 2,
        "fields": ((4, "email"),),
        **dict.fromkeys(("withheld", "unbound", "witnesses"), ()),
    }


def test_evidence_may_be_stored_uncompressed_read_from_a_path_and_met_with_several_keys(tmp_path):
    path = tmp_path / "evidence.zip"
    path.write_bytes(Evidence().zipped(compression=zipfile.ZIP_STORED))
    assert verify_evidence(path, KEYS) == verify_evidence(str(path), [parse_vkey(OTHER.vkey), *KEYS])


def test_dropping_the_last_versions_is_not_seen_and_the_report_says_so():
    report = verify_evidence(Evidence(positions=ANNS[:3]).zipped(), KEYS)
    assert "not shown by this file: whether a version 4 exists" in str(report)


def test_witnesses_must_have_cosigned():
    log = Log()
    text = log.checkpoint().partition("\n\n")[0] + "\n"
    note = log.checkpoint() + cosign(text, 1_767_225_600, WITNESSES[0])
    both = note + cosign(text, 1_767_225_601, WITNESSES[1])
    keys = [parse_vkey(one.witness_vkey) for one in WITNESSES]
    assert verify_evidence(Evidence(log, note=both).zipped(), KEYS, keys).witnesses == tuple(k.name for k in keys)
    assert verify_evidence(Evidence(log, note=both).zipped(), KEYS).witnesses == ()
    refused(
        Evidence(log, note=note).zipped(),
        "^checkpoint: the witness 'witness.example/w4' .* did not cosign it",
        KEYS,
        keys,
    )
    other_text = note + cosign(format_checkpoint("example.com/ledger", 11, bytes(32)), 1, WITNESSES[1])
    refused(Evidence(log, note=other_text).zipped(), "^checkpoint: .*'witness.example/w4' .* does not fit", KEYS, keys)


def flipped(raw, at):
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def without(e, position):
    e.manifest["entries"].remove(e.row(position))
    e.manifest["fields"] = []
    del e.files[f"entries/{position}.json"], e.files[f"proofs/{position}.tlog-proof"]


def swapped(e, one, other):
    e.files[one], e.files[other] = e.files[other], e.files[one]


def field(e, **changes):
    e.manifest["fields"][0].update(changes)


def listed(e, position, raw=None, proof=None):
    e.manifest["context"].append(e.row(position))
    e.files[f"entries/{position}.json"] = raw or e.log.raw[position]
    e.files[f"proofs/{position}.tlog-proof"] = proof or e.log.proof(position)


def replaced(e, name, old, new):
    assert old in e.files[name]
    e.files[name] = e.files[name].replace(old, new)


def put(e, name, data):
    e.files[name] = data


ENTRY5, PROOF5 = "entries/5.json", "proofs/5.tlog-proof"
NOT_IN_TREE = r"^entry 5 \(entries/5.json with proofs/5.tlog-proof\): .* does not lead to the root of size 11$"
OTHER_LOG = "^manifest.json: origin and size are not the checkpoint's 'example.com/ledger', 1[01]$"
OTHER_NOTE = "another checkpoint than the file 'checkpoint'$"
FORK = Log()
FORK.edit(1, forged=True)

# Name of the damage: what does it to whole evidence, and the words by which it must be refused.
DAMAGES = {
    "one-bit-entry": (lambda e: put(e, ENTRY5, flipped(e.files[ENTRY5], -3)), NOT_IN_TREE),
    "one-bit-proof": (lambda e: put(e, PROOF5, flipped(e.files[PROOF5], 40)), NOT_IN_TREE),
    "dropped-entry": (lambda e: without(e, 4), "^entry 5: version is 3, wanted 2$"),
    "swapped-entries": (
        lambda e: e.manifest["entries"].insert(1, e.manifest["entries"].pop(2)),
        "^entry 5: version is 3, wanted 2$",
    ),
    "swapped-files": (lambda e: swapped(e, "entries/4.json", ENTRY5), "^entry 4 .*does not lead to the root"),
    "swapped-proofs": (lambda e: swapped(e, "proofs/4.tlog-proof", PROOF5), "^entry 4 .*its proof is for position 5$"),
    "altered-field": (lambda e: field(e, value="eve@example.com"), "^field 'email' of entry 4: value and salt are not"),
    "altered-salt": (lambda e: field(e, salt=encode_base64(b"t" * 32)), "^field 'email' of entry 4: value and salt"),
    "salt-not-base64": (lambda e: field(e, salt="c2F\nsdA=="), "^field 'email' of entry 4: "),
    "salt-with-stray-bits": (lambda e: field(e, salt="c2FsdB=="), "^field 'email' of entry 4: base64 with stray bits"),
    "value-without-utf-8": (lambda e: field(e, value="\ud800"), "^field 'email' of entry 4: "),
    "field-not-in-entry": (lambda e: field(e, name="telephone"), "^field 'telephone' of entry 4: value and salt"),
    "field-of-entry-without": (lambda e: field(e, position=0), "^field 'email' of entry 0: value and salt"),
    "field-of-unlisted-entry": (lambda e: field(e, position=3), "^field 'email' of entry 3: that entry is not in"),
    "field-position-true": (lambda e: field(e, position=True), "^manifest.json: a row of fields: wants exactly"),
    "field-opened-twice": (lambda e: e.manifest.update(fields=e.manifest["fields"] * 2), "^manifest.json: .* twice$"),
    "other-logs-checkpoint": (
        lambda e: put(e, "checkpoint", e.log.checkpoint(OTHER).encode()),
        "^checkpoint: none of the given keys signed it, but 'other.example/ledger'",
    ),
    "another-sizes-checkpoint": (lambda e: put(e, "checkpoint", e.log.checkpoint(size=10).encode()), OTHER_LOG),
    "another-trees-checkpoint": (
        lambda e: put(e, "checkpoint", FORK.checkpoint().encode()),
        f"^entry 2 .*{OTHER_NOTE}",
    ),
    "another-trees-proof": (lambda e: put(e, PROOF5, FORK.proof(5)), f"^entry 5 .*{OTHER_NOTE}"),
    "proof-for-another-size": (
        lambda e: put(e, PROOF5, e.log.proof(5, 8, e.note)),
        "^entry 5 .*wants a proof of 4 hashes, ",
    ),
    "extra-line-in-proof": (lambda e: replaced(e, PROOF5, b"index", b"extra aGk=\nindex"), "^entry 5 .*extra line"),
    "proof-not-utf-8": (lambda e: replaced(e, PROOF5, b"index", b"\xff"), "^entry 5 .*proofs/5.tlog-proof"),
    "entry-too-long": (lambda e: put(e, ENTRY5, b" " * 65_536), "^entry 5: 65536 bytes, the limit is 65535$"),
    "extra-file": (lambda e: put(e, "notes.txt", b"hi"), "^file 'notes.txt': not in the manifest$"),
    "extra-entry": (lambda e: put(e, "entries/3.json", b"{}"), "^file 'entries/3.json': not in the"),
    "extra-folder": (lambda e: put(e, "entries/", b""), "^file 'entries/': not in the manifest$"),
    "missing-file": (lambda e: e.files.pop(ENTRY5), "^file 'entries/5.json': missing from the zip$"),
    "missing-proof": (lambda e: e.files.pop("proofs/6.tlog-proof"), "^file 'proofs/6.tlog-proof': missing"),
    "missing-checkpoint": (lambda e: e.files.pop("checkpoint"), "^file 'checkpoint': missing from the zip$"),
    "listed-twice": (lambda e: listed(e, 8), "^manifest.json: entry 8 is listed twice$"),
    "file-of-another-name": (
        lambda e: e.manifest["entries"][0].update(file="entries/4.json"),
        "^manifest.json: the files of entry 2 are not named after its position$",
    ),
    "anothers-entry-as-context": (lambda e: listed(e, 3), "^entry 3: given as context, but not about the controller$"),
    "context-in-the-chain": (
        lambda e: e.manifest["entries"].append(e.manifest["context"].pop()),
        "^entry 6: person is None, wanted 'aaaa",
    ),
    "beyond-the-tree": (
        lambda e: listed(e, 11, b"{}", format_tlog_proof(11, [], e.note).encode()),
        "^entry 11 .*found index 11 and size 11$",
    ),
    "other-person": (lambda e: e.manifest.update(person=BOB), "^entry 2: person is 'aaaa"),
    "other-controller": (lambda e: e.manifest.update(controller="other"), "^entry 2: controller is 'acme', wanted"),
    "other-origin": (lambda e: e.manifest.update(origin="o"), OTHER_LOG),
    "other-size": (lambda e: e.manifest.update(size=12), OTHER_LOG),
    "no-entries": (lambda e: e.manifest.update(entries=[]), "^manifest.json: .*at least one entry$"),
    "person-not-hex": (lambda e: e.manifest.update(person="A" * 32), "^manifest.json: wants a person of 32 hex digits"),
    "unknown-key": (lambda e: e.manifest.update(verdict="fine"), "^manifest.json: wants exactly the keys format "),
    "size-a-string": (lambda e: e.manifest.update(size="11"), r"^manifest.json: wants exactly the keys .*size \(int\)"),
    "row-no-object": (lambda e: e.manifest["entries"].append(5), "^manifest.json: a row of entries or context: wants"),
    "other-format": (lambda e: e.manifest.update(format="v2"), "^manifest.json: format is 'v2', this program knows"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_evidence_is_refused(damage):
    evidence = Evidence()
    change, message = DAMAGES[damage]
    change(evidence)
    refused(evidence.zipped(), message)


def test_wrong_key():
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [parse_vkey(OTHER.vkey)])
    same_name = Signer(b"\x09" * 32, "example.com/ledger")
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [parse_vkey(same_name.vkey)])
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [])


# Damage that the log itself has, and signed: what a dishonest ledger would write.


@pytest.mark.parametrize(
    ("position", "changes", "message"),
    [
        (5, {"version": 2}, "^entry 5: version is 2, wanted 3$"),
        (2, {"version": True}, "^entry 2: version is True, wanted 1$"),
        (5, {"version": 3.0}, r"^entry 5: version is 3.0, wanted 3$"),
        (5, {"prev": None}, "^entry 5: prev is None, wanted '"),
        (5, {"prev": encode_base64(bytes(32))}, "^entry 5: prev is 'AAAA.*, wanted '"),
        (2, {"prev": encode_base64(bytes(32))}, "^entry 2: prev is 'AAAA.*, wanted None$"),
        (5, {"person": BOB}, "^entry 5: person is 'bbbb"),
        (5, {"controller": "other"}, "^entry 5: controller is 'other', wanted 'acme'$"),
        (6, {"controller": "other"}, "^entry 6: controller is 'other', not the manifest's$"),
        (6, {"person": None}, "^entry 6: given as context, but not about the controller$"),
        (6, {"stream": None}, "^entry 6: given as context, but not about the controller$"),
        (4, {"personal": ["email"]}, "^field 'email' of entry 4: value and salt"),
    ],
)
def test_a_log_that_was_written_wrong_is_refused(position, changes, message):
    log = Log().edit(position, **changes)
    if position == 4:  # the next entry names its hash
        log.edit(5, prev=encode_base64(leaf_hash(log.raw[4]))).edit(8, prev=encode_base64(leaf_hash(log.raw[5])))
    refused(Evidence(log).zipped(), message)


def test_versions_in_another_order_than_the_log_are_refused():
    log = Log()  # given a chain that is whole, but whose version 1 stands in the log behind its version 2
    log.raw[5] = log.raw[2]
    log.edit(4, prev=encode_base64(leaf_hash(log.raw[5])))
    evidence = Evidence(log, positions=(5, 4))
    evidence.manifest["fields"] = []
    refused(evidence.zipped(), "^entry 4: listed after entry 5, out of the log's order$")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"person":"x","person":"y"}', "the key 'person' stands twice"),
        (b'{"data":{"a":1,"a":1}}', "the key 'a' stands twice"),
        (b'{"a":NaN}', "NaN is no JSON"),
        (b"[1]", "wants a JSON object"),
        (b"{", "Expecting property name"),
        (b'{"a":"\xff"}', "can't decode"),
        (b'{"a":' + b"[" * 60_000, "recursion"),
        (b'{"a":' + b"1" * 5_000 + b"}", "digits"),
    ],
    ids=["duplicate-json-key", "duplicate-inner-key", "nan", "array", "cut", "not-utf-8", "deep", "long-number"],
)
def test_json_that_two_readers_could_read_differently_is_refused(raw, message):
    evidence = Evidence()
    evidence.files["manifest.json"] = raw
    refused(evidence.zipped(), f"^manifest.json: .*{message}")
    log = Log()
    log.raw[5] = raw
    refused(Evidence(log).zipped(), f"^entry 5: .*{message}")


def with_zip64_records(whole):
    """Hide the records of ZIP64 where the end record says that its directory ends."""
    directory_bytes, offset = struct.unpack("<II", whole[-10:-2])
    entries = struct.unpack("<H", whole[-12:-10])[0]
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, directory_bytes, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(whole) - 22, 1)
    return whole[:-22] + record + locator + whole[-22:-10] + struct.pack("<IIH", directory_bytes + 76, offset, 0)


def lying(whole, file_bytes):
    """The directory says that its first file, the manifest, unpacks to so many bytes."""
    raw = bytearray(whole)
    struct.pack_into("<I", raw, whole.index(b"PK\1\2") + 24, file_bytes)
    return bytes(raw)


def test_zips_that_two_readers_could_read_differently_are_refused(tmp_path):
    whole = Evidence().zipped()
    commented = io.BytesIO(whole)
    with zipfile.ZipFile(commented, "a") as archive:
        archive.comment = b"hello"
    assert zipfile.ZipFile(io.BytesIO(with_zip64_records(whole))).testzip() is None
    for raw in (b"", whole[:-1], whole + b"x", b"x" + whole, commented.getvalue(), whole[:-2] + b"\1\0"):
        refused(raw, "^the zip cannot be read: cut short, added to, with a comment, ")
    refused(with_zip64_records(whole), "^the zip cannot be read: .* of more than 65,535 files$")
    refused(lying(whole, 1), "^the zip cannot be read: Bad CRC-32 for file 'manifest.json'$")
    twice = whole.replace(b"entries/2.json", b"entries/4.json")
    refused(twice, "^the zip cannot be read: file 'entries/4.json' stands twice$")
    refused(Evidence().zipped(compression=zipfile.ZIP_BZIP2), "^the zip cannot be read: .*otherwise than by deflate$")
    refused(tmp_path / "none.zip", "^the zip cannot be read: .*No such file")


def numbered(whole, here, all_disks):
    """The end record says another number of files, in this part and in all."""
    return whole[:-14] + struct.pack("<HH", here, all_disks) + whole[-10:]


def test_the_end_of_a_zip_must_count_its_files():
    whole = Evidence().zipped()
    files = len(zipfile.ZipFile(io.BytesIO(whole)).namelist())
    assert numbered(whole, files, files) == whole
    for other in (files - 1, files + 1, 0):
        refused(
            numbered(whole, other, other), f"^the zip cannot be read: its directory has {files} files, its end says"
        )
        refused(numbered(whole, files, other), "^the zip cannot be read: cut short, .* or one part of several$")
    for disk in (-18, -16):  # of this part, of the directory
        refused(whole[:disk] + b"\1" + whole[disk + 1 :], "^the zip cannot be read: .* or one part of several$")


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    evidence = Evidence()
    evidence.files["zeros"] = bytes(32 << 20)
    bomb = evidence.zipped()
    monkeypatch.setattr(verifier, "MAX_UNPACKED_BYTES", 16 << 20)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    refused(bomb, "^the zip cannot be read: it unpacks to .* bytes, the limit is 16777216$")


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_either():
    evidence = Evidence()
    evidence.manifest["format"] = " " * (64 << 20)
    bomb = lying(evidence.zipped(), 100)
    del evidence
    tracemalloc.start()
    refused(bomb, "^the zip cannot be read: Bad CRC-32")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("limit", ["MAX_ZIP_BYTES", "MAX_DIRECTORY_BYTES", "MAX_MANIFEST_BYTES"])
def test_sizes_are_bounded(limit, monkeypatch):
    monkeypatch.setattr(verifier, limit, 100)
    refused(Evidence().zipped(), "over 100 bytes$")


@pytest.fixture
def script(tmp_path):
    """Copy verifier.py out of the tree, as it is shipped; returns what runs it, isolated."""
    copy = shutil.copy(verifier.__file__, tmp_path / "verify.py")

    def run(*arguments):
        command = [sys.executable, "-I", copy, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_as_a_script_it_answers_0_1_or_2(script, tmp_path):
    whole, damaged, witness = tmp_path / "whole.zip", tmp_path / "damaged.zip", WITNESSES[0].witness_vkey
    whole.write_bytes(Evidence().zipped())
    evidence = Evidence()
    DAMAGES["altered-field"][0](evidence)
    damaged.write_bytes(evidence.zipped())

    key = ("--key", SIGNER.vkey)
    done = script(whole, *key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"holds: 4 entries of person {ANN}, versions 1 to 4\n")
    asked = ["--witness", witness]
    for arguments in ([damaged, *key], [whole, "--key", OTHER.vkey], ["none", *key], [whole, *key, *asked]):
        done = script(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("does not hold: ")
    misuses = [], key, [whole], [whole, "--key", "x"], [whole, "--key", witness], [whole, *key, "--witness", key[1]]
    for arguments in misuses:
        done = script(*arguments)
        assert (done.returncode, done.stdout) == (2, "")


def test_what_a_stranger_wrote_does_not_steer_the_terminal(script, tmp_path):
    evidence = Evidence()
    evidence.files["\u202e\x1b[2J\n\u00e9"] = b""
    (tmp_path / "evidence.zip").write_bytes(evidence.zipped())
    done = script("evidence.zip", "--key", SIGNER.vkey)
    assert done.returncode == 1
    assert done.stderr == "does not hold: file '\\u202e\\x1b[2J\\n\\xe9': not in the manifest\n"


def test_the_module_imports_nothing_but_the_standard_library_and_cryptography():
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "cryptography"}
