"""Evidence as the ledger writes it: never a file that its own verifier does not read, and nobody's but its owner's."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import threading
import zipfile
from pathlib import Path

import pytest
from conftest import PERSON, accept, event

from consumers import maintenance, opening
from ledger import incoming, verifier
from ledger.errors import EvidenceTooLarge
from ledger.evidence import write_evidence
from ledger.times import parse_held
from ledger.verifier import EvidenceError, parse_vkey, verify_evidence

WHO = {"controller": "parature", "subject": PERSON}
LIMITS = ["MAX_UNPACKED_BYTES", "MAX_ZIP_BYTES", "MAX_MANIFEST_BYTES", "MAX_DIRECTORY_BYTES"]
END = 22 + 20 + 56  # bytes: the end record of a zip, and the two of ZIP64 before it


def evidence(ledger):
    return maintenance.evidence_for(ledger, WHO, ["all"], auditor=False)


def verified(ledger, body):
    return verify_evidence(body, [parse_vkey(ledger.app.signer.vkey)])


@pytest.fixture(scope="module")
def long():
    """Evidence about somebody with so many entries that it has 65,539 files, and the key to check it with."""
    ledger = opening.memory_ledger()
    pack = opening.shipped_packs()["parature"]
    sha256 = ledger.app.add_pack(pack).sha256
    policy = {"version": "1", "text_sha256": "00", "pack_sha256": sha256}
    accept(ledger, event("policy.published", policy, time="2026-01-01T00:00:00Z"))
    for _ in range(8):
        accept(ledger, *(event() for _ in range(4096)))
    body = write_evidence(ledger.app, "parature", ledger.app.person("parature", PERSON))
    yield body, [parse_vkey(ledger.app.signer.vkey)]
    ledger.close()


def test_a_person_with_a_long_history_gets_evidence_that_holds(long):
    body, keys = long
    report = verify_evidence(body, keys)
    assert (report.entries, report.context) == (8 * 4096, 1)
    assert len(zipfile.ZipFile(io.BytesIO(body)).namelist()) == 2 * (8 * 4096 + 1) + 2 > 65_535


def patched(body, at, form, *values):
    """The zip with other values in its last records; `at` counts from their beginning."""
    at += len(body) - END
    return body[:at] + struct.pack(form, *values) + body[at + struct.calcsize(form) :]


# Name of the damage: what does it to the records of ZIP64 at the end, which begin with PK0606.
DAMAGES = {
    "fewer-files": lambda z: patched(z, 24, "<QQ", 65_537, 65_537),
    "files-here-and-in-all": lambda z: patched(z, 24, "<Q", 65_536),
    "as-few-as-need-no-zip64": lambda z: patched(z, 24, "<QQ", 65_535, 65_535),
    "another-number-in-the-end-record": lambda z: patched(z, 84, "<HH", 9, 9),
    "longer-record": lambda z: patched(z, 4, "<Q", 45),
    "other-part": lambda z: patched(z, 16, "<I", 1),
    "directory-in-another-part": lambda z: patched(z, 20, "<I", 1),
    "shorter-directory": lambda z: patched(z, 40, "<Q", 1000),
    "directory-elsewhere": lambda z: patched(z, 48, "<Q", 0),
    "no-record": lambda z: patched(z, 0, "<4s", b"PK\6\5"),
    "no-locator": lambda z: patched(z, 56, "<4s", b"PK\6\5"),
    "locator-elsewhere": lambda z: patched(z, 64, "<Q", 0),
    "locator-of-several": lambda z: patched(z, 72, "<I", 2),
    "record-left-out": lambda z: z[:-END] + z[-42:],
    "locator-left-out": lambda z: z[:-42] + z[-22:],
    "both-left-out": lambda z: z[:-END] + z[-22:],
    "bytes-between": lambda z: z[:-END] + b"x" + z[-END:],
    "bytes-behind": lambda z: z + b"x",
    "bytes-in-front": lambda z: b"x" + z,
    "a-second-record": lambda z: z[:-END] + z[-END:-42] + z[-END:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_zip64_is_held_to_one_reading(long, damage, monkeypatch):
    body, keys = long
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    broken = DAMAGES[damage](body)
    assert broken != body
    with pytest.raises(EvidenceError, match=r"cannot be read: (with records of ZIP64|cut short|its directory)"):
        verify_evidence(broken, keys)


def test_zip64_for_as_many_files_as_need_none_is_refused():
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for number in range(65_536):
            archive.writestr(f"{number:x}", b"")
    fewer = zipfile.ZipFile(body)
    directory = body.getvalue()[fewer.start_dir : -END]
    last = directory.rindex(b"PK\1\2")
    cut = body.getvalue()[: fewer.start_dir] + directory[:last]
    ends = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 65_535, 65_535, last, fewer.start_dir)
    ends += struct.pack("<4sIQI", b"PK\6\7", 0, len(cut), 1)
    end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 65_535, 65_535, last, fewer.start_dir, 0)
    assert len(zipfile.ZipFile(io.BytesIO(cut + ends + end)).namelist()) == 65_535
    assert verifier._require_plain_zip(cut + end) == 65_535
    with pytest.raises(zipfile.BadZipFile, match="not those of an archive of more than 65,535 files"):
        verifier._require_plain_zip(cut + ends + end)


def test_a_directory_longer_than_any_evidence_has_is_not_read(long, monkeypatch):
    monkeypatch.setattr(verifier, "MAX_DIRECTORY_BYTES", 1 << 20)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("read"))
    with pytest.raises(EvidenceError, match=r"its directory is over 1048576 bytes$"):
        verify_evidence(*long)


@pytest.mark.parametrize("limit", LIMITS)
def test_what_the_verifier_would_not_read_is_not_written(store, limit, monkeypatch):
    accept(store.ledger, event(personal={"email": "ann@example.com"}), event(), event())
    # the smallest limit under which it is written is one under which it is read
    least, most = 0, 1 << 20
    while most - least > 1:
        middle = (least + most) // 2
        monkeypatch.setattr(verifier, limit, middle)
        try:
            body = evidence(store.ledger)
        except EvidenceTooLarge as error:
            assert f"over {middle} bytes" in str(error)  # noqa: PT017  some limits are wide enough
            least = middle
        else:
            most = middle
            assert verified(store.ledger, body).entries == 3
    assert least > 100


def test_it_is_said_as_soon_as_it_is_known(store, monkeypatch):
    accept(store.ledger, *(event() for _ in range(50)))
    written = []
    monkeypatch.setattr(verifier, "MAX_ZIP_BYTES", 5_000)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", spy(zipfile.ZipFile.writestr, written))
    with pytest.raises(EvidenceTooLarge, match="over 5000 bytes as a zip"):
        evidence(store.ledger)
    assert 5 < len(written) < 50


def spy(function, calls):
    def called(*args, **options):
        calls.append(args)
        return function(*args, **options)

    return called


# -- the file ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def output(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "e.zip"


def test_the_file_is_its_owners(cli, store, output):
    accept(store.ledger, event())
    output.write_bytes(b"old")
    output.chmod(0o644)
    mask = os.umask(0)
    try:
        said = cli("evidence", PERSON, "-o", output).stdout
    finally:
        os.umask(mask)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert list(output.parent.iterdir()) == [output]
    assert f"{output}: {output.stat().st_size} bytes" in said
    assert verified(store.ledger, output.read_bytes()).entries == 1


def test_too_much_is_one_line_and_leaves_the_old_file(cli, store, output, monkeypatch):
    accept(store.ledger, event())
    output.write_bytes(b"old")
    monkeypatch.setattr(verifier, "MAX_ZIP_BYTES", 500)
    assert "would have over 500 bytes as a zip" in cli.fails("evidence", PERSON, "-o", output, code=3)
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("failing", ["fsync", "rename"])
def test_a_failure_leaves_the_old_file_and_nothing_else(cli, store, output, monkeypatch, failing):
    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    accept(store.ledger, event())
    output.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails) if failing == "fsync" else patch.setattr(Path, "rename", fails)
        assert "No space left on device" in cli.fails("evidence", PERSON, "-o", output, code=3)
    assert output.read_bytes() == b"old"
    assert list(output.parent.iterdir()) == [output]


def test_evidence_may_go_into_a_pipe(cli, store, output):
    accept(store.ledger, event())
    os.mkfifo(output)
    read = []
    reader = threading.Thread(target=lambda: read.append(output.read_bytes()), daemon=True)
    reader.start()
    cli("evidence", PERSON, "-o", output)
    assert output.is_fifo()  # a program that waits at it would wait for ever
    reader.join(timeout=30)
    assert verified(store.ledger, read[0]).entries == 1


def test_a_secret_told_with_an_offset_of_older_versions_is_withheld(store, monkeypatch):
    accept(store.ledger, event("recipient.registered", {"recipient": "police", "class": "authority", "service": None}))
    told = {"recipient": "police", "categories": ["email"], "ground": "law"}
    secret = event("disclosure.compelled", {**told, "secret_until": "2027-01-01T00:00:00+05:99"})
    with monkeypatch.context() as patch:
        patch.setattr(incoming, "parse_time", parse_held)  # as intake once was
        accept(store.ledger, event(), secret)
    assert verified(store.ledger, evidence(store.ledger)).withheld == (4,)
    assert [row["type"] for row in store.ledger.history(WHO)] == ["service.used"]
    assert [row["type"] for row in store.reopen().history(WHO, auditor=True)] == [
        "service.used",
        "disclosure.compelled",
    ]
