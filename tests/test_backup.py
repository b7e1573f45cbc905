"""A backup restored must not bring back what was destroyed since."""

from __future__ import annotations

from conftest import accept, event

from consumers import maintenance
from consumers.opening import keys_folder, open_ledger


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
    assert "holds" in maintenance.check_store(restored, None)
    restored.close()


def test_a_write_ahead_log_left_beside_the_target_is_not_played_into_it(store, tmp_path):
    accept(store.ledger, event())
    saved, path = tmp_path / "saved.db", tmp_path / "restored.db"
    maintenance.back_up(store.ledger, saved)
    left = path.with_name("restored.db-wal")
    left.write_bytes(b"left by a killed process")
    maintenance.restore(saved, path, keys_folder(store.path, None))
    assert not left.exists()
