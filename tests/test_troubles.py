"""Troubles that other systems had: each tried here, with what must come of it."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from conftest import PACKS, accept, assert_whole, event, rows, stored

from consent_ledger.consumers import maintenance, opening
from consent_ledger.ledger.errors import CorruptEntry, StoreFull, StoreReadOnly
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.store.sqlite import SQLiteStore
from consent_ledger.ledger.vault.keys import JOURNAL

ANN, BEN = "crm:4711", "crm:ben"
FIELDS = {"email": "ann@example.com"}
QUESTION = {
    "controller": "parature", "subject": ANN, "action": "contact", "purpose": "newsletter", "list": "product-news",
    "channel": "email",
}  # fmt: skip
DELETION = ("deletion.completed", {"request": None})
WHO = {"controller": "parature", "subject": ANN}


def killed(store, *bodies):
    """Another process records and is killed, so that its write-ahead log stays."""
    code = (
        "import os, sys, json, signal\n"
        "from consent_ledger.consumers import open_ledger\n"
        "ledger = open_ledger(sys.argv[1])\n"
        "assert all(one.kind == 'accepted' for one in ledger.record(json.loads(sys.argv[2])))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    store.shut()
    done = subprocess.run([sys.executable, "-c", code, store.name, json.dumps(bodies)], check=False)
    assert done.returncode == -signal.SIGKILL
    log = store.path.with_name(store.path.name + "-wal")
    assert log.stat().st_size
    return log


# -- backups -----------------------------------------------------------------------------------------------------------


def test_a_backup_ends_while_somebody_writes_all_the_time(store, tmp_path):
    accept(store.ledger, *(event(subject=f"crm:{number}", personal=FIELDS) for number in range(200)))
    done, writer = threading.Event(), store.open()

    def write():
        while not done.is_set():
            writer.record([event()])

    thread = threading.Thread(target=write)
    thread.start()
    size = maintenance.back_up(store.ledger, tmp_path / "copy.db")
    done.set()
    thread.join()
    assert size >= 202
    restored = maintenance.restore(tmp_path / "copy.db", tmp_path / "again.db", store.keys)
    assert restored.entries == size


def test_a_store_and_its_log_are_restored_together(store, tmp_path):
    log = killed(store, event(), event("optout.recorded"))
    for path in (store.path, log):
        shutil.copyfile(path, tmp_path / path.name.replace("ledger", "pair"))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("pair*")}
    restored = maintenance.restore(tmp_path / "pair.db", tmp_path / "again.db", store.keys)
    assert (restored.entries, restored.behind) == (4, None)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("pair*")} == before
    ledger = opening.open_ledger(str(tmp_path / "again.db"), str(store.keys))
    assert ledger.decide(QUESTION).outcome == "deny"
    ledger.close()


def test_a_store_without_its_log_is_an_older_one(store, tmp_path):
    killed(store, event(), event("optout.recorded"))
    shutil.copyfile(store.path, tmp_path / "alone.db")
    restored = maintenance.restore(tmp_path / "alone.db", tmp_path / "again.db", store.keys)
    assert restored.entries == 2
    assert "2 to 3 are missing" in restored.behind


def test_a_log_of_an_older_store_beside_a_newer_one_is_noticed(store, tmp_path):
    log = killed(store, *(event(subject=f"crm:{number}") for number in range(50)))
    shutil.copyfile(log, tmp_path / "mixed.db-wal")
    store.ledger = store.open()
    accept(store.ledger, *(event(subject=f"web:{number}") for number in range(50)))
    store.shut()
    shutil.copyfile(store.path, tmp_path / "mixed.db")
    mixed = opening.open_ledger(str(tmp_path / "mixed.db"), str(store.keys))
    assert not all(row["ok"] for row in maintenance.examine(mixed))
    with pytest.raises(Exception, match=r"older copy|another history"):
        mixed.record([event()])
    mixed.close()


def test_a_copy_that_was_made_while_something_wrote_is_refused(store, tmp_path):
    accept(store.ledger, *(event(subject=f"crm:{number}") for number in range(300)))
    store.shut()
    body = bytearray(store.path.read_bytes())
    body[len(body) // 2 : len(body) // 2 + 4096] = bytes(4096)
    (tmp_path / "torn.db").write_bytes(body)
    with pytest.raises(Exception, match=r"damaged|malformed|entry \d+|corrupt"):
        maintenance.restore(tmp_path / "torn.db", tmp_path / "again.db", store.keys)
    assert [path.name for path in tmp_path.glob("again*")] == []


# -- journals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"persons":["019b0000000070008000000000000000"],"kind":"dele', b"\xff]\n[1,2]\n{"])
@pytest.mark.parametrize("how", ["deleted", "erased"])
def test_a_torn_line_of_the_journal_takes_no_other_with_it(store, tmp_path, torn, how):
    accept(store.ledger, event(personal=FIELDS))
    maintenance.back_up(store.ledger, tmp_path / "old.db")
    (store.keys / JOURNAL).write_bytes(torn)
    if how == "deleted":
        accept(store.ledger, event(*DELETION))
    else:
        maintenance.erase(store.ledger, WHO)
    maintenance.restore(tmp_path / "old.db", tmp_path / "again.db", store.keys)
    again = opening.open_ledger(str(tmp_path / "again.db"), str(store.keys))
    assert rows(again, "SELECT count(*) FROM secrets") == [0]
    again.close()


@pytest.mark.parametrize("way", ["deletion", "erasure"])
def test_a_journal_that_cannot_be_written_destroys_nothing(store, monkeypatch, way):
    accept(store.ledger, event(personal=FIELDS))
    given = stored(store.ledger)

    def full(*_, **__):
        raise OSError(28, "No space left on device", str(store.keys / JOURNAL))

    with monkeypatch.context() as patch:
        patch.setattr("consent_ledger.ledger.files.durable.append_line", full)
        patch.setattr("consent_ledger.ledger.files.durable.replace_both", full)
        with pytest.raises(StoreFull, match="No space left"):
            store.ledger.record([event(*DELETION)]) if way == "deletion" else maintenance.erase(store.ledger, WHO)
    assert stored(store.ledger) == given
    assert rows(store.ledger, "SELECT count(*) FROM secrets") == [1]
    accept(store.ledger, event(*DELETION))
    assert rows(store.ledger, "SELECT count(*) FROM secrets") == [0]


# -- after the commit --------------------------------------------------------------------------------------------------


def test_a_reader_that_holds_the_log_fails_nobodys_event(store):
    accept(store.ledger, event(personal=FIELDS))
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    accept(store.ledger, event(*DELETION), event("optout.recorded", subject=BEN))
    assert "keeps the write-ahead log" in store.ledger.app.unscrubbed.why
    reader.close()
    for number in range(3):  # and the next batches see to it
        accept(store.ledger, event(subject=f"crm:{number}"))
    assert store.ledger.app.unscrubbed is None


def test_where_there_is_no_room_to_rebuild_it_is_erased_and_said_and_done_later(store, cli, monkeypatch):
    accept(store.ledger, event(personal=FIELDS), event(subject=BEN))

    def no_room(store):
        raise StoreFull(f"{store.where}: the rows are gone, but the disk has no room to rebuild the file: run doctor")

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStore, "holds", lambda *_: True)
        patch.setattr(SQLiteStore, "rebuild", no_room)
        said = cli("erase", ANN, "--yes", "--controller", "parature")
        assert said.stdout.startswith("erased; entry 4 says so")
        assert "the files are still to be scrubbed" in said.stderr
        assert "no person" in cli.fails("state", ANN, "--controller", "parature")
        assert cli("state", BEN, "--controller", "parature").exit_code == 0
        assert cli("verify").stdout.startswith("holds: 5 entries")
        assert "no room to rebuild" in " ".join(cli("doctor", code=1).stdout.split())
    assert cli("doctor").exit_code == 0
    assert rows(store.ledger, "SELECT name FROM meta WHERE name GLOB 'unscrubbed:*'") == []


def test_projections_without_room_do_not_fail_an_erasure(store, monkeypatch):
    accept(store.ledger, event(personal=FIELDS))

    def full(_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store.ledger.projector, "_fold", full)
    assert maintenance.erase(store.ledger, WHO) == [3]


# -- rules and processes -----------------------------------------------------------------------------------------------


def test_a_rule_counts_from_the_next_event_on_in_every_process(store):
    other = store.open()
    collect = [event("information.collected", {"categories": ["age"]}) for _ in range(6)]
    accept(store.ledger, collect[0])
    old = PACKS["parature"]
    new = old.replace(b'any_category = ["national-id"]', b'any_category = ["national-id", "age"]', 1)
    assert load_pack(new).sha256 != load_pack(old).sha256
    other.app.add_pack(new)
    assert store.ledger.record([collect[1]])[0].kind == "refused"
    other.app.add_pack(old)
    assert store.ledger.record([collect[2]])[0].kind == "accepted"
    other.app.add_pack(new)
    accept(other, event())
    assert [one.kind for one in store.ledger.record(collect[3:5])] == ["refused", "refused"]


def test_an_index_that_lost_a_row_lets_nothing_through(store, cli):
    accept(store.ledger, event("consent.granted"), event("optout.recorded"))
    store.shut()
    store.path.with_name(store.path.name + ".projections").unlink(missing_ok=True)
    index = "CREATE UNIQUE INDEX entries_by_stream ON entries (stream, version)"
    for sql in (index + " WHERE position<>3", index):
        db = sqlite3.connect(store.path, isolation_level=None)
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_master SET sql=? WHERE name='entries_by_stream'", [sql])
        db.close()
        if sql != index:
            db = sqlite3.connect(store.path, isolation_level=None)
            db.execute("REINDEX entries_by_stream")
            db.close()
    store.ledger = store.open()
    with pytest.raises(CorruptEntry, match=r"1 entries of .* are found, and there are 2: the store is damaged"):
        store.ledger.decide(QUESTION)
    assert "missing from index" in cli.fails("verify", code=1)
    assert next(row["check"] for row in maintenance.examine(store.ledger) if not row["ok"]) == "database"


def test_a_batch_that_is_killed_between_commit_and_note_is_there(store):
    """A store may be ahead of what is noted: nothing is behind, and the next head is noted as ever."""
    code = (
        "import os, sys, signal\n"
        "from consent_ledger.consumers import open_ledger\n"
        "from consent_ledger.ledger import crashpoints as points\n"
        "ledger = open_ledger(sys.argv[1])\n"
        "points.hook = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == 'after commit' else None\n"
        "import json\n"
        "ledger.record([json.loads(sys.argv[2])])\n"
    )
    once = event()
    store.shut()
    done = subprocess.run([sys.executable, "-c", code, store.name, json.dumps(once)], check=False)
    assert done.returncode == -signal.SIGKILL
    store.ledger = store.open()
    assert_whole(store.ledger)
    (outcome,) = store.ledger.record([once])
    assert (outcome.kind, outcome.position, outcome.duplicate) == ("accepted", 2, True)
    assert all(row["ok"] for row in maintenance.examine(store.ledger) if row["check"] != "clock")


def test_reading_inside_is_no_place_to_write(store):
    accept(store.ledger, event())
    with (
        store.ledger.app.reading(),
        pytest.raises(Exception, match="cannot be written from inside something that reads"),
    ):
        store.ledger.record([event()])
    accept(store.ledger, event())


def test_a_store_without_rights_to_write_is_refused_with_one_line(store, cli, monkeypatch):
    accept(store.ledger, event())
    store.shut()
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    ledger = opening.open_ledger(store.name)
    with pytest.raises(StoreReadOnly, match="is open for reading only"):
        ledger.record([event()])
    assert "is open for reading only" in cli.fails("erase", ANN, "--yes", "--controller", "parature", code=3)
    ledger.close()
