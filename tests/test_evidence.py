"""Evidence as the ledger writes it: never a file that its own verifier does not read, and nobody's but its owner's."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import zipfile
from pathlib import Path

import pytest
from conftest import PACKS, PERSON, accept, event

from consent_ledger.consumers import maintenance, opening
from consent_ledger.ledger.errors import EvidenceTooLarge, InvalidQuestion, PackError
from consent_ledger.ledger.intake import parse
from consent_ledger.ledger.intake.documents import add_document
from consent_ledger.ledger.log import verifier
from consent_ledger.ledger.log.verifier import parse_vkey, verify_evidence
from consent_ledger.ledger.proof import evidence as ledger_evidence
from consent_ledger.ledger.proof.evidence import write_evidence
from consent_ledger.ledger.times import parse_held

WHO = {"controller": "parature", "subject": PERSON}
LIMITS = ["MAX_UNPACKED_BYTES", "MAX_FILE_BYTES", "MAX_ZIP_BYTES", "MAX_MANIFEST_BYTES", "MAX_DIRECTORY_BYTES"]
TEXT = b"Our statement\n"


def evidence(ledger, subject=PERSON, *, auditor=False):
    return maintenance.evidence_for(ledger, {**WHO, "subject": subject}, ["all"], auditor=auditor)


def verified(ledger, body):
    return verify_evidence(body, [parse_vkey(ledger.app.signer.vkey)])


def files(body):
    """What is in the zip, as any other program reads it."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def long():
    """Evidence about somebody with 32,768 entries, and the key to check it with."""
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
    assert (report.entries, report.context, len(report.timeline)) == (8 * 4096, 1, 8 * 4096 + 1)
    assert len(files(body)) == 2 + 2 * 33 + 1
    assert len(body) < 8 << 20


def test_the_same_evidence_is_the_same_bytes(store):
    accept(store.ledger, event(personal={"email": "ann@example.com"}), event("subject.linked"))
    assert evidence(store.ledger) == evidence(store.reopen())


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_the_entries_of_every_joined_name_are_in_it_and_their_fields_can_be_opened(store):
    old = event("consent.granted", personal={"email": "ann@old.example"}, subject="old:7")
    accept(store.ledger, old, event(personal={"email": "ann@new.example"}))
    accept(store.ledger, event("subject.linked", personal={"other": "old:7"}), event(subject="old:7"))
    for subject in (PERSON, "old:7"):
        report = verified(store.ledger, evidence(store.ledger, subject))
        assert (report.entries, [entries for _, entries in report.joined], report.elsewhere) == (2, [2], ())
        opened = [(line.position, name) for line in report.timeline for name, _ in line.fields]
        assert opened == [(2, "email"), (3, "email"), (4, "other")]


def test_a_name_that_was_parted_keeps_its_own_and_is_counted(store):
    accept(store.ledger, event(subject="old:7"), event(), event("subject.linked", personal={"other": "old:7"}))
    parted = event("subject.unlinked", personal={"other": "old:7"}, time="2026-01-03T00:00:00Z")
    accept(store.ledger, parted)
    report = verified(store.ledger, evidence(store.ledger))
    old = store.ledger.app.person("parature", "old:7")
    assert (report.entries, report.joined, report.elsewhere) == (3, (), ((old, 1, 4),))
    report = verified(store.ledger, evidence(store.ledger, "old:7"))
    assert (report.entries, report.joined, report.elsewhere) == (1, (), ())


def test_names_are_joined_over_others(store):
    accept(store.ledger, *(event(subject=name) for name in ("a", "b", "c", "d")))
    accept(store.ledger, event("subject.linked", subject="a", personal={"other": "b"}))
    accept(store.ledger, event("subject.linked", subject="c", personal={"other": "b"}))
    for name in ("a", "b", "c"):
        report = verified(store.ledger, evidence(store.ledger, name))
        assert report.entries + sum(entries for _, entries in report.joined) == 5
    assert verified(store.ledger, evidence(store.ledger, "d")).joined == ()


def test_a_name_that_was_only_ever_joined_has_the_evidence_of_the_other(store):
    accept(store.ledger, event(), event("subject.linked", personal={"other": "web:ann"}))
    report = verified(store.ledger, evidence(store.ledger, "web:ann"))
    assert report.person == store.ledger.app.person("parature", PERSON)
    assert report.elsewhere == ((store.ledger.app.person("parature", "web:ann"), 0, 3),)


def test_who_is_erased_has_the_evidence_of_all_names_by_identifier(store):
    accept(store.ledger, event(), event(subject="old:7"), event("subject.linked", personal={"other": "old:7"}))
    person = store.ledger.app.person("parature", PERSON)
    maintenance.erase(store.ledger, WHO)
    report = verified(store.ledger, evidence(store.ledger, person))
    assert (report.person, len(report.joined), report.fields) == (person, 1, ())


def secret(**more):
    told = {"recipient": "court", "categories": ["email"], "ground": "law", "secret_until": "2026-06-01T00:00:00Z"}
    return event("disclosure.compelled", told, **more)


@pytest.fixture
def court(store):
    accept(store.ledger, event("recipient.registered", {"recipient": "court", "class": "authority", "service": None}))
    return store


def test_of_whom_nothing_may_be_shown_there_is_no_evidence(court, cli):
    accept(court.ledger, secret())
    with pytest.raises(InvalidQuestion, match=r"^subject: no entry that may be shown about '.*' at 'parature'$"):
        evidence(court.ledger)
    assert cli.fails("evidence", PERSON, code=1).startswith("subject: no entry that may be shown about ")
    assert verified(court.ledger, evidence(court.ledger, auditor=True)).entries == 1


def test_a_joined_name_of_which_nothing_may_be_shown_is_counted(court):
    accept(court.ledger, event(), secret(subject="old:7"), event("subject.linked", personal={"other": "old:7"}))
    report = verified(court.ledger, evidence(court.ledger))
    assert (report.joined, [entries for _, entries, _ in report.elsewhere]) == ((), [1])
    assert verified(court.ledger, evidence(court.ledger, "old:7")).person == report.person
    assert [entries for _, entries in verified(court.ledger, evidence(court.ledger, auditor=True)).joined] == [1]


def test_the_stream_about_the_controller_is_whole_refusals_too(store):
    refused = event("information.collected", {"categories": ["national-id"]})
    assert [one.kind for one in store.ledger.record([event(), refused, event()])] == ["accepted", "refused", "accepted"]
    report = verified(store.ledger, evidence(store.ledger))
    assert (report.context, report.left_out) == (2, ())
    types = ["policy.published", "service.used", "intake.refused", "service.used"]
    assert [line.type for line in report.timeline] == types


@pytest.mark.parametrize("last", [False, True], ids=["between", "at the end"])
def test_refusals_that_are_many_are_left_out_and_counted(store, monkeypatch, last):
    monkeypatch.setattr(verifier, "LEAST_LEFT_OUT", 3)
    bad = [event("information.collected", {"categories": ["national-id"]}) for _ in range(4)]
    store.ledger.record([event(), *bad])
    if not last:
        accept(store.ledger, event("recipient.registered"))
    report = verified(store.ledger, evidence(store.ledger))
    assert (report.context, report.left_out) == (2, ((2, 4 if last else 5),))
    assert f"; {3 if last else 4} of them not in this file (version 2 to {4 if last else 5})\n" in str(report)
    assert [line.type for line in report.timeline][-1] == ("intake.refused" if last else "recipient.registered")


def test_the_packs_that_were_in_force_are_in_it_and_the_texts_that_are_stored(store):
    sha256 = add_document(store.ledger.app, TEXT, "text/plain").sha256
    pack = store.ledger.app.controller_packs()["parature"].sha256
    second = {"version": "2", "text_sha256": sha256, "pack_sha256": pack, "supersedes": "1"}
    accept(store.ledger, event(), event("policy.published", second))
    body = evidence(store.ledger)
    report = verified(store.ledger, body)
    assert {one[:2] for one in report.documents} == {(sha256, "text/plain"), (pack, "application/toml")}
    assert report.absent == (("00", 0),)
    assert files(body)[f"documents/{sha256}"] == TEXT
    assert files(body)[f"documents/{pack}"] == PACKS["parature"]


def test_the_wording_that_a_person_was_shown_is_in_it_and_one_that_is_not_stored_is_said(store):
    sha256 = add_document(store.ledger.app, TEXT, "text/html").sha256
    granted = {"purpose": "newsletter", "list": "product-news", "basis": "express"}
    accept(store.ledger, event("consent.granted", {**granted, "shown": {"text_sha256": sha256, "method": "checkbox"}}))
    accept(store.ledger, event("consent.granted", {**granted, "shown": {"text_sha256": "f" * 64}}, subject="old:7"))
    report = verified(store.ledger, evidence(store.ledger))
    assert (sha256, "text/html", len(TEXT)) in report.documents
    assert report.absent == (("00", 0),)
    assert ("f" * 64, 3) in verified(store.ledger, evidence(store.ledger, "old:7")).absent


def test_a_pack_that_is_gone_or_altered_is_no_evidence(store):
    accept(store.ledger, event())
    with store.ledger.app.writing() as c:
        c.execute("UPDATE packs SET body=x'00'")
    with pytest.raises(PackError, match="is not in the store, or was altered"):
        evidence(store.ledger)


# -- sizes -------------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(ledger_evidence, "BUNDLE", 2)
    monkeypatch.setattr(ledger_evidence._Zip, "add", spy(ledger_evidence._Zip.add, written))
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
        patch.setattr(parse, "parse_time", parse_held)  # as intake once was
        accept(store.ledger, event(), secret)
    assert verified(store.ledger, evidence(store.ledger)).withheld == (4,)
    assert [row["type"] for row in store.ledger.history(WHO)] == ["service.used"]
    assert [row["type"] for row in store.reopen().history(WHO, auditor=True)] == [
        "service.used",
        "disclosure.compelled",
    ]
