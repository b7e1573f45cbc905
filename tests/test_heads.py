"""What was signed is remembered outside the store: older copies, forks, and going on without what is lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from functools import partial

import orjson
import pytest
from conftest import accept, event, ndjson, rows, stored

from consent_ledger.consumers import opening
from consent_ledger.consumers.maintenance import back_up, erase, examine, restore
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import HeadNotNoted, StoreBehind, StoreError, StoreFull, StoreReadOnly
from consent_ledger.ledger.files import durable
from consent_ledger.ledger.intake import erasure
from consent_ledger.ledger.intake.recovery import NothingToRecover, following, recover
from consent_ledger.ledger.log.verifier import open_checkpoint, parse_vkey
from consent_ledger.ledger.proof.audit import verify_store
from consent_ledger.ledger.vault import heads
from consent_ledger.ledger.vault.heads import HeadFile, SignedHead
from consent_ledger.ledger.vault.keys import FileKeys

ROOT = b"r" * 32


def head(size, log="a/log"):
    return SignedHead(log, size, ROOT)


# -- the file of heads -------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    return HeadFile(tmp_path / "signed.ndjson")


def note(file, *all_heads):
    for one in all_heads:
        file.reserve()
        file.note(one)


def test_the_newest_head_of_each_log_is_remembered(file):
    assert file.last("a/log") is None
    note(file, head(1), head(2, "b/log"), head(3))
    for reader in (file, HeadFile(file.path)):
        assert reader.last("a/log") == head(3)
        assert reader.last("b/log") == head(2, "b/log")


def test_what_another_process_noted_is_seen(file):
    note(file, head(1))
    other = HeadFile(file.path)
    note(other, head(2))
    assert file.last("a/log") == head(2)
    note(file, head(3))
    assert other.last("a/log") == head(3)


@pytest.mark.parametrize(
    "torn",
    [
        b'\n{"log":"a/log","size":7',
        b"\nnobody's",
        b"\n[1]",
        b"\n\xff\xfe",
        b'\n{"size":9}',
        *(b'\n{"log":"a/log","size":%b,"root":"%b"}' % (size, b"72" * 32) for size in (b"-5", b'"9"', b"9.5", b"true")),
        b'\n{"log":"a/log","size":9,"root":"72"}',
        b'\n{"log":["a/log"],"size":9,"root":"%b"}' % (b"72" * 32),
    ],
)
def test_lines_are_never_put_on_a_torn_one(file, torn):
    note(file, head(1))
    end = len(file.path.read_bytes().rstrip(b"\n"))
    with file.path.open("rb+") as handle:
        handle.seek(end)
        handle.write(torn)
    other = HeadFile(file.path)
    assert other.last("a/log") == head(1)
    note(other, head(2))
    note(file, head(3))
    assert HeadFile(file.path).last("a/log") == head(3)
    lines = set(file.path.read_bytes().split(b"\n")) - set(torn.split(b"\n"))
    whole = sorted(line for line in lines if line.startswith(b'{"log"') and line.endswith(b"}"))
    assert [orjson.loads(line)["size"] for line in whole] == [1, 2, 3]


def test_the_file_stays_small_and_keeps_every_log(file, monkeypatch):
    monkeypatch.setattr(heads, "LIMIT_BYTES", 2_000)
    other = HeadFile(file.path)
    note(file, head(1, "b/log"))
    for size in range(2, 200):
        note(file if size % 3 else other, head(size))
    assert file.path.stat().st_size < 10_000
    assert HeadFile(file.path).last("a/log") == head(199)
    assert HeadFile(file.path).last("b/log") == head(1, "b/log")


def test_room_is_made_before_it_is_needed(file, monkeypatch):
    note(file, head(1))
    size = file.path.stat().st_size
    while file.path.stat().st_size == size:
        file.reserve()
        before = file.path.stat().st_size
        file.note(head(2))
        assert file.path.stat().st_size == before  # noting never makes the file longer
        size = min(size, before)


class Disk:
    """What is forced to disk. Like some systems it takes bytes that could not be written for written."""

    def __init__(self, monkeypatch):
        self.forced, self.fails = [], 0
        monkeypatch.setattr(os, "fsync", partial(self._force, os.fsync))
        monkeypatch.setattr(os, "fdatasync", partial(self._force, os.fdatasync))

    def _force(self, real, handle):
        if self.fails:
            self.fails -= 1
            raise OSError(5, "Input/output error")
        if stat.S_ISREG(os.fstat(handle).st_mode):
            self.forced.append(os.pread(handle, 1 << 20, 0))
        real(handle)


@pytest.mark.parametrize("blanked", [True, False])
def test_a_line_that_was_not_forced_to_disk_does_not_count_until_it_is(file, monkeypatch, blanked):
    note(file, head(1))
    file.reserve()
    disk = Disk(monkeypatch)
    disk.fails = 1
    with monkeypatch.context() as patch:
        if not blanked:
            patch.setattr(durable, "write_all", OnlyOnce(durable.write_all))
        with pytest.raises(OSError, match="Input/output"):
            file.note(head(2))
    assert file.last("a/log") == head(1)
    if blanked:
        assert HeadFile(file.path).last("a/log") == head(1)
    note(HeadFile(file.path), head(7, "b/log"))  # another process meanwhile
    disk.forced.clear()
    note(file, head(2))
    assert any(b'"size":2,' in body for body in disk.forced)
    assert HeadFile(file.path).last("a/log") == head(2)
    assert HeadFile(file.path).last("b/log") == head(7, "b/log")


class OnlyOnce:
    """A disk that takes one more write."""

    def __init__(self, write):
        self.write = write

    def __call__(self, *args):
        if self.write is None:
            raise OSError(5, "Input/output error")
        write, self.write = self.write, None
        write(*args)


def test_those_who_ask_do_not_disturb_the_one_who_notes(store):
    """Threads of one process share what was read of the file: its end must not be counted twice."""
    keys, done = FileKeys(store.keys), threading.Event()

    def ask():
        while not done.is_set():
            keys.signed_head("a/log")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    other = FileKeys(store.keys)
    try:
        for thread in threads:
            thread.start()
        for size in range(1, 120):
            for one in (keys, other):
                with one.turn():
                    one.reserve_head()
                    one.note_head(head(2 * size + (one is other)))
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    lines = [line for line in (store.keys / "signed.ndjson").read_bytes().split(b"\n") if b"a/log" in line]
    assert [orjson.loads(line)["size"] for line in lines] == list(range(2, 240))
    keys.close()
    other.close()


# -- acceptance --------------------------------------------------------------------------------------------------------


def noted(store):
    return HeadFile(store.keys / "signed.ndjson").last(store.ledger.app.origin)


def test_every_head_is_noted_before_it_is_told(store, monkeypatch):
    seen = []
    monkeypatch.setattr(crashpoints, "hook", lambda name: seen.append((name, noted(store).size)))
    accept(store.ledger, event(), event())
    assert noted(store)[1:] == (4, store.ledger.app.current_head().root)
    assert dict(seen)["after commit"] == 2  # there for good, and not yet told
    assert dict(seen)["head noted"] == 4


def test_a_checkpoint_is_told_when_it_is_noted(store, cli, monkeypatch):
    def die(name):
        if name == "after commit":
            raise KeyboardInterrupt

    monkeypatch.setattr(crashpoints, "hook", die)
    with pytest.raises(KeyboardInterrupt):
        store.ledger.record([event()])
    monkeypatch.setattr(crashpoints, "hook", None)
    assert noted(store).size == 2
    printed = cli("checkpoint").stdout
    assert printed.splitlines()[1] == "3"
    assert noted(store).size == 3


def test_no_room_for_the_note_keeps_the_batch_out(store, monkeypatch):
    given = stored(store.ledger)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_all", full)
    monkeypatch.setattr(heads, "_ROOM", 1 << 30)
    with pytest.raises(StoreFull, match=r"signed\.ndjson"):
        store.ledger.record([event()])
    assert stored(store.ledger) == given


def test_a_note_that_fails_after_the_commit_says_what_is_so(store, monkeypatch):
    once = event()

    def broken(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(HeadNotNoted, match=r"is in the store, entries below 3; record it again") as caught:
            store.ledger.record([once])
    assert caught.value.retryable
    (outcome,) = store.ledger.record([once])
    assert (outcome.kind, outcome.position, outcome.duplicate) == ("accepted", 2, True)
    accept(store.ledger, event())
    assert noted(store).size == 4


def test_a_head_whose_note_failed_is_forced_before_it_is_told(store, monkeypatch):
    disk = Disk(monkeypatch)
    monkeypatch.setattr(crashpoints, "hook", lambda name: setattr(disk, "fails", name == "after commit"))
    with pytest.raises(HeadNotNoted):
        store.ledger.record([event()])
    monkeypatch.setattr(crashpoints, "hook", None)
    disk.forced.clear()
    told = store.ledger.app.tell(store.ledger.app.current_head())
    assert any(f'"size":{told.size},'.encode() in body for body in disk.forced)
    assert noted(store).size == told.size == 3


def test_keys_that_cannot_be_written_are_refused_with_a_word(store, monkeypatch):
    store.reopen()
    (store.keys / "queue.lock").unlink()
    (store.keys / "turn.lock").unlink()
    opened = os.open

    def read_only(path, flags, *more):
        if str(path).startswith(str(store.keys)) and flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, flags, *more)

    ledger = opening.open_to_read(store.name)
    assert len(stored(ledger)) == 2
    ledger.app.close()
    store.ledger.app.keys.close()
    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(StoreReadOnly, match=r"Read-only file system \(check the folder, its owner and its rights\)"):
        store.ledger.record([event()])


# -- older copies and forks --------------------------------------------------------------------------------------------


def put_back(store, copy):
    """Stop everything and put an older copy in the place of the store."""
    store.shut()
    for suffix in ("", "-wal", "-shm"):
        store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, store.path)
    return store.open()


@pytest.fixture
def older(store, tmp_path):
    """A copy of the store with three entries, where it has come to five."""
    accept(store.ledger, event())
    back_up(store.ledger, tmp_path / "older.db")
    accept(store.ledger, event("optout.recorded"), event())
    return tmp_path / "older.db"


def signed_heads(row):
    return [one for one in examine(row) if one["check"] == "signed heads"]


def test_an_older_copy_is_read_and_not_written(store, older, cli):
    store.ledger = put_back(store, older)
    assert len(stored(store.ledger)) == 3
    ask = {"controller": "parature", "subject": "crm:4711", "action": "use", "purpose": "support"}
    assert store.ledger.decide({**ask, "categories": ["email"]}).size == 3
    missing = (
        "has 3 entries, and its keys have signed a longer log of 5: this is an older copy, in which 3 to 4 are missing"
    )
    for work in (
        lambda: store.ledger.record([event()]),
        lambda: store.ledger.app.add_pack(next(iter(opening.shipped_packs().values()))),
        lambda: store.ingest(b"no event"),
    ):
        with pytest.raises(StoreBehind, match=missing):
            work()
    (row,) = signed_heads(store.ledger)
    assert not row["ok"]
    assert missing in row["says"]
    assert "signed a longer log" in cli("doctor", code=1).stdout
    assert len(stored(store.ledger)) == 3
    assert noted(store).size == 5


@pytest.mark.parametrize("how", ["deleted", "erased"])
def test_an_older_copy_put_back_by_hand_knows_nobody_who_was_forgotten_since(store, tmp_path, how, caplog):
    accept(store.ledger, event(personal={"email": "ann@example.com"}))
    back_up(store.ledger, tmp_path / "older.db")
    if how == "deleted":
        accept(store.ledger, event("deletion.completed", {"request": None}))
    else:
        erase(store.ledger, {"controller": "parature", "subject": "crm:4711"})
    signed = noted(store)
    store.ledger = put_back(store, tmp_path / "older.db")
    assert "signed a longer log of 4" in caplog.text
    assert rows(store.ledger, "SELECT count(*) FROM secrets") == [0]
    assert rows(store.ledger, "SELECT count(*) FROM aliases") == [0 if how == "erased" else 1]
    assert len(stored(store.ledger)) == 3
    assert noted(store) == signed
    recover(store.ledger.app, store.clock())
    assert rows(store.ledger, "SELECT count(*) FROM entries WHERE type='subject.erased'") == [how == "erased"]


def test_a_copy_that_is_as_new_goes_on(store, tmp_path):
    accept(store.ledger, event())
    back_up(store.ledger, tmp_path / "same.db")
    store.ledger = put_back(store, tmp_path / "same.db")
    accept(store.ledger, event())
    assert noted(store).size == 4


def test_of_two_copies_one_goes_on(store, tmp_path):
    """Two stores with the same keys: the one that was written last is the log, the other is behind or beside it."""
    accept(store.ledger, event())
    back_up(store.ledger, tmp_path / "copy.db")
    copy = opening.open_ledger(str(tmp_path / "copy.db"), str(store.keys))
    accept(copy, event())
    with pytest.raises(StoreBehind, match="older copy, in which 3 are missing"):
        store.ledger.record([event()])
    copy.projector.close()
    copy.app.close()


def test_a_fork_is_told_from_an_older_copy(store, older, monkeypatch):
    """A copy that went on by other means, and is longer than what was signed, with other entries in between."""
    keys = store.keys / "signed.ndjson"
    kept = keys.read_bytes()
    keys.unlink()
    fork = put_back(store, older)
    accept(fork, event(), event(), event())
    fork.projector.close()
    fork.app.close()
    keys.write_bytes(kept)
    store.ledger = store.open()
    with pytest.raises(
        StoreBehind, match="its first 5 entries are not those that its keys have signed: another history"
    ):
        store.ledger.record([event()])
    assert not signed_heads(store.ledger)[0]["ok"]
    with pytest.raises(StoreBehind):
        store.ledger.app.tell(store.ledger.app.current_head())


def test_a_store_from_before_heads_were_noted_goes_on(store):
    (store.keys / "signed.ndjson").unlink()
    accept(store.ledger, event())
    assert noted(store).size == 3
    (store.keys / "signed.ndjson").unlink()
    store.reopen()
    assert noted(store).size == 3  # at the latest when it is opened


# -- going on ----------------------------------------------------------------------------------------------------------


def test_restoring_says_what_is_missing_and_signs_nothing(store, older, tmp_path, cli):
    before = noted(store)
    restored = restore(older, tmp_path / "again.db", store.keys)
    assert restored.entries == 3
    assert "3 to 4 are missing" in restored.behind
    assert noted(store) == before
    accept(store.ledger, event())  # the store itself lives on


def test_going_on_is_another_log_on_the_record(store, older):
    old = store.ledger.app.current_head()
    old_vkey, origin = store.ledger.app.signer.vkey, store.ledger.app.origin
    store.ledger = put_back(store, older)
    kept = stored(store.ledger)
    done = recover(store.ledger.app, store.clock())
    assert (done.log, done.size, done.lost) == (f"{origin}/r2", 3, 2)
    assert len(done.positions) == 2
    for ledger in (lambda: store.ledger, store.reopen):
        app = ledger().app
        assert app.origin == done.log
        assert app.signer.vkey == done.vkey != old_vkey
        assert stored(store.ledger)[:3] == kept
        assert verify_store(app, parse_vkey(done.vkey)).size == 5
    said = [orjson.loads(state) for state in stored(store.ledger)[3:]]
    assert {one["type"] for one in said} == {"log.recovered"}
    assert {one["controller"] for one in said} == {"parature", "whereverworks"}
    assert [one["data"]["signed_size"] for one in said] == [5, 5]
    assert said[0]["data"]["log"] == origin
    assert said[0]["data"]["vkey"] == old_vkey
    accept(store.ledger, event())
    assert all(row["ok"] for row in examine(store.ledger)), examine(store.ledger)
    # no size was signed twice with one key
    assert open_checkpoint(old.checkpoint, parse_vkey(old_vkey)).size == 5
    with pytest.raises(ValueError, match="none of the given keys signed it"):
        open_checkpoint(store.ledger.app.current_head().checkpoint, parse_vkey(old_vkey))


def left_of_persons(ledger):
    """How much there is of what an erasure or a deletion destroys."""
    tables = ("aliases", "secrets", "people", "dead_letters")
    return {table: rows(ledger, f"SELECT count(*) FROM {table}")[0] for table in tables}


@pytest.mark.parametrize("few", [1, 3])
def test_going_on_with_a_copy_that_was_put_back_by_hand_brings_nobody_back(store, tmp_path, monkeypatch, few):
    """Nobody ran restore: recover does what it does, for all that is in the journal and not only the newest of it."""
    monkeypatch.setattr(erasure, "RECENT", 1)
    names = [f"ann:{number}" for number in range(few)]
    for name in (*names, "dan"):
        accept(
            store.ledger,
            event("consent.granted", subject=name, personal={"email": f"{name}@example.com"}),
            event("optout.recorded", subject=name),
        )
        store.ingest(ndjson(event(subject=name))[:-3])  # a letter that says the name
    back_up(store.ledger, tmp_path / "older.db")
    before = left_of_persons(store.ledger)
    accept(store.ledger, event("deletion.completed", {"request": None}, subject="dan"))
    for name in names:
        erase(store.ledger, {"controller": "parature", "subject": name})
    there, noes = left_of_persons(store.ledger), set(rows(store.ledger, "SELECT key, said FROM suppressed"))
    assert there != before
    store.ledger = put_back(store, tmp_path / "older.db")
    done = recover(store.ledger.app, store.clock())
    assert left_of_persons(store.ledger) == there
    assert set(rows(store.ledger, "SELECT key, said FROM suppressed")) > noes  # and the no of who was deleted
    assert [store.ledger.app.person("parature", name) for name in names] == [None] * few
    assert len(done.positions) == 2
    assert rows(store.ledger, "SELECT count(*) FROM entries WHERE type='subject.erased'") == [few]
    assert [row for row in examine(store.reopen()) if not row["ok"] and row["check"] != "clock"] == []


def test_what_cannot_be_written_is_not_recovered(store, older, tmp_path):
    store.ledger = put_back(store, older)
    store.shut()
    os.link(store.path, tmp_path / "second-name.db")
    ledger = store.open()
    with pytest.raises(StoreReadOnly, match="several names"):
        recover(ledger.app, store.clock())
    assert ledger.app.how == "linked"


def test_the_lost_store_is_read_when_it_is_found_again(store, older, tmp_path):
    accept(store.ledger, event())
    store.reopen()
    shutil.copytree(store.path.parent, tmp_path / "found")
    store.ledger = put_back(store, older)
    recover(store.ledger.app, store.clock())
    found = opening.open_ledger(str(tmp_path / "found" / store.path.name), str(store.keys))
    assert found.app.how == "retired"
    assert len(stored(found)) == 6
    with pytest.raises(StoreReadOnly, match="another log goes on in its place"):
        found.record([event()])
    found.projector.close()
    found.app.close()


def test_what_is_whole_is_not_recovered(store, cli):
    with pytest.raises(NothingToRecover, match="holds all that its keys have signed"):
        recover(store.ledger.app, store.clock())
    assert "holds all" in cli.fails("recover", "--yes", code=1)
    accept(store.ledger, event())


def test_one_copy_goes_on_and_no_other(store, older, tmp_path):
    shutil.copyfile(older, tmp_path / "oldest.db")
    store.ledger = put_back(store, older)
    recover(store.ledger.app, store.clock())
    second = opening.open_ledger(str(tmp_path / "oldest.db"), str(store.keys))
    accept(store.ledger, event())
    with pytest.raises(StoreError, match="another copy of this store goes on as"):
        recover(second.app, store.clock())
    second.projector.close()
    second.app.close()
    accept(store.ledger, event())


def test_a_log_that_was_recovered_can_be_recovered_again(store, older, tmp_path):
    store.ledger = put_back(store, older)
    first = recover(store.ledger.app, store.clock())
    back_up(store.ledger, tmp_path / "second.db")
    accept(store.ledger, event())
    store.ledger = put_back(store, tmp_path / "second.db")
    second = recover(store.ledger.app, store.clock())
    assert first.log.endswith("/r2")
    assert second.log.endswith("/r3")
    accept(store.ledger, event())
    assert all(row["ok"] for row in examine(store.ledger))


@pytest.mark.parametrize(
    ("log", "next_one"), [("shop/ledger", "shop/ledger/r2"), ("shop/ledger/r2", "shop/ledger/r3"), ("r9", "r9/r2")]
)
def test_names_of_logs_that_follow(log, next_one):
    assert following(log) == next_one


DIES = """
import os, signal, sys
from consent_ledger.consumers import open_ledger
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.intake.recovery import recover
ledger = open_ledger(sys.argv[1])
crashpoints.hook = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == sys.argv[2] else None
recover(ledger.app, ledger.clock())
"""


@pytest.mark.parametrize(
    "point", ["key given up", "recovery noted", "before recovery commit", "after commit", "head noted"]
)
def test_a_recovery_that_dies_is_taken_up(store, older, point):
    store.ledger = put_back(store, older)
    store.shut()
    done = subprocess.run([sys.executable, "-c", DIES, store.name, point], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    store.ledger = store.open()
    app = store.ledger.app
    if not app.origin.endswith("/r2"):
        with pytest.raises(StoreError, match=r"older copy|another log goes on"):
            store.ledger.record([event()])
        recover(app, store.clock())
    assert app.origin.endswith("/r2")
    accept(store.ledger, event())
    assert rows(store.ledger, "SELECT count(*) FROM entries WHERE type='log.recovered'") == [2]
    wrong = [row for row in examine(store.reopen()) if not row["ok"] and row["check"] != "clock"]  # the child's is real
    assert wrong == []


def test_the_command_line_goes_on(store, older, cli):
    store.ledger = put_back(store, older)
    printed = cli("recover", "--yes", "--origin", "shop.example/again").stdout
    assert printed.startswith("log    shop.example/again, 3 entries kept, 2 lost\nvkey   shop.example/again+")
    assert "entry 3 says so\nentry 4 says so" in printed
    assert cli("verify").stdout == "holds: 5 entries in 3 streams of log shop.example/again\n"
