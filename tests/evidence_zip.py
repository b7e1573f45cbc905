"""Evidence of version 2 as a test builds and damages it: a small log, what is in a zip about it, and who refuses it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import pytest

from consent_ledger.ledger.log import verifier
from consent_ledger.ledger.log.checkpoint import Signer, format_checkpoint
from consent_ledger.ledger.log.merkle import inclusion_proof, root_at
from consent_ledger.ledger.log.verifier import (
    EvidenceError,
    commitment,
    encode_base64,
    format_tlog_proof,
    leaf_hash,
    parse_vkey,
    verify_evidence,
)

ANN, BOB, CARL = "a" * 32, "b" * 32, "c" * 32
SIGNER = Signer(b"\x01" * 32, "example.com/ledger")
OTHER = Signer(b"\x02" * 32, "other.example/ledger")
KEYS = [parse_vkey(SIGNER.vkey)]
EMAIL, SALT = "ann@example.com", b"s" * 32
JSON_OF_TWO_READINGS = {  # what is in a file, and what is said of it
    "duplicate-json-key": (b'{"person":"x","person":"y"}', "the key 'person' stands twice"),
    "duplicate-inner-key": (b'{"data":{"a":1,"a":1}}', "the key 'a' stands twice"),
    "nan": (b'{"a":NaN}', "NaN is no JSON"),
    "array": (b"[1]", "wants a JSON object"),
    "cut": (b"{", "Expecting property name"),
    "not-utf-8": (b'{"a":"\xff"}', "can't decode"),
    "deep": (b'{"a":' + b"[" * 60_000, "recursion"),
    "long-number": (b'{"a":' + b"1" * 5_000 + b"}", "digits"),
}
PACK, TEXT, WORDING = b"[pack]\n", b"Our statement\n", b"Yes, send me news\n"


def digest(raw):
    return hashlib.sha256(raw).hexdigest()


class Log:
    """A log: each entry follows the one before in its stream. `write` gives the position."""

    def __init__(self):
        self.raw = []
        self.tips = {}

    def write(self, who, type_name="service.used", data=None, personal=None, **more):
        """An entry about a person (32 hex digits), or else about a controller."""
        version, prev = self.tips.get(who, (0, None))
        person = len(who) == 32
        entry = {
            "v": 1,
            "type": type_name,
            "controller": "acme" if person else who,
            **({"person": who} if person else {"stream": f"controller:{who}"}),
            "version": version + 1,
            **({"prev": prev} if prev else {}),
            "time": f"2026-01-01T00:00:{len(self.raw):02}Z",
            "recorded_at": "2026-01-02T00:00:00Z",
            "data": data or {},
            **(
                {"personal": {k: encode_base64(commitment(SALT, k, v)) for k, v in personal.items()}}
                if personal
                else {}
            ),
            **more,
        }
        self.raw.append(json.dumps(entry, separators=(",", ":")).encode())
        self.tips[who] = (version + 1, encode_base64(leaf_hash(self.raw[-1])))
        return len(self.raw) - 1

    def edit(self, position, **changes):
        """The log as it would be if it had been written so: the damage is then authentic."""
        self.raw[position] = json.dumps(json.loads(self.raw[position]) | changes).encode()
        return self

    def of(self, who):
        """The positions of a stream."""
        bodies = [json.loads(raw) for raw in self.raw]
        return [
            n
            for n, one in enumerate(bodies)
            if who in (one.get("person"), one["stream"][11:] if "stream" in one else 0)
        ]

    def leaves(self, start, stop):
        return [leaf_hash(raw) for raw in self.raw[start:stop]]

    def checkpoint(self, signer=SIGNER, size=None):
        size = len(self.raw) if size is None else size
        return signer.sign(format_checkpoint(signer.name, size, root_at(size, None, self.leaves)))

    def proof(self, position, size=None, note=None):
        size = len(self.raw) if size is None else size
        hashes = inclusion_proof(position, size, None, self.leaves)
        return format_tlog_proof(position, hashes, note or self.checkpoint()).encode()


def plain_log():
    """Eleven entries: 0, 6 and 9 about the controller, 2, 4, 5 and 8 of Ann's, the rest Bob's."""
    log = Log()
    log.write("acme", "policy.published", {"text_sha256": digest(TEXT), "pack_sha256": digest(PACK)})
    log.write(BOB)
    log.write(ANN)
    log.write(BOB)
    shown = {"shown": {"text_sha256": digest(WORDING)}}
    log.write(ANN, "consent.granted", shown, {"email": EMAIL, "full_name": "Ann"})
    log.write(ANN, "consent.withdrawn")
    log.write("acme", "recipient.registered")
    log.write(BOB, personal={"email": EMAIL})
    log.write(ANN)
    log.write("acme", "intake.refused")
    log.write(BOB)
    return log


def linked_log():
    """Ann (1, 3, 5) is joined with Bob (2) by her entry 3 and with Carl (4, 6) by his 6; Dora (7) is nobody's."""
    log = Log()
    log.write("acme", "recipient.registered")
    log.write(ANN, personal={"email": EMAIL})
    log.write(BOB, personal={"email": EMAIL})
    log.write(ANN, "subject.linked", {"other": BOB})
    log.write(CARL)
    log.write(ANN)
    log.write(CARL, "subject.linked", {"other": ANN})
    log.write("d" * 32)
    return log


class Evidence:
    """What is in a zip; valid by default, and damaged by the tests before it is zipped.

    `entries`, `proofs` and `documents` go into the files that the format gives them; `files` stands in place of what
    belongs in a file, None leaves it out; `first` are the files that stand before all others.
    """

    def __init__(self, log=None, persons=(ANN,), *, note=None, context="acme"):
        self.log = log or plain_log()
        self.note = note or self.log.checkpoint()
        streams = [(person, self.log.of(person)) for person in persons]
        about = self.log.of(context)
        self.manifest = {
            "format": "consent-ledger/evidence/v2",
            "origin": "example.com/ledger",
            "size": len(self.log.raw),
            "controller": "acme",
            "person": persons[0],
            "streams": [{"person": person, "positions": positions} for person, positions in streams],
            "withheld": [],
            "elsewhere": [],
            "context": {"positions": about, "left_out": []},
            "fields": [],
            "documents": [],
        }
        self.entries, self.proofs, self.documents, self.files, self.first = {}, {}, {}, {}, []
        for position in [one for _, positions in streams for one in positions] + about:
            self.add(position)
        if log is None:
            self.manifest["fields"].append(opened(4))
            for raw in (PACK, TEXT, WORDING):
                self.document(raw)

    def add(self, position, raw=None, proof=None):
        """An entry and its proof; the manifest does not list it."""
        self.entries[position] = self.log.raw[position] if raw is None else raw
        self.proofs[position] = self.log.proof(position, note=self.note) if proof is None else proof

    def document(self, raw, name=None):
        sha256 = name or digest(raw)
        self.documents[sha256] = raw
        self.manifest["documents"].append({"sha256": sha256, "media_type": "text/plain", "bytes": len(raw)})
        self.manifest["documents"].sort(key=lambda row: row["sha256"])

    def positions(self, number=0):
        return self.manifest["streams"][number]["positions"]

    def drop(self, position):
        """Leave an entry out, as if it was none of them."""
        for listed in (*(row["positions"] for row in self.manifest["streams"]), self.manifest["context"]["positions"]):
            if position in listed:
                listed.remove(position)
        self.manifest["fields"] = [one for one in self.manifest["fields"] if one["position"] != position]
        del self.entries[position], self.proofs[position]

    def withhold(self, *positions):
        for position in positions:
            leaf = encode_base64(leaf_hash(self.entries[position]))
            self.manifest["withheld"].append({"position": position, "leaf": leaf})
            self.entries[position] = None
            self.manifest["fields"] = [one for one in self.manifest["fields"] if one["position"] != position]
        return self

    def members(self):
        """(name, content) in the order of the format."""
        found = {"manifest.json": json.dumps(self.manifest).encode(), "checkpoint": self.note.encode()}
        rows = sorted(self.proofs)
        for number, start in enumerate(range(0, len(rows), verifier.BUNDLE)):
            bundle = rows[start : start + verifier.BUNDLE]
            shown = [self.entries[one] for one in bundle if self.entries[one] is not None]
            found[f"entries/{number}.ndjson"] = b"".join(raw + b"\n" for raw in shown)
            found[f"proofs/{number}.tlog-proofs"] = b"".join(self.proofs[one] for one in bundle)
        found |= {f"documents/{sha256}": raw for sha256, raw in sorted(self.documents.items())}
        found |= self.files
        first = {name: found[name] for name in self.first}
        return [(name, content) for name, content in ({**first, **found}).items() if content is not None]

    def zipped(self, compression=zipfile.ZIP_DEFLATED):
        return zipped(self.members(), compression)


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    """A zip as Python makes it, of (name, content) or (ZipInfo, content)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content, compression)
    return stream.getvalue()


def opened(position, name="email", value=EMAIL, salt=SALT):
    return {"position": position, "name": name, "value": value, "salt": encode_base64(salt)}


def flipped(raw, at):
    """One bit of it changed."""
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def verified(evidence, keys=KEYS, witnesses=()):
    return verify_evidence(evidence.zipped(), keys, witnesses)


def refused(raw, message, keys=KEYS, witnesses=()):
    """It must not hold, and one line says what does not."""
    with pytest.raises(EvidenceError, match=message) as caught:
        verify_evidence(raw, keys, witnesses)
    assert "\n" not in verifier.one_line(caught.value)
