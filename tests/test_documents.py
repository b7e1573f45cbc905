"""Texts as persons were shown them: stored by digest, told where they were altered, in backups and in evidence."""

from __future__ import annotations

import hashlib

import pytest
from conftest import PERSON, Cli, accept, event, rows

from consent_ledger.consumers import maintenance, opening
from consent_ledger.ledger.errors import CorruptEntry, InvalidQuestion, StoreReadOnly
from consent_ledger.ledger.intake.documents import add_document, document, documents
from consent_ledger.ledger.log.verifier import parse_vkey, verify_evidence

TEXT = b"Our statement\r\nof 2026\0\xff"
SHA256 = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "statement.html"
    path.write_bytes(TEXT)
    return path


def test_a_text_is_stored_by_the_digest_of_its_exact_bytes(cli, file):
    assert cli("document", "add", file).stdout == f"{file}: text/html, {len(TEXT)} bytes, sha256 {SHA256}\n"
    assert cli("document", "get", SHA256).stdout_bytes == TEXT
    assert cli.json("document", "list") == [{"sha256": SHA256, "media_type": "text/html", "bytes": len(TEXT)}]
    assert SHA256 in cli("document", "list").stdout


def test_stored_again_it_is_one_and_the_media_type_given_last_counts(cli, file):
    cli("document", "add", file)
    cli("document", "add", file, "--media-type", "text/html; charset=utf-8")
    assert [one["media_type"] for one in cli.json("document", "list")] == ["text/html; charset=utf-8"]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.txt", "text/plain"), ("a.pdf", "application/pdf"), ("a.HTML", "text/html"), ("a", "application/octet-stream")],
)
def test_the_media_type_is_that_of_the_names_ending(cli, tmp_path, name, media_type):
    (tmp_path / name).write_bytes(b"")
    assert f": {media_type}, 0 bytes, sha256 e3b0c442" in cli("document", "add", tmp_path / name).stdout


def test_what_is_no_media_type_is_wrong_usage(cli, file):
    for wrong in ("text", "text/plain\n", "a/b; x=y", "\x1b/b"):
        said = cli.fails("document", "add", file, "--media-type", wrong, code=2)
        assert said.startswith("media-type: wants one such as text/plain")
    assert cli.json("document", "list") == []


def test_a_text_that_is_too_long_is_not_stored(cli, file, monkeypatch):
    for module in ("consent_ledger.consumers.maintenance", "consent_ledger.ledger.intake.documents"):
        monkeypatch.setattr(f"{module}.MAX_DOCUMENT_BYTES", len(TEXT) - 1)
    assert f"the limit is {len(TEXT) - 1}" in cli.fails("document", "add", file, code=2)
    assert cli.json("document", "list") == []
    for module in ("consent_ledger.consumers.maintenance", "consent_ledger.ledger.intake.documents"):
        monkeypatch.setattr(f"{module}.MAX_DOCUMENT_BYTES", len(TEXT))
    cli("document", "add", file)


def test_a_file_that_is_not_there_is_one_line(cli, tmp_path):
    assert "No such file" in cli.fails("document", "add", tmp_path / "none.txt")


@pytest.mark.parametrize("digest", ["00", SHA256, SHA256.upper(), "", "\x1b[2J"])
def test_a_text_that_is_not_stored_is_unknown(cli, digest):
    said = cli.fails("document", "get", digest, code=2)
    assert said.startswith("document: ")
    assert "is not stored (add its file with: document add FILE)" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "change", ["body=x'00'", "body='text'", "media_type='none'", f"sha256='{'f' * 64}'", "sha256='short'"]
)
def test_a_text_that_was_altered_is_seen(store, cli, change):
    add_document(store.ledger.app, TEXT, "text/plain")
    with store.ledger.app.writing() as c:
        c.execute(f"UPDATE documents SET {change}")
    (name,) = rows(store.ledger, "SELECT sha256 FROM documents")
    with pytest.raises((CorruptEntry, InvalidQuestion)):
        document(store.ledger.app, name)
    derived = [row for row in cli.json("doctor", code=1) if row["check"] == "derived"]
    assert derived[0]["says"].startswith("documents: ")
    assert cli.fails("verify", code=1).startswith("documents: ")


def test_an_altered_text_is_mended_by_adding_it_again(store, cli, file):
    add_document(store.ledger.app, TEXT, "text/plain")
    with store.ledger.app.writing() as c:
        c.execute("UPDATE documents SET body=x'00'")
    cli("document", "add", file)
    assert cli("document", "get", SHA256).stdout_bytes == TEXT


def test_backups_and_restored_stores_have_the_texts(store, tmp_path):
    add_document(store.ledger.app, TEXT, "text/plain")
    maintenance.back_up(store.ledger, tmp_path / "copy")
    other = Cli(f"sqlite:///{tmp_path}/other.db")
    other("restore", tmp_path / "copy", "--keys", store.keys)
    assert other("document", "get", SHA256, "--keys", store.keys).stdout_bytes == TEXT


def test_texts_outlive_erasure(store):
    add_document(store.ledger.app, TEXT, "text/plain")
    accept(store.ledger, event())
    maintenance.erase(store.ledger, {"controller": "parature", "subject": PERSON})
    assert document(store.reopen().app, SHA256) == TEXT


def test_an_altered_text_is_not_put_into_evidence(store):
    add_document(store.ledger.app, TEXT, "text/plain")
    pack = store.ledger.app.controller_packs()["parature"].sha256
    accept(
        store.ledger, event("policy.published", {"version": "2", "text_sha256": SHA256, "pack_sha256": pack}), event()
    )
    who = {"controller": "parature", "subject": PERSON}
    body = maintenance.evidence_for(store.ledger, who, [], auditor=False)
    assert SHA256 in {one[0] for one in verify_evidence(body, [parse_vkey(store.ledger.app.signer.vkey)]).documents}
    with store.ledger.app.writing() as c:
        c.execute("UPDATE documents SET body=x'00'")
    with pytest.raises(CorruptEntry, match=f"document {SHA256} was altered in the store"):
        maintenance.evidence_for(store.ledger, who, [], auditor=False)


def test_a_store_that_is_only_read_takes_none(store):
    add_document(store.ledger.app, TEXT, "text/plain")
    reader = opening.open_to_read(store.name, None)
    with pytest.raises(StoreReadOnly):
        add_document(reader.app, b"other", "text/plain")
    assert [one.sha256 for one in documents(reader.app)] == [SHA256]
    reader.close()
