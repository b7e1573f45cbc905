"""Evidence of version 1, which is no longer written: it still verifies, and each damage to it is refused by name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import evidence_zip
import pytest
from evidence_zip import ANN, BOB, EMAIL, JSON_OF_TWO_READINGS, KEYS, OTHER, SALT

from consent_ledger.ledger.log.checkpoint import Signer, cosign, format_checkpoint
from consent_ledger.ledger.log.verifier import (
    EvidenceError,
    commitment,
    encode_base64,
    format_tlog_proof,
    leaf_hash,
    parse_vkey,
    verify_evidence,
)

WITNESSES = [Signer(bytes([n]) * 32, f"witness.example/w{n}") for n in (3, 4)]
ANNS = (2, 4, 5, 8)  # the positions of Ann's entries
CONTEXT = (0, 6)
GOLDEN = Path(__file__).parent / "golden"


class Log(evidence_zip.Log):
    """A log of eleven entries: two about the controller, four of Ann's, the rest Bob's."""

    def __init__(self):
        self.raw = []
        heads = {ANN: (0, None), BOB: (0, None), "acme": (0, None)}
        for position in range(11):
            who = "acme" if position in CONTEXT else ANN if position in ANNS else BOB
            version, prev = heads[who]
            owner = {"stream": "controller:acme"} if who == "acme" else {"person": who}
            personal = {"email": encode_base64(commitment(SALT, "email", EMAIL))} if position == 4 else {}
            entry = {**owner, "version": version + 1, "prev": prev, "controller": "acme"}
            entry = {key: value for key, value in entry.items() if value is not None} | {"personal": personal}
            self.raw.append(json.dumps(entry, separators=(",", ":")).encode())
            heads[who] = (version + 1, encode_base64(leaf_hash(self.raw[-1])))


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
    report = verify_evidence(Evidence().zipped(), KEYS)
    assert report.format == "consent-ledger/evidence/v1"
    assert (report.origin, report.size, report.person, report.controller) == ("example.com/ledger", 11, ANN, "acme")
    assert (report.entries, report.context, report.fields, report.left_out) == (4, 2, ((4, "email"),), ())
    assert [line.position for line in report.timeline] == sorted((*ANNS, *CONTEXT))


def test_evidence_that_was_written_by_that_version_holds():
    key = parse_vkey((GOLDEN / "evidence-1.vkey").read_text().strip())
    report = verify_evidence(GOLDEN / "evidence-1.zip", [key])
    assert (report.entries, report.withheld, report.context, report.left_out) == (3, (4,), 2, ((2, 2),))
    assert "; 1 of them not in this file (version 2)\n" in str(report)
    assert '\n       email: "ann@example.com"\n' in str(report)
    assert len(report.absent) == 2  # the text and the pack, which that version had no place for


def test_what_is_left_out_about_the_controller_is_said():
    evidence = Evidence()
    row = evidence.manifest["context"].pop(0)
    del evidence.files[row["file"]], evidence.files[row["proof"]]
    assert verify_evidence(evidence.zipped(), KEYS).left_out == ((1, 1),)


def test_names_joined_with_the_person_are_said_to_be_elsewhere():
    log = Log().edit(8, type="subject.linked", data={"other": BOB})
    assert verify_evidence(Evidence(log).zipped(), KEYS).elsewhere == ((BOB, None, 8),)


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
        f"^entry 0 .*{OTHER_NOTE}",
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
    "extra-folder": (lambda e: put(e, "entries/", b""), "^the zip cannot be read: file 'entries/' is no plain file$"),
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
        "^manifest.json: positions are whole numbers from 0, below the log's size$",
    ),
    "other-person": (lambda e: e.manifest.update(person=BOB), "^entry 2: person is 'aaaa"),
    "other-controller": (lambda e: e.manifest.update(controller="other"), "^entry 2: controller is 'acme', wanted"),
    "other-origin": (lambda e: e.manifest.update(origin="o"), OTHER_LOG),
    "other-size": (lambda e: e.manifest.update(size=12), OTHER_LOG),
    "no-entries": (lambda e: e.manifest.update(entries=[]), "^manifest.json: no entry of person a{32} is shown"),
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
        (6, {"controller": "other"}, "^entry 6: given as context, but not about the controller$"),
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


@pytest.mark.parametrize(("raw", "message"), JSON_OF_TWO_READINGS.values(), ids=JSON_OF_TWO_READINGS)
def test_json_that_two_readers_could_read_differently_is_refused(raw, message):
    evidence = Evidence()
    evidence.files["manifest.json"] = raw
    refused(evidence.zipped(), f"^manifest.json: .*{message}")
    log = Log()
    log.raw[5] = raw
    refused(Evidence(log).zipped(), f"^entry 5: .*{message}")
