"""Evidence zips: one that holds, and each way to damage one, by name."""

from __future__ import annotations

import ast
import itertools
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Cli
from evidence_zip import (
    ANN,
    BOB,
    CARL,
    JSON_OF_TWO_READINGS,
    KEYS,
    OTHER,
    PACK,
    SIGNER,
    TEXT,
    WORDING,
    Evidence,
    Log,
    digest,
    flipped,
    linked_log,
    opened,
    plain_log,
    refused,
    verified,
)

from consent_ledger.ledger.log import verifier
from consent_ledger.ledger.log.checkpoint import Signer, cosign, format_checkpoint
from consent_ledger.ledger.log.verifier import encode_base64, format_tlog_proof, leaf_hash, parse_vkey, verify_evidence

NOT_SHOWN = (
    "not shown by this file: whether a version 5 exists, a version 4 about the controller; "
    "whether an entry under another name joins that name with this person"
)
GOLDEN = Path(__file__).parent / "golden"
WITNESSES = [Signer(bytes([n]) * 32, f"witness.example/w{n}") for n in (3, 4)]


def test_whole_evidence_holds_and_the_report_says_what_was_checked():
    report = verified(Evidence())
    assert (report.format, report.origin, report.size) == ("consent-ledger/evidence/v2", "example.com/ledger", 11)
    assert (report.person, report.controller, report.entries, report.context) == (ANN, "acme", 4, 3)
    assert report.fields == ((4, "email"),)
    assert [sha256 for sha256, *_ in report.documents] == sorted(map(digest, (PACK, TEXT, WORDING)))
    empty = ("joined", "withheld", "unbound", "elsewhere", "left_out", "absent", "witnesses")
    assert [name for name in empty if getattr(report, name)] == []


def test_evidence_that_was_written_once_holds_for_ever():
    key = parse_vkey((GOLDEN / "evidence-2.vkey").read_text().strip())
    report = verify_evidence(GOLDEN / "evidence-2.zip", [key])
    assert (report.entries, [entries for _, entries in report.joined], report.withheld) == (4, [1], (4,))
    assert (report.context, report.left_out, len(report.documents), report.absent) == (3, (), 2, ())
    assert [entries for _, entries, _ in report.elsewhere] == [0]
    assert report.timeline[1].fields == (("email", "zoë@example.com"),)


def test_the_report_is_this():
    text = str(verified(Evidence())).replace(ANN, "ANN")
    named = {digest(PACK): "PACK", digest(TEXT): "TEXT", digest(WORDING): "WORDING"}
    for sha256, name in named.items():
        text = text.replace(sha256, name)
    documents = [f"document {named[one]}: text/plain" for one in sorted(named)]
    assert [line.rpartition(", ")[0] for line in text.splitlines() if line.startswith("document")] == documents
    told = [line for line in text.splitlines() if not line.startswith("document")]
    assert told == [
        "holds: 4 entries of person ANN, versions 1 to 4",
        "controller: 'acme', entries about it: 3, versions 1 to 3",
        "personal fields opened: 1 ('email' of entry 4)",
        "log: example.com/ledger, size 11, witnesses: none asked for",
        "timeline:",
        "   0  2026-01-01T00:00:00Z  recorded 2026-01-02T00:00:00Z  policy.published (controller)",
        "   2  2026-01-01T00:00:02Z  recorded 2026-01-02T00:00:00Z  service.used",
        "   4  2026-01-01T00:00:04Z  recorded 2026-01-02T00:00:00Z  consent.granted",
        '        email: "ann@example.com"',
        "   5  2026-01-01T00:00:05Z  recorded 2026-01-02T00:00:00Z  consent.withdrawn",
        "   6  2026-01-01T00:00:06Z  recorded 2026-01-02T00:00:00Z  recipient.registered (controller)",
        "   8  2026-01-01T00:00:08Z  recorded 2026-01-02T00:00:00Z  service.used",
        "   9  2026-01-01T00:00:09Z  recorded 2026-01-02T00:00:00Z  intake.refused (controller)",
        NOT_SHOWN,
    ]


def test_evidence_may_be_stored_uncompressed_read_from_a_path_and_met_with_several_keys(tmp_path):
    path = tmp_path / "evidence.zip"
    path.write_bytes(Evidence().zipped(zipfile.ZIP_STORED))
    assert verify_evidence(path, KEYS) == verify_evidence(str(path), [parse_vkey(OTHER.vkey), *KEYS])


def test_dropping_the_last_versions_is_not_seen_and_the_report_says_so():
    evidence = Evidence()
    evidence.drop(8)
    evidence.drop(9)
    said = str(verified(evidence))
    assert "not shown by this file: whether a version 4 exists, a version 3 about the controller;" in said


def test_witnesses_must_have_cosigned():
    log = plain_log()
    text = log.checkpoint().partition("\n\n")[0] + "\n"
    note = log.checkpoint() + cosign(text, 1_767_225_600, WITNESSES[0])
    both = note + cosign(text, 1_767_225_601, WITNESSES[1])
    keys = [parse_vkey(one.witness_vkey) for one in WITNESSES]
    assert verified(Evidence(note=both), KEYS, keys).witnesses == tuple(k.name for k in keys)
    assert verified(Evidence(note=both)).witnesses == ()
    lacking = "^checkpoint: the witness 'witness.example/w4' .* did not cosign it"
    refused(Evidence(note=note).zipped(), lacking, KEYS, keys)
    other_text = note + cosign(format_checkpoint("example.com/ledger", 11, bytes(32)), 1, WITNESSES[1])
    refused(Evidence(note=other_text).zipped(), "^checkpoint: .*'witness.example/w4' .* does not fit", KEYS, keys)


def test_wrong_key():
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [parse_vkey(OTHER.vkey)])
    same_name = Signer(b"\x09" * 32, "example.com/ledger")
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [parse_vkey(same_name.vkey)])
    refused(Evidence().zipped(), "^checkpoint: none of the given keys signed it", [])


# -- damage ------------------------------------------------------------------------------------------------------------


def field(e, **changes):
    e.manifest["fields"][0].update(changes)


def swap(where, one, other):
    where[one], where[other] = where[other], where[one]


def put(where, key, value):
    where[key] = value


def replace(where, key, old, new):
    assert old in where[key]
    where[key] = where[key].replace(old, new)


def listed(e, position, raw=None, proof=None):
    """One more entry, given as one about the controller."""
    e.manifest["context"]["positions"].append(position)
    e.add(position, raw, proof)


def row(e, name, **changes):
    e.manifest[name][0].update(changes)


def bundle(e, name, change):
    e.files[name] = change(dict(e.members())[name])


IN_5 = r"^entry 5 \(entries/0.ndjson with proofs/0.tlog-proofs\): "
NOT_IN_TREE = IN_5 + ".* does not lead to the root of size 11$"
OTHER_LOG = "^manifest.json: origin and size are not the checkpoint's 'example.com/ledger', 1[01]$"
FORK = plain_log().edit(1, forged=True)
ENTRIES, PROOFS = "entries/0.ndjson", "proofs/0.tlog-proofs"
POSITIONS = "^manifest.json: positions are whole numbers from 0, below the log's size$"
PAIRS = "^manifest.json: left_out is pairs of versions"
PERSONS = "^manifest.json: streams and elsewhere name each person once, 'person' first$"

# Name of the damage: what does it to whole evidence, and the words by which it must be refused.
DAMAGES = {
    "one-bit-entry": (lambda e: put(e.entries, 5, flipped(e.entries[5], -3)), NOT_IN_TREE),
    "one-bit-proof": (lambda e: put(e.proofs, 5, flipped(e.proofs[5], 40)), NOT_IN_TREE),
    "dropped-entry": (lambda e: e.drop(4), "^entry 5: version is 3, wanted 2$"),
    "dropped-first": (lambda e: e.drop(2), "^entry 4: version is 2, wanted 1$"),
    "swapped-positions": (lambda e: swap(e.positions(), 1, 2), "^entry 5: version is 3, wanted 2$"),
    "swapped-entries": (lambda e: swap(e.entries, 4, 5), "^entry 4 .*does not lead to the root"),
    "swapped-proofs": (lambda e: swap(e.proofs, 4, 5), "^entry 4 .*its proof is for position 5$"),
    "swapped-with-anothers": (lambda e: put(e.entries, 5, e.log.raw[3]), NOT_IN_TREE),
    "anothers-entry-among-hers": (
        lambda e: (put(e.positions(), 1, 3), e.drop(4), e.add(3), put(e.positions(), slice(None), [2, 3, 5, 8])),
        "^entry 3: person is 'bbbb.*, wanted 'aaaa",
    ),
    "altered-field": (lambda e: field(e, value="eve@example.com"), "^field 'email' of entry 4: value and salt are not"),
    "altered-salt": (lambda e: field(e, salt=encode_base64(b"t" * 32)), "^field 'email' of entry 4: value and salt"),
    "salt-not-base64": (lambda e: field(e, salt="c2F\nsdA=="), "^field 'email' of entry 4: "),
    "salt-with-stray-bits": (lambda e: field(e, salt="c2FsdB=="), "^field 'email' of entry 4: base64 with stray bits"),
    "value-without-utf-8": (lambda e: field(e, value="\ud800"), "^field 'email' of entry 4: "),
    "name-of-another-field": (lambda e: field(e, name="full_name"), "^field 'full_name' of entry 4: value and salt"),
    "field-not-in-entry": (lambda e: field(e, name="telephone"), "^field 'telephone' of entry 4: value and salt"),
    "field-of-another-entry": (lambda e: field(e, position=5), "^field 'email' of entry 5: value and salt"),
    "field-of-the-controller": (lambda e: field(e, position=0), "^field 'email' of entry 0: value and salt"),
    "field-of-unlisted-entry": (lambda e: field(e, position=7), "^field 'email' of entry 7: that entry is not in"),
    "field-position-true": (lambda e: field(e, position=True), "^manifest.json: a row of fields: wants exactly"),
    "field-opened-twice": (lambda e: e.manifest["fields"].append(opened(4)), "^manifest.json: .* twice$"),
    "other-logs-checkpoint": (
        lambda e: put(e.files, "checkpoint", e.log.checkpoint(OTHER).encode()),
        "^checkpoint: none of the given keys signed it, but 'other.example/ledger'",
    ),
    "another-sizes-checkpoint": (lambda e: put(e.files, "checkpoint", e.log.checkpoint(size=10).encode()), OTHER_LOG),
    "another-trees-checkpoint": (
        lambda e: put(e.files, "checkpoint", FORK.checkpoint().encode()),
        f"^file '{PROOFS}': is not 7 proofs that end in the file 'checkpoint'$",
    ),
    "another-trees-proof": (lambda e: put(e.proofs, 5, FORK.proof(5)), f"^file '{PROOFS}': is not 7 proofs"),
    "checkpoint-not-utf-8": (lambda e: put(e.files, "checkpoint", b"\xff"), "^checkpoint: "),
    "proof-for-another-size": (
        lambda e: put(e.proofs, 5, e.log.proof(5, 8, e.note)),
        IN_5 + "wants a proof of 4 hashes, ",
    ),
    "proof-of-an-unlisted-entry": (
        lambda e: e.proofs.update({5: e.log.proof(3, note=e.note)}),
        "proof is for position 3$",
    ),
    "extra-line-in-proof": (lambda e: replace(e.proofs, 5, b"index", b"extra aGk=\nindex"), IN_5 + ".*extra line"),
    "proof-not-utf-8": (lambda e: replace(e.proofs, 5, b"index", b"\xff"), IN_5),
    "bytes-before-the-proofs": (lambda e: bundle(e, PROOFS, lambda raw: b"hi" + raw), "^entry 0 .*wants c2sp"),
    "bytes-after-the-proofs": (lambda e: bundle(e, PROOFS, lambda raw: raw + b"hi"), f"^file '{PROOFS}': is not 7 "),
    "one-proof-more": (lambda e: bundle(e, PROOFS, lambda raw: raw + e.proofs[5]), f"^file '{PROOFS}': is not 7 "),
    "one-entry-more": (
        lambda e: bundle(e, ENTRIES, lambda raw: raw + b"{}\n"),
        f"^file '{ENTRIES}': has 8 whole lines",
    ),
    "bytes-after-the-entries": (
        lambda e: bundle(e, ENTRIES, lambda raw: raw + b"{}"),
        f"^file '{ENTRIES}': has 7 whole",
    ),
    "carriage-return": (lambda e: bundle(e, ENTRIES, lambda raw: raw.replace(b"\n", b"\r\n")), "^entry 0 .*the root"),
    "entry-too-long": (lambda e: put(e.entries, 5, b" " * 65_536), "^entry 5: 65536 bytes, the limit is 65535$"),
    "extra-file": (lambda e: put(e.files, "notes.txt", b"hi"), "^file 'notes.txt': not in the manifest$"),
    "extra-bundle": (lambda e: put(e.files, "entries/1.ndjson", b""), "^file 'entries/1.ndjson': not in the"),
    "traversal": (lambda e: put(e.files, "../../tmp/pwn", b""), "^file '../../tmp/pwn': not in the manifest$"),
    "missing-entries": (lambda e: put(e.files, ENTRIES, None), f"^file '{ENTRIES}': missing from the zip$"),
    "missing-checkpoint": (lambda e: put(e.files, "checkpoint", None), "^file 'checkpoint': missing from the zip$"),
    "missing-manifest": (lambda e: put(e.files, "manifest.json", None), "^file 'manifest.json': missing from the zip$"),
    "other-order": (lambda e: e.first.append("checkpoint"), "^file 'checkpoint': stands where 'manifest.json' has its"),
    "documents-first": (
        lambda e: e.first.append(f"documents/{digest(PACK)}"),
        f"^file 'documents/{digest(PACK)}': stands where 'manifest.json' has its place$",
    ),
    "listed-twice": (lambda e: e.positions().append(8), "^manifest.json: entry 8 is listed twice$"),
    "listed-as-both": (
        lambda e: e.manifest["context"]["positions"].append(8),
        "^manifest.json: entry 8 is listed twice$",
    ),
    "position-true": (lambda e: e.positions().append(True), POSITIONS),
    "position-negative": (lambda e: e.positions().append(-1), POSITIONS),
    "position-beyond": (lambda e: e.positions().append(11), POSITIONS),
    "position-enormous": (lambda e: e.positions().append(10**4000), POSITIONS),
    "beyond-the-tree": (
        lambda e: (row_size(e, 12), listed(e, 11, b"{}", format_tlog_proof(11, [], e.note).encode())),
        OTHER_LOG,
    ),
    "anothers-entry-as-context": (lambda e: listed(e, 3), "^entry 3: given as context, but not about the controller$"),
    "context-in-the-chain": (
        lambda e: e.positions().append(e.manifest["context"]["positions"].pop()),
        "^entry 9: person is None, wanted 'aaaa",
    ),
    "context-dropped": (lambda e: e.drop(6), "^entry 9: version is 3, wanted 2$"),
    "context-dropped-first": (lambda e: e.drop(0), "^entry 6: version is 2, wanted 1$"),
    "context-shuffled": (lambda e: swap(e.manifest["context"]["positions"], 0, 1), "^entry 6: version is 2, wanted 1$"),
    "left-out-and-shown": (
        lambda e: put(e.manifest["context"], "left_out", [[2, 2]]),
        "^entry 6: version is 2, wanted 3$",
    ),
    "left-out-beyond": (
        lambda e: put(e.manifest["context"], "left_out", [[5, 6]]),
        "^manifest.json: left_out names versions about the controller with none shown after them$",
    ),
    "left-out-backwards": (lambda e: put(e.manifest["context"], "left_out", [[3, 2]]), PAIRS),
    "left-out-touching": (lambda e: put(e.manifest["context"], "left_out", [[2, 2], [3, 3]]), PAIRS),
    "left-out-no-pair": (lambda e: put(e.manifest["context"], "left_out", [[2]]), PAIRS),
    "left-out-before-the-first": (lambda e: put(e.manifest["context"], "left_out", [[0, 0]]), PAIRS),
    "other-person": (
        lambda e: (e.manifest.update(person=BOB), put(e.manifest["streams"][0], "person", BOB)),
        "^entry 2: person is 'aaaa",
    ),
    "person-of-no-stream": (lambda e: e.manifest.update(person=BOB), PERSONS),
    "no-streams": (lambda e: e.manifest.update(streams=[]), PERSONS),
    "same-stream-twice": (
        lambda e: e.manifest["streams"].append(dict(e.manifest["streams"][0], positions=[])),
        PERSONS,
    ),
    "empty-stream": (
        lambda e: e.manifest["streams"].append({"person": BOB, "positions": []}),
        "^manifest.json: no entry of person b{32} is shown",
    ),
    "no-entries": (
        lambda e: [e.drop(position) for position in (2, 4, 5, 8)],
        "^manifest.json: no entry of person a{32} is shown: nothing is proved of them$",
    ),
    "strangers-stream": (
        lambda e: (e.manifest["streams"].append({"person": BOB, "positions": [1]}), e.add(1)),
        "^person b{32}: no entry shown joins this name with a{32}$",
    ),
    "elsewhere-nobody": (
        lambda e: e.manifest["elsewhere"].append({"person": BOB, "entries": 4}),
        "^manifest.json: elsewhere counts entries of person b{32}, whom no entry shown joins$",
    ),
    "other-controller": (lambda e: e.manifest.update(controller="other"), "^entry 2: controller is 'acme', wanted"),
    "other-origin": (lambda e: e.manifest.update(origin="o"), OTHER_LOG),
    "other-size": (lambda e: e.manifest.update(size=12), OTHER_LOG),
    "size-a-string": (lambda e: e.manifest.update(size="11"), r"^manifest.json: wants exactly the keys .*size \(int\)"),
    "person-not-hex": (
        lambda e: put(e.manifest["streams"][0], "person", "A" * 32),
        "^manifest.json: wants a person of 32 hex digits",
    ),
    "unknown-key": (lambda e: e.manifest.update(verdict="fine"), "^manifest.json: wants exactly the keys format "),
    "missing-key": (lambda e: e.manifest.pop("withheld"), "^manifest.json: wants exactly the keys format "),
    "unknown-inner-key": (lambda e: put(e.manifest["context"], "note", 1), "^manifest.json: context: wants exactly"),
    "row-no-object": (lambda e: e.manifest["streams"].append(5), "^manifest.json: a row of streams: wants"),
    "other-format": (lambda e: e.manifest.update(format="v2"), "^manifest.json: format is 'v2', this program knows"),
    "given-as-version-1": (
        lambda e: e.manifest.update(format="consent-ledger/evidence/v1"),
        "^manifest.json: wants exactly the keys format ",
    ),
    "document-altered": (
        lambda e: put(e.documents, digest(TEXT), b"Our statemenT\n"),
        f"^file 'documents/{digest(TEXT)}': its bytes are not those of its name",
    ),
    "documents-swapped": (
        lambda e: swap(e.documents, digest(PACK), digest(TEXT)),
        "^file 'documents/[0-9a-f]{64}': its bytes are not",
    ),
    "document-nobody-names": (
        lambda e: e.document(b"This person agreed to everything"),
        f"^file 'documents/{digest(b'This person agreed to everything')}': no entry shown names it$",
    ),
    "document-of-another-length": (lambda e: row(e, "documents", bytes=9), "^file 'documents/.*or another number$"),
    "document-dropped": (
        lambda e: e.documents.pop(digest(TEXT)),
        f"^file 'documents/{digest(TEXT)}': missing from the zip$",
    ),
    "document-unlisted": (
        lambda e: e.manifest["documents"].pop(0),
        "^file 'documents/[0-9a-f]{64}': not in the manifest$",
    ),
    "documents-in-another-order": (
        lambda e: e.manifest["documents"].reverse(),
        "^manifest.json: documents have .* ascend",
    ),
    "document-name-upper-case": (
        lambda e: row(e, "documents", sha256="A" * 64),
        "^manifest.json: documents have a SHA",
    ),
    "media-type-of-several-lines": (
        lambda e: row(e, "documents", media_type="a/b\n"),
        "^manifest.json: document .*media",
    ),
    "media-type-of-escapes": (
        lambda e: row(e, "documents", media_type="\x1b[2J/b"),
        "^manifest.json: document .*media",
    ),
    "pack-dropped": (
        lambda e: (
            e.documents.pop(digest(PACK)),
            e.manifest.update(documents=[one for one in e.manifest["documents"] if one["sha256"] != digest(PACK)]),
        ),
        f"^entry 0: the pack '{digest(PACK)}' that it names is missing from the zip$",
    ),
}


def row_size(e, size):
    e.manifest["size"] = size


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_evidence_is_refused(damage):
    evidence = Evidence()
    change, message = DAMAGES[damage]
    change(evidence)
    refused(evidence.zipped(), message)


def test_both_programs_refuse_it_with_the_same_line(tmp_path, capsys):
    file = tmp_path / "evidence.zip"
    for damage, (change, _) in DAMAGES.items():
        evidence = Evidence()
        change(evidence)
        file.write_bytes(evidence.zipped())
        assert verifier.main([str(file), "--key", SIGNER.vkey]) == 1, damage
        alone = capsys.readouterr()
        assert (alone.out, alone.err.count("\n")) == ("", 1)
        assert f"{file}: {alone.err.strip()}" == Cli(None).fails("verify", file, "--key", SIGNER.vkey, code=1)


def test_a_text_that_was_not_stored_is_said():
    evidence = Evidence()
    evidence.documents.pop(digest(TEXT))
    evidence.manifest["documents"] = [one for one in evidence.manifest["documents"] if one["sha256"] != digest(TEXT)]
    report = verified(evidence)
    assert report.absent == ((digest(TEXT), 0),)
    assert f"document {digest(TEXT)}: named by entry 0, its bytes were not stored or are not in this file" in str(
        report
    )


def test_what_is_left_out_about_the_controller_is_many_and_counted(monkeypatch):
    evidence = Evidence()
    evidence.drop(6)
    evidence.manifest["context"]["left_out"] = [[2, 2]]
    few = "^manifest.json: 1 versions about the controller are left out, version 2 first: fewer than 1000 have to be "
    refused(evidence.zipped(), few)
    monkeypatch.setattr(verifier, "LEAST_LEFT_OUT", 1)
    evidence = Evidence()
    evidence.drop(6)
    evidence.manifest["context"]["left_out"] = [[2, 2]]
    report = verified(evidence)
    assert (report.context, report.left_out) == (2, ((2, 2),))
    assert "entries about it: 2, versions 1 to 3; 1 of them not in this file (version 2)\n" in str(report)
    evidence.drop(9)
    evidence.manifest["context"]["left_out"] = [[2, 3]]
    refused(
        evidence.zipped(), "^manifest.json: left_out names versions about the controller with none shown after them$"
    )


def test_a_long_history_is_in_several_files(monkeypatch):
    monkeypatch.setattr(verifier, "BUNDLE", 3)
    evidence = Evidence()
    assert [name for name, _ in evidence.members()][2:8:2] == [
        "entries/0.ndjson",
        "entries/1.ndjson",
        "entries/2.ndjson",
    ]
    assert verified(evidence) == verified(evidence.withhold())
    assert verified(evidence.withhold(5)).withheld == (5,)
    members = dict(evidence.members())
    evidence.files = {"entries/0.ndjson": members["entries/1.ndjson"], "entries/1.ndjson": members["entries/0.ndjson"]}
    refused(evidence.zipped(), "^file 'entries/0.ndjson': has 2 whole lines, the manifest shows 3 entries$")


# -- damage that the log itself has, and signed: what a dishonest ledger would write -----------------------------------


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
        (6, {"controller": "other", "stream": "controller:other"}, "^entry 6: controller is 'other', wanted 'acme'$"),
        (6, {"person": None}, "^entry 6: given as context, but not about the controller$"),
        (6, {"stream": None}, "^entry 6: given as context, but not about the controller$"),
        (6, {"version": 1}, "^entry 6: version is 1, wanted 2$"),
        (9, {"prev": encode_base64(bytes(32))}, "^entry 9: prev is 'AAAA.*, wanted '"),
        (4, {"personal": ["email"]}, "^field 'email' of entry 4: value and salt"),
    ],
)
def test_a_log_that_was_written_wrong_is_refused(position, changes, message):
    log = plain_log().edit(position, **changes)
    if position == 4:  # the next entry names its hash
        log.edit(5, prev=encode_base64(leaf_hash(log.raw[4]))).edit(8, prev=encode_base64(leaf_hash(log.raw[5])))
    evidence = Evidence(plain_log())
    evidence.log, evidence.note = log, log.checkpoint()
    for one in evidence.entries:
        evidence.add(one)
    evidence.manifest["fields"] = [opened(4)]
    evidence.document(PACK)
    refused(evidence.zipped(), message)


@pytest.mark.parametrize("stream", ["streams", "context"])
def test_versions_in_another_order_than_the_log_are_refused(stream):
    log = Log()  # given a chain that is whole, but whose version 1 stands in the log behind its version 2
    who = ANN if stream == "streams" else "acme"
    log.write(BOB if stream == "context" else "acme")
    log.write(ANN)
    first, second = log.write(who), log.write(who)
    swap(log.raw, first, second)
    evidence = Evidence(log)
    where = evidence.positions() if stream == "streams" else evidence.manifest["context"]["positions"]
    swap(where, -1, -2)
    refused(evidence.zipped(), "^entry 2: listed after entry 3, out of the log's order$")


@pytest.mark.parametrize(("raw", "message"), JSON_OF_TWO_READINGS.values(), ids=JSON_OF_TWO_READINGS)
def test_json_that_two_readers_could_read_differently_is_refused(raw, message):
    evidence = Evidence()
    evidence.files["manifest.json"] = raw
    refused(evidence.zipped(), f"^manifest.json: .*{message}")
    log = plain_log()
    evidence = Evidence(log)
    log.raw[5] = raw
    evidence.note = log.checkpoint()
    for one in evidence.entries:
        evidence.add(one)
    refused(evidence.zipped(), f"^entry 5: .*{message}")


# -- joined names ------------------------------------------------------------------------------------------------------


def test_the_entries_of_joined_names_are_in_it():
    report = verified(Evidence(linked_log(), (ANN, BOB, CARL)))
    assert (report.entries, report.joined, report.elsewhere) == (3, ((BOB, 1), (CARL, 2)), ())
    said = str(report)
    assert f"joined with it: 2 entries of person {CARL}, versions 1 to 2\n" in said
    assert f" subject.linked ({CARL})\n" in said
    assert f"whether a version 4 exists, a version 2 of person {BOB}, a version 3 of person {CARL}, " in said


def test_a_name_that_an_entry_joins_is_in_it_or_counted():
    evidence = Evidence(linked_log(), (ANN, CARL))
    refused(evidence.zipped(), "^entry 3: joins person b{32}, whose entries are not here nor counted$")
    evidence.manifest["elsewhere"] = [{"person": BOB, "entries": 1}]
    report = verified(evidence)
    assert report.elsewhere == ((BOB, 1, 3),)
    assert f"not in this file: 1 (which is not proved) entries of person {BOB}, whom entry 3 joins\n" in str(report)


@pytest.mark.parametrize("entries", [-1, 9, 10**30])
def test_a_count_that_the_log_cannot_hold_is_refused(entries):
    evidence = Evidence(linked_log(), (ANN, CARL))
    evidence.manifest["elsewhere"] = [{"person": BOB, "entries": entries}]
    refused(evidence.zipped(), "^manifest.json: elsewhere counts fewer entries than none, or more than are in the log$")


def test_a_name_whose_own_entry_joins_it_is_bound_by_that():
    report = verified(Evidence(linked_log(), (CARL, ANN, BOB)))
    assert (report.person, report.joined) == (CARL, ((ANN, 3), (BOB, 1)))
    # Ann's own entries do not name Carl: that his may join him with her is what the last line says
    assert verified(Evidence(linked_log(), (ANN, BOB))).elsewhere == ()


def test_a_name_that_is_parted_is_nobody_elses():
    log = linked_log()
    log.write(BOB, "subject.unlinked", {"other": ANN})
    refused(Evidence(log, (ANN, BOB, CARL)).zipped(), "^person b{32}: no entry shown joins this name with a{32}$")
    evidence = Evidence(log, (ANN, CARL))
    evidence.manifest["elsewhere"] = [{"person": BOB, "entries": 2}]
    assert verified(evidence).elsewhere == ((BOB, 2, 3),)


@pytest.mark.parametrize("told", ["2025-12-31T00:00:00Z", "2026-06-01T00:00:00.5Z"])
def test_names_are_parted_at_the_time_that_it_was_told_of(told):
    log = linked_log()
    log.write(BOB, "subject.unlinked", {"other": ANN}, time=told)
    evidence = Evidence(log, (ANN, BOB, CARL))
    if told < "2026":  # before they were joined: they still are
        assert verified(evidence).joined[0] == (BOB, 2)
    else:
        refused(evidence.zipped(), "^person b{32}: no entry shown joins")


def test_what_a_processor_tells_joins_nobody():
    log = linked_log().edit(3, role="processor")
    log.edit(5, prev=encode_base64(leaf_hash(log.raw[3])))
    refused(Evidence(log, (ANN, BOB, CARL)).zipped(), "^person b{32}: no entry shown joins this name with a{32}$")
    assert verified(Evidence(log, (ANN, CARL))).elsewhere == ()


def test_fields_of_joined_names_are_not_exchanged():
    evidence = Evidence(linked_log(), (ANN, BOB, CARL))
    evidence.manifest["fields"] = [opened(1), opened(2)]
    assert verified(evidence).fields == ((1, "email"), (2, "email"))
    evidence.manifest["fields"] = [opened(4)]
    refused(evidence.zipped(), "^field 'email' of entry 4: value and salt are not what the entry commits to$")


# -- entries withheld --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positions", "unbound"),
    [((5,), ()), ((2,), ()), ((8,), (8,)), ((2, 4), (2,)), ((2, 5, 8), (5, 8)), ((4, 5, 8), (4, 5, 8))],
)
def test_a_withheld_entry_counts_as_a_version(positions, unbound):
    evidence = Evidence().withhold(*positions)
    if 4 in positions:
        evidence.documents.pop(digest(WORDING))
        kept = [one for one in evidence.manifest["documents"] if one["sha256"] != digest(WORDING)]
        evidence.manifest["documents"] = kept
    report = verified(evidence)
    shown = max(n for n, one in enumerate((2, 4, 5, 8), 1) if one not in positions)  # what follows is nobody's
    assert (report.entries, report.withheld, report.unbound) == (shown, positions, unbound)
    listing = ", entry ".join(map(str, positions))
    said = str(report)
    assert f"\nwithheld, only the hash is shown: {len(positions)} of these (entry {listing})\n" in said
    assert (f"is about this person; whether a version {shown + 1} exists" in said) == bool(unbound)
    assert said.count("  withheld, only its hash is shown\n") == len(positions) - len(unbound)
    assert said.count("  withheld, only its hash is shown, and not whose it is\n") == len(unbound)
    assert "withheld" not in str(verified(Evidence()))


def test_nothing_is_proved_where_no_entry_is_shown():
    evidence = Evidence(plain_log()).withhold(2, 4, 5, 8)
    evidence.document(PACK)
    refused(evidence.zipped(), "^manifest.json: no entry of person a{32} is shown: nothing is proved of them$")
    joined = Evidence(linked_log(), (ANN, BOB, CARL)).withhold(2)
    refused(joined.zipped(), "^manifest.json: no entry of person b{32} is shown")


WITHHELD_DAMAGES = {
    "one-bit-hash": (
        lambda e: row(e, "withheld", leaf=encode_base64(flipped(leaf_hash(e.log.raw[5]), 3))),
        r"^entry 5 \(its hash with proofs/0.tlog-proofs\): .* does not lead to the root of size 11$",
    ),
    "hash-of-another-entry": (
        lambda e: row(e, "withheld", leaf=encode_base64(leaf_hash(e.log.raw[4]))),
        "^entry 5 .*root",
    ),
    "hash-too-short": (lambda e: row(e, "withheld", leaf=encode_base64(bytes(31))), "^entry 5 .*a hash has 32 bytes"),
    "hash-not-base64": (lambda e: row(e, "withheld", leaf="nothing!"), "^entry 5 .*base64"),
    "hash-a-number": (lambda e: row(e, "withheld", leaf=5), "^manifest.json: a row of withheld: wants exactly"),
    "shown-too": (lambda e: e.add(5), f"^file '{ENTRIES}': has 7 whole lines, the manifest shows 6 entries$"),
    "not-listed": (lambda e: row(e, "withheld", position=3), "^manifest.json: withheld names 3, which is no entry"),
    "twice": (
        lambda e: e.manifest["withheld"].append(dict(e.manifest["withheld"][0])),
        "^manifest.json: withheld: 5 follows 5, wanted in ascending order$",
    ),
    "about-the-controller": (lambda e: e.withhold(6), "^manifest.json: withheld names 6, which is no entry of the"),
    "missing-proof": (lambda e: put(e.proofs, 5, b""), f"^file '{PROOFS}': is not 7 proofs"),
    "left-out": (lambda e: (e.drop(5), e.manifest.update(withheld=[])), "^entry 8: version is 4, wanted 3$"),
    "field-opened": (lambda e: field(e, position=5), "^field 'email' of entry 5: that entry is withheld$"),
    "out-of-order": (lambda e: swap(e.positions(), 2, 3), "^entry 8: version is 4, wanted 3$"),
    "behind-a-later-one": (
        lambda e: (e.withhold(8), swap(e.positions(), 2, 3)),
        "^entry 5: listed after entry 8, out of the log's order$",
    ),
    "somebody-elses-in-place-of-hers": (
        lambda e: (e.drop(5), e.manifest.update(withheld=[]), e.add(7), e.positions().insert(2, 7), e.withhold(7)),
        "^entry 8: prev is '.*, wanted '",
    ),
}


@pytest.mark.parametrize("damage", WITHHELD_DAMAGES)
def test_damage_to_a_withheld_entry_is_named(damage):
    evidence = Evidence().withhold(5)
    change, message = WITHHELD_DAMAGES[damage]
    change(evidence)
    refused(evidence.zipped(), message)


# -- every bit, every value --------------------------------------------------------------------------------------------


def test_one_bit_changed_anywhere_is_refused_or_changes_nothing():
    whole = Evidence(linked_log(), (ANN, BOB, CARL)).withhold(5)
    whole.manifest["fields"] = [opened(1), opened(2)]
    raw, report = whole.zipped(), verified(whole)
    unseen = 0
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :]
        try:
            assert verify_evidence(changed, KEYS) == report
            unseen += 1
        except verifier.EvidenceError:
            continue
    # what is nobody's: by which system it was zipped, the rights of each file, bits that pad what is deflated
    assert unseen < 16 * len(whole.members())


def leaves(value, path=()):
    """Every value in the JSON, and the way to it."""
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from leaves(one, (*path, key))


def altered(manifest):
    """The manifest with one value changed, taken out, given twice or exchanged with the next; what was done."""
    other = {
        str: ["", "x", ANN, BOB, CARL],
        int: [0, 1, 2, 5, 7, 8, -1],
        bool: [],
        list: [[], [0], [[1, 1]]],
        dict: [{}],
    }
    for path, value in list(leaves(manifest))[1:]:
        for change in [*other[type(value)], None, True, "taken out", "twice", "exchanged"]:
            copy = json.loads(json.dumps(manifest))
            *way, last = path
            where = copy
            for key in way:
                where = where[key]
            if change == "taken out":
                del where[last]
            elif change in ("twice", "exchanged") and not isinstance(where, list):
                continue
            elif change == "twice":
                where.insert(last, where[last])
            elif change == "exchanged" and last + 1 < len(where):
                where[last], where[last + 1] = where[last + 1], where[last]
            else:
                where[last] = change
            if copy != manifest:
                yield path, change, copy


def test_a_manifest_that_says_anything_else_is_refused_but_for_what_the_report_does_not_take_for_proved():
    log = linked_log()
    log.write(ANN, "subject.linked", {"other": "e" * 32})
    whole = Evidence(log, (ANN, BOB, CARL)).withhold(5)
    whole.manifest["fields"] = [opened(1), opened(2)]
    whole.manifest["elsewhere"] = [{"person": "e" * 32, "entries": 2}]
    given, report, tried = whole.manifest, verified(whole), 0
    for path, change, manifest in altered(given):
        whole.manifest = manifest
        tried += 1
        try:
            found = verified(whole)
        except verifier.EvidenceError as error:
            assert "\n" not in verifier.one_line(error)  # noqa: PT017  some changes hold
            continue
        same = {
            name: getattr(found, name) for name in ("person", "entries", "joined", "withheld", "context", "left_out")
        }
        assert same == {name: getattr(report, name) for name in same}, (path, change)
        # a field may be left closed, and the number of entries elsewhere is nobody's proof
        assert path[0] == "elsewhere" or (path[0] == "fields" and change in ("taken out", [])), (path, change)
    assert tried > 300


def runs(versions):
    """Pairs of first and last."""
    found = []
    for one in versions:
        if found and found[-1][1] == one - 1:
            found[-1][1] = one
        else:
            found.append([one, one])
    return found


def proved(fates):
    """Those up to the last that is shown."""
    return fates[: max((n for n, one in enumerate(fates, 1) if one == "shown"), default=0)]


def test_whatever_a_forger_leaves_out_is_refused_or_counted_but_for_the_end(monkeypatch):
    monkeypatch.setattr(verifier, "LEAST_LEFT_OUT", 1)
    log = Log()
    about = [log.write("acme", "recipient.registered") for _ in range(3)]
    hers = [log.write(ANN) for _ in range(4)]
    for fates in itertools.product(("shown", "hidden", "dropped"), repeat=7):
        evidence = Evidence(log)
        of_acme, of_ann = fates[:3], fates[3:]
        for position, fate in zip(about + hers, fates, strict=True):
            if fate == "dropped" or (fate == "hidden" and position in about):
                evidence.drop(position)
            elif fate == "hidden":
                evidence.withhold(position)
        evidence.manifest["context"]["left_out"] = runs([n for n, fate in enumerate(of_acme, 1) if fate == "hidden"])
        holds = "shown" in of_ann and "dropped" not in proved(of_acme) + proved(of_ann)
        if not holds or "hidden" in of_acme[len(proved(of_acme)) :]:
            refused(evidence.zipped(), "^(entry|manifest.json)")
            continue
        report = verified(evidence)
        assert report.withheld == tuple(one for one, fate in zip(hers, of_ann, strict=True) if fate == "hidden")
        assert sum(last - first + 1 for first, last in report.left_out) == of_acme.count("hidden")
        assert (report.entries, report.context) == (len(proved(of_ann)), of_acme.count("shown"))
        end = 4 - of_acme.count("dropped")
        assert f"whether a version {report.entries + 1} exists, a version {end} about the controller;" in str(report)


# -- as a program ------------------------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    """Copy verifier.py out of the tree, as it is shipped; returns what runs it, isolated."""
    copy = shutil.copy(verifier.__file__, tmp_path / "verify.py")

    def run(*arguments, **environment):
        command = [sys.executable, "-I", copy, *map(str, arguments)]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=environment or None)
        return subprocess.CompletedProcess(command, ran.returncode, ran.stdout.decode(), ran.stderr.decode())

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
    assert json.loads(script(whole, *key, "--json").stdout)["fields"] == [[4, "email"]]
    assert json.loads(Cli(None)("verify", whole, *key, "--json").stdout)["entries"] == 4
    asked = ["--witness", witness]
    for arguments in ([damaged, *key], [whole, "--key", OTHER.vkey], [whole, *key, *asked]):
        done = script(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith("does not hold: ")
    misuses = (
        [], key, [whole], [whole, "--key", "x"], [whole, "--key", witness], [whole, *key, "--witness", key[1]],
        ["none", *key],
    )  # fmt: skip
    for arguments in misuses:
        done = script(*arguments)
        assert (done.returncode, done.stdout) == (2, "")


STEERING = {
    "escape": "\x1b[2J",
    "newline": "a\nholds: 9 entries",
    "carriage-return": "a\rholds",
    "delete": "\x7f",
    "c1": "\x9b31m",
    "right-to-left-override": "\u202etxt.exe",
    "isolate": "\u2066\u2069",
    "zero-width-space": "a\u200bb",
    "word-joiner": "a\u2060b",
    "byte-order-mark": "\ufeffa",
    "soft-hyphen": "a\u00adb",
    "line-separator": "a\u2028b",
    "no-break-space": "a\u00a0b",
    "tag": "a\U000e0041",
    "variation-selector": "a\ufe0f",
    "filler": "a\u3164b",
    "blank-braille": "a\u2800b",
    "grapheme-joiner": "a\u034fb",
    "private-use": "\ue000",
    "lone-surrogate": "\ud800",
}


def steering(text):
    """The characters in it that are not plainly shown, line ends aside."""
    return [one for one in text if one != "\n" and (not one.isprintable() or verifier._INVISIBLE.match(one))]


@pytest.mark.parametrize("kind", STEERING)
def test_no_string_in_evidence_steers_the_terminal(kind):
    text = STEERING[kind]
    assert steering(text) or kind == "newline"
    log = Log()
    log.write("acme", "recipient.registered")
    log.write(ANN, text, personal=None if kind == "lone-surrogate" else {text: text}, time=text, recorded_at=text)
    evidence = Evidence(log)
    if kind != "lone-surrogate":
        evidence.manifest["fields"] = [opened(1, text, text)]
    said = str(verified(evidence))
    assert steering(said) == []
    as_json = verified(evidence).json()
    assert steering(as_json) == []
    assert [json.loads(as_json)["timeline"][1][name] for name in ("type", "time", "recorded_at")] == [text] * 3
    assert len(said.splitlines()) == (8 if kind == "lone-surrogate" else 9)
    for change in (
        lambda e: e.manifest.update(controller=text),
        lambda e: e.manifest.update(format=text),
        lambda e: e.manifest.update(origin=text),
        lambda e: e.manifest["streams"][0].update(person=text),
        lambda e: e.manifest["fields"].append(opened(1, text, "other")),
        lambda e: e.manifest.update({text: 1}),
        lambda e: put(e.files, "checkpoint", e.note.replace("example.com/ledger", text).encode("utf-8", "replace")),
    ):
        evidence = Evidence(log)
        change(evidence)
        with pytest.raises(verifier.EvidenceError) as caught:
            verified(evidence)
        assert steering(verifier.one_line(caught.value)) == []
        assert "\n" not in verifier.one_line(caught.value)


def test_what_is_printable_is_shown_as_it_is_and_quotes_end_where_they_say():
    assert verifier.printable("Zoë Müller, 東京, Ελλάδα") == "Zoë Müller, 東京, Ελλάδα"
    assert verifier.quoted('a" b\\') == '"a\\" b\\\\"'


def test_what_a_stranger_wrote_does_not_steer_the_terminal(script, tmp_path):
    evidence = Evidence()
    evidence.manifest["controller"] = "\u202e\x1b[2J\n\u00e9"
    (tmp_path / "evidence.zip").write_bytes(evidence.zipped())
    key = ("evidence.zip", "--key", SIGNER.vkey)
    done = script(*key, PYTHONUTF8="1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "wanted '\\u202e\\x1b[2J\\n\u00e9'" in done.stderr
    done = script("evidence.zip", "--key", "x\x1b[2J\u202e")
    assert done.returncode == 2
    assert steering(done.stderr) == []
    assert len(verifier.one_line("x" * 10_000)) < 600


def test_a_stream_that_cannot_hold_a_character_gets_it_escaped():
    assert verifier.for_stream("Zoë 東", "ascii") == "Zo\\xeb \\u6771"
    assert verifier.for_stream("Zoë 東", "latin-1") == "Zoë \\u6771"
    assert verifier.for_stream("Zoë", None) == "Zo\\xeb"


def test_the_module_imports_nothing_but_the_standard_library_and_cryptography():
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "cryptography"}
