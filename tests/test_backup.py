"""A backup restored must not bring back what was destroyed since."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import accept, assert_whole, event

from consent_ledger.consumers import maintenance
from consent_ledger.consumers.opening import create_ledger, keys_folder, open_ledger
from consent_ledger.ledger.errors import LedgerError, StoreBusy, StoreFull
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.store.sqlite import SQLiteStore


def sealed(ledger):
    with ledger.app.reading() as c:
        c.execute("SELECT count(*) FROM secrets")
        records = c.fetchone()[0]
        c.execute("SELECT count(*) FROM people")
        return records, c.fetchone()[0]


def test_what_a_deletion_destroyed_after_the_backup_is_destroyed_again(store, tmp_path):
    accept(
        store.ledger,
        event(personal={"email": "ann@example.com"}),
        event(subject="bob:1", personal={"email": "b@example.com"}),
    )
    saved = tmp_path / "saved.db"
    maintenance.back_up(store.ledger, saved)
    before = sealed(store.ledger)
    accept(store.ledger, event("deletion.completed", {"request": None}))
    after = sealed(store.ledger)
    assert after == (before[0] - 1, before[1] - 1)
    path = tmp_path / "restored.db"
    back = maintenance.restore(saved, path, keys_folder(store.path, None))
    assert (back.entries, back.erased) == (store.ledger.app.current_head().size - 1, 0)
    restored = open_ledger(f"sqlite:///{path}", str(keys_folder(store.path, None)))
    assert sealed(restored) == after
    assert restored.app.person("parature", event()["subject"]) is not None
    assert "holds" in str(maintenance.check_store(restored, None))
    restored.close()


def test_a_write_ahead_log_left_beside_the_target_is_not_played_into_it(store, tmp_path):
    accept(store.ledger, event())
    saved, path = tmp_path / "saved.db", tmp_path / "restored.db"
    maintenance.back_up(store.ledger, saved)
    left = path.with_name("restored.db-wal")
    left.write_bytes(b"left by a killed process")
    maintenance.restore(saved, path, keys_folder(store.path, None))
    assert not left.exists()


def make(how, store, path, saved):
    """Make a store at a path in one of the three ways. Returns the error, if that is what came of it."""
    try:
        match how:
            case "create":
                create_ledger(str(path), str(store.keys.with_name("new.keys"))).close()
            case "backup":
                maintenance.back_up(store.ledger, path)
            case "restore":
                maintenance.restore(saved, path, store.keys)
    except LedgerError as error:
        return error
    return None


@pytest.fixture
def saved(store, tmp_path):
    accept(store.ledger, event(), event("optout.recorded"))
    saved = tmp_path / "saved.db"
    maintenance.back_up(store.ledger, saved)
    return saved


@pytest.mark.parametrize("how", ["create", "backup", "restore"])
def test_one_at_a_time_makes_a_file_of_a_name(store, tmp_path, saved, how, monkeypatch):
    """Workers that start together make their store together: what one is at, no other takes away or gives the name."""
    monkeypatch.setattr(durable, "ALONE_SECONDS", 0.01)
    path = tmp_path / "made.db"
    with durable.alone(path):
        error = make(how, store, path, saved)
        assert isinstance(error, StoreBusy)
        assert "another process is making it" in str(error)
    path.with_name("made.db.making").touch()  # of a process that died
    assert make(how, store, path, saved) is None
    assert "already" in str(make(how, store, path, saved))
    assert not list(tmp_path.glob("*.making"))


@pytest.mark.parametrize("ways", [["create"] * 4, ["restore"] * 4, ["restore", "backup"] * 2], ids="-".join)
def test_of_many_who_make_a_store_at_once_one_does(store, tmp_path, saved, ways):
    path = tmp_path / "made.db"
    with ThreadPoolExecutor(len(ways)) as pool:
        errors = list(pool.map(lambda how: make(how, store, path, saved), ways))
    assert sorted(str(error).split(": ")[-1].split("(")[0] for error in errors if error) in (
        ["there is a file already "] * 3,
        ["there is a store already "] * 3,
        ["there is a file already "] + ["there is a store already "] * 2,
        ["there is a file already "] * 2 + ["there is a store already "],
    ), errors
    keys = "new.keys" if "create" in ways else store.keys.name
    with open_ledger(str(path), str(store.keys.with_name(keys))) as made:
        assert_whole(made)


def test_a_copy_that_is_partly_in_its_log_gets_no_name(store, tmp_path, monkeypatch):
    """SQLite writes the log back when it closes, and is silent where that fails: an erasure would be lost with it."""
    accept(store.ledger, event(personal={"email": "ann@example.com"}))
    maintenance.back_up(store.ledger, tmp_path / "saved.db")
    maintenance.erase(store.ledger, {"controller": "parature", "subject": event()["subject"]})
    readers = []

    def kept(store, *_):
        with store.writing() as c:
            c.execute("INSERT OR REPLACE INTO meta VALUES ('last', x'00')")
        readers.append(sqlite3.connect(store.path))
        readers[-1].execute("SELECT count(*) FROM entries").fetchall()

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStore, "truncate", kept)
        with pytest.raises(StoreFull, match="could not be written whole"):
            maintenance.restore(tmp_path / "saved.db", tmp_path / "again.db", store.keys)
    for reader in readers:
        reader.close()
    assert [path.name for path in tmp_path.glob("again*")] == []
    assert maintenance.restore(tmp_path / "saved.db", tmp_path / "again.db", store.keys).erased == 1
    assert [path.name for path in tmp_path.glob("again*")] == ["again.db"]
